using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>What a declaration says of rotary positions: how fast each pair of a head's columns turns, and which columns are a pair.</summary>
internal sealed record RotaryOptions(double Base, double Fraction, RotaryLayout Layout)
{
    private const double TwoPi = 6.2831853071795862;

    private static readonly string[] Names = ["RotaryBase", "WindowRotaryBase", "RotaryFraction", "GlobalRotaryFraction", "RotaryLayout", "RotaryPattern", "RotaryScaling"];

    private static readonly (string Name, string Scalings, Func<RotaryScaling, bool> Holds)[] Scales =
    [
        ("RotaryFactor", "RotaryScaling.Linear, Llama3, Yarn, LongRope and Dynamic have a factor", scaling => scaling != RotaryScaling.None),
        ("RotaryOriginalContext", "RotaryScaling.Llama3, Yarn, LongRope and Dynamic know the first context", KnowsOriginalContext),
        ("RotaryShortFactors", "RotaryScaling.LongRope has a factor for each pair", scaling => scaling == RotaryScaling.LongRope),
        ("RotaryLongFactors", "RotaryScaling.LongRope has a factor for each pair", scaling => scaling == RotaryScaling.LongRope),
        ("RotaryLowFrequencyFactor", "RotaryScaling.Llama3 has low and high frequencies", scaling => scaling == RotaryScaling.Llama3),
        ("RotaryHighFrequencyFactor", "RotaryScaling.Llama3 has low and high frequencies", scaling => scaling == RotaryScaling.Llama3),
        ("RotaryBetaFast", "RotaryScaling.Yarn has a ramp", scaling => scaling == RotaryScaling.Yarn),
        ("RotaryBetaSlow", "RotaryScaling.Yarn has a ramp", scaling => scaling == RotaryScaling.Yarn),
        ("RotaryAttentionFactor", "RotaryScaling.Yarn and LongRope multiply cosines and sines", scaling => scaling is RotaryScaling.Yarn or RotaryScaling.LongRope),
    ];

    public static RotaryOptions Of(ModelSpec spec, double usualBase = 10_000, double usualWindowBase = 0, double usualGlobalFraction = 1)
    {
        double rotaryBase = spec.Real("RotaryBase", usualBase);
        return new(rotaryBase, spec.Real("RotaryFraction", 1), spec.Choice("RotaryLayout", RotaryLayout.Halves))
        {
            WindowBase = spec.Real("WindowRotaryBase", 0) is not 0 and double given ? given : usualWindowBase > 0 ? usualWindowBase : rotaryBase,
            GlobalFraction = spec.Real("GlobalRotaryFraction", usualGlobalFraction),
            Pattern = spec.Ints("RotaryPattern"),
            Scaling = spec.Choice("RotaryScaling", RotaryScaling.None),
            Factor = spec.Real("RotaryFactor", 1),
            OriginalContext = spec.Int("RotaryOriginalContext", 0),
            LowFrequencyFactor = spec.Real("RotaryLowFrequencyFactor", 1),
            HighFrequencyFactor = spec.Real("RotaryHighFrequencyFactor", 4),
            BetaFast = spec.Real("RotaryBetaFast", 32),
            BetaSlow = spec.Real("RotaryBetaSlow", 1),
            GivenAttentionFactor = spec.Real("RotaryAttentionFactor", 0),
            ShortFactors = spec.Reals("RotaryShortFactors"),
            LongFactors = spec.Reals("RotaryLongFactors"),
        };
    }

    /// <summary>The base of layers that see a window alone, whose angles are not scaled where it is another one.</summary>
    public double WindowBase { get; private init; }

    /// <summary>The part of the pairs, the quickest ones, that turn in layers that see all; the others stand still.</summary>
    public double GlobalFraction { get; private init; } = 1;

    /// <summary>For each layer, from the first one again where there are more, 1 where its queries and keys are turned and 0 where not. Empty where all are.</summary>
    public EquatableArray<int> Pattern { get; private init; } = [];

    public RotaryScaling Scaling { get; private init; }

