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
    private const int AddAll = 0;

    private static readonly Lock s_sync = new();
    private static NcclLibrary? s_installed;

    private readonly Func<string, nint> _export;
    private readonly delegate* unmanaged<int, byte*> _getErrorString;
    private readonly delegate* unmanaged<UniqueId*, int> _getUniqueId;
    private readonly delegate* unmanaged<nint*, int, UniqueId, int, int> _commInitRank;
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

    /// <summary>Meets the other ranks, on the device whose context is the thread's.</summary>
    public nint Meet(in UniqueId id, int ranks, int rank)
    {
        nint communicator = 0;
        Check(_commInitRank(&communicator, ranks, id, rank), "ncclCommInitRank", FormattableString.Invariant($"meeting as rank {rank} of {ranks}"));
        return communicator;
    }

    /// <summary>Adds floats of all ranks in place, behind what a stream was given before.</summary>
    public void AddInPlace(nint communicator, ulong floats, long count, nint stream, string what)
        => Check(_allReduce(floats, floats, (nuint)count, Float32, AddAll, communicator, stream), "ncclAllReduce", what);

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

    /// <summary>ncclUniqueId, which is given by value.</summary>
    [InlineArray(Bytes)]
    public struct UniqueId
    {
        public const int Bytes = 128;

        private byte _first;
    }
}
