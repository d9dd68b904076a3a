namespace ModelGen;

/// <summary>
/// Declares a decoder of the Gemma 3 family: norms by 1 + weight before and behind attention and the feed-forward network, normalized queries and keys, <see cref="Activation.GeluTanh"/>, a tied head, embeddings multiplied by √DModel,
/// and rotary bases of 1,000,000 and, in layers that see a window, 10,000. Windows are to be declared: <c>Attention = AttentionPattern.Window, LayerWindows = new[] { 512, 512, 512, 512, 512, 0 }</c>.
/// </summary>
/// <remarks>Gemma Team, "Gemma 3 Technical Report" (2025).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class GemmaAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public GemmaAttribute()
    {
        NormEpsilon = 1e-6;
        RotaryBase = 1e6;
        WindowRotaryBase = 10_000;
        Norm = Normalization.OffsetRootMeanSquare;
        NormPlacement = NormPlacement.Both;
        QueryKeyNorm = QueryKeyNorm.Head;
        Activation = Activation.GeluTanh;
        TieEmbeddings = true;
        EmbeddingMultiplier = 0;
    }
}
