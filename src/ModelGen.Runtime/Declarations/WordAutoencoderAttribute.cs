namespace ModelGen;

/// <summary>
/// Declares a narrow code for words that is learned from text alone: a word of the vocabulary becomes a code of <see cref="Code"/> numbers, and the mean
/// of the codes of the words around a gap is decoded to the logits of the word that is missing. Words that stand in the same contexts get similar codes.
/// <c>Step(context, lengths, targets)</c> takes the words around each gap, at most 2 · <see cref="Window"/>, how many of them there are, and the
/// missing word, -1 where none counts; <c>Predict(context, lengths, logits)</c> fills gaps, <c>Encode(words, codes)</c> gives codes.
/// </summary>
/// <remarks>The continuous bag of words of Mikolov et al., "Efficient Estimation of Word Representations in Vector Space" (2013), section 3.1, with a whole softmax.</remarks>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class WordAutoencoderAttribute : Attribute
{
    /// <summary>The number of words. Required, 2 or more.</summary>
    public int Vocab { get; set; }

    /// <summary>The numbers in a code. Default: 256.</summary>
    public int Code { get; set; } = 256;

    /// <summary>The words on each side of a gap that are looked at, at most. Default: 2.</summary>
    public int Window { get; set; } = 2;
}
