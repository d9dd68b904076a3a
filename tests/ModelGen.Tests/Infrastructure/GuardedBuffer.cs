using System.ComponentModel;
using System.Runtime.InteropServices;

namespace ModelGen.Tests.Infrastructure;

/// <summary>On which side of the data the inaccessible page lies.</summary>
public enum GuardSide
{
    /// <summary>The first byte beyond the data faults.</summary>
    After,

    /// <summary>The last byte before the data faults.</summary>
    Before,
}

/// <summary>
/// Floats that border on a page which may be neither read nor written: one element too far ends the process. The other side
/// holds a pattern that <see cref="Dispose"/> checks.
/// </summary>
public sealed unsafe partial class GuardedBuffer : IDisposable
{
    private const byte Pattern = 0xA5;
    private readonly byte* mapping;
    private readonly byte* accessible;
    private readonly long accessibleBytes;
    private readonly nuint mappingBytes;
    private bool disposed;

    /// <summary>Allocates <paramref name="length"/> floats, all NaN.</summary>
    public GuardedBuffer(int length, GuardSide side = GuardSide.After)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Length = length;
        long page = Environment.SystemPageSize;
        long bytes = (long)length * sizeof(float);
        accessibleBytes = (bytes + page - 1) / page * page;
        mappingBytes = (nuint)(accessibleBytes + page);
        mapping = Map(mappingBytes);
        accessible = side == GuardSide.After ? mapping : mapping + page;
        Protect(side == GuardSide.After ? mapping + accessibleBytes : mapping, (nuint)page);

        NativeMemory.Fill(accessible, (nuint)accessibleBytes, Pattern);
        Pointer = (float*)(side == GuardSide.After ? accessible + accessibleBytes - bytes : accessible);
        Span.Fill(float.NaN);
    }

    /// <summary>The first float.</summary>
    public float* Pointer { get; }

    /// <summary>Number of floats.</summary>
    public int Length { get; }

    /// <summary>The floats.</summary>
    public Span<float> Span => new(Pointer, Length);

    /// <summary>Frees the memory after having checked that nothing was written beside the data.</summary>
    /// <exception cref="InvalidOperationException">A byte on the unguarded side was changed.</exception>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        long dataStart = (byte*)Pointer - accessible;
        long dataEnd = dataStart + ((long)Length * sizeof(float));
        long? changed = null;
        for (long i = 0; i < accessibleBytes && changed is null; i++)
        {
            if ((i < dataStart || i >= dataEnd) && accessible[i] != Pattern) changed = i - dataStart;
        }

        Unmap(mapping, mappingBytes);
        if (changed is not null) throw new InvalidOperationException($"Byte {changed} of a buffer of {Length} floats was written.");
    }

    private static byte* Map(nuint bytes)
    {
        if (OperatingSystem.IsWindows())
        {
            const uint CommitAndReserve = 0x3000, ReadWrite = 4;
            byte* result = VirtualAlloc(null, bytes, CommitAndReserve, ReadWrite);
            return result != null ? result : throw new Win32Exception();
        }

        const int Read = 1, Write = 2, Private = 2;
        int anonymous = OperatingSystem.IsMacOS() ? 0x1000 : 0x20;
        byte* mapped = MemoryMap(null, bytes, Read | Write, Private | anonymous, -1, 0);
        return mapped != (byte*)-1 ? mapped : throw new Win32Exception();
    }

    private static void Protect(byte* address, nuint bytes)
    {
        const uint NoAccess = 1;
        bool done = OperatingSystem.IsWindows()
            ? VirtualProtect(address, bytes, NoAccess, out _) != 0
            : MemoryProtect(address, bytes, 0) == 0;
        if (!done) throw new Win32Exception();
    }

    private static void Unmap(byte* address, nuint bytes)
    {
        const uint Release = 0x8000;
        bool done = OperatingSystem.IsWindows() ? VirtualFree(address, 0, Release) != 0 : MemoryUnmap(address, bytes) == 0;
        if (!done) throw new Win32Exception();
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial byte* MemoryMap(void* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int MemoryProtect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int MemoryUnmap(void* address, nuint length);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial byte* VirtualAlloc(void* address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial int VirtualProtect(void* address, nuint size, uint protection, out uint old);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial int VirtualFree(void* address, nuint size, uint type);
}