    public double Factor { get; private init; } = 1;

    public int OriginalContext { get; private init; }

    public double LowFrequencyFactor { get; private init; }

    public double HighFrequencyFactor { get; private init; }

    public double BetaFast { get; private init; }

    public double BetaSlow { get; private init; }

    private double GivenAttentionFactor { get; init; }

    /// <summary>What each pair is divided by where there are no more positions than <see cref="OriginalContext"/>.</summary>
    private EquatableArray<double> ShortFactors { get; init; } = [];

    /// <summary>The same where there are more.</summary>
    private EquatableArray<double> LongFactors { get; init; } = [];

    /// <summary>What cosines and sines are multiplied by: of YaRN, 0.1·ln(factor) + 1 (Peng et al. 2023, equation 22), of LongRoPE √(1 + ln(factor) / ln(first context)), unless it is given.</summary>
    private double AttentionFactor => Scaling is not (RotaryScaling.Yarn or RotaryScaling.LongRope) ? 1
        : GivenAttentionFactor > 0 ? GivenAttentionFactor
        : Scaling == RotaryScaling.Yarn ? (0.1 * PortableMath.Log(Factor)) + 1
        : Math.Sqrt(1 + (PortableMath.Log(Factor) / PortableMath.Log(OriginalContext)));

    public IEnumerable<FileOption> Files
    {
        get
        {
            yield return FileOption.Of("RotaryBase", Base);
            yield return FileOption.Of("RotaryLayout", Layout);
            if (!WindowBase.Equals(Base))
            {
                yield return FileOption.Of("WindowRotaryBase", WindowBase) with { Absent = FileOption.Of("", Base).Value };
            }

            if (Fraction < 1)
            {
                yield return FileOption.Of("RotaryFraction", Fraction) with { Absent = "1" };
            }

            if (GlobalFraction < 1)
            {
                yield return FileOption.Of("GlobalRotaryFraction", GlobalFraction) with { Absent = "1" };
            }

            if (Pattern.Count > 0)
            {
                yield return FileOption.Of("RotaryPattern", Pattern) with { Absent = "" };
            }

            if (Scaling != RotaryScaling.None)
            {
                yield return FileOption.Of("RotaryScaling", Scaling) with { Absent = nameof(RotaryScaling.None) };
                yield return FileOption.Of("RotaryFactor", Factor);
            }

            if (KnowsOriginalContext(Scaling))
            {
                yield return FileOption.Of("RotaryOriginalContext", OriginalContext);
            }

            if (Scaling == RotaryScaling.Llama3)
            {
                yield return FileOption.Of("RotaryLowFrequencyFactor", LowFrequencyFactor);
                yield return FileOption.Of("RotaryHighFrequencyFactor", HighFrequencyFactor);
            }

            if (Scaling == RotaryScaling.Yarn)
            {
                yield return FileOption.Of("RotaryBetaFast", BetaFast);
                yield return FileOption.Of("RotaryBetaSlow", BetaSlow);
                yield return FileOption.Of("RotaryAttentionFactor", AttentionFactor);
            }

            if (Scaling == RotaryScaling.LongRope)
            {
                yield return FileOption.Of("RotaryAttentionFactor", AttentionFactor);
                yield return FileOption.Of("RotaryShortFactors", ShortFactors);
                yield return FileOption.Of("RotaryLongFactors", LongFactors);
            }
        }
    }

    /// <summary>Whether a layer's queries and keys are turned.</summary>
    public bool Turns(int layer) => Pattern.Count == 0 || Pattern[layer % Pattern.Count] != 0;

    /// <summary>How many of a head's columns are turned: the fraction's, rounded down.</summary>
    public int Rotated(int headWidth) => (int)(headWidth * Fraction);

