namespace ModelGen;

/// <summary>
/// Declares a decoder of the Qwen3 family: each head's queries and keys are normalized, the norms' epsilon is 1e-6, and the <see cref="DecoderAttribute.RotaryBase"/> 1,000,000. Qwen2 and Qwen2.5 have
/// <c>QkvBias = true, QueryKeyNorm = QueryKeyNorm.None</c>.
/// </summary>
/// <remarks>Yang et al., "Qwen3 Technical Report" (2025).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class QwenAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public QwenAttribute()
    {
        NormEpsilon = 1e-6;
        RotaryBase = 1e6;
        QueryKeyNorm = QueryKeyNorm.Head;
    }
}
