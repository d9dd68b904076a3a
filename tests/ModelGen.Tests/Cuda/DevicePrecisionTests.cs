using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Products in TF32 and in bfloat16 on a device: near the processor's single precision, the same bits run after run, and the same files.</summary>
public sealed class DevicePrecisionTests
{
    private static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f };

    [Fact]
    public void Tokens_are_decoded_in_bfloat16()
    {
        using var driver = new StandInDriver();
        RoundedGpt model = RoundedGpt.Create(seed: 7);
        using RoundedGpt.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver)), again = model.CreateSession(Session(driver));
        int[] ids = Ids(22, 17);
        float[] rounded = actual.Prefill(ids.AsSpan(0, 18)).ToArray(), exact = expected.Prefill(ids.AsSpan(0, 18)).ToArray();
        Near(driver, exact, rounded, 1e-2f);
        Assert.NotEqual(exact, rounded);
        Assert.Equal(rounded, again.Prefill(ids.AsSpan(0, 18)).ToArray());
        foreach (int token in ids[18..])
        {
            Near(driver, expected.Decode(token), actual.Decode(token), 1e-2f);
        }
    }

    [Fact]
    public void A_gpt_learns_in_bfloat16() => Learns(
        options => RoundedGpt.Create(seed: 3).CreateTrainer(Optimizer, options), RoundedGpt.Parameters, (t, i) => t.Step(Ids(36, 17, i % 3), Ids(36, 17, (i % 3) + 5)), (t, name) => t.Gradient(name).ToArray(), 1e-2f);

    /// <summary>Rounding that is drawn in training: near, other bits than rounding to the nearest, the same again from a checkpoint; and sessions round to the nearest.</summary>
    [Fact]
    public void A_gpt_learns_with_rounding_that_is_drawn()
    {
        Learns(options => StochasticGpt.Create(seed: 3).CreateTrainer(Optimizer, options), StochasticGpt.Parameters, (t, i) => t.Step(Ids(36, 17, i % 3), Ids(36, 17, (i % 3) + 5)), (t, name) => t.Gradient(name).ToArray(), 2e-2f);
        using var driver = new StandInDriver();
        using TemporaryFile file = new();
        var options = new TrainerOptions { Device = DeviceOf(driver), Seed = 5 };
        using StochasticGpt.Trainer drawn = StochasticGpt.Create(seed: 3).CreateTrainer(Optimizer, options), resumed = StochasticGpt.Create(seed: 4).CreateTrainer(Optimizer, options);
        using RoundedGpt.Trainer nearest = RoundedGpt.Create(seed: 3).CreateTrainer(Optimizer, options);
        Assert.NotEqual(nearest.Step(Ids(36, 17), Ids(36, 17, 4)), drawn.Step(Ids(36, 17), Ids(36, 17, 4)));
        drawn.SaveCheckpoint(file.Path);
        resumed.LoadCheckpoint(file.Path);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(drawn.Step(Ids(36, 17, i), Ids(36, 17, 6)), resumed.Step(Ids(36, 17, i), Ids(36, 17, 6)));
        }

        using RoundedGpt.Session one = RoundedGpt.Create(seed: 7).CreateSession(Session(driver));
        using StochasticGpt.Session other = StochasticGpt.Create(seed: 7).CreateSession(Session(driver));
        Assert.Equal(one.Prefill(Ids(18, 17)).ToArray(), other.Prefill(Ids(18, 17)).ToArray());
        Assert.Null(driver.Fault);
    }

    [Fact]
    public void An_lstm_learns_in_tf32() => Learns(
        options => RoundedLstm.Create(seed: 3).CreateTrainer(Optimizer, options), RoundedLstm.Parameters, (t, i) => t.Step(Ids(12, 13, i % 3), Ids(12, 13, (i % 3) + 5)), (t, name) => t.Gradient(name).ToArray(), 1e-3f);

    /// <summary>Products of the smallest tile are part of a launch of several kernels.</summary>
    [Fact]
    public void A_plan_is_one_launch_in_bfloat16() => Learns(
        options => RoundedMlp.Create(seed: 3).CreateTrainer(Optimizer, options), RoundedMlp.Parameters, (t, i) => t.Step(Numbers(20), Ids(4, 3, i % 3)), (t, name) => t.Gradient(name).ToArray(), 1e-2f);

    /// <summary>Weights, momentum and files are single precision: a run goes on on the processor, and comes back, bit for bit.</summary>
    [Fact]
    public void Checkpoints_are_single_precision()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new(), other = new();
        Device device = DeviceOf(driver);
        using RoundedGpt.Trainer trainer = RoundedGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Device = device }), resumed = RoundedGpt.Create(seed: 4).CreateTrainer(Optimizer, new TrainerOptions { Device = device });
        using RoundedGpt.Trainer host = RoundedGpt.Create(seed: 5).CreateTrainer(Optimizer);
        trainer.Step(Ids(36, 17), Ids(36, 17, 4));
        trainer.Step(Ids(36, 17, 2), Ids(36, 17, 5));
        trainer.SaveCheckpoint(file.Path);
        host.LoadCheckpoint(file.Path);
        host.SaveCheckpoint(other.Path);
        Assert.Equal(File.ReadAllBytes(file.Path), File.ReadAllBytes(other.Path));
        resumed.LoadCheckpoint(other.Path);
        float next = trainer.Step(Ids(36, 17, 3), Ids(36, 17, 6));
        Assert.Equal(next, resumed.Step(Ids(36, 17, 3), Ids(36, 17, 6)));
        Near(driver, [host.Step(Ids(36, 17, 3), Ids(36, 17, 6))], [next], 1e-2f);
    }

    /// <summary>The optimizer's kernel keeps the copies of weights that sessions and steps multiply: they are those that are made of saved weights. Where it does not, that is seen.</summary>
    [Fact]
    public void Copies_of_weights_are_kept_by_the_optimizer()
    {
        using TemporaryFile file = new();
        RoundedGpt model = RoundedGpt.Create(seed: 3);
        using StandInDriver driver = new();
        Device device = DeviceOf(driver);
        using RoundedGpt.Trainer trainer = model.CreateTrainer(Optimizer, new TrainerOptions { Device = device });
        using RoundedGpt.Session session = model.CreateSession(new SessionOptions { Device = device });
        using StandInDriver broken = new() { Edit = WithoutCopies };
        using RoundedGpt.Trainer stale = RoundedGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Device = DeviceOf(broken) });
        for (int i = 0; i < 3; i++)
        {
            float expected = trainer.Step(Ids(36, 17, i), Ids(36, 17, i + 5)), actual = stale.Step(Ids(36, 17, i), Ids(36, 17, i + 5));
            Assert.Equal(i == 0, expected == actual);
        }

        model.Save(file.Path);
        using StandInDriver other = new();
        using RoundedGpt.Session fresh = RoundedGpt.Load(file.Path).CreateSession(Session(other));
        Assert.Equal(fresh.Prefill(Ids(18, 17)).ToArray(), session.Prefill(Ids(18, 17)).ToArray());
        Assert.Equal(fresh.Decode(3).ToArray(), session.Decode(3).ToArray());
        Assert.Null(driver.Fault);
        Assert.Null(other.Fault);

        static string WithoutCopies(string text)
        {
            int update = text.IndexOf(".entry AdamW", StringComparison.Ordinal);
            return update < 0 ? text : text[..update] + text[update..].Replace("\tst.global.b16 [%rd17], %h0;\n", "", StringComparison.Ordinal);
        }
    }

    /// <summary>Steps in both, of which the gradients of the first, at equal weights, are near by their norm, and losses fall alike.</summary>
    private static void Learns<TTrainer>(Func<TrainerOptions, TTrainer> create, IReadOnlyList<ParameterInfo> parameters, Func<TTrainer, int, float> step, Func<TTrainer, string, float[]> gradient, float tolerance)
        where TTrainer : Trainer
    {
        using var driver = new StandInDriver();
        using TTrainer here = create(new TrainerOptions { Seed = 5 }), there = create(new TrainerOptions { Seed = 5, Device = DeviceOf(driver) }), again = create(new TrainerOptions { Seed = 5, Device = DeviceOf(driver) });
        float first = 0, last = 0;
        for (int i = 0; i < 12; i++)
        {
            float wanted = step(here, i);
            last = step(there, i);
            Assert.Equal(last, step(again, i));
            Near(driver, [wanted], [last], tolerance);
            first = i == 2 ? last : first;
            if (i == 0)
            {
                foreach (ParameterInfo parameter in parameters.Where(p => !p.IsTable))
                {
                    float[] expected = gradient(here, parameter.Name), actual = gradient(there, parameter.Name);
                    double norm = Math.Sqrt(expected.Sum(x => (double)x * x)), distance = Math.Sqrt(expected.Zip(actual, (x, y) => (double)(x - y) * (x - y)).Sum());
                    Assert.True(distance <= 2 * tolerance * Math.Max(norm, 1e-3), FormattableString.Invariant($"the gradient of {parameter.Name} is {distance} away, of {norm}"));
                }
            }
        }

        Assert.True(last < first, FormattableString.Invariant($"{first} became {last}"));
    }
}
