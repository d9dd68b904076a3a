using Microsoft.Win32.SafeHandles;

namespace ModelGen.Runtime;

/// <summary>
/// A file's bytes, read by the system's calls when they are asked for and never mapped: a system ends the process that touches a mapping whose file others have truncated, where a read
/// says that the file has become shorter.
/// </summary>
internal sealed class FileBytes : IDisposable
{
    /// <summary>What is converted lies on the stack meanwhile, so much at a time.</summary>
    public const int StripBytes = 1 << 14;

    private readonly SafeFileHandle _file;
    private int _disposed;

    private FileBytes(string path, SafeFileHandle file)
    {
        Path = path;
        _file = file;
        Length = RandomAccess.GetLength(file);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Its length in bytes when it was opened, 1 or more.</summary>
    public long Length { get; }

    /// <summary>Opens a file.</summary>
    /// <exception cref="ModelFileException">It is empty, a directory, a pipe or a device, or may not be read.</exception>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor is big-endian, which no format here is.</exception>
    public static FileBytes Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("Weight files are little-endian, and this processor is not.");
        }

        SafeFileHandle file = InputFile.OpenHandle(path, FileShare.Read | FileShare.Delete);
        try
        {
            return new FileBytes(path, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Copies bytes of the file.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="destination">Where they go; its length says how many.</param>
    /// <exception cref="ArgumentOutOfRangeException">They are not inside the file, as it was when it was opened.</exception>
    /// <exception cref="ModelFileException">The file has become shorter since it was opened.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public void Copy(long offset, Span<byte> destination)
    {
        CheckRange(offset, destination.Length);
        while (!destination.IsEmpty)
        {
            int read = RandomAccess.Read(_file, destination, offset);
            if (read <= 0)
            {
                throw new ModelFileException(Path, "length", FormattableString.Invariant($"the {Length} bytes that it had when it was opened"), FormattableString.Invariant($"its end at {offset}: it was truncated meanwhile"));
            }

            destination = destination[read..];
            offset += read;
        }
    }

    /// <summary>Bytes of the file, in an array of their own, which is made once it is known that the file has them.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="length">Their number.</param>
    /// <inheritdoc cref="Copy" path="/exception"/>
    public byte[] Bytes(long offset, int length)
    {
        CheckRange(offset, length);
        byte[] bytes = GC.AllocateUninitializedArray<byte>(length);
        Copy(offset, bytes);
        return bytes;
    }

    /// <summary>Keeps the file open until the end of a read, whoever closes it meanwhile.</summary>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public Reading Read()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        return new Reading(_file);
    }

    /// <summary>Closes the file. Reads of other threads that have begun end undisturbed.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _file.Dispose();
        }
    }

    private void CheckRange(long offset, long length)
    {
        if (offset < 0 || length < 0 || offset > Length - length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), offset, FormattableString.Invariant($"{length} bytes from {offset} on are not inside the file's {Length}."));
        }
    }

    /// <summary>A read under way.</summary>
    internal readonly ref struct Reading
    {
        private readonly SafeFileHandle _file;

        public Reading(SafeFileHandle file)
        {
            bool added = false;
            file.DangerousAddRef(ref added);
            _file = file;
        }

        public void Dispose() => _file.DangerousRelease();
    }
}
