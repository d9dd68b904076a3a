using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Labels of the tokens of padded batches, against PyTorch's packed sequences.</summary>
[Collection(SerialCollection.Name)]
public sealed class RecurrentTaggerTests
{
    private delegate void PredictOf(ReadOnlySpan<int> tokens, Span<float> logits);

    private delegate float StepOf(ReadOnlySpan<int> tokens, ReadOnlySpan<int> lengths, ReadOnlySpan<int> targets);

    [Fact]
    public void Lstm_both_ways()
    {
        LstmTagger Load() => LstmTagger.Load(SourceTree.Fixture("tagger-lstm.safetensors"));
        using LstmTagger.Session session = Load().CreateSession(new SessionOptions { Threads = 2 });
        CheckLogits("tagger-lstm", session.Predict, (tokens, lengths) => session.PredictBatch(tokens, lengths).ToArray());
        LstmTagger model = Load();
        using LstmTagger.Trainer first = Load().CreateTrainer(new Sgd { LearningRate = 0 }), trainer = model.CreateTrainer(Optimizer);
        CheckTraining("tagger-lstm", LstmTagger.Parameters, first, first.Step, trainer, trainer.Step, model.Save);
    }

    [Fact]
    public void Gru_both_ways()
    {
        GruTagger Load() => GruTagger.Load(SourceTree.Fixture("tagger-gru.safetensors"));
        using GruTagger.Session session = Load().CreateSession(new SessionOptions { Threads = 2 });
        CheckLogits("tagger-gru", session.Predict, (tokens, lengths) => session.PredictBatch(tokens, lengths).ToArray());
        GruTagger model = Load();
        using GruTagger.Trainer first = Load().CreateTrainer(new Sgd { LearningRate = 0 }), trainer = model.CreateTrainer(Optimizer);
        CheckTraining("tagger-gru", GruTagger.Parameters, first, first.Step, trainer, trainer.Step, model.Save);
    }

    [Fact]
    public void Rnn_one_way()
    {
        RnnTagger Load() => RnnTagger.Load(SourceTree.Fixture("tagger-rnn.safetensors"));
        using RnnTagger.Session session = Load().CreateSession(new SessionOptions { Threads = 2 });
        CheckLogits("tagger-rnn", session.Predict, (tokens, lengths) => session.PredictBatch(tokens, lengths).ToArray());
        RnnTagger model = Load();
        using RnnTagger.Trainer first = Load().CreateTrainer(new Sgd { LearningRate = 0 }), trainer = model.CreateTrainer(Optimizer);
        CheckTraining("tagger-rnn", RnnTagger.Parameters, first, first.Step, trainer, trainer.Step, model.Save);
    }

    [Fact]
    public void Steps_allocate_nothing_and_do_not_depend_on_threads_or_padding()
    {
        const int Batch = 5, Time = 11;
        var random = new Random(3);
        int[] lengths = [11, 1, 7, 3, 0];
        int[] tokens = [.. Enumerable.Range(0, Batch * Time).Select(_ => random.Next(23))], targets = [.. tokens.Select((t, i) => i % Time < lengths[i / Time] ? t % 5 : -1)];
        var weights = new List<float[]>();
        foreach (int threads in new[] { 1, 2, 3 })
        {
            LstmTagger model = LstmTagger.Create(3);
            using LstmTagger.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Threads = threads });
            for (int step = 0; step < 4; step++)
            {
                trainer.Step([.. tokens.Select((t, i) => i % Time < lengths[i / Time] ? t : random.Next(23))], lengths, targets);
            }

            weights.Add([.. LstmTagger.Parameters.SelectMany(p => model.Parameter(p.Name).ToArray())]);
        }

        Compare.Bits(weights[0], weights[1], "two threads");
        Compare.Bits(weights[0], weights[2], "three threads");
        LstmTagger measured = LstmTagger.Create(3);
        using LstmTagger.Trainer stepped = measured.CreateTrainer(new AdamW());
        using LstmTagger.Session session = measured.CreateSession();
        float[] logits = new float[4 * 5];
        Assert.Equal(0, Allocated.Least(() =>
        {
            stepped.Step(tokens, lengths, targets);
            stepped.Evaluate(tokens, lengths, targets);
            session.Predict(tokens.AsSpan(0, 4), logits);
            session.PredictBatch(tokens, lengths);
        }));
        Assert.Throws<ArgumentOutOfRangeException>(() => stepped.Step(tokens, [11, 1, 7, 3, 12], targets));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.PredictBatch(tokens, [11, 1, -1, 3, 1]));
    }

    private static AdamW Optimizer => new() { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 };

    /// <summary>A padded batch, and each of its sentences alone.</summary>
    private static void CheckLogits(string fixture, PredictOf predict, Func<int[], int[], float[]> predictBatch)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        int[] shape = reference.Shape("logits");
        (int batch, int time, int tags) = (shape[0], shape[1], shape[2]);
        int[] tokens = Parity.Ints(reference.Ints("inputs.tokens"), 0).ToArray(), lengths = Parity.Ints(reference.Ints("inputs.lengths"), 0).ToArray();
        float[] expected = reference.Floats("logits");
        Compare.Absolute(expected, predictBatch(tokens, lengths), Parity.LogitsTolerance, fixture + ", padded");
        for (int b = 0; b < batch; b++)
        {
            float[] logits = new float[lengths[b] * tags];
            predict(tokens.AsSpan(b * time, lengths[b]), logits);
            Compare.Absolute(expected.AsSpan(b * time * tags, logits.Length), logits, Parity.LogitsTolerance, $"{fixture}, sentence {b}");
        }
    }

    private static void CheckTraining(string fixture, IReadOnlyList<ParameterInfo> parameters, Trainer first, StepOf firstStep, Trainer trainer, StepOf step, Action<string> save)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        int[] tokens = reference.Ints("inputs.tokens"), lengths = reference.Ints("inputs.lengths"), targets = reference.Ints("targets");
        float Step(StepOf of, int i) => of(Parity.Ints(tokens, i), Parity.Ints(lengths, i), Parity.Ints(targets, i));
        Step(firstStep, 0);
        Parity.CheckGradients(first, reference, parameters, "gradients.", fixture);
        Parity.CheckTraining(fixture, reference, trainer, i => Step(step, i), save);
    }
}
