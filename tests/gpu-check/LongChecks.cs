namespace ModelGen.GpuCheck;

/// <summary>A GPT that is large enough for 200 tokens to differ, and small enough for the processor.</summary>
[Gpt(Layers = 2, DModel = 64, Heads = 4, Vocab = 193, Context = 256)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
[Cuda]
public partial class CheckGpt;

/// <summary>Many tokens and many steps, for which the machine for PTX of the tests would take too long.</summary>
internal static class LongChecks
{
    public static void Run(Report report)
    {
        report.Check("200 greedy tokens", 0, () => Tokens(new SamplingOptions { Temperature = 0 }));
        report.Check("200 drawn tokens", 0, () => Tokens(new SamplingOptions { Temperature = 0.8f, TopK = 40, TopP = 0.95f, Seed = 5 }));
        report.Check("50 training steps", Checks.Steps, Fifty);
    }

    /// <summary>How many of 200 tokens are others than the processor's.</summary>
    private static double Tokens(SamplingOptions options)
    {
        CheckGpt model = CheckGpt.Create(seed: 7);
        using CheckGpt.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = Device.Cuda(0) });
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

    private static double Fifty()
    {
        using CheckGpt.Trainer here = CheckGpt.Create(3).CreateTrainer(Checks.Optimizer), there = CheckGpt.Create(3).CreateTrainer(Checks.Optimizer, new TrainerOptions { Device = Device.Cuda(0) });
        double error = 0;
        for (int i = 0; i < 50; i++)
        {
            int[] inputs = Checks.Ids(256, 193, i % 4), targets = Checks.Ids(256, 193, (i % 4) + 1);
            error = Math.Max(error, Checks.Error([here.Step(inputs, targets)], [there.Step(inputs, targets)]));
        }

        return error;
    }
}
