using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Programs;

/// <summary>
/// The entry points, session and trainer that models from one sequence to another share, with a program that has everything they may
/// have: keys and values that the encoder fills, attention over the target's past, a carried state that the encoder begins and
/// the decoder goes on with, and a memory that is read otherwise than by attention.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class EncoderDecoderTests
{
    private const int SourceVocabulary = 9;
    private const int TargetVocabulary = 7;
    private const int SourceContext = 6;
    private const int TargetContext = 5;
    private const int Width = 8;
    private const int MaxBatch = 4;
    private const int Batch = 3;

    private const string Drivers = """
            public static Action Goes(EncoderDecoderSession session, int[] source, int[] tokens)
                => () => { for (int row = 0; row < session.Batch; row++) { session.Encode(row, source); } session.Decode(tokens); session.Decode(tokens); };
            public static EncoderDecoderSession Session(Tests.Model model, int threads, int batch) => Of<Tests.Model>(model, new SessionOptions { Threads = threads, Batch = batch });
            private static EncoderDecoderSession Of<TModel>(TModel model, SessionOptions options) where TModel : IEncoderDecoderModel<TModel> => model.CreateSession(options);
            public static int[] Sizes() => SizesOf<Tests.Model>();
            private static int[] SizesOf<TModel>() where TModel : ITrainableEncoderDecoderModel<TModel>
                => new[] { TModel.SourceVocabularySize, TModel.TargetVocabularySize, TModel.SourceContextLength, TModel.TargetContextLength, TModel.TrainingBatchSize, TModel.TrainingSourceLength, TModel.TrainingSequenceLength };
            public static Action Steps(SequencePairTrainer trainer, int[] source, int[] lengths, int[] inputs, int[] targets) => () => trainer.Step(source, lengths, inputs, targets);
        """;

    private static readonly Lazy<ProgramModel> Model = new(() => new ProgramModel(Program(), Drivers));

    private static ModelProgram Program()
    {
        ModelSpec spec = ProgramModel.Spec with { Arguments = [DeclaredArgument.Of("MaxBatch", MaxBatch)], Training = new TrainingSpec(Batch, 4) { SourceLength = 5 } };
        return CommonPrograms.EncoderDecoder(spec, new EncoderDecoderSizes(SourceVocabulary, TargetVocabulary, SourceContext, TargetContext, DecodesWithLengths: true), new EncoderDecoderGraphs(Encode, Decode, Train));
    }

    // The source's rows, and what a recurrence begins with: their sum, where they count (everywhere without lengths).
    private static (Value Rows, Value First) Encoder(GraphBuilder b, Input source, Input? lengths)
    {
        Value x = b.Add(new Embedding(), "encoder.embedding", Table(b, "encoder.embedding.weight", SourceVocabulary), b.Add(source, "source"));
        x = b.Add(new Tanh(), "encoder.rows", b.Linear("encoder.fc", x, Width, true, Initializer.Normal(0.3)));
        Value counted = x;
        if (lengths is not null)
        {
            Value counts = b.Add(new LengthMask(x.Shape[1].Maximum), "encoder.counts", b.Add(lengths, "sourceLengths"));
            counts = b.Add(new Reshape(Shape.Of(x.Shape[0], x.Shape[1], 1)), "encoder.counts", counts);
            counted = b.Add(new Where(), "encoder.counted", counts, x, b.Add(new ModelGen.Compiler.Ops.Constant(0, Shape.Scalar), "zero"));
        }

        Value sum = b.Add(new ColumnSum(Shape.Of(x.Shape[0], 1, Width)), "encoder.sum", counted);
        return (x, b.Add(new Reshape(Shape.Of(x.Shape[0], Width)), "encoder.first", sum));
    }

    private static Value Table(GraphBuilder b, string name, int rows) => b.Parameter(name, Shape.Of(rows, Width), Initializer.Normal(0.3));

    private static Value Keys(GraphBuilder b, string name, Value rows) => b.Linear("memory." + name, rows, Width, true, Initializer.Normal(0.3));

    private static ModelGraph Encode(Input source)
    {
        var b = new GraphBuilder();
        (Value rows, Value first) = Encoder(b, source, lengths: null);
        b.Remember("keys", Keys(b, "keys", rows), SourceContext);
        b.Remember("values", Keys(b, "values", rows), SourceContext);
        b.Remember("rows", rows, SourceContext);
        b.UpdateState("carried", first);
        return b.Build();
    }

    // Logits from the target's tokens, by a cell over time, attention over its past, and two ways to look at the source.
    private static (Value Logits, Value Carried) Decoder(GraphBuilder b, Input tokens, Input lengths, Value keys, Value values, Value rows, Value carried)
    {
        Dim batch = tokens.Type.Shape[0], steps = tokens.Type.Shape[1];
        Value x = b.Add(new Embedding(), "decoder.embedding", Table(b, "decoder.embedding.weight", TargetVocabulary), b.Add(tokens, tokens.InputName));
        x = b.Add(new Add(), "decoder.placed", x, b.Add(new RowsAtPosition(steps), "decoder.position", Table(b, "decoder.position.weight", TargetContext)));
        Value timeMajor = b.Add(new Permute([1, 0, 2]), "decoder.time_major", x);
        var step = new GraphBuilder();
        Value h = step.Add(new BodyInput(BodyInputKind.Carry, 0, TensorType.Float(Shape.Of(batch, Width))), "h");
        Value input = step.Add(new BodyInput(BodyInputKind.Sequence, 0, TensorType.Float(Shape.Of(batch, Width))), "x");
        Value weight = b.Parameter("decoder.cell.weight", Shape.Of(Width, Width), Initializer.Normal(0.3));
        Value inner = step.Add(new BodyInput(BodyInputKind.Invariant, 0, weight.Type), "w");
        step.Output("h", step.Add(new Tanh(), "h", step.Add(new Add(), "sum", input, step.Add(new MatMul(MatMulForm.NT), "product", h, inner))));
        Value[] states = b.AddMany(new Scan(step.Build(), steps, Reverse: false, 1, 1), "decoder.cell", [carried, timeMajor, weight]);
        x = b.Add(new Permute([1, 0, 2]), "decoder.cells", states[Scan.After(0)]);
        x = b.Add(new Add(), "decoder.self", x, b.Add(new Attention(2, 2, Width / 2, 0.5, KeyRange.Causal), "decoder.self_attn", x, Keys(b, "self.keys", x), Keys(b, "self.values", x)));
        var range = KeyRange.All with { HasKeyLengths = true };
        Value given = b.Add(lengths, lengths.InputName);
        Value crossed = b.Add(new Attention(2, 2, Width / 2, 0.5, range), "decoder.cross_attn", x, keys, values, given);
        Value looked = b.Add(new Attention(1, 1, Width, 0.5, range), "decoder.look", x, b.Add(new Tanh(), "decoder.looked_at", rows), rows, given);
        return (b.Linear("head", b.Add(new Add(), "decoder.out", x, b.Add(new Add(), "decoder.seen", crossed, looked)), TargetVocabulary, true, Initializer.Normal(0.3)), states[Scan.Final(0)]);
    }

    private static ModelGraph Decode(Input tokens, Input? lengths)
    {
        var b = new GraphBuilder();
        Dim batch = tokens.Type.Shape[0];
        Value Memory(string name) => b.Recall(name, batch, SourceContext, Width);
        (Value logits, Value carried) = Decoder(b, tokens, lengths!, Memory("keys"), Memory("values"), Memory("rows"), b.Add(new StateRead("carried", Shape.Of(batch, Width)), "carried"));
        b.UpdateState("carried", carried);
        b.Output("logits", logits);
        return b.Build();
    }

    private static ModelGraph Train(Input source, Input lengths, Input inputs, Input targets)
    {
        var b = new GraphBuilder();
        (Value rows, Value first) = Encoder(b, source, lengths);
        (Value logits, _) = Decoder(b, inputs, lengths, Keys(b, "keys", rows), Keys(b, "values", rows), rows, first);
        b.Output("logits", logits);
        b.Loss(b.Add(new CrossEntropy(), "loss.rows", logits, b.Add(targets, "targets")));
        return b.Build();
    }

    private static (int[] Source, int[] Target)[] Pairs(int count, int seed)
    {
        var random = new Random(seed);
        int[] Draw(int most, int classes) => [.. Enumerable.Range(0, 1 + random.Next(most)).Select(_ => random.Next(classes))];
        return [.. Enumerable.Range(0, count).Select(_ => (Draw(5, SourceVocabulary), Draw(4, TargetVocabulary)))];
    }

    // Batches as a trainer takes them; 0 stands before a target and in the padding.
    private static (int[] Source, int[] Lengths, int[] Inputs, int[] Targets) Padded((int[] Source, int[] Target)[] pairs) => (
        [.. pairs.SelectMany(p => p.Source.Concat(Enumerable.Repeat(0, 5 - p.Source.Length)))],
        [.. pairs.Select(p => p.Source.Length)],
        [.. pairs.SelectMany(p => p.Target.Prepend(0).Concat(Enumerable.Repeat(0, 4)).Take(4))],
        [.. pairs.SelectMany(p => p.Target.Concat(Enumerable.Repeat(-1, 4)).Take(4))]);

    private static double LogProbability(ReadOnlySpan<float> logits, int token)
    {
        double maximum = double.NegativeInfinity, sum = 0;
        foreach (float x in logits)
        {
            maximum = Math.Max(maximum, x);
        }

        foreach (float x in logits)
        {
            sum += Math.Exp(x - maximum);
        }

        return logits[token] - maximum - Math.Log(sum);
    }

    [Fact]
    public void A_step_is_what_the_interpreter_computes()
    {
        ProgramModel model = Model.Value;
        Assert.Equal([SourceVocabulary, TargetVocabulary, SourceContext, TargetContext, Batch, 5, 4], model.Call<int[]>("Sizes"));
        using var trainer = (SequencePairTrainer)model.CreateTrainer(new Sgd { LearningRate = 0 });
        (int[] source, int[] lengths, int[] inputs, int[] targets) = Padded(Pairs(Batch, 5));
        Tensor Of(int[] values, params int[] dims) => new(dims, [.. values.Select(v => (double)v)]);
        RunResults expected = model.Expected("Step", new() { ["source"] = Of(source, Batch, 5), ["sourceLengths"] = Of(lengths, Batch), ["inputs"] = Of(inputs, Batch, 4), ["targets"] = Of(targets, Batch, 4) }, lossNormalizer: 1.0 / targets.Count(t => t >= 0));
        Assert.Equal(expected.Outputs["loss"].Data[0], trainer.Step(source, lengths, inputs, targets), 1e-5);
        foreach ((string name, Tensor gradient) in expected.Gradients)
        {
            GradientCheck.Near(gradient, new Tensor(gradient.Dims, [.. trainer.Gradient(name).ToArray().Select(g => (double)g)]), 1e-5, 1e-4, name);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Decoding_gives_the_probabilities_of_teacher_forcing(int threads)
    {
        ProgramModel model = Model.Value;
        using var trainer = (SequencePairTrainer)model.CreateTrainer(new Sgd());
        using EncoderDecoderSession session = Session(model, threads, 1);
        foreach ((int[] source, int[] target) in Pairs(12, threads))
        {
            (int[] sources, int[] lengths, int[] inputs, int[] targets) = Padded([(source, target)]);
            double sum = 0;
            session.Encode(source);
            for (int i = 0; i < target.Length; i++)
            {
                sum += LogProbability(session.Decode(i == 0 ? 0 : target[i - 1]), target[i]);
            }

            Assert.Equal(trainer.Evaluate(sources, lengths, inputs, targets), -sum / target.Length, 1e-5);
            Assert.Equal(source.Length, session.SourceLength(0));
            Assert.Equal(target.Length, session.Position);
        }
    }

    [Fact]
    public void A_source_is_encoded_in_as_many_steps_as_it_has_tokens()
    {
        ModelSpec spec = ProgramModel.Spec with { Arguments = [DeclaredArgument.Of("Hidden", 8), DeclaredArgument.Of("SourceVocab", 5), DeclaredArgument.Of("TargetVocab", 5), DeclaredArgument.Of("SourceContext", 7)] };
        Input source = Assert.Single(new RecurrentSeq2Seq().Describe(spec).Entries.Single(e => e.Name == "Encode").Inputs);
        Assert.False(source.Type.Shape[1].IsLiteral);
        Assert.Equal(7, source.Type.Shape[1].Maximum);
    }

    [Fact]
    public void Each_of_several_sequences_is_bit_for_bit_that_of_a_session_of_its_own()
    {
        ProgramModel model = Model.Value;
        using EncoderDecoderSession several = Session(model, 3, MaxBatch);
        EncoderDecoderSession[] alone = [.. Enumerable.Range(0, MaxBatch).Select(_ => Session(model, 1, 1))];
        var random = new Random(3);
        Span<int> tokens = stackalloc int[MaxBatch];
        for (int turn = 0; turn < 60; turn++)
        {
            for (int row = 0; row < MaxBatch; row++)
            {
                if (alone[row].SourceLength(0) == 0 || alone[row].Position == TargetContext || random.Next(9) == 0)
                {
                    int[] source = [.. Enumerable.Range(0, 1 + random.Next(SourceContext)).Select(_ => random.Next(SourceVocabulary))];
                    several.Encode(row, source);
                    alone[row].Encode(source);
                }

                tokens[row] = random.Next(3) == 0 ? -1 : random.Next(TargetVocabulary);
            }

            ReadOnlySpan<float> logits = several.Decode(tokens);
            for (int row = 0; row < MaxBatch; row++)
            {
                Assert.Equal(alone[row].Decode(tokens.Slice(row, 1)).ToArray(), logits.Slice(row * TargetVocabulary, TargetVocabulary).ToArray());
                Assert.Equal(alone[row].Position, several.Positions[row]);
            }
        }

        Array.ForEach(alone, session => session.Dispose());
    }

    [Fact]
    public void What_a_caller_passes_is_checked()
    {
        ProgramModel model = Model.Value;
        using EncoderDecoderSession session = Session(model, 1, 2);
        Assert.Contains("Sequence 1 of the session has no source", Assert.Throws<InvalidOperationException>(() => session.Decode([-1, 0])).Message, StringComparison.Ordinal);
        session.Encode(1, [3, 1]);
        float[] before = session.Decode([-1, 2]).ToArray();
        Assert.Throws<ArgumentException>(() => session.Encode(1, []));
        Assert.Throws<ArgumentException>(() => session.Encode(1, new int[SourceContext + 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Encode(1, [0, SourceVocabulary]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Encode(2, [0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Decode([-1, TargetVocabulary]));
        Assert.Throws<InvalidOperationException>(() => session.Decode(0));
        Assert.Equal(before, session.Decode([-1, -1]).ToArray());
        Assert.Equal([0, 1], session.Positions);
        for (int step = 1; step < TargetContext; step++)
        {
            session.Decode([-1, 0]);
        }

        Assert.Throws<InvalidOperationException>(() => session.Decode([-1, 0]));
        session.Reset(1);
        Assert.Throws<InvalidOperationException>(() => session.Decode([-1, 0]));

        using var trainer = (SequencePairTrainer)model.CreateTrainer(new Sgd());
        (int[] source, int[] lengths, int[] inputs, int[] targets) = Padded(Pairs(Batch, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => trainer.Step(source, [6, 1, 1], inputs, targets));
        Assert.Throws<ArgumentOutOfRangeException>(() => trainer.Step(source, lengths, [.. inputs.Select(_ => TargetVocabulary)], targets));
        Assert.Throws<ArgumentException>(() => trainer.Step(source[1..], lengths, inputs, targets));
        Assert.Throws<ArgumentException>(() => trainer.Step(source, lengths, inputs, [.. targets.Select(_ => -1)]));
        Assert.Equal(0, trainer.StepCount);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        ProgramModel model = Model.Value;
        using EncoderDecoderSession session = Session(model, 2, MaxBatch);
        using var trainer = (SequencePairTrainer)model.CreateTrainer(new AdamW { LearningRate = 0 });
        (int[] source, int[] lengths, int[] inputs, int[] targets) = Padded(Pairs(Batch, 6));
        Assert.Equal(0, Allocated.Least(model.Action("Goes", session, new[] { 1, 2, 3 }, new[] { 1, 2, -1, 4 })));
        Assert.Equal(0, Allocated.Least(model.Action("Steps", trainer, source, lengths, inputs, targets)));
    }

    private static EncoderDecoderSession Session(ProgramModel model, int threads, int batch) => model.Call<EncoderDecoderSession>("Session", model.Instance, threads, batch);
}
