using ModelGen.Runtime;
using ModelGen.Tests.Models;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>What becomes of devices that are not there, do not fit or fail: what is thrown says so, and nothing is left behind.</summary>
public sealed class DeviceFailureTests
{
    public static TheoryData<string> Functions =>
    [
        "cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem_v2", "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuMemHostAlloc",
        "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemsetD32Async", "cuStreamCreate", "cuStreamSynchronize", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphLaunch",
        "cuModuleLoadDataEx", "cuModuleGetFunction", "cuLaunchKernel", "cuLaunchCooperativeKernel", "cuOccupancyMaxActiveBlocksPerMultiprocessor",
    ];

    [Fact]
    public void A_driver_that_is_not_there()
    {
        CudaException exception = Assert.Throws<CudaException>(() => CudaDriver.Load("libmodelgen-no-such-driver.so.1"));
        Assert.Contains("no NVIDIA driver", exception.Message, StringComparison.Ordinal);
        using DeviceMlp.Session session = DeviceMlp.Create().CreateSession(new SessionOptions { Device = Device.On(() => CudaDriver.Load("libmodelgen-no-such-driver.so.1"), 0, mayFallBack: true) });
        Assert.Equal(DeviceKind.Cpu, session.Device.Kind);
        Assert.Contains("no NVIDIA driver", session.Device.FallbackReason, StringComparison.Ordinal);
        session.Predict(new float[5], new float[3]);
    }

    [Fact]
    public void A_driver_that_is_too_old()
    {
        using var driver = new StandInDriver { Version = 11_020 };
        Says(driver, "CUDA 11.2, and 11.4 or later is needed");
        using var lacking = new StandInDriver { Lacks = "cuGraphInstantiateWithFlags" };
        Says(lacking, "it has no cuGraphInstantiateWithFlags");
    }

    [Fact]
    public void A_device_that_is_not_there_or_does_not_fit()
    {
        using var none = new StandInDriver { Devices = 0 };
        Says(none, "knows of no device");
        using var one = new StandInDriver();
        CudaException exception = Assert.Throws<CudaException>(() => DeviceMlp.Create().CreateSession(new SessionOptions { Device = Device.On(one.Load, 3) }));
        Assert.Contains("There is no CUDA device 3", exception.Message, StringComparison.Ordinal);
        using var old = new StandInDriver { Capability = (7, 5) };
        Says(old, "compute capability 7.5, and 8.0 or later is needed");
        Assert.Throws<ArgumentOutOfRangeException>(() => Device.Cuda(-1));
    }

