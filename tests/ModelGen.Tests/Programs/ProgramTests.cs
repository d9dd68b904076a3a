using System.Reflection;
using ModelGen.Compiler;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Programs;

/// <summary>What a model may be beyond what today's families are: programs of several inputs, losses, groups and states.</summary>
[Collection(SerialCollection.Name)]
public sealed class ProgramTests
{
    private const double Tolerance = 1e-5;

    // ---------------------------------------------------------------- two losses over two groups

    private const int Batch = 5;
    private const int Classes = 3;
    private const int Noise = 6;
    private const int Features = 4;

    private const string AdversarialDriver = """
            public static float[] Generate(Tests.Model.Session session, float[] noise, int[] labels)
            {
                var sample = new float[labels.Length * 4];
                session.Generate(noise, labels, sample);
                return sample;
            }

            public static float StepCritic(Tests.Model.Trainer trainer, float[] real, float[] noise, int[] labels) => trainer.StepCritic(real, noise, labels);
            public static float StepGenerator(Tests.Model.Trainer trainer, float[] noise, int[] labels) => trainer.StepGenerator(noise, labels);
            public static float Evaluate(Tests.Model.Trainer trainer, float[] noise, int[] labels) => trainer.EvaluateGenerator(noise, labels);
            public static Action Steps(Tests.Model.Trainer trainer, float[] real, float[] noise, int[] labels)
                => () => { trainer.StepCritic(real, noise, labels); trainer.StepGenerator(noise, labels); trainer.EvaluateGenerator(noise, labels); };
            public static Action Generates(Tests.Model.Session session, float[] noise, int[] labels)
            {
                var sample = new float[labels.Length * 4];
                return () => session.Generate(noise, labels, sample);
            }
        """;

    private static readonly Lazy<ProgramModel> Adversarial = new(() => new ProgramModel(AdversarialProgram(), AdversarialDriver));

    private static ModelProgram AdversarialProgram()
    {
        Dim batch = Dim.Batch(Batch);
        var real = new Input("real", TensorType.Float(Shape.Of(batch, Features)), 0);
        var noise = new Input("noise", TensorType.Float(Shape.Of(batch, Noise)), 0);
        var labels = new Input("labels", TensorType.Int(Shape.Of(batch)), Classes);

        Value Generator(GraphBuilder b)
        {
            using (b.Scope("generator"))
            {
                Value x = b.Linear("fc1", b.Add(noise, "noise"), 9, true, Initializer.Normal(0.3));
                Value condition = b.Add(new Embedding(), "condition", b.Parameter("condition.weight", Shape.Of(Classes, 9), Initializer.Normal(0.3)), b.Add(labels, "labels"));
                return b.Linear("fc2", b.Add(new Tanh(), "hidden", b.Add(new Add(), "conditioned", x, condition)), Features, true, Initializer.Normal(0.3));
            }
        }

        Value Critic(GraphBuilder b, Value x, string pass)
        {
            using (b.Scope("critic"))
            {
                Value hidden = b.Add(new Tanh(), "hidden." + pass, b.Linear("fc1", x, 7, true, Initializer.Normal(0.3)));
                return b.Linear("fc2", hidden, 1, true, Initializer.Normal(0.3));
            }
        }

        ModelGraph Graph(Action<GraphBuilder> build)
        {
            var b = new GraphBuilder();
            build(b);
            return b.Build();
        }

        Value Minus(GraphBuilder b, Value x) => b.Add(new Affine(-1, 0), "", x);
        ModelGraph CriticLoss() => Graph(b => b.Loss(b.Add(
            new Add(),
            "critic.loss",
            b.Add(new Softplus(), "critic.loss.real", Minus(b, Critic(b, b.Add(real, "real"), "real"))),
            b.Add(new Softplus(), "critic.loss.fake", Critic(b, Generator(b), "fake")))));
        ModelGraph GeneratorLoss() => Graph(b => b.Loss(b.Add(new Softplus(), "generator.loss", Minus(b, Critic(b, Generator(b), "fake")))));
        return new ModelProgram(ProgramAdapter.None,
        [
            new EntryPoint("Generate", EntryKind.Infer, [noise, labels], ["sample"], () => Graph(b => b.Output("sample", Generator(b)))) { Batch = Dim.Batch(11) },
            new EntryPoint("StepCritic", EntryKind.Step, [real, noise, labels], ["loss"], CriticLoss) { Batch = Batch, Group = ParameterGroup.Of("critic.") },
            new EntryPoint("StepGenerator", EntryKind.Step, [noise, labels], ["loss"], GeneratorLoss) { Batch = Batch, Group = ParameterGroup.Of("generator.") },
            new EntryPoint("EvaluateGenerator", EntryKind.Evaluate, [noise, labels], ["losses"], GeneratorLoss) { Batch = Batch },
        ])
        { Training = new TrainingSpec(Batch, 1) };
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(11)]
    public void Two_inputs_of_a_varying_number_of_rows(int rows)
    {
        ProgramModel model = Adversarial.Value;
        (float[] noise, int[] labels) = (Floats(rows * Noise, 1), Ints(rows, Classes, 2));
        using ModelSession session = model.CreateSession();
        float[] sample = model.Call<float[]>("Generate", session, noise, labels);
        Tensor expected = model.Expected("Generate", new() { ["noise"] = Of(noise, rows, Noise), ["labels"] = Of(labels, rows) }, count: rows).Outputs["sample"];
        Near(expected.Data, sample, "sample");
        using ModelSession other = model.CreateSession(threads: 3);
        Assert.Equal(sample, model.Call<float[]>("Generate", other, noise, labels));
    }

