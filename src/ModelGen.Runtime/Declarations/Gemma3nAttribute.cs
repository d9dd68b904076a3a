namespace ModelGen;

/// <summary>
/// Declares a decoder of the Gemma 3n family: four residual streams of which a block computes one, a product of two matrices of rank 64 beside attention, norms before and behind attention and the feed-forward network, normalized queries, keys and values, scores that are not
/// scaled, <see cref="Activation.GeluTanh"/>, a tied head, embeddings multiplied by √DModel, and rotary bases of 10,000 in layers that see a window and of 1,000,000 in the others. Windows and what layers share are to be declared, for E2B:
/// <c>Attention = AttentionPattern.Window, LayerWindows = new[] { 512, 512, 512, 512, 0 }, SharedKeyValueLayers = 10, PerLayerWidth = 256, LayerSparsity = new[] { 0.95, … }, LogitSoftCap = 30</c>.
/// </summary>
/// <remarks>Google DeepMind, "Gemma 3n" (2025); Baykal et al., "Alternating Updates for Efficient Transformers" (2023); Menghani et al., "LAuReL: Learned Augmented Residual Layer" (2024).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class Gemma3nAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public Gemma3nAttribute()
    {
        NormEpsilon = 1e-6;
        RotaryBase = 1e6;
        WindowRotaryBase = 10_000;
        NormPlacement = NormPlacement.Both;
        QueryKeyNorm = QueryKeyNorm.Head;
        ValueNorm = true;
        AttentionScale = 1;
        Activation = Activation.GeluTanh;
        TieEmbeddings = true;
        EmbeddingMultiplier = 0;
        Streams = 4;
        LaurelRank = 64;
    }
}
