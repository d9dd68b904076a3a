using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace ModelGen.Runtime;

/// <summary>A file's bytes, mapped into memory to be read. The file must not be truncated by others while it is open.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeMemoryMappedViewHandle _handle;
    private readonly byte* _start;
    private int _disposed;

    private MappedFile(string path, SafeFileHandle file)
    {
        Path = path;
        Length = RandomAccess.GetLength(file);
        _file = MemoryMappedFile.CreateFromFile(file, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        try
        {
            _view = _file.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
            _handle = _view.SafeMemoryMappedViewHandle;
            byte* start = null;
            _handle.AcquirePointer(ref start);
            _start = start + _view.PointerOffset;
        }
        catch
        {
            _view?.Dispose();
            _file.Dispose();
            throw;
        }
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Its length in bytes, 1 or more.</summary>
    public long Length { get; }

    /// <summary>Maps a file.</summary>
    /// <exception cref="ModelFileException">It is empty, a directory, a pipe or a device, or may not be read.</exception>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor is big-endian, which no format here is.</exception>
    public static MappedFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("Weight files are little-endian, and this processor is not.");
        }

        using SafeFileHandle file = InputFile.OpenHandle(path, FileShare.Read | FileShare.Delete);
        return new MappedFile(path, file);
    }

    /// <summary>Bytes of the file. Whoever uses them must hold a <see cref="Read"/>.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">Their number.</param>
    /// <exception cref="ArgumentOutOfRangeException">They are not inside the file.</exception>
    public ReadOnlySpan<byte> Span(long offset, int length) => new(Address(offset, length), length);

    /// <inheritdoc cref="Span"/>
    public byte* Address(long offset, long length)
        => offset >= 0 && length >= 0 && offset <= Length - length
            ? _start + offset
            : throw new ArgumentOutOfRangeException(nameof(offset), offset, FormattableString.Invariant($"{length} bytes from {offset} on are not inside the file's {Length}."));

    /// <summary>Keeps the mapping until the end of a read, whoever closes the file meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public Reading Read()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return new Reading(_handle);
    }

    /// <summary>Closes the file. Reads of other threads that have begun end undisturbed.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _handle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
        }
    }

    /// <summary>A read under way.</summary>
    internal readonly ref struct Reading
    {
        private readonly SafeMemoryMappedViewHandle _handle;

        public Reading(SafeMemoryMappedViewHandle handle)
        {
            bool added = false;
            handle.DangerousAddRef(ref added);
            _handle = handle;
        }

        public void Dispose() => _handle.DangerousRelease();
    }
}
