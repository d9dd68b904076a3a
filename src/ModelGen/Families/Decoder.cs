using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
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
        if (modelHolds && headsHold && headWidthHolds && spec.Int("HeadWidth", 0) == 0 && options.Width % options.Heads != 0)
        {
            headWidthHolds = false;
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        if (headsHold && keyHeadsHold && options.Heads % options.KeyValueHeads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "KeyValueHeads", ["Heads", "KeyValueHeads", $"{options.Heads}", $"{options.KeyValueHeads}"]));
        }

        bool sizesHold = modelHolds && headsHold && headWidthHolds;
        bool rotaryHolds = options.Rotary.Validate(spec, checks, layersHold ? options.Layers : 0, attention.Positions == PositionEncoding.Rotary, sizesHold ? options.HeadWidth : 0, attention.Positions, report);
        if (contextHolds && options.Context > 0 && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        if (layersHold && mixersHold && expertsHold && sizesHold && keyHeadsHold && vocabHolds && contextHolds && attentionHolds && rotaryHolds && feedForwardHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, headWidth = options.HeadWidth, vocabulary = options.Vocabulary;
            double queries = options.Heads * headWidth, keys = options.KeyValueHeads * headWidth;
            double hidden = Math.Max(Math.Max(options.Mixing.Widest(width), queries + (2 * keys) + (options.AttentionOutputGate ? queries : 0)), Math.Max(Math.Max(1, options.ActiveExperts) * Math.Max((double)options.FeedForward, options.Experts > 0 ? width : 0), Math.Max(options.SharedFeedForward, options.Experts)));
            double table = attention.Positions == PositionEncoding.Rotary ? options.Context * headWidth : attention.HasTable ? options.Context * width : 1;
            double largest = Math.Max(Math.Max(table, options.Experts * width * options.FeedForward), width * Math.Max(vocabulary, hidden));

            // A run takes a chunk of the context and gives one row of logits; the caches hold all keys that are seen.
            double[] caches = [.. Enumerable.Range(0, options.Layers).Select(layer => options.MixerOf(layer) == TokenMixer.Attention ? attention.CacheRows(layer, options.Context) : 0)];
            double carried = Enumerable.Range(0, options.Layers).Sum(layer => options.Mixing.Carried(options.MixerOf(layer), width));
            double rows = caches.Max();
            double inferred = Math.Max(vocabulary, Math.Max(Math.Min(rows, CommonPrograms.LargestChunk) * hidden, rows * keys));
            double biases = attention.BiasElements(options.Heads) / Math.Max(1, spec.Training?.SequenceLength ?? 1);
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(Math.Max(vocabulary, hidden), biases));
            CommonPrograms.ValidateSessions(spec, checks, states: (caches.Sum() * 2 * keys) + carried, Math.Max(vocabulary, hidden));
        }

        // What is capped is divided by the cap and multiplied by it: neither may overflow in single precision.
        bool Cap(string name, double cap, bool factorHolds, double factor)
            => checks.OptionalPositiveOrZero(name)
                && (cap.Equals(0.0) || !factorHolds || checks.OptionalReal(name, (float)(cap / factor) is > 0 and < float.PositiveInfinity && (float)(factor / cap) is > 0 and < float.PositiveInfinity, "neither too large nor too small beside the factor of what it caps, in single precision"));
    }

    private static bool ValidateExperts(ModelSpec spec, ArgumentChecks checks, DecoderOptions options, Action<SpecProblem> report)
    {
        if (!checks.OptionalSize("Experts", minimum: 0) || !checks.AtMost("Experts", "Experts", options.Experts, MostExperts))
        {
            return false;
        }

        if (options.Experts == 0)
        {
            foreach (string name in new[] { "ActiveExperts", "NormalizeExperts", "SharedFeedForward", "SharedExpertGate", "BalanceLoss" }.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, "no Experts", "only a mixture of experts chooses"]));
            }

            return true;
        }

        if (options.FeedForwardBias)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, spec.Has("FeedForwardBias") ? "FeedForwardBias" : "Experts", ["Experts", "FeedForwardBias", "experts have no biases"]));
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
        .. options.Mixing.Files,
        .. options.Experts > 0
            ?
            [
                FileOption.Of("Experts", options.Experts) with { Absent = "0" },
                FileOption.Of("ActiveExperts", options.ActiveExperts),
                FileOption.Of("NormalizeExperts", options.NormalizeExperts),
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
        Aliases = [.. options.TieEmbeddings ? [("lm_head.weight", "model.embed_tokens.weight")] : Array.Empty<(string, string)>(), .. options.Mixing.Mixes(TokenMixer.ShortConvolution) ? ConvolutionNames(options) : [], .. StateSpaceNames(options), .. options is { Experts: > 0, GatedFeedForward: true } ? ExpertNames(options) : []],

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

        private RotaryAngles? _angles;

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
            _angles = options.Rotary.Angles(_b, options.Attention.Positions, time, options.Context, options.HeadWidth);
            return _b.Dropout("embed_dropout", x, options.Dropout, _mode);
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
                Value fed = Transform(options.Form == BlockForm.Parallel ? normed : Norm("post_attention_layernorm", x));
                return Residual("mlp", Residual("self_attn", x, Mix(layer, normed)), fed);
            }

            Value mixed = Mix(layer, placement == NormPlacement.After ? x : Norm("input_layernorm", x));
            x = Residual("self_attn", x, placement == NormPlacement.Before ? mixed : Norm("post_attention_layernorm", mixed));
            if (options.FeedForward == 0)
            {
                return x;
            }

            Value output = Transform(placement == NormPlacement.After ? x : Norm(placement == NormPlacement.Both ? "pre_feedforward_layernorm" : "post_attention_layernorm", x));
            return Residual("mlp", x, placement == NormPlacement.Before ? output : Norm("post_feedforward_layernorm", output));
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
            int queries = options.Heads * options.HeadWidth, keys = options.KeyValueHeads * options.HeadWidth;
            KeyRange range = options.Attention.RangeOf(layer, isCausal: true);
            using (_b.Scope("self_attn"))
            {
                Value asked = _b.Linear("q_proj", x, options.AttentionOutputGate ? 2 * queries : queries, options.QkvBias, _normal);
                Value? gate = null;
                if (options.AttentionOutputGate)
                {
                    // Of each head, the query and, beside it, what its output is let through by.
                    Value heads = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], options.Heads, 2 * options.HeadWidth)), "q_proj.heads", asked);
                    Value Half(string name, int first) => _b.Add(new Reshape(x.Shape.WithLast(queries)), name, _b.Add(new SliceColumns(first, options.HeadWidth), name + ".heads", heads));
                    gate = _b.Add(new Sigmoid(), "gate", Half("gate.logits", options.HeadWidth));
                    asked = Half("q_proj.q", 0);
                }

                Value q = NormedHeads("q_norm", asked, options.Heads);
                Value k = NormedHeads("k_norm", _b.Linear("k_proj", x, keys, options.QkvBias, _normal), options.KeyValueHeads);
                Value v = _b.Linear("v_proj", x, keys, options.QkvBias, _normal);
                (q, k) = _angles?.Turn(_b, layer, range, q, k) ?? (q, k);
                var op = new Attention(options.Heads, options.KeyValueHeads, options.HeadWidth, options.AttentionScale, range)
                {
                    Bias = options.Attention.BiasOf(isCausal: true),
                    SoftCap = options.AttentionSoftCap,
                };
                string? weights = options.AttentionWeights && !isTraining ? CommonPrograms.AttentionWeights(Enumerable.Range(0, layer).Count(before => options.MixerOf(before) == TokenMixer.Attention)) : null;
                Value attended = _b.Attend("attention", op, [q, k, v, .. _biases], weights, options.Context);
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
                    Value rows = _b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], heads, options.HeadWidth)), name + ".heads", x);
                    return _b.Add(new Reshape(x.Shape), name + ".all", Norm(name, rows));
                default:
                    return x;
            }
        }

        private Value Transform(Value x) => options.Experts > 0 ? Experts(x) : FeedForward("mlp", x, options.FeedForward);

        /// <summary>A gated feed-forward network (Shazeer 2020), down(activation(gate(x)) ⊙ up(x)), or a plain one, down(activation(up(x))).</summary>
        private Value FeedForward(string name, Value x, int hiddenWidth)
        {
            using (_b.Scope(name))
            {
                return Hidden(projection => _b.Linear(projection, x, hiddenWidth, options.FeedForwardBias, _normal), hidden => _b.Linear("down_proj", hidden, options.Width, options.FeedForwardBias, _residual));
            }
        }

        private Value Hidden(Func<string, Value> project, Func<Value, Value> down) => down(options.GatedFeedForward
            ? _b.Add(new Multiply(), "hidden", _b.Activate("act", project("gate_proj"), options.Activation), project("up_proj"))
            : _b.Activate("act", project("up_proj"), options.Activation));

        /// <summary>
        /// A mixture of experts (Shazeer et al. 2017): of feed-forward networks, those that a token's scores choose, weighted by the softmax of the scores. What is sent to the experts lies sorted by them, so that each multiplies its tokens together.
        /// </summary>
        private Value Experts(Value x)
        {
            (int experts, int chosen, int width) = (options.Experts, options.ActiveExperts, options.Width);
            using (_b.Scope("mlp"))
            {
                Value scores = _b.Add(new Softmax(), "gate.probabilities", _b.Linear("gate", x, experts, bias: false, _normal));
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
                        return _b.Add(new ExpertMatMul(), name, of, matrices, sent[Route.Experts]);
                    }

                    Value answers = Hidden(projection => Product(projection, rows, options.FeedForward, _normal), hidden => Product("down_proj", hidden, width, _residual));

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
        new("Phi") { Norm = Normalization.Layer, Form = BlockForm.Parallel, Activation = Activation.GeluTanh, GatedFeedForward = false, Bias = true, HeadBias = true },
    ];

    public double NormEpsilon { get; init; } = 1e-5;

    public double RotaryBase { get; init; } = 10_000;

    /// <summary>0 where it is <see cref="RotaryBase"/>.</summary>
    public double WindowRotaryBase { get; init; }

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
            Rotary = RotaryOptions.Of(spec, preset.RotaryBase, preset.WindowRotaryBase),
            Mixing = mixing,
            AttentionOutputGate = spec.Flag("AttentionOutputGate", false),
            Experts = spec.Int("Experts", 0),
            ActiveExperts = spec.Int("ActiveExperts", 0),
            NormalizeExperts = spec.Flag("NormalizeExperts", true),
            SharedFeedForward = spec.Int("SharedFeedForward", 0),
            SharedExpertGate = spec.Flag("SharedExpertGate", false),
            BalanceLoss = spec.Real("BalanceLoss", 0),
            AttentionScale = Real("AttentionScale", 1 / Math.Sqrt(Math.Max(1, headWidth))),
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
