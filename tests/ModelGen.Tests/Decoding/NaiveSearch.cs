namespace ModelGen.Tests.Decoding;

/// <summary>An output, as the naive searches find it.</summary>
internal sealed record Output(int[] Tokens, bool HasEnded, double LogProbability, double Score);

/// <summary>Beam search and exhaustive search as <see cref="BeamSearchOptions"/> describe them, with lists and sorting, over a function from tokens to logits.</summary>
internal sealed class NaiveSearch(BeamSearchOptions options, int limit, int[] prompt, int[] prefix, Func<int[], float[]> logits, Func<int[], float[]>? alignment = null)
{
    /// <summary>All outputs that are allowed, best first.</summary>
    public List<Output> Exhaustive()
    {
        List<Output> found = [];
        Extend([], 0);
        return [.. found.OrderByDescending(output => output.Score)];

        void Extend(int[] tokens, double sum)
        {
            foreach ((int token, double logProbability) in Allowed(tokens))
            {
                int[] longer = [.. tokens, token];
                bool ends = options.EndTokens.Contains(token);
                if (ends || longer.Length == limit)
                {
                    found.Add(Finished(longer, ends, sum + logProbability));
                }
                else
                {
                    Extend(longer, sum + logProbability);
                }
            }
        }
    }

    public List<Output> Beams()
    {
        List<Output> pool = [];
        List<(int[] Tokens, double Sum)> live = [([], 0)];
        for (int length = 1; live.Count > 0; length++)
        {
            (int[] Tokens, int Token, double Sum)[] candidates =
            [
                .. live.SelectMany(beam => Allowed(beam.Tokens).Select(next => (beam.Tokens, next.Token, Sum: beam.Sum + next.LogProbability)))
                    .OrderByDescending(candidate => candidate.Sum).Take(options.Beams * (1 + Math.Max(1, options.EndTokens.Count))),
            ];
            live = [];
            for (int i = 0; i < candidates.Length && live.Count < options.Beams; i++)
            {
                int[] tokens = [.. candidates[i].Tokens, candidates[i].Token];
                if (!options.EndTokens.Contains(candidates[i].Token))
                {
                    live.Add((tokens, candidates[i].Sum));
                }
                else if (i < options.Beams)
                {
                    Keep(Finished(tokens, true, candidates[i].Sum));
                }
            }

            if (length == limit)
            {
                live.ForEach(beam => Keep(Finished(beam.Tokens, false, beam.Sum)));
                break;
            }

            int needed = options.Stopping == BeamStopping.Exact ? options.Results : options.Beams;
            if (live.Count == 0 || (pool.Count >= needed && Ends(pool[needed - 1].Score, live[0].Sum - Uncounted(live[0].Tokens), length)))
            {
                break;
            }
        }

        return [.. pool.Take(options.Results)];

        void Keep(Output output) => pool = [.. pool.Append(output).OrderByDescending(o => o.Score).Take(options.Beams)];
    }

    private bool Ends(double last, double sum, int length) => options.Stopping switch
    {
        BeamStopping.Exact => Enumerable.Range(length + 1, limit - length).All(n => last >= sum / Penalty(n)),
        BeamStopping.Estimate => last >= sum / Penalty(length),
        _ => true,
    };

    private double Penalty(int length) => Math.Pow(options.GnmtLengthPenalty ? (5 + length) / 6.0 : length, options.LengthPenalty);

    private Output Finished(int[] tokens, bool hasEnded, double sum)
    {
        double score = (sum - Uncounted(tokens)) / Penalty(tokens.Length);
        if (options.CoveragePenalty > 0)
        {
            float[][] weights = [.. Enumerable.Range(0, tokens.Length).Select(j => alignment!([.. prompt, .. tokens[..j]]))];
            score += options.CoveragePenalty * Enumerable.Range(0, weights[0].Length - 1).Sum(i => Math.Log(Math.Min(weights.Sum(w => (double)w[i]), 1)));
        }

        return new Output(tokens, hasEnded, sum, score);
    }

    /// <summary>The log-probability of what the prefix forced, if it does not count.</summary>
    private double Uncounted(int[] tokens) => options.ScorePrefix ? 0 : Enumerable.Range(0, Math.Min(tokens.Length, prefix.Length)).Sum(i =>
    {
        float[] all = logits([.. prompt, .. tokens[..i]]);
        return all[tokens[i]] - Math.Log(all.Sum(logit => Math.Exp(logit)));
    });

    private List<(int Token, double LogProbability)> Allowed(int[] tokens)
    {
        float[] all = logits([.. prompt, .. tokens]);
        double normalizer = Math.Log(all.Sum(logit => Math.Exp(logit)));
        int[] history = [.. prompt, .. tokens];
        List<(int, double)> allowed = [];
        for (int token = 0; token < all.Length; token++)
        {
            int[] longer = [.. tokens, token], history1 = [.. history, token];
            bool may = tokens.Length < prefix.Length ? token == prefix[tokens.Length]
                : !(options.EndTokens.Contains(token) && tokens.Length < options.MinLength)
                    && !options.Suppressed.Any(s => s.Count <= longer.Length && longer[^s.Count..].SequenceEqual(s))
                    && !(options.NoRepeatNGram > 0 && Repeats(history1, options.NoRepeatNGram));
            if (may)
            {
                allowed.Add((token, all[token] - normalizer));
            }
        }

        return allowed;
    }

    private static bool Repeats(int[] history, int n)
        => history.Length > n && Enumerable.Range(0, history.Length - n).Any(start => history.AsSpan(start, n).SequenceEqual(history.AsSpan(history.Length - n)));
}
