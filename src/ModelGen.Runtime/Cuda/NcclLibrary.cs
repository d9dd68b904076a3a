using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>NCCL's functions, by their addresses, as <see cref="CudaDriver"/> has the driver's: a library that is not there is an exception when ranks are to meet, and nothing before.</summary>
internal sealed unsafe class NcclLibrary
{
    /// <summary>The oldest version that has all functions: 2.10.</summary>
    public const int MinimumVersion = 21_000;

    private const string Name = "libnccl.so.2";
    private const int Success = 0;
    private const int InProgress = 7;
    private const int Float32 = 7;

    // How often a meeting is asked whether it is complete.
    private const int LookEveryMilliseconds = 2;
    private const int AddAll = 0;

    private static readonly Lock s_sync = new();
    private static NcclLibrary? s_installed;

    private readonly Func<string, nint> _export;
    private readonly delegate* unmanaged<int, byte*> _getErrorString;
    private readonly delegate* unmanaged<UniqueId*, int> _getUniqueId;
    private readonly delegate* unmanaged<nint*, int, UniqueId, int, int> _commInitRank;
    private readonly delegate* unmanaged<nint*, int, UniqueId, int, Config*, int> _commInitRankConfig;
    private readonly delegate* unmanaged<nint, int> _commDestroy;
    private readonly delegate* unmanaged<nint, int> _commAbort;
    private readonly delegate* unmanaged<nint, int*, int> _commGetAsyncError;
    private readonly delegate* unmanaged<ulong, ulong, nuint, int, int, nint, nint, int> _allReduce;

    /// <summary>Takes a library's functions.</summary>
    /// <param name="export">The address of a function by its name; 0 where there is none.</param>
    /// <exception cref="CudaException">The library is too old.</exception>
    public NcclLibrary(Func<string, nint> export)
    {
        _export = export;
        _getErrorString = (delegate* unmanaged<int, byte*>)Function("ncclGetErrorString");
        int version = 0;
        Check(((delegate* unmanaged<int*, int>)Function("ncclGetVersion"))(&version), "ncclGetVersion", "asking for NCCL's version");
        Version = version;
        if (version < MinimumVersion)
        {
            throw new CudaException($"NCCL is of version {VersionText(version)}, and {VersionText(MinimumVersion)} or later is needed: install a newer one.");
        }

        _getUniqueId = (delegate* unmanaged<UniqueId*, int>)Function("ncclGetUniqueId");
        _commInitRank = (delegate* unmanaged<nint*, int, UniqueId, int, int>)Function("ncclCommInitRank");
        _commInitRankConfig = (delegate* unmanaged<nint*, int, UniqueId, int, Config*, int>)export("ncclCommInitRankConfig");
        _commDestroy = (delegate* unmanaged<nint, int>)Function("ncclCommDestroy");
        _commAbort = (delegate* unmanaged<nint, int>)Function("ncclCommAbort");
        _commGetAsyncError = (delegate* unmanaged<nint, int*, int>)Function("ncclCommGetAsyncError");
        _allReduce = (delegate* unmanaged<ulong, ulong, nuint, int, int, nint, nint, int>)Function("ncclAllReduce");
    }

    /// <summary>The version: 22,304 for 2.23.4.</summary>
    public int Version { get; }

    /// <summary>The library that is installed. A call that found none looks again.</summary>
    /// <exception cref="CudaException">There is none, or it is too old.</exception>
    public static NcclLibrary Installed()
    {
        lock (s_sync)
        {
            return s_installed ??= Load(Name);
        }
    }

    /// <summary>Loads a library by its name or path.</summary>
    public static NcclLibrary Load(string library)
        => NativeLibrary.TryLoad(library, out nint handle)
            ? new NcclLibrary(name => NativeLibrary.TryGetExport(handle, name, out nint address) ? address : 0)
            : throw new CudaException($"Training by several processes needs NCCL: the library {library} is not found. Install NVIDIA's package of it, or train in one process (TrainerOptions.AccumulationSteps).");

    /// <summary>A name for a meeting of ranks, which one of them makes and all of them give.</summary>
    public UniqueId NewId()
    {
        UniqueId id = default;
        Check(_getUniqueId(&id), "ncclGetUniqueId", "naming a meeting of ranks");
        return id;
    }

