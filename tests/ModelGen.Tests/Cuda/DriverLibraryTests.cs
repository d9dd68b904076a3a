using System.Diagnostics;
using System.Runtime.InteropServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>A library in the place of the driver's, built from C: it is loaded as the driver's is, and what a call allocates can be measured.</summary>
[Collection(SerialCollection.Name)]
public sealed unsafe class DriverLibraryTests : IDisposable
{
    private readonly TemporaryFile _file = new("libmodelgen-standin.so");

    public void Dispose() => _file.Dispose();

    [Fact]
    public void A_library_is_loaded_and_its_calls_allocate_nothing()
    {
        if (Build() is not { } library)
        {
            return;
        }

        nint handle = NativeLibrary.Load(library);
        var live = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_live");
        var graphs = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_graphs");
        var together = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_together");
        var fail = (delegate* unmanaged<int, int, int>)NativeLibrary.GetExport(handle, "standin_fail");
        CudaDriver driver = CudaDriver.Load(library);
        Device device = Device.On(() => driver);
        DeviceGpt model = DeviceGpt.Create(seed: 3);
        int[] tokens = Ids(10, 17);
        using (DeviceGpt.Session session = model.CreateSession(new SessionOptions { Device = device }))
        using (DeviceGpt.Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Device = device }))
        {
            Assert.Equal("Stand-in library (CUDA device 0)", session.Device.ToString());
            Assert.Equal(0, Allocated.Least(() =>
            {
                session.Reset();
                session.Prefill(tokens.AsSpan(0, 3));
                session.Decode(1);
            }));
            Assert.Equal(0, Allocated.Least(() => trainer.Step(tokens, tokens)));
            (int graphsBefore, int togetherBefore) = (graphs(), together());
            trainer.Step(tokens, tokens);
            Assert.Equal((1, 1), (graphs() - graphsBefore, together() - togetherBefore));

            fail(1, 719);
            Assert.Equal("CUDA_ERROR_LAUNCH_FAILED", Assert.Throws<CudaException>(() => trainer.Step(tokens, tokens)).ErrorName);
        }

        Assert.Equal(0, live());
    }

    /// <summary>The library; null where there is no compiler for C.</summary>
    private string? Build()
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        var start = new ProcessStartInfo("cc", ["-shared", "-fPIC", "-O1", "-o", _file.Path, Path.Combine(SourceTree.Root, "tests", "ModelGen.Tests", "Cuda", "standin.c")]) { RedirectStandardError = true };
        try
        {
            using Process process = Process.Start(start)!;
            string errors = process.StandardError.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, errors);
            return _file.Path;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
