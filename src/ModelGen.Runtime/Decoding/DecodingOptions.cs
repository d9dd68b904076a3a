namespace ModelGen;

/// <summary>What beam search and sampling have in common: how long outputs get, how they end, and which tokens may not follow.</summary>
public record DecodingOptions
{
    /// <summary>The most tokens of an output, the end token and a forced prefix included. 0: as many as the session's context has room for. Default: 0.</summary>
    public int MaxLength { get; init; }

    /// <summary>How many tokens an output has at least before an end token may follow; no more than an output has at most. Default: 0.</summary>
    public int MinLength { get; init; }

    /// <summary>The tokens any of which ends an output. With none, outputs end at <see cref="MaxLength"/>.</summary>
    public IReadOnlyList<int> EndTokens { get; init; } = [];

    /// <summary>
    /// No run of so many tokens occurs twice in a prompt and its output: what would complete one a second time does not follow (Paulus, Xiong, Socher,
    /// "A deep reinforced model for abstractive summarization", 2018, section 2.5). 0: off. Default: 0.
    /// </summary>
    public int NoRepeatNGram { get; init; }

    /// <summary>Sequences of tokens of which none occurs in an output: the last token of one does not follow the others.</summary>
    public IReadOnlyList<IReadOnlyList<int>> Suppressed { get; init; } = [];

    /// <summary>Says which tokens may follow; null: any.</summary>
    public ITokenConstraint? Constraint { get; init; }

    /// <summary>Whether outputs come with their alignment, where the session gives one (<see cref="ISequenceDecoder.AlignmentLength"/>). Default: false.</summary>
    public bool Alignment { get; init; }

    /// <summary>The most tokens of an output of this session.</summary>
    internal int Length(ISequenceDecoder decoder)
    {
        // What has no room in the context needs none in memory: the last token of an output is not fed.
        int length = MaxLength > 0 && (decoder.ContextLength == 0 || MaxLength < decoder.ContextLength) ? MaxLength : decoder.ContextLength;
        return length > 0 ? length : throw new ArgumentException("MaxLength must be given, as the session's context has no limit.", "options");
    }

    /// <summary>Requires that everything fits the session.</summary>
    internal virtual void Check(ISequenceDecoder decoder)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(MaxLength);
        ArgumentOutOfRangeException.ThrowIfNegative(MinLength);
        ArgumentOutOfRangeException.ThrowIfNegative(NoRepeatNGram);
        int most = MaxLength > 0 && decoder.ContextLength > 0 ? Math.Min(MaxLength, decoder.ContextLength) : Math.Max(MaxLength, decoder.ContextLength);
        if (most > 0 && MinLength > most)
        {
            throw new ArgumentOutOfRangeException(nameof(MinLength), MinLength, FormattableString.Invariant($"Expected at most the {most} tokens that an output has at most ({(most == MaxLength ? nameof(MaxLength) : "the session's context")}), found {MinLength}."));
        }

        ArgumentNullException.ThrowIfNull(EndTokens);
        ArgumentNullException.ThrowIfNull(Suppressed);
        CheckTokens(EndTokens, nameof(EndTokens));
        foreach (IReadOnlyList<int> sequence in Suppressed)
        {
            if (sequence is null or { Count: 0 })
            {
                throw new ArgumentException("A suppressed sequence needs at least one token.", nameof(Suppressed));
            }

            CheckTokens(sequence, nameof(Suppressed));
        }

        if (Alignment && decoder.AlignmentLength == 0)
        {
            throw new ArgumentException("The session gives no alignment.", nameof(Alignment));
        }

        void CheckTokens(IReadOnlyList<int> tokens, string name)
        {
            foreach (int token in tokens)
            {
                if ((uint)token >= (uint)decoder.VocabularySize)
                {
                    throw new ArgumentOutOfRangeException(name, token, FormattableString.Invariant($"{name} has the token {token}, but the vocabulary's are 0 to {decoder.VocabularySize - 1}."));
                }
            }
        }
    }
}
