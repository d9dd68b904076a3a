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

    public string Name => preset.Name;

    public string AttributeMetadataName => $"ModelGen.{preset.Name}Attribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool keyHeadsHold = checks.OptionalSize("KeyValueHeads", minimum: 0);
        bool headWidthHolds = checks.OptionalSize("HeadWidth", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        bool feedForwardHolds = checks.RequireSize("FeedForward");
        SelfAttentionOptions attention = options.Attention;
        bool contextHolds = attention.IsEndless ? checks.OptionalSize("Context", minimum: 0) : checks.RequireSize("Context");
        bool attentionHolds = attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        if (options.AttentionWeights && attention.IsEndless && contextHolds && options.Context == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", "no Context", "weights are handed out for every position that a sequence may have"]));
        }

        checks.OptionalPositive("NormEpsilon");
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
        bool rotaryHolds = options.Rotary.Validate(spec, checks, attention.Positions == PositionEncoding.Rotary, sizesHold ? options.HeadWidth : 0, attention.Positions, report);
        if (contextHolds && options.Context > 0 && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        if (layersHold && sizesHold && keyHeadsHold && vocabHolds && contextHolds && attentionHolds && rotaryHolds && feedForwardHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, headWidth = options.HeadWidth, vocabulary = options.Vocabulary;
            double queries = options.Heads * headWidth, keys = options.KeyValueHeads * headWidth;
            double hidden = Math.Max(Math.Max(width, queries + (2 * keys)), (double)options.FeedForward);
            double table = attention.Positions == PositionEncoding.Rotary ? options.Context * headWidth : attention.HasTable ? options.Context * width : 1;
            double largest = Math.Max(table, width * Math.Max(vocabulary, hidden));

            // A run takes a chunk of the context and gives one row of logits; the caches hold all keys that are seen.
            double[] caches = [.. Enumerable.Range(0, options.Layers).Select(layer => attention.CacheRows(layer, options.Context))];
            double rows = caches.Max();
            double inferred = Math.Max(vocabulary, Math.Max(Math.Min(rows, CommonPrograms.LargestChunk) * hidden, rows * keys));
            double biases = attention.BiasElements(options.Heads) / Math.Max(1, spec.Training?.SequenceLength ?? 1);
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(Math.Max(vocabulary, hidden), biases));
            CommonPrograms.ValidateSessions(spec, checks, states: caches.Sum() * 2 * keys, Math.Max(vocabulary, hidden));
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        DecoderOptions options = DecoderOptions.Of(spec, preset);
        var inside = new InsideOutputs(
            options.HiddenStates ? options.Layers + 1 : 0, options.Width, options.AttentionWeights ? options.Layers : 0, options.Heads);
        return CommonPrograms.CausalLanguageModel(spec, options.Vocabulary, options.Context, (tokens, targets) => new Builder(options, targets is not null).Build(tokens, targets), inside, hasPositions: true) with { Files = Files(options) };
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
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("QkvBias", options.QkvBias),
        FileOption.Of("NormEpsilon", options.NormEpsilon),
        .. options.Attention.Files,
        .. options.Attention.Positions == PositionEncoding.Rotary ? options.Rotary.Files : [],
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        Family = DecoderPreset.Plain.Name,
        OptionalPrefixes = ["model."],
        Aliases = options.TieEmbeddings ? [("lm_head.weight", "model.embed_tokens.weight")] : [],

        // What older files hold of rotary positions, which the declaration says.
        Buffers = [("model.layers.#.self_attn.rotary_emb.inv_freq", 1)],
    };

    /// <summary>The graph, for inference or for training. Parameters are named as in the Hugging Face layout of the families.</summary>
    private sealed class Builder(DecoderOptions options, bool isTraining)
    {
        private readonly BuildMode _mode = isTraining ? BuildMode.Training : BuildMode.Inference;
        private readonly Initializer _normal = Initializer.Normal(0.02);

        // Of what is added to the residual stream (Radford et al. 2019, section 2.3).
        private readonly Initializer _residual = Initializer.Normal(0.02 / Math.Sqrt(2.0 * options.Layers));

        private readonly GraphBuilder _b = new();

        // The cosines and sines of this run's positions; null where positions are not rotary.
        private Value? _angles;

        private Value[] _biases = [];

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

            Value logits = options.TieEmbeddings
                ? _b.Add(new MatMul(MatMulForm.NT), "lm_head", x, table)
                : _b.Linear("lm_head", x, options.Vocabulary, bias: false, _normal);
            _b.Output("logits", logits);
            if (targetIds is not null)
            {
                Value targets = _b.Add(targetIds, targetIds.InputName);
                _b.Loss(_b.Add(new CrossEntropy(), "loss.rows", logits, targets));
            }

            return _b.Build();
        }

        private Value Embed(Value tokens, Value table)
        {
            Dim time = tokens.Shape[1];
            _biases = options.Attention.BiasTable(_b, options.Heads, _normal);
            Value x = options.Attention.PositionTable(_b, "embed_positions.weight", options.Context, options.Width) is { } positions
                ? _b.Add(new Add(), "embeddings", _b.Add(new Embedding(), "embed_tokens", table, tokens), _b.Add(new RowsAtPosition(time), "embed_positions", positions))
                : _b.Add(new Embedding(), "embeddings", table, tokens);
            if (options.Attention.Positions == PositionEncoding.Rotary)
            {
                _angles = _b.Add(new RowsAtPosition(time), "rotary.angles", options.Rotary.Table(_b, options.Context, options.HeadWidth));
            }

            return _b.Dropout("embed_dropout", x, options.Dropout, _mode);
        }

        /// <summary>x + attention(norm(x)), and of that x + feed-forward(norm(x)).</summary>
        private Value Block(int layer, Value x)
        {
            x = Residual("self_attn", x, Attend(layer, Norm("input_layernorm", x)));
            return Residual("mlp", x, FeedForward(Norm("post_attention_layernorm", x)));
        }

        private Value Residual(string name, Value x, Value branch)
            => _b.Add(new Add(), name + ".residual", x, _b.Dropout(name + ".dropout", branch, options.Dropout, _mode));

        private Value Norm(string name, Value x) => _b.RmsNorm(name, x, options.NormEpsilon);

        private Value Attend(int layer, Value x)
        {
            int queries = options.Heads * options.HeadWidth, keys = options.KeyValueHeads * options.HeadWidth;
            using (_b.Scope("self_attn"))
            {
                Value q = _b.Linear("q_proj", x, queries, options.QkvBias, _normal);
                Value k = _b.Linear("k_proj", x, keys, options.QkvBias, _normal);
                Value v = _b.Linear("v_proj", x, keys, options.QkvBias, _normal);
                if (_angles is { } angles)
                {
                    // Queries and keys beside each other, so that one kernel turns both.
                    Value turned = _b.Add(new Rotary(options.HeadWidth, options.Rotary.Rotated(options.HeadWidth), options.Rotary.Layout == RotaryLayout.Interleaved), "rotary", _b.Add(new ConcatColumns(), "qk", q, k), angles);
                    (q, k) = (_b.Add(new SliceColumns(0, queries), "q", turned), _b.Add(new SliceColumns(queries, keys), "k", turned));
                }

                var op = new Attention(options.Heads, options.KeyValueHeads, options.HeadWidth, 1 / Math.Sqrt(options.HeadWidth), options.Attention.RangeOf(layer, isCausal: true)) { Bias = options.Attention.BiasOf(isCausal: true) };
                string? weights = options.AttentionWeights && !isTraining ? CommonPrograms.AttentionWeights(layer) : null;
                Value attended = _b.Attend("attention", op, [q, k, v, .. _biases], weights, options.Context);
                return _b.Linear("o_proj", attended, options.Width, bias: false, _residual);
            }
        }

        /// <summary>A gated feed-forward network (Shazeer 2020): down(activation(gate(x)) ⊙ up(x)).</summary>
        private Value FeedForward(Value x)
        {
            using (_b.Scope("mlp"))
            {
                Value gate = _b.Activate("act", _b.Linear("gate_proj", x, options.FeedForward, bias: false, _normal), options.Activation);
                Value hidden = _b.Add(new Multiply(), "hidden", gate, _b.Linear("up_proj", x, options.FeedForward, bias: false, _normal));
                return _b.Linear("down_proj", hidden, options.Width, bias: false, _residual);
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
    ];

    public double NormEpsilon { get; init; } = 1e-5;

    public double RotaryBase { get; init; } = 10_000;

    public bool TieEmbeddings { get; init; }

    public bool QkvBias { get; init; }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record DecoderOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public int KeyValueHeads { get; private init; }

    public int HeadWidth { get; private init; }

    public SelfAttentionOptions Attention { get; private init; } = null!;

    public RotaryOptions Rotary { get; private init; } = null!;

    public int FeedForward { get; private init; }

    public Activation Activation { get; private init; }

    public double NormEpsilon { get; private init; }

    public bool TieEmbeddings { get; private init; }

    public bool QkvBias { get; private init; }

    public double Dropout { get; private init; }

    public Recomputation Recompute { get; private init; }

    public bool HiddenStates { get; private init; }

    public bool AttentionWeights { get; private init; }

    public static DecoderOptions Of(ModelSpec spec, DecoderPreset preset)
    {
        int width = spec.Int("DModel", 0), heads = spec.Int("Heads", 0);
        return new DecoderOptions(spec.Int("Layers", 0), width, heads, spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            KeyValueHeads = spec.Size("KeyValueHeads", heads),
            HeadWidth = spec.Size("HeadWidth", width / Math.Max(1, heads)),
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal, PositionEncoding.Rotary),
            Rotary = RotaryOptions.Of(spec, preset.RotaryBase),
            FeedForward = spec.Int("FeedForward", 0),
            Activation = spec.Choice("Activation", Activation.Silu),
            NormEpsilon = spec.Real("NormEpsilon", preset.NormEpsilon),
            TieEmbeddings = spec.Flag("TieEmbeddings", preset.TieEmbeddings),
            QkvBias = spec.Flag("QkvBias", preset.QkvBias),
            Dropout = spec.Real("Dropout", 0),
            Recompute = spec.Choice("Recompute", Recomputation.None),
            HiddenStates = spec.Flag("HiddenStates", false),
            AttentionWeights = spec.Flag("AttentionWeights", false),
        };
    }
}
