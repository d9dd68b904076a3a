using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Training finds what there is to find, on tasks whose answer is known.</summary>
public sealed class LearningTests
{
    private static readonly float[] XorInputs = [0, 0, 0, 1, 1, 0, 1, 1];

    [Fact]
    public void Mlp_learns_xor_as_classification()
    {
        XorClassifier model = XorClassifier.Create(seed: 1);
        using (ClassifierTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.02f, WeightDecay = 0 }))
        {
            float loss = float.NaN;
            for (int step = 0; step < 1000; step++)
            {
                loss = trainer.Step(XorInputs, [0, 1, 1, 0]);
            }

            Assert.InRange(loss, 0, 0.02f);
        }

        using FeedForwardSession session = model.CreateSession();
        float[] outputs = new float[8];
        session.Predict(XorInputs, outputs);
        Assert.Equal([0, 1, 1, 0], Enumerable.Range(0, 4).Select(i => outputs[2 * i] > outputs[(2 * i) + 1] ? 0 : 1));
    }

    [Fact]
    public void Mlp_learns_xor_as_regression()
    {
        XorRegression model = XorRegression.Create(seed: 1);
        using (RegressionTrainer trainer = model.CreateTrainer(new Sgd { LearningRate = 1, Momentum = 0.9f }))
        {
            for (int step = 0; step < 3000; step++)
            {
                trainer.Step(XorInputs, [0, 1, 1, 0]);
            }
        }

        using FeedForwardSession session = model.CreateSession();
        float[] outputs = new float[4];
        session.Predict(XorInputs, outputs);
        Compare.Absolute([0, 1, 1, 0], outputs, 0.1, "xor");
    }

    [Fact]
    public void Mlp_learns_xor_as_binary_classification()
    {
        XorBinary model = XorBinary.Create(seed: 1);
        using (RegressionTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.02f, WeightDecay = 0 }))
        {
            for (int step = 0; step < 1000; step++)
            {
                trainer.Step(XorInputs, [0, 1, 1, 0]);
            }
        }

        using FeedForwardSession session = model.CreateSession();
        float[] outputs = new float[4];
        session.Predict(XorInputs, outputs);
        Compare.Absolute([0, 1, 1, 0], outputs, 0.05, "xor");
    }

    /// <summary>
    /// The two-spirals benchmark (Lang and Witbrock, 1988). Training draws points anywhere on the two spirals; the 194 points of the benchmark and
    /// those halfway between them are classified.
    /// </summary>
    [Fact]
    public void Mlp_learns_two_spirals()
    {
        const int Steps = 4000;
        Random random = new(3);
        SpiralMlp model = SpiralMlp.Create(seed: 1);
        using (ClassifierTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.01f, WeightDecay = 0, Schedule = new WarmupCosine(0, Steps, 0) }))
        {
            float[] inputs = new float[2 * SpiralMlp.BatchSize];
            int[] targets = new int[SpiralMlp.BatchSize];
            for (int step = 0; step < Steps; step++)
            {
                for (int i = 0; i < targets.Length; i++)
                {
                    targets[i] = random.Next(2);
                    (inputs[2 * i], inputs[(2 * i) + 1]) = OnSpiral(targets[i], random.NextDouble() * 97);
                }

                trainer.Step(inputs, targets);
            }
        }

        Assert.InRange(Accuracy(model, offset: 0), 0.98, 1);
        Assert.InRange(Accuracy(model, offset: 0.5), 0.98, 1);
    }

    [Fact]
    public void Gpt_learns_a_small_batch_by_heart()
    {
        LearningGpt model = LearningGpt.Create(seed: 1);
        Random random = new(5);
        int[][] sequences = [.. Enumerable.Range(0, 4).Select(i => Enumerable.Range(0, 17).Select(t => t == 0 ? i : random.Next(19)).ToArray())];
        int[] inputs = [.. sequences.SelectMany(s => s[..16])];
        int[] targets = [.. sequences.SelectMany(s => s[1..])];
        using (TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 5e-3f, GradientClip = 1 }))
        {
            float first = trainer.Evaluate(inputs, targets);
            Assert.InRange(first, Math.Log(19) - 0.2, Math.Log(19) + 0.2);
            float loss = first;
            for (int step = 0; step < 300; step++)
            {
                loss = trainer.Step(inputs, targets);
            }

            Assert.InRange(loss, 0, 0.02f);
        }

        // The first token tells the sequences apart, so greedy decoding recites each of them.
        using CausalSession session = model.CreateSession();
        foreach (int[] sequence in sequences)
        {
            session.Reset();
            List<int> said = [sequence[0]];
            while (said.Count < sequence.Length)
            {
                said.Add(ArgMax(session.Decode(said[^1])));
            }

            Assert.Equal(sequence, said);
        }
    }

    [Fact]
    public void Lstm_counts() => Counts(LearningLstm.Create(seed: 1));

    [Fact]
    public void Gru_counts() => Counts(LearningGru.Create(seed: 1));

    [Fact]
    public void Rnn_counts() => Counts(LearningRnn.Create(seed: 1));

    [Fact]
    public void Lstm_copies() => Copies(LearningLstm.Create(seed: 1));

    [Fact]
    public void Gru_copies() => Copies(LearningGru.Create(seed: 1));

    [Fact]
    public void Rnn_copies() => Copies(LearningRnn.Create(seed: 1));

    /// <summary>
    /// Five times 0, then 1, and again, in windows that do not fit the period: to be sure of the 1 a model must have counted,
    /// and across windows it must have carried its state.
    /// </summary>
    private static void Counts<TModel>(TModel model)
        where TModel : ITrainableLanguageModel<TModel>
    {
        static int Token(int stream, int time) => (time + stream) % 6 == 5 ? 1 : 0;
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.01f, WeightDecay = 0, GradientClip = 1 });
        int length = TModel.TrainingSequenceLength;
        int[] inputs = new int[TModel.TrainingBatchSize * length];
        int[] targets = new int[inputs.Length];
        float loss = float.NaN;
        for (int step = 0; step < 300; step++)
        {
            for (int i = 0; i < inputs.Length; i++)
            {
                int time = (step * length) + (i % length);
                inputs[i] = Token(i / length, time);
                targets[i] = Token(i / length, time + 1);
            }

            loss = trainer.Step(inputs, targets);
        }

        Assert.InRange(loss, 0, 0.02f);
        using CausalSession session = model.CreateSession();
        for (int time = 0; time < 60; time++)
        {
            int predicted = ArgMax(session.Decode(Token(0, time)));
            if (time >= 6)
            {
                Assert.Equal(Token(0, time + 1), predicted);
            }
        }
    }

    /// <summary>Three random symbols, a marker, and the same three symbols, which alone are scored.</summary>
    private static void Copies<TModel>(TModel model)
        where TModel : ITrainableLanguageModel<TModel>
    {
        const int Symbols = 3;
        const int Marker = 5;
        const int Blank = 4;
        const int Period = 8;
        Random random = new(7);
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.01f, WeightDecay = 0, GradientClip = 1 });
        int length = TModel.TrainingSequenceLength;
        Assert.Equal(0, length % Period);
        int[] inputs = new int[TModel.TrainingBatchSize * length];
        int[] targets = new int[inputs.Length];
        double recent = 0;
        const int Steps = 1500;
        for (int step = 0; step < Steps; step++)
        {
            for (int start = 0; start < inputs.Length; start += Period)
            {
                // symbols a b c, marker, then a b c are asked for while a b and a blank are read.
                for (int i = 0; i < Period; i++)
                {
                    inputs[start + i] = i < Symbols ? random.Next(4) : i == Symbols ? Marker : i <= 2 * Symbols ? inputs[start + i - Symbols - 1] : Blank;
                    targets[start + i] = -1;
                }

                for (int i = 0; i < Symbols; i++)
                {
                    targets[start + Symbols + i] = inputs[start + i];
                }
            }

            float loss = trainer.Step(inputs, targets);
            recent = step < Steps - 20 ? 0 : recent + (loss / 20);
        }

        Assert.InRange(recent, 0, 0.05);
    }

    private static double Accuracy(SpiralMlp model, double offset)
    {
        const int Points = 97;
        float[] inputs = new float[4 * Points];
        float[] outputs = new float[4 * Points];
        for (int i = 0; i < 2 * Points; i++)
        {
            (inputs[2 * i], inputs[(2 * i) + 1]) = OnSpiral(i % 2, (i / 2) + offset);
        }

        using FeedForwardSession session = model.CreateSession();
        session.Predict(inputs, outputs);
        return Enumerable.Range(0, 2 * Points).Count(i => (outputs[(2 * i) + 1] > outputs[2 * i] ? 1 : 0) == i % 2) / (2.0 * Points);
    }

    /// <summary>Three turns inwards from the radius 6.5; the second spiral is the first one turned by half a circle.</summary>
    private static (float X, float Y) OnSpiral(int spiral, double position)
    {
        double angle = position * Math.PI / 16;
        double radius = 6.5 * (104 - position) / 104 * (spiral == 0 ? 1 : -1);
        return ((float)(radius * Math.Sin(angle)), (float)(radius * Math.Cos(angle)));
    }

    private static int ArgMax(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int i = 1; i < logits.Length; i++)
        {
            if (logits[i] > logits[best])
            {
                best = i;
            }
        }

        return best;
    }
}
