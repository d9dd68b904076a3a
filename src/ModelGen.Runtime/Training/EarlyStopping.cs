namespace ModelGen;

/// <summary>Which of two values of a metric is better.</summary>
public enum MetricDirection
{
    /// <summary>The lower: losses, error rates, perplexity.</summary>
    Lower,

    /// <summary>The higher: accuracy, F1, BLEU.</summary>
    Higher,
}

/// <summary>Watches a metric and says when it has not improved for too long (Prechelt, "Early stopping – but when?", 1998). Not for use by several threads at once.</summary>
public sealed class EarlyStopping
{
    private readonly double _minimumImprovement;

    /// <summary>Watches a metric of which nothing is known yet.</summary>
    /// <param name="patience">How many values in a row may fail to improve on the best before it is time to stop; 0: any number.</param>
    /// <param name="minimumImprovement">A value is better if it is so by more than this.</param>
    /// <param name="direction">Which of two values is better.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative or not finite, or there is no such direction.</exception>
    public EarlyStopping(int patience, double minimumImprovement = 0, MetricDirection direction = MetricDirection.Lower)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(patience);
        if (!(minimumImprovement >= 0 && double.IsFinite(minimumImprovement)))
        {
            throw new ArgumentOutOfRangeException(nameof(minimumImprovement), minimumImprovement, "Expected a finite number, 0 or more.");
        }

        if (direction is not (MetricDirection.Lower or MetricDirection.Higher))
        {
            throw new ArgumentOutOfRangeException(nameof(direction), direction, "Expected Lower or Higher.");
        }

        Patience = patience;
        _minimumImprovement = minimumImprovement;
        Direction = direction;
    }

    /// <summary>How many values in a row may fail to improve; 0: any number.</summary>
    public int Patience { get; }

    /// <summary>Which of two values is better.</summary>
    public MetricDirection Direction { get; }

    /// <summary>The best value; NaN before a finite one.</summary>
    public double Best { get; private set; } = double.NaN;

    /// <summary>How many values there were since the best.</summary>
    public int StaleCount { get; private set; }

    /// <summary>Whether the patience is exhausted.</summary>
    public bool ShouldStop => Patience > 0 && StaleCount >= Patience;

    /// <summary>Takes the next value.</summary>
    /// <param name="value">The value; one that is not finite never improves.</param>
    /// <returns>Whether it is the best up to now: time to keep a checkpoint.</returns>
    public bool Improves(double value)
    {
        bool improves = double.IsFinite(value)
            && (double.IsNaN(Best) || (Direction == MetricDirection.Lower ? value < Best - _minimumImprovement : value > Best + _minimumImprovement));
        if (improves)
        {
            Best = value;
        }

        StaleCount = improves ? 0 : StaleCount == int.MaxValue ? StaleCount : StaleCount + 1;
        return improves;
    }

    /// <summary>Continues from a checkpoint.</summary>
    internal void Restore(double best, int staleCount) => (Best, StaleCount) = (best, staleCount);
}

/// <summary>What decides, in the place of the validation loss, which evaluation of a <see cref="TrainingLoop"/> is the best.</summary>
/// <param name="Name">The metric's name, which checkpoints record.</param>
/// <param name="Measure">Computes it with the weights as they are: by decoding held-out inputs, for example. It must not step the trainer.</param>
/// <param name="Direction">Which of two values is better.</param>
public sealed record TrainingMetric(string Name, Func<double> Measure, MetricDirection Direction = MetricDirection.Higher);
