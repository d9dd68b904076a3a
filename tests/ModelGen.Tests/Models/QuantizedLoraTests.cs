using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Adapters that are trained over frozen weights in other formats (Dettmers et al. 2023): gradients are those over the floats that the weights stand for.</summary>
[Collection(SerialCollection.Name)]
public sealed class QuantizedLoraTests
{
    private static readonly int[] Inputs = [.. Enumerable.Range(0, 2 * 17).Select(i => ((i * 7) + (i / 5)) % 101)];
    private static readonly int[] Targets = [.. Inputs.Select((x, i) => i % 11 == 3 ? -1 : ((5 * x) + 2) % 101)];

    // Of weights of 16 bits nothing is rounded but the weights; quantized ones round what they meet on the way forward to 8 bits.
    [Fact]
    public void Gradients_over_bf16() => Gradients<LoraOverBF16, LoraOverFloats>(LoraOverBF16.Parameters, 1e-5, 1e-5);

    [Fact]
    public void Gradients_over_q8_0() => Gradients<LoraOverQ8, LoraOverFloats>(LoraOverQ8.Parameters, 0.05, 0.01);

    [Fact]
    public void Gradients_over_a_mixture() => Gradients<LoraOverQ4K, WideLoraOverFloats>(LoraOverQ4K.Parameters, 0.05, 0.01);

    // Of experts too, which each row meets its own of.
    [Fact]
    public void Gradients_over_experts()
    {
        Gradients<LoraOverF16Mixture, LoraMixture>(LoraOverF16Mixture.Parameters, 1e-5, 1e-5);
        Gradients<LoraOverQ4KMixture, LoraMixture>(LoraOverQ4KMixture.Parameters, 0.05, 0.01);
        Assert.Equal([WeightFormat.F32, WeightFormat.Q8_0, WeightFormat.Q4_K, WeightFormat.Q6_K], LoraOverQ4KMixture.Parameters.Select(p => p.Format).Distinct().Order());
    }

    [Fact]
    public void Frozen_weights_are_as_large_as_their_format()
    {
        Assert.All(LoraOverQ8.Parameters, p => Assert.Equal(p is { Shape.Length: 2, Adapts: null } ? WeightFormat.Q8_0 : WeightFormat.F32, p.Format));
        Assert.All(LoraOverQ8.Parameters, p => Assert.Equal(p.Adapts is null, p.IsFrozen));
        Assert.Equal(LoraOverFloats.GradientBytes, LoraOverQ8.GradientBytes);
        Assert.True(LoraOverQ8.WeightBytes - LoraOverQ8.GradientBytes < 0.3 * (LoraOverFloats.WeightBytes - LoraOverFloats.GradientBytes));
        Assert.Equal([WeightFormat.F32, WeightFormat.F16, WeightFormat.Q4_0, WeightFormat.Q4_K, WeightFormat.Q6_K], LoraOverQ4K.Parameters.Select(p => p.Format).Distinct().Order());
    }

    [Fact]
    public void Training_learns_and_leaves_the_weights_as_they_are()
    {
        Learns<LoraOverBF16>(LoraOverBF16.Parameters);
        Learns<LoraOverQ8>(LoraOverQ8.Parameters);
        Learns<LoraOverQ4K>(LoraOverQ4K.Parameters);
    }

    [Fact]
    public void Bits_do_not_depend_on_threads_and_survive_a_checkpoint()
    {
        Resumes<LoraOverBF16>();
        Resumes<LoraOverQ8>();
    }

    [Fact]
    public void A_step_allocates_nothing()
    {
        using TokenTrainer trainer = LoraOverQ4K.Create().CreateTrainer(new AdamW(), new TrainerOptions { Threads = 2 });
        Assert.Equal(0, Allocated.Least(() => trainer.Step(Inputs, Targets)));
    }

