using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>
/// cuBLASLt's functions, by their addresses, as <see cref="CudaDriver"/> has the driver's: a library that is not there is a reason for other kernels, and nothing before it is asked for.
/// Descriptors are made by the library itself, as their sizes are those of its version; the only structure that passes is the algorithm that it recommends.
/// </summary>
internal sealed unsafe class CublasLtLibrary
{
    /// <summary>The oldest version that is used: of CUDA 12.0.</summary>
    public const int MinimumVersion = 120_000;

    private const int Success = 0;

    private static readonly Lock s_sync = new();
    private static CublasLtLibrary? s_installed;

    private readonly Func<string, nint> _export;
    private readonly delegate* unmanaged<int, byte*> _getStatusName;
    private readonly delegate* unmanaged<int, byte*> _getStatusString;
    private readonly delegate* unmanaged<nint*, int> _create;
    private readonly delegate* unmanaged<nint*, int, int, int> _descCreate;
    private readonly delegate* unmanaged<nint, int> _descDestroy;
    private readonly delegate* unmanaged<nint, int, void*, nuint, int> _descSetAttribute;
    private readonly delegate* unmanaged<nint*, int, ulong, ulong, long, int> _layoutCreate;
    private readonly delegate* unmanaged<nint, int> _layoutDestroy;
    private readonly delegate* unmanaged<nint*, int> _preferenceCreate;
    private readonly delegate* unmanaged<nint, int> _preferenceDestroy;
    private readonly delegate* unmanaged<nint, int, void*, nuint, int> _preferenceSetAttribute;
    private readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, Recommended*, int*, int> _recommend;
    private readonly delegate* unmanaged<nint, nint, void*, ulong, nint, ulong, nint, void*, ulong, nint, ulong, nint, Algorithm*, ulong, nuint, nint, int> _multiply;

    /// <summary>Takes a library's functions.</summary>
    /// <param name="export">The address of a function by its name; 0 where there is none.</param>
    /// <exception cref="CudaException">The library is too old.</exception>
    public CublasLtLibrary(Func<string, nint> export)
    {
        _export = export;
        nuint version = ((delegate* unmanaged<nuint>)Function("cublasLtGetVersion"))();
        if (version < MinimumVersion)
        {
            throw new CudaException($"cuBLASLt is of version {VersionText((int)version)}, and {VersionText(MinimumVersion)} or later is needed: install a newer one.");
        }

        Version = checked((int)version);
        _getStatusName = (delegate* unmanaged<int, byte*>)Function("cublasLtGetStatusName");
        _getStatusString = (delegate* unmanaged<int, byte*>)Function("cublasLtGetStatusString");
        _create = (delegate* unmanaged<nint*, int>)Function("cublasLtCreate");
        _descCreate = (delegate* unmanaged<nint*, int, int, int>)Function("cublasLtMatmulDescCreate");
        _descDestroy = (delegate* unmanaged<nint, int>)Function("cublasLtMatmulDescDestroy");
        _descSetAttribute = (delegate* unmanaged<nint, int, void*, nuint, int>)Function("cublasLtMatmulDescSetAttribute");
        _layoutCreate = (delegate* unmanaged<nint*, int, ulong, ulong, long, int>)Function("cublasLtMatrixLayoutCreate");
        _layoutDestroy = (delegate* unmanaged<nint, int>)Function("cublasLtMatrixLayoutDestroy");
        _preferenceCreate = (delegate* unmanaged<nint*, int>)Function("cublasLtMatmulPreferenceCreate");
        _preferenceDestroy = (delegate* unmanaged<nint, int>)Function("cublasLtMatmulPreferenceDestroy");
        _preferenceSetAttribute = (delegate* unmanaged<nint, int, void*, nuint, int>)Function("cublasLtMatmulPreferenceSetAttribute");
        _recommend = (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, Recommended*, int*, int>)Function("cublasLtMatmulAlgoGetHeuristic");
        _multiply = (delegate* unmanaged<nint, nint, void*, ulong, nint, ulong, nint, void*, ulong, nint, ulong, nint, Algorithm*, ulong, nuint, nint, int>)Function("cublasLtMatmul");
    }

    /// <summary>The version: 120,405 for 12.4.5.</summary>
    public int Version { get; }

    /// <summary>The library and its version.</summary>
    public override string ToString() => $"cuBLASLt {VersionText(Version)}";

    /// <summary>The newest library that is installed and that the driver is new enough for. A call that found none looks again.</summary>
    /// <param name="driver">The driver's version, 12,040 for 12.4.</param>
    /// <exception cref="CudaException">There is none, or it is too old.</exception>
    public static CublasLtLibrary Installed(int driver)
    {
        lock (s_sync)
        {
            return s_installed ??= Load(OperatingSystem.IsWindows() ? "cublasLt64_{0}.dll" : "libcublasLt.so.{0}", driver);
        }
    }

