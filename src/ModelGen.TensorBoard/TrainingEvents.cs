namespace ModelGen.TensorBoard;

/// <summary>Follows a training loop and writes what it reports to an event file.</summary>
public static class TrainingEvents
{
    /// <summary>
    /// Adds an observer to a loop's callbacks, beside those it has: the loss of each step, its moving average, the learning rate, the norm of the gradients and the speed; the validation loss and the metric, if there is one, after
    /// which the file is flushed. Tags: <c>loss/train</c>, <c>loss/train_smoothed</c>, <c>loss/validation</c>, <c>loss/validation_best</c>, <c>metric/validation</c>, <c>training/learning_rate</c>, <c>training/gradient_norm</c>,
    /// <c>training/tokens_per_second</c>.
    /// </summary>
    /// <param name="loop">The loop, before it runs.</param>
    /// <param name="writer">The file, which stays the caller's to dispose.</param>
    /// <param name="every">Write the numbers of every this many steps, and of the last one.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="every"/> is not positive.</exception>
    public static void WriteEvents(this TrainingLoop loop, EventFileWriter writer, int every = 1)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(every);
        loop.OnStep += step => Write(writer, step, every);
        loop.OnEvaluate += evaluation => Write(writer, evaluation);
    }

    private static void Write(EventFileWriter writer, TrainingStep step, int every)
    {
        bool last = step.Step == step.TotalSteps;
        if (step.Step % every != 0 && !last)
            return;
        writer.AddScalar("loss/train", step.Step, step.Loss);
        writer.AddScalar("loss/train_smoothed", step.Step, step.SmoothedLoss);
        writer.AddScalar("training/learning_rate", step.Step, step.LearningRate);
        writer.AddScalar("training/gradient_norm", step.Step, step.GradientNorm);
        writer.AddScalar("training/tokens_per_second", step.Step, step.TokensPerSecond);
        if (last)
            writer.Flush();
    }

    private static void Write(EventFileWriter writer, TrainingEvaluation evaluation)
    {
        // Without a held-out part there is a metric alone.
        bool measured = !double.IsNaN(evaluation.Metric);
        if (!measured || !double.IsNaN(evaluation.Loss))
        {
            writer.AddScalar("loss/validation", evaluation.Step, evaluation.Loss);
            writer.AddScalar("loss/validation_best", evaluation.Step, evaluation.BestLoss);
        }
        if (measured)
            writer.AddScalar("metric/validation", evaluation.Step, evaluation.Metric);
        writer.Flush();
    }
}
