namespace ModelGen;

/// <summary>What a <see cref="TrainingLoop"/> reports after a step.</summary>
/// <param name="Step">The number of steps done, from 1.</param>
/// <param name="TotalSteps">The number of steps that were asked for.</param>
/// <param name="Loss">The loss of this step, in nats per token.</param>
/// <param name="SmoothedLoss">An exponential moving average of the losses (factor 0.98, corrected for its start).</param>
/// <param name="LearningRate">The learning rate of this step.</param>
/// <param name="GradientNorm">The global norm of the gradients before clipping.</param>
/// <param name="TokensPerSecond">Tokens per second of this run's loading and stepping; evaluations are not counted.</param>
public readonly record struct TrainingStep(
    long Step, long TotalSteps, float Loss, double SmoothedLoss, float LearningRate, float GradientNorm, double TokensPerSecond);

/// <summary>What a <see cref="TrainingLoop"/> reports after an evaluation.</summary>
/// <param name="Step">The number of steps done.</param>
/// <param name="Loss">The mean loss over the held-out part, in nats per token.</param>
/// <param name="BestLoss">The best such loss up to now, this one included: the last that improved on the best before it; NaN if none was finite.</param>
/// <param name="Improved">Whether this one is the best: finite, and lower (or better by <see cref="TrainingLoopOptions.Metric"/>) than the best before it by more than <see cref="TrainingLoopOptions.MinimumImprovement"/>.</param>
public readonly record struct TrainingEvaluation(long Step, double Loss, double BestLoss, bool Improved)
{
    /// <summary>The value of <see cref="TrainingLoopOptions.Metric"/>; NaN without one.</summary>
    public double Metric { get; init; } = double.NaN;
}

/// <summary>Why a <see cref="TrainingLoop"/> returned.</summary>
public enum TrainingStopReason
{
    /// <summary>All steps are done.</summary>
    Completed,

    /// <summary>The validation loss, or the metric in its place, did not improve for as many evaluations as the patience allows.</summary>
    EarlyStop,

    /// <summary>Cancellation was requested; the checkpoint was saved, if there is a path for it.</summary>
    Cancelled,
}

/// <summary>What a training run achieved.</summary>
/// <param name="Reason">Why it ended.</param>
/// <param name="Steps">The number of steps done in all, those before resuming included.</param>
/// <param name="SmoothedLoss">The moving average of the training loss; NaN if no step was ever done.</param>
/// <param name="ValidationLoss">The last validation loss; NaN if there was no evaluation.</param>
/// <param name="BestLoss">The best validation loss (<see cref="TrainingEvaluation.BestLoss"/>); NaN if there was no evaluation, or no finite loss.</param>
/// <param name="BestStep">The number of steps done at the best evaluation: that with the best validation loss, or value of <see cref="TrainingLoopOptions.Metric"/>; -1 if there is none.</param>
/// <param name="TokensPerSecond">Tokens per second of this run's loading and stepping; 0 if it made no step.</param>
/// <param name="MeasuredSteps">The number of this run's steps whose allocations were measured.</param>
/// <param name="AllocatedBytes">What all threads allocated in those steps.</param>
public sealed record TrainingResult(
    TrainingStopReason Reason,
    long Steps,
    double SmoothedLoss,
    double ValidationLoss,
    double BestLoss,
    long BestStep,
    double TokensPerSecond,
    long MeasuredSteps,
    long AllocatedBytes)
{
    /// <summary>The best value of <see cref="TrainingLoopOptions.Metric"/>; NaN if there is none.</summary>
    public double BestMetric { get; init; } = double.NaN;
}