    /// <summary>
    /// Meets the other ranks, on the device whose context is the thread's. Where the library has meetings that block nobody (2.14), a rank that never comes to it is waited for no longer than may be; older ones wait for ever.
    /// </summary>
    /// <param name="id">The meeting.</param>
    /// <param name="ranks">How many meet.</param>
    /// <param name="rank">This one.</param>
    /// <param name="timeout">How long it may take.</param>
    /// <param name="gone">Why the meeting will never be complete; null where nothing is known of that.</param>
    /// <exception cref="CudaException">NCCL fails, a rank is gone, or it takes too long.</exception>
    public nint Meet(in UniqueId id, int ranks, int rank, TimeSpan timeout, Func<string?> gone)
    {
        nint communicator = 0;
        string meeting = FormattableString.Invariant($"meeting as rank {rank} of {ranks}");
        if (_commInitRankConfig is null)
        {
            Check(_commInitRank(&communicator, ranks, id, rank), "ncclCommInitRank", meeting);
            return communicator;
        }

        Config config = Config.WithoutBlocking;
        int result = _commInitRankConfig(&communicator, ranks, id, rank, &config);
        try
        {
            Check(result == InProgress ? Success : result, "ncclCommInitRankConfig", meeting);
            WaitFor(communicator, "ncclCommInitRankConfig", meeting, timeout, gone);
            return communicator;
        }
        catch (CudaException)
        {
            if (communicator != 0)
            {
                _ = _commAbort(communicator);
            }

            throw;
        }
    }

    /// <summary>Adds floats of all ranks in place, behind what a stream was given before.</summary>
    /// <param name="communicator">What <see cref="Meet"/> gave.</param>
    /// <param name="floats">Where they begin.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="stream">The stream.</param>
    /// <param name="what">What for, for messages.</param>
    /// <param name="timeout">How long NCCL may take until the stream has it.</param>
    /// <param name="gone">Why it never will; null where nothing is known of that.</param>
    public void AddInPlace(nint communicator, ulong floats, long count, nint stream, string what, TimeSpan timeout, Func<string?> gone)
    {
        int result = _allReduce(floats, floats, (nuint)count, Float32, AddAll, communicator, stream);
        if (result == InProgress)
        {
            // A meeting that blocks nobody connects ranks when they first add something, and the stream has it when that is done.
            WaitFor(communicator, "ncclAllReduce", what, timeout, gone);
            return;
        }

        Check(result, "ncclAllReduce", what);
    }

    private void WaitFor(nint communicator, string call, string what, TimeSpan timeout, Func<string?> gone)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            int state = Success;
            Check(_commGetAsyncError(communicator, &state), "ncclCommGetAsyncError", what);
            if (state != InProgress)
            {
                Check(state, call, what);
                return;
            }

            if (gone() is { } reason)
            {
                throw new CudaException(reason);
            }

            if (Stopwatch.GetElapsedTime(start) > timeout)
            {
                throw new CudaException(FormattableString.Invariant($"{char.ToUpperInvariant(what[0])}{what[1..]} has taken longer than {timeout}: a rank has not come to NCCL ({call}). Its process hangs, or its network's interface is another one (NCCL_SOCKET_IFNAME)."));
            }

            Thread.Sleep(LookEveryMilliseconds);
        }
    }

    /// <summary>What has failed since, if anything has.</summary>
    public void CheckForErrors(nint communicator, string what)
    {
        int error = Success;
        Check(_commGetAsyncError(communicator, &error), "ncclCommGetAsyncError", what);
        Check(error == InProgress ? Success : error, "ncclAllReduce", what);
    }

    /// <summary>Leaves the other ranks; nobody would know what to do if it failed.</summary>
    /// <param name="communicator">What <see cref="Meet"/> gave.</param>
    /// <param name="isBroken">Whether another one may never come to what this one waits for.</param>
    public void Leave(nint communicator, bool isBroken) => _ = isBroken ? _commAbort(communicator) : _commDestroy(communicator);

    // Up to 2.8 the minor number had one digit.
    private static string VersionText(int version)
        => version < 10_000 ? FormattableString.Invariant($"{version / 1000}.{version / 100 % 10}.{version % 100}") : FormattableString.Invariant($"{version / 10_000}.{version / 100 % 100}.{version % 100}");

    private void Check(int result, string call, string doing)
    {
        if (result != Success)
        {
            byte* text = _getErrorString(result);
            string said = text is null ? "unknown error" : Marshal.PtrToStringUTF8((nint)text) ?? "";
            throw new CudaException(result, FormattableString.Invariant($"NCCL error {result}"), FormattableString.Invariant($"{char.ToUpperInvariant(doing[0])}{doing[1..]} failed: {call} returned {result}, {said}."));
        }
    }

    private nint Function(string name)
        => _export(name) is not 0 and nint address ? address : throw new CudaException($"NCCL is too old: it has no {name}, which version {VersionText(MinimumVersion)} has. Install a newer one.");

    /// <summary>ncclConfig_t of version 2.14, which later versions take for what it says to be: all that came later is as it is by itself.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Config
    {
        public nuint Size;
        public uint Magic;
        public uint Version;
        public int Blocking;

        // Where later versions have another number, which they do not look at.
        public int Padding;

        /// <summary>A meeting whose calls return before they are done.</summary>
        public static Config WithoutBlocking => new() { Size = (nuint)sizeof(Config), Magic = 0xCAFEBEEF, Version = 21_400, Blocking = 0 };
    }

    /// <summary>ncclUniqueId, which is given by value.</summary>
    [InlineArray(Bytes)]
    public struct UniqueId
    {
        public const int Bytes = 128;

        private byte _first;
    }
}
