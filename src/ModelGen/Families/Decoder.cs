using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>
/// The decoder-only Transformers that came after GPT-2, which are one graph with different parts: Llama (Touvron et al. 2023) is what it is by default. Presets are
/// other defaults under a name of their own.
/// </summary>
internal sealed class Decoder(DecoderPreset preset) : IFamily
{
    /// <summary>[Decoder] and its presets.</summary>
    public static IReadOnlyList<IFamily> All { get; } = [.. DecoderPreset.All.Select(preset => new Decoder(preset))];

    // A worker counts what each of them gets on its stack.
    private const int MostExperts = 1024;

    public string Name => preset.Name;

    public string AttributeMetadataName => $"ModelGen.{preset.Name}Attribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = options.Attends ? checks.RequireSize("Heads") : checks.OptionalSize("Heads", minimum: 0);
        bool keyHeadsHold = checks.OptionalSize("KeyValueHeads", minimum: 0);
        bool headWidthHolds = checks.OptionalSize("HeadWidth", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        bool feedForwardHolds = options.Mixing.Is(TokenMixer.StateSpace) ? checks.OptionalSize("FeedForward", minimum: 0) : checks.RequireSize("FeedForward");
        SelfAttentionOptions attention = options.Attention;
        if (feedForwardHolds && options.FeedForward == 0)
        {
            foreach (string name in new[] { "Activation", "GatedFeedForward", "FeedForwardBias", "Experts", "Form" }.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "no FeedForward", "there is no network behind the mixer"]));
            }
        }

        bool contextHolds = options.IsEndless ? checks.OptionalSize("Context", minimum: 0) : checks.RequireSize("Context");
        bool attentionHolds = attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        if (options.AttentionWeights && options.IsEndless && contextHolds && options.Context == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", "no Context", "weights are handed out for every position that a sequence may have"]));
        }

        bool mixersHold = options.Mixing.Validate(spec, checks, options.Layers, layersHold, report);
        bool expertsHold = ValidateExperts(spec, checks, options, report);
        bool listsHold = ValidateLayerSizes(spec, checks, options, layersHold, report);
        ValidateGates(spec, checks, options, report);
        checks.OptionalPositive("NormEpsilon");
        bool scaleHolds = checks.OptionalPositiveOrZero("AttentionScale");
        checks.OptionalPositiveOrZero("EmbeddingMultiplier");
        checks.OptionalPositive("ResidualMultiplier");
        bool logitsHold = checks.OptionalPositive("LogitScale");
        Cap("LogitSoftCap", options.LogitSoftCap, logitsHold, options.LogitScale);
        if (Cap("AttentionSoftCap", options.AttentionSoftCap, scaleHolds, options.AttentionScale)
            && options.AttentionSoftCap > 0 && attention.Positions is PositionEncoding.Alibi or PositionEncoding.Relative)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionSoftCap", ["AttentionSoftCap", $"PositionEncoding.{attention.Positions}", "a bias that grows with the distance is not capped"]));
        }

        if (spec.Has("NormBias") && options.Norm != Normalization.Layer)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "NormBias", ["NormBias", $"Normalization.{options.Norm}", "only Normalization.Layer has biases"]));
        }

        if (options is { Form: not BlockForm.Sequential, NormPlacement: not NormPlacement.Before })
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "NormPlacement", [$"NormPlacement.{options.NormPlacement}", $"BlockForm.{options.Form}", "what runs beside each other is normalized before"]));
        }

        checks.OptionalProbability("Dropout");
        if (modelHolds && headsHold && headWidthHolds && spec.Int("HeadWidth", 0) == 0 && options.LayerHeadWidths.Count == 0 && options.Width % options.Heads != 0)
        {
            headWidthHolds = false;
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        if (headsHold && keyHeadsHold && options.Heads % options.KeyValueHeads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "KeyValueHeads", ["Heads", "KeyValueHeads", $"{options.Heads}", $"{options.KeyValueHeads}"]));
        }

        bool sizesHold = modelHolds && headsHold && headWidthHolds && listsHold;
        if (sizesHold && keyHeadsHold)
        {
            foreach (int keyHeads in options.LayerKeyValueHeads.Where(h => options.Heads % h != 0).Distinct())
            {
                report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "LayerKeyValueHeads", ["Heads", "LayerKeyValueHeads", $"{options.Heads}", $"{keyHeads}"]));
            }

            sizesHold &= ValidateSharing(options, layersHold && mixersHold && attentionHolds, report);
        }

        if (sizesHold && keyHeadsHold && (options.LayerHeadWidths.Count == 0 ? [options.HeadWidth] : options.LayerHeadWidths).FirstOrDefault(width => !CacheFormats.Suits(spec.KeyValueCache, width)) is > 0 and int unsuited)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "KeyValueCache", [$"CacheFormat.{spec.KeyValueCache}", $"heads of {unsuited}", "its blocks are 32 numbers of one head"]));
        }

        bool rotaryHolds = options.Rotary.Validate(spec, checks, layersHold ? options.Layers : 0, attention.Positions == PositionEncoding.Rotary, sizesHold && options.LayerHeadWidths.Count == 0 ? options.HeadWidth : 0, attention.Positions, report);
        if (rotaryHolds && sizesHold && attention.Positions == PositionEncoding.Rotary && options.LayerHeadWidths.FirstOrDefault(w => options.Rotary.Rotated(w) % 2 != 0 || options.Rotary.Rotated(w) == 0) is > 0 and int odd)
        {
            rotaryHolds = options.Rotary.ValidateWidth(spec, odd, "LayerHeadWidths", report);
        }

        if (contextHolds && options.Context > 0 && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        if (layersHold && mixersHold && expertsHold && sizesHold && keyHeadsHold && vocabHolds && contextHolds && attentionHolds && rotaryHolds && feedForwardHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, headWidth = options.HeadWidths.Max(), vocabulary = options.Vocabulary;
            double KeysOf(int layer) => options.KeyValueHeadsOf(layer) * (double)options.HeadWidthOf(layer);
            double queries = options.Heads * headWidth, keys = Enumerable.Range(0, options.Layers).Max(KeysOf), perLayer = options.Layers * (double)options.PerLayerWidth;
            double hidden = Math.Max(Math.Max(options.Mixing.Widest(width), queries + (2 * keys) + (options.AttentionOutputGate ? queries : 0)), Math.Max(Math.Max(Math.Max(1, options.ActiveExperts) * Math.Max((double)options.WidestFeedForward, options.Experts > 0 ? width : 0), perLayer), Math.Max(options.SharedFeedForward, options.Experts)));
            double table = attention.Positions == PositionEncoding.Rotary ? options.Context * headWidth : attention.HasTable ? options.Context * width : 1;
            double largest = Math.Max(Math.Max(Math.Max(table, perLayer * vocabulary), options.Experts * width * options.WidestFeedForward), width * Math.Max(vocabulary, hidden));

            // A run takes a chunk of the context and gives one row of logits; the caches hold all keys that are seen.
            double[] caches = [.. Enumerable.Range(0, options.Layers).Select(layer => options.MixerOf(layer) == TokenMixer.Attention && options.KeysFrom(layer) == layer ? attention.CacheRows(layer, options.Context) : 0)];
            double carried = Enumerable.Range(0, options.Layers).Sum(layer => options.Mixing.Carried(options.MixerOf(layer), width));
            double rows = caches.Max();
            double inferred = Math.Max(vocabulary, Math.Max(Math.Min(rows, CommonPrograms.LargestChunk) * hidden, rows * keys));
            double biases = attention.BiasElements(options.Heads) / Math.Max(1, spec.Training?.SequenceLength ?? 1);
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(Math.Max(vocabulary, hidden), biases));
            CommonPrograms.ValidateSessions(spec, checks, states: (2 * caches.Select((cached, layer) => cached * KeysOf(layer)).Sum()) + carried, Math.Max(vocabulary, hidden));
        }

        // What is capped is divided by the cap and multiplied by it: neither may overflow in single precision.
        bool Cap(string name, double cap, bool factorHolds, double factor)
            => checks.OptionalPositiveOrZero(name)
                && (cap.Equals(0.0) || !factorHolds || checks.OptionalReal(name, (float)(cap / factor) is > 0 and < float.PositiveInfinity && (float)(factor / cap) is > 0 and < float.PositiveInfinity, "neither too large nor too small beside the factor of what it caps, in single precision"));
    }

    private static void ValidateGates(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, Action<SpecProblem> report)
    {
        checks.OptionalPositiveOrZero("GateLimit");
        checks.OptionalReal("UpOffset", (float)options.UpOffset is > float.NegativeInfinity and < float.PositiveInfinity, "finite in single precision");
        foreach (string name in new[] { "GateLimit", "UpOffset" }.Where(name => !options.GatedFeedForward && spec.Has(name)))
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "GatedFeedForward = false", "only a gated network has a gate and what it lets through"]));
        }

        if (spec.Has("GlobalRotaryFraction") && options.Rotary.Layout == RotaryLayout.Interleaved)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "GlobalRotaryFraction", ["GlobalRotaryFraction", "RotaryLayout.Interleaved", "pairs that stand still are columns half a head apart"]));
        }

        if (options.PerLayerWidth > 0 && options.Form != BlockForm.Sequential)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "PerLayerWidth", ["PerLayerWidth", $"BlockForm.{options.Form}", "what a layer knows of its token follows the feed-forward network"]));
        }
    }

    /// <summary>The lists of sizes that layers have, and the counts beside them.</summary>
    private static bool ValidateLayerSizes(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, bool layersHold, Action<SpecProblem> report)
    {
        bool holds = checks.OptionalSize("PerLayerWidth", minimum: 0) & checks.OptionalSize("SharedKeyValueLayers", minimum: 0)
            && (!layersHold || checks.AtMost("SharedKeyValueLayers", "SharedKeyValueLayers, fewer than there are layers,", options.SharedKeyValueLayers, options.Layers - 1));
        foreach ((string name, EquatableArray<int> sizes) in new[] { ("LayerHeadWidths", options.LayerHeadWidths), ("LayerKeyValueHeads", options.LayerKeyValueHeads), ("LayerFeedForward", options.LayerFeedForward) })
        {
            if (!spec.Has(name))
            {
                continue;
            }

            if (sizes.Count == 0 || (layersHold && sizes.Count > options.Layers))
            {
                report(new SpecProblem(DiagnosticIds.OutOfRange, name, [name, $"a list of sizes, for {(options.Layers == 1 ? "1 layer" : $"{options.Layers} layers")} at the most", sizes.Count == 0 ? "an empty list" : $"a list of {sizes.Count}"]));
                holds = false;
            }

            for (int i = 0; i < sizes.Count; i++)
            {
                if (sizes[i] < 1)
                {
                    report(new SpecProblem(DiagnosticIds.OutOfRange, name, [$"{name}[{i}]", "1 or more", $"{sizes[i]}"]) { Element = i });
                    holds = false;
                }
            }
        }

        return holds;
    }

    /// <summary>Layers that take the keys and values of earlier ones need one with the same heads, that sees the same.</summary>
    private static bool ValidateSharing(DecoderOptions options, bool layersHold, Action<SpecProblem> report)
    {
        if (!layersHold || options.SharedKeyValueLayers == 0)
        {
            return true;
        }

        for (int layer = options.Layers - options.SharedKeyValueLayers; layer < options.Layers; layer++)
        {
            if (options.MixerOf(layer) == TokenMixer.Attention && options.KeysFrom(layer) == layer)
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "SharedKeyValueLayers", ["SharedKeyValueLayers", $"layer {layer}", "no layer that keeps its keys and values has its window, its head width and its heads"]));
                return false;
            }
        }

        return true;
    }

    private static bool ValidateExperts(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, Action<SpecProblem> report)
    {
        if (!checks.OptionalSize("Experts", minimum: 0) || !checks.AtMost("Experts", "Experts", options.Experts, MostExperts))
        {
            return false;
        }

        if (options.Experts == 0)
        {
            foreach (string name in new[] { "ActiveExperts", "NormalizeExperts", "RouterBias", "SharedFeedForward", "SharedExpertGate", "BalanceLoss" }.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "no Experts", "only a mixture of experts chooses"]));
            }

            return true;
        }

        if (spec.Has("SharedExpertGate") && options.SharedFeedForward == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "SharedExpertGate", ["SharedExpertGate", "no SharedFeedForward", "there is nothing to let through"]));
        }

        checks.OptionalReal("BalanceLoss", (float)options.BalanceLoss is >= 0 and < float.PositiveInfinity, "finite and at least 0 in single precision");
        return checks.OptionalSize("SharedFeedForward", minimum: 0) & (checks.RequireSize("ActiveExperts") && checks.AtMost("ActiveExperts", "ActiveExperts, of so many Experts,", options.ActiveExperts, options.Experts));
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var inside = new InsideOutputs(
            options.HiddenStates ? options.Layers + 1 : 0, options.Width, options.AttentionWeights ? options.AttentionLayers : 0, options.Heads);
        return CommonPrograms.CausalLanguageModel(spec, options.Vocabulary, options.Context, (tokens, targets) => new Builder(options, targets is not null).Build(tokens, targets), inside, options.HasPositions) with { Files = Files(options) };
    }

    private static FileConventions Files(DecoderOptions options) => new(
    [
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("KeyValueHeads", options.KeyValueHeads),
        FileOption.Of("HeadWidth", options.HeadWidth),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = options.Attention.ContextIsLimit },
        FileOption.Of("FeedForward", options.FeedForward),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("GatedFeedForward", options.GatedFeedForward),
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("QkvBias", options.QkvBias),
        FileOption.Of("OutputBias", options.OutputBias),
        FileOption.Of("FeedForwardBias", options.FeedForwardBias),
        FileOption.Of("HeadBias", options.HeadBias),
        FileOption.Of("Norm", options.Norm),
        FileOption.Of("NormPlacement", options.NormPlacement),
        FileOption.Of("NormEpsilon", options.NormEpsilon),
        .. options.Norm == Normalization.Layer ? [FileOption.Of("NormBias", options.NormBias)] : Array.Empty<FileOption>(),
        .. options.AttentionOutputGate ? [FileOption.Of("AttentionOutputGate", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.AttentionSinks ? [FileOption.Of("AttentionSinks", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.ValueNorm ? [FileOption.Of("ValueNorm", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.GateLimit > 0 ? [FileOption.Of("GateLimit", options.GateLimit) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.UpOffset.Equals(0) ? Array.Empty<FileOption>() : [FileOption.Of("UpOffset", options.UpOffset) with { Absent = "0" }],
        .. options.LayerScale ? [FileOption.Of("LayerScale", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
        .. options.LayerHeadWidths.Count > 0 ? [FileOption.Of("LayerHeadWidths", options.LayerHeadWidths) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.LayerKeyValueHeads.Count > 0 ? [FileOption.Of("LayerKeyValueHeads", options.LayerKeyValueHeads) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.LayerFeedForward.Count > 0 ? [FileOption.Of("LayerFeedForward", options.LayerFeedForward) with { Absent = "" }] : Array.Empty<FileOption>(),
        .. options.SharedKeyValueLayers > 0 ? [FileOption.Of("SharedKeyValueLayers", options.SharedKeyValueLayers) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.PerLayerWidth > 0 ? [FileOption.Of("PerLayerWidth", options.PerLayerWidth) with { Absent = "0" }] : Array.Empty<FileOption>(),
        .. options.Mixing.Files,
        .. options.Experts > 0
            ?
            [
                FileOption.Of("Experts", options.Experts) with { Absent = "0" },
                FileOption.Of("ActiveExperts", options.ActiveExperts),
                FileOption.Of("NormalizeExperts", options.NormalizeExperts),
                .. options.RouterBias ? [FileOption.Of("RouterBias", true) with { Absent = "false" }] : Array.Empty<FileOption>(),
                FileOption.Of("SharedFeedForward", options.SharedFeedForward),
                FileOption.Of("SharedExpertGate", options.SharedExpertGate),
                FileOption.Of("BalanceLoss", options.BalanceLoss) with { TrainingOnly = true },
            ]
            : Array.Empty<FileOption>(),
        FileOption.Of("QueryKeyNorm", options.QueryKeyNorm),
        FileOption.Of("Form", options.Form),
        FileOption.Of("AttentionScale", options.AttentionScale),
        FileOption.Of("AttentionSoftCap", options.AttentionSoftCap),
        FileOption.Of("EmbeddingMultiplier", options.EmbeddingMultiplier),
        FileOption.Of("ResidualMultiplier", options.ResidualMultiplier),
        FileOption.Of("LogitScale", options.LogitScale),
        FileOption.Of("LogitSoftCap", options.LogitSoftCap),
        .. options.Attention.Files,
        .. options.Attention.Positions == PositionEncoding.Rotary ? options.Rotary.Files : [],
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        Family = DecoderPreset.Plain.Name,
        OptionalPrefixes = ["model."],
        Aliases = [.. options.TieEmbeddings ? [("lm_head.weight", "model.embed_tokens.weight")] : Array.Empty<(string, string)>(), .. options.Mixing.Mixes(TokenMixer.ShortConvolution) ? ConvolutionNames(options) : [], .. StateSpaceNames(options), .. options is { Experts: > 0, GatedFeedForward: true } ? ExpertNames(options) : [], .. options is { Experts: > 0, RouterBias: true } ? RouterNames(options) : []],

        // What older files hold of rotary positions, which the declaration says.
        Buffers = [("model.layers.#.self_attn.rotary_emb.inv_freq", 1)],
    };

    /// <summary>What Mixtral's files call experts.</summary>
    private static IEnumerable<(string Name, string Parameter)> ExpertNames(DecoderOptions options)
    {
        (string Theirs, string Ours)[] names = [("gate", "gate"), ("experts.w1", "experts.gate_proj"), ("experts.w3", "experts.up_proj"), ("experts.w2", "experts.down_proj")];
        return Enumerable.Range(0, options.Layers).SelectMany(layer => names.Select(name => ($"model.layers.{layer}.block_sparse_moe.{name.Theirs}.weight", $"model.layers.{layer}.mlp.{name.Ours}.weight")));
    }

    /// <summary>What the files of models of state spaces alone, Mamba-2's, call parameters otherwise.</summary>
    private static IEnumerable<(string Name, string Parameter)> StateSpaceNames(DecoderOptions options)
    {
        if (options is not { FeedForward: 0, NormPlacement: NormPlacement.Before, Form: BlockForm.Sequential })
        {
            yield break;
        }

        yield return ("backbone.embeddings.weight", "model.embed_tokens.weight");
        yield return ("backbone.embedding.weight", "model.embed_tokens.weight");
        yield return ("backbone.norm_f.weight", "model.norm.weight");
        string[] all = ["in_proj.weight", "conv1d.weight", "dt_bias", "A_log", "D", "norm.weight", "out_proj.weight", .. options.Mixing.ConvolutionBias ? ["conv1d.bias"] : Array.Empty<string>(), .. options.Mixing.StateBias ? ["in_proj.bias", "out_proj.bias"] : Array.Empty<string>()];
        for (int layer = 0; layer < options.Layers; layer++)
        {
            yield return ($"backbone.layers.{layer}.norm.weight", $"model.layers.{layer}.input_layernorm.weight");
            foreach (string name in all)
            {
                yield return ($"backbone.layers.{layer}.mixer.{name}", $"model.layers.{layer}.mamba.{name}");
            }
        }
    }

    /// <summary>What files of gpt-oss call what chooses experts.</summary>
    private static IEnumerable<(string Name, string Parameter)> RouterNames(DecoderOptions options)
        => Enumerable.Range(0, options.Layers).SelectMany(layer => new[] { "weight", "bias" }.Select(kind => ($"model.layers.{layer}.mlp.router.{kind}", $"model.layers.{layer}.mlp.gate.{kind}")));

    /// <summary>What the files of models with short convolutions call parameters otherwise.</summary>
    private static IEnumerable<(string Name, string Parameter)> ConvolutionNames(DecoderOptions options)
    {
        (string Theirs, string Ours)[] all = [("operator_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"), ("feed_forward.w1", "mlp.gate_proj"), ("feed_forward.w3", "mlp.up_proj"), ("feed_forward.w2", "mlp.down_proj")];
        (string Theirs, string Ours)[] attention = [("self_attn.out_proj", "self_attn.o_proj"), ("self_attn.q_layernorm", "self_attn.q_norm"), ("self_attn.k_layernorm", "self_attn.k_norm")];
        if (options is not { NormPlacement: NormPlacement.Before, Form: BlockForm.Sequential, Norm: Normalization.RootMeanSquare, GatedFeedForward: true, QueryKeyNorm: QueryKeyNorm.Head, OutputBias: false, FeedForwardBias: false })
        {
            yield break;
        }

        yield return ("model.embedding_norm.weight", "model.norm.weight");
        for (int layer = 0; layer < options.Layers; layer++)
        {
            foreach ((string theirs, string ours) in options.MixerOf(layer) == TokenMixer.Attention ? all.Concat(attention) : all)
            {
                yield return ($"model.layers.{layer}.{theirs}.weight", $"model.layers.{layer}.{ours}.weight");
            }
        }
    }

    /// <summary>The graph, for inference or for training. Parameters are named as in the Hugging Face layout of the families.</summary>
    private sealed class Builder(DecoderOptions options, bool isTraining)
    {
        private readonly BuildMode _mode = isTraining ? BuildMode.Training : BuildMode.Inference;
        private readonly Initializer _normal = Initializer.Normal(0.02);

        // Of what is added to the residual stream (Radford et al. 2019, section 2.3).
        private readonly Initializer _residual = Initializer.Normal(0.02 / Math.Sqrt(2.0 * options.Layers));

        private readonly GraphBuilder _b = new();

        // Of each width of heads.
        private readonly Dictionary<int, RotaryAngles?> _angles = [];

        // Of each layer, the keys and values that later ones may share.
        private readonly Dictionary<int, (Value Keys, Value Values)> _kept = [];

        // What each layer knows of a token beside the residual stream, [B, T, layers, width]; null for nothing.
        private Value? _perLayer;

        private Value[] _biases = [];

        // What is lost by unevenly used experts; null for nothing.
        private Value? _balance;

        public ModelGraph Build(Input tokenIds, Input? targetIds)
        {
            Value tokens = _b.Add(tokenIds, tokenIds.InputName);
            Value table, x;
            using (_b.Scope("model"))
            {
                table = _b.Parameter("embed_tokens.weight", Shape.Of(options.Vocabulary, options.Width), _normal);
                x = Embed(tokens, table);
                _perLayer = options.PerLayerWidth > 0 ? PerLayer(tokens, x) : null;
                for (int layer = 0; layer < options.Layers; layer++)
                {
                    HiddenState(layer, x);
                    using (_b.Scope($"layers.{layer}"))
                    {
                        _b.Recomputed = options.Recompute == Recomputation.Blocks ? new Recomputed(_b.Qualify(""), 0) : default;
                        x = Block(layer, x);
                    }
                }

                _b.Recomputed = default;
                x = Norm("norm", x);
                HiddenState(options.Layers, x);
            }

            Value logits = Head(x, table);
            _b.Output("logits", logits);
            if (targetIds is not null)
            {
                Value targets = _b.Add(targetIds, targetIds.InputName);
                _b.Loss(_b.Add(new CrossEntropy(), "loss.rows", logits, targets), _balance);
            }

            return _b.Build();
        }

        private Value Embed(Value tokens, Value table)
        {
            Dim time = tokens.Shape[1];
            _biases = options.Attention.BiasTable(_b, options.Heads, _normal);
            Value? positions = options.Attention.PositionTable(_b, "embed_positions.weight", options.Context, options.Width);
            Value x = _b.Add(new Embedding(), positions is null && options.EmbeddingMultiplier.Equals(1) ? "embeddings" : "embed_tokens", table, tokens);
            x = Times(positions is null ? "embeddings" : "embed_tokens.scaled", x, options.EmbeddingMultiplier);
            x = positions is null ? x : _b.Add(new Add(), "embeddings", x, _b.Add(new RowsAtPosition(time), "embed_positions", positions.Value));
            foreach (int width in options.HeadWidths)
            {
                _angles[width] = options.Rotary.Angles(_b, options.Attention.Positions, time, options.Context, width, width == options.HeadWidths[0]);
            }

            return _b.Dropout("embed_dropout", x, options.Dropout, _mode);
        }

        /// <summary>
        /// Per-layer embeddings (Gemma 3n, Google DeepMind 2025): for each layer a row of a second table, √width times, and a projection of the sum of the embeddings, 1/√DModel times and normalized; together 1/√2 times.
        /// </summary>
        private Value PerLayer(Value tokens, Value x)
        {
            int width = options.PerLayerWidth, all = options.Layers * width;
            Shape each = Shape.Of(x.Shape[0], x.Shape[1], options.Layers, width);
            Value table = _b.Parameter("embed_tokens_per_layer.weight", Shape.Of(options.Vocabulary, all), _normal);
            Value rows = Times("embed_tokens_per_layer.scaled", _b.Add(new Embedding(), "embed_tokens_per_layer", table, tokens), Math.Sqrt(width));
            Value projected = Times("per_layer_model_projection.scaled", _b.Linear("per_layer_model_projection", x, all, bias: false, _normal), 1 / Math.Sqrt(options.Width));
            Value normed = Norm("per_layer_projection_norm", _b.Add(new Reshape(each), "per_layer_model_projection.layers", projected));
            return Times("per_layer", _b.Add(new Add(), "per_layer.sum", normed, _b.Add(new Reshape(each), "embed_tokens_per_layer.layers", rows)), Math.Sqrt(0.5));
        }

        /// <summary>What a layer knows of its token, let through by its own output; and the whole by a learned factor.</summary>
        private Value Output(int layer, Value x)
        {
            if (_perLayer is { } all)
            {
                int width = options.PerLayerWidth;
                Value own = _b.Add(new SliceColumns(layer * width, width), "per_layer_input", _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], options.Layers * width)), "per_layer_inputs", all));
                Value gate = _b.Activate("per_layer_input_gate.act", _b.Linear("per_layer_input_gate", x, width, bias: false, _normal), options.Activation);
                Value answer = _b.Linear("per_layer_projection", _b.Add(new Multiply(), "per_layer_input.gated", gate, own), options.Width, bias: false, _residual);
                x = Residual("per_layer_input", x, Norm("post_per_layer_input_norm", answer));
            }

            return options.LayerScale ? _b.Add(new Multiply(), "scaled", x, _b.Parameter("layer_scalar", Shape.Of(1), Initializer.Ones)) : x;
        }

        /// <summary>The logits: scaled, and squeezed into ±cap (Gemma Team 2024, section 2).</summary>
        private Value Head(Value x, Value table)
        {
            Value logits = options.TieEmbeddings ? _b.Add(new MatMul(MatMulForm.NT), options.HeadBias ? "lm_head.product" : "lm_head", x, table)
                : _b.Linear("lm_head", x, options.Vocabulary, options.HeadBias, _normal);
            if (options is { TieEmbeddings: true, HeadBias: true })
            {
                logits = _b.Add(new Add(), "lm_head", logits, _b.Parameter("lm_head.bias", Shape.Of(options.Vocabulary), Initializer.Zeros));
            }

            double cap = options.LogitSoftCap;
            if (cap <= 0)
            {
                return Times("logits", logits, options.LogitScale);
            }

            return Times("logits", _b.Add(new Tanh(), "logits.tanh", Times("logits.scaled", logits, options.LogitScale / cap)), cap);
        }

        private Value Block(int layer, Value x)
        {
            NormPlacement placement = options.NormPlacement;
            if (options.Form != BlockForm.Sequential)
            {
                Value normed = Norm("input_layernorm", x);
                Value fed = Transform(layer, options.Form == BlockForm.Parallel ? normed : Norm("post_attention_layernorm", x));
                return Output(layer, Residual("mlp", Residual("self_attn", x, Mix(layer, normed)), fed));
            }

            Value mixed = Mix(layer, placement == NormPlacement.After ? x : Norm("input_layernorm", x));
            x = Residual("self_attn", x, placement == NormPlacement.Before ? mixed : Norm("post_attention_layernorm", mixed));
            if (options.FeedForward == 0)
            {
                return Output(layer, x);
            }

            Value output = Transform(layer, placement == NormPlacement.After ? x : Norm(placement == NormPlacement.Both ? "pre_feedforward_layernorm" : "post_attention_layernorm", x));
            return Output(layer, Residual("mlp", x, placement == NormPlacement.Before ? output : Norm("post_feedforward_layernorm", output)));
        }

        private Value Residual(string name, Value x, Value branch)
            => _b.Add(new Add(), name + ".residual", x, _b.Dropout(name + ".dropout", Times(name + ".scaled", branch, options.ResidualMultiplier), options.Dropout, _mode));

        private Value Times(string name, Value x, double factor) => factor.Equals(1) ? x : _b.Add(new Affine(factor, 0), name, x);

        private Value Norm(string name, Value x) => options.Norm == Normalization.Layer
            ? _b.LayerNorm(name, x, options.NormBias, options.NormEpsilon)
            : _b.RmsNorm(name, x, options.NormEpsilon, options.Norm == Normalization.OffsetRootMeanSquare);

        private TokenMixers Mixers => new(_b, options.Mixing, options.NormEpsilon, _normal, _residual);

        private Value Mix(int layer, Value x) => options.MixerOf(layer) switch
        {
            TokenMixer.ShortConvolution => Mixers.Convolve(x),
            TokenMixer.GatedDelta => Mixers.Delta(x),
            TokenMixer.StateSpace => Mixers.StateSpace(x),
            _ => Attend(layer, x),
        };

        private Value Attend(int layer, Value x)
        {
            int headWidth = options.HeadWidthOf(layer), keyHeads = options.KeyValueHeadsOf(layer), source = options.KeysFrom(layer);
            int queries = options.Heads * headWidth, keys = keyHeads * headWidth;
            KeyRange range = options.Attention.RangeOf(layer, isCausal: true);
            using (_b.Scope("self_attn"))
            {
                Value asked = _b.Linear("q_proj", x, options.AttentionOutputGate ? 2 * queries : queries, options.QkvBias, _normal);
                Value? gate = null;
                if (options.AttentionOutputGate)
                {
                    // Of each head, the query and, beside it, what its output is let through by.
                    Value heads = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], options.Heads, 2 * headWidth)), "q_proj.heads", asked);
                    Value Half(string name, int first) => _b.Add(new Reshape(x.Shape.WithLast(queries)), name, _b.Add(new SliceColumns(first, headWidth), name + ".heads", heads));
                    gate = _b.Add(new Sigmoid(), "gate", Half("gate.logits", headWidth));
                    asked = Half("q_proj.q", 0);
                }

                Value q = NormedHeads("q_norm", asked, options.Heads);
                Value k, v;
                if (source < layer)
                {
                    (k, v) = _kept[source];
                    q = _angles[headWidth]?.Turn(_b, layer, range, q) ?? q;
                }
                else
                {
                    k = NormedHeads("k_norm", _b.Linear("k_proj", x, keys, options.QkvBias, _normal), keyHeads);
                    v = _b.Linear("v_proj", x, keys, options.QkvBias, _normal);
                    v = options.ValueNorm ? HeadByHead("v_norm", v, keyHeads, heads => _b.Add(new RmsNorm(options.NormEpsilon), "v_norm", heads)) : v;
                    (q, k) = _angles[headWidth]?.Turn(_b, layer, range, q, k) ?? (q, k);
                    _kept[layer] = (k, v);
                }

                var op = new Attention(options.Heads, keyHeads, headWidth, options.AttentionScaleOf(layer), range)
                {
                    Bias = options.Attention.BiasOf(isCausal: true),
                    SoftCap = options.AttentionSoftCap,
                };
                string? weights = options.AttentionWeights && !isTraining ? CommonPrograms.AttentionWeights(Enumerable.Range(0, layer).Count(before => options.MixerOf(before) == TokenMixer.Attention)) : null;
                Value? sinks = options.AttentionSinks ? _b.Parameter("sinks", Shape.Of(options.Heads), _normal) : null;
                Value attended = _b.Attend("attention", op, [q, k, v, .. _biases], weights, options.Context, sinks);
                attended = gate is { } part ? _b.Add(new Multiply(), "attention.gated", attended, part) : attended;
                return _b.Linear("o_proj", attended, options.Width, options.OutputBias, _residual);
            }
        }

        private Value NormedHeads(string name, Value x, int heads)
        {
            switch (options.QueryKeyNorm)
            {
                case QueryKeyNorm.Whole:
                    return Norm(name, x);
                case QueryKeyNorm.Head:
                    return HeadByHead(name, x, heads, rows => Norm(name, rows));
                default:
                    return x;
            }
        }

        private Value HeadByHead(string name, Value x, int heads, Func<Value, Value> norm)
        {
            Value rows = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], heads, x.Shape.Columns / heads)), name + ".heads", x);
            return _b.Add(new Reshape(x.Shape), name + ".all", norm(rows));
        }

        private Value Transform(int layer, Value x) => options.Experts > 0 ? Experts(x, options.FeedForwardOf(layer)) : FeedForward("mlp", x, options.FeedForwardOf(layer));

        /// <summary>A gated feed-forward network (Shazeer 2020), down(activation(gate(x)) ⊙ up(x)), or a plain one, down(activation(up(x))).</summary>
        private Value FeedForward(string name, Value x, int hiddenWidth)
        {
            using (_b.Scope(name))
            {
                return Hidden(projection => _b.Linear(projection, x, hiddenWidth, options.FeedForwardBias, _normal), hidden => _b.Linear("down_proj", hidden, options.Width, options.FeedForwardBias, _residual));
            }
        }

        /// <summary>The hidden units, of a gate and of what it lets through where there is one: they may be clamped, the gate from above alone, and a number added to the latter (gpt-oss).</summary>
        private Value Hidden(Func<string, Value> project, Func<Value, Value> down)
        {
            if (!options.GatedFeedForward)
            {
                return down(_b.Activate("act", project("up_proj"), options.Activation));
            }

            double limit = options.GateLimit;
            Value Limited(string name, double low) => limit > 0 ? _b.Add(new Clamp(low, limit), name + ".clamped", project(name)) : project(name);
            Value act = _b.Activate("act", Limited("gate_proj", double.NegativeInfinity), options.Activation), up = Limited("up_proj", -limit);
            return down(_b.Add(new Multiply(), "hidden", act, options.UpOffset.Equals(0) ? up : _b.Add(new Affine(1, options.UpOffset), "up", up)));
        }

        /// <summary>
        /// A mixture of experts (Shazeer et al. 2017): of feed-forward networks, those that a token's scores choose, weighted by the softmax of the scores. What is sent to the experts lies sorted by them, so that each multiplies its tokens together.
        /// </summary>
        private Value Experts(Value x, int hiddenWidth)
        {
            (int experts, int chosen, int width) = (options.Experts, options.ActiveExperts, options.Width);
            using (_b.Scope("mlp"))
            {
                Value scores = _b.Add(new Softmax(), "gate.probabilities", _b.Linear("gate", x, experts, options.RouterBias, _normal));
                Value[] sent = _b.AddMany(new Route(chosen), "route", [scores]);
                Value weights = _b.Add(new Multiply(), "gate.chosen", scores, sent[Route.Mask]);
                if (options.NormalizeExperts)
                {
                    weights = _b.Add(new Divide(), "gate.weights", weights, _b.Add(new RowSum(), "gate.total", weights));
                }

                Balance(scores, sent[Route.Mask]);
                Value output;
                using (_b.Scope("experts"))
                {
                    Value rows = _b.Add(new Embedding(), "inputs", x, sent[Route.Rows]);
                    Value Product(string name, Value of, int outputs, Initializer initializer)
                    {
                        Value matrices = _b.Parameter(name + ".weight", Shape.Of(experts, outputs, of.Shape[-1]), initializer);
                        Value product = _b.Add(new ExpertMatMul(), options.FeedForwardBias ? name + ".product" : name, of, matrices, sent[Route.Experts]);
                        return options.FeedForwardBias
                            ? _b.Add(new Add(), name, product, _b.Add(new Embedding(), name + ".biases", _b.Parameter(name + ".bias", Shape.Of(experts, outputs), Initializer.Zeros), sent[Route.Experts]))
                            : product;
                    }

                    Value answers = Hidden(projection => Product(projection, rows, hiddenWidth, _normal), hidden => Product("down_proj", hidden, width, _residual));

                    // Back in the order of tokens, each token's beside each other, and added up.
                    Value own = _b.Add(new Embedding(), "answers", answers, sent[Route.Copies]);
                    Value share = _b.Add(new Embedding(), "shares", _b.Add(new Unsqueeze(0), "weights", weights), sent[Route.Choices]);
                    Value weighted = _b.Add(new Reshape(x.Shape.WithLast(chosen * width)), "all", _b.Add(new Multiply(), "weighted", own, share));
                    Value Answer(int number) => _b.Add(new SliceColumns(number * width, width), "answer", weighted);
                    output = Enumerable.Range(1, chosen - 1).Aggregate(Answer(0), (sum, number) => _b.Add(new Add(), "sum", sum, Answer(number)));
                }

                if (options.SharedFeedForward == 0)
                {
                    return output;
                }

                Value shared = FeedForward("shared_expert", x, options.SharedFeedForward);
                if (options.SharedExpertGate)
                {
                    shared = _b.Add(new Multiply(), "shared_expert.gated", shared, _b.Add(new Sigmoid(), "shared_expert_gate.part", _b.Linear("shared_expert_gate", x, 1, bias: false, _normal)));
                }

                return _b.Add(new Add(), "output", output, shared);
            }
        }

        /// <summary>Adds what a layer loses by sending many tokens to few experts.</summary>
        private void Balance(Value scores, Value mask)
        {
            if (isTraining && options.BalanceLoss > 0)
            {
                Value loss = _b.Add(new Affine(options.BalanceLoss, 0), "balance.scaled", _b.Add(new BalanceLoss(), "balance", scores, mask));
                _balance = _balance is { } before ? _b.Add(new Add(), "balance.sum", before, loss) : loss;
            }
        }

        private void HiddenState(int layer, Value value)
        {
            if (options.HiddenStates && !isTraining)
            {
                _b.Output(CommonPrograms.HiddenStates(layer), value);
            }
        }
    }
}

