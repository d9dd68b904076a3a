using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The mean loss of a token model over a held-out part, always in the same order: every evaluation of equal weights gives the same bits.
/// Every token but the first is predicted exactly once, unless the number of batches is limited.
/// </summary>
/// <remarks>
/// Independent windows suit models with a fixed context: window w predicts the tokens after wT .. wT + T - 1 from inside the window.
/// Carried state suits recurrent models: each row of the batch reads its own contiguous stream, and the state goes from batch to batch.
/// Nothing is allocated after construction.
/// </remarks>
public sealed class LossEvaluator
{
    private readonly RunGuard _guard = new("loss evaluator");
    private readonly TokenDataset _data;
    private readonly int[] _inputs;
    private readonly int[] _targets;
    private readonly long _batches;
    private readonly long _windows;
    private readonly long _usedWindows;

    /// <summary>Makes an evaluator.</summary>
    /// <param name="data">The held-out tokens.</param>
    /// <param name="batchSize">B, the trainer's batch size.</param>
    /// <param name="sequenceLength">T, the trainer's sequence length.</param>
    /// <param name="carryState">Whether the state of a recurrence is carried through the data.</param>
    /// <param name="maximumBatches">
    /// At most this many batches, 0: all. Windows are then taken at even distances; streams are cut after T tokens for each batch.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, B × T exceeds 2³¹ - 1, or the limit is negative.</exception>
    /// <exception cref="ArgumentException">There are fewer than two tokens.</exception>
    public LossEvaluator(TokenDataset data, int batchSize, int sequenceLength, bool carryState = false, int maximumBatches = 0)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sequenceLength);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sequenceLength, int.MaxValue / batchSize);
        ArgumentOutOfRangeException.ThrowIfNegative(maximumBatches);
        if (data.Length < 2)
            throw new ArgumentException($"Expected at least 2 tokens to evaluate, found {data.Length}.", nameof(data));
        _data = data;
        BatchSize = batchSize;
        SequenceLength = sequenceLength;
        CarryState = carryState;
        int size = batchSize * sequenceLength;
        _inputs = new int[size];
        _targets = new int[size];
        long limit = maximumBatches == 0 ? long.MaxValue : maximumBatches;
        if (carryState)
        {
            StreamLength = DivideUp(data.Length - 1, batchSize);
            _batches = Math.Min(limit, DivideUp(StreamLength, sequenceLength));
        }
        else
        {
            _windows = DivideUp(data.Length - 1, sequenceLength);
            _batches = Math.Min(limit, DivideUp(_windows, batchSize));
            _usedWindows = Math.Min(_windows, _batches * batchSize);
        }
    }

    /// <summary>B, the number of rows.</summary>
    public int BatchSize { get; }

    /// <summary>T, the number of tokens in a row.</summary>
    public int SequenceLength { get; }

    /// <summary>Whether the state of a recurrence is carried through the data.</summary>
    public bool CarryState { get; }

    /// <summary>The number of batches of an evaluation.</summary>
    public long Batches => _batches;

    private long StreamLength { get; }

    /// <summary>The mean loss over the held-out part, in nats per token. The trainer's training state is left alone.</summary>
    /// <param name="trainer">The trainer.</param>
    /// <exception cref="ArgumentException">The trainer's sizes are others than the evaluator's.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the model's vocabulary.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the evaluator or the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed, or the data's file was closed.</exception>
    public double Evaluate(TokenTrainer trainer)
    {
        TryEvaluate(trainer, CancellationToken.None, out double loss);
        return loss;
    }

    /// <summary>The mean loss over the held-out part, unless cancellation comes first.</summary>
    /// <param name="trainer">The trainer.</param>
    /// <param name="cancellationToken">Ends the evaluation between two batches.</param>
    /// <param name="loss">The mean loss, in nats per token; NaN if cancelled.</param>
    /// <returns>Whether the evaluation was finished.</returns>
    /// <exception cref="ArgumentException">The trainer's sizes are others than the evaluator's.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the model's vocabulary.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the evaluator or the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed, or the data's file was closed.</exception>
    public bool TryEvaluate(TokenTrainer trainer, CancellationToken cancellationToken, out double loss)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        using RunGuard.Section call = _guard.Enter(nameof(Evaluate), this);
        if (trainer.BatchSize != BatchSize || trainer.SequenceLength != SequenceLength)
        {
            throw new ArgumentException(
                $"Expected a trainer of {BatchSize} × {SequenceLength} tokens, found {trainer.BatchSize} × {trainer.SequenceLength}.", nameof(trainer));
        }
        double sum = 0;
        long count = 0;
        for (long batch = 0; batch < _batches; batch++)
        {
            if (cancellationToken.IsCancellationRequested)
            {
                loss = double.NaN;
                return false;
            }
            // Windows that are independent continue nothing.
            if (batch == 0 || !CarryState)
                trainer.ResetEvaluationState();
            int counted = Load(batch);
            sum += trainer.Evaluate(_inputs, _targets) * (double)counted;
            count += counted;
        }
        loss = sum / count;
        return true;
    }

    /// <summary>Writes a batch of an evaluation: targets that do not count are -1, and their inputs 0.</summary>
    /// <returns>The number of targets that count.</returns>
    internal int Load(long batch)
    {
        int counted = 0;
        for (int row = 0; row < BatchSize; row++)
        {
            long start, end;
            if (CarryState)
            {
                long stream = row * StreamLength;
                start = stream + batch * SequenceLength;
                end = Math.Min(stream + StreamLength, _data.Length - 1);
            }
            else
            {
                long index = batch * BatchSize + row;

                // Without a limit this is the index itself.
                start = index < _usedWindows ? (long)((Int128)index * _windows / _usedWindows) * SequenceLength : long.MaxValue;
                end = _data.Length - 1;
            }
            int length = start < end ? (int)Math.Min(SequenceLength, end - start) : 0;
            Span<int> inputs = _inputs.AsSpan(row * SequenceLength, SequenceLength);
            Span<int> targets = _targets.AsSpan(row * SequenceLength, SequenceLength);
            if (length > 0)
            {
                _data.CopyTo(start, inputs[..length]);
                _data.CopyTo(start + 1, targets[..length]);
            }
            inputs[length..].Clear();
            targets[length..].Fill(-1);
            counted += length;
        }
        return counted;
    }

    internal ReadOnlySpan<int> LoadedInputs => _inputs;

    internal ReadOnlySpan<int> LoadedTargets => _targets;

    private static long DivideUp(long value, long divisor) => (value + divisor - 1) / divisor;
}
