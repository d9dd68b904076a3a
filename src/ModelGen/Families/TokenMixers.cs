using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>What a declaration says of what mixes tokens beside attention: which layer has what, and the sizes of what is carried from token to token.</summary>
internal sealed record TokenMixerOptions
{
    // What a tap reads is written into emitted code.
    private const int LargestTaps = 64;

    private static readonly string[] s_delta = ["LinearKeyHeads", "LinearValueHeads", "LinearKeyWidth", "LinearValueWidth"];

    private static readonly string[] s_stateSpace = ["StateHeads", "StateGroups", "StateSize", "StateHeadWidth", "StateBias", "StateStepMinimum", "StateStepMaximum"];

    /// <summary>The numbers of the layers' <see cref="TokenMixer"/>, from the first one again where there are more layers; empty where all have attention.</summary>
    public EquatableArray<int> Mixers { get; private init; } = [];

    public int ConvolutionTaps { get; private init; }

    public bool ConvolutionBias { get; private init; }

    public int LinearKeyHeads { get; private init; }

    public int LinearValueHeads { get; private init; }

    public int LinearKeyWidth { get; private init; }

    public int LinearValueWidth { get; private init; }

    public int StateHeads { get; private init; }

    public int StateGroups { get; private init; }

    public int StateSize { get; private init; }

    public int StateHeadWidth { get; private init; }

    public bool StateBias { get; private init; }

    /// <summary>How fast a state space takes in at the least.</summary>
    public double StateStepMinimum { get; private init; }

    /// <summary>And at the most; 0 for as fast as it likes.</summary>
    public double StateStepMaximum { get; private init; }

    /// <summary>The channels of a state space's input: those of all heads.</summary>
    public int StateWidth => StateHeads * StateHeadWidth;

    public static TokenMixerOptions Of(ModelSpec spec, DecoderPreset preset) => new()
    {
        Mixers = spec.Has("Mixers") || preset.Mixer == TokenMixer.Attention ? spec.Ints("Mixers") : [(int)preset.Mixer],
        ConvolutionTaps = spec.Int("ConvolutionTaps", preset.ConvolutionTaps),
        ConvolutionBias = spec.Flag("ConvolutionBias", preset.ConvolutionBias),
        LinearKeyHeads = spec.Int("LinearKeyHeads", 0),
        LinearValueHeads = spec.Size("LinearValueHeads", spec.Int("LinearKeyHeads", 0)),
        LinearKeyWidth = spec.Int("LinearKeyWidth", 0),
        LinearValueWidth = spec.Size("LinearValueWidth", spec.Int("LinearKeyWidth", 0)),
        StateHeads = spec.Int("StateHeads", 0),
        StateGroups = spec.Int("StateGroups", 1),
        StateSize = spec.Int("StateSize", 128),
        StateHeadWidth = spec.Int("StateHeadWidth", 64),
        StateBias = spec.Flag("StateBias", false),
        StateStepMinimum = spec.Real("StateStepMinimum", 0),
        StateStepMaximum = spec.Real("StateStepMaximum", 0),
    };

    public TokenMixer MixerOf(int layer) => Mixers.Count == 0 ? TokenMixer.Attention : (TokenMixer)Mixers[layer % Mixers.Count];

    /// <summary>Whether a list of mixers has a kind.</summary>
    public bool Mixes(TokenMixer mixer) => Mixers.Contains((int)mixer);

    /// <summary>Whether all layers have one kind.</summary>
    public bool Is(TokenMixer mixer) => Mixers.Count > 0 && Mixers.All(number => number == (int)mixer);

    public IEnumerable<FileOption> Files =>
    [
        .. Mixes(TokenMixer.GatedDelta)
            ?
            [
                FileOption.Of("LinearKeyHeads", LinearKeyHeads), FileOption.Of("LinearValueHeads", LinearValueHeads),
                FileOption.Of("LinearKeyWidth", LinearKeyWidth), FileOption.Of("LinearValueWidth", LinearValueWidth),
            ]
            : Array.Empty<FileOption>(),
        .. Mixes(TokenMixer.StateSpace)
            ?
            [
                FileOption.Of("StateHeads", StateHeads), FileOption.Of("StateGroups", StateGroups), FileOption.Of("StateSize", StateSize),
                FileOption.Of("StateHeadWidth", StateHeadWidth), FileOption.Of("StateBias", StateBias),
                .. StateStepMinimum > 0 ? [FileOption.Of("StateStepMinimum", StateStepMinimum) with { Absent = "0" }] : Array.Empty<FileOption>(),
                .. StateStepMaximum > 0 ? [FileOption.Of("StateStepMaximum", StateStepMaximum) with { Absent = "0" }] : Array.Empty<FileOption>(),
            ]
            : Array.Empty<FileOption>(),
        .. Mixers.Any(mixer => mixer != (int)TokenMixer.Attention)
            ? [FileOption.Of("Mixers", Mixers) with { Absent = "" }, FileOption.Of("ConvolutionTaps", ConvolutionTaps), FileOption.Of("ConvolutionBias", ConvolutionBias)] : Array.Empty<FileOption>(),
    ];

