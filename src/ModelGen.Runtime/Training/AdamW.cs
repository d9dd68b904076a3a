using System.Numerics;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019; Kingma and Ba, 2015), in the order of operations of PyTorch's AdamW:
/// w ← w(1 − ηλ); m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; w ← w − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
/// </summary>
public sealed class AdamW : Optimizer
{
    private static readonly string[] s_slots = ["exp_avg", "exp_avg_sq"];
    private readonly float _beta1 = 0.9f;
    private readonly float _beta2 = 0.999f;
    private readonly float _epsilon = 1e-8f;
    private readonly float _weightDecay = 0.01f;
    private readonly double _exactBeta1 = 0.9;
    private readonly double _exactBeta2 = 0.999;

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

    /// <summary>λ, the decay of the weights of those parameters that have it. Default: 0.01.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is negative or not finite.</exception>
    public float WeightDecay
    {
        get => _weightDecay;
        init => _weightDecay = NotNegative(value, nameof(WeightDecay));
    }

    /// <inheritdoc/>
    public override string Name => nameof(AdamW);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Slots => s_slots;

    /// <inheritdoc/>
    public override void Update(in OptimizerRange range)
    {
        double correction1 = 1 - Math.Pow(_exactBeta1, range.Step);
        double correction2 = 1 - Math.Pow(_exactBeta2, range.Step);
        float decay = range.WeightDecay ? (float)(1 - ((double)range.LearningRate * Written(_weightDecay))) : 1;
        float beta1 = _beta1;
        float beta2 = _beta2;
        float rest1 = (float)(1 - _exactBeta1);
        float rest2 = (float)(1 - _exactBeta2);
        float root = (float)Math.Sqrt(correction2);
        float negativeStep = (float)-(range.LearningRate / correction1);
        float epsilon = _epsilon;
        float scale = range.GradientScale;

        Span<float> w = range.Weights;
        ReadOnlySpan<float> g = range.Gradients[..w.Length];
        Span<float> m = range.Slot(0)[..w.Length];
        Span<float> v = range.Slot(1)[..w.Length];

        // Every operation is element-wise and correctly rounded, so lanes and tail agree to the bit at any vector width.
        Span<Vector<float>> w8 = MemoryMarshal.Cast<float, Vector<float>>(w);
        ReadOnlySpan<Vector<float>> g8 = MemoryMarshal.Cast<float, Vector<float>>(g)[..w8.Length];
        Span<Vector<float>> m8 = MemoryMarshal.Cast<float, Vector<float>>(m)[..w8.Length];
        Span<Vector<float>> v8 = MemoryMarshal.Cast<float, Vector<float>>(v)[..w8.Length];
        var roots = new Vector<float>(root);
        var epsilons = new Vector<float>(epsilon);
        for (int i = 0; i < w8.Length; i++)
        {
            Vector<float> gradient = g8[i] * scale;
            Vector<float> first = (m8[i] * beta1) + (gradient * rest1);
            Vector<float> second = (v8[i] * beta2) + (gradient * rest2 * gradient);
            m8[i] = first;
            v8[i] = second;
            w8[i] = (w8[i] * decay) + (first * negativeStep / ((Vector.SquareRoot(second) / roots) + epsilons));
        }

        for (int i = w8.Length * Vector<float>.Count; i < w.Length; i++)
        {
            float gradient = g[i] * scale;
            float first = (m[i] * beta1) + (gradient * rest1);
            float second = (v[i] * beta2) + (gradient * rest2 * gradient);
            m[i] = first;
            v[i] = second;
            w[i] = (w[i] * decay) + (first * negativeStep / ((MathF.Sqrt(second) / root) + epsilon));
        }
    }
}
