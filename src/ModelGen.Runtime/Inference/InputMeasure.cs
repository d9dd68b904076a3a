namespace ModelGen;

/// <summary>Takes how large the inputs of a linear layer are.</summary>
/// <param name="weight">The name of the layer's weight in weight files.</param>
/// <param name="sums">Of each element of a row, the sum of its squares over some tokens; only for the length of the call.</param>
/// <param name="tokens">How many tokens.</param>
public delegate void InputMeasure(string weight, ReadOnlySpan<float> sums, int tokens);
