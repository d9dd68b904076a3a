using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>In which directions the self-attention of a family looks.</summary>
[Flags]
internal enum AttentionDirections
{
    /// <summary>To what came before.</summary>
    Causal = 1,

    /// <summary>To what came before and to what follows.</summary>
    Bidirectional = 2,
}

/// <summary>What a declaration says of self-attention, of whatever family: which other positions a position sees, and how it knows where they stand.</summary>
internal sealed record SelfAttentionOptions(AttentionPattern Pattern, int Window, PositionEncoding Positions)
{
    // Where buckets begin is written into emitted code.
    private const int LargestBuckets = 1024;

    /// <param name="spec">The declaration.</param>
    /// <param name="directions">In which directions the family's layers look.</param>
    /// <param name="usual">How the family knows positions where the declaration does not say.</param>
    /// <param name="hasRotary">Whether the family can turn queries and keys.</param>
    public static SelfAttentionOptions Of(ModelSpec spec, AttentionDirections directions, PositionEncoding usual = PositionEncoding.Learned, bool hasRotary = false) => new(
        spec.Choice("Attention", AttentionPattern.Full),
        spec.Int("Window", 0),
        spec.Choice("Positions", usual))
    {
        Directions = directions,
        Usual = usual,
        HasRotary = hasRotary || usual == PositionEncoding.Rotary,
        LayerWindows = spec.Ints("LayerWindows"),
        GlobalTokens = spec.Int("GlobalTokens", 0),
        Stride = spec.Int("Stride", 0),
        SummaryTokens = spec.Int("SummaryTokens", 1),
        RelativeBuckets = spec.Int("RelativeBuckets", 32),
        RelativeDistance = spec.Int("RelativeDistance", 128),
    };

    public AttentionDirections Directions { get; private init; }

    public PositionEncoding Usual { get; private init; }

    /// <summary>Whether the family can turn queries and keys.</summary>
    public bool HasRotary { get; private init; }

    /// <summary>The windows of layers, from the first one again where there are more layers; 0 for one that sees all. Empty where all have <see cref="Window"/>.</summary>
    public EquatableArray<int> LayerWindows { get; private init; } = [];

    public int RelativeBuckets { get; private init; }

    public int RelativeDistance { get; private init; }

    public int GlobalTokens { get; private init; }

    public int Stride { get; private init; }

    public int SummaryTokens { get; private init; }

    public bool HasSinusoids => Positions is PositionEncoding.Sinusoids or PositionEncoding.SinusoidHalves;

    /// <summary>Whether a table has a row for each position, so that there is a last one.</summary>
    public bool HasTable => Positions is PositionEncoding.Learned or PositionEncoding.Rotary || HasSinusoids;

    /// <summary>Whether the context only says how long sequences may be, and shapes no parameter.</summary>
    public bool ContextIsLimit => Positions != PositionEncoding.Learned;

    /// <summary>Whether decoding needs the latest keys alone, and no position beyond them.</summary>
    public bool IsEndless => Pattern == AttentionPattern.Window && !HasTable && LayerWindows.All(w => w > 0);

    /// <summary>What a query of a layer sees. A window counts its own position, and a range distances.</summary>
    public KeyRange RangeOf(int layer, bool isCausal)
    {
        KeyRange all = isCausal ? KeyRange.Causal : KeyRange.All;
        return Pattern switch
        {
            AttentionPattern.Window when WindowOf(layer) is > 0 and int window => all with { Window = window - 1, Pattern = GlobalTokens > 0 ? new GlobalKeys(GlobalTokens) : null },
            AttentionPattern.Strided => all with { Pattern = new StridedKeys(Stride) },
            AttentionPattern.Fixed => all with { Pattern = new FixedKeys(Stride, SummaryTokens) },
            _ => all,
        };
    }