/// <summary>The defaults of a decoder's options, under the name of the attribute that has them.</summary>
internal sealed record DecoderPreset(string Name)
{
    public static DecoderPreset Plain { get; } = new("Decoder");

    public static IReadOnlyList<DecoderPreset> All { get; } =
    [
        Plain,
        new("Llama"),
        new("Mistral"),
        new("Qwen") { NormEpsilon = 1e-6, RotaryBase = 1e6, QueryKeyNorm = QueryKeyNorm.Head },
        new("Gemma")
        {
            NormEpsilon = 1e-6, RotaryBase = 1e6, WindowRotaryBase = 10_000, QueryKeyNorm = QueryKeyNorm.Head, Norm = Normalization.OffsetRootMeanSquare, NormPlacement = NormPlacement.Both,
            Activation = Activation.GeluTanh, TieEmbeddings = true, ScaleEmbeddings = true,
        },
        new("Lfm2") { RotaryBase = 1e6, QueryKeyNorm = QueryKeyNorm.Head, TieEmbeddings = true },
        new("Mamba2") { Mixer = TokenMixer.StateSpace, ConvolutionTaps = 4, ConvolutionBias = true, Positions = PositionEncoding.None, TieEmbeddings = true },
        new("Granite") { ConvolutionTaps = 4, ConvolutionBias = true, Positions = PositionEncoding.None, TieEmbeddings = true },
        new("GptOss") { RotaryBase = 150_000, Bias = true, RouterBias = true, AttentionSinks = true, Activation = Activation.QuickGelu, GateLimit = 7, UpOffset = 1 },
        new("Gemma4")
        {
            NormEpsilon = 1e-6, RotaryBase = 1e6, WindowRotaryBase = 10_000, GlobalRotaryFraction = 0.25, QueryKeyNorm = QueryKeyNorm.Head, ValueNorm = true, AttentionScale = 1, NormPlacement = NormPlacement.Both,
            Activation = Activation.GeluTanh, LayerScale = true, TieEmbeddings = true, ScaleEmbeddings = true,
        },
        new("Phi") { Norm = Normalization.Layer, Form = BlockForm.Parallel, Activation = Activation.GeluTanh, GatedFeedForward = false, Bias = true, HeadBias = true },
    ];

