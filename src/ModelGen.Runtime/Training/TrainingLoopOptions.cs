namespace ModelGen;

/// <summary>What a <see cref="TrainingLoop"/> does besides stepping. Immutable; every number is checked when it is set. What is not set is 0 or null, where nothing else is said.</summary>
public sealed record TrainingLoopOptions
{
    private readonly long _steps;
    private readonly long _evaluateEvery;
    private readonly long _sampleEvery;
    private readonly long _checkpointEvery;
    private readonly int _patience;
    private readonly double _minimumImprovement;
    private readonly long _warmupMeasurementSteps = 10;

    /// <summary>How many steps to train in all, those before a resumed checkpoint included.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public required long Steps
    {
        get => _steps;
        init => _steps = NotNegative(value, nameof(Steps));
    }

    /// <summary>Evaluate on the held-out part after every this many steps, and when all steps are done; 0: only then.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public long EvaluateEvery
    {
        get => _evaluateEvery;
        init => _evaluateEvery = NotNegative(value, nameof(EvaluateEvery));
    }

    /// <summary>Call <see cref="TrainingLoop.OnSample"/> after every this many steps; 0: never.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public long SampleEvery
    {
        get => _sampleEvery;
        init => _sampleEvery = NotNegative(value, nameof(SampleEvery));
    }

    /// <summary>Save a checkpoint after every this many steps, besides the one at the end; 0: only at the end.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public long CheckpointEvery
    {
        get => _checkpointEvery;
        init => _checkpointEvery = NotNegative(value, nameof(CheckpointEvery));
    }

    /// <summary>The file of the checkpoint to resume from; null: none is written.</summary>
    public string? CheckpointPath { get; init; }

    /// <summary>The file that keeps the checkpoint of the best evaluation: that with the best validation loss, or the best value of <see cref="Metric"/>; null: none is written.</summary>
    public string? BestCheckpointPath { get; init; }

    /// <summary>What decides which evaluation is the best, and when training stops early; null: the validation loss. It is measured at every evaluation, and needs no held-out part.</summary>
    public TrainingMetric? Metric { get; init; }

    /// <summary>Stop early after this many evaluations in a row without improvement (<see cref="MinimumImprovement"/>); 0: never.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public int Patience
    {
        get => _patience;
        init => _patience = (int)NotNegative(value, nameof(Patience));
    }

    /// <summary>An evaluation improves if its loss is lower than the best one by more than this, in nats; or its <see cref="Metric"/> better, in the metric's unit.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public double MinimumImprovement
    {
        get => _minimumImprovement;
        init
        {
            if (!double.IsFinite(value) || value < 0)
                throw new ArgumentOutOfRangeException(nameof(MinimumImprovement), value, "Expected a finite number, 0 or more.");
            _minimumImprovement = value;
        }
    }

    /// <summary>
    /// Measure what all threads of the process allocate while a batch is loaded and a step is taken. Callbacks, evaluations and
    /// checkpoints are not part of it. Costs a fraction of a millisecond per step.
    /// </summary>
    public bool MeasureAllocations { get; init; }

    /// <summary>How many steps of a run come before the first measured one: the time of the just-in-time compiler. Default: 10.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative.</exception>
    public long WarmupMeasurementSteps
    {
        get => _warmupMeasurementSteps;
        init => _warmupMeasurementSteps = NotNegative(value, nameof(WarmupMeasurementSteps));
    }

    /// <summary>
    /// What the caller wants kept in checkpoints beside the loop's own state; null for nothing. Keys must not begin with <c>loop.</c>, which the
    /// loop's constructor checks.
    /// </summary>
    public IReadOnlyDictionary<string, string>? Metadata { get; init; }

    private static long NotNegative(long value, string name)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value, name);
        return value;
    }
}
