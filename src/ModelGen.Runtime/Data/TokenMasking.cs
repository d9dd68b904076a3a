namespace ModelGen;

/// <summary>
/// Masks tokens for pre-training: of the tokens that are chosen to be predicted, most become the mask token, some become a random token, and some stay
/// as they are, so that the model cannot rely on a mask where it has to answer. Nothing is allocated, and the same random numbers give the same masks.
/// </summary>
/// <remarks>Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding" (2019), section 3.1.</remarks>
public sealed class TokenMasking
{
    /// <param name="maskToken">The id of the mask token, one of the special tokens.</param>
    /// <param name="vocabularySize">The number of token ids.</param>
    /// <param name="firstWord">The first id that is no special token: those before it (padding, separators, the mask) are never chosen and never drawn.</param>
    /// <exception cref="ArgumentOutOfRangeException">The mask is not in the vocabulary or no special token, or no token is left that is not special.</exception>
    public TokenMasking(int maskToken, int vocabularySize, int firstWord)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maskToken);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(maskToken, vocabularySize);
        ArgumentOutOfRangeException.ThrowIfNegative(firstWord);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(firstWord, vocabularySize);
        if (maskToken >= firstWord)
        {
            throw new ArgumentOutOfRangeException(nameof(maskToken), maskToken, FormattableString.Invariant($"Expected a special token, below the first word's id {firstWord}, found {maskToken}: as a word it would be drawn, and be there to predict."));
        }

        (MaskToken, VocabularySize, FirstWord) = (maskToken, vocabularySize, firstWord);
    }

    /// <summary>The id of the mask token.</summary>
    public int MaskToken { get; }

    /// <summary>The number of token ids.</summary>
    public int VocabularySize { get; }

    /// <summary>The first id that is no special token.</summary>
    public int FirstWord { get; }

    /// <summary>The probability that a token is chosen. Default: 0.15.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not from 0 to 1.</exception>
    public double Probability { get; init => field = Part(value, nameof(Probability)); } = 0.15;

    /// <summary>Of the chosen tokens, the share that becomes the mask. Default: 0.8.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not from 0 to 1.</exception>
    public double MaskedShare { get; init => field = Part(value, nameof(MaskedShare)); } = 0.8;

    /// <summary>Of the chosen tokens, the share that becomes a random token; the rest stays. Default: 0.1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not from 0 to 1.</exception>
    public double RandomShare { get; init => field = Part(value, nameof(RandomShare)); } = 0.1;

    /// <summary>Masks sequences of tokens. Where none is chosen, one is, so that there is something to predict.</summary>
    /// <param name="tokens">The tokens; those that are special are left alone.</param>
    /// <param name="inputs">What the model is to see, as many.</param>
    /// <param name="targets">What it is to predict, as many: the token that was chosen, and -1 elsewhere.</param>
    /// <param name="random">Where random numbers come from.</param>
    /// <returns>How many tokens were chosen; 0 only if all of them are special.</returns>
    /// <exception cref="ArgumentException">The spans differ in length.</exception>
    /// <exception cref="InvalidOperationException"><see cref="MaskedShare"/> and <see cref="RandomShare"/> are more than 1 together.</exception>
    public int Mask(ReadOnlySpan<int> tokens, Span<int> inputs, Span<int> targets, ref CounterRandom random)
    {
        if (inputs.Length != tokens.Length || targets.Length != tokens.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"There are {tokens.Length} tokens, and room for {inputs.Length} inputs and {targets.Length} targets."));
        }

        if (MaskedShare + RandomShare > 1 + 1e-9)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"{nameof(MaskedShare)} is {MaskedShare} and {nameof(RandomShare)} {RandomShare}: together at most 1."));
        }

        int chosen = 0, words = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            (inputs[i], targets[i]) = (tokens[i], -1);
            if (tokens[i] < FirstWord)
            {
                continue;
            }

            words++;
            if (random.NextDouble() < Probability)
            {
                Choose(i, tokens, inputs, targets, ref random);
                chosen++;
            }
        }

        if (chosen > 0 || words == 0)
        {
            return chosen;
        }

        int number = random.NextInt32(words);
        for (int i = 0; i < tokens.Length; i++)
        {
            if (tokens[i] >= FirstWord && number-- == 0)
            {
                Choose(i, tokens, inputs, targets, ref random);
            }
        }

        return 1;
    }

    private static double Part(double value, string name)
        => value is >= 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(name, value, "Expected a number from 0 to 1.");

    private void Choose(int index, ReadOnlySpan<int> tokens, Span<int> inputs, Span<int> targets, ref CounterRandom random)
    {
        targets[index] = tokens[index];
        double kind = random.NextDouble();
        if (kind < MaskedShare)
        {
            inputs[index] = MaskToken;
        }
        else if (kind < MaskedShare + RandomShare)
        {
            inputs[index] = FirstWord + random.NextInt32(VocabularySize - FirstWord);
        }
    }
}