    /// <summary>Loads a library by its name or path.</summary>
    /// <param name="pattern">The name, with a place for the version of CUDA that it is of.</param>
    /// <param name="driver">The driver's version.</param>
    public static CublasLtLibrary Load(string pattern, int driver)
    {
        int[] versions = driver >= 13_000 ? [13, 12] : [12];
        foreach (int version in versions)
        {
            if (NativeLibrary.TryLoad(Name(version), out nint handle))
            {
                return new CublasLtLibrary(name => NativeLibrary.TryGetExport(handle, name, out nint address) ? address : 0);
            }
        }

        throw new CudaException($"cuBLASLt is not installed: {string.Join(" and ", versions.Select(Name))} {(versions.Length > 1 ? "are" : "is")} not found.");

        string Name(int version) => string.Format(System.Globalization.CultureInfo.InvariantCulture, pattern, version);
    }

    /// <summary>A handle for the device whose context is the thread's.</summary>
    public nint Create()
    {
        nint handle = 0;
        Check(_create(&handle), "cublasLtCreate", $"beginning with {this}");
        return handle;
    }

    /// <summary>A description of a product in single precision sums.</summary>
    public nint CreateDescription(int compute, string what)
    {
        nint description = 0;
        Check(_descCreate(&description, compute, CublasLtProducts.Float32), "cublasLtMatmulDescCreate", what);
        return description;
    }

    public void DestroyDescription(nint description) => _ = description == 0 ? Success : _descDestroy(description);

    public void Set<T>(nint description, int attribute, T value, string what)
        where T : unmanaged
        => Check(_descSetAttribute(description, attribute, &value, (nuint)sizeof(T)), "cublasLtMatmulDescSetAttribute", what);

    /// <summary>The layout of a matrix whose columns follow each other so many elements apart.</summary>
    public nint CreateLayout(int type, int rows, int columns, int stride, string what)
    {
        nint layout = 0;
        Check(_layoutCreate(&layout, type, (ulong)rows, (ulong)columns, stride), "cublasLtMatrixLayoutCreate", what);
        return layout;
    }

    public void DestroyLayout(nint layout) => _ = layout == 0 ? Success : _layoutDestroy(layout);

    public nint CreatePreference(string what)
    {
        nint preference = 0;
        Check(_preferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", what);
        return preference;
    }

    public void DestroyPreference(nint preference) => _ = preference == 0 ? Success : _preferenceDestroy(preference);

    public void Prefer<T>(nint preference, int attribute, T value, string what)
        where T : unmanaged
        => Check(_preferenceSetAttribute(preference, attribute, &value, (nuint)sizeof(T)), "cublasLtMatmulPreferenceSetAttribute", what);

    /// <summary>The algorithm that is thought to be the quickest.</summary>
    /// <exception cref="CudaException">There is none for such a product.</exception>
    public Recommended Recommend(nint handle, nint description, nint a, nint b, nint c, nint d, nint preference, string what)
    {
        Recommended best = default;
        int count = 0;
        Check(_recommend(handle, description, a, b, c, d, preference, 1, &best, &count), "cublasLtMatmulAlgoGetHeuristic", what);
        if (count < 1)
        {
            throw new CudaException($"{Upper(what)} failed: cublasLtMatmulAlgoGetHeuristic knows of no algorithm.");
        }

        Check(best.State, "cublasLtMatmulAlgoGetHeuristic", what);
        return best;
    }

    /// <summary>Computes a product in a stream.</summary>
    public int Multiply(nint handle, nint description, void* alpha, ulong a, nint aLayout, ulong b, nint bLayout, void* beta, ulong c, nint cLayout, ulong d, nint dLayout, Algorithm* algorithm, ulong workspace, long workspaceBytes, nint stream)
        => _multiply(handle, description, alpha, a, aLayout, b, bLayout, beta, c, cLayout, d, dLayout, algorithm, workspace, (nuint)workspaceBytes, stream);

    public void Check(int status, string call, string doing)
    {
        if (status == Success)
        {
            return;
        }

        string name = Text(_getStatusName(status)), text = Text(_getStatusString(status));
        name = name.Length == 0 ? FormattableString.Invariant($"status {status}") : name;
        throw new CudaException(status, name, $"{Upper(doing)} failed: {call} returned {name}{FormattableString.Invariant($" ({status})")}{(text.Length == 0 || text == name ? "" : ", " + text)}.");
    }

    private static string Upper(string text) => char.ToUpperInvariant(text[0]) + text[1..];

    private static string Text(byte* text) => text is null ? "" : Marshal.PtrToStringUTF8((nint)text) ?? "";

    // Up to 11 the factors were other ones, which makes them less than any later version all the same.
    private static string VersionText(int version)
        => version < 100_000 ? FormattableString.Invariant($"{version / 1000}.{version / 100 % 10}.{version % 100}") : FormattableString.Invariant($"{version / 10_000}.{version / 100 % 100}.{version % 100}");

    private nint Function(string name)
        => _export(name) is not 0 and nint address ? address : throw new CudaException($"cuBLASLt is too old: it has no {name}, which version {VersionText(MinimumVersion)} has. Install a newer one.");

    /// <summary>cublasLtMatmulAlgo_t.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Algorithm
    {
        private fixed ulong _data[8];
    }

    /// <summary>cublasLtMatmulHeuristicResult_t.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Recommended
    {
        public Algorithm Algorithm;
        public nuint WorkspaceBytes;
        public int State;
        public float Waves;
        private fixed int _reserved[4];
    }
}
