using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>Whole training steps whose products are by groups of four warps, on a stand-in of compute capability 9.0; other devices never see their module.</summary>
public sealed class DeviceWarpgroupTests
{
    private static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f };

    /// <summary>Losses and gradients are near the processor's, as near as those of the products of other devices, and the same bits in two runs.</summary>
    [Fact]
    public void A_gpt_learns()
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        var options = new TrainerOptions { Seed = 5, Device = DeviceOf(driver) };
        using WarpgroupGpt.Trainer here = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5 }), there = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, options), again = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, options);
        Assert.Equal("9.0", there.Device.ComputeCapability);
        float first = 0, last = 0;
        for (int i = 0; i < 6; i++)
        {
            float wanted = here.Step(Ids(36, 17, i % 3), Ids(36, 17, (i % 3) + 5));
            last = there.Step(Ids(36, 17, i % 3), Ids(36, 17, (i % 3) + 5));
            Near(driver, [wanted], [last], 1e-2f);
            Assert.Equal(last, again.Step(Ids(36, 17, i % 3), Ids(36, 17, (i % 3) + 5)));
            first = i == 2 ? last : first;
            if (i == 0)
            {
                foreach (ParameterInfo parameter in WarpgroupGpt.Parameters.Where(p => !p.IsTable))
                {
                    float[] expected = here.Gradient(parameter.Name).ToArray(), actual = there.Gradient(parameter.Name).ToArray();
                    double norm = Math.Sqrt(expected.Sum(x => (double)x * x)), distance = Math.Sqrt(expected.Zip(actual, (x, y) => (double)(x - y) * (x - y)).Sum());
                    Assert.True(distance <= 2e-2 * Math.Max(norm, 1e-3), FormattableString.Invariant($"the gradient of {parameter.Name} is {distance} away, of {norm}"));
                }
            }
        }

        Assert.True(last < first, FormattableString.Invariant($"{first} became {last}"));
        Assert.Null(driver.Fault);
    }

    /// <summary>Numbers that are drawn, and a run that goes on from a checkpoint bit for bit.</summary>
    [Fact]
    public void A_gpt_learns_with_rounding_that_is_drawn()
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        using TemporaryFile file = new();
        var options = new TrainerOptions { Seed = 5, Device = DeviceOf(driver) };
        using StochasticWarpgroupGpt.Trainer here = StochasticWarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5 }), drawn = StochasticWarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, options), resumed = StochasticWarpgroupGpt.Create(seed: 4).CreateTrainer(Optimizer, options);
        using WarpgroupGpt.Trainer nearest = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, options);
        float loss = drawn.Step(Ids(36, 17), Ids(36, 17, 4));
        Near(driver, [here.Step(Ids(36, 17), Ids(36, 17, 4))], [loss], 2e-2f);
        Assert.NotEqual(nearest.Step(Ids(36, 17), Ids(36, 17, 4)), loss);
        drawn.SaveCheckpoint(file.Path);
        resumed.LoadCheckpoint(file.Path);
        Assert.Equal(drawn.Step(Ids(36, 17, 1), Ids(36, 17, 6)), resumed.Step(Ids(36, 17, 1), Ids(36, 17, 6)));
        Assert.Null(driver.Fault);
    }

    /// <summary>Prompts, whose rows a run counts: both ways to multiply are launched, and one leaves.</summary>
    [Fact]
    public void A_gpt_reads()
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        WarpgroupGpt model = WarpgroupGpt.Create(seed: 3);
        using WarpgroupGpt.Session here = model.CreateSession(), there = model.CreateSession(Session(driver));
        foreach (int count in new[] { 19, 1, 2 })
        {
            Near(driver, here.Prefill(Ids(count, 17)), there.Prefill(Ids(count, 17)), 2e-2f);
        }

        Assert.Null(driver.Fault);
    }

    /// <summary>Which module is loaded is the device's and the driver's: 9.0 alone, and PTX 8.0 from CUDA 12.0 on. Bits are those of the same declaration without such products there.</summary>
    [Theory]
    [InlineData(8, 0, 12_040, false)]
    [InlineData(8, 9, 12_040, false)]
    [InlineData(9, 0, 11_080, false)]
    [InlineData(10, 0, 12_080, false)]
    [InlineData(9, 0, 12_000, true)]
    public void The_module_is_chosen_where_it_is_loaded(int major, int minor, int version, bool has)
    {
        int modules = 0;
        using var driver = new StandInDriver
        {
            Capability = (major, minor),
            Version = version,
            Edit = text =>
            {
                modules += text.Contains("sm_90a", StringComparison.Ordinal) ? 1 : 0;
                return text;
            },
        };
        using WarpgroupGpt.Trainer trainer = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) });
        Assert.Equal(FormattableString.Invariant($"{major}.{minor}"), trainer.Device.ComputeCapability);
        using var other = new StandInDriver();
        using RoundedGpt.Trainer plain = RoundedGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(other) });
        float loss = trainer.Step(Ids(36, 17), Ids(36, 17, 4)), twin = plain.Step(Ids(36, 17), Ids(36, 17, 4));
        Assert.Equal(has ? 1 : 0, modules);
        Assert.Equal(has, driver.Calls.ContainsKey("cuFuncSetAttribute"));
        Near(driver, [twin], [loss], has ? 1e-3f : 0);
        Assert.Null(driver.Fault);
    }

    /// <summary>A module that the driver refuses for what it is, or whose kernels ask for more than the device has, is not used: the module for all devices computes the same, and why it does is said.</summary>
    [Theory]
    [InlineData("cuModuleLoadDataEx", 2, 218, "CUDA_ERROR_INVALID_PTX (218)")]
    [InlineData("cuModuleLoadDataEx", 2, 209, "CUDA_ERROR_NO_BINARY_FOR_GPU (209)")]
    [InlineData("cuModuleLoadDataEx", 2, 222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)")]
    [InlineData("cuModuleLoadDataEx", 2, 223, "CUDA_ERROR_JIT_COMPILATION_DISABLED (223)")]
    [InlineData("cuFuncSetAttribute", 1, 1, "shared memory")]
    [InlineData("cuFuncSetAttribute", 3, 1, "shared memory")]
    public void A_module_that_the_driver_refuses_is_done_without(string function, int call, int error, string problem)
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        driver.Failures.Add(function, (call, error));
        Device device = DeviceOf(driver);
        using (WarpgroupGpt.Trainer trainer = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = device }))
        {
            string limitation = Assert.Single(trainer.Device.Limitations);
            Assert.StartsWith("Large products of WarpgroupGpt are those of other devices.", limitation, StringComparison.Ordinal);
            Assert.Contains(problem, limitation, StringComparison.Ordinal);
            Assert.Equal(DeviceKind.Cuda, trainer.Device.Kind);
            Assert.Null(trainer.Device.FallbackReason);

            // The bits of a device that has no such instructions.
            using var other = new StandInDriver();
            using WarpgroupGpt.Trainer twin = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(other) });
            Assert.Empty(twin.Device.Limitations);
            Assert.Equal(twin.Step(Ids(36, 17), Ids(36, 17, 4)), trainer.Step(Ids(36, 17), Ids(36, 17, 4)));

            // What is known of a module is known to whoever asks next.
            using WarpgroupGpt.Trainer next = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = device });
            Assert.Equal(limitation, Assert.Single(next.Device.Limitations));
        }

        // The module for all devices, the optimizers' and none that was refused.
        Assert.Equal(2, driver.LiveModules);
        Empty(driver);
    }

    /// <summary>A module for other kinds of this device and driver than they are (as a driver may have it that knows less than its version says) is refused by the driver itself.</summary>
    [Fact]
    public void A_driver_that_does_not_know_the_instructions()
    {
        using var driver = new StandInDriver { Capability = (9, 0), Edit = text => text.Replace(".target sm_90a", ".target sm_100a", StringComparison.Ordinal) };
        using WarpgroupGpt.Trainer trainer = WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Seed = 5, Device = DeviceOf(driver) });
        Assert.Contains("the driver's assembler says: ptxas error   : .target sm_100a is not for a device of 9.0", Assert.Single(trainer.Device.Limitations), StringComparison.Ordinal);
        trainer.Step(Ids(36, 17), Ids(36, 17, 4));
        Assert.Null(driver.Fault);
    }

    /// <summary>A device that has no memory left, or is lost, is an exception whichever module it was, and so is a module for all devices that is refused; nothing is left behind.</summary>
    [Theory]
    [InlineData("cuModuleLoadDataEx", 2, 2)]
    [InlineData("cuModuleLoadDataEx", 2, 719)]
    [InlineData("cuModuleLoadDataEx", 1, 218)]
    public void What_neither_module_can_mend_is_an_exception(string function, int call, int error)
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        driver.Failures.Add(function, (call, error));
        CudaException exception = Assert.Throws<CudaException>(() => WarpgroupGpt.Create(seed: 3).CreateTrainer(Optimizer, new TrainerOptions { Device = DeviceOf(driver) }));
        Assert.Equal(error, exception.ErrorCode);
        Assert.Equal((0, 0, 0), (driver.LiveMemory, driver.LiveHostMemory, driver.LiveStreams));
        Assert.Equal(error == 719 ? 1 : 0, driver.LiveModules);
    }
}
