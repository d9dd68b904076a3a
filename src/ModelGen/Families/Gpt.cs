using System;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class Gpt : IFamily
{
    public string Name => "Gpt";

    public string AttributeMetadataName => "ModelGen.GptAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        GptOptions options = GptOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool keyHeadsHold = checks.OptionalSize("KeyValueHeads", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        SelfAttentionOptions attention = options.Attention;
        bool contextHolds = attention.IsEndless ? checks.OptionalSize("Context", minimum: 0) : checks.RequireSize("Context");
        bool attentionHolds = attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        if (options.AttentionWeights && attention.IsEndless && contextHolds && options.Context == 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "AttentionWeights", ["AttentionWeights", "no Context", "weights are handed out for every position that a sequence may have"]));
        }

        bool feedForwardHolds = checks.OptionalSize("FeedForward", minimum: 0);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");
        if (modelHolds && headsHold && options.Width % options.Heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        if (headsHold && keyHeadsHold && options.Heads % options.KeyValueHeads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "KeyValueHeads", ["Heads", "KeyValueHeads", $"{options.Heads}", $"{options.KeyValueHeads}"]));
        }

        if (contextHolds && options.Context > 0 && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        if (layersHold && modelHolds && headsHold && keyHeadsHold && vocabHolds && contextHolds && attentionHolds && feedForwardHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width;
            double projections = width + (2 * width * options.KeyValueHeads / options.Heads);
            double feedForward = options.FeedForward;
            double vocabulary = options.Vocabulary;
            double hidden = Math.Max(projections, feedForward);
            double largest = width * Math.Max(Math.Max(vocabulary, attention.HasTable ? options.Context : 1), hidden);

            // A run takes a chunk of the context and gives one row of logits; the caches hold all keys that are seen.
            double[] caches = [.. Enumerable.Range(0, options.Layers).Select(layer => attention.CacheRows(layer, options.Context))];
            double rows = caches.Max();
            double inferred = Math.Max(vocabulary, Math.Max(Math.Min(rows, CommonPrograms.LargestChunk) * hidden, rows * (projections - width) / 2));
            double biases = attention.BiasElements(options.Heads) / Math.Max(1, spec.Training?.SequenceLength ?? 1);
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(Math.Max(vocabulary, hidden), biases));
            CommonPrograms.ValidateSessions(spec, checks, states: caches.Sum() * (projections - width), Math.Max(vocabulary, hidden));
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        GptOptions options = GptOptions.Of(spec);
        var inside = new InsideOutputs(
            options.HiddenStates ? options.Layers + 1 : 0, options.Width, options.AttentionWeights ? options.Layers : 0, options.Heads);
        return CommonPrograms.CausalLanguageModel(spec, options.Vocabulary, options.Context, (tokens, targets) => Build(options, tokens, targets), inside, hasPositions: true) with { Files = Files(options) };
    }

    private static FileConventions Files(GptOptions options) => new(
    [
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("KeyValueHeads", options.KeyValueHeads),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = options.Attention.ContextIsLimit },
        FileOption.Of("FeedForward", unchecked((int)options.FeedForward)),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("Bias", options.Bias),
        FileOption.Of("QkvBias", options.QkvBias),
        FileOption.Of("HeadBias", options.HeadBias),
        FileOption.Of("LayerNormEpsilon", options.LayerNormEpsilon),
        FileOption.Of("Layout", options.Layout),
        .. options.Attention.Files,
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        OptionalPrefixes = ["transformer."],
        Aliases = options.TieEmbeddings ? [("lm_head.weight", "transformer.wte.weight")] : [],

        // The causal mask, and what masked scores were set to.
        Buffers = [("transformer.h.#.attn.bias", 4), ("transformer.h.#.attn.masked_bias", 0)],
    };

    /// <summary>
    /// The decoder-only Transformer of GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, tied head; its query heads
    /// may share keys and values (Ainslie et al. 2023). Parameters are named as in the Hugging Face layout of the family.
    /// </summary>
    private static ModelGraph Build(GptOptions options, Input tokenIds, Input? targetIds)
    {
        BuildMode mode = targetIds is null ? BuildMode.Inference : BuildMode.Training;
        int width = options.Width;
        int headWidth = width / options.Heads;
        int keyWidth = options.KeyValueHeads * headWidth;
        bool bias = options.Bias;
        bool transposed = options.Layout == ParameterLayout.Conv1D;
        Initializer normal = Initializer.Normal(0.02);
        Initializer residual = Initializer.Normal(0.02 / Math.Sqrt(2.0 * options.Layers));

        var b = new GraphBuilder();
        Value tokens = b.Add(tokenIds, tokenIds.InputName);
        Value logits;
        Value table;
        using (b.Scope("transformer"))
        {
            table = b.Parameter("wte.weight", Shape.Of(options.Vocabulary, width), normal);
            Value x = options.Attention.PositionTable(b, "wpe.weight", options.Context, width) is { } positions
                ? b.Add(new Add(), "embeddings", b.Add(new Embedding(), "wte", table, tokens), b.Add(new RowsAtPosition(tokens.Shape[1]), "wpe", positions))
                : b.Add(new Embedding(), "embeddings", table, tokens);
            ScoreBias? ofScores = options.Attention.BiasOf(isCausal: true);
            Value[] biases = options.Attention.BiasTable(b, options.Heads, normal);
            x = b.Dropout("drop", x, options.Dropout, mode);
            for (int layer = 0; layer < options.Layers; layer++)
            {
                HiddenState(layer, x);
                using (b.Scope($"h.{layer}"))
                {
                    b.Recomputed = options.Recompute == Recomputation.Blocks ? new Recomputed(b.Qualify(""), 0) : default;
                    Value normed = b.LayerNorm("ln_1", x, bias, options.LayerNormEpsilon);
                    Value qkv = b.Linear("attn.c_attn", normed, width + (2 * keyWidth), options.QkvBias, normal, transposedInFile: transposed);
                    var op = new Attention(options.Heads, options.KeyValueHeads, headWidth, 1 / Math.Sqrt(headWidth), options.Attention.RangeOf(layer, isCausal: true)) { Bias = ofScores };
                    Value[] factors = [b.Add(new SliceColumns(0, width), "attn.q", qkv), b.Add(new SliceColumns(width, keyWidth), "attn.k", qkv), b.Add(new SliceColumns(width + keyWidth, keyWidth), "attn.v", qkv)];
                    string? weights = options.AttentionWeights && targetIds is null ? CommonPrograms.AttentionWeights(layer) : null;
                    Value attended = b.Attend("attn", op, [.. factors, .. biases], weights, options.Context);
                    Value projected = b.Linear("attn.c_proj", attended, width, bias, residual, transposedInFile: transposed);
                    x = b.Add(new Add(), "attn.residual", x, b.Dropout("attn.resid_dropout", projected, options.Dropout, mode));

                    Value hidden = b.Linear("mlp.c_fc", b.LayerNorm("ln_2", x, bias, options.LayerNormEpsilon), (int)options.FeedForward, bias, normal, transposedInFile: transposed);
                    hidden = b.Activate("mlp.act", hidden, options.Activation);
                    Value output = b.Linear("mlp.c_proj", hidden, width, bias, residual, transposedInFile: transposed);
                    x = b.Add(new Add(), "mlp.residual", x, b.Dropout("mlp.dropout", output, options.Dropout, mode));
                }
            }

            b.Recomputed = default;
            x = b.LayerNorm("ln_f", x, bias, options.LayerNormEpsilon);
            HiddenState(options.Layers, x);
            logits = x;
        }

        if (options.TieEmbeddings)
        {
            logits = b.Add(new MatMul(MatMulForm.NT), options.HeadBias ? "lm_head.product" : "lm_head", logits, table);
            logits = options.HeadBias ? b.Add(new Add(), "lm_head", logits, b.Parameter("lm_head.bias", Shape.Of(options.Vocabulary), Initializer.Zeros)) : logits;
        }
        else
        {
            logits = b.Linear("lm_head", logits, options.Vocabulary, options.HeadBias, normal);
        }

        b.Output("logits", logits);
        if (targetIds is not null)
        {
            Value targets = b.Add(targetIds, targetIds.InputName);
            b.Loss(b.Add(new CrossEntropy(), "loss.rows", logits, targets));
        }

        return b.Build();

        void HiddenState(int layer, Value value)
        {
            if (options.HiddenStates && targetIds is null)
            {
                b.Output(CommonPrograms.HiddenStates(layer), value);
            }
        }
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record GptOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public int KeyValueHeads { get; private init; }

    public SelfAttentionOptions Attention { get; private init; } = null!;

    public long FeedForward { get; private init; }

    public Activation Activation { get; private init; }

    public bool TieEmbeddings { get; private init; }

    public bool Bias { get; private init; }

    public bool QkvBias { get; private init; }

    public bool HeadBias { get; private init; }

    public double LayerNormEpsilon { get; private init; }

    public double Dropout { get; private init; }

    public ParameterLayout Layout { get; private init; }

    public Recomputation Recompute { get; private init; }

    public bool HiddenStates { get; private init; }

    public bool AttentionWeights { get; private init; }

    public static GptOptions Of(ModelSpec spec)
    {
        int width = spec.Int("DModel", 0);
        int heads = spec.Int("Heads", 0);
        bool bias = spec.Flag("Bias", true);
        return new GptOptions(spec.Int("Layers", 0), width, heads, spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            KeyValueHeads = spec.Size("KeyValueHeads", heads),
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal),
            FeedForward = spec.Size("FeedForward", 0) is not 0 and int given ? given : 4L * width,
            Activation = spec.Choice("Activation", Activation.GeluTanh),
            TieEmbeddings = spec.Flag("TieEmbeddings", true),
            Bias = bias,
            QkvBias = spec.Flag("QkvBias", bias),
            HeadBias = spec.Flag("HeadBias", false),
            LayerNormEpsilon = spec.Real("LayerNormEpsilon", 1e-5),
            Dropout = spec.Real("Dropout", 0),
            Layout = spec.Choice("Layout", ParameterLayout.Conv1D),
            Recompute = spec.Choice("Recompute", Recomputation.None),
            HiddenStates = spec.Flag("HiddenStates", false),
            AttentionWeights = spec.Flag("AttentionWeights", false),
        };
    }
}
