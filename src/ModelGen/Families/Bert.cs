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
/// Transformer encoders, which are one graph with different parts: BERT (Devlin et al. 2019) is what it is by default. A preset is other defaults, and a layout of other names, under a name of its own.
/// </summary>
internal sealed class Bert(EncoderPreset preset) : IFamily
{
    /// <summary>[Bert] and its presets.</summary>
    public static IReadOnlyList<IFamily> All { get; } = [.. EncoderPreset.All.Select(preset => new Bert(preset))];

    public string Name => preset.Name;

    public string AttributeMetadataName => $"ModelGen.{preset.Name}Attribute";

    public bool HasSequence => true;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        BertOptions options = BertOptions.Of(spec, preset);
        var checks = new ArgumentChecks(spec, report);
        bool layersHold = checks.RequireSize("Layers") && checks.AtMost("Layers", "Layers", options.Layers, SizeLimits.Layers);
        bool modelHolds = checks.RequireSize("DModel");
        bool headsHold = checks.RequireSize("Heads");
        bool vocabHolds = checks.RequireSize("Vocab");
        bool contextHolds = checks.RequireSize("Context");
        bool feedForwardHolds = checks.OptionalSize("FeedForward", minimum: 0);
        bool segmentsHold = checks.OptionalSize("Segments", minimum: 0);
        contextHolds &= checks.OptionalSize("FirstPosition", minimum: 0);
        bool batchHolds = checks.OptionalSize("MaxBatch") && checks.AtMost("MaxBatch", "MaxBatch", options.MaxBatch, SizeLimits.SequencesOfSession);
        bool attentionHolds = options.Attention.Validate(spec, checks, options.Layers, modelHolds ? options.Width : 0, report);
        checks.OptionalPositive("LayerNormEpsilon");
        checks.OptionalProbability("Dropout");
        if (modelHolds && headsHold && options.Width % options.Heads != 0)
        {
            report(new SpecProblem(DiagnosticIds.HeadsDoNotDivide, "DModel", ["DModel", "Heads", $"{options.Width}", $"{options.Heads}"]));
        }

        bool sizesHold = modelHolds && headsHold && options.Width % options.Heads == 0;
        attentionHolds &= options.Rotary.Validate(spec, checks, layersHold ? options.Layers : 0, options.Attention.Positions == PositionEncoding.Rotary, sizesHold ? options.Width / options.Heads : 0, options.Attention.Positions, report);
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
        Unsupported(options.Attention.Positions == PositionEncoding.Learned || options.FirstPosition == 0, "FirstPosition", "FirstPosition", $"PositionEncoding.{options.Attention.Positions}", "only a learned table has rows in front of the first position's");
        Unsupported(options.IsClassifier || classesHold, "Classes", "Classes", head, "only a classifier has classes");
        Unsupported(options.Head == BertHead.MaskedLm || !options.NextSentence, "NextSentence", "NextSentence = true", head, "the sentence that follows is predicted beside masked tokens");
        Unsupported(options.Head == BertHead.None || !spec.Has("Pooler"), "Pooler", "Pooler", head, "a head says itself whether it needs the pooler");
        Unsupported(preset.HasPooler || !spec.Has("Pooler"), "Pooler", "Pooler", $"[{Name}]", "these encoders have none");
        Unsupported(preset.HasPooler || !options.NextSentence, "NextSentence", "NextSentence = true", $"[{Name}]", "the sentence that follows is predicted by a pooler, which these encoders do not have");
        Unsupported(options.Head == BertHead.SequenceClassifier || !spec.Has("ClassifierPooling"), "ClassifierPooling", "ClassifierPooling", head, "only a classifier of sequences reads one vector of each");
        Unsupported(preset.HasPooler || options.Head != BertHead.SequenceClassifier || options.ClassifierPooling != Pooling.None, "ClassifierPooling", "ClassifierPooling = None", $"[{Name}]", "these encoders have no pooler to read");
        Unsupported(options.Embeddings != Pooling.None || !options.Normalize, "Normalize", "Normalize = true", "Embeddings = None", "there is nothing to normalize");
        Unsupported(options.Head != BertHead.None || spec.Training is null, "Head", head, "[Trainable]", "hidden states have no loss");
        if (layersHold && modelHolds && headsHold && vocabHolds && contextHolds && feedForwardHolds && segmentsHold && batchHolds && classesHold && attentionHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double width = options.Width;
            double outputs = options.Head == BertHead.MaskedLm ? options.Vocabulary : options.Classes;
            double hidden = options.FeedForward * (options.GatedFeedForward ? 2.0 : 1), projected = width * (options.Names.Projections.Count == 1 ? 3 : options.Attention.Positions == PositionEncoding.Rotary ? 2 : 1);
            double widest = Math.Max(outputs, Math.Max(projected, hidden));
            double rows = Math.Max(Math.Max(options.Vocabulary, options.Context + (double)options.FirstPosition), Math.Max(options.Segments, Math.Max(hidden, Math.Max(projected, options.Classes))));
            checks.ModelSize(spec, width * rows, inferred: (double)options.MaxBatch * options.Context * widest, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        BertOptions options = BertOptions.Of(spec, preset);
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
        .. options.FirstPosition == 0 ? Array.Empty<FileOption>() : [FileOption.Of("FirstPosition", options.FirstPosition) with { Absent = "0" }],
        .. Unusual("PreNorm", options.PreNorm, false),
        .. Unusual("GatedFeedForward", options.GatedFeedForward, false),
        .. Unusual("Bias", options.Bias, true),
        .. Unusual("FeedForwardInputBias", options.FeedForwardInputBias, options.Bias),
        .. Unusual("NormBias", options.NormBias, true),
        .. options.Attention.Files,
        .. options.Attention.Positions == PositionEncoding.Rotary ? options.Rotary.Files : [],
        FileOption.Of("Dropout", options.Dropout) with { TrainingOnly = true },
    ])
    {
        OptionalPrefixes = [options.Names.Scope + "."],
        Aliases = options.Head == BertHead.MaskedLm ? options.Names.Aliases : [],
        Buffers = options.Names.Buffers,
    };