    /// <summary>The table [<paramref name="rows"/>, turned columns] of positions' cosines and sines, of layers that see a window alone or of the others.</summary>
    private Value Table(GraphBuilder b, int rows, int headWidth, bool ofWindow, bool isUsual)
    {
        int rotated = Rotated(headWidth);
        bool own = ofWindow && !(WindowBase.Equals(Base) && GlobalFraction.Equals(1));
        string name = (own ? "rotary.window" : "rotary") + (isUsual ? "" : $".{headWidth}");
        Initializer angles = own ? Initializer.Rotary(Powers(PortableMath.Log(WindowBase), rotated), 1) : Initializer.Rotary(Frequencies(rotated, rows), AttentionFactor);
        return b.Add(new Parameter(name, Shape.Of(rows, rotated), angles, false, false) { IsTable = true }, name);
    }

    /// <summary>The angles of a run's positions; null where they are known otherwise.</summary>
    /// <param name="b">The graph.</param>
    /// <param name="positions">How positions are known.</param>
    /// <param name="time">The positions of a run.</param>
    /// <param name="rows">All positions that there are.</param>
    /// <param name="headWidth">The columns of a head.</param>
    /// <param name="isUsual">Whether it is that of most layers, whose tables are called by no width.</param>
    public RotaryAngles? Angles(GraphBuilder b, PositionEncoding positions, Dim time, int rows, int headWidth, bool isUsual = true)
    {
        Value Of(bool ofWindow) => b.Add(new RowsAtPosition(time), "rotary.angles", Table(b, rows, headWidth, ofWindow, isUsual));
        return positions == PositionEncoding.Rotary ? new RotaryAngles(this, headWidth, Of(ofWindow: false), Of(ofWindow: true)) : null;
    }

    /// <summary>The radians from one position to the next, scaled. LongRoPE's list and the stretched base are those of the positions that there are, whatever a text's length: a table has one row for each of them.</summary>
    public EquatableArray<double> Frequencies(int rotated, int positions)
    {
        int turning = (int)(rotated / 2 * GlobalFraction);
        EquatableArray<double> usual = new([.. Powers(PortableMath.Log(Base) + Stretch(rotated, positions), rotated).Select((f, i) => i < turning ? f : 0)]);
        return Scaling switch
        {
            RotaryScaling.Linear => new([.. usual.Select(f => f / Factor)]),
            RotaryScaling.Llama3 => new([.. usual.Select(Llama3)]),
            RotaryScaling.Yarn => new([.. usual.Select((f, i) => Blend(f, 1 - Ramp(i, rotated)))]),
            RotaryScaling.LongRope => new([.. usual.Select((f, i) => f / (positions > OriginalContext ? LongFactors : ShortFactors)[i])]),
            _ => usual,
        };
    }

    /// <summary>base^(−2i/<paramref name="rotated"/>) of pair i, by the base's logarithm.</summary>
    private static EquatableArray<double> Powers(double log, int rotated) => new([.. Enumerable.Range(0, rotated / 2).Select(i => PortableMath.Exp(-log * (2.0 * i / rotated)))]);

    /// <summary>
    /// What is added to the base's logarithm where there are more positions than the first context: r/(r − 2)·ln(factor·positions/context − (factor − 1)), which is 0 at the first context. A single pair turns by 1 whatever the base.
    /// </summary>
    private double Stretch(int rotated, int positions)
        => Scaling != RotaryScaling.Dynamic || rotated <= 2 || positions <= OriginalContext ? 0 : rotated / (rotated - 2.0) * PortableMath.Log((Factor * positions / OriginalContext) - (Factor - 1));

    private static bool KnowsOriginalContext(RotaryScaling scaling) => scaling is RotaryScaling.Llama3 or RotaryScaling.Yarn or RotaryScaling.LongRope or RotaryScaling.Dynamic;

    /// <summary>A frequency as it was, in the part <paramref name="kept"/>, and divided by the factor in the rest.</summary>
    private double Blend(double frequency, double kept) => (frequency * kept) + (frequency / Factor * (1 - kept));

    /// <summary>By how many times a pair turns over the first context: up to the low factor slowed down, from the high factor on as it was.</summary>
    private double Llama3(double frequency)
    {
        double turns = OriginalContext * frequency / TwoPi;
        return Blend(frequency, Math.Max(0, Math.Min(1, (turns - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor))));
    }

