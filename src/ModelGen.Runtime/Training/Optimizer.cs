using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// How weights follow from gradients. An optimizer holds settings only: what it remembers of earlier steps lies in the trainer's
/// slots, so that one optimizer can serve several trainers.
/// </summary>
public abstract class Optimizer
{
    private float _learningRate;
    private float _gradientClip;

    /// <summary>Called by derived optimizers.</summary>
    /// <param name="learningRate">The default learning rate.</param>
    protected Optimizer(float learningRate)
    {
        _learningRate = learningRate;
    }

    /// <summary>The learning rate, which <see cref="Schedule"/> scales. It may be changed between steps.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float LearningRate
    {
        get => _learningRate;
        set => _learningRate = NotNegative(value, nameof(LearningRate));
    }

    /// <summary>What the learning rate is multiplied with at each step; null to keep it. Default: null.</summary>
    public ILearningRateSchedule? Schedule { get; init; }

    /// <summary>
    /// The largest global norm of the gradients: all are scaled down by <c>GradientClip / (norm + 1e-6)</c> where that is below 1
    /// (Pascanu et al., 2013, as in PyTorch). 0 switches clipping off. Default: 0.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float GradientClip
    {
        get => _gradientClip;
        init => _gradientClip = NotNegative(value, nameof(GradientClip));
    }

    /// <summary>Parameters with a learning rate or a weight decay of their own; none by default.</summary>
    /// <exception cref="ArgumentNullException">The value is null.</exception>
    /// <exception cref="ArgumentException">A group is null.</exception>
    public IReadOnlyList<OptimizerGroup> Groups
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value, nameof(Groups));
            field = !value.Has(static group => group is null) ? value : throw new ArgumentException("Expected groups, found a null among them.", nameof(Groups));
        }
    } = [];

    /// <summary>The optimizer's name, as checkpoints record it.</summary>
    public abstract string Name { get; }

    /// <summary>The names of what the optimizer remembers for each weight, as checkpoints record them: one slot each, 0 at first. No two are the same.</summary>
    public abstract IReadOnlyList<string> Slots { get; }

    /// <summary>
    /// The settings beside those that every optimizer has, by their names: checkpoints record them, so that a run that is resumed with
    /// other ones can tell (<see cref="Trainer.ChangedSettings"/>). Default: none.
    /// </summary>
    protected virtual IEnumerable<KeyValuePair<string, string>> RecordedSettings => [];

    /// <summary>
    /// Updates a range of one parameter. It is called by several threads at a time for different ranges, and must treat every
    /// element alike wherever a range begins or ends, since results may not depend on the number of threads.
    /// </summary>
    /// <param name="range">The weights, their gradients and slots, and the step's numbers.</param>
    public abstract void Update(in OptimizerRange range);

    /// <summary>Whether a slot's numbers are never negative, so that a file in which one is was not written by a trainer.</summary>
    internal virtual bool IsNonNegative(int slot) => false;

    /// <summary>One trainer's use of this optimizer for one group of parameters, or for those that are in none.</summary>
    /// <param name="weightDecay">The group's weight decay; null for the optimizer's.</param>
    internal virtual OptimizerUpdate CreateUpdate(float? weightDecay) => new(this);

    /// <summary>The kernel of <see cref="CudaOptimizers"/> that does what <see cref="Update"/> does; null where there is none, and a device's gradients are fetched for it.</summary>
    internal virtual string? DeviceKernel => null;

    /// <summary>Every setting, those that all optimizers have first.</summary>
    internal IEnumerable<KeyValuePair<string, string>> AllSettings()
    {
        yield return Setting(nameof(LearningRate), LearningRate);
        yield return new(nameof(Schedule), Schedule?.ToString() ?? "none");
        yield return Setting(nameof(GradientClip), GradientClip);
        for (int index = 0; index < Groups.Count; index++)
        {
            yield return new(string.Create(CultureInfo.InvariantCulture, $"{nameof(Groups)}[{index}]"), Groups[index].ToString());
        }

        foreach (KeyValuePair<string, string> setting in RecordedSettings)
        {
            yield return setting;
        }
    }

    private protected static KeyValuePair<string, string> Setting(string name, float value) => new(name, value.ToString(CultureInfo.InvariantCulture));

    internal static float? NotNegative(float? value, string name) => value is { } given ? NotNegative(given, name) : null;

    private protected static float NotNegative(float value, string name)
        => value >= 0 && float.IsFinite(value) ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be 0 or more, and finite.");

    private protected static float Fraction(float value, string name)
        => value is >= 0 and < 1 ? value : throw new ArgumentOutOfRangeException(name, value, $"{name} must be from 0 to below 1.");

    /// <summary>The number that was written: 0.999f is 0.99900001287 in double precision, but 0.999 was meant.</summary>
    private protected static double Written(float value) => value is > 1e-7f and < 1e7f ? (double)(decimal)value : value;
}
