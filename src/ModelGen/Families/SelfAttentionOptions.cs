using System;
using System.Collections.Generic;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>What a declaration says of causal self-attention, of whatever family: which earlier positions a position sees, and how it knows where they stand.</summary>
internal sealed record SelfAttentionOptions(AttentionPattern Pattern, int Window, PositionEncoding Positions)
{
    public static SelfAttentionOptions Of(ModelSpec spec) => new(
        spec.Choice("Attention", AttentionPattern.Full),
        spec.Int("Window", 0),
        spec.Choice("Positions", PositionEncoding.Learned));

    /// <summary>Whether decoding needs the latest keys alone, and no position beyond them.</summary>
    public bool IsEndless => Pattern == AttentionPattern.Window && Positions != PositionEncoding.Learned;

    /// <summary>What a query sees. A window counts its own position, and a range distances.</summary>
    public KeyRange Range => Pattern == AttentionPattern.Window ? KeyRange.Causal with { Window = Window - 1 } : KeyRange.Causal;

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
        }
    }

    /// <summary>The rows of a cache of keys or values: those of the context, unless a window and a run are less.</summary>
    public double CacheRows(int context)
        => Pattern == AttentionPattern.Window && (context == 0 || Window - 1.0 + CommonPrograms.LargestChunk < context) ? Window - 1.0 + CommonPrograms.LargestChunk : context;

    /// <summary>Checks the arguments; the result says whether sizes may be computed from them.</summary>
    public bool Validate(ModelSpec spec, ArgumentChecks checks, Action<SpecProblem> report)
    {
        if (Pattern != AttentionPattern.Window)
        {
            if (spec.Int("Window", 0) != 0)
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Window", ["Window", $"Attention.{Pattern}", "only AttentionPattern.Window has a window"]));
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
