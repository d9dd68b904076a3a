using System.Globalization;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Time series: against PyTorch, against networks that RTNeural's tests publish, and what a session that follows a series promises.</summary>
[Collection(SerialCollection.Name)]
public sealed class RecurrentRegressorTests
{
    [Fact]
    public void Gru_outputs()
    {
        GruRegressor model = GruRegressor.Load(SourceTree.Fixture("regressor-gru.safetensors"));
        using GruRegressor.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        CheckOutputs("regressor-gru", inputs: 3, outputs: 2, session, session.Next, session.Predict);
    }

    [Fact]
    public void Lstm_outputs()
    {
        LstmRegressor model = LstmRegressor.Load(SourceTree.Fixture("regressor-lstm.safetensors"));
        using LstmRegressor.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        CheckOutputs("regressor-lstm", inputs: 2, outputs: 3, session, session.Next, session.Predict);
    }

    [Fact]
    public void Gru_training()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("regressor-gru.reference");
        float[] inputs = reference.Floats("inputs.inputs"), targets = reference.Floats("targets");
        GruRegressor Load() => GruRegressor.Load(SourceTree.Fixture("regressor-gru.safetensors"));
        using (GruRegressor.Trainer trainer = Load().CreateTrainer(new Sgd { LearningRate = 0 }))
        {
            // Its windows are not in a row: each begins with zeros.
            trainer.Step(Parity.Floats(inputs, 1), Parity.Floats(targets, 1));
            trainer.Step(Parity.Floats(inputs, 0), Parity.Floats(targets, 0));
            Parity.CheckGradients(trainer, reference, GruRegressor.Parameters, "gradients.", "regressor-gru");
        }