    /// <summary>What is added to scores.</summary>
    public ScoreBias? BiasOf(bool isCausal) => Positions switch
    {
        PositionEncoding.Alibi => new AlibiBias(),
        PositionEncoding.Relative => new RelativeBias(RelativeBuckets, RelativeDistance, IsBidirectional: !isCausal),
        _ => null,
    };

    /// <summary>The parameter that a learned bias is looked up in, which the layers of a stack share; nothing where there is none.</summary>
    public Value[] BiasTable(GraphBuilder b, int heads, Initializer initializer)
        => Positions == PositionEncoding.Relative ? [b.Parameter("relative_attention_bias.weight", Shape.Of(RelativeBuckets, heads), initializer)] : [];

    /// <summary>The table [rows, width] whose rows are added to the embeddings of tokens by their positions; null where positions have none.</summary>
    /// <param name="b">The graph.</param>
    /// <param name="name">The name of a learned one.</param>
    /// <param name="rows">Positions.</param>
    /// <param name="width">The width of the embeddings.</param>
    /// <param name="sinusoids">The positions that one table of sinusoids has for all that take it; <paramref name="rows"/> at least.</param>
    /// <param name="first">The number of the first position of sinusoids.</param>
    public Value? PositionTable(GraphBuilder b, string name, int rows, int width, int sinusoids = 0, int first = 0)
        => Positions == PositionEncoding.Learned ? b.Parameter(name, Shape.Of(rows, width), Initializer.Normal(0.02))
            : HasSinusoids ? b.Add(new Parameter("sinusoids", Shape.Of(Math.Max(rows, sinusoids), width), Initializer.Sinusoids(first, Positions == PositionEncoding.SinusoidHalves), false, false) { IsTable = true }, "sinusoids")
            : null;

    /// <summary>The elements of a learned bias's gradient for each sequence of a micro-batch.</summary>
    public double BiasElements(int heads) => Positions == PositionEncoding.Relative ? RelativeBuckets * (double)heads : 0;

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
                yield return LayerWindows.Count == 0 ? FileOption.Of("Window", Window) : FileOption.Of("LayerWindows", LayerWindows);
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

            // Families that learn positions unless told otherwise say nothing of it.
            if (Usual != PositionEncoding.Learned)
            {
                yield return FileOption.Of("Positions", Positions);
            }
            else if (Positions != PositionEncoding.Learned)
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

    /// <summary>The rows of a layer's cache of keys or values: those of the context, unless a window and a run are less.</summary>
    public double CacheRows(int layer, int context)
    {
        int window = Pattern == AttentionPattern.Window ? WindowOf(layer) : 0;
        double ring = GlobalTokens + window - 1.0 + CommonPrograms.LargestChunk;
        return window > 0 && (context == 0 || ring < context) ? ring : context;
    }

    /// <summary>Checks the arguments; the result says whether sizes may be computed from them.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="checks">Its checks.</param>
    /// <param name="layers">Layers of the deepest stack.</param>
    /// <param name="width">The width of embeddings.</param>
    /// <param name="report">Where problems go.</param>
    public bool Validate(ModelSpec spec, ArgumentChecks checks, int layers, int width, Action<SpecProblem> report)
    {
        bool pattern = ValidatePattern(spec, checks, layers, report);
        return ValidatePositions(spec, checks, width, report) && pattern;
    }

    private int WindowOf(int layer) => LayerWindows.Count == 0 ? Window : LayerWindows[layer % LayerWindows.Count];

    private bool ValidatePositions(ModelSpec spec, ArgumentChecks checks, int width, Action<SpecProblem> report)
    {
        if (Positions == PositionEncoding.Rotary && !HasRotary)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Positions", ["PositionEncoding.Rotary", $"[{spec.Family}]", "[Bert], [Decoder] and their presets turn queries and keys"]));
            return false;
        }

        if (Positions == PositionEncoding.SinusoidHalves && width % 2 != 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Positions", ["PositionEncoding.SinusoidHalves", "an odd DModel", "sines fill one half of the columns and cosines the other"]));
        }

