using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>What a declaration says of causal self-attention, of whatever family: which earlier positions a position sees, and how it knows where they stand.</summary>
internal sealed record SelfAttentionOptions(AttentionPattern Pattern, int Window, PositionEncoding Positions)
{
    // Where buckets begin is written into emitted code.
    private const int LargestBuckets = 1024;

    public static SelfAttentionOptions Of(ModelSpec spec) => new(
        spec.Choice("Attention", AttentionPattern.Full),
        spec.Int("Window", 0),
        spec.Choice("Positions", PositionEncoding.Learned))
    {
        RelativeBuckets = spec.Int("RelativeBuckets", 32),
        RelativeDistance = spec.Int("RelativeDistance", 128),
    };

    public int RelativeBuckets { get; private init; }

    public int RelativeDistance { get; private init; }

    /// <summary>Whether decoding needs the latest keys alone, and no position beyond them.</summary>
    public bool IsEndless => Pattern == AttentionPattern.Window && Positions != PositionEncoding.Learned;

    /// <summary>What a query sees. A window counts its own position, and a range distances.</summary>
    public KeyRange Range => Pattern == AttentionPattern.Window ? KeyRange.Causal with { Window = Window - 1 } : KeyRange.Causal;

    /// <summary>What is added to the scores of queries that see no key behind them.</summary>
    public ScoreBias? Bias => Positions switch
    {
        PositionEncoding.Alibi => new AlibiBias(),
        PositionEncoding.Relative => new RelativeBias(RelativeBuckets, RelativeDistance, IsBidirectional: false),
        _ => null,
    };

    /// <summary>What weight files record of it: what is not as it is by default, so that files of the default say nothing.</summary>
    public IEnumerable<FileOption> Files
    {
        get
        {
            if (Pattern != AttentionPattern.Full)
            {
                yield return FileOption.Of("Attention", Pattern);
            }

            if (Pattern == AttentionPattern.Window)
            {
                yield return FileOption.Of("Window", Window);
            }

            if (Positions != PositionEncoding.Learned)
            {
                yield return FileOption.Of("Positions", Positions);
            }

            if (Positions == PositionEncoding.Relative)
            {
                yield return FileOption.Of("RelativeBuckets", RelativeBuckets);
                yield return FileOption.Of("RelativeDistance", RelativeDistance);
            }
        }
    }

    /// <summary>The rows of a cache of keys or values: those of the context, unless a window and a run are less.</summary>
    public double CacheRows(int context)
        => Pattern == AttentionPattern.Window && (context == 0 || Window - 1.0 + CommonPrograms.LargestChunk < context) ? Window - 1.0 + CommonPrograms.LargestChunk : context;

    /// <summary>Checks the arguments; the result says whether sizes may be computed from them.</summary>
    public bool Validate(ModelSpec spec, ArgumentChecks checks, Action<SpecProblem> report)
    {
        bool pattern = ValidatePattern(spec, checks, report);
        return ValidatePositions(spec, checks, report) && pattern;
    }

    private bool ValidatePositions(ModelSpec spec, ArgumentChecks checks, Action<SpecProblem> report)
    {
        if (Positions == PositionEncoding.Relative)
        {
            return checks.OptionalSize("RelativeBuckets", minimum: 2) && checks.AtMost("RelativeBuckets", "RelativeBuckets", RelativeBuckets, LargestBuckets)
                && checks.OptionalSize("RelativeDistance", minimum: (RelativeBuckets / 2) + 1L) && checks.AtMost("RelativeDistance", "RelativeDistance", RelativeDistance, KeyRange.LargestWindow);
        }

        foreach (string name in new[] { "RelativeBuckets", "RelativeDistance" }.Where(spec.Has))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"PositionEncoding.{Positions}", "only PositionEncoding.Relative has buckets of distances"]));
        }

        return true;
    }

    private bool ValidatePattern(ModelSpec spec, ArgumentChecks checks, Action<SpecProblem> report)
    {
        if (Pattern != AttentionPattern.Window)
        {
            if (spec.Int("Window", 0) != 0)
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Window", ["Window", $"AttentionPattern.{Pattern}", "only AttentionPattern.Window has a window"]));
                return false;
            }

            return true;
        }

        if (spec.Flag("AttentionWeights", false))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", $"AttentionPattern.{Pattern}", "a sequence's weights are handed out for all its positions, of which caches keep the latest"]));
        }

        return checks.RequireSize("Window") && checks.AtMost("Window", "Window", Window, KeyRange.LargestWindow);
    }
}
