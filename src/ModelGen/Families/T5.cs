using System;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class T5 : IFamily
{
    public string Name => "T5";

    public string AttributeMetadataName => "ModelGen.T5Attribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        T5Options options = T5Options.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool holds = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        holds &= checks.OptionalSize("DecoderLayers", minimum: 0) && checks.AtMost("DecoderLayers", "DecoderLayers", options.DecoderLayers, SizeLimits.Layers);
        bool widths = checks.RequireSize("DModel") & checks.RequireSize("Heads") & checks.OptionalSize("HeadWidth", minimum: 0);
        holds &= widths & checks.RequireSize("FeedForward") & checks.RequireSize("Vocab");
        bool contexts = checks.RequireSize("Context") & checks.OptionalSize("SourceContext", minimum: 0);
        checks.OptionalPositive("NormEpsilon");
        checks.OptionalProbability("Dropout");
        checks.OptionalProbability("LabelSmoothing");
        if (widths && spec.Int("HeadWidth", 0) == 0 && options.Width % options.Heads != 0)
        {
            holds = false;
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        holds &= options.Attention.Validate(spec, checks, Math.Max(options.Layers, options.DecoderLayers), widths ? options.Width : 0, report);
        if (contexts && spec.Training is { } training)
        {
            CommonPrograms.ValidateLengths(training, options.SourceContext, options.Context, report);
        }

        if (holds && contexts)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, vocabulary = options.Vocabulary, heads = (double)options.Heads * options.HeadWidth, hidden = Math.Max(Math.Max(heads, width), options.FeedForward);
            double rows = Math.Max(options.Context, options.SourceContext), widest = Math.Max(vocabulary, hidden);
            checks.ModelSize(spec, width * widest, Math.Max(vocabulary, rows * hidden), widest, widestOfSource: hidden);
            CommonPrograms.ValidateSessions(spec, checks, states: 2 * heads * options.DecoderLayers * ((double)options.Context + options.SourceContext), Math.Max(widest, options.Attention.BiasElements(options.Heads)));
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        T5Options options = T5Options.Of(spec);
        var sizes = new EncoderDecoderSizes(options.Vocabulary, options.Vocabulary, options.SourceContext, options.Context, DecodesWithLengths: true) { AttentionLayers = options.AttentionWeights ? options.DecoderLayers : 0 };
        return CommonPrograms.EncoderDecoder(spec, sizes, new EncoderDecoderGraphs(
            source => Encode(options, source),
            (tokens, lengths) => Decode(options, tokens, lengths!),
            (source, lengths, inputs, targets) => Train(options, source, lengths, inputs, targets))) with
        { Files = Files(options) };
    }

    private static FileConventions Files(T5Options options) => new(
    [
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("DecoderLayers", options.DecoderLayers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("HeadWidth", options.HeadWidth),
        FileOption.Of("FeedForward", options.FeedForward),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = true },
        FileOption.Of("SourceContext", options.SourceContext) with { IsLimit = true },
        .. options.Attention.Files,
        FileOption.Of("GatedFeedForward", options.GatedFeedForward),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("TieEmbeddings", options.TieEmbeddings),
        FileOption.Of("NormEpsilon", options.NormEpsilon),
        FileOption.Of("LabelSmoothing", options.LabelSmoothing) with { TrainingOnly = true },
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        Aliases = [("encoder.embed_tokens.weight", "shared.weight"), ("decoder.embed_tokens.weight", "shared.weight"), .. options.TieEmbeddings ? [("lm_head.weight", "shared.weight")] : Array.Empty<(string, string)>()],

        // Cross-attention has no distances: what the first checkpoints hold of it is not read.
        Buffers = [("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", 2)],
    };

    private static ModelGraph Encode(T5Options options, Input source)
    {
        var m = new Builder(options, BuildMode.Inference);
        Value memory = m.Encoder(source, null);
        for (int layer = 0; layer < options.DecoderLayers; layer++)
        {
            (Value keys, Value values) = m.Memory(layer, memory);
            using (m.B.Scope(Builder.CrossAttention(layer)))
            {
                m.B.Remember("memory_keys", keys, options.SourceContext);
                m.B.Remember("memory_values", values, options.SourceContext);
            }
        }

        return m.B.Build();
    }

    private static ModelGraph Decode(T5Options options, Input tokens, Input lengths)
    {
        var m = new Builder(options, BuildMode.Inference);
        m.B.Output("logits", m.Decoder(tokens, lengths, layer =>
        {
            using (m.B.Scope(Builder.CrossAttention(layer)))
            {
                Value Recall(string name) => m.B.Recall(name, tokens.Type.Shape[0], options.SourceContext, options.Heads * options.HeadWidth);
                return (Recall("memory_keys"), Recall("memory_values"));
            }
        }));
        return m.B.Build();
    }

    private static ModelGraph Train(T5Options options, Input source, Input lengths, Input inputs, Input targetIds)
    {
        var m = new Builder(options, BuildMode.Training);
        Value memory = m.Encoder(source, lengths);
        Value logits = m.Decoder(inputs, lengths, layer => m.Memory(layer, memory));
        m.B.Output("logits", logits);
        Value targets = m.B.Add(targetIds, targetIds.InputName);
        m.B.Loss(m.B.Add(new CrossEntropy(options.LabelSmoothing), "loss.rows", logits, targets));
        return m.B.Build();
    }

    /// <summary>
    /// The graph of one entry point: the encoder and decoder of Raffel et al. (2020), normalized before each sublayer, without a bias anywhere, and with scores that are not scaled. Parameters are named as in the
    /// Hugging Face layout of the family.
    /// </summary>
    private sealed class Builder(T5Options options, BuildMode mode)
    {
        private readonly int _inner = options.Heads * options.HeadWidth;

        // What sums of that many products keep at a variance of 1 (Raffel et al. 2020, as their code has it).
        private readonly Initializer _ofModel = Initializer.Normal(1 / Math.Sqrt(options.Width));

        public GraphBuilder B { get; } = new();

        public static string CrossAttention(int layer) => $"decoder.block.{layer}.layer.1.EncDecAttention";

        /// <summary>The encoded source [B, S, width]; without lengths, all tokens count.</summary>
        public Value Encoder(Input source, Input? sourceLengths)
        {
            Value[] lengths = sourceLengths is null ? [] : [B.Add(sourceLengths, sourceLengths.InputName)];
            Value x = B.Dropout("encoder.dropout", B.Add(new Embedding(), "encoder.embed_tokens", Table(), B.Add(source, source.InputName)), options.Dropout, mode);
            Value[] biases = BiasTable("encoder");
            KeyRange range = options.Attention.RangeOf(0, isCausal: false) with { HasKeyLengths = lengths.Length > 0 };
            for (int layer = 0; layer < options.Layers; layer++)
            {
                using (B.Scope($"encoder.block.{layer}"))
                {
                    x = Sublayer(0, x, y => SelfAttention(y, range, [.. lengths, .. biases]));
                    x = Sublayer(1, x, FeedForward);
                }
            }

            return Final("encoder", x);
        }

        /// <summary>The logits [B, T, vocabulary] of the tokens that follow a target's, by a layer's keys and values of the source.</summary>
        public Value Decoder(Input tokens, Input sourceLengths, Func<int, (Value Keys, Value Values)> memory)
        {
            Value lengths = B.Add(sourceLengths, sourceLengths.InputName);
            Value x = B.Dropout("decoder.dropout", B.Add(new Embedding(), "decoder.embed_tokens", Table(), B.Add(tokens, tokens.InputName)), options.Dropout, mode);
            Value[] biases = BiasTable("decoder");
            KeyRange range = options.Attention.RangeOf(0, isCausal: true);
            for (int layer = 0; layer < options.DecoderLayers; layer++)
            {
                string? weights = options.AttentionWeights && mode == BuildMode.Inference ? CommonPrograms.AttentionWeights(layer) : null;
                (Value keys, Value values) = memory(layer);
                using (B.Scope($"decoder.block.{layer}"))
                {
                    x = Sublayer(0, x, y => SelfAttention(y, range, biases));
                    x = Sublayer(1, x, y =>
                    {
                        using (B.Scope("EncDecAttention"))
                        {
                            return Projected(B.Attend("attention", Op(KeyRange.All with { HasKeyLengths = true }), [Query(y), keys, values, lengths], weights, options.SourceContext));
                        }
                    });
                    x = Sublayer(2, x, FeedForward);
                }
            }

            x = Final("decoder", x);
            if (!options.TieEmbeddings)
            {
                return B.Linear("lm_head", x, options.Vocabulary, bias: false, _ofModel);
            }

            // The embeddings' variance is 1: the head's would be too large.
            return B.Add(new MatMul(MatMulForm.NT), "lm_head", B.Add(new Affine(1 / Math.Sqrt(options.Width), 0), "lm_head.scaled", x), Table());
        }

        /// <summary>A decoder layer's keys and values of the encoded source.</summary>
        public (Value Keys, Value Values) Memory(int layer, Value memory)
        {
            using (B.Scope(CrossAttention(layer)))
            {
                return (B.Linear("k", memory, _inner, bias: false, _ofModel), B.Linear("v", memory, _inner, bias: false, _ofModel));
            }
        }

        private Value Table() => B.Parameter("shared.weight", Shape.Of(options.Vocabulary, options.Width), Initializer.Normal(1));

        // A stack's first layer has the table of distances, which all of its layers share.
        private Value[] BiasTable(string stack)
        {
            using (B.Scope($"{stack}.block.0.layer.0.SelfAttention"))
            {
                return options.Attention.BiasTable(B, options.Heads, _ofModel);
            }
        }

        private Value Final(string stack, Value x) => B.Dropout(stack + ".final_dropout", B.RmsNorm(stack + ".final_layer_norm", x, options.NormEpsilon), options.Dropout, mode);

        /// <summary>x + f(norm(x)).</summary>
        private Value Sublayer(int index, Value x, Func<Value, Value> f)
        {
            using (B.Scope($"layer.{index}"))
            {
                return B.Add(new Add(), "residual", x, B.Dropout("dropout", f(B.RmsNorm("layer_norm", x, options.NormEpsilon)), options.Dropout, mode));
            }
        }

        private Value SelfAttention(Value x, KeyRange range, Value[] given)
        {
            using (B.Scope("SelfAttention"))
            {
                Value q = Query(x), k = B.Linear("k", x, _inner, bias: false, _ofModel), v = B.Linear("v", x, _inner, bias: false, _ofModel);
                return Projected(B.Attend("attention", Op(range, options.Attention.BiasOf(range.IsCausal)), [q, k, v, .. given]));
            }
        }

        // Queries are drawn smaller, in the place of a scale of their products with keys.
        private Value Query(Value x) => B.Linear("q", x, _inner, bias: false, Initializer.Normal(1 / Math.Sqrt((double)options.Width * options.HeadWidth)));

        private Value Projected(Value attended) => B.Linear("o", attended, options.Width, bias: false, Initializer.Normal(1 / Math.Sqrt(_inner)));

        private Attention Op(KeyRange range, ScoreBias? bias = null) => new(options.Heads, options.Heads, options.HeadWidth, 1, range) { Bias = bias };

        private Value FeedForward(Value x)
        {
            using (B.Scope("DenseReluDense"))
            {
                Value In(string name) => B.Linear(name, x, options.FeedForward, bias: false, _ofModel);
                Value hidden = options.GatedFeedForward ? B.Add(new Multiply(), "hidden", B.Activate("act", In("wi_0"), options.Activation), In("wi_1")) : B.Activate("act", In("wi"), options.Activation);
                return B.Linear("wo", B.Dropout("dropout", hidden, options.Dropout, mode), options.Width, bias: false, Initializer.Normal(1 / Math.Sqrt(options.FeedForward)));
            }
        }
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record T5Options(int Layers, int DecoderLayers, int Width, int Heads, int HeadWidth, int FeedForward, int Vocabulary, int Context, int SourceContext)
{
    public SelfAttentionOptions Attention { get; private init; } = null!;

    public bool GatedFeedForward { get; private init; }

    public Activation Activation { get; private init; }

    public bool TieEmbeddings { get; private init; }

    public double NormEpsilon { get; private init; }

    /// <summary>Whether sessions hand out what each step attends to.</summary>
    public bool AttentionWeights { get; private init; }

    public double LabelSmoothing { get; private init; }

    public double Dropout { get; private init; }

    public static T5Options Of(ModelSpec spec)
    {
        int layers = spec.Int("Layers", 0), width = spec.Int("DModel", 0), heads = spec.Int("Heads", 0), context = spec.Int("Context", 0);
        return new T5Options(
            layers,
            spec.Size("DecoderLayers", layers),
            width,
            heads,
            spec.Size("HeadWidth", width / Math.Max(1, heads)),
            spec.Int("FeedForward", 0),
            spec.Int("Vocab", 0),
            context,
            spec.Size("SourceContext", context))
        {
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal | AttentionDirections.Bidirectional, PositionEncoding.Relative),
            GatedFeedForward = spec.Flag("GatedFeedForward", true),
            Activation = spec.Choice("Activation", Activation.GeluTanh),
            TieEmbeddings = spec.Flag("TieEmbeddings", false),
            NormEpsilon = spec.Real("NormEpsilon", 1e-6),
            AttentionWeights = spec.Flag("AttentionWeights", false),
            LabelSmoothing = spec.Real("LabelSmoothing", 0),
            Dropout = spec.Real("Dropout", 0),
        };
    }
}