    public double NormEpsilon { get; init; } = 1e-5;

    public double RotaryBase { get; init; } = 10_000;

    /// <summary>0 where it is <see cref="RotaryBase"/>.</summary>
    public double WindowRotaryBase { get; init; }

    public double GlobalRotaryFraction { get; init; } = 1;

    public bool ValueNorm { get; init; }

    public bool AttentionSinks { get; init; }

    /// <summary>0 where it follows from the width of heads.</summary>
    public double AttentionScale { get; init; }

    public bool LayerScale { get; init; }

    public bool RouterBias { get; init; }

    /// <summary>0 for none.</summary>
    public double GateLimit { get; init; }

    public double UpOffset { get; init; }

    public bool TieEmbeddings { get; init; }

    /// <summary>Whether embeddings are multiplied by the square root of their width.</summary>
    public bool ScaleEmbeddings { get; init; }

    /// <summary>Whether the projections of attention and of the feed-forward network have biases.</summary>
    public bool Bias { get; init; }

    public bool HeadBias { get; init; }

    public Normalization Norm { get; init; }

    public NormPlacement NormPlacement { get; init; }

    public QueryKeyNorm QueryKeyNorm { get; init; }

    public BlockForm Form { get; init; }

    public Activation Activation { get; init; } = Activation.Silu;

