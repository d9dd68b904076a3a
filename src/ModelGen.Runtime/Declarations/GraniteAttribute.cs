namespace ModelGen;

/// <summary>
/// Declares a decoder of the Granite 4.0 H family: selective state spaces in most layers, attention that knows no positions in the others, and a tied head. Which layer has which, <see cref="DecoderAttribute.StateHeads"/>, and the four multipliers, which
/// differ between its models, are to be declared: <c>Mixers = new[] { TokenMixer.StateSpace, …, TokenMixer.Attention }</c>, <see cref="DecoderAttribute.EmbeddingMultiplier"/>, <see cref="DecoderAttribute.ResidualMultiplier"/>,
/// <see cref="DecoderAttribute.AttentionScale"/> and <see cref="DecoderAttribute.LogitScale"/>.
/// </summary>
/// <remarks>IBM, "Granite 4.0" (2025); Dao and Gu, "Transformers are SSMs" (2024).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class GraniteAttribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public GraniteAttribute()
    {
        ConvolutionTaps = 4;
        ConvolutionBias = true;
        Positions = PositionEncoding.None;
        TieEmbeddings = true;
    }
}
