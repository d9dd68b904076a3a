using System;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class Transformer : IFamily
{
    public string Name => "Transformer";

    public string AttributeMetadataName => "ModelGen.TransformerAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        TransformerOptions options = TransformerOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool holds = checks.OptionalSize("EncoderLayers") && checks.AtMost("EncoderLayers", "EncoderLayers", options.EncoderLayers, SizeLimits.Layers);
        holds &= checks.OptionalSize("DecoderLayers") && checks.AtMost("DecoderLayers", "DecoderLayers", options.DecoderLayers, SizeLimits.Layers);
        bool widths = checks.OptionalSize("DModel") & checks.OptionalSize("Heads");
        holds &= widths & checks.OptionalSize("FeedForward") & checks.RequireSize("SourceVocab") & checks.RequireSize("TargetVocab");
        bool contexts = checks.RequireSize("Context") & checks.OptionalSize("SourceContext", minimum: 0) & checks.OptionalSize("FirstPosition", minimum: 0);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");
        checks.OptionalProbability("LabelSmoothing");
        if (widths && options.Width % options.Heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, spec.Has("DModel") || !spec.Has("Heads") ? "DModel" : "Heads", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        SelfAttentionOptions attention = options.Attention;
        holds &= attention.Validate(spec, checks, Math.Max(options.EncoderLayers, options.DecoderLayers), widths ? options.Width : 0, report);
        if (!attention.HasSinusoids && options.FirstPosition > 0)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "FirstPosition", ["FirstPosition", $"PositionEncoding.{attention.Positions}", "only sinusoids begin with any position"]));
        }

        if (options.Shared == EmbeddingSharing.All && options.SourceVocabulary != options.TargetVocabulary)
        {
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, "Shared", ["EmbeddingSharing.All", "two vocabularies", $"SourceVocab is {options.SourceVocabulary} and TargetVocab is {options.TargetVocabulary}"]));
        }

        if (contexts && spec.Training is { } training)
        {
            CommonPrograms.ValidateLengths(training, options.SourceContext, options.Context, report);
        }

        if (holds && contexts)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width, vocabulary = Math.Max(options.SourceVocabulary, options.TargetVocabulary), hidden = Math.Max(3 * width, options.FeedForward);
            double rows = Math.Max(options.Context, options.SourceContext), widest = Math.Max(vocabulary, hidden);
            checks.ModelSize(spec, width * Math.Max(Math.Max(vocabulary, rows), hidden), Math.Max(options.TargetVocabulary, rows * hidden), widest, widestOfSource: hidden);
            double cached = Enumerable.Range(0, options.DecoderLayers).Sum(layer => attention.CacheRows(layer, options.Context) + options.SourceContext);
            CommonPrograms.ValidateSessions(spec, checks, states: 2 * width * cached, Math.Max(widest, attention.BiasElements(options.Heads)));
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        TransformerOptions options = TransformerOptions.Of(spec);
        var sizes = new EncoderDecoderSizes(options.SourceVocabulary, options.TargetVocabulary, options.SourceContext, options.Context, DecodesWithLengths: true) { AttentionLayers = options.AttentionWeights ? options.DecoderLayers : 0 };
        return CommonPrograms.EncoderDecoder(spec, sizes, new EncoderDecoderGraphs(
            source => Encode(options, source),
            (tokens, lengths) => Decode(options, tokens, lengths!),
            (source, lengths, inputs, targets) => Train(options, source, lengths, inputs, targets))) with
        { Files = Files(options) };
    }

    private static FileConventions Files(TransformerOptions options) => new(
    [
        FileOption.Of("EncoderLayers", options.EncoderLayers),
        FileOption.Of("DecoderLayers", options.DecoderLayers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("FeedForward", options.FeedForward),
        FileOption.Of("SourceVocab", options.SourceVocabulary),
        FileOption.Of("TargetVocab", options.TargetVocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = options.Attention.ContextIsLimit },
        FileOption.Of("SourceContext", options.SourceContext) with { IsLimit = options.Attention.ContextIsLimit },
        .. options.Attention.Files,
        FileOption.Of("FirstPosition", options.FirstPosition),
        FileOption.Of("PreNorm", options.PreNorm),
        FileOption.Of("FinalNorm", options.FinalNorm),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("Shared", options.Shared),
        FileOption.Of("ScaleEmbeddings", options.ScaleEmbeddings),
        FileOption.Of("Bias", options.Bias),
        FileOption.Of("HeadBias", options.HeadBias),
        FileOption.Of("LayerNormEpsilon", options.LayerNormEpsilon),
        FileOption.Of("LabelSmoothing", options.LabelSmoothing) with { TrainingOnly = true },
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        OptionalPrefixes = ["transformer."],
        Aliases = options.Shared switch
        {
            EmbeddingSharing.All => [("tgt_embed.weight", "src_embed.weight"), ("generator.weight", "src_embed.weight")],
            EmbeddingSharing.TargetAndHead => [("generator.weight", "tgt_embed.weight")],
            _ => [],
        },

        // The sinusoids, as modules of positions keep them.
        Buffers = [("pos_encoder.pe", 3), ("positional_encoding.pos_embedding", 3)],
    };

    private static ModelGraph Encode(TransformerOptions options, Input source)
    {
        var m = new Builder(options, BuildMode.Inference);
        Value memory = m.Encoder(source, null);
        for (int layer = 0; layer < options.DecoderLayers; layer++)
        {
            using (m.B.Scope($"transformer.decoder.layers.{layer}"))
            {
                (Value keys, Value values) = m.Memory(memory);
                m.B.Remember("multihead_attn.memory_keys", keys, options.SourceContext);
                m.B.Remember("multihead_attn.memory_values", values, options.SourceContext);
            }
        }

        return m.B.Build();
    }

    private static ModelGraph Decode(TransformerOptions options, Input tokens, Input lengths)
    {
        var m = new Builder(options, BuildMode.Inference);
        m.B.Output("logits", m.Decoder(tokens, lengths, () =>
        {
            Value Recall(string name) => m.B.Recall("multihead_attn.memory_" + name, tokens.Type.Shape[0], options.SourceContext, options.Width);
            return (Recall("keys"), Recall("values"));
        }));
        return m.B.Build();
    }

    private static ModelGraph Train(TransformerOptions options, Input source, Input lengths, Input inputs, Input targetIds)
    {
        var m = new Builder(options, BuildMode.Training);
        Value memory = m.Encoder(source, lengths);
        Value logits = m.Decoder(inputs, lengths, () => m.Memory(memory));
        m.B.Output("logits", logits);
        Value targets = m.B.Add(targetIds, targetIds.InputName);
        m.B.Loss(m.B.Add(new CrossEntropy(options.LabelSmoothing), "loss.rows", logits, targets));
        return m.B.Build();
    }

    /// <summary>
    /// The graph of one entry point: the encoder and decoder of Vaswani et al. (2017), with norms behind each sublayer or before it. Parameters are
    /// those of PyTorch's modules, in whose scope a method is called.
    /// </summary>
    private sealed class Builder(TransformerOptions options, BuildMode mode)
    {
        private readonly int _width = options.Width;
        private readonly int _headWidth = options.Width / options.Heads;

        public GraphBuilder B { get; } = new();

        /// <summary>The encoded source [B, S, width]; without lengths, all tokens count.</summary>
        public Value Encoder(Input source, Input? sourceLengths)
        {
            Value[] lengths = sourceLengths is null ? [] : [B.Add(sourceLengths, sourceLengths.InputName)];
            Value x = Embed("src", source, Table(source: true), options.SourceContext);
            using (B.Scope("transformer.encoder"))
            {
                Value[] biases = BiasTable();
                for (int layer = 0; layer < options.EncoderLayers; layer++)
                {
                    KeyRange range = options.Attention.RangeOf(layer, isCausal: false) with { HasKeyLengths = lengths.Length > 0 };
                    using (B.Scope($"layers.{layer}"))
                    {
                        x = Sublayer("norm1", "dropout1", x, y => SelfAttention(y, range, [.. lengths, .. biases]));
                        x = Sublayer("norm2", "dropout2", x, FeedForward);
                    }
                }

                return options.FinalNorm ? B.LayerNorm("norm", x, options.Bias, options.LayerNormEpsilon) : x;
            }
        }

        /// <summary>The logits [B, T, vocabulary] of the tokens that follow a target's, by a layer's keys and values of the source.</summary>
        public Value Decoder(Input tokens, Input sourceLengths, Func<(Value Keys, Value Values)> memory)
        {
            Value lengths = B.Add(sourceLengths, sourceLengths.InputName);
            Value x = Embed("tgt", tokens, Table(source: false), options.Context);
            using (B.Scope("transformer.decoder"))
            {
                Value[] biases = BiasTable();
                for (int layer = 0; layer < options.DecoderLayers; layer++)
                {
                    KeyRange range = options.Attention.RangeOf(layer, isCausal: true);
                    string? weights = options.AttentionWeights && mode == BuildMode.Inference ? CommonPrograms.AttentionWeights(layer) : null;
                    using (B.Scope($"layers.{layer}"))
                    {
                        x = Sublayer("norm1", "dropout1", x, y => SelfAttention(y, range, biases));
                        x = Sublayer("norm2", "dropout2", x, y =>
                        {
                            (Value keys, Value values) = memory();
                            return Attend("multihead_attn", Op(KeyRange.All with { HasKeyLengths = true }), [Project(y, 0, 1, "q"), keys, values, lengths], weights);
                        });
                        x = Sublayer("norm3", "dropout3", x, FeedForward);
                    }
                }

                x = options.FinalNorm ? B.LayerNorm("norm", x, options.Bias, options.LayerNormEpsilon) : x;
            }

            if (options.Shared == EmbeddingSharing.None)
            {
                return B.Linear("generator", x, options.TargetVocabulary, options.HeadBias, Xavier(options.TargetVocabulary, _width));
            }

            Value logits = B.Add(new MatMul(MatMulForm.NT), options.HeadBias ? "generator.product" : "generator", x, Table(source: false));
            return options.HeadBias ? B.Add(new Add(), "generator", logits, B.Parameter("generator.bias", Shape.Of(options.TargetVocabulary), Initializer.Zeros)) : logits;
        }

        /// <summary>A decoder layer's keys and values of the encoded source, each as wide as the model.</summary>
        public (Value Keys, Value Values) Memory(Value memory)
        {
            Value both = Project(memory, 1, 2, "memory");
            return (B.Add(new SliceColumns(0, _width), "multihead_attn.k", both), B.Add(new SliceColumns(_width, _width), "multihead_attn.v", both));
        }

        private Value Table(bool source)
        {
            bool first = source || options.Shared == EmbeddingSharing.All;
            return B.Parameter(first ? "src_embed.weight" : "tgt_embed.weight", Shape.Of(first ? options.SourceVocabulary : options.TargetVocabulary, _width), Initializer.Normal(1 / Math.Sqrt(_width)));
        }

        private Value Embed(string side, Input ids, Value table, int context)
        {
            Value x = B.Add(new Embedding(), side + "_embed", table, B.Add(ids, ids.InputName));
            x = options.ScaleEmbeddings ? B.Add(new Affine(Math.Sqrt(_width), 0), side + "_embed.scaled", x) : x;

            // One table of sinusoids does for both sides.
            if (options.Attention.PositionTable(B, side + "_pos.weight", context, _width, Math.Max(options.Context, options.SourceContext), options.FirstPosition) is { } positions)
            {
                x = B.Add(new Add(), side + "_positioned", x, B.Add(new RowsAtPosition(ids.Type.Shape[1]), side + "_pos", positions));
            }

            return B.Dropout(side + "_dropout", x, options.Dropout, mode);
        }

        /// <summary>norm(x + f(x)), or x + f(norm(x)).</summary>
        private Value Sublayer(string norm, string dropout, Value x, Func<Value, Value> f)
        {
            Value Norm(Value of) => B.LayerNorm(norm, of, options.Bias, options.LayerNormEpsilon);
            Value y = B.Dropout(dropout, f(options.PreNorm ? Norm(x) : x), options.Dropout, mode);
            Value sum = B.Add(new Add(), dropout.Replace("dropout", "residual"), x, y);
            return options.PreNorm ? sum : Norm(sum);
        }

        private Value FeedForward(Value x)
        {
            Value hidden = B.Activate("activation", Linear("linear1", x, options.FeedForward), options.Activation);
            return Linear("linear2", hidden, _width);
        }

        private Value[] BiasTable() => options.Attention.BiasTable(B, options.Heads, Initializer.Normal(0.02));

        private Attention Op(KeyRange range, ScoreBias? bias = null) => new(options.Heads, options.Heads, _headWidth, 1 / Math.Sqrt(_headWidth), range) { Bias = bias };

        /// <summary>Self-attention and its projection, with what the range and the bias ask for.</summary>
        private Value SelfAttention(Value x, KeyRange range, Value[] given)
        {
            const string Name = "self_attn";
            (Value weight, Value? bias) = InProjection(Name);
            Value product = B.Add(new MatMul(MatMulForm.NT), Name + (bias is null ? ".in_proj" : ".in_proj.product"), x, weight);
            Value all = bias is null ? product : B.Add(new Add(), Name + ".in_proj", product, bias.Value);
            Value Part(int index, string part) => B.Add(new SliceColumns(index * _width, _width), $"{Name}.{part}", all);
            return Attend(Name, Op(range, options.Attention.BiasOf(range.IsCausal)), [Part(0, "q"), Part(1, "k"), Part(2, "v"), .. given]);
        }

        /// <summary>Attention and its projection; its weights are an output of the name <paramref name="weights"/>, where there is one.</summary>
        private Value Attend(string name, Attention attention, Value[] inputs, string? weights = null)
            => Linear(name + ".out_proj", B.Attend(name, attention, inputs, weights, options.SourceContext), _width);

        /// <summary>Some thirds of what cross-attention projects to: queries, keys, values, whose weights lie one below the other.</summary>
        private Value Project(Value x, int first, int thirds, string part)
        {
            (Value weight, Value? bias) = InProjection("multihead_attn");
            string name = "multihead_attn." + part;
            Value Rows(Value of, string what) => B.Add(new SliceRows(first * _width, thirds * _width), $"{name}.{what}", of);
            Value product = B.Add(new MatMul(MatMulForm.NT), bias is null ? name : name + ".product", x, Rows(weight, "weight"));
            return bias is null ? product : B.Add(new Add(), name, product, Rows(bias.Value, "bias"));
        }

        private (Value Weight, Value? Bias) InProjection(string name) => (
            B.Parameter(name + ".in_proj_weight", Shape.Of(3 * _width, _width), Xavier(3 * _width, _width)),
            options.Bias ? B.Parameter(name + ".in_proj_bias", Shape.Of(3 * _width), Initializer.Zeros) : null);

        private Value Linear(string name, Value x, int outputs) => B.Linear(name, x, outputs, options.Bias, Xavier(outputs, x.Shape[-1].Maximum));

        // Glorot and Bengio (2010), as PyTorch's module draws its matrices.
        private static Initializer Xavier(int outputs, int inputs) => Initializer.Uniform(Math.Sqrt(6.0 / ((double)outputs + inputs)));
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record TransformerOptions(int EncoderLayers, int DecoderLayers, int Width, int Heads, int FeedForward, int SourceVocabulary, int TargetVocabulary, int Context, int SourceContext)
{
    public SelfAttentionOptions Attention { get; private init; } = null!;

    public int FirstPosition { get; private init; }

    public bool PreNorm { get; private init; }

    public bool FinalNorm { get; private init; }

    public Activation Activation { get; private init; }

    public EmbeddingSharing Shared { get; private init; }

    public bool ScaleEmbeddings { get; private init; }

    public bool Bias { get; private init; }

    public bool HeadBias { get; private init; }

    public double LayerNormEpsilon { get; private init; }

    /// <summary>Whether sessions hand out what each step attends to.</summary>
    public bool AttentionWeights { get; private init; }

    public double LabelSmoothing { get; private init; }

    public double Dropout { get; private init; }

    public static TransformerOptions Of(ModelSpec spec)
    {
        int context = spec.Int("Context", 0);
        bool preNorm = spec.Flag("PreNorm", false), bias = spec.Flag("Bias", true);
        EmbeddingSharing shared = spec.Choice("Shared", EmbeddingSharing.None);
        return new TransformerOptions(
            spec.Int("EncoderLayers", 6),
            spec.Int("DecoderLayers", 6),
            spec.Int("DModel", 512),
            spec.Int("Heads", 8),
            spec.Int("FeedForward", 2048),
            spec.Int("SourceVocab", 0),
            spec.Int("TargetVocab", 0),
            context,
            spec.Size("SourceContext", context))
        {
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Causal | AttentionDirections.Bidirectional, PositionEncoding.Sinusoids),
            FirstPosition = spec.Int("FirstPosition", 0),
            PreNorm = preNorm,
            FinalNorm = spec.Flag("FinalNorm", preNorm),
            Activation = spec.Choice("Activation", Activation.Relu),
            Shared = shared,
            ScaleEmbeddings = spec.Flag("ScaleEmbeddings", true),
            Bias = bias,
            HeadBias = spec.Flag("HeadBias", bias && shared == EmbeddingSharing.None),
            LayerNormEpsilon = spec.Real("LayerNormEpsilon", 1e-5),
            AttentionWeights = spec.Flag("AttentionWeights", false),
            LabelSmoothing = spec.Real("LabelSmoothing", 0),
            Dropout = spec.Real("Dropout", 0),
        };
    }
}
