using System.Numerics;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Stochastic gradient descent with the semantics of PyTorch's SGD: g ← g + λw; with momentum μ, b ← μb + g (b = g at the first step),
/// and g ← g + μb (Nesterov) or b; w ← w − ηg.
/// </summary>
/// <remarks>Polyak (1964); Nesterov (1983), in the form of Sutskever et al. (2013).</remarks>
public sealed class Sgd : Optimizer
{
    private static readonly string[] s_slots = ["momentum_buffer"];
    private readonly float _momentum;
    private readonly float _weightDecay;

    /// <summary>Creates an optimizer with a learning rate of 1e-3.</summary>
    public Sgd()
        : base(1e-3f)
    {
    }

    /// <summary>μ, the share of the last step's direction that is kept; 0 to below 1. Default: 0, which needs no memory.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is outside its range.</exception>
    public float Momentum
    {
        get => _momentum;
        init => _momentum = Fraction(value, nameof(Momentum));
    }

    /// <summary>Whether to look ahead along the momentum. Without momentum it changes nothing. Default: false.</summary>
    public bool Nesterov { get; init; }

    /// <summary>
    /// λ, the weight of the L2 penalty for those parameters that have weight decay (<see cref="ParameterInfo.WeightDecay"/>: matrices and
    /// embeddings, but neither biases nor the vectors of normalizations). Default: 0.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float WeightDecay
    {
        get => _weightDecay;
        init => _weightDecay = NotNegative(value, nameof(WeightDecay));
    }

    /// <inheritdoc/>
    public override string Name => nameof(Sgd);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Slots => _momentum > 0 ? s_slots : [];

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, string>> RecordedSettings
        => [Setting(nameof(Momentum), Momentum), new(nameof(Nesterov), Nesterov ? "true" : "false"), Setting(nameof(WeightDecay), WeightDecay)];

    /// <inheritdoc/>
    public override void Update(in OptimizerRange range)
    {
        float decay = range.WeightDecay ? range.GroupWeightDecay ?? _weightDecay : 0;
        float negativeRate = -range.LearningRate;
        float momentum = _momentum;
        float scale = range.GradientScale;
        Span<float> w = range.Weights;
        ReadOnlySpan<float> g = range.Gradients[..w.Length];
        Span<Vector<float>> w8 = MemoryMarshal.Cast<float, Vector<float>>(w);
        ReadOnlySpan<Vector<float>> g8 = MemoryMarshal.Cast<float, Vector<float>>(g)[..w8.Length];

        // Every operation is element-wise and correctly rounded, so lanes and tail agree to the bit at any vector width.
        int tail = w8.Length * Vector<float>.Count;
        if (momentum == 0)
        {
            for (int i = 0; i < w8.Length; i++)
            {
                w8[i] += ((g8[i] * scale) + (w8[i] * decay)) * negativeRate;
            }

            for (int i = tail; i < w.Length; i++)
            {
                w[i] += ((g[i] * scale) + (w[i] * decay)) * negativeRate;
            }

            return;
        }

        // The buffer starts at zero, so the first step leaves the gradient itself in it.
        bool nesterov = Nesterov;
        Span<float> b = range.Slot(0)[..w.Length];
        Span<Vector<float>> b8 = MemoryMarshal.Cast<float, Vector<float>>(b)[..w8.Length];
        for (int i = 0; i < w8.Length; i++)
        {
            Vector<float> gradient = (g8[i] * scale) + (w8[i] * decay);
            Vector<float> buffer = (b8[i] * momentum) + gradient;
            b8[i] = buffer;
            w8[i] += (nesterov ? gradient + (buffer * momentum) : buffer) * negativeRate;
        }

        for (int i = tail; i < w.Length; i++)
        {
            float gradient = (g[i] * scale) + (w[i] * decay);
            float buffer = (b[i] * momentum) + gradient;
            b[i] = buffer;
            w[i] += (nesterov ? gradient + (buffer * momentum) : buffer) * negativeRate;
        }
    }

    internal override string? DeviceKernel => _momentum == 0 ? nameof(Sgd) : Nesterov ? "SgdNesterov" : "SgdMomentum";

    internal override OptimizerUpdate CreateUpdate(float? weightDecay) => new Updater(this, weightDecay ?? _weightDecay);

    private sealed class Updater(Sgd optimizer, float weightDecay) : OptimizerUpdate(optimizer)
    {
        private readonly float _momentum = optimizer._momentum;
        private float _rate;

        public override void Begin(long step, float learningRate) => _rate = learningRate;

        public override void WriteCoefficients(bool decays, Span<float> coefficients)
        {
            coefficients.Clear();
            (coefficients[0], coefficients[1], coefficients[2]) = (decays ? weightDecay : 0, -_rate, _momentum);
        }
    }
}
