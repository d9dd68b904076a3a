namespace ModelGen.GpuCheck;

/// <summary>A GPT that is large enough for 200 tokens to differ, and small enough for the processor.</summary>
[Gpt(Layers = 2, DModel = 64, Heads = 4, Vocab = 193, Context = 256)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
[Cuda]
public partial class CheckGpt;

/// <summary>Many tokens and many steps; the tests run them with a model that the machine for PTX is quick enough for.</summary>
internal static class LongChecks
{
    /// <summary>Runs them with the model of this program.</summary>
    public static void Run(Report report, Device device) => Run<CheckGpt>(report, device);

    /// <summary>Runs them with a model.</summary>
    /// <param name="report">Where results go.</param>
    /// <param name="device">The device.</param>
    public static void Run<TModel>(Report report, Device device)
        where TModel : ITrainableLanguageModel<TModel>
    {
        report.Check("200 greedy tokens", 0, () => Tokens<TModel>(device, new SamplingOptions { Temperature = 0 }));
        report.Check("200 drawn tokens", 0, () => Tokens<TModel>(device, new SamplingOptions { Temperature = 0.8f, TopK = 40, TopP = 0.95f, Seed = 5 }));
        report.Check("50 training steps", Checks.Steps, () => Fifty<TModel>(device));
    }

    /// <summary>How many of 200 tokens are others than the processor's.</summary>
    private static double Tokens<TModel>(Device device, SamplingOptions options)
        where TModel : ICausalLanguageModel<TModel>
    {
        var model = TModel.Create(seed: 7);
        using CausalSession here = model.CreateSession(null), there = model.CreateSession(new SessionOptions { Device = device });
        TokenGenerator expected = Generator(here), actual = Generator(there);
        int others = 0;
        for (int i = 0; i < 200; i++)
        {
            others += expected.Next() == actual.Next() ? 0 : 1;
        }

        return others;

        TokenGenerator Generator(CausalSession session)
        {
            var generator = new TokenGenerator(session, new Sampler(options, session.VocabularySize));
            generator.Start([1, 2, 3]);
            return generator;
        }
    }

    private static double Fifty<TModel>(Device device)
        where TModel : ITrainableLanguageModel<TModel>
    {
        using TokenTrainer here = TModel.Create(3).CreateTrainer(Checks.Optimizer, null), there = TModel.Create(3).CreateTrainer(Checks.Optimizer, new TrainerOptions { Device = device });
        (int tokens, int vocabulary) = (TModel.TrainingBatchSize * TModel.TrainingSequenceLength, TModel.VocabularySize);
        double error = 0;
        for (int i = 0; i < 50; i++)
        {
            int[] inputs = Checks.Ids(tokens, vocabulary, i % 4), targets = Checks.Ids(tokens, vocabulary, (i % 4) + 1);
            error = Math.Max(error, Checks.Error([here.Step(inputs, targets)], [there.Step(inputs, targets)]));
        }

        return error;
    }
}