    /// <summary>0 for pairs before that which turns BetaFast times over the first context, 1 behind that which turns BetaSlow times, a ramp in between (Peng et al. 2023, section 3.2).</summary>
    private double Ramp(int pair, int rotated)
    {
        double Pair(double turns) => rotated * PortableMath.Log(OriginalContext / (turns * TwoPi)) / (2 * PortableMath.Log(Base));
        double low = Math.Max(0, Math.Floor(Pair(BetaFast))), high = Math.Min(rotated - 1, Math.Ceiling(Pair(BetaSlow)));
        high = high.Equals(low) ? low + 0.001 : high;
        return Math.Max(0, Math.Min(1, (pair - low) / (high - low)));
    }

    /// <summary>Checks the arguments.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="checks">Its checks.</param>
    /// <param name="layers">The number of layers.</param>
    /// <param name="isUsed">Whether positions are rotary.</param>
    /// <param name="headWidth">The columns of a head; 0 where that is wrong already.</param>
    /// <param name="positions">How positions are known instead.</param>
    /// <param name="report">Where problems go.</param>
    public bool Validate(ModelSpec spec, ArgumentChecks checks, int layers, bool isUsed, int headWidth, PositionEncoding positions, Action<SpecProblem> report)
    {
        if (!isUsed)
        {
            foreach (string name in Names.Concat(Scales.Select(scale => scale.Name)).Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"PositionEncoding.{positions}", "only PositionEncoding.Rotary turns columns of heads"]));
            }

            return true;
        }

        foreach ((string name, string scalings, Func<RotaryScaling, bool> has) in Scales)
        {
            if (spec.Has(name) && !has(Scaling))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"RotaryScaling.{Scaling}", $"only {scalings}"]));
            }
        }

        bool holds = checks.OptionalReal("RotaryBase", Base is > 1 and <= 1e15, "greater than 1 and at most 1e15")
            & checks.OptionalReal("WindowRotaryBase", WindowBase is > 1 and <= 1e15, "greater than 1 and at most 1e15, or 0 for RotaryBase")
            & checks.OptionalReal("RotaryFraction", Fraction is > 0 and <= 1, "greater than 0 and at most 1")
            & checks.OptionalReal("GlobalRotaryFraction", GlobalFraction is > 0 and <= 1, "greater than 0 and at most 1")
            & checks.OptionalReal("RotaryFactor", Factor is >= 1 and <= 1e6, "at least 1 and at most 1e6")
            & (!KnowsOriginalContext(Scaling) || checks.RequireSize("RotaryOriginalContext", minimum: Scaling == RotaryScaling.LongRope ? 2 : 1))
            & checks.OptionalReal("RotaryLowFrequencyFactor", LowFrequencyFactor is > 0 and <= 1e6, "greater than 0 and at most 1e6")
            & checks.OptionalReal("RotaryHighFrequencyFactor", HighFrequencyFactor > LowFrequencyFactor && HighFrequencyFactor <= 1e6, "greater than RotaryLowFrequencyFactor and at most 1e6")
            & checks.OptionalReal("RotaryBetaSlow", BetaSlow is > 0 and <= 1e6, "greater than 0 and at most 1e6")
            & checks.OptionalReal("RotaryBetaFast", BetaFast >= BetaSlow && BetaFast <= 1e6, "at least RotaryBetaSlow and at most 1e6")
            & checks.OptionalReal("RotaryAttentionFactor", GivenAttentionFactor is >= 0 and <= 1e6, "at least 0 and at most 1e6");
        if (Scaling == RotaryScaling.LongRope)
        {
            holds &= ValidateFactors(spec, checks, "RotaryShortFactors", ShortFactors, report) & ValidateFactors(spec, checks, "RotaryLongFactors", LongFactors, report);
        }

        if (spec.Has("RotaryPattern") && (Pattern.Count == 0 || (layers > 0 && Pattern.Count > layers) || Pattern.Any(turns => turns is not (0 or 1)) || Pattern.All(turns => turns == 0)))
        {
            report(new SpecProblem(DiagnosticIds.OutOfRange, "RotaryPattern", ["RotaryPattern", $"a list of 0 and 1, not all of them 0, for {(layers == 1 ? "1 layer" : $"{layers} layers")} at the most", Pattern.Count == 0 ? "an empty list" : string.Join(", ", Pattern)]));
            holds = false;
        }

        return !holds || headWidth == 0 ? holds : ValidateWidth(spec, headWidth, spec.Has("HeadWidth") ? "HeadWidth" : "DModel", report);
    }

    /// <summary>Whether heads of so many columns can be turned.</summary>
    public bool Fits(int headWidth)
        => Rotated(headWidth) is > 0 and int rotated && rotated % 2 == 0 && (Scaling != RotaryScaling.LongRope || (ShortFactors.Count == rotated / 2 && LongFactors.Count == rotated / 2));

    /// <summary>Checks that heads of so many columns can be turned.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="headWidth">The columns of a head.</param>
    /// <param name="argument">What says so.</param>
    /// <param name="report">Where problems go.</param>
    public bool ValidateWidth(ModelSpec spec, int headWidth, string argument, Action<SpecProblem> report)
    {
        int rotated = Rotated(headWidth);
        if (rotated == 0 || rotated % 2 != 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, spec.Has("RotaryFraction") ? "RotaryFraction" : argument, ["PositionEncoding.Rotary", $"{rotated} turned columns of each head", "pairs of columns are turned, so that there must be 2, 4, 6, …"]));
            return false;
        }

        foreach ((string name, EquatableArray<double> factors) in new[] { ("RotaryShortFactors", ShortFactors), ("RotaryLongFactors", LongFactors) })
        {
            if (Scaling == RotaryScaling.LongRope && factors.Count != rotated / 2)
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, name, [name, $"a list of {rotated / 2}, a number for each pair of turned columns of heads", $"a list of {factors.Count}"]));
                return false;
            }
        }

        return true;
    }

    private static bool ValidateFactors(ModelSpec spec, ArgumentChecks checks, string name, EquatableArray<double> factors, Action<SpecProblem> report)
    {
        bool holds = checks.Require(name);
        for (int i = 0; i < factors.Count; i++)
        {
            if (factors[i] is not (>= 1e-6 and <= 1e6))
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, name, [$"{name}[{i}]", "1e-6 to 1e6", factors[i].ToString("R", System.Globalization.CultureInfo.InvariantCulture)]) { Element = i });
                holds = false;
            }
        }

        return holds;
    }
}

