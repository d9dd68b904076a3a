namespace ModelGen;

/// <summary>
/// Declares a language model of the Mamba-2 family: a selective state space in every layer and nothing beside it, so that a session's memory does not grow with the text; a convolution of four steps with biases, no positions and a tied head.
/// <see cref="DecoderAttribute.Layers"/>, <see cref="DecoderAttribute.DModel"/>, <see cref="DecoderAttribute.StateHeads"/> and <see cref="DecoderAttribute.Vocab"/> are to be declared. Files of that family load by their own names.
/// </summary>
/// <remarks>Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality" (2024).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class Mamba2Attribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public Mamba2Attribute()
    {
        Mixers = [TokenMixer.StateSpace];
        ConvolutionTaps = 4;
        ConvolutionBias = true;
        Positions = PositionEncoding.None;
        TieEmbeddings = true;
    }
}