    public bool GatedFeedForward { get; init; } = true;

    public PositionEncoding Positions { get; init; } = PositionEncoding.Rotary;

    /// <summary>What all layers have where none are declared.</summary>
    public TokenMixer Mixer { get; init; }

    public int ConvolutionTaps { get; init; } = 3;

    public bool ConvolutionBias { get; init; }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record DecoderOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public int KeyValueHeads { get; private init; }

    public int HeadWidth { get; private init; }

    /// <summary>The sizes of layers, from the first one again where there are more layers; empty where all have the one above.</summary>
    public EquatableArray<int> LayerHeadWidths { get; private init; } = [];

    public EquatableArray<int> LayerKeyValueHeads { get; private init; } = [];

    public EquatableArray<int> LayerFeedForward { get; private init; } = [];

    /// <summary>How many of the last layers take the keys and values of earlier ones.</summary>
    public int SharedKeyValueLayers { get; private init; }

    public bool ValueNorm { get; private init; }

    public bool AttentionSinks { get; private init; }

    /// <summary>The width of what each layer knows of a token beside the residual stream; 0 for nothing.</summary>
    public int PerLayerWidth { get; private init; }

    public bool LayerScale { get; private init; }

    /// <summary>What a gate is at the most, and what it lets through in either direction; 0 for anything.</summary>
    public double GateLimit { get; private init; }

