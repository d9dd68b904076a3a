namespace ModelGen.Runtime;

/// <summary>Outputs of limited length: their tokens, the tokens' log-probabilities and, where there is one, their alignment.</summary>
internal sealed class Lines(int count, int length, int sources)
{
    private readonly int[] _tokens = new int[checked(count * length)];
    private readonly float[] _logProbabilities = new float[count * length];
    private readonly float[] _alignment = new float[checked(count * length * sources)];

    public ReadOnlySpan<int> Tokens(int line, int tokens) => _tokens.AsSpan(line * length, tokens);

    /// <summary>Sets one token of a line; of the alignment, the part that is kept.</summary>
    public void Set(int line, int position, int token, float logProbability, ReadOnlySpan<float> alignment)
    {
        _tokens[(line * length) + position] = token;
        _logProbabilities[(line * length) + position] = logProbability;
        if (sources > 0)
        {
            alignment.CopyTo(_alignment.AsSpan(((line * length) + position) * sources));
        }
    }

    /// <summary>Copies the beginning of another line, perhaps of other lines.</summary>
    public void Copy(Lines from, int source, int line, int tokens)
    {
        from.Tokens(source, tokens).CopyTo(_tokens.AsSpan(line * length));
        from._logProbabilities.AsSpan(source * length, tokens).CopyTo(_logProbabilities.AsSpan(line * length));
        from._alignment.AsSpan(source * length * sources, tokens * sources).CopyTo(_alignment.AsSpan(line * length * sources));
    }

    public Hypothesis Hypothesis(int line, int tokens, bool hasEnded, double logProbability, double score) => new(
        Tokens(line, tokens),
        _logProbabilities.AsSpan(line * length, tokens),
        _alignment.AsSpan(line * length * sources, tokens * sources),
        hasEnded,
        logProbability,
        score);
}