    /// <summary>The most columns that anything between a mixer's projections has, of a model so wide. Real numbers, since as integers the products could overflow.</summary>
    public double Widest(double width) => new[]
    {
        width,
        Mixes(TokenMixer.ShortConvolution) ? 3 * width : 0,
        Mixes(TokenMixer.GatedDelta) ? DeltaChannels : 0,
        Mixes(TokenMixer.StateSpace) ? StateChannels + (StateHeads * (double)StateHeadWidth) + StateHeads : 0,
    }.Max();

    /// <summary>The elements that a layer carries from token to token, beside attention's keys and values.</summary>
    public double Carried(TokenMixer mixer, double width) => mixer switch
    {
        TokenMixer.ShortConvolution => (ConvolutionTaps - 1.0) * width,
        TokenMixer.GatedDelta => ((ConvolutionTaps - 1.0) * DeltaChannels) + DeltaState,
        TokenMixer.StateSpace => ((ConvolutionTaps - 1.0) * StateChannels) + StateSpaceState,
        _ => 0,
    };

    private double DeltaChannels => (2 * LinearKeyHeads * (double)LinearKeyWidth) + (LinearValueHeads * (double)LinearValueWidth);

    private double DeltaState => LinearValueHeads * (double)LinearKeyWidth * LinearValueWidth;

    private double StateChannels => (StateHeads * (double)StateHeadWidth) + (2 * StateGroups * (double)StateSize);

    private double StateSpaceState => StateHeads * (double)StateHeadWidth * StateSize;

    public bool Validate(ModelSpec spec, ArgumentChecks checks, int layers, bool layersHold, Action<SpecProblem> report)
    {
        if (spec.Has("Mixers") && (Mixers.Count == 0 || (layersHold && Mixers.Count > layers)))
        {
            report(new SpecProblem(DiagnosticIds.OutOfRange, "Mixers", ["Mixers", $"a list of mixers, for {(layers == 1 ? "1 layer" : $"{layers} layers")} at the most", Mixers.Count == 0 ? "an empty list" : $"a list of {Mixers.Count}"]));
            return false;
        }

        bool convolves = Mixes(TokenMixer.ShortConvolution), corrects = Mixes(TokenMixer.GatedDelta), carries = Mixes(TokenMixer.StateSpace);
        Unused(["ConvolutionTaps"], convolves || corrects || carries, "Mixers without TokenMixer.ShortConvolution, GatedDelta and StateSpace", "only those convolve");
        Unused(["ConvolutionBias"], convolves || carries, "Mixers without TokenMixer.ShortConvolution and StateSpace", "only those have biases");
        Unused(s_delta, corrects, "Mixers without TokenMixer.GatedDelta", "only that has heads of its own");
        Unused(s_stateSpace, carries, "Mixers without TokenMixer.StateSpace", "only that has heads of its own");
        bool holds = !(convolves || corrects || carries) || (checks.OptionalSize("ConvolutionTaps") && checks.AtMost("ConvolutionTaps", "ConvolutionTaps", ConvolutionTaps, LargestTaps));
        if (corrects)
        {
            holds &= checks.RequireSize(s_delta[0]) & checks.OptionalSize(s_delta[1], minimum: 0) & checks.RequireSize(s_delta[2]) & checks.OptionalSize(s_delta[3], minimum: 0)
                && Divides("LinearKeyHeads", LinearKeyHeads, "LinearValueHeads", LinearValueHeads) && StateFits("LinearKeyHeads", DeltaState);
        }

        if (carries)
        {
            holds &= checks.RequireSize(s_stateSpace[0]) & checks.OptionalSize(s_stateSpace[1]) & checks.OptionalSize(s_stateSpace[2]) & checks.OptionalSize(s_stateSpace[3])
                && Divides("StateGroups", StateGroups, "StateHeads", StateHeads) && StateFits("StateHeads", StateSpaceState);
            if (checks.OptionalPositiveOrZero("StateStepMinimum") & checks.OptionalPositiveOrZero("StateStepMaximum"))
            {
                checks.OptionalReal("StateStepMaximum", StateStepMaximum.Equals(0.0) || StateStepMaximum > StateStepMinimum, "more than StateStepMinimum");
            }
        }

        return holds;

        bool Divides(string name, int divisor, string of, int number)
        {
            if (number % divisor == 0)
            {
                return true;
            }

            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, name, [of, name, $"{number}", $"{divisor}"]));
            return false;
        }

        bool StateFits(string name, double elements) => checks.AtMost(name, "The number of elements of a layer's state", elements, SizeLimits.TensorElements);

        void Unused(string[] names, bool isUsed, string with, string because)
        {
            foreach (string name in names.Where(name => !isUsed && spec.Has(name)))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, with, because]));
            }
        }
    }
}

