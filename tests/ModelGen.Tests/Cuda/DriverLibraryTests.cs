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
    private readonly TemporaryFile _nccl = new("libmodelgen-standin-nccl.so");
    private readonly TemporaryFile _blas = new("libmodelgen-standin-cublaslt.so.12");

    public void Dispose()
    {
        _file.Dispose();
        _nccl.Dispose();
        _blas.Dispose();
    }

    [Fact]
    public void A_library_is_loaded_and_its_calls_allocate_nothing()
    {
        string library = Build(_file.Path, "standin.c");
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

    /// <summary>NCCL's library is loaded as its own is, a meeting's name is given by value, and a step that adds gradients allocates nothing.</summary>
    [Fact]
    public void Ranks_meet_through_a_library_and_steps_allocate_nothing()
    {
        string library = Build(_file.Path, "standin.c"), nccl = Build(_nccl.Path, "standin_nccl.c");
        nint handle = NativeLibrary.Load(nccl);
        var live = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_nccl_live");
        var sums = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_nccl_sums");
        var floats = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_nccl_floats");
        CudaDriver driver = CudaDriver.Load(library);
        var options = new TrainerOptions
        {
            Device = Device.On(() => driver),
            AccumulationSteps = 2,
            DataParallel = new DataParallel { Rank = 0, Ranks = 1, Address = new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0), Library = () => NcclLibrary.Load(nccl) },
        };
        int[] tokens = Ids(20, 17);
        using (DeviceGpt.Trainer trainer = DeviceGpt.Create(seed: 3).CreateTrainer(new AdamW { GradientClip = 1 }, options))
        {
            Assert.Equal(1, live());
            Assert.Equal(0, Allocated.Least(() => trainer.Step(tokens, tokens)));
            int before = sums();
            trainer.Step(tokens, tokens);

            // Once a step, whatever the micro-batches, and all of the gradients at once.
            Assert.Equal(1, sums() - before);
            Assert.InRange(floats(), DeviceGpt.ParameterCount, DeviceGpt.WeightBytes / sizeof(float));
        }

        Assert.Equal(0, live());
    }

    /// <summary>cuBLASLt's library is loaded as its own is, what it computes first is right, and steps allocate nothing.</summary>
    [Fact]
    public void Products_are_a_librarys_and_steps_allocate_nothing()
    {
        string library = Build(_file.Path, "standin.c");
        StandInBlas.Compile(_blas.Path);
        nint handle = NativeLibrary.Load(library), blas = NativeLibrary.Load(_blas.Path);
        var live = (delegate* unmanaged<int>)NativeLibrary.GetExport(handle, "standin_live");
        var ofBlas = (delegate* unmanaged<int>)NativeLibrary.GetExport(blas, "standin_blas_live");
        var first = (delegate* unmanaged<double>)NativeLibrary.GetExport(blas, "standin_blas_first_sum");
        var fault = (delegate* unmanaged<nint>)NativeLibrary.GetExport(blas, "standin_blas_fault");
        var driver = new CudaDriver(name => NativeLibrary.TryGetExport(handle, name, out nint address) ? address : 0) { ProductLibrary = version => CublasLtLibrary.Load(_blas.Path[..^2] + "{0}", version) };
        LibraryMlp model = LibraryMlp.Create(seed: 3);
        float[] inputs = Numbers(42);
        int[] targets = Ids(6, 3);
        double sum = 0;
        for (int row = 0; row < 6; row++)
        {
            ReadOnlySpan<float> weights = model.Parameter("fc1.weight");
            for (int i = 0; i < weights.Length; i++)
            {
                sum += inputs[(row * 7) + (i % 7)] * weights[i];
            }
        }

        using (LibraryMlp.Trainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Device = Device.On(() => driver) }))
        {
            Assert.Equal("cuBLASLt 12.4.5", trainer.Device.ProductLibrary);
            trainer.Step(inputs, targets);
            Assert.Equal(sum, first(), 1e-4);
            Assert.NotEqual(0, ofBlas());
            Assert.Equal(0, Allocated.Least(() => trainer.Step(inputs, targets)));
        }

        Assert.Equal((0, 0, 0), (live(), ofBlas(), (int)fault()));
    }

    /// <summary>A library.</summary>
    private static string Build(string path, string source)
    {
        Assert.SkipWhen(!OperatingSystem.IsLinux(), "The library in the driver's place is built for Linux.");
        var start = new ProcessStartInfo("cc", ["-shared", "-fPIC", "-O1", "-o", path, Path.Combine(SourceTree.Root, "tests", "ModelGen.Tests", "Cuda", source)]) { RedirectStandardError = true };
        try
        {
            using Process process = Process.Start(start)!;
            string errors = process.StandardError.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, errors);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("There is no compiler for C.");
        }

        return path;
    }
}
