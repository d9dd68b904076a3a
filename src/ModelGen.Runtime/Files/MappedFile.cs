using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace ModelGen.Runtime;

/// <summary>
/// A file's bytes, mapped into memory to be read, and read by the system's calls where they are copied anyway. The file must not be truncated by others while it is open: what is copied is
/// then missed, with an exception, but a system ends the process that touches a mapping which is no longer there.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    /// <summary>What is converted lies on the stack meanwhile, so much at a time.</summary>
    public const int StripBytes = 1 << 14;

    private readonly SafeFileHandle _source;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeMemoryMappedViewHandle _handle;
    private readonly byte* _start;
    private int _disposed;

    private MappedFile(string path, SafeFileHandle file)
    {
        Path = path;
        _source = file;
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

        SafeFileHandle file = InputFile.OpenHandle(path, FileShare.Read | FileShare.Delete);
        try
        {
            return new MappedFile(path, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
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

    /// <summary>Copies bytes of the file. They are read, not taken from the mapping, whose pages would have to be entered one by one first.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="destination">Where they go.</param>
    /// <exception cref="ArgumentOutOfRangeException">They are not inside the file.</exception>
    /// <exception cref="ModelFileException">The file has become shorter since it was opened.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public void Copy(long offset, Span<byte> destination)
    {
        _ = Address(offset, destination.Length);
        while (!destination.IsEmpty)
        {
            int read = RandomAccess.Read(_source, destination, offset);
            if (read <= 0)
            {
                throw new ModelFileException(Path, "length", FormattableString.Invariant($"the {Length} bytes that it had when it was opened"), FormattableString.Invariant($"its end at {offset}: it was truncated meanwhile"));
            }

            destination = destination[read..];
            offset += read;
        }
    }

    /// <summary>Keeps the mapping until the end of a read, whoever closes the file meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public Reading Read()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return new Reading(_handle, _source);
    }

    /// <summary>Closes the file. Reads of other threads that have begun end undisturbed.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _handle.ReleasePointer();
            _view.Dispose();
            _file.Dispose();
            _source.Dispose();
        }
    }

    /// <summary>A read under way.</summary>
    internal readonly ref struct Reading
    {
        private readonly SafeMemoryMappedViewHandle _handle;
        private readonly SafeFileHandle _source;

        public Reading(SafeMemoryMappedViewHandle handle, SafeFileHandle source)
        {
            bool added = false;
            handle.DangerousAddRef(ref added);
            try
            {
                source.DangerousAddRef(ref added);
            }
            catch
            {
                handle.DangerousRelease();
                throw;
            }

            (_handle, _source) = (handle, source);
        }

        public void Dispose()
        {
            _source.DangerousRelease();
            _handle.DangerousRelease();
        }
    }
}
