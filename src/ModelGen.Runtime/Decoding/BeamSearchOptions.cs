namespace ModelGen;

/// <summary>When a beam search is through with an input.</summary>
public enum BeamStopping
{
    /// <summary>
    /// When no unfinished hypothesis can reach the score of the last one that is asked for, however it goes on: the bound is its log-probability with the length
    /// penalty that suits it best. Log-probabilities only fall, so that the search loses nothing by stopping.
    /// </summary>
    Exact,

    /// <summary>
    /// When there are as many finished hypotheses as beams and the best unfinished one, scored as if it ended now, does not reach the last of them. With a positive length penalty a later
    /// hypothesis may still have been better (<c>early_stopping=False</c> of Hugging Face's transformers).
    /// </summary>
    Estimate,

    /// <summary>As soon as there are as many finished hypotheses as beams (<c>early_stopping=True</c> of transformers; CTranslate2's rule). With one beam this is greedy decoding.</summary>
    WhenFull,
}

/// <summary>How a beam search ranks hypotheses and when it stops.</summary>
/// <remarks>
/// <para>
/// A hypothesis Y with n tokens, its end token included, scores log P(Y) / lp(n) + cp(Y). log P is the sum of its tokens' log-probabilities, which are the model's own: what a constraint forbids is left out,
/// and the rest is not renormalized. A prompt counts neither in the sum nor in the length, a forced prefix does in both, or with <see cref="ScorePrefix"/> false in the length alone.
/// </para>
/// <para>
/// The length penalty lp(n) is n^α (Hugging Face's transformers and CTranslate2), or ((5 + n) / 6)^α (Wu et al., "Google's neural machine translation system", 2016, equation 14). α = 0 ranks by probability,
/// which favours short outputs; greater ones favour longer outputs.
/// </para>
/// <para>
/// A step takes the best (1 + end tokens) × beams of what may follow all beams, in the order of log P, ties by the better beam and then by the lower id. Of these, end tokens among the first so many as there are beams finish a
/// hypothesis; the first so many others are the next beams.
/// </para>
/// </remarks>
public sealed record BeamSearchOptions : DecodingOptions
{
    /// <summary>The number of unfinished hypotheses of each input that are followed. Default: 4.</summary>
    public int Beams { get; init; } = 4;

    /// <summary>How many hypotheses of each input are asked for, best first; at most <see cref="Beams"/>. Default: 1.</summary>
    public int Results { get; init; } = 1;

    /// <summary>The exponent α of the length penalty. Default: 1.</summary>
    public double LengthPenalty { get; init; } = 1;

    /// <summary>Whether the length penalty is ((5 + n) / 6)^α instead of n^α. Default: false.</summary>
    public bool GnmtLengthPenalty { get; init; }

    /// <summary>
    /// Whether the log-probability of a forced prefix counts in scores, which are then those that the same outputs have in a search without it. False: it counts as certain, so that an unlikely prefix does not make longer outputs better
    /// than shorter ones, whose mean it weighs down more (CTranslate2's rule). Default: true.
    /// </summary>
    public bool ScorePrefix { get; init; } = true;

    /// <summary>
    /// The factor β of the coverage penalty cp(Y) = β Σᵢ log min(Σⱼ pᵢⱼ, 1), where pᵢⱼ is the weight of source position i for token j (Wu et al. 2016, equation 14): source positions that no token attended to cost. It is added when a hypothesis ends, and
    /// needs a session with an alignment. Default: 0.
    /// </summary>
    public double CoveragePenalty { get; init; }

    /// <summary>When the search is through with an input. Default: <see cref="BeamStopping.Exact"/>.</summary>
    public BeamStopping Stopping { get; init; }

    /// <summary>The length penalty of so many tokens.</summary>
    internal double Penalty(int length) => LengthPenalty == 0 ? 1 : Math.Pow(GnmtLengthPenalty ? (5 + length) / 6.0 : length, LengthPenalty);

    internal override void Check(ISequenceDecoder decoder)
    {
        base.Check(decoder);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Beams);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Results);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Results, Beams);
        if (!double.IsFinite(LengthPenalty))
        {
            throw new ArgumentOutOfRangeException(nameof(LengthPenalty), LengthPenalty, "The length penalty must be a finite number.");
        }

        if (!(CoveragePenalty >= 0 && double.IsFinite(CoveragePenalty)))
        {
            throw new ArgumentOutOfRangeException(nameof(CoveragePenalty), CoveragePenalty, "The coverage penalty must be a finite number, 0 or more.");
        }

        if (!Enum.IsDefined(Stopping))
        {
            throw new ArgumentOutOfRangeException(nameof(Stopping), Stopping, $"Expected a value of {nameof(BeamStopping)}.");
        }

        if (CoveragePenalty > 0 && decoder.AlignmentLength == 0)
        {
            throw new ArgumentException("A coverage penalty needs a session with an alignment.", nameof(CoveragePenalty));
        }

        if (Beams > decoder.Batch)
        {
            throw new ArgumentException(FormattableString.Invariant($"{Beams} beams need a session of as many sequences, but it has {decoder.Batch}."), nameof(Beams));
        }
    }
}
