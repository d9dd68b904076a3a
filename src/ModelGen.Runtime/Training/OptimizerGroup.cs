using System.Globalization;

namespace ModelGen;

/// <summary>Parameters with a learning rate or a weight decay of their own, as PyTorch's parameter groups.</summary>
public sealed class OptimizerGroup
{
    private readonly float? _learningRate;
    private readonly float? _weightDecay;

    /// <summary>Makes a group of the parameters whose names begin with one of these.</summary>
    /// <param name="names">The beginnings of names, such as <c>transformer.wte</c>; a parameter is in the first group that it fits, and an empty one fits all.</param>
    /// <exception cref="ArgumentException">There are no names, or one is null.</exception>
    public OptimizerGroup(params string[] names)
    {
        ArgumentNullException.ThrowIfNull(names);
        Names = names.Length > 0 && !Array.Exists(names, static name => name is null)
            ? [.. names]
            : throw new ArgumentException("A group must have at least one name, and none that is null.", nameof(names));
    }

    /// <summary>The beginnings of the names of its parameters.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The learning rate, which the optimizer's schedule scales; null for the optimizer's. Default: null.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float? LearningRate
    {
        get => _learningRate;
        init => _learningRate = Optimizer.NotNegative(value, nameof(LearningRate));
    }

    /// <summary>
    /// The weight decay of all its parameters, of those too that have none otherwise; null for the optimizer's, which is that of the
    /// parameters with <see cref="ParameterInfo.WeightDecay"/>. Default: null.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float? WeightDecay
    {
        get => _weightDecay;
        init => _weightDecay = Optimizer.NotNegative(value, nameof(WeightDecay));
    }

    /// <summary>The names and what the group has of its own.</summary>
    public override string ToString()
    {
        string names = string.Join(", ", Names);
        string rate = LearningRate is { } ownRate ? string.Create(CultureInfo.InvariantCulture, $"; {nameof(LearningRate)} {ownRate}") : "";
        return WeightDecay is { } ownDecay ? string.Create(CultureInfo.InvariantCulture, $"{names}{rate}; {nameof(WeightDecay)} {ownDecay}") : names + rate;
    }

    internal bool Contains(ParameterInfo parameter)
    {
        foreach (string name in Names)
        {
            if (parameter.Name.StartsWith(name, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }
}
