using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Blocks that are computed again in the backward pass: less memory, more arithmetic, the same gradients.</summary>
public sealed class RecomputationTests
{
    [Fact]
    public void Blocks_need_less_memory_and_give_the_same_gradients()
    {
        Assert.True(
            RecomputingGpt.TrainingArenaBytes < 0.5 * KeepingGpt.TrainingArenaBytes,
            $"{RecomputingGpt.TrainingArenaBytes} bytes of arena with recomputation, {KeepingGpt.TrainingArenaBytes} without");
        Assert.InRange((double)RecomputingGpt.FlopsPerStep / KeepingGpt.FlopsPerStep, 1.1, 1.5);
        Assert.Equal(KeepingGpt.InferenceArenaBytes, RecomputingGpt.InferenceArenaBytes);

        KeepingGpt keeping = KeepingGpt.Create(3);
        RecomputingGpt recomputing = RecomputingGpt.Create(3);
        using KeepingGpt.Trainer expected = keeping.CreateTrainer(new Sgd { LearningRate = 0.1f }, new TrainerOptions { Seed = 4, Threads = 2 });
        using RecomputingGpt.Trainer trainer = recomputing.CreateTrainer(new Sgd { LearningRate = 0.1f }, new TrainerOptions { Seed = 4, Threads = 1 });
        int[] inputs = [.. Enumerable.Range(0, KeepingGpt.BatchSize * KeepingGpt.SequenceLength).Select(i => (i * 5 + (i / 7)) % 19)];
        int[] targets = [.. inputs.Select((x, i) => i % 13 == 2 ? -1 : (x + (2 * i)) % 19)];
        for (int step = 0; step < 3; step++)
        {
            Assert.Equal(expected.Step(inputs, targets), trainer.Step(inputs, targets), 1e-6);
            foreach (ParameterInfo parameter in KeepingGpt.Parameters)
            {
                Compare.Absolute(expected.Gradient(parameter.Name).ToArray(), trainer.Gradient(parameter.Name).ToArray(), 1e-6, parameter.Name);
            }
        }
    }
}
