namespace ModelGen;

/// <summary>
/// Declares a decoder of the Mistral family: <see cref="DecoderAttribute"/> as it is. Mistral 7B v0.1 sees a window of 4,096 positions: <see cref="AttentionPattern.Window"/>.
/// </summary>
/// <remarks>Jiang et al., "Mistral 7B" (2023).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class MistralAttribute : DecoderAttribute;