    // Files of what BERT is say nothing of it.
    private static FileOption[] Unusual(string name, bool value, bool usual)
        => value == usual ? [] : [FileOption.Of(name, value) with { Absent = FileOption.Of(name, usual).Value }];

    /// <summary>The inputs of an entry point: padded sequences, and in training what they are compared with.</summary>
    private sealed record BertInputs(Dim Batch, Dim Time, Input Tokens, Input? Segments, Input Lengths, IReadOnlyList<Input> Targets)
    {
        public IReadOnlyList<Input> Sequences => Segments is null ? [Tokens, Lengths] : [Tokens, Segments, Lengths];

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
                new Input("tokens", sequences, options.Vocabulary), options.Segments == 0 ? null : new Input("segments", sequences, options.Segments) { Default = 0 },
                new Input("lengths", one, most + 1) { Default = most }, targets);
        }
    }

    /// <summary>
    /// The encoder and what may be on top. Blocks are those of Vaswani et al. 2017, with the norm behind each residual connection or, before each branch, in front of it; parameters are named as in the
    /// Hugging Face layout of the family.
    /// </summary>
    private sealed class Encoder
    {
        private static readonly Initializer Normal = Initializer.Normal(0.02);

        private readonly GraphBuilder _b;
        private readonly BertOptions _options;
        private readonly EncoderNames _names;
        private readonly BertInputs _inputs;
        private readonly BuildMode _mode;
        private readonly Value _table;
        private readonly Value _lengths;
        private readonly Value _hidden;

        private readonly RotaryAngles? _angles;

        private readonly Value[] _biases;

        public Encoder(GraphBuilder b, BertOptions options, BertInputs inputs, BuildMode mode)
        {
            (_b, _options, _names, _inputs, _mode) = (b, options, options.Names, inputs, mode);
            Value tokens = b.Add(inputs.Tokens, inputs.Tokens.InputName);
            Value? segments = inputs.Segments is { } ids ? b.Add(ids, ids.InputName) : null;
            _lengths = b.Add(inputs.Lengths, inputs.Lengths.InputName);
            Value x;
            using (b.Scope(_names.Scope))
            {
                using (b.Scope("embeddings"))
                {
                    _table = b.Parameter(_names.Tokens + ".weight", Shape.Of(options.Vocabulary, options.Width), Normal);
                    Value? positions = options.Attention.PositionTable(b, "position_embeddings.weight", options.Context + options.FirstPosition, options.Width);
                    positions = positions is { } all && options.FirstPosition > 0 ? b.Add(new SliceRows(options.FirstPosition, options.Context), "position_embeddings.rows", all) : positions;
                    Value? types = segments is null ? null : b.Parameter("token_type_embeddings.weight", Shape.Of(options.Segments, options.Width), Normal);
                    x = b.Add(new Embedding(), _names.Tokens, _table, tokens);
                    x = types is null ? x : b.Add(new Add(), "sum", x, b.Add(new Embedding(), "token_type_embeddings", types.Value, segments!.Value));
                    x = positions is null ? x : b.Add(new Add(), "sum", x, b.Add(new RowsAtPosition(tokens.Shape[1]), "position_embeddings", positions.Value));
                    x = b.Dropout("dropout", Norm(_names.EmbeddingsNorm, x), options.Dropout, mode);
                    _angles = options.Rotary.Angles(b, options.Attention.Positions, tokens.Shape[1], options.Context, options.Width / options.Heads);
                }

                using (b.Scope("encoder"))
                {
                    _biases = options.Attention.BiasTable(b, options.Heads, Normal);
                }

                for (int layer = 0; layer < options.Layers; layer++)
                {
                    using (b.Scope($"{_names.Layers}.{layer}"))
                    {
                        b.Recomputed = options.Recompute == Recomputation.Blocks ? new Recomputed(b.Qualify(""), 0) : default;
                        x = Block(layer, x);
                    }
                }

                b.Recomputed = default;
                x = options.PreNorm ? Norm(_names.FinalNorm, x) : x;
            }

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
            Value e = Sequences(_options.Embeddings);
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

        private Value Norm(string name, Value x) => _b.LayerNorm(name, x, _options.NormBias, _options.LayerNormEpsilon);

        private Value Block(int layer, Value x)
        {
            // The embeddings are normalized: where norms are before branches, ModernBERT's first one has none of its own (Warner et al. 2024, section 2.1.1).
            Value normed = !_options.PreNorm || (layer == 0 && _names.SharesFirstNorm) ? x : Norm(_names.AttentionNorm(_options.PreNorm), x);
            x = Residual(_names.AttentionOutput, _names.AttentionNorm(_options.PreNorm), x, Attend(layer, normed));
            normed = _options.PreNorm ? Norm(_names.FeedForwardNorm(_options.PreNorm), x) : x;
            return Residual(_names.FeedForwardOutput, _names.FeedForwardNorm(_options.PreNorm), x, FeedForward(normed));
        }

        private Value Attend(int layer, Value x)
        {
            int width = _options.Width, headWidth = width / _options.Heads;
            KeyRange range = _options.Attention.RangeOf(layer, isCausal: false) with { HasKeyLengths = true };
            Value q, k, v;
            if (_names.Projections is { Count: 1 } one)
            {
                Value all = _b.Linear(one[0], x, 3 * width, _options.Bias, Normal);
                Value Part(string name, int index) => _b.Add(new SliceColumns(index * width, width), one[0] + name, all);
                (q, k, v) = (Part(".q", 0), Part(".k", 1), Part(".v", 2));
            }
            else
            {
                Value Projected(int index) => _b.Linear(_names.Projections[index], x, width, _options.Bias, Normal);
                (q, k, v) = (Projected(0), Projected(1), Projected(2));
            }

            (q, k) = _angles?.Turn(_b, layer, range, q, k) ?? (q, k);
            var attention = new Attention(_options.Heads, _options.Heads, headWidth, 1 / Math.Sqrt(headWidth), range) { Bias = _options.Attention.BiasOf(isCausal: false) };
            return _b.Attend(_names.Attention, attention, [q, k, v, _lengths, .. _biases]);
        }

        /// <summary>activation(Wx + b) or, gated (Shazeer 2020), activation(a) ⊙ c of both halves of Wx + b.</summary>
        private Value FeedForward(Value x)
        {
            int hidden = (int)_options.FeedForward;
            if (!_options.GatedFeedForward)
            {
                return _b.Activate(_names.FeedForwardInput.Scope + ".act", _b.Linear(_names.FeedForwardInput.Name, x, hidden, _options.FeedForwardInputBias, Normal), _options.Activation);
            }

            Value both = _b.Linear(_names.FeedForwardInput.Name, x, 2 * hidden, _options.FeedForwardInputBias, Normal);
            Value Half(string name, int index) => _b.Add(new SliceColumns(index * hidden, hidden), $"{_names.FeedForwardInput.Scope}.{name}", both);
            return _b.Add(new Multiply(), _names.FeedForwardInput.Scope + ".hidden", _b.Activate(_names.FeedForwardInput.Scope + ".act", Half("input", 0), _options.Activation), Half("gate", 1));
        }

        // x + dropout(Wy + b), and its norm unless norms are before branches.
        private Value Residual(string output, string norm, Value x, Value y)
        {
            (string scope, string dense) = EncoderNames.Split(output);
            Value sum;
            using (_b.Scope(scope))
            {
                Value projected = _b.Dropout("dropout", _b.Linear(dense, y, _options.Width, _options.Bias, Normal), _options.Dropout, _mode);
                sum = _b.Add(new Add(), "residual", x, projected);
            }

            return _options.PreNorm ? sum : Norm(norm, sum);
        }

        private Value Sequences(Pooling pooling)
            => pooling == Pooling.FirstToken ? _b.Add(new SelectRow(0), "first", _hidden) : _b.MeanOverLengths("mean", _hidden, _lengths, _options.Heads);

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
                    Value features = _options.Head == BertHead.TokenClassifier ? _hidden : _options.ClassifierPooling == Pooling.None ? Pooled() : Sequences(_options.ClassifierPooling);
                    features = _names.ClassifiersTransform ? Transformed(features) : features;
                    return _b.Linear("classifier", _b.Dropout("dropout", features, _options.Dropout, _mode), _options.Classes, bias: true, Normal);
                default:
                    Value x = Transformed(_hidden);
                    using (_b.Scope(_names.Decoder))
                    {
                        Value product = _b.Add(new MatMul(MatMulForm.NT), "decoder.product", x, _table);
                        return _b.Add(new Add(), "decoder", product, _b.Parameter("bias", Shape.Of(_options.Vocabulary), Initializer.Zeros));
                    }
            }
        }

        // LN(activation(Wx + b))
        private Value Transformed(Value x)
        {
            using (_b.Scope(_names.Head))
            {
                return Norm(_names.HeadNorm, _b.Activate("act", _b.Linear("dense", x, _options.Width, _names.HeadHasBias || _options.Bias, Normal), _options.Activation));
            }
        }
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record BertOptions(int Layers, int Width, int Heads, int Vocabulary, int Context)
{
    public SelfAttentionOptions Attention { get; private init; } = null!;

    public long FeedForward { get; private init; }

    public EncoderNames Names { get; private init; } = null!;

    public RotaryOptions Rotary { get; private init; } = null!;

    public bool PreNorm { get; private init; }

    public bool GatedFeedForward { get; private init; }

    /// <summary>Whether the projections of attention and of the feed-forward network have biases.</summary>
    public bool Bias { get; private init; }

    /// <summary>Whether the first layer of the feed-forward network has one.</summary>
    public bool FeedForwardInputBias { get; private init; }

    public bool NormBias { get; private init; }

    /// <summary>What a sequence's class is read from; <see cref="Pooling.None"/> for the pooler's output.</summary>
    public Pooling ClassifierPooling { get; private init; }

    public int Segments { get; private init; }

    /// <summary>The row of the table of positions that the first token has.</summary>
    public int FirstPosition { get; private init; }

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

    public static BertOptions Of(ModelSpec spec, EncoderPreset preset)
    {
        int width = spec.Int("DModel", 0);
        return new BertOptions(spec.Int("Layers", 0), width, spec.Int("Heads", 0), spec.Int("Vocab", 0), spec.Int("Context", 0))
        {
            Names = preset.Names,
            Attention = SelfAttentionOptions.Of(spec, AttentionDirections.Bidirectional, preset.Positions, hasRotary: true),
            Rotary = RotaryOptions.Of(spec, preset.RotaryBase, preset.WindowRotaryBase),
            PreNorm = spec.Flag("PreNorm", preset.PreNorm),
            GatedFeedForward = spec.Flag("GatedFeedForward", preset.GatedFeedForward),
            Bias = spec.Flag("Bias", preset.Bias),
            FeedForwardInputBias = spec.Flag("FeedForwardInputBias", spec.Flag("Bias", preset.Bias)),
            NormBias = spec.Flag("NormBias", preset.Bias),
            ClassifierPooling = spec.Choice("ClassifierPooling", preset.HasPooler ? Pooling.None : Pooling.FirstToken),
            FeedForward = spec.Size("FeedForward", 0) is not 0 and int given ? given : 4L * width,
            Segments = spec.Int("Segments", preset.Segments),
            FirstPosition = Math.Max(0, spec.Int("FirstPosition", 0)),
            Activation = spec.Choice("Activation", Activation.Gelu),
            Head = spec.Choice("Head", BertHead.None),
            Classes = spec.Int("Classes", 0),
            NextSentence = spec.Flag("NextSentence", false),
            Pooler = spec.Flag("Pooler", preset.HasPooler),
            Embeddings = spec.Choice("Embeddings", Pooling.None),
            Normalize = spec.Flag("Normalize", false),
            MaxBatch = CommonPrograms.MaxBatch(spec),
            LayerNormEpsilon = spec.Real("LayerNormEpsilon", preset.LayerNormEpsilon),
            Dropout = spec.Real("Dropout", 0),
            Recompute = spec.Choice("Recompute", Recomputation.None),
        };
    }
}

