namespace ModelGen;

/// <summary>
/// Declares a decoder of the gpt-oss family: attention with sinks and biases, a mixture of experts with clamped gates, <see cref="Activation.QuickGelu"/> and biases, and a rotary base of 150,000. Experts, windows and the scaling of angles are to be declared:
/// <c>Experts = 32, ActiveExperts = 4, Attention = AttentionPattern.Window, LayerWindows = new[] { 128, 0 }, RotaryScaling = RotaryScaling.Yarn, RotaryFactor = 32, RotaryOriginalContext = 4096</c>.
/// </summary>
/// <remarks>OpenAI, "gpt-oss-120b and gpt-oss-20b Model Card" (2025).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class GptOssAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public GptOssAttribute()
    {
        RotaryBase = 150_000;
        QkvBias = true;
        OutputBias = true;
        FeedForwardBias = true;
        RouterBias = true;
        AttentionSinks = true;
        Activation = Activation.QuickGelu;
        GateLimit = 7;
        UpOffset = 1;
    }
}
