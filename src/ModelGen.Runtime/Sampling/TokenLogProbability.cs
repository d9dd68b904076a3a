namespace ModelGen;

/// <summary>A token and how likely it is.</summary>
/// <param name="Token">The token id.</param>
/// <param name="LogProbability">The natural logarithm of its probability.</param>
public readonly record struct TokenLogProbability(int Token, double LogProbability);
