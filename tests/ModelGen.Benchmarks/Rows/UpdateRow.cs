using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>The end of a training step alone: the gradients' norm and AdamW, over GPT-2's parameters, behind a plan that does nothing.</summary>
internal static class UpdateRow
{
    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 7, seconds: 0.1);
        var table = new ParameterTable("Gpt2", [.. Gpt2.Parameters]);
        using ModelWeights weights = ModelWeights.Create(table, 1);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using var trainer = new UpdateOnlyTrainer(weights, new AdamW { LearningRate = 1e-4f }, threads);
            float[] one = [0];
            yield return new Measurement
            {
                Row = "adamw",
                Threads = threads,

                // Weight, gradient and two moments are read, all but the gradient written.
                Bytes = 28.0 * Gpt2.ParameterCount,
                Seconds = Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        trainer.Step(one, one);
                    }
                }),
            };
        }
    }

    private sealed class UpdateOnlyTrainer(ModelWeights weights, Optimizer optimizer, int threads) : RegressionTrainer(weights, Layout, optimizer, new TrainerOptions { Threads = threads })
    {
        private static readonly ProgramLayout Layout = new()
        {
            ModelName = "Gpt2",
            ArenaBytes = 256,
            ScratchBytes = 0,
            Entries =
            [
                new EntryLayout { Name = "Step", Inputs = Inputs, Outputs = [new EntryOutput("loss", 32, 1)], IsStep = true },
                new EntryLayout { Name = "Evaluate", Inputs = Inputs, Outputs = [new EntryOutput("losses", 32, 1)] },
            ],
        };

        private static EntryInput[] Inputs => [new EntryInput("inputs", 0, 1), new EntryInput("targets", 16, 1)];

        protected override void Execute(int entry, in PlanContext context, Worker worker)
        {
        }
    }
}
