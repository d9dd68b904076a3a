using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using ModelGen.Runtime;
using ModelGen.Tests.Ptx;

namespace ModelGen.Tests.Cuda;

/// <summary>
/// A CUDA driver that runs on the processor: the functions that the runtime asks a driver for, as addresses. Modules are read and kernels run by
/// the machine for PTX, over memory that nothing has been written to. What a program may not do with a driver is an error, as it is there, and
/// errors can be asked for. As a device does, it does nothing before it is waited for: what goes into a stream is done when that is synchronized.
/// </summary>
internal sealed unsafe class StandInDriver : IDisposable
{
    private const int Success = 0;
    private const int InvalidValue = 1;
    private const int OutOfMemory = 2;
    private const int NotInitialized = 3;
    private const int InvalidDevice = 101;
    private const int InvalidContext = 201;
    private const int InvalidPtx = 218;
    private const int InvalidHandle = 400;
    private const int NotFound = 500;
    private const int IllegalAddress = 700;
    private const int CaptureUnsupported = 900;
    private const int CooperativeLaunchTooLarge = 720;

    /// <summary>What work in a stream gives that is not done yet, since it waits for another process.</summary>
    public const int NotReady = 600;

    private static readonly Dictionary<nint, StandInDriver> s_contexts = [];
    private static readonly Lock s_sync = new();
    private static long s_handles = 0x1000;
    private static readonly Dictionary<int, (nint Name, nint Text)> s_errors = new()
    {
        [1] = Texts("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
        [2] = Texts("CUDA_ERROR_OUT_OF_MEMORY", "out of memory"),
        [100] = Texts("CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
        [101] = Texts("CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"),
        [209] = Texts("CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"),
        [218] = Texts("CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"),
        [222] = Texts("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."),
        [223] = Texts("CUDA_ERROR_JIT_COMPILATION_DISABLED", "the PTX JIT compilation was disabled"),
        [700] = Texts("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
        [719] = Texts("CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"),
    };

    // Whom calls are for that name no context: the driver that a test on this thread has made last.
    [ThreadStatic]
    private static StandInDriver? s_current;

    private readonly nint _context = NewHandle();
    private readonly PtxMachine _machine = new();
    private readonly Dictionary<ulong, long> _memory = [];
    private readonly Dictionary<nint, long> _host = [];
    private readonly Dictionary<nint, Dictionary<string, PtxEntryPoint>> _modules = [];
    private readonly Dictionary<nint, PtxEntryPoint> _functions = [];
    private readonly Dictionary<nint, int> _allowedShared = [];
    private readonly Dictionary<nint, List<Func<int>>?> _streams = new() { [0] = null };
    private readonly Dictionary<nint, List<Func<int>>> _graphs = [];
    private readonly Dictionary<nint, List<Func<int>>> _executables = [];
    private readonly Dictionary<nint, Queue<(Func<int> Work, ulong[] Uses)>> _pending = [];
    private bool _initialized;
    private int _lost;

    public StandInDriver()
    {
        lock (s_sync)
        {
            s_contexts.Add(_context, this);
        }

        s_current = this;
    }

    public int Version { get; init; } = 12_040;

    public int Devices { get; init; } = 1;

    public (int Major, int Minor) Capability { get; init; } = (8, 0);

    /// <summary>The device's processors, and the blocks that each holds at once.</summary>
    public int Processors { get; init; } = 2;

    public int BlocksOfProcessor { get; init; } = 2;

    /// <summary>Whether the device launches blocks that are all there at once.</summary>
    public bool IsCooperative { get; init; } = true;

    /// <summary>The memory of the device in bytes.</summary>
    public long TotalBytes { get; init; } = 1L << 30;

    /// <summary>Whether what goes into a stream is done at once, as by a device that is quicker than its host.</summary>
    public bool IsQuick { get; init; }

    /// <summary>What happens in the middle of a function's next call, before it does anything.</summary>
    public Dictionary<string, Action> Meanwhile { get; } = [];

    /// <summary>What is done to the text of a module before it is read.</summary>
    public Func<string, string> Edit { get; init; } = text => text;

    /// <summary>A function that the driver does not have.</summary>
    public string? Lacks { get; init; }

    /// <summary>Which call of a function fails, counted from one, and with what.</summary>
    public Dictionary<string, (int Call, int Error)> Failures { get; } = [];

    /// <summary>How often each function was called.</summary>
    public Dictionary<string, int> Calls { get; } = [];

    /// <summary>What the last kernel did that no kernel may.</summary>
    public string? Fault { get; private set; }

    /// <summary>Bytes that were asked for from the device.</summary>
    public long CopiedToHost { get; set; }

    /// <summary>Kernels that were run.</summary>
    public int KernelsRun { get; private set; }

    /// <summary>Thread instructions that were run.</summary>
    public long Executed => _machine.Executed;

    /// <summary>What was given to streams and is not done.</summary>
    public int Pending => _pending.Values.Sum(queue => queue.Count);

    public long UsedBytes => _memory.Values.Sum();

    /// <summary>The sizes of what the device has given.</summary>
    public IReadOnlyCollection<long> Allocations => _memory.Values;

    public int LiveMemory => _memory.Count;

    public int LiveHostMemory => _host.Count;

    public int LiveModules => _modules.Count;

    public int LiveStreams => _streams.Count - 1;

    public int LiveGraphs => _graphs.Count + _executables.Count;

    /// <summary>The runtime's view of the driver.</summary>
    public CudaDriver Load() => new(Export) { ProductLibrary = ProductLibrary };

    /// <summary>What is found where the library is looked for that computes products; none unless a test brings one.</summary>
    public Func<int, CublasLtLibrary> ProductLibrary { get; init; } = driver => CublasLtLibrary.Load("libmodelgen-no-such-cublasLt.so.{0}", driver);

    public void Dispose()
    {
        lock (s_sync)
        {
            s_contexts.Remove(_context);
        }

        foreach (ulong memory in _memory.Keys)
        {
            NativeMemory.AlignedFree((void*)memory);
        }

        foreach (nint memory in _host.Keys)
        {
            NativeMemory.AlignedFree((void*)memory);
        }
    }

    private static nint NewHandle() => (nint)Interlocked.Increment(ref s_handles);

    private static (nint Name, nint Text) Texts(string name, string text) => (Marshal.StringToCoTaskMemUTF8(name), Marshal.StringToCoTaskMemUTF8(text));

    private nint Export(string name)
    {
        if (name == Lacks)
        {
            return 0;
        }

        MethodInfo? method = typeof(StandInDriver).GetMethod(name, BindingFlags.Static | BindingFlags.NonPublic);
        return method is null ? 0 : method.MethodHandle.GetFunctionPointer();
    }

    /// <summary>Runs a function's body for the driver that is meant, unless it is to fail.</summary>
    private static int Do(Func<StandInDriver, int> body, bool needsContext = true, [CallerMemberName] string function = "")
    {
        if (s_current is not { } driver)
        {
            return InvalidContext;
        }

        lock (driver)
        {
            int calls = driver.Calls[function] = driver.Calls.GetValueOrDefault(function) + 1;
            if (driver.Meanwhile.Remove(function, out Action? meanwhile))
            {
                meanwhile();
            }

            if (driver._lost != 0 && needsContext)
            {
                return driver._lost;
            }

            if (driver.Failures.TryGetValue(function, out (int Call, int Error) failure) && failure.Call == calls)
            {
                // A device that has failed stays so.
                driver._lost = failure.Error is IllegalAddress or 719 ? failure.Error : 0;
                if (function == nameof(cuStreamEndCapture))
                {
                    // A capture that fails is over too.
                    foreach (nint stream in driver._streams.Keys)
                    {
                        driver._streams[stream] = null;
                    }
                }

                return failure.Error;
            }

            return needsContext && !driver._initialized ? NotInitialized : body(driver);
        }
    }

    /// <summary>Does something in a stream's turn: when somebody waits for the stream, and whenever the graph is launched that it is captured in.</summary>
    private int InStream(nint stream, Func<int> work, params ulong[] uses)
    {
        if (!_streams.TryGetValue(stream, out List<Func<int>>? captured))
        {
            return InvalidHandle;
        }

        if (captured is not null)
        {
            captured.Add(work);
            return Success;
        }

        if (IsQuick)
        {
            int result;
            while ((result = work()) == NotReady)
            {
                Thread.Sleep(1);
            }

            return result;
        }

        if (!_pending.TryGetValue(stream, out Queue<(Func<int>, ulong[])>? queue))
        {
            _pending.Add(stream, queue = []);
        }

        queue.Enqueue((work, uses));
        return Success;
    }

    /// <summary>Gives another library's work to a stream of the driver whose context is the thread's.</summary>
    public static int Give(nint stream, Func<int> work, params ulong[] uses) => Do(d => d.InStream(stream, work, uses), function: "another library's work");

    /// <summary>Whether memory is the device's, of the driver whose context is the thread's.</summary>
    public static bool Holds(ulong address, ulong bytes) => s_current is { } driver && driver.IsMemory(address, (nuint)bytes);

    /// <summary>Does what is to be done in a stream.</summary>
    private int Finish(nint stream, bool waits = true)
    {
        int result = _lost;
        while (_pending.TryGetValue(stream, out Queue<(Func<int> Work, ulong[] Uses)>? queue) && queue.TryPeek(out (Func<int> Work, ulong[] Uses) next))
        {
            int done = result != Success ? result : next.Work();
            if (done != NotReady)
            {
                queue.Dequeue();
                result = done;
            }
            else if (waits)
            {
                Thread.Sleep(1);
            }
            else
            {
                return NotReady;
            }
        }

        return result;
    }

    /// <summary>What is freed must be what nobody uses any more; kernels may use anything.</summary>
    private void Freeing(string what, ulong address, long bytes)
    {
        if (_lost == 0 && _pending.Values.Any(queue => queue.Any(next => next.Uses.Length == 0 || next.Uses.Any(use => use >= address && use < address + (ulong)bytes))))
        {
            Fault ??= $"{what} is freed while a stream has something to do";
        }
    }

    private bool IsMemory(ulong address, nuint bytes) => _memory.Any(m => address >= m.Key && address + bytes <= m.Key + (ulong)m.Value);

    private int RunKernel(PtxEntryPoint entry, int x, int y, int threads, int shared, byte[] parameters, bool together)
    {
        try
        {
            KernelsRun++;
            if (together)
            {
                _machine.LaunchTogether(entry, x, threads, parameters);
            }
            else
            {
                _machine.Launch(entry, x, y, threads, parameters, shared);
            }

            return Success;
        }
        catch (PtxException exception)
        {
            Fault = exception.Message;
            return _lost = IllegalAddress;
        }
    }

    /// <summary>Why the device or the driver cannot have a module, if so: a processor's own instructions are for that one alone, and a driver knows the PTX of its time.</summary>
    private string? Refuses(string text)
    {
        System.Text.RegularExpressions.Match target = System.Text.RegularExpressions.Regex.Match(text, @"\.target\s+sm_(\d+)(a?)\s"), version = System.Text.RegularExpressions.Regex.Match(text, @"\.version\s+(\d+)\.(\d+)");
        int capability = (10 * Capability.Major) + Capability.Minor, of = int.Parse(target.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);
        bool fits = target.Groups[2].Length > 0 ? of == capability : of <= capability, isNew = int.Parse(version.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) >= 8 && Version < 12_000;
        return !fits ? $"{target.Value.Trim()} is not for a device of {Capability.Major}.{Capability.Minor}" : isNew ? $"{version.Value} is newer than the driver" : null;
    }

    // ---------------------------------------------------------------- the functions

    [UnmanagedCallersOnly]
    private static int cuInit(uint flags) => Do(d =>
    {
        d._initialized = true;
        return Success;
    }, needsContext: false, nameof(cuInit));

    [UnmanagedCallersOnly]
    private static int cuDriverGetVersion(int* version) => Do(d =>
    {
        *version = d.Version;
        return Success;
    }, needsContext: false, nameof(cuDriverGetVersion));

    [UnmanagedCallersOnly]
    private static int cuGetErrorName(int error, byte** text)
    {
        *text = (byte*)(s_errors.TryGetValue(error, out (nint Name, nint Text) known) ? known.Name : 0);
        return *text is null ? InvalidValue : Success;
    }

    [UnmanagedCallersOnly]
    private static int cuGetErrorString(int error, byte** text)
    {
        *text = (byte*)(s_errors.TryGetValue(error, out (nint Name, nint Text) known) ? known.Text : 0);
        return *text is null ? InvalidValue : Success;
    }

    [UnmanagedCallersOnly]
    private static int cuDeviceGetCount(int* count) => Do(d =>
    {
        *count = d.Devices;
        return Success;
    }, function: nameof(cuDeviceGetCount));

    [UnmanagedCallersOnly]
    private static int cuDeviceGet(int* device, int index) => Do(d =>
    {
        *device = index;
        return index < d.Devices ? Success : InvalidDevice;
    }, function: nameof(cuDeviceGet));

    [UnmanagedCallersOnly]
    private static int cuDeviceGetName(byte* name, int length, int device) => Do(_ =>
    {
        "Stand-in"u8.CopyTo(new Span<byte>(name, length));
        name[8] = 0;
        return Success;
    }, function: nameof(cuDeviceGetName));

    [UnmanagedCallersOnly]
    private static int cuDeviceGetAttribute(int* value, int attribute, int device) => Do(d =>
    {
        *value = attribute switch { 75 => d.Capability.Major, 76 => d.Capability.Minor, 16 => d.Processors, 95 => d.IsCooperative ? 1 : 0, _ => 0 };
        return Success;
    }, function: nameof(cuDeviceGetAttribute));

    [UnmanagedCallersOnly]
    private static int cuDeviceTotalMem_v2(nuint* bytes, int device) => Do(d =>
    {
        *bytes = (nuint)d.TotalBytes;
        return Success;
    }, function: nameof(cuDeviceTotalMem_v2));

    [UnmanagedCallersOnly]
    private static int cuDevicePrimaryCtxRetain(nint* context, int device) => Do(d =>
    {
        *context = d._context;
        return Success;
    }, function: nameof(cuDevicePrimaryCtxRetain));

    [UnmanagedCallersOnly]
    private static int cuCtxSetCurrent(nint context)
    {
        lock (s_sync)
        {
            return s_contexts.TryGetValue(context, out s_current) ? Success : InvalidContext;
        }
    }

    [UnmanagedCallersOnly]
    private static int cuMemAlloc_v2(ulong* address, nuint bytes) => Do(d =>
    {
        if (bytes == 0)
        {
            return InvalidValue;
        }

        if (d.UsedBytes + (long)bytes > d.TotalBytes)
        {
            return OutOfMemory;
        }

        void* memory = NativeMemory.AlignedAlloc(bytes, 256);
        NativeMemory.Fill(memory, bytes, 0xFF);
        d._memory.Add((ulong)memory, (long)bytes);
        d._machine.Allow(memory, (long)bytes, System.FormattableString.Invariant($"allocation {d._memory.Count}"));
        *address = (ulong)memory;
        return Success;
    }, function: nameof(cuMemAlloc_v2));

    [UnmanagedCallersOnly]
    private static int cuMemFree_v2(ulong address) => Do(d =>
    {
        if (!d._memory.Remove(address, out long bytes))
        {
            return InvalidValue;
        }

        d.Freeing("device memory", address, bytes);
        d._machine.Forbid((void*)address);
        NativeMemory.AlignedFree((void*)address);
        return Success;
    }, function: nameof(cuMemFree_v2));

    [UnmanagedCallersOnly]
    private static int cuMemHostAlloc(void** memory, nuint bytes, uint flags) => Do(d =>
    {
        *memory = NativeMemory.AlignedAlloc(bytes, 4096);
        NativeMemory.Fill(*memory, bytes, 0xFF);
        d._host.Add((nint)(*memory), (long)bytes);
        return Success;
    }, function: nameof(cuMemHostAlloc));

    [UnmanagedCallersOnly]
    private static int cuMemFreeHost(void* memory) => Do(d =>
    {
        if (!d._host.Remove((nint)memory, out long bytes))
        {
            return InvalidValue;
        }

        d.Freeing("pinned memory", (ulong)memory, bytes);
        NativeMemory.AlignedFree(memory);
        return Success;
    }, function: nameof(cuMemFreeHost));

    [UnmanagedCallersOnly]
    private static int cuMemcpyHtoDAsync_v2(ulong to, void* from, nuint bytes, nint stream) => Do(d => !d.IsMemory(to, bytes) ? InvalidValue : d.InStream(stream, () =>
    {
        NativeMemory.Copy(from, (void*)to, bytes);
        return Success;
    }, to, (ulong)from), function: nameof(cuMemcpyHtoDAsync_v2));

    [UnmanagedCallersOnly]
    private static int cuMemcpyDtoHAsync_v2(void* to, ulong from, nuint bytes, nint stream) => Do(d => !d.IsMemory(from, bytes) ? InvalidValue : d.InStream(stream, () =>
    {
        NativeMemory.Copy((void*)from, to, bytes);
        d.CopiedToHost += (long)bytes;
        return Success;
    }, (ulong)to, from), function: nameof(cuMemcpyDtoHAsync_v2));

    [UnmanagedCallersOnly]
    private static int cuMemcpyDtoDAsync_v2(ulong to, ulong from, nuint bytes, nint stream) => Do(d => !d.IsMemory(from, bytes) || !d.IsMemory(to, bytes) ? InvalidValue : d.InStream(stream, () =>
    {
        NativeMemory.Copy((void*)from, (void*)to, bytes);
        return Success;
    }, to, from), function: nameof(cuMemcpyDtoDAsync_v2));

    [UnmanagedCallersOnly]
    private static int cuMemsetD32Async(ulong to, uint value, nuint words, nint stream) => Do(d => !d.IsMemory(to, words * 4) ? InvalidValue : d.InStream(stream, () =>
    {
        for (nuint i = 0; i < words; i++)
        {
            ((uint*)to)[i] = value;
        }

        return Success;
    }, to), function: nameof(cuMemsetD32Async));

    [UnmanagedCallersOnly]
    private static int cuStreamCreate(nint* stream, uint flags) => Do(d =>
    {
        *stream = NewHandle();
        d._streams.Add(*stream, null);
        return Success;
    }, function: nameof(cuStreamCreate));

    [UnmanagedCallersOnly]
    private static int cuStreamDestroy_v2(nint stream) => Do(d => stream != 0 && d._streams.Remove(stream) ? Success : InvalidHandle, function: nameof(cuStreamDestroy_v2));

    [UnmanagedCallersOnly]
    private static int cuStreamSynchronize(nint stream) => Do(d => !d._streams.TryGetValue(stream, out List<Func<int>>? captured) ? InvalidHandle : captured is null ? d.Finish(stream) : CaptureUnsupported, function: nameof(cuStreamSynchronize));

    [UnmanagedCallersOnly]
    private static int cuStreamQuery(nint stream) => Do(d => !d._streams.TryGetValue(stream, out List<Func<int>>? captured) ? InvalidHandle : captured is null ? d.Finish(stream, waits: false) : CaptureUnsupported, function: nameof(cuStreamQuery));

    [UnmanagedCallersOnly]
    private static int cuStreamBeginCapture_v2(nint stream, int mode) => Do(d =>
    {
        if (stream == 0 || !d._streams.TryGetValue(stream, out List<Func<int>>? captured) || captured is not null)
        {
            return InvalidHandle;
        }

        d._streams[stream] = [];
        return Success;
    }, function: nameof(cuStreamBeginCapture_v2));

    [UnmanagedCallersOnly]
    private static int cuStreamEndCapture(nint stream, nint* graph) => Do(d =>
    {
        if (!d._streams.TryGetValue(stream, out List<Func<int>>? captured) || captured is null)
        {
            return InvalidHandle;
        }

        *graph = NewHandle();
        d._graphs.Add(*graph, captured);
        d._streams[stream] = null;
        return Success;
    }, function: nameof(cuStreamEndCapture));

    [UnmanagedCallersOnly]
    private static int cuGraphInstantiateWithFlags(nint* executable, nint graph, ulong flags) => Do(d =>
    {
        if (!d._graphs.TryGetValue(graph, out List<Func<int>>? work))
        {
            return InvalidHandle;
        }

        *executable = NewHandle();
        d._executables.Add(*executable, work);
        return Success;
    }, function: nameof(cuGraphInstantiateWithFlags));

    [UnmanagedCallersOnly]
    private static int cuGraphLaunch(nint executable, nint stream) => Do(d =>
    {
        if (!d._executables.TryGetValue(executable, out List<Func<int>>? work))
        {
            return InvalidHandle;
        }

        return d.InStream(stream, () =>
        {
            foreach (Func<int> each in work)
            {
                if (each() is not Success and int error)
                {
                    return error;
                }
            }

            return Success;
        });
    }, function: nameof(cuGraphLaunch));

    [UnmanagedCallersOnly]
    private static int cuGraphExecDestroy(nint executable) => Do(d => d._executables.Remove(executable) ? Success : InvalidHandle, function: nameof(cuGraphExecDestroy));

    [UnmanagedCallersOnly]
    private static int cuGraphDestroy(nint graph) => Do(d => d._graphs.Remove(graph) ? Success : InvalidHandle, function: nameof(cuGraphDestroy));

    [UnmanagedCallersOnly]
    private static int cuModuleLoadDataEx(nint* module, void* image, uint count, int* options, void** values) => Do(d =>
    {
        try
        {
            *module = NewHandle();
            string text = d.Edit(Marshal.PtrToStringUTF8((nint)image)!);
            if (d.Refuses(text) is { } problem)
            {
                throw new PtxException(problem);
            }

            d._modules.Add(*module, PtxEntryPoint.Read(text));
            return Success;
        }
        catch (PtxException exception)
        {
            for (int i = 0; i < count; i++)
            {
                // The buffer for errors.
                if (options[i] == 5)
                {
                    byte[] text = Encoding.UTF8.GetBytes("ptxas error   : " + exception.Message + "\0");
                    text.CopyTo(new Span<byte>(values[i], text.Length));
                }
            }

            return InvalidPtx;
        }
    }, function: nameof(cuModuleLoadDataEx));

    [UnmanagedCallersOnly]
    private static int cuModuleUnload(nint module) => Do(d => d._modules.Remove(module) ? Success : InvalidHandle, function: nameof(cuModuleUnload));

    [UnmanagedCallersOnly]
    private static int cuModuleGetFunction(nint* function, nint module, byte* name) => Do(d =>
    {
        if (!d._modules.TryGetValue(module, out Dictionary<string, PtxEntryPoint>? entries) || !entries.TryGetValue(Marshal.PtrToStringUTF8((nint)name)!, out PtxEntryPoint? entry))
        {
            return NotFound;
        }

        *function = NewHandle();
        d._functions.Add(*function, entry);
        return Success;
    }, function: nameof(cuModuleGetFunction));

    [UnmanagedCallersOnly]
    private static int cuLaunchKernel(nint function, uint x, uint y, uint z, uint threadsX, uint threadsY, uint threadsZ, uint shared, nint stream, void** arguments, void** extra)
        => Do(d => z != 1 || threadsY != 1 || threadsZ != 1 || shared > Math.Max(48 * 1024, d._allowedShared.GetValueOrDefault(function)) ? InvalidValue : d.Give(function, (int)x, (int)y, (int)threadsX, (int)shared, stream, arguments, together: false), function: nameof(cuLaunchKernel));

    [UnmanagedCallersOnly]
    private static int cuFuncSetAttribute(nint function, int attribute, int value) => Do(d =>
    {
        // What a block may have on request: 227 KB from 9.0 on, and 163 KB on a device of 8.0.
        if (attribute != 8 || value < 0 || value > (d.Capability.Major >= 9 ? 227 : 163) * 1024)
        {
            return InvalidValue;
        }

        d._allowedShared[function] = value;
        return d._functions.ContainsKey(function) ? Success : InvalidHandle;
    }, function: nameof(cuFuncSetAttribute));

    [UnmanagedCallersOnly]
    private static int cuLaunchCooperativeKernel(nint function, uint x, uint y, uint z, uint threadsX, uint threadsY, uint threadsZ, uint shared, nint stream, void** arguments)
        => Do(d => y != 1 || z != 1 || threadsY != 1 || threadsZ != 1 ? InvalidValue : x > d.Processors * d.BlocksOfProcessor ? CooperativeLaunchTooLarge : d.Give(function, (int)x, 1, (int)threadsX, 0, stream, arguments, together: true), function: nameof(cuLaunchCooperativeKernel));

    [UnmanagedCallersOnly]
    private static int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, nint function, int threads, nuint shared) => Do(d =>
    {
        *blocks = d.BlocksOfProcessor;
        return d._functions.ContainsKey(function) ? Success : InvalidHandle;
    }, function: nameof(cuOccupancyMaxActiveBlocksPerMultiprocessor));

    private int Give(nint function, int x, int y, int threads, int shared, nint stream, void** arguments, bool together)
    {
        if (!_functions.TryGetValue(function, out PtxEntryPoint? entry))
        {
            return InvalidValue;
        }

        // Parameters are read when a launch is made, captured or not.
        var parameters = new List<byte>();
        for (int i = 0; i < entry.Parameters.Count; i++)
        {
            int bytes = entry.Parameters[i].Bytes;
            while (parameters.Count % bytes != 0)
            {
                parameters.Add(0);
            }

            parameters.AddRange(new ReadOnlySpan<byte>(arguments[i], bytes));
        }

        byte[] laidOut = [.. parameters];
        return InStream(stream, () => RunKernel(entry, x, y, threads, shared, laidOut, together));
    }
}
