using System;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Architectures;

internal sealed class Gpt : IArchitecture
{
    public string Name => "Gpt";

    public string AttributeMetadataName => "ModelGen.GptAttribute";

    public bool HasSequence => true;

    public ModelSurface Surface(ModelSpec spec) => new(Streams: true, NumericTargets: false);

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", spec.Int("Layers", 0), SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool keyHeadsHold = checks.OptionalSize("KeyValueHeads", minimum: 0);
        bool vocabHolds = checks.RequireSize("Vocab");
        bool contextHolds = checks.RequireSize("Context");
        bool feedForwardHolds = checks.OptionalSize("FeedForward", minimum: 0);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");

        int model = spec.Int("DModel", 0);
        int heads = spec.Int("Heads", 0);
        int context = spec.Int("Context", 0);
        if (modelHolds && headsHold && model % heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{model}", $"{heads}"]));
        }

        if (headsHold && keyHeadsHold && heads % KeyValueHeads(spec) != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "KeyValueHeads", ["Heads", "KeyValueHeads", $"{heads}", $"{KeyValueHeads(spec)}"]));
        }

        if (contextHolds && spec.Training is { } training && training.SequenceLength > context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{context}"], "Trainable"));
        }

        if (layersHold && modelHolds && headsHold && keyHeadsHold && vocabHolds && contextHolds && feedForwardHolds)
        {
            double d = model;
            double projections = d + (2 * d * KeyValueHeads(spec) / heads);
            double f = spec.Int("FeedForward", 0) is > 0 and int given ? given : 4 * d;
            double v = spec.Int("Vocab", 0);
            double hidden = Math.Max(projections, f);
            double largest = d * Math.Max(Math.Max(v, context), hidden);

            // A run takes a chunk of the context and gives one row of logits; the cache holds all keys.
            double inferred = Math.Max(v, Math.Max(Math.Min(context, ModelCompiler.LargestChunk) * hidden, context * (projections - d) / 2));
            checks.ModelSize(spec, largest, inferred, widest: Math.Max(v, hidden));
        }
    }

    /// <summary>
    /// The decoder-only Transformer of GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, tied head; its query heads
    /// may share keys and values (Ainslie et al. 2023). Parameters are named as in the Hugging Face layout of the family.
    /// </summary>
    public ModelGraph Build(ModelSpec spec, BuildMode mode)
    {
        int layers = spec.Int("Layers", 0);
        int width = spec.Int("DModel", 0);
        int heads = spec.Int("Heads", 0);
        int headWidth = width / heads;
        int keyHeads = KeyValueHeads(spec);
        int keyWidth = keyHeads * headWidth;
        int vocabulary = spec.Int("Vocab", 0);
        int context = spec.Int("Context", 0);
        int feedForward = FeedForward(spec);
        bool bias = spec.Flag("Bias", true);
        bool qkvBias = spec.Flag("QkvBias", bias);
        double epsilon = spec.Real("LayerNormEpsilon", 1e-5);
        double dropout = spec.Real("Dropout", 0);
        bool transposed = spec.Int("Layout", 0) == 0;
        Activation activation = spec.Choice("Activation", Activation.GeluTanh);
        Initializer normal = Initializer.Normal(0.02);
        Initializer residual = Initializer.Normal(0.02 / Math.Sqrt(2.0 * layers));

        var b = new GraphBuilder();
        Dim time = Dim.Time(context);
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        Value tokens = b.Add(new Input("tokens", TensorType.Int(Shape.Of(batch, time)), vocabulary), "tokens");
        Value logits;
        Value table;
        using (b.Scope("transformer"))
        {
            table = b.Parameter("wte.weight", Shape.Of(vocabulary, width), normal);
            Value positions = b.Parameter("wpe.weight", Shape.Of(context, width), normal);
            Value x = b.Add(new Add(), "embeddings", b.Add(new Embedding(), "wte", table, tokens), b.Add(new RowsAtPosition(time), "wpe", positions));
            x = b.Dropout("drop", x, dropout, mode);
            for (int layer = 0; layer < layers; layer++)
            {
                using (b.Scope($"h.{layer}"))
                {
                    Value normed = b.LayerNorm("ln_1", x, bias, epsilon);
                    Value qkv = b.Linear("attn.c_attn", normed, width + (2 * keyWidth), qkvBias, normal, transposedInFile: transposed);
                    Value attended = b.Add(
                        new Attention(heads, keyHeads, headWidth, 1 / Math.Sqrt(headWidth), Causal: true, Cached: false),
                        "attn",
                        b.Add(new SliceColumns(0, width), "attn.q", qkv),
                        b.Add(new SliceColumns(width, keyWidth), "attn.k", qkv),
                        b.Add(new SliceColumns(width + keyWidth, keyWidth), "attn.v", qkv));
                    Value projected = b.Linear("attn.c_proj", attended, width, bias, residual, transposedInFile: transposed);
                    x = b.Add(new Add(), "attn.residual", x, b.Dropout("attn.resid_dropout", projected, dropout, mode));

                    Value hidden = b.Linear("mlp.c_fc", b.LayerNorm("ln_2", x, bias, epsilon), feedForward, bias, normal, transposedInFile: transposed);
                    hidden = b.Activate("mlp.act", hidden, activation);
                    Value output = b.Linear("mlp.c_proj", hidden, width, bias, residual, transposedInFile: transposed);
                    x = b.Add(new Add(), "mlp.residual", x, b.Dropout("mlp.dropout", output, dropout, mode));
                }
            }

            x = b.LayerNorm("ln_f", x, bias, epsilon);
            logits = x;
        }

        bool headBias = spec.Flag("HeadBias", false);
        if (spec.Flag("TieEmbeddings", true))
        {
            logits = b.Add(new MatMul(MatMulForm.NT), headBias ? "lm_head.product" : "lm_head", logits, table);
            logits = headBias ? b.Add(new Add(), "lm_head", logits, b.Parameter("lm_head.bias", Shape.Of(vocabulary), Initializer.Zeros)) : logits;
        }
        else
        {
            logits = b.Linear("lm_head", logits, vocabulary, headBias, normal);
        }

        b.Output("logits", logits);
        if (mode == BuildMode.Training)
        {
            Value targets = b.Add(new Input("targets", TensorType.Int(Shape.Of(batch, time)), vocabulary), "targets");
            b.Output("loss", b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(), "loss.rows", logits, targets)));
        }

        return b.Build();
    }

    public FileConventions Files(ModelSpec spec)
    {
        bool tied = spec.Flag("TieEmbeddings", true);
        bool bias = spec.Flag("Bias", true);
        return new FileConventions(
        [
            FileOption.Of("Layers", spec.Int("Layers", 0)),
            FileOption.Of("DModel", spec.Int("DModel", 0)),
            FileOption.Of("Heads", spec.Int("Heads", 0)),
            FileOption.Of("KeyValueHeads", KeyValueHeads(spec)),
            FileOption.Of("Vocab", spec.Int("Vocab", 0)),
            FileOption.Of("Context", spec.Int("Context", 0)),
            FileOption.Of("FeedForward", FeedForward(spec)),
            FileOption.Of("Activation", spec.Choice("Activation", Activation.GeluTanh)),
            FileOption.Of("TieEmbeddings", tied),
            FileOption.Of("Bias", bias),
            FileOption.Of("QkvBias", spec.Flag("QkvBias", bias)),
            FileOption.Of("HeadBias", spec.Flag("HeadBias", false)),
            FileOption.Of("LayerNormEpsilon", spec.Real("LayerNormEpsilon", 1e-5)),
            FileOption.Of("Layout", spec.Choice("Layout", ParameterLayout.Conv1D)),
            FileOption.Of("Dropout", spec.Real("Dropout", 0)) with { TrainingOnly = true },
        ])
        {
            OptionalPrefixes = ["transformer."],
            Aliases = tied ? [("lm_head.weight", "transformer.wte.weight")] : [],

            // The causal mask, and what masked scores were set to.
            Buffers = [("transformer.h.#.attn.bias", 4), ("transformer.h.#.attn.masked_bias", 0)],
        };
    }

    private static int FeedForward(ModelSpec spec) => spec.Int("FeedForward", 0) is > 0 and int given ? given : 4 * spec.Int("DModel", 0);

    private static int KeyValueHeads(ModelSpec spec) => spec.Int("KeyValueHeads", 0) is > 0 and int given ? given : spec.Int("Heads", 0);
}
