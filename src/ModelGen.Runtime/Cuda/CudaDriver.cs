using System.Runtime.InteropServices;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>
/// The CUDA driver's functions, by their addresses: a library that is not there is an exception when a device is asked for, and nothing before.
/// Every function's result is checked; what is thrown says what was asked for, and the driver's name and text of the error.
/// </summary>
internal sealed unsafe class CudaDriver
{
    /// <summary>The oldest version that has all functions: of CUDA 11.4.</summary>
    public const int MinimumVersion = 11_040;

    private const int Success = 0;
    private const int JitInfoLog = 3;
    private const int JitInfoLogBytes = 4;
    private const int JitErrorLog = 5;
    private const int JitErrorLogBytes = 6;
    private const int LogBytes = 8192;

    private static readonly Lock s_sync = new();
    private static CudaDriver? s_installed;

    private readonly Func<string, nint> _export;
    private readonly Lock _sync = new();
    private readonly Dictionary<int, CudaContext> _contexts = [];
    private readonly delegate* unmanaged<int, byte**, int> _getErrorName;
    private readonly delegate* unmanaged<int, byte**, int> _getErrorString;
    private readonly delegate* unmanaged<int*, int> _deviceGetCount;
    private readonly delegate* unmanaged<int*, int, int> _deviceGet;
    private readonly delegate* unmanaged<byte*, int, int, int> _deviceGetName;
    private readonly delegate* unmanaged<int*, int, int, int> _deviceGetAttribute;
    private readonly delegate* unmanaged<nuint*, int, int> _deviceTotalMem;
    private readonly delegate* unmanaged<nint*, int, int> _primaryContextRetain;
    private readonly delegate* unmanaged<nint, int> _contextSetCurrent;
    private readonly delegate* unmanaged<ulong*, nuint, int> _memoryAllocate;
    private readonly delegate* unmanaged<ulong, int> _memoryFree;
    private readonly delegate* unmanaged<void**, nuint, uint, int> _hostAllocate;
    private readonly delegate* unmanaged<void*, int> _hostFree;
    private readonly delegate* unmanaged<ulong, void*, nuint, nint, int> _copyToDevice;
    private readonly delegate* unmanaged<void*, ulong, nuint, nint, int> _copyToHost;
    private readonly delegate* unmanaged<ulong, ulong, nuint, nint, int> _copyOnDevice;
    private readonly delegate* unmanaged<ulong, uint, nuint, nint, int> _fill;
    private readonly delegate* unmanaged<nint*, uint, int> _streamCreate;
    private readonly delegate* unmanaged<nint, int> _streamDestroy;
    private readonly delegate* unmanaged<nint, int> _streamSynchronize;
    private readonly delegate* unmanaged<nint, int> _streamQuery;
    private readonly delegate* unmanaged<nint, int, int> _streamBeginCapture;
    private readonly delegate* unmanaged<nint, nint*, int> _streamEndCapture;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> _graphInstantiate;
    private readonly delegate* unmanaged<nint, nint, int> _graphLaunch;
    private readonly delegate* unmanaged<nint, int> _graphExecDestroy;
    private readonly delegate* unmanaged<nint, int> _graphDestroy;
    private readonly delegate* unmanaged<nint*, void*, uint, int*, void**, int> _moduleLoad;
    private readonly delegate* unmanaged<nint, int> _moduleUnload;
    private readonly delegate* unmanaged<nint*, nint, byte*, int> _moduleGetFunction;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> _launch;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, int> _launchTogether;
    private readonly delegate* unmanaged<int*, nint, int, nuint, int> _occupancy;
    private readonly delegate* unmanaged<nint, int, int, int> _setFunctionAttribute;

