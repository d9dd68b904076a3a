using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Inference with a feed-forward model: its arena and its threads. Nothing is allocated once it is created. A session may be used by
/// one thread at a time: a call that comes while another one runs is refused and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract unsafe class FeedForwardSession : IDisposable
{
    private readonly ModelWeights _weights;
    private readonly FeedForwardLayout _layout;
    private readonly RunGuard _guard = new("session");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly PredictTask _task;
    private PlanContext _context;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plan.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for a negative number of threads, or for more than 1,024.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected FeedForwardSession(ModelWeights weights, FeedForwardLayout layout, SessionOptions? options)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.InputSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.OutputSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.MaximumBatch);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.InputOffset), layout.InputOffset, (long)layout.MaximumBatch * layout.InputSize, layout.ArenaBytes);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.OutputOffset), layout.OutputOffset, (long)layout.MaximumBatch * layout.OutputSize, layout.ArenaBytes);
        int threads = RunChecks.Threads(options?.Threads ?? 0, nameof(options));

        _weights = weights;
        _layout = layout;
        _arena = new NativeBlock(layout.ArenaBytes);
        _task = new PredictTask(this);
        _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
    }

    /// <summary>The number of inputs in a row.</summary>
    public int InputSize => _layout.InputSize;

    /// <summary>The number of outputs in a row.</summary>
    public int OutputSize => _layout.OutputSize;

    /// <summary>The number of rows that are computed together; more are computed in blocks of this many.</summary>
    public int MaximumBatch => _layout.MaximumBatch;

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    /// <summary>Computes the outputs of any number of rows.</summary>
    /// <param name="inputs">The inputs, row by row: rows × <see cref="InputSize"/>.</param>
    /// <param name="outputs">Where the outputs go, row by row: rows × <see cref="OutputSize"/>. It may overlap the inputs only if rows fit one block.</param>
    /// <exception cref="ArgumentException">The inputs are no whole number of rows, or the outputs are not as many rows.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Predict(ReadOnlySpan<float> inputs, Span<float> outputs)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Predict), this);
        (int rows, int remainder) = Math.DivRem(inputs.Length, _layout.InputSize);
        if (remainder != 0)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The inputs must be whole rows of {_layout.InputSize} elements, but there are {inputs.Length} elements."),
                nameof(inputs));
        }

        if (outputs.Length != (long)rows * _layout.OutputSize)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The outputs of {rows} rows are {(long)rows * _layout.OutputSize} elements, but there is room for {outputs.Length}."),
                nameof(outputs));
        }

        while (!inputs.IsEmpty)
        {
            int block = Math.Min(inputs.Length / _layout.InputSize, _layout.MaximumBatch);
            int inputLength = block * _layout.InputSize;
            int outputLength = block * _layout.OutputSize;
            float* arena = _arena.Floats;
            inputs[..inputLength].CopyTo(new Span<float>(arena + _layout.InputOffset, inputLength));
            _context = new PlanContext { Weights = _weights.Pointer, Arena = arena, Count = block };
            _team.RunInside(_task);
            new ReadOnlySpan<float>(arena + _layout.OutputOffset, outputLength).CopyTo(outputs);
            inputs = inputs[inputLength..];
            outputs = outputs[outputLength..];
        }
    }

    /// <summary>Ends the session's threads and frees its memory.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
            _arena.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>Emitted: runs the plan over <see cref="PlanContext.Count"/> rows.</summary>
    /// <param name="context">Where the memory is, and what is run.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void Execute(in PlanContext context, Worker worker);

    private sealed class PredictTask(FeedForwardSession session) : ITeamTask
    {
        public void Execute(Worker worker) => session.Execute(in session._context, worker);
    }
}
