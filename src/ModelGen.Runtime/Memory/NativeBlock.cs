using System.Runtime.InteropServices;

namespace ModelGen;

/// <summary>A zeroed, 64-byte aligned block of native memory, freed on disposal or, failing that, by its finalizer.</summary>
internal sealed unsafe class NativeBlock : SafeHandle
{
    internal const int Alignment = 64;

    private readonly Action? _free;

    // What the allocator gave, which the block begins in.
    private readonly nint _memory;

    public NativeBlock(long byteLength)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(byteLength);
        ByteLength = checked((byteLength + Alignment - 1) / Alignment * Alignment);

        // An empty block still gets a pointer of its own, so that nobody needs to treat null specially.
        // Large blocks are pages that the system has cleared, and that take no memory before they are used: caches of long contexts fill up as sequences grow.
        _memory = (nint)NativeMemory.AllocZeroed(checked((nuint)Math.Max(ByteLength, Alignment) + Alignment));
        SetHandle((_memory + Alignment - 1) & -Alignment);
        if (ByteLength > 0)
        {
            GC.AddMemoryPressure(ByteLength);
        }
    }

    /// <summary>Takes memory that somebody else allocated.</summary>
    /// <param name="byteLength">Its bytes.</param>
    /// <param name="memory">Where it begins.</param>
    /// <param name="free">Frees it, from any thread.</param>
    public NativeBlock(long byteLength, void* memory, Action free)
        : base(0, ownsHandle: true)
    {
        NativeMemory.Clear(memory, checked((nuint)byteLength));
        (ByteLength, _free) = (byteLength, free);
        SetHandle((nint)memory);
    }

    public static NativeBlock OfFloats(long count) => new(checked(count * sizeof(float)));

    /// <summary>The number of bytes, rounded up to whole 64-byte lines.</summary>
    public long ByteLength { get; }

    public override bool IsInvalid => handle == 0;

    /// <exception cref="ObjectDisposedException">The block was freed.</exception>
    public byte* Bytes
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return (byte*)handle;
        }
    }

    public float* Floats => (float*)Bytes;

    public void Clear() => NativeMemory.Clear(Bytes, (nuint)ByteLength);

    protected override bool ReleaseHandle()
    {
        if (_free is not null)
        {
            _free();
            return true;
        }

        NativeMemory.Free((void*)_memory);
        if (ByteLength > 0)
        {
            GC.RemoveMemoryPressure(ByteLength);
        }

        return true;
    }
}