/// <summary>The graphs of what mixes tokens beside attention.</summary>
/// <param name="b">The graph.</param>
/// <param name="options">The sizes.</param>
/// <param name="epsilon">What is added to the mean square in norms.</param>
/// <param name="normal">How projections begin.</param>
/// <param name="residual">How those that add to the residual stream begin.</param>
internal sealed class TokenMixers(GraphBuilder b, TokenMixerOptions options, double epsilon, Initializer normal, Initializer residual)
{
    /// <summary>A gated short convolution (Liquid AI 2025): out(C ⊙ convolution(B ⊙ x)).</summary>
    public Value Convolve(Value x)
    {
        (int width, bool bias) = (x.Shape.Columns, options.ConvolutionBias);
        using (b.Scope("conv"))
        {
            Value parts = b.Linear("in_proj", x, 3 * width, bias, normal);
            Value Part(int number, string name) => b.Add(new SliceColumns(number * width, width), name, parts);
            Value gated = b.Add(new Multiply(), "gated", Part(0, "b"), Part(2, "x"));
            Value convolved = b.CausalConvolution("conv", gated, options.ConvolutionTaps, bias);
            return b.Linear("out_proj", b.Add(new Multiply(), "hidden", Part(1, "c"), convolved), width, bias, residual);
        }
    }

    /// <summary>The gated delta rule (Yang et al. 2024), with queries and keys of length 1, and a norm and a gate behind it, as Qwen3.5 has it. Heads of keys serve consecutive heads of values.</summary>
    public Value Delta(Value x)
    {
        (int keyHeads, int heads, int keyWidth, int valueWidth) = (options.LinearKeyHeads, options.LinearValueHeads, options.LinearKeyWidth, options.LinearValueWidth);
        (int keys, int values) = (keyHeads * keyWidth, heads * valueWidth);
        using (b.Scope("linear_attn"))
        {
            Value all = b.Activate("qkv", b.CausalConvolution("conv1d", b.Linear("in_proj_qkv", x, (2 * keys) + values, bias: false, normal), options.ConvolutionTaps, bias: false), Activation.Silu);
            Value Unit(string name, int first, double scale)
            {
                Value part = Heads(name, all, first, keyHeads, keyWidth);
                Value factor = b.Add(new Rsqrt(1e-6), name + ".rnorm", b.Add(new RowSum(), name + ".squares", b.Add(new Multiply(), name + ".squared", part, part)));
                Value unit = b.Add(new Multiply(), name + ".unit", part, factor);
                return scale.Equals(1) ? unit : b.Add(new Affine(scale, 0), name + ".scaled", unit);
            }

            Value q = Unit("q", 0, 1 / Math.Sqrt(keyWidth)), k = Unit("k", keys, 1), v = Heads("v", all, 2 * keys, heads, valueWidth);
            Value beta = b.Add(new Sigmoid(), "beta", b.Linear("in_proj_b", x, heads, bias: false, normal));
            Value decay = Decay(Pace(b.Linear("in_proj_a", x, heads, bias: false, normal)));
            Value read = b.Add(new LinearRecurrence(), "delta", q, k, v, decay, beta);
            Value gate = b.Activate("z", b.Linear("in_proj_z", x, values, bias: false, normal), Activation.Silu);
            Value normed = b.Add(new Reshape(x.Shape.WithLast(values)), "normed", b.RmsNorm("norm", read, epsilon));
            return b.Linear("out_proj", b.Add(new Multiply(), "gated", normed, gate), x.Shape.Columns, bias: false, residual);
        }
    }