        GruRegressor model = Load();
        using GruRegressor.Trainer trained = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 });
        Parity.CheckTraining("regressor-gru", reference, trained, i => trained.Step(Parity.Floats(inputs, i), Parity.Floats(targets, i)), model.Save);
    }

    [Fact]
    public void Lstm_training_that_carries_its_state()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("regressor-lstm.reference");
        float[] inputs = reference.Floats("inputs.inputs"), targets = reference.Floats("targets");
        LstmRegressor Load() => LstmRegressor.Load(SourceTree.Fixture("regressor-lstm.safetensors"));
        using (LstmRegressor.Trainer trainer = Load().CreateTrainer(new Sgd { LearningRate = 0 }))
        {
            float first = trainer.Step(Parity.Floats(inputs, 0), Parity.Floats(targets, 0));
            Parity.CheckGradients(trainer, reference, LstmRegressor.Parameters, "gradients.", "regressor-lstm");
            Assert.NotEqual(first, trainer.Step(Parity.Floats(inputs, 0), Parity.Floats(targets, 0)));
            trainer.ResetState();
            Assert.Equal(first, trainer.Step(Parity.Floats(inputs, 0), Parity.Floats(targets, 0)));
        }

        LstmRegressor model = Load();
        using LstmRegressor.Trainer trained = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 });
        Parity.CheckTraining("regressor-lstm", reference, trained, i => trained.Step(Parity.Floats(inputs, i), Parity.Floats(targets, i)), model.Save);
    }

    /// <summary>An evaluation whose last batch is not full counts the examples that there are, whichever way time and batch lie in memory.</summary>
    [Fact]
    public void Evaluation_of_any_number_of_windows()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("regressor-gru.reference");
        float[] inputs = reference.Floats("inputs.inputs"), targets = reference.Floats("targets");
        using GruRegressor.Trainer trainer = GruRegressor.Load(SourceTree.Fixture("regressor-gru.safetensors")).CreateTrainer(new Sgd());
        double[] losses = [.. Enumerable.Range(0, 7).Select(i => (double)trainer.Evaluate(inputs.AsSpan(i * 39, 39), targets.AsSpan(i * 26, 26)))];
        foreach (int windows in new[] { 2, 3, 4, 7 })
        {
            Assert.Equal(losses.Take(windows).Average(), trainer.Evaluate(inputs.AsSpan(0, windows * 39), targets.AsSpan(0, windows * 26)), 1e-6);
        }
    }

    [Fact]
    public void RTNeurals_lstm_gives_its_series()
    {
        AudioLstm model = AudioLstm.Create();
        using AudioLstm.Session session = model.CreateSession();
        CheckSeries("lstm", AudioLstm.Parameters, (name, values) => values.CopyTo(model.Parameter(name)), session, session.Next, session.Predict);
    }

    [Fact]
    public void RTNeurals_gru_gives_its_series()
    {
        AudioGru model = AudioGru.Create();
        using AudioGru.Session session = model.CreateSession();
        CheckSeries("gru", AudioGru.Parameters, (name, values) => values.CopyTo(model.Parameter(name)), session, session.Next, session.Predict);
    }

    [Fact]
    public void Steps_allocate_nothing_and_do_not_depend_on_threads()
    {
        float[] inputs = [.. Enumerable.Range(0, 3 * 13 * 3).Select(i => MathF.Sin(i))], targets = [.. Enumerable.Range(0, 3 * 13 * 2).Select(i => MathF.Cos(i))];
        var weights = new List<float[]>();
        foreach (int threads in new[] { 1, 2, 3 })
        {
            GruRegressor model = GruRegressor.Create(3);
            using GruRegressor.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Threads = threads });
            for (int step = 0; step < 4; step++)
            {
                trainer.Step(inputs, targets);
            }

            weights.Add([.. GruRegressor.Parameters.SelectMany(p => model.Parameter(p.Name).ToArray())]);
        }

        Compare.Bits(weights[0], weights[1], "two threads");
        Compare.Bits(weights[0], weights[2], "three threads");
        GruRegressor measured = GruRegressor.Create(3);
        using GruRegressor.Trainer stepped = measured.CreateTrainer(new AdamW());
        using GruRegressor.Session session = measured.CreateSession();
        float[] outputs = new float[4 * 2];
        Assert.Equal(0, Allocated.Least(() =>
        {
            stepped.Step(inputs, targets);
            stepped.Evaluate(inputs, targets);
            session.Next(inputs.AsSpan(0, 3));
            session.Predict(inputs.AsSpan(0, 12), outputs);
        }));
    }

    private delegate ReadOnlySpan<float> NextOf(ReadOnlySpan<float> inputs);

    private delegate void PredictOf(ReadOnlySpan<float> inputs, Span<float> outputs);

    /// <summary>A series as a whole, step by step, and in pieces of both kinds.</summary>
    private static void CheckOutputs(string fixture, int inputs, int outputs, ModelSession session, NextOf next, PredictOf predict)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        int[] shape = reference.Shape("logits");
        (int batch, int time) = (shape[0], shape[1]);
        Assert.Equal(outputs, shape[2]);
        float[] x = reference.Floats("inputs.inputs"), expected = reference.Floats("logits");
        for (int b = 0; b < batch; b++)
        {
            ReadOnlySpan<float> series = x.AsSpan(b * time * inputs, time * inputs), wanted = expected.AsSpan(b * time * outputs, time * outputs);
            session.Reset();
            float[] whole = new float[time * outputs];
            predict(series, whole);
            Compare.Absolute(wanted, whole, Parity.LogitsTolerance, fixture);
            Assert.Equal(time, session.Position);
            session.Reset();
            for (int t = 0; t < time; t++)
            {
                Compare.Absolute(wanted.Slice(t * outputs, outputs), next(series.Slice(t * inputs, inputs)), Parity.LogitsTolerance, $"{fixture}, step {t}");
            }

            for (int cut = 1; cut < time - 1; cut++)
            {
                session.Reset();
                float[] rest = new float[(time - cut - 1) * outputs];
                predict(series[..(cut * inputs)], new float[cut * outputs]);
                Compare.Absolute(wanted.Slice(cut * outputs, outputs), next(series.Slice(cut * inputs, inputs)), Parity.LogitsTolerance, $"{fixture}, after {cut} steps");
                predict(series[((cut + 1) * inputs)..], rest);
                Compare.Absolute(wanted[((cut + 1) * outputs)..], rest, Parity.LogitsTolerance, $"{fixture}, behind {cut + 1} steps");
            }
        }
    }

    /// <summary>A PyTorch network of RTNeural's tests: a layer, three more upon it, and a linear head.</summary>
    private static void CheckSeries(string cell, IReadOnlyList<ParameterInfo> parameters, Action<string, float[]> set, ModelSession session, NextOf next, PredictOf predict)
    {
        using JsonDocument weights = JsonDocument.Parse(File.ReadAllText(TestData.File("rtneural", cell + "_torch.json")));
        foreach (ParameterInfo parameter in parameters)
        {
            string name = parameter.Name.Replace("head.", "dense.", StringComparison.Ordinal);
            if (name.StartsWith("rnn.", StringComparison.Ordinal))
            {
                int layer = name[^1] - '0';
                name = (layer == 0 ? cell : cell + "2") + name[3..^1] + (layer == 0 ? 0 : layer - 1).ToString(CultureInfo.InvariantCulture);
            }

            set(parameter.Name, [.. Numbers(weights.RootElement.GetProperty(name))]);
        }

        float[] Series(string end) => [.. File.ReadLines(TestData.File("rtneural", $"{cell}_torch_{end}_python.csv")).Select(line => float.Parse(line, CultureInfo.InvariantCulture))];
        float[] x = Series("x"), y = Series("y"), steps = new float[x.Length], pieces = new float[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            steps[i] = next(x.AsSpan(i, 1))[0];
        }

        Compare.Absolute(y, steps, 1e-6, cell + " step by step");
        session.Reset();
        for (int i = 0; i < x.Length; i += 200)
        {
            predict(x.AsSpan(i, 200), pieces.AsSpan(i, 200));
        }

        Compare.Absolute(y, pieces, 1e-6, cell + " in pieces");

        static IEnumerable<float> Numbers(JsonElement element) => element.ValueKind == JsonValueKind.Array ? element.EnumerateArray().SelectMany(Numbers) : [element.GetSingle()];
    }
}
