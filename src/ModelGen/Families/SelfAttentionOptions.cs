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
        GlobalTokens = spec.Int("GlobalTokens", 0),
        Stride = spec.Int("Stride", 0),
        SummaryTokens = spec.Int("SummaryTokens", 1),
        RelativeBuckets = spec.Int("RelativeBuckets", 32),
        RelativeDistance = spec.Int("RelativeDistance", 128),
    };

    public int RelativeBuckets { get; private init; }

    public int RelativeDistance { get; private init; }

    /// <summary>Whether decoding needs the latest keys alone, and no position beyond them.</summary>
    public bool IsEndless => Pattern == AttentionPattern.Window && Positions != PositionEncoding.Learned;

    public int GlobalTokens { get; private init; }

    public int Stride { get; private init; }

    public int SummaryTokens { get; private init; }

    /// <summary>What a query sees. A window counts its own position, and a range distances.</summary>
    public KeyRange Range => Pattern switch
    {
        AttentionPattern.Window => KeyRange.Causal with { Window = Window - 1, Pattern = GlobalTokens > 0 ? new GlobalKeys(GlobalTokens) : null },
        AttentionPattern.Strided => KeyRange.Causal with { Pattern = new StridedKeys(Stride) },
        AttentionPattern.Fixed => KeyRange.Causal with { Pattern = new FixedKeys(Stride, SummaryTokens) },
        _ => KeyRange.Causal,
    };

    /// <summary>What is added to the scores of queries that see no key behind them.</summary>
    public ScoreBias? Bias => Positions switch
    {
        PositionEncoding.Alibi => new AlibiBias(),
        PositionEncoding.Relative => new RelativeBias(RelativeBuckets, RelativeDistance, IsBidirectional: false),
        _ => null,
    };

    /// <summary>The elements of a learned bias's gradient for each sequence of a micro-batch.</summary>
    public double BiasElements(int heads) => (Bias?.TableRows ?? 0) * (double)heads;

    /// <summary>
    /// What weight files record of it: what is not as it is by default, so that files of the default say nothing. A file of this library that says
    /// nothing is one of the default.
    /// </summary>
    public IEnumerable<FileOption> Files
    {
        get
        {
            if (Pattern != AttentionPattern.Full)
            {
                yield return FileOption.Of("Attention", Pattern) with { Absent = nameof(AttentionPattern.Full) };
            }

            if (Pattern == AttentionPattern.Window)
            {
                yield return FileOption.Of("Window", Window);
            }

            if (GlobalTokens > 0)
            {
                yield return FileOption.Of("GlobalTokens", GlobalTokens) with { Absent = "0" };
            }

            if (Pattern is AttentionPattern.Strided or AttentionPattern.Fixed)
            {
                yield return FileOption.Of("Stride", Stride);
            }

            if (Pattern == AttentionPattern.Fixed)
            {
                yield return FileOption.Of("SummaryTokens", SummaryTokens);
            }

            if (Positions != PositionEncoding.Learned)
            {
                yield return FileOption.Of("Positions", Positions) with { Absent = nameof(PositionEncoding.Learned) };
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
    {
        double ring = GlobalTokens + Window - 1.0 + CommonPrograms.LargestChunk;
        return Pattern == AttentionPattern.Window && (context == 0 || ring < context) ? ring : context;
    }

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
                && checks.OptionalSize("RelativeDistance", minimum: (RelativeBuckets / 2) + 1L) && checks.AtMost("RelativeDistance", "RelativeDistance", RelativeDistance, KeyRange.LargestWindow)
                && checks.AtMost("RelativeBuckets", $"RelativeBuckets, half of which have one distance each below RelativeDistance = {RelativeDistance},", RelativeBuckets, (2L * RelativeDistance) - 1);
        }

        foreach (string name in new[] { "RelativeBuckets", "RelativeDistance" }.Where(spec.Has))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"PositionEncoding.{Positions}", "only PositionEncoding.Relative has buckets of distances"]));
        }

        return true;
    }

    private bool ValidatePattern(ModelSpec spec, ArgumentChecks checks, Action<SpecProblem> report)
    {
        (string Name, string Patterns, bool Holds)[] sizes =
        [
            ("Window", "AttentionPattern.Window has a window", Pattern == AttentionPattern.Window),
            ("GlobalTokens", "AttentionPattern.Window has global tokens", Pattern == AttentionPattern.Window),
            ("Stride", "AttentionPattern.Strided and AttentionPattern.Fixed have a stride", Pattern is AttentionPattern.Strided or AttentionPattern.Fixed),
            ("SummaryTokens", "AttentionPattern.Fixed has summaries", Pattern == AttentionPattern.Fixed),
        ];
        foreach ((string name, string patterns, bool holds) in sizes)
        {
            if (!holds && spec.Has(name))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"AttentionPattern.{Pattern}", $"only {patterns}"]));
            }
        }

        if (Pattern != AttentionPattern.Full && spec.Flag("AttentionWeights", false))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", $"AttentionPattern.{Pattern}", "weights are handed out for all positions of a sequence, of which each sees a part"]));
        }

        return Pattern switch
        {
            AttentionPattern.Window => Size("Window", Window) && checks.OptionalSize("GlobalTokens", minimum: 0) && checks.AtMost("GlobalTokens", "GlobalTokens", GlobalTokens, KeyRange.LargestWindow),
            AttentionPattern.Strided => Size("Stride", Stride),
            AttentionPattern.Fixed => Size("Stride", Stride) && checks.OptionalSize("SummaryTokens") && checks.AtMost("SummaryTokens", "SummaryTokens", SummaryTokens, Stride),
            _ => true,
        };

        bool Size(string name, int value) => checks.RequireSize(name) && checks.AtMost(name, name, value, KeyRange.LargestWindow);
    }
}
