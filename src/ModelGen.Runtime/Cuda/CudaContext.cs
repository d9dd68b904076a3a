namespace ModelGen.Runtime;

/// <summary>
/// One device of a driver: its primary context, which is made when something is to run there and kept until the process ends, and the modules that
/// are loaded there.
/// </summary>
internal sealed class CudaContext
{
    private const int Processors = 16;
    private const int CooperativeLaunch = 95;
    private const int CapabilityMajor = 75;
    private const int CapabilityMinor = 76;

    // What modules are written for: sm_80.
    private const int LeastMajor = 8;

    // What modules for products by groups of four warps need: they are for this capability alone, and PTX 8.0 came with CUDA 12.0.
    private const string WarpgroupCapability = "9.0";
    private const int WarpgroupVersion = 12_000;

    private readonly int _device;
    private nint _handle;
    private (CublasLtLibrary Library, nint Handle) _productLibrary;
    private readonly Lock _sync = new();
    private readonly Dictionary<CudaLayout, Loaded> _modules = new(ReferenceEqualityComparer.Instance);

    public CudaContext(CudaDriver driver, int index)
    {
        (Driver, Index) = (driver, index);
        int device = _device = driver.DeviceOf(index);
        Name = driver.NameOf(device);
        MemoryBytes = driver.MemoryOf(device);
        (int major, int minor) = (driver.AttributeOf(device, CapabilityMajor), driver.AttributeOf(device, CapabilityMinor));
        Capability = FormattableString.Invariant($"{major}.{minor}");
        if (major < LeastMajor)
        {
            throw new CudaException(FormattableString.Invariant($"CUDA device {index}, {Name}, is of compute capability {Capability}, and {LeastMajor}.0 or later is needed."));
        }
    }

    public CudaDriver Driver { get; }

    public int Index { get; }

    public string Name { get; }

    public string Capability { get; }

    public long MemoryBytes { get; }

    /// <summary>Whether it has products by groups of four warps, and a driver that knows of them.</summary>
    public bool HasWarpgroups => Capability == WarpgroupCapability && Driver.Version >= WarpgroupVersion;

    /// <summary>The primary context: some hundred megabytes of the device's memory, which who only asks for its name shall not take.</summary>
    /// <exception cref="CudaException">It cannot be made.</exception>
    public nint Handle => Volatile.Read(ref _handle) is not 0 and nint handle ? handle : Retain();

    /// <summary>Makes this the context of the thread that calls.</summary>
    public void Use() => Driver.Use(Handle);

    /// <summary>How many blocks of a kernel the device holds at once, of those that it may have on each processor; 1 where it does not launch blocks together.</summary>
    public int Resident(nint kernel, int blocksOfProcessor, int threads, string name)
        => Driver.AttributeOf(_device, CooperativeLaunch) == 0 ? 1 : Math.Max(1, Math.Min(blocksOfProcessor, Driver.BlocksOfProcessor(kernel, threads, name)) * Driver.AttributeOf(_device, Processors));

    /// <summary>The kernels of a layout's module, and behind them those for products by groups of four warps where the device has these; assembled when they are asked for first.</summary>
    public nint[] Kernels(CudaLayout layout, string modelName) => Kernels(layout, modelName, out _);

    /// <inheritdoc cref="Kernels(CudaLayout, string)"/>
    /// <param name="layout">The layout.</param>
    /// <param name="modelName">Whose kernels they are, for messages.</param>
    /// <param name="refusal">Why there are none for products by groups of four warps on a device that has these; null where there are, or the layout has none.</param>
    /// <exception cref="CudaException">The module for all devices cannot be loaded, or the device fails.</exception>
    public nint[] Kernels(CudaLayout layout, string modelName, out string? refusal)
    {
        lock (_sync)
        {
            if (!_modules.TryGetValue(layout, out Loaded? loaded))
            {
                Use();
                nint module = Driver.LoadModule(layout.Module(), $"the kernels of {modelName}");
                try
                {
                    nint[] kernels = [.. layout.Kernels.Select(name => Driver.FunctionOf(module, name))];
                    loaded = HasWarpgroups && layout.Warpgroups is { } large ? WithWarpgroups(kernels, large, modelName) : new Loaded(kernels, null);
                }
                catch
                {
                    Driver.UnloadModule(module);
                    throw;
                }

                _modules.Add(layout, loaded);
            }

            refusal = loaded.Refusal;
            return loaded.Kernels;
        }
    }

    /// <summary>Kernels of the module for all devices, which compute everything, and behind them those of the other one, unless the driver will not have that.</summary>
    private Loaded WithWarpgroups(nint[] kernels, CudaWarpgroups large, string modelName)
    {
        nint module = 0;
        try
        {
            module = Driver.LoadModule(large.Module(), $"the large products of {modelName} by groups of four warps");
            return new Loaded([.. kernels, .. large.Kernels.Select((name, i) => Asking(module, name, large.SharedBytes[i]))], null);
        }
        catch (CudaException exception) when (CudaDriver.RefusesModule(exception.ErrorCode))
        {
            Unload();
            return new Loaded(kernels, $"Large products of {modelName} are those of other devices. {exception.Message}");
        }
        catch
        {
            Unload();
            throw;
        }

        void Unload()
        {
            if (module != 0)
            {
                Driver.UnloadModule(module);
            }
        }
    }

    /// <summary>The library that computes products, and its handle for this device, which is made once and kept.</summary>
    /// <exception cref="CudaException">It is not there, is too old or refuses.</exception>
    public (CublasLtLibrary Library, nint Handle) ProductLibrary()
    {
        lock (_sync)
        {
            if (_productLibrary.Handle == 0)
            {
                CublasLtLibrary library = Driver.ProductLibrary(Driver.Version);
                _productLibrary = (library, library.Create());
            }

            return _productLibrary;
        }
    }

    private nint Asking(nint module, string name, int sharedBytes)
    {
        nint kernel = Driver.FunctionOf(module, name);
        if (sharedBytes > 0)
        {
            Driver.AllowShared(kernel, sharedBytes, name);
        }

        return kernel;
    }

    private nint Retain()
    {
        lock (_sync)
        {
            if (_handle == 0)
            {
                Volatile.Write(ref _handle, Driver.RetainContext(_device));
            }

            return _handle;
        }
    }

    /// <summary>What was loaded of a layout.</summary>
    /// <param name="Kernels">The kernels that launches number.</param>
    /// <param name="Refusal">Why there are none for products by groups of four warps, where there might be.</param>
    private sealed record Loaded(nint[] Kernels, string? Refusal);
}
