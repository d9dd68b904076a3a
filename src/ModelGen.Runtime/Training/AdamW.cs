using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019; Kingma and Ba, 2015), in the order of operations of PyTorch's AdamW:
/// w ← w(1 − ηλ); m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
/// </summary>
public sealed partial class AdamW : Optimizer
{
    private static readonly string[] s_slots = ["exp_avg", "exp_avg_sq"];
    private readonly float _beta1 = 0.9f;
    private readonly float _beta2 = 0.999f;
    private readonly float _epsilon = 1e-8f;
    private readonly float _weightDecay = 0.01f;
    private readonly double _exactBeta1 = 0.9;
    private readonly double _exactBeta2 = 0.999;
    private readonly double _exactWeightDecay = 0.01;

    /// <summary>Creates an optimizer with a learning rate of 1e-3.</summary>
    public AdamW()
        : base(1e-3f)
    {
    }

    /// <summary>β₁, the decay of the mean of gradients; 0 to below 1. Default: 0.9.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is outside its range.</exception>
    public float Beta1
    {
        get => _beta1;
        init
        {
            _beta1 = Fraction(value, nameof(Beta1));
            _exactBeta1 = Written(value);
        }
    }

    /// <summary>β₂, the decay of the mean of squared gradients; 0 to below 1. Default: 0.999.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is outside its range.</exception>
    public float Beta2
    {
        get => _beta2;
        init
        {
            _beta2 = Fraction(value, nameof(Beta2));
            _exactBeta2 = Written(value);
        }
    }

    /// <summary>ε, which keeps the divisor from zero. Default: 1e-8.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float Epsilon
    {
        get => _epsilon;
        init => _epsilon = NotNegative(value, nameof(Epsilon));
    }

    /// <summary>
    /// λ, the decay of the weights of those parameters that have it (<see cref="ParameterInfo.WeightDecay"/>: matrices and embeddings, but
    /// neither biases nor the vectors of normalizations). Default: 0.01.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float WeightDecay
    {
        get => _weightDecay;
        init
        {
            _weightDecay = NotNegative(value, nameof(WeightDecay));
            _exactWeightDecay = Written(value);
        }
    }

    /// <inheritdoc/>
    public override string Name => nameof(AdamW);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Slots => s_slots;

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, string>> RecordedSettings
        => [Setting(nameof(Beta1), Beta1), Setting(nameof(Beta2), Beta2), Setting(nameof(Epsilon), Epsilon), Setting(nameof(WeightDecay), WeightDecay)];

    /// <inheritdoc/>
    public override void Update(in OptimizerRange range)
    {
        var coefficients = new Coefficients(this, range.Step, range.LearningRate, DecayOf(range.GroupWeightDecay));
        Kernel.Update(in coefficients, in range);
    }

    // The mean of squared gradients.
    internal override bool IsNonNegative(int slot) => slot == 1;

    internal override string? DeviceKernel => nameof(AdamW);

    internal override OptimizerUpdate CreateUpdate(float? weightDecay) => new Updater(this, DecayOf(weightDecay));

    private double DecayOf(float? weightDecay) => weightDecay is { } own ? Written(own) : _exactWeightDecay;
}
