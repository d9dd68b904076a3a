using System.Diagnostics;
using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Trains a token model: batches, steps, evaluations on a held-out part, early stopping, samples and checkpoints. Stopped at any
/// step and resumed, it continues bit for bit. It allocates nothing per step.
/// </summary>
/// <remarks>
/// One file holds everything: the trainer's own checkpoint with the loop's state in its metadata. The trainer, the data and the
/// evaluator stay the caller's to dispose.
/// </remarks>
public sealed partial class TrainingLoop
{
    private const double Smoothing = 0.98;
    private readonly RunGuard _guard = new("training loop");
    private readonly TokenTrainer _trainer;
    private readonly TokenBatchLoader _loader;
    private readonly LossEvaluator? _evaluator;
    private readonly TrainingLoopOptions _options;
    private readonly int[] _inputs;
    private readonly int[] _targets;
    private readonly ulong _dataFingerprint;

    // Saved in checkpoints.
    private double _smoothedSum;
    private double _smoothedWeight;
    private double _lastLoss = double.NaN;
    private double _bestLoss = double.NaN;
    private long _bestStep = -1;
    private long _evaluatedStep = -1;
    private readonly EarlyStopping _progress;

    // Of this run.
    private long _stepsInRun;
    private long _ticks;
    private long _measuredSteps;
    private long _allocatedBytes;
    private long _sampledStep = -1;
    private long _savedStep = -1;

    /// <summary>Makes a loop.</summary>
    /// <param name="trainer">The trainer.</param>
    /// <param name="loader">The batches; its sizes are the trainer's batch size and sequence length.</param>
    /// <param name="evaluator">The held-out part; null: none.</param>
    /// <param name="options">What to do.</param>
    /// <exception cref="ArgumentException">
    /// The sizes of the trainer, the loader and the evaluator differ; accumulation is combined with sequential batches, where a
    /// recurrent state could not be reset between the micro-batches of one step; or a metadata key begins with <c>loop.</c>
    /// </exception>
    public TrainingLoop(TokenTrainer trainer, TokenBatchLoader loader, LossEvaluator? evaluator, TrainingLoopOptions options)
    {
        ArgumentNullException.ThrowIfNull(trainer);
        ArgumentNullException.ThrowIfNull(loader);
        ArgumentNullException.ThrowIfNull(options);
        RequireSizes(trainer, loader.BatchSize, loader.SequenceLength, nameof(loader));
        if (evaluator is not null)
            RequireSizes(trainer, evaluator.BatchSize, evaluator.SequenceLength, nameof(evaluator));
        if (trainer.AccumulationSteps > 1 && loader.Order == BatchOrder.Sequential)
            throw new ArgumentException("Sequential batches need a trainer with 1 accumulation step.", nameof(loader));
        if (options.Metadata is { } metadata)
        {
            foreach (string key in metadata.Keys)
            {
                if (key.StartsWith(KeyPrefix, StringComparison.Ordinal))
                    throw new ArgumentException($"The metadata key \"{key}\" begins with \"{KeyPrefix}\", which is the loop's own.", nameof(options));
            }
        }
        _trainer = trainer;
        _loader = loader;
        _evaluator = evaluator;
        _options = options;
        _progress = new EarlyStopping(options.Patience, options.MinimumImprovement, options.Metric?.Direction ?? MetricDirection.Lower);
        int size = checked(loader.BatchSize * loader.SequenceLength * trainer.AccumulationSteps);
        _inputs = new int[size];
        _targets = new int[size];
        _dataFingerprint = loader.DataFingerprint();
    }

    /// <summary>Called after every step, outside of what is timed and measured.</summary>
    public Action<TrainingStep>? OnStep { get; set; }

    /// <summary>Called after every evaluation.</summary>
    public Action<TrainingEvaluation>? OnEvaluate { get; set; }

    /// <summary>Called with the number of steps done after every <see cref="TrainingLoopOptions.SampleEvery"/> steps.</summary>
    public Action<long>? OnSample { get; set; }

    /// <summary>Called with the path of every checkpoint after it was written.</summary>
    public Action<string>? OnCheckpoint { get; set; }

