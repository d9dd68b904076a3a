using System.Globalization;

namespace ModelGen;

/// <summary>How the learning rate changes over a training run: a pure function of the step, so that resuming needs nothing but the step.</summary>
/// <remarks>Checkpoints record what <see cref="object.ToString"/> says, so that a run that is resumed with another schedule can tell: it should name the schedule's numbers, in the invariant culture.</remarks>
public interface ILearningRateSchedule
{
    /// <summary>What the optimizer's learning rate is multiplied with.</summary>
    /// <param name="step">The number of steps done before: 0 at the first.</param>
    /// <returns>A finite factor of 0 or more, which leaves the learning rate finite: a step with any other throws an <see cref="InvalidOperationException"/>, and changes nothing.</returns>
    double Factor(long step);
}

/// <summary>Keeps the learning rate as it is.</summary>
public sealed class Constant : ILearningRateSchedule
{
    /// <inheritdoc/>
    public double Factor(long step) => 1;

    /// <summary>The schedule's name.</summary>
    public override string ToString() => nameof(Constant);
}

/// <summary>
/// A linear warm-up followed by half a cosine down to a fraction of the learning rate, which then stays: the schedule of nanoGPT.
/// The factor is (t + 1)/(W + 1) for a step t below the warm-up W, and f + (1 − f)·½(1 + cos(π(t − W)/(N − W))) up to step N.
/// </summary>
/// <remarks>Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).</remarks>
public sealed class WarmupCosine : ILearningRateSchedule
{
    /// <summary>Creates a schedule.</summary>
    /// <param name="warmupSteps">W, the number of steps of the warm-up; 0 or more.</param>
    /// <param name="totalSteps">N, the step at which the cosine ends; at least <paramref name="warmupSteps"/>.</param>
    /// <param name="minimumFactor">f, the factor from there on; 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public WarmupCosine(long warmupSteps, long totalSteps, double minimumFactor = 0.1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(warmupSteps);
        ArgumentOutOfRangeException.ThrowIfLessThan(totalSteps, warmupSteps);
        if (!(minimumFactor is >= 0 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(minimumFactor), minimumFactor, "The minimum factor must be from 0 to 1.");
        }

        WarmupSteps = warmupSteps;
        TotalSteps = totalSteps;
        MinimumFactor = minimumFactor;
    }

    /// <summary>The number of steps of the warm-up.</summary>
    public long WarmupSteps { get; }

    /// <summary>The step at which the cosine ends.</summary>
    public long TotalSteps { get; }

    /// <summary>The factor from there on.</summary>
    public double MinimumFactor { get; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative.</exception>
    public double Factor(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        if (step < WarmupSteps)
        {
            return (step + 1.0) / (WarmupSteps + 1.0);
        }

        if (step >= TotalSteps)
        {
            return MinimumFactor;
        }

        double progress = (double)(step - WarmupSteps) / (TotalSteps - WarmupSteps);
        return MinimumFactor + ((1 - MinimumFactor) * 0.5 * (1 + Math.Cos(Math.PI * progress)));
    }

    /// <summary>The schedule's name and numbers.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{nameof(WarmupCosine)}({WarmupSteps}, {TotalSteps}, {MinimumFactor})");
}

/// <summary>
/// A linear warm-up followed by a decay with the inverse square root of the step. The factor is w^(−½) · min(s^(−½), s · W^(−1.5)) at step s = 1, 2, …, whose
/// largest value is (w·W)^(−½) at s = W: the learning rate itself where the optimizer's is 1.
/// </summary>
/// <remarks>Vaswani et al., "Attention Is All You Need" (2017), section 5.3.</remarks>
public sealed class InverseSquareRoot : ILearningRateSchedule
{
    /// <summary>Creates a schedule.</summary>
    /// <param name="width">w, the model's width (512 in the paper); 1 or more.</param>
    /// <param name="warmupSteps">W, the number of steps of the warm-up (4,000 in the paper); 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is less than 1.</exception>
    public InverseSquareRoot(int width, long warmupSteps = 4000)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(warmupSteps);
        Width = width;
        WarmupSteps = warmupSteps;
    }

    /// <summary>The model's width.</summary>
    public int Width { get; }

    /// <summary>The number of steps of the warm-up.</summary>
    public long WarmupSteps { get; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative.</exception>
    public double Factor(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        double number = step + 1.0;
        return Math.Min(1 / Math.Sqrt(number), number / (WarmupSteps * Math.Sqrt(WarmupSteps))) / Math.Sqrt(Width);
    }

    /// <summary>The schedule's name and numbers.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{nameof(InverseSquareRoot)}({Width}, {WarmupSteps})");
}
