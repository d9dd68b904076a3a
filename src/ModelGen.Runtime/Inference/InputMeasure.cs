namespace ModelGen;

/// <summary>Takes how large the inputs of a linear layer are.</summary>
/// <param name="weight">The name of the layer's weight in weight files.</param>
/// <param name="sums">Of each element of a row, the sum of its squares over some tokens; of a mixture's experts, those of each expert behind each other's. Only for the length of the call.</param>
/// <param name="counts">How many tokens; of experts, a number for each: how many were sent to it.</param>
public delegate void InputMeasure(string weight, ReadOnlySpan<float> sums, ReadOnlySpan<float> counts);
