namespace ModelGen;

/// <summary>An output of a beam search or of sampling. It is valid until the next search.</summary>
public readonly ref struct Hypothesis
{
    internal Hypothesis(ReadOnlySpan<int> tokens, ReadOnlySpan<float> logProbabilities, ReadOnlySpan<float> alignment, bool hasEnded, double logProbability, double score)
    {
        Tokens = tokens;
        LogProbabilities = logProbabilities;
        Alignment = alignment;
        HasEnded = hasEnded;
        LogProbability = logProbability;
        Score = score;
    }

    /// <summary>The tokens, without the prompt, with the end token if the output ended.</summary>
    public ReadOnlySpan<int> Tokens { get; }

    /// <summary>The tokens without the end token.</summary>
    public ReadOnlySpan<int> Content => HasEnded ? Tokens[..^1] : Tokens;

    /// <summary>The log-probability of each token after those before it, in nats.</summary>
    public ReadOnlySpan<float> LogProbabilities { get; }

    /// <summary>Tokens × <see cref="ISequenceDecoder.AlignmentLength"/>: which source positions the model attended to for each token; empty if it was not asked for.</summary>
    public ReadOnlySpan<float> Alignment { get; }

    /// <summary>Whether the output ended by an end token, and not for its length.</summary>
    public bool HasEnded { get; }

    /// <summary>The log-probability of all tokens, in nats.</summary>
    public double LogProbability { get; }

    /// <summary>What the search ranks by: see <see cref="BeamSearchOptions"/>. Of a sample, its log-probability.</summary>
    public double Score { get; }
}
