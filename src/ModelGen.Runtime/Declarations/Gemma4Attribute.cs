namespace ModelGen;

/// <summary>
/// Declares a decoder of the Gemma 4 family: norms before and behind attention and the feed-forward network, normalized queries, keys and values, scores that are not scaled, <see cref="Activation.GeluTanh"/>, a tied head, embeddings multiplied by √DModel, outputs of layers
/// multiplied by a learned number, and rotary bases of 10,000 in layers that see a window and of 1,000,000, with a quarter of the pairs turning, in the others. Windows, widths and what layers share are to be declared:
/// <c>Attention = AttentionPattern.Window, LayerWindows = new[] { 512, 512, 512, 512, 0 }, LayerHeadWidths = new[] { 256, 256, 256, 256, 512 }, SharedKeyValueLayers = 20, PerLayerWidth = 256, LogitSoftCap = 30</c>.
/// </summary>
/// <remarks>Google DeepMind, "Gemma 4 Model Card" (2026).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class Gemma4Attribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public Gemma4Attribute()
    {
        NormEpsilon = 1e-6;
        RotaryBase = 1e6;
        WindowRotaryBase = 10_000;
        GlobalRotaryFraction = 0.25;
        NormPlacement = NormPlacement.Both;
        QueryKeyNorm = QueryKeyNorm.Head;
        ValueNorm = true;
        AttentionScale = 1;
        Activation = Activation.GeluTanh;
        LayerScale = true;
        TieEmbeddings = true;
        EmbeddingMultiplier = 0;
    }
}