    /// <summary>Takes a driver's functions and initializes it.</summary>
    /// <param name="export">The address of a function by its name; 0 where there is none.</param>
    /// <exception cref="CudaException">The driver is too old, or cannot be initialized.</exception>
    public CudaDriver(Func<string, nint> export)
    {
        _export = export;
        _getErrorName = (delegate* unmanaged<int, byte**, int>)Function("cuGetErrorName");
        _getErrorString = (delegate* unmanaged<int, byte**, int>)Function("cuGetErrorString");
        int version = 0;
        Check(((delegate* unmanaged<uint, int>)Function("cuInit"))(0), "cuInit", "initializing the driver");
        Check(((delegate* unmanaged<int*, int>)Function("cuDriverGetVersion"))(&version), "cuDriverGetVersion", "asking for the driver's version");
        Version = version;
        if (version < MinimumVersion)
        {
            throw new CudaException($"The NVIDIA driver is of CUDA {VersionText(version)}, and {VersionText(MinimumVersion)} or later is needed: install a newer driver.");
        }

        _deviceGetCount = (delegate* unmanaged<int*, int>)Function("cuDeviceGetCount");
        _deviceGet = (delegate* unmanaged<int*, int, int>)Function("cuDeviceGet");
        _deviceGetName = (delegate* unmanaged<byte*, int, int, int>)Function("cuDeviceGetName");
        _deviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Function("cuDeviceGetAttribute");
        _deviceTotalMem = (delegate* unmanaged<nuint*, int, int>)Function("cuDeviceTotalMem_v2");
        _primaryContextRetain = (delegate* unmanaged<nint*, int, int>)Function("cuDevicePrimaryCtxRetain");
        _contextSetCurrent = (delegate* unmanaged<nint, int>)Function("cuCtxSetCurrent");
        _memoryAllocate = (delegate* unmanaged<ulong*, nuint, int>)Function("cuMemAlloc_v2");
        _memoryFree = (delegate* unmanaged<ulong, int>)Function("cuMemFree_v2");
        _hostAllocate = (delegate* unmanaged<void**, nuint, uint, int>)Function("cuMemHostAlloc");
        _hostFree = (delegate* unmanaged<void*, int>)Function("cuMemFreeHost");
        _copyToDevice = (delegate* unmanaged<ulong, void*, nuint, nint, int>)Function("cuMemcpyHtoDAsync_v2");
        _copyToHost = (delegate* unmanaged<void*, ulong, nuint, nint, int>)Function("cuMemcpyDtoHAsync_v2");
        _copyOnDevice = (delegate* unmanaged<ulong, ulong, nuint, nint, int>)Function("cuMemcpyDtoDAsync_v2");
        _fill = (delegate* unmanaged<ulong, uint, nuint, nint, int>)Function("cuMemsetD32Async");
        _streamCreate = (delegate* unmanaged<nint*, uint, int>)Function("cuStreamCreate");
        _streamDestroy = (delegate* unmanaged<nint, int>)Function("cuStreamDestroy_v2");
        _streamSynchronize = (delegate* unmanaged<nint, int>)Function("cuStreamSynchronize");
        _streamQuery = (delegate* unmanaged<nint, int>)Function("cuStreamQuery");
        _streamBeginCapture = (delegate* unmanaged<nint, int, int>)Function("cuStreamBeginCapture_v2");
        _streamEndCapture = (delegate* unmanaged<nint, nint*, int>)Function("cuStreamEndCapture");
        _graphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Function("cuGraphInstantiateWithFlags");
        _graphLaunch = (delegate* unmanaged<nint, nint, int>)Function("cuGraphLaunch");
        _graphExecDestroy = (delegate* unmanaged<nint, int>)Function("cuGraphExecDestroy");
        _graphDestroy = (delegate* unmanaged<nint, int>)Function("cuGraphDestroy");
        _moduleLoad = (delegate* unmanaged<nint*, void*, uint, int*, void**, int>)Function("cuModuleLoadDataEx");
        _moduleUnload = (delegate* unmanaged<nint, int>)Function("cuModuleUnload");
        _moduleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)Function("cuModuleGetFunction");
        _launch = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Function("cuLaunchKernel");
        _launchTogether = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, int>)Function("cuLaunchCooperativeKernel");
        _occupancy = (delegate* unmanaged<int*, nint, int, nuint, int>)Function("cuOccupancyMaxActiveBlocksPerMultiprocessor");
        _setFunctionAttribute = (delegate* unmanaged<nint, int, int, int>)Function("cuFuncSetAttribute");
    }

    /// <summary>The version of CUDA that the driver is of: 12,040 for 12.4.</summary>
    public int Version { get; }

    /// <summary>Finds the library that computes products where a declaration asks for it.</summary>
    public Func<int, CublasLtLibrary> ProductLibrary { get; init; } = CublasLtLibrary.Installed;

    /// <summary>The number of devices.</summary>
    public int DeviceCount
    {
        get
        {
            int count = 0;
            Check(_deviceGetCount(&count), "cuDeviceGetCount", "counting devices");
            return count;
        }
    }

    /// <summary>The driver that is installed. A call that found none looks again.</summary>
    /// <exception cref="CudaException">There is none, or it is too old.</exception>
    public static CudaDriver Installed()
    {
        lock (s_sync)
        {
            return s_installed ??= Load();
        }
    }

    /// <summary>Loads a driver's library by its name or path.</summary>
    public static CudaDriver Load(string library)
        => NativeLibrary.TryLoad(library, out nint handle)
            ? new CudaDriver(name => NativeLibrary.TryGetExport(handle, name, out nint address) ? address : 0)
            : throw new CudaException($"There is no NVIDIA driver: the library {library} is not found.");

    /// <summary>The context of a device, which is made once and kept.</summary>
    /// <exception cref="CudaException">There is no such device.</exception>
    public CudaContext Context(int index)
    {
        lock (_sync)
        {
            if (!_contexts.TryGetValue(index, out CudaContext? context))
            {
                int count = DeviceCount;
                if (index >= count)
                {
                    throw new CudaException(count == 0
                        ? "The NVIDIA driver knows of no device."
                        : FormattableString.Invariant($"There is no CUDA device {index}: the driver knows of {count}, from 0 on."));
                }

                context = new CudaContext(this, index);
                _contexts.Add(index, context);
            }

            return context;
        }
    }

    /// <summary>The context of a device; null where models cannot run on it.</summary>
    public CudaContext? TryContext(int index)
    {
        try
        {
            return Context(index);
        }
        catch (CudaException exception) when (exception.ErrorCode == Success)
        {
            return null;
        }
    }

    public int DeviceOf(int index)
    {
        int device = 0;
        Check(_deviceGet(&device, index), "cuDeviceGet", "asking for a device");
        return device;
    }

    public string NameOf(int device)
    {
        byte* name = stackalloc byte[256];
        Check(_deviceGetName(name, 256, device), "cuDeviceGetName", "asking for a device's name");
        return Marshal.PtrToStringUTF8((nint)name) ?? "";
    }

    public int AttributeOf(int device, int attribute)
    {
        int value = 0;
        Check(_deviceGetAttribute(&value, attribute, device), "cuDeviceGetAttribute", "asking what a device can do");
        return value;
    }

    public long MemoryOf(int device)
    {
        nuint bytes = 0;
        Check(_deviceTotalMem(&bytes, device), "cuDeviceTotalMem", "asking for a device's memory");
        return (long)bytes;
    }

    public nint RetainContext(int device)
    {
        nint context = 0;
        Check(_primaryContextRetain(&context, device), "cuDevicePrimaryCtxRetain", "making a device's context");
        return context;
    }

    /// <summary>Makes a context that of the thread that calls.</summary>
    public void Use(nint context) => Check(_contextSetCurrent(context), "cuCtxSetCurrent", "entering a device's context");

    public ulong Allocate(long bytes, string what)
    {
        ulong address = 0;
        int result = _memoryAllocate(&address, checked((nuint)bytes));
        return result == Success ? address : throw Error(result, "cuMemAlloc", FormattableString.Invariant($"allocating {bytes:N0} bytes of device memory for {what}"));
    }

    /// <summary>Frees memory of a context from any thread; nobody would know what to do if it failed.</summary>
    public void Free(nint context, ulong address)
    {
        if (_contextSetCurrent(context) == Success)
        {
            _ = _memoryFree(address);
        }
    }

    public void* AllocateHost(long bytes)
    {
        void* memory = null;
        int result = _hostAllocate(&memory, checked((nuint)bytes), 0);
        return result == Success ? memory : throw Error(result, "cuMemHostAlloc", FormattableString.Invariant($"allocating {bytes:N0} bytes of pinned memory"));
    }

    public void FreeHost(nint context, void* memory)
    {
        if (_contextSetCurrent(context) == Success)
        {
            _ = _hostFree(memory);
        }
    }

    public void CopyToDevice(ulong to, void* from, long bytes, nint stream, string what)
    {
        if (bytes > 0)
        {
            Check(_copyToDevice(to, from, (nuint)bytes, stream), "cuMemcpyHtoDAsync", what);
        }
    }

    public void CopyToHost(void* to, ulong from, long bytes, nint stream, string what)
    {
        if (bytes > 0)
        {
            Check(_copyToHost(to, from, (nuint)bytes, stream), "cuMemcpyDtoHAsync", what);
        }
    }

    public void CopyOnDevice(ulong to, ulong from, long bytes, nint stream, string what)
    {
        if (bytes > 0)
        {
            Check(_copyOnDevice(to, from, (nuint)bytes, stream), "cuMemcpyDtoDAsync", what);
        }
    }

    /// <summary>Zeroes memory, a whole number of words.</summary>
    public void Clear(ulong address, long bytes, nint stream, string what)
    {
        if (bytes > 0)
        {
            Check(_fill(address, 0, (nuint)(bytes / sizeof(uint)), stream), "cuMemsetD32Async", what);
        }
    }

    public nint CreateStream()
    {
        // It waits for no other stream: sessions run beside each other.
        const uint NonBlocking = 1;
        nint stream = 0;
        Check(_streamCreate(&stream, NonBlocking), "cuStreamCreate", "making a stream");
        return stream;
    }

    public void DestroyStream(nint context, nint stream)
    {
        if (_contextSetCurrent(context) == Success)
        {
            _ = _streamDestroy(stream);
        }
    }

    public void Synchronize(nint stream, string what) => Check(_streamSynchronize(stream), "cuStreamSynchronize", what);

    /// <summary>Whether a stream has done what it was given.</summary>
    public bool IsDone(nint stream, string what)
    {
        const int NotReady = 600;
        int result = _streamQuery(stream);
        return result == Success || (result == NotReady ? false : throw Error(result, "cuStreamQuery", what));
    }

    /// <summary>Waits for a stream of a context where something has failed already, or what it uses is given back; what else fails is of no matter.</summary>
    public void TrySynchronize(nint context, nint stream)
    {
        if (_contextSetCurrent(context) == Success)
        {
            _ = _streamSynchronize(stream);
        }
    }

    /// <summary>Begins to take down what goes into a stream instead of running it.</summary>
    public void BeginCapture(nint stream)
    {
        // What other threads do meanwhile is no matter.
        const int ThreadLocal = 1;
        Check(_streamBeginCapture(stream, ThreadLocal), "cuStreamBeginCapture", "capturing a graph");
    }

    /// <summary>Ends a capture.</summary>
    /// <returns>The graph, to be launched; 0 if <paramref name="failed"/>, when there is nothing to be had.</returns>
    public nint EndCapture(nint stream, bool failed, string what)
    {
        nint graph = 0, executable = 0;
        int result = _streamEndCapture(stream, &graph);
        if (failed)
        {
            if (graph != 0)
            {
                _ = _graphDestroy(graph);
            }

            return 0;
        }

        Check(result, "cuStreamEndCapture", what);
        result = _graphInstantiate(&executable, graph, 0);
        _ = _graphDestroy(graph);
        Check(result, "cuGraphInstantiateWithFlags", what);
        return executable;
    }

    public void LaunchGraph(nint graph, nint stream, string what) => Check(_graphLaunch(graph, stream), "cuGraphLaunch", what);

    public void DestroyGraph(nint context, nint graph)
    {
        if (_contextSetCurrent(context) == Success)
        {
            _ = _graphExecDestroy(graph);
        }
    }

    /// <summary>
    /// Whether an error says that a module is not for this device or this driver, or that the device has not what its kernels ask for, so that another one may do; anything
    /// else is a device that has no memory, is lost, or has another reason that another module would meet too.
    /// </summary>
    /// <param name="result">A <c>CUresult</c>.</param>
    public static bool RefusesModule(int result)
    {
        const int InvalidValue = 1, InvalidImage = 200, NoBinaryForGpu = 209, InvalidPtx = 218, JitCompilerNotFound = 221, UnsupportedPtxVersion = 222, JitCompilationDisabled = 223, InvalidSource = 300, NotFound = 500, NotSupported = 801;
        return result is InvalidValue or InvalidImage or NoBinaryForGpu or InvalidPtx or JitCompilerNotFound or UnsupportedPtxVersion or JitCompilationDisabled or InvalidSource or NotFound or NotSupported;
    }

    /// <summary>Loads a module, whose PTX the driver assembles for the device.</summary>
    public nint LoadModule(ReadOnlySpan<byte> text, string what)
    {
        // The driver reads up to a zero.
        byte[] image = new byte[text.Length + 1], log = new byte[LogBytes], info = new byte[LogBytes];
        text.CopyTo(image);
        nint module = 0;
        fixed (byte* first = image, errors = log, notes = info)
        {
            int* options = stackalloc int[] { JitInfoLog, JitInfoLogBytes, JitErrorLog, JitErrorLogBytes };
            void** values = stackalloc void*[] { notes, (void*)LogBytes, errors, (void*)LogBytes };
            int result = _moduleLoad(&module, first, 4, options, values);
            if (result != Success)
            {
                string said = Encoding.UTF8.GetString(log.AsSpan(0, Math.Max(0, log.AsSpan().IndexOf((byte)0)))).Trim();
                throw Error(result, "cuModuleLoadDataEx", said.Length == 0 ? $"assembling {what}" : $"assembling {what}, of which the driver's assembler says: {said}");
            }
        }

        return module;
    }

    public void UnloadModule(nint module) => _ = _moduleUnload(module);

    public nint FunctionOf(nint module, string name)
    {
        nint function = 0;
        fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0"))
        {
            int result = _moduleGetFunction(&function, module, text);
            return result == Success ? function : throw Error(result, "cuModuleGetFunction", $"looking for the kernel {name}");
        }
    }

    /// <summary>Lets launches of a kernel ask for so much shared memory; more than 48 KB they may not otherwise.</summary>
    public void AllowShared(nint function, int bytes, string name)
    {
        const int MaximumDynamicSharedBytes = 8;
        Check(_setFunctionAttribute(function, MaximumDynamicSharedBytes, bytes), "cuFuncSetAttribute", FormattableString.Invariant($"asking for {bytes:N0} bytes of shared memory for {name}"));
    }

    /// <summary>Launches a kernel, whose blocks ask for some bytes of shared memory; each argument lies in eight bytes.</summary>
    public int Launch(nint function, int blocksX, int blocksY, int threads, int sharedBytes, nint stream, void** arguments)
        => _launch(function, (uint)blocksX, (uint)blocksY, 1, (uint)threads, 1, 1, (uint)sharedBytes, stream, arguments, null);

    /// <summary>Launches blocks of a kernel that are all there at once; each argument lies in eight bytes.</summary>
    public int LaunchTogether(nint function, int blocks, int threads, nint stream, void** arguments)
        => _launchTogether(function, (uint)blocks, 1, 1, (uint)threads, 1, 1, 0, stream, arguments);

    /// <summary>How many blocks of a kernel one of the device's processors holds at once.</summary>
    public int BlocksOfProcessor(nint function, int threads, string name)
    {
        int blocks = 0;
        int result = _occupancy(&blocks, function, threads, 0);
        return result == Success ? blocks : throw Error(result, "cuOccupancyMaxActiveBlocksPerMultiprocessor", $"asking how many blocks of {name} a device holds");
    }

    /// <summary>What to throw of a result.</summary>
    public CudaException Error(int result, string call, string doing)
    {
        string name = Text(_getErrorName, result), text = Text(_getErrorString, result);
        name = name.Length == 0 ? FormattableString.Invariant($"error {result}") : name;
        return new CudaException(result, name, $"{char.ToUpperInvariant(doing[0])}{doing[1..]} failed: {call} returned {name}{FormattableString.Invariant($" ({result})")}{(text.Length == 0 ? "" : ", " + text)}.");
    }

    private static string Text(delegate* unmanaged<int, byte**, int> function, int result)
    {
        byte* text = null;
        return function(result, &text) == Success && text is not null ? Marshal.PtrToStringUTF8((nint)text) ?? "" : "";
    }

    private static string VersionText(int version) => FormattableString.Invariant($"{version / 1000}.{version % 1000 / 10}");

    private static CudaDriver Load()
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsWindows())
        {
            throw new CudaException("There is no NVIDIA driver for this operating system.");
        }

        return Load(OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1");
    }

    private void Check(int result, string call, string doing)
    {
        if (result != Success)
        {
            throw Error(result, call, doing);
        }
    }

    private nint Function(string name)
        => _export(name) is not 0 and nint address ? address : throw new CudaException($"The NVIDIA driver is too old: it has no {name}, which CUDA {VersionText(MinimumVersion)} brought. Install a newer driver.");
}
