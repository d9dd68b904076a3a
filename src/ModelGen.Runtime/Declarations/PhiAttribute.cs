namespace ModelGen;

/// <summary>
/// Declares a decoder of the Phi-1 and Phi-2 family: attention and a plain feed-forward network beside each other, behind one layer norm, <see cref="Activation.GeluTanh"/>, and biases everywhere. Their <see cref="DecoderAttribute.RotaryFraction"/>
/// is 0.5 and 0.4. Parameters are named as Llama's, and files with Phi's own names (<c>self_attn.dense</c>, <c>mlp.fc1</c>) are read too. (Phi-3 is a Llama with its projections in one.)
/// </summary>
/// <remarks>Gunasekar et al., "Textbooks Are All You Need" (2023).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class PhiAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public PhiAttribute()
    {
        Norm = Normalization.Layer;
        Form = BlockForm.Parallel;
        Activation = Activation.GeluTanh;
        GatedFeedForward = false;
        QkvBias = true;
        OutputBias = true;
        FeedForwardBias = true;
        HeadBias = true;
    }
}
