using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>What happens in the middle of something else: sessions that begin beside each other, and failures halfway, on a device that does nothing before it is waited for.</summary>
public sealed class DeviceOrderTests
{
    private static readonly int[] s_targets = [0, 1, 2, 0];

    /// <summary>A session copies the weights while another one, which began before it, has not waited for its memory yet.</summary>
    [Fact]
    public void Weights_are_not_cleared_behind_another_sessions_copy()
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        Device device = DeviceOf(driver);
        float[] inputs = Numbers(5), wanted = new float[3], there = new float[3];
        using DeviceMlp.Session here = model.CreateSession();
        here.Predict(inputs, wanted);
        DeviceMlp.Session? second = null;
        driver.Meanwhile["cuStreamSynchronize"] = () =>
        {
            second = model.CreateSession(new SessionOptions { Device = device });
            second.Predict(inputs, there);
        };
        using (DeviceMlp.Session first = model.CreateSession(new SessionOptions { Device = device }))
        {
            Near(driver, wanted, there);
            first.Predict(inputs, there);
            Near(driver, wanted, there);
        }

        second!.Predict(inputs, there);
        Near(driver, wanted, there);
        second.Dispose();
        Empty(driver);
    }

    /// <summary>Whatever a trainer makes on a device fails, its optimizer's part as well: it is the processor's then, and the device is empty.</summary>
    [Theory]
    [InlineData("cuMemAlloc_v2")]
    [InlineData("cuMemHostAlloc")]
    [InlineData("cuModuleLoadDataEx")]
    [InlineData("cuStreamCreate")]
    [InlineData("cuStreamSynchronize")]
    [InlineData("cuDevicePrimaryCtxRetain")]
    public void A_trainer_that_does_not_fit_falls_back(string function)
    {
        for (int call = 1; ; call++)
        {
            using var driver = new StandInDriver();
            driver.Failures[function] = (call, 2);
            using DeviceMlp.Trainer trainer = DeviceMlp.Create(seed: 3).CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver, mayFallBack: true) });
            if (driver.Calls[function] < call)
            {
                Assert.Equal(DeviceKind.Cuda, trainer.Device.Kind);
                Assert.True(call > 1);
                return;
            }

            Assert.Contains("out of memory", trainer.Device.FallbackReason, StringComparison.Ordinal);
            Empty(driver);
            trainer.Step(Numbers(20), s_targets);
        }
    }

    /// <summary>All that a device had is given back when it is lost, by each that used it; a checkpoint makes the model whole again.</summary>
    [Fact]
    public void A_model_whose_device_was_lost_is_whole_with_a_checkpoint()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new();
        Device device = DeviceOf(driver);
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = device });
        DeviceMlp.Session session = model.CreateSession(new SessionOptions { Device = device });
        trainer.Step(Numbers(20), s_targets);
        trainer.SaveCheckpoint(file.Path);
        float[] saved = model.Parameter(DeviceMlp.Parameters[0].Name).ToArray();
        trainer.Step(Numbers(20), s_targets);
        driver.Failures["cuGraphLaunch"] = (driver.Calls.GetValueOrDefault("cuGraphLaunch") + 1, 719);
        Record.Exception(() => trainer.Step(Numbers(20), s_targets));
        Record.Exception(() => trainer.Step(Numbers(20), s_targets));

        // A trainer elsewhere loads while the lost one is still there.
        using DeviceMlp.Trainer host = model.CreateTrainer(new AdamW());
        Assert.ThrowsAny<Exception>(() => model.Parameter(DeviceMlp.Parameters[0].Name).Length);
        host.LoadCheckpoint(file.Path);
        Assert.Equal(saved, model.Parameter(DeviceMlp.Parameters[0].Name).ToArray());
        trainer.Dispose();
        session.Dispose();
        Assert.Equal(driver.Calls["cuMemAlloc_v2"], driver.Calls["cuMemFree_v2"]);
        Assert.Equal(driver.Calls["cuStreamCreate"], driver.Calls["cuStreamDestroy_v2"]);
        host.Step(Numbers(20), s_targets);
        model.Save(file.Path);
    }

    /// <summary>As above, when the loss was noticed by giving the weights back; whoever comes after that is told, and may dispose.</summary>
    [Fact]
    public void Weights_that_were_lost_are_replaced_by_a_checkpoint()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new();
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        using (DeviceMlp.Trainer before = model.CreateTrainer(new AdamW()))
        {
            before.SaveCheckpoint(file.Path);
        }

        DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver) });
        using var other = new StandInDriver();
        DeviceMlp.Session elsewhere = model.CreateSession(new SessionOptions { Device = DeviceOf(other) });
        elsewhere.Predict(Numbers(5), new float[3]);
        trainer.Step(Numbers(20), s_targets);
        driver.Failures["cuMemcpyDtoHAsync_v2"] = (driver.Calls["cuMemcpyDtoHAsync_v2"] + 1, 719);
        trainer.Dispose();
        Assert.Contains("were on a device that failed", Assert.Throws<InvalidOperationException>(() => model.Save(file.Path)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => elsewhere.Predict(Numbers(5), new float[3]));
        elsewhere.Dispose();
        Empty(other);
        using DeviceMlp.Trainer host = model.CreateTrainer(new AdamW());
        host.LoadCheckpoint(file.Path);
        host.Step(Numbers(20), s_targets);
        model.Save(file.Path);
    }

    /// <summary>A call that fails leaves nothing going on behind it, in memory that the next call writes to.</summary>
    [Theory]
    [InlineData("cuMemcpyDtoHAsync_v2")]
    [InlineData("cuMemcpyHtoDAsync_v2")]
    public void A_run_that_fails_is_over(string function)
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        using DeviceMlp.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        float[] wanted = new float[3], outputs = new float[3];
        there.Predict(Numbers(5), outputs);
        driver.Failures[function] = (driver.Calls[function] + 1, 1);
        Assert.Throws<CudaException>(() => there.Predict([9, 9, 9, 9, 9], outputs));
        Assert.Equal(0, driver.Pending);
        here.Predict(Numbers(5), wanted);
        there.Predict(Numbers(5), outputs);
        Near(driver, wanted, outputs);
    }

    /// <summary>An update whose norm cannot be fetched was an update all the same.</summary>
    [Fact]
    public void An_update_that_was_launched_counts_whatever_fails_behind_it()
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 3), twin = DeviceMlp.Create(seed: 3);
        AdamW Optimizer() => new() { LearningRate = 0.1f, Epsilon = 1e-3f };
        using DeviceMlp.Trainer here = twin.CreateTrainer(Optimizer()), there = model.CreateTrainer(Optimizer(), new TrainerOptions { Device = DeviceOf(driver) });
        driver.Failures["cuMemcpyDtoHAsync_v2"] = (driver.Calls.GetValueOrDefault("cuMemcpyDtoHAsync_v2") + 2, 1);
        Assert.Throws<CudaException>(() => there.Step(Numbers(20), s_targets));
        Assert.Equal((0, 0L), (driver.Pending, there.StepCount));
        here.Step(Numbers(20), s_targets);
        string name = DeviceMlp.Parameters[0].Name;
        Near(driver, twin.Parameter(name), model.Parameter(name), 1e-4f);
    }

    /// <summary>A checkpoint that came half to the device is loaded once more, or nothing is done with the trainer.</summary>
    [Fact]
    public void A_checkpoint_that_was_loaded_in_part()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new(), second = new();
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        using DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver) });
        trainer.Step(Numbers(20), s_targets);
        trainer.SaveCheckpoint(file.Path);
        float next = trainer.Step(Numbers(20), s_targets);
        driver.Failures["cuMemcpyHtoDAsync_v2"] = (driver.Calls["cuMemcpyHtoDAsync_v2"] + 1, 1);
        Assert.Throws<CudaException>(() => trainer.LoadCheckpoint(file.Path));
        Assert.Contains("failed halfway", Assert.Throws<InvalidOperationException>(() => trainer.Step(Numbers(20), s_targets)).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => trainer.SaveCheckpoint(second.Path));
        trainer.LoadCheckpoint(file.Path);
        Assert.Equal(1, trainer.StepCount);
        Assert.Equal(next, trainer.Step(Numbers(20), s_targets));
    }

    [Fact]
    public void Who_asks_for_devices_makes_no_context()
    {
        using var driver = new StandInDriver();
        CudaContext context = driver.Load().TryContext(0)!;
        Assert.Equal("8.0", new DeviceInUse(context).ComputeCapability);
        Assert.False(driver.Calls.ContainsKey("cuDevicePrimaryCtxRetain"));
        context.Use();
        context.Use();
        Assert.Equal(1, driver.Calls["cuDevicePrimaryCtxRetain"]);
    }

    /// <summary>A device that is quicker than its host does the same.</summary>
    [Fact]
    public void A_device_that_does_everything_at_once()
    {
        using var driver = new StandInDriver { IsQuick = true };
        using DeviceGpt.Trainer quick = DeviceGpt.Create(seed: 3).CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver) });
        using var slow = new StandInDriver();
        using DeviceGpt.Trainer other = DeviceGpt.Create(seed: 3).CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(slow) });
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(quick.Step(Ids(10, 17, i), Ids(10, 17, i + 5)), other.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        }
    }
}