    [Fact]
    public void Two_losses_update_a_group_each()
    {
        ProgramModel model = Adversarial.Value;
        (float[] real, float[] noise, int[] labels) = (Floats(Batch * Features, 3), Floats(Batch * Noise, 4), Ints(Batch, Classes, 5));
        Dictionary<string, Tensor> inputs = new() { ["real"] = Of(real, Batch, Features), ["noise"] = Of(noise, Batch, Noise), ["labels"] = Of(labels, Batch) };
        using Trainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0.1f });
        foreach ((string step, string group) in new[] { ("StepCritic", "critic."), ("StepGenerator", "generator."), ("StepCritic", "critic.") })
        {
            RunResults expected = model.Expected(step, inputs, lossNormalizer: 1.0 / Batch);
            Dictionary<string, float[]> before = model.Parameters.ToDictionary(p => p.Name, p => model.Parameter(p.Name));
            object[] arguments = step == "StepCritic" ? [trainer, real, noise, labels] : [trainer, noise, labels];
            Assert.Equal(expected.Outputs["loss"].Data[0], model.Call<float>(step, arguments), Tolerance);
            Assert.Equal(model.Parameters.Where(p => p.Name.StartsWith(group, StringComparison.Ordinal)).Select(p => p.Name).Order(), expected.Gradients.Keys.Order());
            double squares = 0;
            foreach (string name in before.Keys)
            {
                if (!name.StartsWith(group, StringComparison.Ordinal))
                {
                    Assert.Equal(before[name], model.Parameter(name));
                    continue;
                }

                double[] gradient = expected.Gradients[name].Data;
                squares += gradient.Sum(g => g * g);
                Near(gradient, model.Call<float[]>("Gradient", trainer, name), step + " " + name);
                Near([.. gradient.Zip(before[name], (g, w) => w - (0.1 * g))], model.Parameter(name), step + " updated " + name);
            }

            Assert.Equal(Math.Sqrt(squares), trainer.GradientNorm, Tolerance);
        }

        Assert.Equal(3, trainer.StepCount);
    }

    [Fact]
    public void An_evaluations_last_batch_may_be_short()
    {
        ProgramModel model = Adversarial.Value;
        using Trainer trainer = model.CreateTrainer(new Sgd());
        foreach (int examples in new[] { 1, Batch, Batch + 2, 3 * Batch })
        {
            (float[] noise, int[] labels) = (Floats(examples * Noise, 6), Ints(examples, Classes, 7));
            double expected = 0;
            for (int i = 0; i < examples; i++)
            {
                // Each example for itself, in the first of a batch's rows.
                float[] one = [.. noise[(i * Noise)..((i + 1) * Noise)], .. new float[(Batch - 1) * Noise]];
                int[] label = [labels[i], .. new int[Batch - 1]];
                expected += model.Expected("EvaluateGenerator", new() { ["noise"] = Of(one, Batch, Noise), ["labels"] = Of(label, Batch) }).Outputs["losses"].Data[0];
            }

            Assert.Equal(expected / examples, model.Call<float>("Evaluate", trainer, noise, labels), Tolerance);
        }
    }

    [Fact]
    public void What_a_caller_passes_is_checked_by_the_entry_point()
    {
        ProgramModel model = Adversarial.Value;
        using ModelSession session = model.CreateSession();
        using Trainer trainer = model.CreateTrainer(new Sgd(), accumulation: 2);
        ArgumentOutOfRangeException id = Assert.Throws<ArgumentOutOfRangeException>(() => model.Call<float[]>("Generate", session, new float[2 * Noise], new[] { 0, Classes }));
        Assert.Contains("labels at index 1", id.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => model.Call<float[]>("Generate", session, new float[2 * Noise], new int[3]));
        Assert.Throws<ArgumentException>(() => model.Call<float[]>("Generate", session, new float[(2 * Noise) + 1], new int[2]));
        Assert.Throws<ArgumentException>(() => model.Call<float[]>("Generate", session, new float[12 * Noise], new int[12]));
        ArgumentException length = Assert.Throws<ArgumentException>(() => model.Call<float>("StepGenerator", trainer, new float[2 * Batch * Noise], new int[Batch]));
        Assert.Equal("labels", length.ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Call<float>("StepGenerator", trainer, new float[2 * Batch * Noise], Enumerable.Repeat(-1, 2 * Batch).ToArray()));
        Assert.Equal(0, trainer.StepCount);
    }

    [Fact]
    public void Steps_allocate_nothing_and_do_not_depend_on_threads()
    {
        (float[] real, float[] noise, int[] labels) = (Floats(Batch * Features, 8), Floats(Batch * Noise, 9), Ints(Batch, Classes, 10));
        var weights = new List<float[][]>();
        foreach (int threads in new[] { 1, 2, 3 })
        {
            var model = new ProgramModel(AdversarialProgram(), AdversarialDriver);
            using Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, threads);
            for (int step = 0; step < 5; step++)
            {
                model.Call<float>("StepCritic", trainer, real, noise, labels);
                model.Call<float>("StepGenerator", trainer, noise, labels);
            }

            weights.Add([.. model.Parameters.Select(p => model.Parameter(p.Name))]);
        }

        Assert.Equal(weights[0], weights[1]);
        Assert.Equal(weights[0], weights[2]);
        ProgramModel measured = Adversarial.Value;
        using Trainer stepped = measured.CreateTrainer(new AdamW { LearningRate = 0 });
        using ModelSession session = measured.CreateSession();
        Assert.Equal(0, Allocated.Least(measured.Action("Steps", stepped, real, noise, labels)));
        Assert.Equal(0, Allocated.Least(measured.Action("Generates", session, noise, labels)));
    }

    /// <summary>Each entry point counts its own steps, for the optimizer and the schedule.</summary>
    [Fact]
    public void Training_of_two_groups_resumes_bit_for_bit()
    {
        using var file = new TemporaryFile();
        (float[] real, float[] noise, int[] labels) = (Floats(Batch * Features, 8), Floats(Batch * Noise, 9), Ints(Batch, Classes, 10));
        var whole = new ProgramModel(AdversarialProgram(), AdversarialDriver);
        using (Trainer trainer = whole.CreateTrainer(Optimizer()))
        {
            Train(whole, trainer, 0, 7);
            trainer.SaveCheckpoint(file.Path);
            Train(whole, trainer, 7, 12);
        }

        var resumed = new ProgramModel(AdversarialProgram(), AdversarialDriver);
        using Trainer second = resumed.CreateTrainer(Optimizer());
        second.LoadCheckpoint(file.Path);
        Assert.Empty(second.ChangedSettings);
        Train(resumed, second, 7, 12);
        Assert.All(whole.Parameters, parameter => Assert.Equal(whole.Parameter(parameter.Name), resumed.Parameter(parameter.Name)));

        static AdamW Optimizer() => new() { LearningRate = 0.01f, Schedule = new WarmupCosine(3, 10) };

        void Train(ProgramModel model, Trainer trainer, int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                if (step % 3 == 0)
                {
                    model.Call<float>("StepGenerator", trainer, noise, labels);
                }
                else
                {
                    model.Call<float>("StepCritic", trainer, real, noise, labels);
                }
            }
        }
    }

    // ---------------------------------------------------------------- a state between entry points

    private const int Source = 7;
    private const int Vocabulary = 13;
    private const int Width = 12;

    private const string TranslationDriver = """
            public static object Encode(Tests.Model.Session session, int[] source) { session.Encode(source); return session; }
            public static float[] Decode(Tests.Model.Session session, int[] token) => session.Decode(token).ToArray();
            public static Action Both(Tests.Model.Session session, int[] source, int[] token) => () => { session.Encode(source); session.Decode(token); };
        """;

    private static ModelProgram TranslationProgram()
    {
        var source = new Input("source", TensorType.Int(Shape.Of(1, Source)), Vocabulary);
        var token = new Input("token", TensorType.Int(Shape.Of(1, 1)), Vocabulary);
        ModelGraph Encode()
        {
            var b = new GraphBuilder();
            Value x = b.Add(new Embedding(), "encoder.embedding", b.Parameter("embedding.weight", Shape.Of(Vocabulary, Width), Initializer.Normal(0.3)), b.Add(source, "source"));
            b.UpdateState("memory", b.Linear("encoder.fc", b.Add(new Tanh(), "encoder.hidden", x), Width, true, Initializer.Normal(0.3)));
            return b.Build();
        }

        ModelGraph Decode()
        {
            var b = new GraphBuilder();
            Value x = b.Add(new Embedding(), "decoder.embedding", b.Parameter("embedding.weight", Shape.Of(Vocabulary, Width), Initializer.Normal(0.3)), b.Add(token, "token"));
            Value carried = b.Add(new StateRead("carried", Shape.Of(1, 1, Width)), "carried");
            Value query = b.Add(new Tanh(), "decoder.query", b.Add(new Add(), "", b.Linear("decoder.fc", x, Width, true, Initializer.Normal(0.3)), carried));
            Value memory = b.Add(new StateRead("memory", Shape.Of(1, Source, Width)), "memory");
            Value attended = b.Add(new Attention(3, 3, 4, 0.5, KeyRange.All), "decoder.attention", query, memory, memory);
            b.UpdateState("carried", b.Add(new Add(), "decoder.carried", query, attended));
            b.Output("logits", b.Linear("head", attended, Vocabulary, true, Initializer.Normal(0.3)));
            return b.Build();
        }

        return new ModelProgram(ProgramAdapter.None,
        [
            new EntryPoint("Encode", EntryKind.Infer, [source], [], Encode),
            new EntryPoint("Decode", EntryKind.Infer, [token], ["logits"], Decode),
        ]);
    }

    [Fact]
    public void One_entry_point_fills_a_state_that_another_reads()
    {
        var model = new ProgramModel(TranslationProgram(), TranslationDriver);
        using ModelSession session = model.CreateSession();
        using ModelSession other = model.CreateSession(threads: 3);
        int[] source = Ints(Source, Vocabulary, 11);
        Dictionary<string, Tensor> state = [];
        foreach (int round in new[] { 0, 1 })
        {
            model.Call<object>("Encode", session, source);
            model.Call<object>("Encode", other, source);
            state["memory"] = model.Expected("Encode", new() { ["source"] = Of(source, 1, Source) }).State["memory"];
            foreach (int token in Ints(3, Vocabulary, 12 + round))
            {
                RunResults expected = model.Expected("Decode", new() { ["token"] = Of([token], 1, 1) }, state);
                float[] logits = model.Call<float[]>("Decode", session, new[] { token });
                Near(expected.Outputs["logits"].Data, logits, $"logits after {token}");
                Assert.Equal(logits, model.Call<float[]>("Decode", other, new[] { token }));
                state["carried"] = expected.State["carried"];
            }

            source = Ints(Source, Vocabulary, 20);
        }

        Assert.Equal(sizeof(float) * 16 * (((Source * Width) + 15) / 16 + ((Width + 15) / 16)), (long)model.Type.GetField("SessionStateBytes")!.GetRawConstantValue()!);
        session.Reset();
        Near(model.Expected("Decode", new() { ["token"] = Of([3], 1, 1) }).Outputs["logits"].Data, model.Call<float[]>("Decode", session, new[] { 3 }), "logits of an empty session");
        Assert.Equal(0, Allocated.Least(model.Action("Both", session, source, new[] { 2 })));
    }

    // ---------------------------------------------------------------- what only training has

    private const string NormalizedDriver = """
            public static float[] Predict(Tests.Model.Session session, float[] inputs) => session.Predict(inputs).ToArray();
            public static float Step(Tests.Model.Trainer trainer, float[] inputs, float[] targets) => trainer.Step(inputs, targets);
            public static float Evaluate(Tests.Model.Trainer trainer, float[] inputs, float[] targets) => trainer.Evaluate(inputs, targets);
            public static Action Steps(Tests.Model.Trainer trainer, float[] inputs, float[] targets) => () => trainer.Step(inputs, targets);
        """;

    private static ModelProgram NormalizedProgram()
    {
        var inputs = new Input("inputs", TensorType.Float(Shape.Of(Dim.Batch(Batch), Features)), 0);
        var targets = new Input("targets", TensorType.Float(Shape.Of(Dim.Batch(Batch), 2)), 0);
        Value Body(GraphBuilder b, Value x) => b.Add(new Tanh(), "hidden", b.Linear("body", x, 9, true, Initializer.Normal(0.3)));
        ModelGraph Predict()
        {
            var b = new GraphBuilder();
            b.Output("outputs", b.Linear("head", Body(b, b.Add(inputs, "inputs")), 2, true, Initializer.Normal(0.3)));
            return b.Build();
        }

        // Training centres its inputs by a running mean, and has a second head.
        ModelGraph Loss()
        {
            var b = new GraphBuilder();
            Value x = b.Add(inputs, "inputs");
            Value mean = b.Add(new StateRead("mean", Shape.Of(Features)), "mean");
            Value batchMean = b.Add(new Affine(1.0 / Batch, 0), "batch_mean", b.Add(new ColumnSum(Shape.Of(Features)), "sum", x));
            b.UpdateState("mean", b.Add(new Add(), "mean.next", b.Add(new Affine(0.9, 0), "", mean), b.Add(new Affine(0.1, 0), "", batchMean)));
            Value hidden = Body(b, b.Add(new Subtract(), "centred", x, mean));
            Value wanted = b.Add(targets, "targets");
            Value main = b.Add(new SquaredError(), "main", b.Linear("head", hidden, 2, true, Initializer.Normal(0.3)), wanted);
            Value second = b.Add(new SquaredError(), "second", b.Linear("auxiliary", hidden, 2, true, Initializer.Normal(0.3)), wanted);
            b.Loss(b.Add(new Add(), "losses", main, b.Add(new Affine(0.3, 0), "", second)));
            return b.Build();
        }

        return new ModelProgram(ProgramAdapter.None,
        [
            new EntryPoint("Predict", EntryKind.Infer, [inputs], ["outputs"], Predict) { Batch = Batch },
            new EntryPoint("Step", EntryKind.Step, [inputs, targets], ["loss"], Loss) { Batch = Batch },
            new EntryPoint("Evaluate", EntryKind.Evaluate, [inputs, targets], ["losses"], Loss) { Batch = Batch },
        ])
        { Training = new TrainingSpec(Batch, 1) };
    }

    [Fact]
    public void A_parameter_and_a_state_that_only_training_has()
    {
        var model = new ProgramModel(NormalizedProgram(), NormalizedDriver);
        Assert.Contains(model.Parameters, p => p.Name == "auxiliary.weight");
        Assert.Equal(0L, model.Type.GetField("SessionStateBytes")!.GetRawConstantValue());
        using ModelSession session = model.CreateSession();
        using Trainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0.05f });
        Dictionary<string, Tensor> state = [];
        for (int step = 0; step < 4; step++)
        {
            (float[] inputs, float[] targets) = (Floats(Batch * Features, 30 + step), Floats(Batch * 2, 40 + step));
            Dictionary<string, Tensor> given = new() { ["inputs"] = Of(inputs, Batch, Features), ["targets"] = Of(targets, Batch, 2) };
            RunResults expected = model.Expected("Step", given, state, lossNormalizer: 1.0 / Batch);

            // An evaluation in between has a state of its own.
            Assert.True(float.IsFinite(model.Call<float>("Evaluate", trainer, inputs, targets)));
            Assert.Equal(expected.Outputs["loss"].Data[0], model.Call<float>("Step", trainer, inputs, targets), Tolerance);
            state = expected.State;
            foreach ((string name, Tensor gradient) in expected.Gradients)
            {
                Near(gradient.Data, model.Call<float[]>("Gradient", trainer, name), name);
            }

            Near(model.Expected("Predict", new() { ["inputs"] = Of(inputs, Batch, Features) }).Outputs["outputs"].Data, model.Call<float[]>("Predict", session, inputs), "prediction");
        }

        Assert.Equal(0, Allocated.Least(model.Action("Steps", trainer, Floats(Batch * Features, 1), Floats(Batch * 2, 2))));
    }

    // ---------------------------------------------------------------- several extents, and what may be left out

    private const string PoolingDriver = """
            public static float[][] Pool(Tests.Model.Session session, int batch, int words, int[] source, float[] weights, int[] styles, bool all)
            {
                float[] pooled = new float[batch * 12], hidden = new float[all ? batch * words * 12 : 0];
                session.Pool(batch, words, source, weights, styles, pooled, hidden);
                return new[] { pooled, hidden };
            }

            public static Action Pools(Tests.Model.Session session, int[] source)
            {
                float[] pooled = new float[24], hidden = new float[72];
                return () => { session.Pool(2, 3, source, default, default, pooled, hidden); session.Pool(1, 6, source, default, default, pooled.AsSpan(0, 12), default); };
            }

            public static float Step(Tests.Model.Trainer trainer, int[] source, float[] weights) => trainer.Step(source, weights);
            public static float Evaluate(Tests.Model.Trainer trainer, int[] source, float[] weights) => trainer.Evaluate(source, weights);
        """;

    private const int Words = 9;

    private static ModelProgram PoolingProgram()
    {
        (Dim batch, Dim words) = (Dim.Batch(Batch), Dim.Named("words", Words));
        var source = new Input("source", TensorType.Int(Shape.Of(batch, words)), Vocabulary);
        var weights = new Input("weights", TensorType.Float(Shape.Of(batch, 1)), 0) { Default = 0.5 };
        var styles = new Input("styles", TensorType.Int(Shape.Of(batch)), 3) { Default = 2 };
        Value Hidden(GraphBuilder b, Input of)
        {
            Value x = b.Add(new Embedding(), "embedding", b.Parameter("embedding.weight", Shape.Of(Vocabulary, Width), Initializer.Normal(0.3)), b.Add(of, "source"));
            return b.Add(new Tanh(), "hidden", b.Linear("fc", x, Width, true, Initializer.Normal(0.3)));
        }

        ModelGraph Pool()
        {
            var b = new GraphBuilder();
            Value hidden = Hidden(b, source);
            b.Output("hidden", hidden);
            Value sum = b.Add(new Reshape(Shape.Of(batch, Width)), "sum", b.Add(new ColumnSum(Shape.Of(batch, 1, Width)), "sums", hidden));
            Value style = b.Add(new Embedding(), "style", b.Parameter("style.weight", Shape.Of(3, Width), Initializer.Normal(0.3)), b.Add(styles, "styles"));
            b.Output("pooled", b.Add(new Add(), "pooled", b.Add(new Multiply(), "weighted", sum, b.Add(weights, "weights")), style));
            return b.Build();
        }

        var fixedSource = new Input("source", TensorType.Int(Shape.Of(batch)), Vocabulary);
        ModelGraph Loss()
        {
            var b = new GraphBuilder();
            Value weighted = b.Add(new Multiply(), "weighted", Hidden(b, fixedSource), b.Add(weights, "weights"));
            b.Loss(b.Add(new SquaredError(), "error", weighted, b.Add(new global::ModelGen.Compiler.Ops.Constant(0.25, weighted.Shape), "quarter")));
            return b.Build();
        }

        return new ModelProgram(ProgramAdapter.None,
        [
            new EntryPoint("Pool", EntryKind.Infer, [source, weights, styles], ["pooled", "hidden"], Pool) { Batch = batch, OptionalOutputs = ["hidden"] },
            new EntryPoint("Step", EntryKind.Step, [fixedSource, weights], ["loss"], Loss) { Batch = Batch },
            new EntryPoint("Evaluate", EntryKind.Evaluate, [fixedSource, weights], ["losses"], Loss) { Batch = Batch },
        ])
        { Training = new TrainingSpec(Batch, 1) };
    }

    [Fact]
    public void Several_extents_vary_and_some_inputs_and_outputs_may_be_left_out()
    {
        var model = new ProgramModel(PoolingProgram(), PoolingDriver);
        using ModelSession session = model.CreateSession(), other = model.CreateSession(threads: 3);
        foreach ((int batch, int words, bool given, bool all) in new[] { (1, 1, true, true), (Batch, Words, false, true), (3, 7, true, false), (2, 9, false, false), (5, 2, true, true) })
        {
            int[] source = Ints(batch * words, Vocabulary, words), styles = given ? Ints(batch, 3, 8) : [];
            float[] weights = given ? Floats(batch, 9) : [];
            float[][] results = model.Call<float[][]>("Pool", session, batch, words, source, weights, styles, all);
            RunResults expected = model.Expected("Pool", new()
            {
                ["source"] = Of(source, batch, words),
                ["weights"] = Of(given ? weights : [.. Enumerable.Repeat(0.5f, batch)], batch, 1),
                ["styles"] = Of(given ? styles : [.. Enumerable.Repeat(2, batch)], batch),
            }, count: batch, counts: new Dictionary<string, int> { ["words"] = words });
            Near(expected.Outputs["pooled"].Data, results[0], "pooled");
            Near(all ? expected.Outputs["hidden"].Data : [], results[1], "hidden");
            Assert.Equal(results[0], model.Call<float[][]>("Pool", other, batch, words, source, weights, styles, all)[0]);
        }

        void Refused<TException>(string part, int batch, int words, int[] source, float[] weights, int[] styles)
            where TException : Exception
            => Assert.Contains(part, Assert.Throws<TException>(() => model.Call<float[][]>("Pool", session, batch, words, source, weights, styles, true)).Message, StringComparison.Ordinal);
        Refused<ArgumentOutOfRangeException>("1 to 5 for batch", 6, 2, new int[12], [], []);
        Refused<ArgumentOutOfRangeException>("1 to 9 for words", 2, 0, [], [], []);
        Refused<ArgumentException>("takes 6 elements of source", 2, 3, new int[5], [], []);
        Refused<ArgumentException>("takes 6 elements of source", 2, 3, [], [], []);
        Refused<ArgumentException>("takes 2 elements of weights", 2, 3, new int[6], new float[3], []);
        Refused<ArgumentOutOfRangeException>("styles", 2, 3, new int[6], [], [0, 3]);
        Assert.Equal(0, Allocated.Least(model.Action("Pools", session, Ints(6, Vocabulary, 1))));

        // In training, an input that is left out is what it is by default.
        int[] tokens = Ints(Batch, Vocabulary, 3);
        using Trainer trainer = model.CreateTrainer(new Sgd { LearningRate = 0 });
        float given1 = model.Call<float>("Step", trainer, tokens, Enumerable.Repeat(0.5f, Batch).ToArray());
        Assert.Equal(given1, model.Call<float>("Step", trainer, tokens, Array.Empty<float>()));
        Assert.NotEqual(given1, model.Call<float>("Step", trainer, tokens, Floats(Batch, 6)));
        Assert.Equal(given1, model.Call<float>("Evaluate", trainer, tokens, Array.Empty<float>()), Tolerance);
        Assert.Throws<ArgumentException>(() => model.Call<float>("Step", trainer, Array.Empty<int>(), Array.Empty<float>()));
    }

    // ---------------------------------------------------------------- members

    [Fact]
    public void An_invalid_declaration_has_the_same_members()
    {
        foreach ((ModelProgram program, string driver) in new[] { (AdversarialProgram(), AdversarialDriver), (TranslationProgram(), TranslationDriver), (NormalizedProgram(), NormalizedDriver), (PoolingProgram(), PoolingDriver) })
        {
            var valid = new ProgramModel(program, driver);
            EmittedFile surface = ModelEmitter.EmitSurface(ProgramModel.Spec, program, "a \"problem\"");

            Assembly invalid = ProgramModel.Load([(surface.HintName, surface.Text)], driver);
            Assert.Equal(Members(valid.Type), Members(invalid.GetType("Tests.Model")!));
            TargetInvocationException thrown = Assert.Throws<TargetInvocationException>(() => invalid.GetType("Tests.Model")!.GetMethod("Create")!.Invoke(null, [0]));
            Assert.Equal("a \"problem\"", Assert.IsType<InvalidOperationException>(thrown.InnerException).Message);
        }
    }

    private static IEnumerable<string> Members(Type type)
        => type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .SelectMany(m => m is Type nested ? Members(nested).Select(n => nested.Name + "." + n) : [m.ToString()!]).Order(StringComparer.Ordinal);

    // ---------------------------------------------------------------- data

    private static float[] Floats(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(2 * (random.NextDouble() - 0.5)))];
    }

    private static int[] Ints(int count, int classes, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(classes))];
    }

    private static Tensor Of(float[] values, params int[] dims) => new(dims, [.. values.Select(x => (double)x)]);

    private static Tensor Of(int[] values, params int[] dims) => new(dims, [.. values.Select(x => (double)x)]);

    private static void Near(double[] expected, float[] actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= Tolerance, $"{what}: {actual[i]} at {i}, and {expected[i]} is expected");
        }
    }
}