    public double UpOffset { get; private init; }

    public bool RouterBias { get; private init; }

    private double GivenAttentionScale { get; init; }

    public SelfAttentionOptions Attention { get; private init; } = null!;

    public RotaryOptions Rotary { get; private init; } = null!;

    public TokenMixerOptions Mixing { get; private init; } = null!;

    public bool AttentionOutputGate { get; private init; }

    /// <summary>Feed-forward networks of a layer's mixture; 0 for one network that all tokens go through.</summary>
    public int Experts { get; private init; }

    public int ActiveExperts { get; private init; }

    public bool NormalizeExperts { get; private init; }

    public int SharedFeedForward { get; private init; }

    public bool SharedExpertGate { get; private init; }

    public double BalanceLoss { get; private init; }

    public double AttentionScale { get; private init; }

    public double AttentionSoftCap { get; private init; }

    public QueryKeyNorm QueryKeyNorm { get; private init; }

    public int FeedForward { get; private init; }

    public Activation Activation { get; private init; }

    public bool GatedFeedForward { get; private init; }

    public Normalization Norm { get; private init; }

    public NormPlacement NormPlacement { get; private init; }

    public double NormEpsilon { get; private init; }

    public bool NormBias { get; private init; }

    public BlockForm Form { get; private init; }

    public bool TieEmbeddings { get; private init; }

