using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Weights that are trained as bfloat16, with a master copy in single precision (Micikevicius et al. 2018).</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class MasterWeightTests
{
    private static readonly int[] Inputs = [.. Enumerable.Range(0, 2 * 17).Select(i => ((i * 7) + (i / 5)) % 101)];
    private static readonly int[] Targets = [.. Inputs.Select((x, i) => i % 11 == 3 ? -1 : ((5 * x) + 2) % 101)];

    [Fact]
    public void Weights_take_half_the_memory_and_the_master_copy_counts()
    {
        Assert.All(TrainedBF16.Parameters, p => Assert.Equal(p.Shape.Length == 2 ? WeightFormat.BF16 : WeightFormat.F32, p.Format));
        Assert.InRange(TrainedBF16.WeightBytes, TrainedFloats.WeightBytes / 2, TrainedFloats.WeightBytes / 2 * 1.1);
        using TrainedBF16.Trainer trainer = TrainedBF16.Create().CreateTrainer(new AdamW());
        using TrainedFloats.Trainer floats = TrainedFloats.Create().CreateTrainer(new AdamW());
        Assert.Equal(TrainedBF16.AdamWTrainingBytes, trainer.MemoryBytes);
        Assert.Equal(TrainedFloats.AdamWTrainingBytes, floats.MemoryBytes);
    }

    [Fact]
    public void Gradients_are_those_of_the_rounded_weights()
    {
        using TemporaryFile file = new();
        TrainedBF16 model = TrainedBF16.Create(3);
        model.Save(file.Path);
        using TrainedBF16.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0 }, new TrainerOptions { Threads = 2 });
        using TrainedFloats.Trainer floats = TrainedFloats.Load(file.Path).CreateTrainer(new AdamW { LearningRate = 0 });
        Assert.Equal(floats.Step(Inputs, Targets), trainer.Step(Inputs, Targets), 1e-5);
        foreach (ParameterInfo parameter in TrainedBF16.Parameters)
        {
            Compare.RelativeToNorm(floats.Gradient(parameter.Name), trainer.Gradient(parameter.Name), 1e-5, parameter.Name);
        }
    }

    [Theory]
    [InlineData(WeightRounding.Nearest)]
    [InlineData(WeightRounding.Stochastic)]
    public void Training_goes_the_way_of_single_precision(WeightRounding rounding)
    {
        using TemporaryFile file = new(), checkpoint = new();
        TrainedBF16 model = TrainedBF16.Create(3);
        model.Save(file.Path);
        TrainedFloats single = TrainedFloats.Load(file.Path);

        // A change of 1e-5 of a weight of 0.02 is far below half a step of bfloat16, 4e-5, which the weights alone would never take.
        using TrainedBF16.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-5f }, new TrainerOptions { Rounding = rounding });
        using TrainedFloats.Trainer floats = single.CreateTrainer(new AdamW { LearningRate = 1e-5f });
        Dictionary<string, float[]> before = TrainedFloats.Parameters.ToDictionary(p => p.Name, p => single.Parameter(p.Name).ToArray());
        for (int step = 0; step < 100; step++)
        {
            Assert.Equal(floats.Step(Inputs, Targets), trainer.Step(Inputs, Targets), 0.02);
        }

        trainer.SaveCheckpoint(checkpoint.Path);
        ReferenceFile masters = new(checkpoint.Path);
        foreach (ParameterInfo parameter in TrainedBF16.Parameters)
        {
            float[] start = before[parameter.Name];
            float[] expected = [.. single.Parameter(parameter.Name).ToArray().Zip(start, (a, b) => a - b)];
            Compare.RelativeToNorm(expected, [.. masters.Floats(parameter.Name).Zip(start, (a, b) => a - b)], 0.1, parameter.Name);
        }
    }

    [Theory]
    [InlineData(WeightRounding.Nearest)]
    [InlineData(WeightRounding.Stochastic)]
    public void Bits_do_not_depend_on_threads_and_survive_a_checkpoint(WeightRounding rounding)
    {
        using TemporaryFile file = new(), one = new(), two = new();
        var optimizer = new AdamW { LearningRate = 3e-3f, GradientClip = 1 };
        TrainedBF16 model = TrainedBF16.Create(3), other = TrainedBF16.Create(9);
        using TrainedBF16.Trainer trainer = model.CreateTrainer(optimizer, new TrainerOptions { Rounding = rounding, Seed = 7, Threads = 1 });
        float first = trainer.Step(Inputs, Targets);
        for (int step = 0; step < 5; step++)
        {
            trainer.Step(Inputs, Targets);
        }

        trainer.SaveCheckpoint(file.Path);
        using TrainedBF16.Trainer resumed = other.CreateTrainer(optimizer, new TrainerOptions { Rounding = rounding, Threads = 2 });
        resumed.LoadCheckpoint(file.Path);
        Assert.Empty(resumed.ChangedSettings);
        model.Save(one.Path);
        other.Save(two.Path);
        Assert.Equal(File.ReadAllBytes(one.Path), File.ReadAllBytes(two.Path));
        float last = first;
        for (int step = 0; step < 60; step++)
        {
            last = trainer.Step(Inputs, Targets);
            Assert.Equal(last, resumed.Step(Inputs, Targets));
        }

        Assert.True(last < 0.5 * first, FormattableString.Invariant($"the loss went from {first} to {last}"));
        using TrainedBF16.Trainer changed = other.CreateTrainer(optimizer, new TrainerOptions { Rounding = 1 - rounding });
        changed.LoadCheckpoint(file.Path);
        Assert.Equal("Rounding", Assert.Single(changed.ChangedSettings).Name);
    }

    [Theory]
    [InlineData(WeightRounding.Nearest)]
    [InlineData(WeightRounding.Stochastic)]
    public void A_step_allocates_nothing(WeightRounding rounding)
    {
        using TrainedBF16.Trainer trainer = TrainedBF16.Create().CreateTrainer(new AdamW(), new TrainerOptions { Threads = 2, Rounding = rounding });
        Assert.Equal(0, Allocated.Least(() => trainer.Step(Inputs, Targets)));
    }

    [Fact]
    public void Rounding_is_to_the_nearest_or_right_on_average()
    {
        var random = new Random(1);
        float[] values = [0, -0f, 1, -1, 1.00390625f, 1.01171875f, float.MaxValue, float.Epsilon, float.NaN, float.PositiveInfinity, float.NegativeInfinity, .. Enumerable.Range(0, 40_002).Select(_ => (float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-30, 30))))];
        byte[] expected = new byte[2 * values.Length];
        GgmlBlocks.Write(GgmlType.BF16, values, expected);
        var nearest = new ushort[values.Length];
        var up = new int[values.Length];
        fixed (float* from = values)
        fixed (ushort* to = nearest)
        {
            BFloat16Rounding.Nearest(from, to, values.Length);
            Assert.Equal(expected, System.Runtime.InteropServices.MemoryMarshal.AsBytes<ushort>(nearest).ToArray());
            const int Draws = 400;
            var drawn = new ushort[values.Length];
            fixed (ushort* target = drawn)
            {
                for (int step = 0; step < Draws; step++)
                {
                    BFloat16Rounding.Stochastic(from, target, values.Length, 16, step, 5);
                    for (int i = 0; i < values.Length; i++)
                    {
                        uint lower = BitConverter.SingleToUInt32Bits(values[i]) >> 16;
                        Assert.True(float.IsNaN(values[i]) ? float.IsNaN(BitConverter.UInt32BitsToSingle((uint)drawn[i] << 16)) : drawn[i] == lower || drawn[i] == lower + 1);
                        up[i] += float.IsFinite(values[i]) ? (int)(drawn[i] - lower) : 0;
                    }
                }
            }

            // The share of draws that went up is that of the lower half, within five standard deviations; what needs no rounding never moves.
            double bias = 0, finite = 0;
            for (int i = 0; i < values.Length; i++)
            {
                if (float.IsFinite(values[i]))
                {
                    double share = (BitConverter.SingleToUInt32Bits(values[i]) & 0xFFFF) / 65536.0;
                    Assert.InRange(up[i] - (Draws * share), -5.5 * Math.Sqrt(Draws * 0.25), 5.5 * Math.Sqrt(Draws * 0.25));
                    Assert.True(share > 0 || up[i] == 0);
                    bias += up[i] - (Draws * share);
                    finite++;
                }
            }

            Assert.InRange(bias / (finite * Draws), -5 * 0.5 / Math.Sqrt(finite * Draws), 5 * 0.5 / Math.Sqrt(finite * Draws));
        }
    }
}