    [Fact]
    public void A_model_without_a_path_for_devices()
    {
        using var driver = new StandInDriver();
        InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => XorClassifier.Create().CreateSession(Session(driver)));
        Assert.Contains("XorClassifier was declared without [Cuda]", exception.Message, StringComparison.Ordinal);
        using XorClassifier.Trainer trainer = XorClassifier.Create().CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver, mayFallBack: true) });
        Assert.Contains("without [Cuda]", trainer.Device.FallbackReason, StringComparison.Ordinal);
        Assert.Empty(driver.Calls);
    }

    [Fact]
    public void Memory_that_is_not_enough()
    {
        using var driver = new StandInDriver { TotalBytes = 20_000 };
        DeviceGpt model = DeviceGpt.Create();
        CudaException exception = Assert.Throws<CudaException>(() => model.CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver) }));
        Assert.Equal((2, "CUDA_ERROR_OUT_OF_MEMORY"), (exception.ErrorCode, exception.ErrorName));
        Assert.Matches(@"Allocating [\d,]+ bytes of device memory for .* of DeviceGpt failed: cuMemAlloc returned CUDA_ERROR_OUT_OF_MEMORY \(2\), out of memory", exception.Message);
        Empty(driver);

        using DeviceGpt.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver, mayFallBack: true) });
        Assert.Contains("out of memory", trainer.Device.FallbackReason, StringComparison.Ordinal);
        trainer.Step(Ids(10, 17), Ids(10, 17));
        Empty(driver);
    }

    /// <summary>Each function that is called fails once: the exception names it and the driver's error, and all that was made is gone.</summary>
    [Theory]
    [MemberData(nameof(Functions))]
    public void A_function_that_fails(string function)
    {
        for (int call = 1; ; call++)
        {
            using var driver = new StandInDriver();
            driver.Failures[function] = (call, 1);
            Device device = DeviceOf(driver);
            DeviceMlp model = DeviceMlp.Create(seed: 3);
            Exception? exception = Record.Exception(() =>
            {
                using DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = device });
                using DeviceMlp.Session session = model.CreateSession(new SessionOptions { Device = device });
                for (int i = 0; i < 2; i++)
                {
                    trainer.Step(Numbers(20), [0, 1, 2, 0]);
                    session.Predict(new float[5], new float[3]);
                }
            });
            Empty(driver);
            if (exception is null)
            {
                Assert.True(call > 1, $"{function} was not called");
                return;
            }

            CudaException error = Assert.IsType<CudaException>(exception);
            Assert.Equal((1, "CUDA_ERROR_INVALID_VALUE"), (error.ErrorCode, error.ErrorName));
            Assert.Contains(function.Split('_')[0], error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_device_that_is_lost_in_the_middle_of_a_step()
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 3);
        DeviceMlp.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Device = DeviceOf(driver) });
        trainer.Step(Numbers(20), [0, 1, 2, 0]);
        trainer.Step(Numbers(20), [0, 1, 2, 0]);
        driver.Failures["cuGraphLaunch"] = (driver.Calls["cuGraphLaunch"] + 1, 719);
        CudaException exception = Assert.Throws<CudaException>(() => trainer.Step(Numbers(20), [0, 1, 2, 0]));
        Assert.Equal("CUDA_ERROR_LAUNCH_FAILED", exception.ErrorName);
        Assert.Contains("Updating the weights failed", exception.Message, StringComparison.Ordinal);
        Assert.Equal(2, trainer.StepCount);

        // A context that has failed stays so, and what it alone knew cannot be had: that is said, and not an old model saved for a new one.
        Assert.Equal(719, Assert.Throws<CudaException>(() => trainer.Step(Numbers(20), [0, 1, 2, 0])).ErrorCode);
        using var file = new Infrastructure.TemporaryFile();
        Assert.Throws<CudaException>(() => trainer.SaveCheckpoint(file.Path));
        Assert.Throws<CudaException>(() => model.Save(file.Path));
        trainer.Dispose();
        InvalidOperationException lost = Assert.Throws<InvalidOperationException>(() => model.Save(file.Path));
        Assert.Contains("were on a device that failed", lost.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(file.Path));
    }

    [Fact]
    public void What_the_drivers_assembler_says()
    {
        using var driver = new StandInDriver();
        var layout = new CudaLayout { Module = static () => ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry F(\n)\n.maxntid 32, 1, 1\n{\n\tfrobnicate.f32 %f0;\n\tret;\n}\n"u8, Kernels = ["F"], ArenaBytes = 0, Entries = [], Launch = static (_, _) => { } };
        CudaException exception = Assert.Throws<CudaException>(() => driver.Load().Context(0).Kernels(layout, "Example"));
        Assert.Equal("CUDA_ERROR_INVALID_PTX", exception.ErrorName);
        Assert.Contains("Assembling the kernels of Example, of which the driver's assembler says: ptxas error   : F: unknown instruction", exception.Message, StringComparison.Ordinal);
    }

    private static void Says(StandInDriver driver, string text)
    {
        CudaException exception = Assert.Throws<CudaException>(() => DeviceMlp.Create().CreateSession(Session(driver)));
        Assert.Contains(text, exception.Message, StringComparison.Ordinal);
        using DeviceMlp.Session session = DeviceMlp.Create().CreateSession(new SessionOptions { Device = DeviceOf(driver, mayFallBack: true) });
        Assert.Contains(text, session.Device.FallbackReason, StringComparison.Ordinal);
        Assert.Equal(DeviceKind.Cpu, session.Device.Kind);
    }
}