    [Fact]
    public void Merged_weights_are_rounded_to_their_format()
    {
        using TemporaryFile merged = new();
        LoraOverQ8 model = LoraOverQ8.Create(5);
        using (TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-2f }))
        {
            for (int step = 0; step < 10; step++)
            {
                trainer.Step(Inputs, Targets);
            }
        }

        float[] expected = Logits(model.CreateSession());
        model.SaveMerged(merged.Path);
        float[] floats = Logits(LoraOverFloats.Load(merged.Path).CreateSession());
        Compare.RelativeToNorm(expected, floats, 0.03, "merged into floats");
        model.MergeAdapters();
        Compare.RelativeToNorm(floats, Logits(model.CreateSession()), 0.05, "merged into blocks");
    }

    private static void Gradients<TModel, TFloats>(IReadOnlyList<ParameterInfo> parameters, double tolerance, double lossTolerance)
        where TModel : ITrainableLanguageModel<TModel>
        where TFloats : ITrainableLanguageModel<TFloats>
    {
        using TemporaryFile file = new();
        TModel model = TModel.Create(seed: 3);
        var random = new Random(1);
        foreach (ParameterInfo parameter in parameters.Where(p => p.Adapts is not null))
        {
            foreach (ref float x in model.Parameter(parameter.Name))
            {
                x = (random.NextSingle() - 0.5f) * 0.3f;
            }
        }

        // Files hold the floats that blocks stand for.
        model.Save(file.Path);
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0 }, new TrainerOptions { Threads = 2 });
        using TokenTrainer floats = TFloats.Load(file.Path).CreateTrainer(new AdamW { LearningRate = 0 });
        Assert.Equal(floats.Step(Inputs, Targets), trainer.Step(Inputs, Targets), lossTolerance);
        foreach (ParameterInfo parameter in parameters.Where(p => !p.IsFrozen))
        {
            Compare.RelativeToNorm(floats.Gradient(parameter.Name), trainer.Gradient(parameter.Name), tolerance, parameter.Name);
        }
    }

    private static void Learns<TModel>(IReadOnlyList<ParameterInfo> parameters)
        where TModel : ITrainableLanguageModel<TModel>
    {
        using TemporaryFile before = new(), after = new();
        TModel model = TModel.Create(seed: 3);
        model.Save(before.Path);
        using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-2f, GradientClip = 1 }, new TrainerOptions { Threads = 2 });
        float first = trainer.Step(Inputs, Targets), last = first;
        for (int step = 0; step < 60; step++)
        {
            last = trainer.Step(Inputs, Targets);
        }

        Assert.True(last < 0.6 * first, FormattableString.Invariant($"the loss went from {first} to {last}"));
        model.Save(after.Path);
        (ReferenceFile old, ReferenceFile now) = (new(before.Path), new(after.Path));
        foreach (ParameterInfo parameter in parameters.Where(p => p.IsFrozen && p.Format is not WeightFormat.F16 and not WeightFormat.BF16))
        {
            Assert.Equal(old.Floats(parameter.Name), now.Floats(parameter.Name));
        }
    }

    private static void Resumes<TModel>()
        where TModel : ITrainableLanguageModel<TModel>
    {
        using TemporaryFile file = new();
        using TokenTrainer trainer = TModel.Create(seed: 3).CreateTrainer(new AdamW { LearningRate = 1e-2f });
        trainer.Step(Inputs, Targets);
        trainer.SaveCheckpoint(file.Path);
        using TokenTrainer resumed = TModel.Create(seed: 9).CreateTrainer(new AdamW { LearningRate = 1e-2f }, new TrainerOptions { Threads = 2 });
        resumed.LoadCheckpoint(file.Path);
        for (int step = 0; step < 4; step++)
        {
            Assert.Equal(trainer.Step(Inputs, Targets), resumed.Step(Inputs, Targets));
        }
    }

    private static float[] Logits(CausalSession session)
    {
        using (session)
        {
            return session.Prefill([1, 5, 2, 40, 17, 3, 9]).ToArray();
        }
    }
}