    /// <summary>
    /// A selective state space of scalar decay (Mamba-2: Dao and Gu 2024, section 7): of one projection of the input, x, B and C go through a convolution and a SiLU, and S ← exp(−eᴬΔ)S + ΔB ⊗ x, y = SᵀC + Dx of each head, with a pace Δ;
    /// y is let through by a gate and then normalized, each group's heads by themselves. A group's B and C serve consecutive heads.
    /// </summary>
    public Value StateSpace(Value x)
    {
        (int groups, int heads, int size, int headWidth, int width) = (options.StateGroups, options.StateHeads, options.StateSize, options.StateHeadWidth, options.StateWidth);
        int channels = width + (2 * groups * size);
        using (b.Scope("mamba"))
        {
            Value projected = b.Linear("in_proj", x, width + channels + heads, options.StateBias, normal);
            Value gate = b.Activate("z.silu", b.Add(new SliceColumns(0, width), "z", projected), Activation.Silu);
            Value all = b.Activate("xbc", b.CausalConvolution("conv1d", b.Add(new SliceColumns(width, channels), "xbc.in", projected), options.ConvolutionTaps, options.ConvolutionBias), Activation.Silu);
            Value input = Heads("x", all, 0, heads, headWidth), keys = Heads("B", all, width, groups, size), queries = Heads("C", all, width + (groups * size), groups, size);
            Value pace = Pace(b.Add(new SliceColumns(width + channels, heads), "dt", projected));
            if (options.StateStepMinimum > 0 || options.StateStepMaximum > 0)
            {
                // Softplus is more than 0 as it is.
                double least = options.StateStepMinimum > 0 ? options.StateStepMinimum : double.NegativeInfinity, most = options.StateStepMaximum > 0 ? options.StateStepMaximum : double.PositiveInfinity;
                pace = b.Add(new Clamp(least, most), "pace.clamped", pace);
            }

            Value values = b.Add(new Multiply(), "x.paced", input, b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], heads, 1)), "pace.heads", pace));
            Value read = b.Add(new LinearRecurrence(), "ssd", queries, keys, values, Decay(pace));
            Value past = b.Add(new Multiply(), "x.past", input, b.Add(new Reshape(Shape.Of(heads, 1)), "D.heads", b.Parameter("D", Shape.Of(heads), Initializer.Ones)));
            Value rows = b.Add(new Reshape(x.Shape.WithLast(width)), "y", b.Add(new Add(), "y.heads", read, past));
            Value gated = b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], groups, width / groups)), "gated.groups", b.Add(new Multiply(), "gated", rows, gate));
            Value normalized = b.Add(new Reshape(x.Shape.WithLast(width)), "norm.groups", b.Add(new RmsNorm(epsilon), "norm.normal", gated));
            Value normed = b.Add(new Multiply(), "norm", normalized, b.Parameter("norm.weight", Shape.Of(width), Initializer.Ones));
            return b.Linear("out_proj", normed, x.Shape.Columns, options.StateBias, residual);
        }
    }

    private Value Heads(string name, Value of, int first, int count, int width)
        => b.Add(new Reshape(Shape.Of(of.Shape[0], of.Shape[1], count, width)), name + ".heads", b.Add(new SliceColumns(first, count * width), name, of));

    /// <summary>How fast heads forget, and state spaces take in: softplus(a + dt).</summary>
    private Value Pace(Value a) => b.Add(new Softplus(), "pace", b.Add(new Add(), "a", a, b.Parameter("dt_bias", Shape.Of(a.Shape.Columns), Initializer.Ones)));

    /// <summary>The logarithm of what is kept: −exp(A) · pace.</summary>
    private Value Decay(Value pace)
    {
        Value rate = b.Add(new Exp(), "rate", b.Parameter("A_log", Shape.Of(pace.Shape.Columns), Initializer.Zeros));
        return b.Add(new Affine(-1, 0), "decay.log", b.Add(new Multiply(), "decay.rate", pace, rate));
    }
}