    public bool QkvBias { get; private init; }

    public bool OutputBias { get; private init; }

    public bool FeedForwardBias { get; private init; }

    public bool HeadBias { get; private init; }

    public double EmbeddingMultiplier { get; private init; }

    public double ResidualMultiplier { get; private init; }

    public double LogitScale { get; private init; }

    public double LogitSoftCap { get; private init; }

    public double Dropout { get; private init; }

    public Recomputation Recompute { get; private init; }

    public bool HiddenStates { get; private init; }

    public bool AttentionWeights { get; private init; }

    /// <summary>Whether any layer may have attention.</summary>
    public bool Attends => Mixing.Mixers.Count == 0 || Mixing.Mixes(TokenMixer.Attention);

    /// <summary>The layers that have attention.</summary>
    public int AttentionLayers => Enumerable.Range(0, Layers).Count(layer => MixerOf(layer) == TokenMixer.Attention);

    public int HeadWidthOf(int layer) => LayerHeadWidths.Count == 0 ? HeadWidth : LayerHeadWidths[layer % LayerHeadWidths.Count];

    public int KeyValueHeadsOf(int layer) => LayerKeyValueHeads.Count == 0 ? KeyValueHeads : LayerKeyValueHeads[layer % LayerKeyValueHeads.Count];

