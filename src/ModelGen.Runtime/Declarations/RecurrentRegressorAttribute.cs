namespace ModelGen;

/// <summary>
/// Declares a model of time series: recurrent layers whose state follows the series, <c>hₜ = g(hₜ₋₁, xₜ)</c>, and a linear head,
/// <c>yₜ = W hₜ + b</c>. Gates and parameter names are PyTorch's: <c>rnn.weight_ih_l0</c>, …, <c>head.weight</c>.
/// <para>
/// A session follows one series: <c>Next(inputs)</c> takes a step's inputs and gives its outputs, and <c>Predict(inputs, outputs)</c> takes up to 256
/// steps at once; both continue where the call before ended, and <see cref="ModelSession.Reset()"/> begins a new series. A trainer's <c>Step(inputs, targets)</c>
/// takes windows, [<c>BatchSize</c>, <c>SequenceLength</c>, <see cref="Inputs"/>] and [<c>BatchSize</c>, <c>SequenceLength</c>, <see cref="Outputs"/>],
/// and minimizes the mean over all steps of <c>½ Σ (y − t)²</c>.
/// </para>
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class RecurrentRegressorAttribute : Attribute
{
    /// <summary>The cell. Default: <see cref="Cell.Lstm"/>.</summary>
    public Cell Cell { get; set; } = Cell.Lstm;

    /// <summary>The number of recurrent layers, one upon the other. Default: 1.</summary>
    public int Layers { get; set; } = 1;

    /// <summary>The number of units in each recurrent layer. Required, 1 or more.</summary>
    public int Hidden { get; set; }

    /// <summary>The number of values that a step takes. Required, 1 or more.</summary>
    public int Inputs { get; set; }

    /// <summary>The number of values that a step gives. Default: 1.</summary>
    public int Outputs { get; set; } = 1;

    /// <summary>The probability that an output of a recurrent layer but the last is dropped while training; 0 to below 1. Default: 0.</summary>
    public double Dropout { get; set; }

    /// <summary>
    /// Whether a training step begins its windows with the state that the step before ended in, for windows that follow each other in as many series as
    /// a batch has rows (truncated back-propagation through time). Otherwise every window begins with zeros, as windows from anywhere must. Default: false.
    /// </summary>
    public bool CarryState { get; set; }
}