/// <summary>The defaults of an encoder's options and the names of its parameters, under the name of the attribute that has them.</summary>
internal sealed record EncoderPreset(string Name, EncoderNames Names)
{
    public static IReadOnlyList<EncoderPreset> All { get; } =
    [
        new("Bert", EncoderNames.Bert),
        new("ModernBert", EncoderNames.ModernBert)
        {
            Segments = 0, Positions = PositionEncoding.Rotary, RotaryBase = 160_000, WindowRotaryBase = 10_000, PreNorm = true, GatedFeedForward = true, Bias = false, HasPooler = false, LayerNormEpsilon = 1e-5,
        },
    ];

    public int Segments { get; init; } = 2;

    public PositionEncoding Positions { get; init; } = PositionEncoding.Learned;

    public double RotaryBase { get; init; } = 10_000;

    /// <summary>0 where it is <see cref="RotaryBase"/>.</summary>
    public double WindowRotaryBase { get; init; }

    public bool PreNorm { get; init; }

    public bool GatedFeedForward { get; init; }

    public bool Bias { get; init; } = true;

    public bool HasPooler { get; init; } = true;

    public double LayerNormEpsilon { get; init; } = 1e-12;
}

/// <summary>What a layout of Hugging Face's calls the parameters of an encoder.</summary>
internal sealed record EncoderNames(string Scope, string Tokens, string EmbeddingsNorm, string Layers, IReadOnlyList<string> Projections, string Attention, string AttentionOutput, string FeedForwardOutput)
{
    /// <summary>That of BERT and, with norms before branches, of RoBERTa-PreLayerNorm.</summary>
    public static EncoderNames Bert { get; } = new(
        "bert", "word_embeddings", "LayerNorm", "encoder.layer", ["attention.self.query", "attention.self.key", "attention.self.value"], "attention.self", "attention.output.dense", "output.dense")
    {
        FeedForwardInput = ("intermediate", "intermediate.dense"),
        FinalNorm = "LayerNorm",
        Head = "cls.predictions.transform",
        HeadNorm = "LayerNorm",
        Decoder = "cls.predictions",
        HeadHasBias = true,
        Aliases = [("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"), ("cls.predictions.decoder.bias", "cls.predictions.bias")],
        Buffers = [("bert.embeddings.position_ids", 2), ("bert.embeddings.token_type_ids", 2)],
    };