    /// <summary>Trains until all steps are done, the patience is exhausted or cancellation is requested.</summary>
    /// <param name="cancellationToken">
    /// Ends the run cleanly: the step at hand is finished, the checkpoint saved, and the result returned. Nothing is thrown.
    /// </param>
    /// <exception cref="ArithmeticException">The loss of a step is not finite, or what a checkpoint would hold is not. The last checkpoint is left as it was.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the model's vocabulary.</exception>
    /// <exception cref="IOException">A checkpoint cannot be written; the last one is left as it was.</exception>
    /// <exception cref="InvalidOperationException">The loop runs already, another thread is using the trainer, or another trainer of the model changes its weights while a checkpoint is saved.</exception>
    /// <exception cref="ObjectDisposedException">The trainer or the data was disposed.</exception>
    public TrainingResult Run(CancellationToken cancellationToken = default)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Run), this);
        (_stepsInRun, _ticks, _measuredSteps, _allocatedBytes) = (0, 0, 0, 0);
        if (_trainer.StepCount == 0)
            _trainer.ResetState();
        TrainingStopReason reason;
        while (true)
        {
            long step = _trainer.StepCount;
            bool ended = step >= _options.Steps;
            if (EvaluationIsDue(step, ended))
            {
                if (!TryEvaluate(step, cancellationToken))
                {
                    reason = TrainingStopReason.Cancelled;
                    break;
                }
            }
            if (_options.SampleEvery > 0 && step > 0 && step % _options.SampleEvery == 0 && _sampledStep != step && _stepsInRun > 0)
            {
                _sampledStep = step;
                OnSample?.Invoke(step);
            }
            if (ended)
            {
                reason = TrainingStopReason.Completed;
                break;
            }
            if (_progress.ShouldStop)
            {
                reason = TrainingStopReason.EarlyStop;
                break;
            }
            if (_options.CheckpointEvery > 0 && step > 0 && step % _options.CheckpointEvery == 0 && _stepsInRun > 0)
                SaveCheckpoint();
            if (cancellationToken.IsCancellationRequested)
            {
                reason = TrainingStopReason.Cancelled;
                break;
            }
            TakeStep();
        }
        SaveCheckpoint();
        return new TrainingResult(
            reason, _trainer.StepCount, SmoothedLoss, _lastLoss, _bestLoss, _bestStep, TokensPerSecond, _measuredSteps, _allocatedBytes)
        {
            BestMetric = _options.Metric is null ? double.NaN : _progress.Best,
        };
    }

    private double SmoothedLoss => _smoothedWeight > 0 ? _smoothedSum / _smoothedWeight : double.NaN;

    private double TokensPerSecond => _ticks > 0 ? (double)_inputs.Length * _stepsInRun * Stopwatch.Frequency / _ticks : 0;

    private static void RequireSizes(TokenTrainer trainer, int batchSize, int sequenceLength, string name)
    {
        if (batchSize != trainer.BatchSize || sequenceLength != trainer.SequenceLength)
        {
            throw new ArgumentException(
                $"Expected the trainer's {trainer.BatchSize} × {trainer.SequenceLength} tokens, found {batchSize} × {sequenceLength}.", name);
        }
    }

    private void TakeStep()
    {
        bool measure = _options.MeasureAllocations && _stepsInRun >= _options.WarmupMeasurementSteps;
        long allocated = measure ? GC.GetTotalAllocatedBytes(precise: true) : 0;
        long start = Stopwatch.GetTimestamp();

        int size = _loader.BatchSize * _loader.SequenceLength;
        for (int micro = 0; micro < _trainer.AccumulationSteps; micro++)
        {
            bool anew = _loader.NextBatch(_inputs.AsSpan(micro * size, size), _targets.AsSpan(micro * size, size));
            if (anew && micro == 0)
                _trainer.ResetState();
        }

        // Shuffled windows continue nothing, whichever micro-batch they are in.
        _trainer.BeginsMicroBatchesAnew = _loader.Order == BatchOrder.Shuffled;
        float loss;
        try
        {
            loss = _trainer.Step(_inputs, _targets);
        }
        finally
        {
            _trainer.BeginsMicroBatchesAnew = false;
        }

        _ticks += Stopwatch.GetTimestamp() - start;
        if (measure)
        {
            _allocatedBytes += GC.GetTotalAllocatedBytes(precise: true) - allocated;
            _measuredSteps++;
        }
        _stepsInRun++;
        if (!float.IsFinite(loss))
        {
            throw new ArithmeticException(string.Create(
                CultureInfo.InvariantCulture, $"Step {_trainer.StepCount}: the loss is {loss}. A lower learning rate or gradient clipping may help."));
        }
        _smoothedSum = Smoothing * _smoothedSum + (1 - Smoothing) * loss;
        _smoothedWeight = Smoothing * _smoothedWeight + (1 - Smoothing);
        OnStep?.Invoke(new TrainingStep(
            _trainer.StepCount, _options.Steps, loss, SmoothedLoss, _trainer.LearningRate, _trainer.GradientNorm, TokensPerSecond));
    }

    private bool EvaluationIsDue(long step, bool ended) =>
        (_evaluator is not null || _options.Metric is not null) && _evaluatedStep != step
        && (ended || (_options.EvaluateEvery > 0 && step > 0 && step % _options.EvaluateEvery == 0));

    private bool TryEvaluate(long step, CancellationToken cancellationToken)
    {
        double loss = double.NaN;
        if (_evaluator is not null && !_evaluator.TryEvaluate(_trainer, cancellationToken, out loss))
            return false;
        double metric = _options.Metric?.Measure() ?? double.NaN;
        _lastLoss = loss;
        _evaluatedStep = step;
        bool improved = _progress.Improves(_options.Metric is null ? loss : metric);
        if (_options.Metric is null ? improved : double.IsFinite(loss) && !(loss >= _bestLoss))
            _bestLoss = loss;
        if (improved)
        {
            _bestStep = step;
            if (_options.BestCheckpointPath is { } path)
                Save(path);
        }
        OnEvaluate?.Invoke(new TrainingEvaluation(step, loss, _bestLoss, improved) { Metric = metric });
        return true;
    }

    private void SaveCheckpoint()
    {
        if (_options.CheckpointPath is not { } path || _savedStep == _trainer.StepCount)
            return;
        Save(path);
        _savedStep = _trainer.StepCount;
    }
}
