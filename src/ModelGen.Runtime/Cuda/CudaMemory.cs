using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>Memory of a device, freed on disposal or, failing that, by its finalizer.</summary>
internal sealed class CudaMemory : SafeHandle
{
    private readonly CudaContext _context;

    /// <summary>Memory that holds anything.</summary>
    /// <param name="context">The device, whose context is that of the thread.</param>
    /// <param name="bytes">The size, which is rounded up to whole lines of 256 bytes.</param>
    /// <param name="what">What it is for, for messages.</param>
    public CudaMemory(CudaContext context, long bytes, string what)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        _context = context;
        ByteLength = checked((Math.Max(bytes, 1) + 255) / 256 * 256);
        SetHandle((nint)context.Driver.Allocate(ByteLength, what));
    }

    /// <summary>Memory of zeros, once the stream is synchronized.</summary>
    /// <param name="context">The device, whose context is that of the thread.</param>
    /// <param name="bytes">The size, which is rounded up to whole lines of 256 bytes.</param>
    /// <param name="stream">Where it is zeroed.</param>
    /// <param name="what">What it is for, for messages.</param>
    public CudaMemory(CudaContext context, long bytes, nint stream, string what)
        : this(context, bytes, what)
    {
        try
        {
            context.Driver.Clear(Address, ByteLength, stream, $"zeroing the device memory for {what}");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public long ByteLength { get; }

    public override bool IsInvalid => handle == 0;

    /// <exception cref="ObjectDisposedException">It was freed.</exception>
    public ulong Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (ulong)handle;
        }
    }

    protected override bool ReleaseHandle()
    {
        _context.Driver.Free(_context.Handle, (ulong)handle);
        return true;
    }
}