        if (Positions == PositionEncoding.Relative)
        {
            bool both = Directions.HasFlag(AttentionDirections.Bidirectional);
            if (both && RelativeBuckets >= 4 && RelativeBuckets % 2 != 0)
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, "RelativeBuckets", ["RelativeBuckets", "even, half of them for each direction", $"{RelativeBuckets}"]));
                return false;
            }

            // One in so many buckets has a distance of its own, which is below the one that all share from.
            int share = Directions.HasFlag(AttentionDirections.Causal) ? 2 : 4;
            return checks.OptionalSize("RelativeBuckets", minimum: both ? 4 : 2) && checks.AtMost("RelativeBuckets", "RelativeBuckets", RelativeBuckets, LargestBuckets)
                && checks.OptionalSize("RelativeDistance", minimum: (RelativeBuckets / share) + 1L) && checks.AtMost("RelativeDistance", "RelativeDistance", RelativeDistance, KeyRange.LargestWindow)
                && checks.AtMost("RelativeBuckets", $"RelativeBuckets, {(share == 2 ? "half" : "a quarter")} of which have one distance each below RelativeDistance = {RelativeDistance},", RelativeBuckets, (share * (long)RelativeDistance) - 1);
        }

        foreach (string name in new[] { "RelativeBuckets", "RelativeDistance" }.Where(spec.Has))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"PositionEncoding.{Positions}", "only PositionEncoding.Relative has buckets of distances"]));
        }

        return true;
    }

    private bool ValidatePattern(ModelSpec spec, ArgumentChecks checks, int layers, Action<SpecProblem> report)
    {
        (string Name, string Patterns, bool Holds)[] sizes =
        [
            ("Window", "AttentionPattern.Window has a window", Pattern == AttentionPattern.Window),
            ("LayerWindows", "AttentionPattern.Window has windows", Pattern == AttentionPattern.Window),
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

        return Pattern switch
        {
            AttentionPattern.Window => ValidateWindows(spec, checks, layers, report) && checks.OptionalSize("GlobalTokens", minimum: 0) && checks.AtMost("GlobalTokens", "GlobalTokens", GlobalTokens, KeyRange.LargestWindow),
            AttentionPattern.Strided => Size("Stride", Stride),
            AttentionPattern.Fixed => Size("Stride", Stride) && checks.OptionalSize("SummaryTokens") && checks.AtMost("SummaryTokens", "SummaryTokens", SummaryTokens, Stride),
            _ => true,
        };

        bool Size(string name, int value) => checks.RequireSize(name) && checks.AtMost(name, name, value, KeyRange.LargestWindow);
    }

    private bool ValidateWindows(ModelSpec spec, ArgumentChecks checks, int layers, Action<SpecProblem> report)
    {
        if (!spec.Has("LayerWindows"))
        {
            return checks.RequireSize("Window") && checks.AtMost("Window", "Window", Window, KeyRange.LargestWindow);
        }

        if (spec.Has("Window"))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Window", ["Window", "LayerWindows", "each layer has the window that LayerWindows says"]));
            return false;
        }

        if (LayerWindows.All(w => w == 0) || (layers > 0 && LayerWindows.Count > layers))
        {
            string list = LayerWindows.Count == 0 ? "an empty list" : LayerWindows.Count > layers && layers > 0 ? $"a list of {LayerWindows.Count}" : "a list without a window";
            report(new SpecProblem(DiagnosticIds.OutOfRange, "LayerWindows", ["LayerWindows", $"a list of windows, for {(layers == 1 ? "1 layer" : $"{layers} layers")} at the most", list]));
            return false;
        }

        bool holds = true;
        for (int i = 0; i < LayerWindows.Count; i++)
        {
            if (LayerWindows[i] is < 0 or > KeyRange.LargestWindow)
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, "LayerWindows", [$"LayerWindows[{i}]", $"0, for a layer that sees all, to {KeyRange.LargestWindow}", $"{LayerWindows[i]}"]) { Element = i });
                holds = false;
            }
        }

        return holds;
    }
}
