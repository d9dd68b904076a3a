namespace ModelGen;

/// <summary>
/// Declares an encoder with the architecture of ModernBERT: <see cref="BertAttribute"/> with norms before each branch, rotary positions, a gated feed-forward network, no biases but those of the head, no segments and no pooler, in the
/// Hugging Face layout of its own. Two layers of three see a window: <c>Attention = AttentionPattern.Window, LayerWindows = new[] { 0, 65, 65 }</c>, where the file's configuration has a <c>local_attention</c> of 128.
/// </summary>
/// <remarks>Warner et al., "Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder for Fast, Memory Efficient, and Long Context Finetuning and Inference" (2024).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class ModernBertAttribute : BertAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public ModernBertAttribute()
    {
        Segments = 0;
        Positions = PositionEncoding.Rotary;
        RotaryBase = 160_000;
        WindowRotaryBase = 10_000;
        PreNorm = true;
        GatedFeedForward = true;
        Bias = false;
        NormBias = false;
        ClassifierPooling = Pooling.FirstToken;
        Pooler = false;
        LayerNormEpsilon = 1e-5;
    }
}
