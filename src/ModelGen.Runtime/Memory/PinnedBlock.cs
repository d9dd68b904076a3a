using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace ModelGen;

/// <summary>
/// A zeroed, 64-byte aligned block of memory on the pinned object heap. It holds what users get spans into: a span is then a
/// reference like any other, and the memory lives as long as one is left, whatever became of the model or trainer. What nobody
/// outside sees lies in a <see cref="NativeBlock"/>, which is freed the moment it is disposed.
/// </summary>
internal sealed unsafe class PinnedBlock
{
    private Line[]? _lines;
    private readonly float* _start;

    /// <param name="floats">The number of floats; the most are 2³¹ lines of 64 bytes, or 128 GiB.</param>
    public PinnedBlock(long floats)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(floats);
        long lines = checked(floats + (sizeof(Line) / sizeof(float)) - 1) / (sizeof(Line) / sizeof(float));
        if (lines >= Array.MaxLength)
        {
            throw new ArgumentOutOfRangeException(nameof(floats), floats, "A block holds fewer than 2^31 lines of 64 bytes.");
        }

        // The heap aligns to 8 bytes: one line more, and the block begins where the first whole one does. It stays there.
        _lines = GC.AllocateArray<Line>((int)lines + 1, pinned: true);
        ByteLength = lines * sizeof(Line);
        nuint first = (nuint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_lines));
        _start = (float*)((first + (nuint)sizeof(Line) - 1) & ~((nuint)sizeof(Line) - 1));
        LargePages.Ask(_start, ByteLength);
    }

    /// <summary>The number of bytes, rounded up to whole 64-byte lines.</summary>
    public long ByteLength { get; }

    /// <summary>The block. Whoever holds the pointer must keep this object alive.</summary>
    /// <exception cref="ObjectDisposedException">The block was let go.</exception>
    public float* Floats
    {
        get
        {
            ObjectDisposedException.ThrowIf(_lines is null, this);
            return _start;
        }
    }

    /// <summary>A part of the block, which keeps all of it alive.</summary>
    /// <param name="offset">The first float.</param>
    /// <param name="length">The number of floats, which the caller has checked to be inside.</param>
    /// <exception cref="ObjectDisposedException">The block was let go.</exception>
    public Span<float> Span(long offset, int length)
    {
        // The collector sees from the address which object a reference leads into.
        Span<float> span = MemoryMarshal.CreateSpan(ref Unsafe.AsRef<float>(Floats + offset), length);
        GC.KeepAlive(_lines);
        return span;
    }

    /// <summary>Lets the memory go: it is collected once no span leads into it.</summary>
    public void Release() => _lines = null;

    [StructLayout(LayoutKind.Sequential, Size = NativeBlock.Alignment)]
    private readonly struct Line;
}
