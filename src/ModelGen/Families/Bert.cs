using System;
using System.Collections.Generic;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class Bert : IFamily
{
    public string Name => "Bert";

    public string AttributeMetadataName => "ModelGen.BertAttribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        BertOptions options = BertOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool vocabHolds = checks.RequireSize("Vocab");
        bool contextHolds = checks.RequireSize("Context");
        bool feedForwardHolds = checks.OptionalSize("FeedForward", minimum: 0);
        bool segmentsHold = checks.OptionalSize("Segments");
        bool batchHolds = checks.OptionalSize("MaxBatch") && checks.AtMost("MaxBatch", "MaxBatch", options.MaxBatch, SizeLimits.SequencesOfSession);
        bool attentionHolds = options.Attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");
        if (modelHolds && headsHold && options.Width % options.Heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        if (contextHolds && spec.Training is { } training && training.SequenceLength > options.Context)
        {
            report(new SpecProblem(DiagnosticIds.ContextTooShort, "SequenceLength", [$"{training.SequenceLength}", $"{options.Context}"], "Trainable"));
        }

        bool classesHold = options.IsClassifier ? checks.RequireSize("Classes", minimum: 2) : !spec.Has("Classes");
        void Unsupported(bool holds, string argument, string what, string with, string why, string? attribute = null)
        {
            if (!holds)
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, argument, [what, with, why], attribute));
            }
        }

        string head = $"Head = {options.Head}";
        Unsupported(options.IsClassifier || classesHold, "Classes", "Classes", head, "only a classifier has classes");
        Unsupported(options.Head == BertHead.MaskedLm || !options.NextSentence, "NextSentence", "NextSentence = true", head, "the sentence that follows is predicted beside masked tokens");
        Unsupported(options.Head == BertHead.None || !spec.Has("Pooler"), "Pooler", "Pooler", head, "a head says itself whether it needs the pooler");
        Unsupported(options.Embeddings != Pooling.None || !options.Normalize, "Normalize", "Normalize = true", "Embeddings = None", "there is nothing to normalize");
        Unsupported(options.Head != BertHead.None || spec.Training is null, "Head", head, "[Trainable]", "hidden states have no loss");
        if (layersHold && modelHolds && headsHold && vocabHolds && contextHolds && feedForwardHolds && segmentsHold && batchHolds && classesHold && attentionHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width;
            double outputs = options.Head == BertHead.MaskedLm ? options.Vocabulary : options.Classes;
            double widest = Math.Max(outputs, Math.Max(width, options.FeedForward));
            double rows = Math.Max(Math.Max(options.Vocabulary, options.Context), Math.Max(options.Segments, Math.Max(options.FeedForward, Math.Max(width, options.Classes))));
            checks.ModelSize(spec, width * rows, inferred: (double)options.MaxBatch * options.Context * widest, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        BertOptions options = BertOptions.Of(spec);
        int most = Math.Max(1, options.Context), sequence = Math.Max(1, spec.Training?.SequenceLength ?? 1);
        BertInputs inference = BertInputs.Of(options, Dim.Batch(Math.Max(1, options.MaxBatch)), Dim.Time(most), most);
        EntryPoint Inference(string name, string[] outputs, string[] optional, Func<GraphBuilder, Encoder> build)
            => new(name, EntryKind.Infer, inference.Sequences, outputs, CommonPrograms.Once(() => build(new GraphBuilder()).Build())) { Batch = inference.Batch, Time = inference.Time, OptionalOutputs = optional };

        var entries = new List<EntryPoint>
        {
            options.Head switch
            {
                BertHead.None => Inference("Predict", options.Pooler ? ["hidden", "pooled"] : ["hidden"], options.Pooler ? ["hidden", "pooled"] : [], b => new Encoder(b, options, inference, BuildMode.Inference).Hidden()),
                BertHead.MaskedLm when options.NextSentence => Inference("Predict", ["logits", "next"], ["logits", "next"], b => new Encoder(b, options, inference, BuildMode.Inference).Logits()),
                _ => Inference("Predict", ["logits"], [], b => new Encoder(b, options, inference, BuildMode.Inference).Logits()),
            },
        };
        if (options.Embeddings != Pooling.None)
        {
            entries.Add(Inference("Embed", ["embeddings"], [], b => new Encoder(b, options, inference, BuildMode.Inference).Embedding()));
        }

        if (spec.Training is { } training)
        {
            BertInputs inputs = BertInputs.Of(options, Dim.Batch(training.BatchSize), Dim.Time(sequence), sequence);
            Func<ModelGraph> graph = CommonPrograms.Once(() => new Encoder(new GraphBuilder(), options, inputs, BuildMode.Training).Loss().Build());
            entries.AddRange(CommonPrograms.Training(training, [.. inputs.Sequences, .. inputs.Targets], graph));
        }

        return new ModelProgram(ProgramAdapter.None, entries) { Training = spec.Training, Files = Files(options) };
    }

    // The head is not recorded: a classifier takes over a pre-trained encoder, and what a file lacks or has too much its names say.
    private static FileConventions Files(BertOptions options) => new(
    [
        FileOption.Of("Layers", options.Layers),
        FileOption.Of("DModel", options.Width),
        FileOption.Of("Heads", options.Heads),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("Context", options.Context) with { IsLimit = options.Attention.ContextIsLimit },
        FileOption.Of("FeedForward", unchecked((int)options.FeedForward)),
        FileOption.Of("Segments", options.Segments),
        FileOption.Of("Activation", options.Activation),
        FileOption.Of("LayerNormEpsilon", options.LayerNormEpsilon),
        .. options.Attention.Files,
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        OptionalPrefixes = ["bert."],
        Aliases = options.Head == BertHead.MaskedLm ? [("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"), ("cls.predictions.decoder.bias", "cls.predictions.bias")] : [],
        Buffers = [("bert.embeddings.position_ids", 2), ("bert.embeddings.token_type_ids", 2)],
    };

    /// <summary>The inputs of an entry point: padded sequences, and in training what they are compared with.</summary>
    private sealed record BertInputs(Dim Batch, Dim Time, Input Tokens, Input Segments, Input Lengths, IReadOnlyList<Input> Targets)
    {
        public IReadOnlyList<Input> Sequences => [Tokens, Segments, Lengths];

        public static BertInputs Of(BertOptions options, Dim batch, Dim time, int most)
        {
            var sequences = TensorType.Int(Shape.Of(batch, time));
            var one = TensorType.Int(Shape.Of(batch));
            Input[] targets = options.Head switch
            {
                BertHead.MaskedLm => [new Input("targets", sequences, options.Vocabulary) { MayBeIgnored = true }, .. options.NextSentence ? [new Input("next", one, 2) { MayBeIgnored = true }] : Array.Empty<Input>()],
                BertHead.SequenceClassifier => [new Input("targets", one, options.Classes) { MayBeIgnored = true }],
                _ => [new Input("targets", sequences, options.Classes) { MayBeIgnored = true }],
            };
            return new BertInputs(batch, time,
                new Input("tokens", sequences, options.Vocabulary), new Input("segments", sequences, options.Segments) { Default = 0 },
                new Input("lengths", one, most + 1) { Default = most }, targets);
        }
    }

    /// <summary>
    /// The encoder of Devlin et al. 2019 and what may be on top. Blocks are those of Vaswani et al. 2017, with the norm behind each residual
    /// connection; parameters are named as in the Hugging Face layout of the family.
    /// </summary>
    private sealed class Encoder
    {
        private static readonly Initializer Normal = Initializer.Normal(0.02);

        private readonly GraphBuilder _b;
        private readonly BertOptions _options;
        private readonly BertInputs _inputs;
        private readonly BuildMode _mode;
        private readonly Value _table;
        private readonly Value _lengths;
        private readonly Value _hidden;

        public Encoder(GraphBuilder b, BertOptions options, BertInputs inputs, BuildMode mode)
        {
            (_b, _options, _inputs, _mode) = (b, options, inputs, mode);
            Value tokens = b.Add(inputs.Tokens, inputs.Tokens.InputName);
            Value segments = b.Add(inputs.Segments, inputs.Segments.InputName);
            _lengths = b.Add(inputs.Lengths, inputs.Lengths.InputName);
            Value x;
            using (b.Scope("bert"))
            {
                using (b.Scope("embeddings"))
                {
                    _table = b.Parameter("word_embeddings.weight", Shape.Of(options.Vocabulary, options.Width), Normal);
                    Value? positions = options.Attention.PositionTable(b, "position_embeddings.weight", options.Context, options.Width);
                    Value types = b.Parameter("token_type_embeddings.weight", Shape.Of(options.Segments, options.Width), Normal);
                    x = b.Add(new Add(), "sum", b.Add(new Embedding(), "word_embeddings", _table, tokens), b.Add(new Embedding(), "token_type_embeddings", types, segments));
                    x = positions is null ? x : b.Add(new Add(), "sum", x, b.Add(new RowsAtPosition(tokens.Shape[1]), "position_embeddings", positions.Value));
                    x = b.Dropout("dropout", b.LayerNorm("LayerNorm", x, bias: true, options.LayerNormEpsilon), options.Dropout, mode);
                }

                Value[] biases;
                using (b.Scope("encoder"))
                {
                    biases = options.Attention.BiasTable(b, options.Heads, Normal);
                }

                for (int layer = 0; layer < options.Layers; layer++)
                {
                    using (b.Scope($"encoder.layer.{layer}"))
                    {
                        x = Block(x, options.Attention.RangeOf(layer, isCausal: false) with { HasKeyLengths = true }, biases);
                    }
                }
            }

            b.Recomputed = default;
            _hidden = x;
        }

        public ModelGraph Build() => _b.Build();

        /// <summary>The outputs <c>hidden</c> [B, T, width] and, where there is one, <c>pooled</c> [B, width].</summary>
        public Encoder Hidden()
        {
            _b.Output("hidden", _hidden);
            if (_options.Pooler)
            {
                _b.Output("pooled", Pooled());
            }

            return this;
        }

        /// <summary>The output <c>embeddings</c> [B, width]: one vector for each sequence.</summary>
        public Encoder Embedding()
        {
            Value e = _options.Embeddings == Pooling.FirstToken ? _b.Add(new SelectRow(0), "first", _hidden) : _b.MeanOverLengths("mean", _hidden, _lengths, _options.Heads);
            _b.Output("embeddings", _options.Normalize ? _b.Normalize("normalized", e) : e);
            return this;
        }

        /// <summary>The outputs <c>logits</c> of the head and, where a sentence that follows is predicted, <c>next</c> [B, 2].</summary>
        public Encoder Logits()
        {
            AddLogits();
            return this;
        }

        /// <summary>As <see cref="Logits"/>, with the loss: the mean over masked tokens and, of the sentence that follows, over sequences, added up.</summary>
        public Encoder Loss()
        {
            (Value logits, Value? nextLogits) = AddLogits();
            Value targets = _b.Add(_inputs.Targets[0], _inputs.Targets[0].InputName);
            Value rows = _b.Add(new CrossEntropy(), "loss.rows", logits, targets);
            if (nextLogits is { } following)
            {
                // A step divides the sum of all rows by the number of masked tokens M, so that a sequence's term counts M over the number of sequences,
                // spread over its positions.
                Value next = _b.Add(_inputs.Targets[1], _inputs.Targets[1].InputName);
                Value nextRows = _b.Add(new CrossEntropy(), "loss.next", following, next);
                Value masked = Counted("loss.masked", targets), sequences = Counted("loss.sequences", next);
                Value weight = _b.Add(new Divide(), "loss.weight", masked, _b.Add(new Affine(1, 1e-30), "", sequences));
                Value spread = _b.Add(new Affine(1.0 / rows.Shape[1].Maximum, 0), "loss.next.spread", _b.Add(new Multiply(), "loss.next.weighted", nextRows, weight));
                rows = _b.Add(new Add(), "loss.both", rows, _b.Add(new Reshape(Shape.Of(rows.Shape[0], 1, 1)), "", spread));
            }

            _b.Loss(rows);
            return this;
        }

        // How many targets count, [1, 1].
        private Value Counted(string name, Value targets)
        {
            Value counts = _b.Add(new IsTarget(), name + ".counts", targets);
            return _b.Add(new RowSum(), name, _b.Add(new Reshape(Shape.Of(1, checked((int)counts.Shape.MaximumElements))), name + ".row", counts));
        }

        private Value Block(Value x, KeyRange range, Value[] biases)
        {
            (GraphBuilder b, BertOptions options) = (_b, _options);
            (int width, int headWidth) = (options.Width, options.Width / options.Heads);
            b.Recomputed = options.Recompute == Recomputation.Blocks ? new Recomputed(b.Qualify(""), 0) : default;
            Value Projected(string name) => b.Linear("attention.self." + name, x, width, bias: true, Normal);
            var attention = new Attention(options.Heads, options.Heads, headWidth, 1 / Math.Sqrt(headWidth), range) { Bias = options.Attention.BiasOf(isCausal: false) };
            Value attended = b.Attend("attention.self", attention, [Projected("query"), Projected("key"), Projected("value"), _lengths, .. biases]);
            x = Residual("attention.output", x, attended);
            Value hidden = b.Activate("intermediate.act", b.Linear("intermediate.dense", x, (int)options.FeedForward, bias: true, Normal), options.Activation);
            return Residual("output", x, hidden);
        }

        // layer_norm(x + dropout(Wy + b))
        private Value Residual(string name, Value x, Value y)
        {
            using (_b.Scope(name))
            {
                Value projected = _b.Dropout("dropout", _b.Linear("dense", y, _options.Width, bias: true, Normal), _options.Dropout, _mode);
                return _b.LayerNorm("LayerNorm", _b.Add(new Add(), "residual", x, projected), bias: true, _options.LayerNormEpsilon);
            }
        }

        private Value Pooled()
        {
            using (_b.Scope("bert.pooler"))
            {
                return _b.Add(new Tanh(), "", _b.Linear("dense", _b.Add(new SelectRow(0), "first", _hidden), _options.Width, bias: true, Normal));
            }
        }

        private (Value Logits, Value? Next) AddLogits()
        {
            Value logits = HeadLogits();
            _b.Output("logits", logits);
            if (!_options.NextSentence)
            {
                return (logits, null);
            }

            Value next = _b.Linear("cls.seq_relationship", Pooled(), 2, bias: true, Normal);
            _b.Output("next", next);
            return (logits, next);
        }

        private Value HeadLogits()
        {
            switch (_options.Head)
            {
                case BertHead.SequenceClassifier or BertHead.TokenClassifier:
                    Value features = _options.Head == BertHead.SequenceClassifier ? Pooled() : _hidden;
                    return _b.Linear("classifier", _b.Dropout("dropout", features, _options.Dropout, _mode), _options.Classes, bias: true, Normal);
                default:
                    using (_b.Scope("cls.predictions"))
                    {
                        Value x = _b.Activate("transform.act", _b.Linear("transform.dense", _hidden, _options.Width, bias: true, Normal), _options.Activation);
                        x = _b.LayerNorm("transform.LayerNorm", x, bias: true, _options.LayerNormEpsilon);
                        Value product = _b.Add(new MatMul(MatMulForm.NT), "decoder.product", x, _table);
                        return _b.Add(new Add(), "decoder", product, _b.Parameter("bias", Shape.Of(_options.Vocabulary), Initializer.Zeros));
                    }
            }
        }
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record BertOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public SelfAttentionOptions Attention { get; private init; } = null!;

    public long FeedForward { get; private init; }

    public int Segments { get; private init; }

    public Activation Activation { get; private init; }

    public BertHead Head { get; private init; }

    public int Classes { get; private init; }

    public bool NextSentence { get; private init; }

    public bool Pooler { get; private init; }

    public Pooling Embeddings { get; private init; }

    public bool Normalize { get; private init; }

    public int MaxBatch { get; private init; }

    public double LayerNormEpsilon { get; private init; }

    public double Dropout { get; private init; }

    public Recomputation Recompute { get; private init; }

    public bool IsClassifier => Head is BertHead.SequenceClassifier or BertHead.TokenClassifier;

    public static BertOptions Of(ModelSpec spec)
    {
        int width = spec.Int("DModel", 0);
        return new BertOptions(spec.Int("Layers", 0), width, spec.Int("Heads", 0), spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Bidirectional),
            FeedForward = spec.Size("FeedForward", 0) is not 0 and int given ? given : 4L * width,
            Segments = spec.Int("Segments", 2),
            Activation = spec.Choice("Activation", Activation.Gelu),
            Head = spec.Choice("Head", BertHead.None),
            Classes = spec.Int("Classes", 0),
            NextSentence = spec.Flag("NextSentence", false),
            Pooler = spec.Flag("Pooler", true),
            Embeddings = spec.Choice("Embeddings", Pooling.None),
            Normalize = spec.Flag("Normalize", false),
            MaxBatch = CommonPrograms.MaxBatch(spec),
            LayerNormEpsilon = spec.Real("LayerNormEpsilon", 1e-12),
            Dropout = spec.Real("Dropout", 0),
            Recompute = spec.Choice("Recompute", Recomputation.None),
        };
    }
}
