using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Trainers on a device, through the runtime's loader, launches and optimizers, against the same trainers on the processor.</summary>
public sealed class DeviceTrainerTests
{
    private const float LossTolerance = 2e-5f;

    // Where gradients are as good as zero, the sign of what is left of them is noise: a large ε has an update that small, and not one of the learning rate.
    private static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f, Schedule = new WarmupCosine(2, 10) };

    [Fact]
    public void Gpt() => Same(options =>
    {
        DeviceGpt model = DeviceGpt.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), t => t.Evaluate(Ids(10, 17, 9), Ids(10, 17, 8)), n => model.Parameter(n).ToArray(), DeviceGpt.Parameters);
    });

    [Fact]
    public void Gpt_with_a_window() => Same(options =>
    {
        DeviceWindowGpt model = DeviceWindowGpt.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), t => t.Evaluate(Ids(10, 17, 9), Ids(10, 17, 8)), n => model.Parameter(n).ToArray(), DeviceWindowGpt.Parameters);
    });

    [Fact]
    public void Decoder() => Same(options =>
    {
        DeviceDecoder model = DeviceDecoder.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), t => t.Evaluate(Ids(10, 17, 9), Ids(10, 17, 8)), n => model.Parameter(n).ToArray(), DeviceDecoder.Parameters);
    });

    /// <summary>With dropout, whose seed the device gets with each run, and a state that goes on from step to step.</summary>
    [Fact]
    public void Lstm() => Same(options =>
    {
        DeviceLstm model = DeviceLstm.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)), t => t.Evaluate(Ids(12, 13, 9), Ids(12, 13, 8)), n => model.Parameter(n).ToArray(), DeviceLstm.Parameters);
    });

    [Fact]
    public void T5() => Same(options =>
    {
        DeviceT5 model = DeviceT5.Create(seed: 3);
        return Run.Of(
            model.CreateTrainer(Optimizer, options),
            i => t => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 13, i), Ignoring(Ids(10, 13, i + 5))),
            t => t.Evaluate(Ids(12, 13, 7), [5, 6], Ids(10, 13, 8), Ids(10, 13, 9)),
            n => model.Parameter(n).ToArray(),
            DeviceT5.Parameters);
    });

    [Fact]
    public void Transformer() => Same(options =>
    {
        DeviceTransformer model = DeviceTransformer.Create(seed: 3);
        return Run.Of(
            model.CreateTrainer(Optimizer, options),
            i => t => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ignoring(Ids(10, 11, i + 5))),
            t => t.Evaluate(Ids(12, 13, 7), [5, 6], Ids(10, 11, 8), Ids(10, 11, 9)),
            n => model.Parameter(n).ToArray(),
            DeviceTransformer.Parameters);
    });

    [Fact]
    public void Recurrent_encoder_and_decoder() => Same(options =>
    {
        DeviceSeq2Seq model = DeviceSeq2Seq.Create(seed: 3);
        return Run.Of(
            model.CreateTrainer(Optimizer, options),
            i => t => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ignoring(Ids(10, 11, i + 5))),
            t => t.Evaluate(Ids(12, 13, 7), [5, 6], Ids(10, 11, 8), Ids(10, 11, 9)),
            n => model.Parameter(n).ToArray(),
            DeviceSeq2Seq.Parameters);
    });

    [Fact]
    public void Bert() => Same(options =>
    {
        DeviceBert model = DeviceBert.Create(seed: 3);
        return Run.Of(
            model.CreateTrainer(Optimizer, options),
            i => t => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ignoring(Ids(12, 13, i + 5)), [1, 0]),
            null,
            n => model.Parameter(n).ToArray(),
            DeviceBert.Parameters);
    });

    [Fact]
    public void Mlp() => Same(options =>
    {
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Numbers(20), Ids(4, 3, i)), t => t.Evaluate(Numbers(30), Ids(6, 3)), n => model.Parameter(n).ToArray(), DeviceMlp.Parameters);
    });

    [Fact]
    public void Words_from_a_window() => Same(options =>
    {
        DeviceNnlm model = DeviceNnlm.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(9, 11, i), Ids(3, 11, i + 5)), null, n => model.Parameter(n).ToArray(), DeviceNnlm.Parameters);
    });

    [Fact]
    public void Codes_of_words() => Same(options =>
    {
        DeviceWords model = DeviceWords.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(6, 9, i), [1, 2, 2], Ids(3, 9, i + 5)), null, n => model.Parameter(n).ToArray(), DeviceWords.Parameters);
    });

    [Fact]
    public void Regressor() => Same(options =>
    {
        DeviceRegressor model = DeviceRegressor.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Numbers(16), Numbers(24)), null, n => model.Parameter(n).ToArray(), DeviceRegressor.Parameters);
    });

    [Fact]
    public void Tagger() => Same(options =>
    {
        DeviceTagger model = DeviceTagger.Create(seed: 3);
        return Run.Of(model.CreateTrainer(Optimizer, options), i => t => t.Step(Ids(10, 11, i), [5, 3], Ignoring(Ids(10, 4, i + 5))), null, n => model.Parameter(n).ToArray(), DeviceTagger.Parameters);
    });

    /// <summary>Checkpoints are the processor's: a run goes on from either, and on the device bit for bit.</summary>
    [Fact]
    public void A_run_goes_on_here_and_there()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new();
        Device device = DeviceOf(driver);
        DeviceLstm model = DeviceLstm.Create(seed: 3);
        using DeviceLstm.Trainer trainer = model.CreateTrainer(Optimizer, new TrainerOptions { Device = device, Seed = 5 });
        trainer.Step(Ids(12, 13), Ids(12, 13, 4));
        trainer.Step(Ids(12, 13, 2), Ids(12, 13, 5));
        trainer.SaveCheckpoint(file.Path);
        float next = trainer.Step(Ids(12, 13, 3), Ids(12, 13, 6)), after = trainer.Step(Ids(12, 13, 4), Ids(12, 13, 7));

        DeviceLstm resumedModel = DeviceLstm.Create(seed: 8), hostModel = DeviceLstm.Create(seed: 9);
        using DeviceLstm.Trainer resumed = resumedModel.CreateTrainer(Optimizer, new TrainerOptions { Device = device });
        using DeviceLstm.Trainer host = hostModel.CreateTrainer(Optimizer);
        resumed.Step(Ids(12, 13, 7), Ids(12, 13, 9));
        resumed.LoadCheckpoint(file.Path);
        host.LoadCheckpoint(file.Path);
        Assert.Equal(2, resumed.StepCount);
        Assert.Equal(next, resumed.Step(Ids(12, 13, 3), Ids(12, 13, 6)));
        Near(driver, [next], [host.Step(Ids(12, 13, 3), Ids(12, 13, 6))], LossTolerance);

        // And back: what the processor has done goes on on the device.
        host.SaveCheckpoint(file.Path);
        resumed.LoadCheckpoint(file.Path);
        Near(driver, [after], [resumed.Step(Ids(12, 13, 4), Ids(12, 13, 7))], LossTolerance);

        trainer.ResetState();
        host.ResetState();
        Assert.NotEqual(0, trainer.Gradient(DeviceLstm.Parameters[0].Name).ToArray().Max(Math.Abs));
    }

    /// <summary>A text that begins has its states zeroed in the stream of its step, and nobody waits; of a model without states nothing is asked for.</summary>
    [Fact]
    public void States_are_zeroed_without_waiting()
    {
        using var driver = new StandInDriver();
        using (DeviceLstm.Trainer here = DeviceLstm.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5 }), there = DeviceLstm.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) }))
        using (DeviceGpt.Trainer without = DeviceGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Device = DeviceOf(driver) }))
        {
            for (int i = 0; i < 3; i++)
            {
                Near(driver, [here.Step(Ids(12, 13, i), Ids(12, 13, i + 4))], [there.Step(Ids(12, 13, i), Ids(12, 13, i + 4))], LossTolerance);
                if (i == 1)
                {
                    driver.Calls.Clear();
                    here.ResetState();
                    there.ResetState();
                    without.ResetState();
                    Assert.Equal([new KeyValuePair<string, int>("cuMemsetD32Async", 1)], driver.Calls);
                }
            }

            there.ResetState();
        }

        Empty(driver);
    }

    /// <summary>Weights are one set, wherever they are used and changed.</summary>
    [Fact]
    public void What_a_device_has_learned_is_seen_everywhere()
    {
        using var driver = new StandInDriver();
        Device device = DeviceOf(driver);
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        using DeviceMlp.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = device });
        float[] inputs = Numbers(5), before = new float[3], onDevice = new float[3], onHost = new float[3];
        here.Predict(inputs, before);
        using (DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.05f }, new TrainerOptions { Device = device }))
        {
            trainer.Step(Numbers(20), [0, 1, 2, 0]);
            there.Predict(inputs, onDevice);
            here.Predict(inputs, onHost);
            Assert.NotEqual(before, onHost);
            Near(driver, onHost, onDevice);
            trainer.Step(Numbers(20), [0, 1, 2, 0]);
        }

        there.Predict(inputs, onDevice);
        here.Predict(inputs, onHost);
        Near(driver, onHost, onDevice);

        // A trainer here, and a hand.
        using DeviceMlp.Trainer host = model.CreateTrainer(new AdamW { LearningRate = 0.05f });
        host.Step(Numbers(20), [0, 1, 2, 0]);
        there.Predict(inputs, onDevice);
        here.Predict(inputs, onHost);
        Near(driver, onHost, onDevice);
        model.Parameter(DeviceMlp.Parameters[0].Name).Clear();
        there.Predict(inputs, onDevice);
        here.Predict(inputs, onHost);
        Near(driver, onHost, onDevice);
    }

    [Fact]
    public void Micro_batches_are_averaged() => Same(options =>
    {
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        return Run.Of(
            model.CreateTrainer(new Sgd { LearningRate = 0.1f, Momentum = 0.9f, Nesterov = true, WeightDecay = 0.01f }, options with { AccumulationSteps = 3 }),
            i => t => t.Step(Numbers(60), Ids(12, 3, i)),
            null,
            n => model.Parameter(n).ToArray(),
            DeviceMlp.Parameters);
    });

    [Fact]
    public void Groups_have_numbers_of_their_own() => Same(options =>
    {
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        string last = DeviceMlp.Parameters[^1].Name;
        var optimizer = new AdamW { LearningRate = 0.01f, Epsilon = 1e-3f, Groups = [new OptimizerGroup(last) { LearningRate = 0.2f, WeightDecay = 0.3f }] };
        return Run.Of(model.CreateTrainer(optimizer, options), i => t => t.Step(Numbers(20), Ids(4, 3, i)), null, n => model.Parameter(n).ToArray(), DeviceMlp.Parameters);
    });

    /// <summary>An optimizer that no device knows updates here, from the device's gradients.</summary>
    [Fact]
    public void An_optimizer_of_ones_own() => Same(options =>
    {
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        return Run.Of(model.CreateTrainer(new Lion { GradientClip = 1 }, options), i => t => t.Step(Numbers(20), Ids(4, 3, i)), t => t.Evaluate(Numbers(30), Ids(6, 3)), n => model.Parameter(n).ToArray(), DeviceMlp.Parameters);
    });

    [Fact]
    public void A_step_is_two_launches()
    {
        using var driver = new StandInDriver();
        using DeviceGpt.Trainer trainer = DeviceGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Device = DeviceOf(driver) });
        trainer.Step(Ids(10, 17), Ids(10, 17, 3));
        trainer.Step(Ids(10, 17), Ids(10, 17, 3));
        driver.Calls.Clear();
        trainer.Step(Ids(10, 17), Ids(10, 17, 3));
        Assert.Equal(
            ["cuGraphLaunch 1", "cuLaunchCooperativeKernel 1", "cuMemcpyDtoHAsync_v2 2", "cuMemcpyHtoDAsync_v2 2", "cuStreamSynchronize 1"],
            driver.Calls.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => FormattableString.Invariant($"{c.Key} {c.Value}")));
    }

    private static int[] Ignoring(int[] targets)
    {
        targets[^1] = -1;
        return targets;
    }

    /// <summary>Steps on both, whose losses, norms and weights are near each other.</summary>
    private static void Same(Func<TrainerOptions, Run> create)
    {
        using var driver = new StandInDriver();
        using (Run here = create(new TrainerOptions { Seed = 5 }), there = create(new TrainerOptions { Seed = 5, Device = DeviceOf(driver) }))
        {
            Assert.Equal(DeviceKind.Cuda, there.Trainer.Device.Kind);
            for (int step = 0; step < 3; step++)
            {
                float loss = here.Step(step);
                Near(driver, [loss], [there.Step(step)], LossTolerance);
                Near(driver, [here.Trainer.GradientNorm], [there.Trainer.GradientNorm], LossTolerance);
                Near(driver, [here.Evaluate()], [there.Evaluate()], LossTolerance);
            }

            foreach (ParameterInfo parameter in here.Parameters)
            {
                if (!parameter.IsFrozen && !parameter.IsTable)
                {
                    Near(driver, here.Trainer.Gradient(parameter.Name), there.Trainer.Gradient(parameter.Name), 1e-4f);
                }

                Near(driver, here.Weights(parameter.Name), there.Weights(parameter.Name), 1e-4f);
            }
        }

        Empty(driver);
    }

    /// <summary>A trainer, its steps and its model's weights.</summary>
    private sealed record Run(Trainer Trainer, Func<int, float> Step, Func<float> Evaluate, Func<string, float[]> Weights, IReadOnlyList<ParameterInfo> Parameters) : IDisposable
    {
        public static Run Of<TTrainer>(TTrainer trainer, Func<int, Func<TTrainer, float>> step, Func<TTrainer, float>? evaluate, Func<string, float[]> weights, IReadOnlyList<ParameterInfo> parameters)
            where TTrainer : Trainer
            => new(trainer, i => step(i)(trainer), () => evaluate?.Invoke(trainer) ?? 0, weights, parameters);

        public void Dispose() => Trainer.Dispose();
    }

    /// <summary>A little of Chen et al. (2023), smooth where gradients are as good as zero.</summary>
    private sealed class Lion() : Optimizer(0.01f)
    {
        public override string Name => "Lion";

        public override IReadOnlyList<string> Slots => ["exp_avg"];

        public override void Update(in OptimizerRange range)
        {
            Span<float> momentum = range.Slot(0);
            for (int i = 0; i < range.Weights.Length; i++)
            {
                float gradient = range.Gradients[i] * range.GradientScale;
                range.Weights[i] -= range.LearningRate * MathF.Tanh(100 * ((0.9f * momentum[i]) + (0.1f * gradient)));
                momentum[i] = (0.99f * momentum[i]) + (0.01f * gradient);
            }
        }
    }
}