    public int FeedForwardOf(int layer) => LayerFeedForward.Count == 0 ? FeedForward : LayerFeedForward[layer % LayerFeedForward.Count];

    /// <summary>The widths of heads that there are, the first layer's first.</summary>
    public IReadOnlyList<int> HeadWidths => LayerHeadWidths.Count == 0 ? [HeadWidth] : [.. LayerHeadWidths.Distinct()];

    public int WidestFeedForward => LayerFeedForward.Count == 0 ? FeedForward : LayerFeedForward.Max();

    public double AttentionScaleOf(int layer) => GivenAttentionScale > 0 ? GivenAttentionScale : 1 / Math.Sqrt(Math.Max(1, HeadWidthOf(layer)));

    /// <summary>The layer whose keys and values a layer takes: its own or, for the last ones, the last of the others that sees the same with the same heads.</summary>
    public int KeysFrom(int layer)
    {
        int first = Layers - SharedKeyValueLayers;
        for (int source = first - 1; layer >= first && source >= 0; source--)
        {
            if (MixerOf(source) == TokenMixer.Attention && Attention.RangeOf(source, isCausal: true).Equals(Attention.RangeOf(layer, isCausal: true))
                && HeadWidthOf(source) == HeadWidthOf(layer) && KeyValueHeadsOf(source) == KeyValueHeadsOf(layer) && Rotary.Turns(source) == Rotary.Turns(layer))
            {
                return source;
            }
        }

        return layer;
    }

