using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>The same inputs give the same bits: for any number of threads, from a checkpoint, and from run to run.</summary>
[Collection(SerialCollection.Name)]
public sealed class DeterminismTests
{
    [Fact]
    public void Tied_gpt() => Threads<TiedGpt>();

    [Fact]
    public void Untied_gpt() => Threads<UntiedGpt>();

    [Fact]
    public void Gpt_with_dropout() => Threads<DropoutGpt>();

    [Fact]
    public void Lstm() => Threads<LstmLm>();

    [Fact]
    public void Lstm_with_dropout() => Threads<DropoutLstm>();

    [Fact]
    public void Gru() => Threads<GruLm>();

    [Fact]
    public void Rnn() => Threads<RnnLm>();

    [Fact]
    public void Mlp()
    {
        float[] inputs = RandomFloats(5 * 13 * 10, seed: 1);
        int[] targets = RandomTokens(5 * 10, 7, seed: 2);
        (float[] Losses, byte[] Weights, float[] Outputs) Run(int threads)
        {
            CrossEntropyMlp model = CrossEntropyMlp.Create(seed: 3);
            float[] losses = new float[10];
            using (ClassifierTrainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Threads = threads }))
            {
                for (int i = 0; i < losses.Length; i++)
                {
                    losses[i] = trainer.Step(inputs.AsSpan(i * 65, 65), targets.AsSpan(i * 5, 5));
                }
            }

