using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Inference with a feed-forward model: its arena and its threads. Nothing is allocated once it is created. A session may be used by
/// one thread at a time: a call that comes while another one runs is refused and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract class FeedForwardSession : ModelSession
{
    private readonly int _predict;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry point <c>Predict</c> and its memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for a negative number of threads, or for more than 1,024.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected FeedForwardSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
        : base(weights, layout, options)
    {
        _predict = layout.IndexOf(nameof(Predict));
        EntryLayout entry = layout.Entries[_predict];
        InputSize = entry.Inputs[0].Length;
        OutputSize = entry.Outputs[0].Length;
        MaximumBatch = entry.MaximumCount;
    }

    /// <summary>The number of inputs in a row.</summary>
    public int InputSize { get; }

    /// <summary>The number of outputs in a row.</summary>
    public int OutputSize { get; }

    /// <summary>The number of rows that are computed together; more are computed in blocks of this many.</summary>
    public int MaximumBatch { get; }

    // Outputs go to callers' spans.
    private protected override bool KeepsOutputs => false;

    /// <summary>Computes the outputs of any number of rows.</summary>
    /// <param name="inputs">The inputs, row by row: rows × <see cref="InputSize"/>.</param>
    /// <param name="outputs">Where the outputs go, row by row: rows × <see cref="OutputSize"/>. It may overlap the inputs only if rows fit one block.</param>
    /// <exception cref="ArgumentException">The inputs are no whole number of rows, or the outputs are not as many rows.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Predict(ReadOnlySpan<float> inputs, Span<float> outputs)
    {
        using RunGuard.Section call = Enter(nameof(Predict));
        (int rows, int remainder) = Math.DivRem(inputs.Length, InputSize);
        if (remainder != 0)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The inputs must be whole rows of {InputSize} elements, but there are {inputs.Length} elements."),
                nameof(inputs));
        }

        if (outputs.Length != (long)rows * OutputSize)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The outputs of {rows} rows are {(long)rows * OutputSize} elements, but there is room for {outputs.Length}."),
                nameof(outputs));
        }

        while (!inputs.IsEmpty)
        {
            int block = Math.Min(inputs.Length / InputSize, MaximumBatch);
            Stage(_predict, 0, inputs[..(block * InputSize)]);
            Run(_predict, block);
            Result(_predict, 0, block).CopyTo(outputs);
            inputs = inputs[(block * InputSize)..];
            outputs = outputs[(block * OutputSize)..];
        }
    }
}