    public TokenMixer MixerOf(int layer) => Mixing.MixerOf(layer);

    /// <summary>Whether a token's place matters: to attention, or since it is added to its embedding.</summary>
    public bool HasPositions => AttentionLayers > 0 || Attention is { HasTable: true, Positions: not PositionEncoding.Rotary };

    /// <summary>Whether sequences have no last position.</summary>
    public bool IsEndless => AttentionLayers == 0 ? !Attention.HasTable : Attention.IsEndless;

    public static DecoderOptions Of(ModelSpec spec, DecoderPreset preset)
    {
        var mixing = TokenMixerOptions.Of(spec, preset);

        // Where no layer attends, nothing has heads.
        int width = spec.Int("DModel", 0), heads = mixing.Mixers.Count == 0 || mixing.Mixes(TokenMixer.Attention) ? spec.Int("Heads", 0) : spec.Size("Heads", 1), headWidth = spec.Size("HeadWidth", width / Math.Max(1, heads));
        double Real(string name, double otherwise) => spec.Real(name, 0) is not 0 and double given ? given : otherwise;
        return new DecoderOptions(spec.Int("Layers", 0), width, heads, spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            KeyValueHeads = spec.Size("KeyValueHeads", heads),
            HeadWidth = headWidth,
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal, preset.Positions, hasRotary: true),
            Rotary = RotaryOptions.Of(spec, preset.RotaryBase, preset.WindowRotaryBase, preset.GlobalRotaryFraction),
            Mixing = mixing,
            LayerHeadWidths = spec.Ints("LayerHeadWidths"),
            LayerKeyValueHeads = spec.Ints("LayerKeyValueHeads"),
            LayerFeedForward = spec.Ints("LayerFeedForward"),
            SharedKeyValueLayers = spec.Int("SharedKeyValueLayers", 0),
            ValueNorm = spec.Flag("ValueNorm", preset.ValueNorm),
            AttentionSinks = spec.Flag("AttentionSinks", preset.AttentionSinks),
            PerLayerWidth = spec.Int("PerLayerWidth", 0),
            LayerScale = spec.Flag("LayerScale", preset.LayerScale),
            GateLimit = spec.Real("GateLimit", preset.GateLimit),
            UpOffset = spec.Real("UpOffset", preset.UpOffset),
            RouterBias = spec.Flag("RouterBias", preset.RouterBias),
            GivenAttentionScale = Real("AttentionScale", preset.AttentionScale),
            AttentionOutputGate = spec.Flag("AttentionOutputGate", false),
            Experts = spec.Int("Experts", 0),
            ActiveExperts = spec.Int("ActiveExperts", 0),
            NormalizeExperts = spec.Flag("NormalizeExperts", true),
            SharedFeedForward = spec.Int("SharedFeedForward", 0),
            SharedExpertGate = spec.Flag("SharedExpertGate", false),
            BalanceLoss = spec.Real("BalanceLoss", 0),
            AttentionScale = Real("AttentionScale", preset.AttentionScale > 0 ? preset.AttentionScale : 1 / Math.Sqrt(Math.Max(1, headWidth))),
            AttentionSoftCap = spec.Real("AttentionSoftCap", 0),
            QueryKeyNorm = spec.Choice("QueryKeyNorm", preset.QueryKeyNorm),
            FeedForward = spec.Int("FeedForward", 0),
            Activation = spec.Choice("Activation", preset.Activation),
            GatedFeedForward = spec.Flag("GatedFeedForward", preset.GatedFeedForward),
            Norm = spec.Choice("Norm", preset.Norm),
            NormPlacement = spec.Choice("NormPlacement", preset.NormPlacement),
            NormEpsilon = spec.Real("NormEpsilon", preset.NormEpsilon),
            NormBias = spec.Flag("NormBias", true),
            Form = spec.Choice("Form", preset.Form),
            TieEmbeddings = spec.Flag("TieEmbeddings", preset.TieEmbeddings),
            QkvBias = spec.Flag("QkvBias", preset.Bias),
            OutputBias = spec.Flag("OutputBias", preset.Bias),
            FeedForwardBias = spec.Flag("FeedForwardBias", preset.Bias),
            HeadBias = spec.Flag("HeadBias", preset.HeadBias),
            EmbeddingMultiplier = Real("EmbeddingMultiplier", preset.ScaleEmbeddings ? Math.Sqrt(width) : 1),
            ResidualMultiplier = spec.Real("ResidualMultiplier", 1),
            LogitScale = spec.Real("LogitScale", 1),
            LogitSoftCap = spec.Real("LogitSoftCap", 0),
            Dropout = spec.Real("Dropout", 0),
            Recompute = spec.Choice("Recompute", Recomputation.None),
            HiddenStates = spec.Flag("HiddenStates", false),
            AttentionWeights = spec.Flag("AttentionWeights", false),
        };
    }
}