/// <summary>The cosines and sines of a run's positions, of layers that see all and of those that see a window.</summary>
internal sealed record RotaryAngles(RotaryOptions Options, int HeadWidth, Value All, Value Window)
{
    /// <summary>A layer's queries and keys, turned by their positions unless the layer knows none.</summary>
    public (Value Queries, Value Keys) Turn(GraphBuilder b, int layer, KeyRange range, Value queries, Value keys)
    {
        if (!Options.Turns(layer))
        {
            return (queries, keys);
        }

        // Beside each other, so that one kernel turns both.
        Value turned = Turn(b, "rotary", range, b.Add(new ConcatColumns(), "qk", queries, keys));
        int width = queries.Shape.Columns;
        return (b.Add(new SliceColumns(0, width), "q", turned), b.Add(new SliceColumns(width, keys.Shape.Columns), "k", turned));
    }

    /// <summary>A layer's queries, turned by their positions unless the layer knows none.</summary>
    public Value Turn(GraphBuilder b, int layer, KeyRange range, Value queries) => Options.Turns(layer) ? Turn(b, "q", range, queries) : queries;

    private Value Turn(GraphBuilder b, string name, KeyRange range, Value heads)
        => b.Add(new Rotary(HeadWidth, Options.Rotated(HeadWidth), Options.Layout == RotaryLayout.Interleaved), name, heads, range.Window is null ? All : Window);
}