    /// <summary>That of ModernBERT (Warner et al. 2024).</summary>
    public static EncoderNames ModernBert { get; } = new("model", "tok_embeddings", "norm", "layers", ["attn.Wqkv"], "attn", "attn.Wo", "mlp.Wo")
    {
        FeedForwardInput = ("mlp", "mlp.Wi"),
        FinalNorm = "final_norm",
        Head = "head",
        HeadNorm = "norm",
        Decoder = "decoder",
        SharesFirstNorm = true,
        ClassifiersTransform = true,
        Aliases = [("decoder.weight", "model.embeddings.tok_embeddings.weight")],
    };

    /// <summary>The scope of the feed-forward network's values, and the name of its first layer.</summary>
    public (string Scope, string Name) FeedForwardInput { get; private init; }

    public string FinalNorm { get; private init; } = "";

    /// <summary>The scope of what comes before the logits of masked tokens.</summary>
    public string Head { get; private init; } = "";

    public string HeadNorm { get; private init; } = "";

    /// <summary>The scope of the bias of masked tokens' logits.</summary>
    public string Decoder { get; private init; } = "";

    /// <summary>Whether the head's linear layer has a bias whatever the blocks have.</summary>
    public bool HeadHasBias { get; private init; }

    /// <summary>Whether, with norms before branches, the first layer's attention has none beside that of the embeddings.</summary>
    public bool SharesFirstNorm { get; private init; }

    /// <summary>Whether classifiers have the linear layer, activation and norm that masked tokens have.</summary>
    public bool ClassifiersTransform { get; private init; }

    public IReadOnlyList<(string Name, string Parameter)> Aliases { get; private init; } = [];

    public IReadOnlyList<(string Pattern, int Rank)> Buffers { get; private init; } = [];

    public static (string Scope, string Name) Split(string name)
    {
        int dot = name.LastIndexOf('.');
        return (name.Substring(0, dot), name.Substring(dot + 1));
    }

    public string AttentionNorm(bool isBefore) => Projections.Count == 1 ? "attn_norm" : isBefore ? "attention.LayerNorm" : "attention.output.LayerNorm";

    public string FeedForwardNorm(bool isBefore) => Projections.Count == 1 ? "mlp_norm" : isBefore ? "intermediate.LayerNorm" : "output.LayerNorm";
}
