namespace ModelGen;

/// <summary>
/// Declares a decoder of the Llama family (Llama 2 and 3, SmolLM2, TinyLlama): <see cref="DecoderAttribute"/> as it is. Llama 3.x has a <see cref="DecoderAttribute.RotaryBase"/> of 500,000 and
/// <see cref="RotaryScaling.Llama3"/>.
/// </summary>
/// <remarks>Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023); Grattafiori et al., "The Llama 3 Herd of Models" (2024).</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class LlamaAttribute : DecoderAttribute;
