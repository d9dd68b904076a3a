namespace ModelGen;

/// <summary>
/// Declares a decoder of the LFM2 family: gated short convolutions in most layers, attention with normalized queries and keys in the others, a rotary base of 1,000,000 and a tied head. Which layer has which is to be
/// declared: <c>Mixers = new[] { TokenMixer.ShortConvolution, TokenMixer.ShortConvolution, TokenMixer.Attention, … }</c>. Files of that family load by their own names.
/// </summary>
/// <remarks>Liquid AI, "LFM2 Technical Report" (2025).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class Lfm2Attribute : DecoderAttribute
{
    /// <summary>Sets what the family has by default.</summary>
    public Lfm2Attribute()
    {
        RotaryBase = 1e6;
        QueryKeyNorm = QueryKeyNorm.Head;
        TieEmbeddings = true;
    }
}
