using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Frozen parameters: no gradient, no optimizer slot, no memory for either, and everything else as it would be.</summary>
public sealed class FrozenTests
{
    private static readonly int[] Inputs = [.. Enumerable.Range(0, LearningGpt.BatchSize * LearningGpt.SequenceLength).Select(i => (i * 7 + (i / 5)) % 19)];
    private static readonly int[] Targets = [.. Inputs.Select((x, i) => i % 11 == 3 ? -1 : (x + i) % 19)];

    private static bool IsFrozen(string name)
        => name.StartsWith("transformer.wte", StringComparison.Ordinal) || name.StartsWith("transformer.wpe", StringComparison.Ordinal) || name.StartsWith("transformer.h.0.", StringComparison.Ordinal);

    [Fact]
    public void What_is_frozen_takes_no_memory_but_its_weights()
    {
        long frozen = LearningGpt.Parameters.Where(p => IsFrozen(p.Name)).Sum(p => (p.Length + 15) / 16 * 16 * sizeof(float));
        Assert.True(frozen > LearningGpt.WeightBytes / 3);
        Assert.Equal(LearningGpt.WeightBytes, FrozenGpt.WeightBytes);
        Assert.Equal(LearningGpt.GradientBytes, LearningGpt.WeightBytes);
        Assert.Equal(FrozenGpt.GradientBytes, LearningGpt.WeightBytes - frozen);
        Assert.Equal(FrozenGpt.Parameters.Where(p => p.IsFrozen).Select(p => p.Name), LearningGpt.Parameters.Where(p => IsFrozen(p.Name)).Select(p => p.Name));

        // Gradients and AdamW's two moments; the arena holds less, since nothing flows back further than what is trained.
        using LearningGpt.Trainer whole = LearningGpt.Create().CreateTrainer(new AdamW());
        using FrozenGpt.Trainer part = FrozenGpt.Create().CreateTrainer(new AdamW());
        Assert.Equal(LearningGpt.AdamWTrainingBytes, whole.MemoryBytes);
        Assert.Equal(FrozenGpt.AdamWTrainingBytes, part.MemoryBytes);
        Assert.Equal(whole.MemoryBytes - part.MemoryBytes, (3 * frozen) + LearningGpt.TrainingArenaBytes - FrozenGpt.TrainingArenaBytes);
        Assert.True(FrozenGpt.TrainingArenaBytes < LearningGpt.TrainingArenaBytes);
        Assert.True(FrozenGpt.FlopsPerStep < LearningGpt.FlopsPerStep);
    }

    [Fact]
    public void What_is_not_frozen_trains_as_it_would()
    {
        (LearningGpt whole, FrozenGpt part) = Same();
        using LearningGpt.Trainer expected = whole.CreateTrainer(new Sgd { LearningRate = 0.1f });
        using FrozenGpt.Trainer trainer = part.CreateTrainer(new Sgd { LearningRate = 0.1f });
        Dictionary<string, float[]> before = FrozenGpt.Parameters.ToDictionary(p => p.Name, p => part.Parameter(p.Name).ToArray());
        Assert.Equal(expected.Step(Inputs, Targets), trainer.Step(Inputs, Targets), 1e-6);
        foreach (ParameterInfo parameter in FrozenGpt.Parameters)
        {
            if (parameter.IsFrozen)
            {
                Assert.Equal(before[parameter.Name], part.Parameter(parameter.Name).ToArray());
                Assert.Throws<ArgumentException>(() => trainer.Gradient(parameter.Name).Length);
                continue;
            }

            Compare.Absolute(expected.Gradient(parameter.Name).ToArray(), trainer.Gradient(parameter.Name).ToArray(), 1e-6, parameter.Name);
            Assert.NotEqual(before[parameter.Name], part.Parameter(parameter.Name).ToArray());
        }
    }

    [Fact]
    public void Training_goes_on_from_a_checkpoint_bit_for_bit()
    {
        using TemporaryFile file = new();
        (_, FrozenGpt model) = Same();
        using FrozenGpt.Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 });
        trainer.Step(Inputs, Targets);
        trainer.SaveCheckpoint(file.Path);
        FrozenGpt other = FrozenGpt.Create(99);
        using FrozenGpt.Trainer resumed = other.CreateTrainer(new AdamW { GradientClip = 1 });
        resumed.LoadCheckpoint(file.Path);
        for (int step = 0; step < 3; step++)
        {
            Assert.Equal(trainer.Step(Inputs, Targets), resumed.Step(Inputs, Targets));
        }

        foreach (ParameterInfo parameter in FrozenGpt.Parameters)
        {
            Assert.Equal(model.Parameter(parameter.Name).ToArray(), other.Parameter(parameter.Name).ToArray());
        }
    }

    private static (LearningGpt Whole, FrozenGpt Part) Same()
    {
        LearningGpt whole = LearningGpt.Create(5);
        FrozenGpt part = FrozenGpt.Create(6);
        foreach (ParameterInfo parameter in FrozenGpt.Parameters)
        {
            whole.Parameter(parameter.Name).CopyTo(part.Parameter(parameter.Name));
        }

        return (whole, part);
    }
}
