using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Kinds of processors that models run on.</summary>
public enum DeviceKind
{
    /// <summary>The processor.</summary>
    Cpu,

    /// <summary>A CUDA device.</summary>
    Cuda,
}

/// <summary>Where a session or a trainer is to run: <see cref="SessionOptions.Device"/>, <see cref="TrainerOptions.Device"/>.</summary>
public sealed class Device
{
    private readonly Func<CudaDriver>? _driver;

    private Device(Func<CudaDriver>? driver, int index, bool mayFallBack)
        => (_driver, Index, MayFallBack) = (driver, index, mayFallBack);

    /// <summary>The processor.</summary>
    public static Device Cpu { get; } = new(null, 0, false);

    /// <summary>
    /// The first CUDA device where there is one and the model was declared with <see cref="CudaAttribute"/>, otherwise the processor:
    /// <see cref="DeviceInUse.FallbackReason"/> says why.
    /// </summary>
    public static Device Auto => First.Device;

    /// <summary>The kind that is asked for; of <see cref="Auto"/> a CUDA device.</summary>
    public DeviceKind Kind => _driver is null ? DeviceKind.Cpu : DeviceKind.Cuda;

    /// <summary>The device's number.</summary>
    public int Index { get; }

    /// <summary>Whether the processor takes its place where it is not to be had.</summary>
    public bool MayFallBack { get; }

    /// <summary>A CUDA device, for models that were declared with <see cref="CudaAttribute"/>.</summary>
    /// <param name="index">Its number, from 0 on, as the driver counts.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative.</exception>
    public static Device Cuda(int index = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        return new Device(CudaDriver.Installed, index, false);
    }

    /// <summary>The CUDA devices that the installed driver knows of and that models can run on.</summary>
    /// <exception cref="CudaException">There is no driver, or it fails.</exception>
    public static IReadOnlyList<DeviceInUse> CudaDevices()
    {
        CudaDriver driver = CudaDriver.Installed();
        return [.. Enumerable.Range(0, driver.DeviceCount).Select(driver.TryContext).OfType<CudaContext>().Select(context => new DeviceInUse(context))];
    }

    /// <inheritdoc/>
    public override string ToString() => Kind == DeviceKind.Cpu ? "CPU" : FormattableString.Invariant($"CUDA {Index}{(MayFallBack ? " or CPU" : "")}");

    /// <summary>A device of a driver that is not the installed one, for tests.</summary>
    internal static Device On(Func<CudaDriver> driver, int index = 0, bool mayFallBack = false) => new(driver, index, mayFallBack);

    /// <summary>The context of the device; null for the processor.</summary>
    /// <exception cref="CudaException">There is no such device.</exception>
    internal CudaContext? Context() => _driver?.Invoke().Context(Index);

    // On its own, so that a published program that asks for no device has nothing of a driver.
    private static class First
    {
        public static Device Device { get; } = new(CudaDriver.Installed, 0, true);
    }
}

/// <summary>Where a session or a trainer runs.</summary>
public sealed class DeviceInUse
{
    internal DeviceInUse(string? reason)
        => (Kind, Name, FallbackReason) = (DeviceKind.Cpu, "CPU", reason);

    internal DeviceInUse(CudaContext context)
        => (Kind, Index, Name, MemoryBytes, ComputeCapability) = (DeviceKind.Cuda, context.Index, context.Name, context.MemoryBytes, context.Capability);

    /// <summary>Its kind.</summary>
    public DeviceKind Kind { get; }

    /// <summary>The number of a CUDA device; otherwise 0.</summary>
    public int Index { get; }

    /// <summary>The name of a CUDA device, as its driver says; otherwise <c>CPU</c>.</summary>
    public string Name { get; }

    /// <summary>All memory of a CUDA device in bytes; otherwise 0.</summary>
    public long MemoryBytes { get; }

    /// <summary>The compute capability of a CUDA device, such as <c>9.0</c>; otherwise empty.</summary>
    public string ComputeCapability { get; } = "";

    /// <summary>Why <see cref="Device.Auto"/> is the processor; otherwise null.</summary>
    public string? FallbackReason { get; }

    /// <summary>
    /// What a CUDA device does for the session or the trainer in another way than it might, and why, a sentence or more for each: that the driver refuses the module with the
    /// instructions of this device's kind, so that large products are those of other devices, or that a library is not installed that the declaration asks for. Results are right all the same. Empty where there is nothing of the kind.
    /// </summary>
    public IReadOnlyList<string> Limitations { get; internal init; } = [];

    /// <summary>The library that computes large products for the session or the trainer on a CUDA device, with its version, such as <c>cuBLASLt 12.4.5</c>; null where emitted kernels compute all. See <see cref="CudaProducts.CublasLt"/>.</summary>
    public string? ProductLibrary { get; internal init; }

    /// <inheritdoc/>
    public override string ToString()
        => Kind == DeviceKind.Cuda ? FormattableString.Invariant($"{Name} (CUDA device {Index})") : FallbackReason is null ? Name : $"{Name} ({FallbackReason})";
}
