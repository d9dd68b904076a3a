namespace ModelGen.Runtime;

/// <summary>Takes out of logits what <see cref="DecodingOptions"/> forbid. Nothing is allocated after construction.</summary>
internal sealed class TokenRules(DecodingOptions options, ISequenceDecoder decoder)
{
    private readonly int[] _endTokens = [.. options.EndTokens];
    private readonly int[][] _suppressed = options.Suppressed.Map(static sequence => (int[])[.. sequence]);
    private readonly float[] _logits = new float[decoder.VocabularySize];

    public bool Ends(int token) => Array.IndexOf(_endTokens, token) >= 0;

    /// <summary>Logits in which what may not follow is negative infinity: those given if all may, else a copy, until the next call.</summary>
    public ReadOnlySpan<float> Apply(int input, ReadOnlySpan<int> prompt, ReadOnlySpan<int> tokens, ReadOnlySpan<float> logits)
    {
        bool copied = false;
        if (options.Constraint is not null)
        {
            logits.CopyTo(_logits);
            copied = true;
            options.Constraint.Restrict(input, tokens, _logits);
        }

        if (tokens.Length < options.MinLength)
        {
            foreach (int token in _endTokens)
            {
                Forbid(token, logits);
            }
        }

        int length = prompt.Length + tokens.Length;
        foreach (int[] sequence in _suppressed)
        {
            int known = sequence.Length - 1;
            if (known <= tokens.Length && tokens[^known..].SequenceEqual(sequence.AsSpan(0, known)))
            {
                Forbid(sequence[known], logits);
            }
        }

        int before = options.NoRepeatNGram - 1;
        for (int start = 0; before >= 0 && start + before < length; start++)
        {
            int same = 0;
            while (same < before && At(prompt, tokens, start + same) == At(prompt, tokens, length - before + same))
            {
                same++;
            }

            if (same == before)
            {
                Forbid(At(prompt, tokens, start + before), logits);
            }
        }

        return copied ? _logits : logits;

        void Forbid(int token, ReadOnlySpan<float> source)
        {
            if (!copied)
            {
                source.CopyTo(_logits);
                copied = true;
            }

            _logits[token] = float.NegativeInfinity;
        }
    }

    private static int At(ReadOnlySpan<int> prompt, ReadOnlySpan<int> tokens, int index) => index < prompt.Length ? prompt[index] : tokens[index - prompt.Length];
}