            using FeedForwardSession session = model.CreateSession(new SessionOptions { Threads = threads });
            float[] outputs = new float[50 * 7];
            session.Predict(inputs, outputs);
            return (losses, Saved(model.Save), outputs);
        }

        (float[] Losses, byte[] Weights, float[] Outputs) one = Run(1);
        for (int threads = 1; threads <= 3; threads++)
        {
            (float[] Losses, byte[] Weights, float[] Outputs) other = Run(threads);
            Compare.Bits(one.Losses, other.Losses, $"losses with {threads} threads");
            Compare.Bits(one.Outputs, other.Outputs, $"outputs with {threads} threads");
            Assert.Equal(one.Weights, other.Weights);
        }
    }

    [Fact]
    public void Gpt_resumes_bit_for_bit() => Resumes<TiedGpt>();

    [Fact]
    public void Gpt_with_dropout_resumes_bit_for_bit() => Resumes<DropoutGpt>();

    [Fact]
    public void Lstm_resumes_bit_for_bit() => Resumes<LstmLm>();

    [Fact]
    public void Lstm_with_dropout_resumes_bit_for_bit() => Resumes<DropoutLstm>();

    [Fact]
    public void Gru_resumes_bit_for_bit() => Resumes<GruLm>();

    [Fact]
    public void Rnn_resumes_bit_for_bit() => Resumes<RnnLm>();

    [Fact]
    public void Dropout_depends_on_the_seed_and_on_the_step_and_is_absent_from_evaluation()
    {
        (int[] inputs, int[] targets) = Batches<DropoutGpt>(1);
        float Loss(int seed, int step)
        {
            using TokenTrainer trainer = DropoutGpt.Create(seed: 1).CreateTrainer(new Sgd { LearningRate = 0 }, new TrainerOptions { Seed = seed });
            float loss = float.NaN;
            for (int i = 0; i <= step; i++)
            {
                loss = trainer.Step(inputs, targets);
            }

            return loss;
        }

        Assert.Equal(Loss(seed: 1, step: 0), Loss(seed: 1, step: 0));
        Assert.NotEqual(Loss(seed: 1, step: 0), Loss(seed: 2, step: 0));
        Assert.NotEqual(Loss(seed: 1, step: 0), Loss(seed: 1, step: 1));

        using TokenTrainer first = DropoutGpt.Create(seed: 1).CreateTrainer(new Sgd { LearningRate = 0 }, new TrainerOptions { Seed = 1 });
        float before = first.Evaluate(inputs, targets);
        float stepped = first.Step(inputs, targets);
        Assert.Equal(before, first.Evaluate(inputs, targets));
        Assert.NotEqual(before, stepped);
    }

    [Fact]
    public void Created_weights_depend_on_the_seed_only()
    {
        Assert.Equal(Saved(TiedGpt.Create(seed: 1).Save), Saved(TiedGpt.Create(seed: 1).Save));
        Assert.NotEqual(Saved(TiedGpt.Create(seed: 1).Save), Saved(TiedGpt.Create(seed: 2).Save));
    }

    private static void Threads<TModel>()
        where TModel : ITrainableLanguageModel<TModel>
    {
        (int[] inputs, int[] targets) = Batches<TModel>(10);
        int size = inputs.Length / 10;
        int[] prompt = RandomTokens(11, TModel.VocabularySize, seed: 5);
        (float[] Losses, byte[] Weights, float[] Logits) Run(int threads)
        {
            TModel model = TModel.Create(seed: 3);
            float[] losses = new float[11];
            using (TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, GradientClip = 1 }, new TrainerOptions { Threads = threads }))
            {
                for (int i = 0; i < 10; i++)
                {
                    losses[i] = trainer.Step(inputs.AsSpan(i * size, size), targets.AsSpan(i * size, size));
                }

                losses[10] = trainer.Evaluate(inputs.AsSpan(0, size), targets.AsSpan(0, size));
            }

            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
            List<float> logits = [.. session.Prefill(prompt)];
            foreach (int token in prompt.AsSpan(0, 3))
            {
                logits.AddRange(session.Decode(token));
            }

            return (losses, Saved(model.Save), [.. logits]);
        }

        (float[] Losses, byte[] Weights, float[] Logits) one = Run(1);
        Assert.All(one.Losses, loss => Assert.True(float.IsFinite(loss)));
        Assert.All(one.Logits, logit => Assert.True(float.IsFinite(logit)));
        for (int threads = 1; threads <= 3; threads++)
        {
            (float[] Losses, byte[] Weights, float[] Logits) other = Run(threads);
            Compare.Bits(one.Losses, other.Losses, $"losses with {threads} threads");
            Compare.Bits(one.Logits, other.Logits, $"logits with {threads} threads");
            Assert.Equal(one.Weights, other.Weights);
        }
    }

    private static void Resumes<TModel>()
        where TModel : ITrainableLanguageModel<TModel>
    {
        const int Before = 4;
        const int After = 6;
        (int[] inputs, int[] targets) = Batches<TModel>(Before + After);
        int size = inputs.Length / (Before + After);
        float Step(TokenTrainer trainer, int step) => trainer.Step(inputs.AsSpan(step * size, size), targets.AsSpan(step * size, size));
        AdamW Optimizer() => new() { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1, Schedule = new WarmupCosine(3, 10, 0.1f) };

        using TemporaryFile checkpoint = new("checkpoint");
        TModel uninterrupted = TModel.Create(seed: 3);
        float[] losses = new float[After];
        using (TokenTrainer trainer = uninterrupted.CreateTrainer(Optimizer(), new TrainerOptions { Seed = 9 }))
        {
            for (int step = 0; step < Before; step++)
            {
                Step(trainer, step);
            }

            trainer.SaveCheckpoint(checkpoint.Path);
            for (int step = 0; step < After; step++)
            {
                losses[step] = Step(trainer, Before + step);
            }
        }

        TModel resumed = TModel.Create(seed: 4);
        float[] resumedLosses = new float[After];
        using (TokenTrainer trainer = resumed.CreateTrainer(Optimizer(), new TrainerOptions { Seed = 9 }))
        {
            Step(trainer, 0);
            trainer.LoadCheckpoint(checkpoint.Path);
            Assert.Equal(Before, trainer.StepCount);
            for (int step = 0; step < After; step++)
            {
                resumedLosses[step] = Step(trainer, Before + step);
            }
        }

        Compare.Bits(losses, resumedLosses, "losses after resuming");
        Assert.Equal(Saved(uninterrupted.Save), Saved(resumed.Save));
    }

    private static (int[] Inputs, int[] Targets) Batches<TModel>(int steps)
        where TModel : ITrainableLanguageModel<TModel>
    {
        int length = TModel.TrainingBatchSize * TModel.TrainingSequenceLength * steps;
        int[] targets = RandomTokens(length, TModel.VocabularySize, seed: 12);
        for (int i = 0; i < length; i += 7)
        {
            targets[i] = -1;
        }

        return (RandomTokens(length, TModel.VocabularySize, seed: 11), targets);
    }

    private static int[] RandomTokens(int length, int vocabulary, int seed)
    {
        Random random = new(seed);
        int[] tokens = new int[length];
        for (int i = 0; i < length; i++)
        {
            tokens[i] = random.Next(vocabulary);
        }

        return tokens;
    }

    private static float[] RandomFloats(int length, int seed)
    {
        Random random = new(seed);
        float[] values = new float[length];
        for (int i = 0; i < length; i++)
        {
            values[i] = (2 * random.NextSingle()) - 1;
        }

        return values;
    }

    private static byte[] Saved(Action<string> save)
    {
        using TemporaryFile file = new();
        save(file.Path);
        return File.ReadAllBytes(file.Path);
    }
}
