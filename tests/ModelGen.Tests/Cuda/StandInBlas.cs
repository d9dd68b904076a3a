using System.Diagnostics;
using System.Runtime.InteropServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Cuda;

/// <summary>
/// A library in cuBLASLt's place, built from C (<c>standin_cublaslt.c</c>), which checks what it is given and computes products over the memory of a stand-in for the driver. What it computes has its turn in the driver's streams and graphs:
/// a call is checked and kept here, and computed when the stream comes to it.
/// </summary>
internal sealed unsafe class StandInBlas : IDisposable
{
    [ThreadStatic]
    private static StandInBlas? s_current;

    private readonly TemporaryFile _file = new("libmodelgen-standin-cublaslt.so.12");
    private readonly nint _library;
    private readonly List<nint> _jobs = [];
    private readonly delegate* unmanaged<nint, nint, nint, ulong, nint, ulong, nint, nint, ulong, nint, ulong, nint, nint, ulong, nuint, nint, nint*, int> _prepare;
    private readonly delegate* unmanaged<nint, int> _run;

    private StandInBlas()
    {
        Compile(_file.Path);
        _library = NativeLibrary.Load(_file.Path);
        _prepare = (delegate* unmanaged<nint, nint, nint, ulong, nint, ulong, nint, nint, ulong, nint, ulong, nint, nint, ulong, nuint, nint, nint*, int>)Own("prepare");
        _run = (delegate* unmanaged<nint, int>)Own("run");
        ((delegate* unmanaged<delegate* unmanaged<ulong, ulong, int>, void>)Own("memory"))(&Holds);
        s_current = this;
    }

    /// <summary>A function that the library does not have.</summary>
    public string? Lacks { get; set; }

    /// <summary>Descriptions, layouts and preferences that there are.</summary>
    public int Live => Number("live");

    /// <summary>Handles that were made.</summary>
    public int Handles => Number("handles");

    /// <summary>Products that were asked for.</summary>
    public int Calls => Number("calls");

    /// <summary>What was done first that may not be done.</summary>
    public string? Fault => Marshal.PtrToStringUTF8(((delegate* unmanaged<nint>)Own("fault"))());

    public int Version
    {
        set => ((delegate* unmanaged<int, void>)Own("version"))(value);
    }

    /// <summary>The memory that algorithms want to work in; <see cref="nuint.MaxValue"/> for no algorithms.</summary>
    public nuint Wants
    {
        set => ((delegate* unmanaged<nuint, void>)Own("wants"))(value);
    }

    /// <summary>The library, where there is a compiler for C.</summary>
    public static StandInBlas? Build() => OperatingSystem.IsLinux() && IsThereACompiler() ? new StandInBlas() : null;

    /// <summary>Has a function's call fail, counted from one.</summary>
    public void Fail(string function, int call, int status)
    {
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(function + "\0"))
        {
            ((delegate* unmanaged<byte*, int, int, void>)Own("fail"))(name, call, status);
        }
    }

    /// <summary>The runtime's view of the library.</summary>
    public CublasLtLibrary Load() => new(Export);

    /// <summary>The library as a file, which computes at once, whatever the stream.</summary>
    public static void Compile(string path)
    {
        using Process process = Process.Start(new ProcessStartInfo("cc", ["-shared", "-fPIC", "-O2", "-o", path, Path.Combine(SourceTree.Root, "tests", "ModelGen.Tests", "Cuda", "standin_cublaslt.c"), "-lm"]) { RedirectStandardError = true })!;
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
    }

    public void Dispose()
    {
        foreach (nint job in _jobs)
        {
            ((delegate* unmanaged<nint, void>)Own("done"))(job);
        }

        NativeLibrary.Free(_library);
        _file.Dispose();
    }

    private static bool IsThereACompiler()
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("cc", ["--version"]) { RedirectStandardOutput = true })!;
            process.WaitForExit();
            return true;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    [UnmanagedCallersOnly]
    private static int Holds(ulong address, ulong bytes) => StandInDriver.Holds(address, bytes) ? 1 : 0;

    [UnmanagedCallersOnly]
    private static int Matmul(nint handle, nint description, nint alpha, ulong a, nint aLayout, ulong b, nint bLayout, nint beta, ulong c, nint cLayout, ulong d, nint dLayout, nint algorithm, ulong workspace, nuint bytes, nint stream)
    {
        const int ExecutionFailed = 13;
        StandInBlas blas = s_current!;
        nint job = 0;
        int status = blas._prepare(handle, description, alpha, a, aLayout, b, bLayout, beta, c, cLayout, d, dLayout, algorithm, workspace, bytes, stream, &job);
        if (status != 0)
        {
            return status;
        }

        nint kept = job;
        blas._jobs.Add(kept);
        return StandInDriver.Give(stream, () => blas._run(kept)) == 0 ? 0 : ExecutionFailed;
    }

    private nint Export(string name)
        => name == Lacks ? 0
            : name == "cublasLtMatmul" ? (nint)(delegate* unmanaged<nint, nint, nint, ulong, nint, ulong, nint, nint, ulong, nint, ulong, nint, nint, ulong, nuint, nint, int>)&Matmul
            : NativeLibrary.TryGetExport(_library, name, out nint address) ? address : 0;

    private nint Own(string name) => NativeLibrary.GetExport(_library, "standin_blas_" + name);

    private int Number(string name) => ((delegate* unmanaged<int>)Own(name))();
}
