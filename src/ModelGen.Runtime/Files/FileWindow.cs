namespace ModelGen.Runtime;

/// <summary>A part of a file that is read from its beginning to its end, mostly in small pieces: some of what follows a piece is read with it.</summary>
internal sealed class FileWindow
{
    private const int MostBytes = 1 << 16;

    private readonly FileBytes _file;
    private readonly long _end;
    private readonly byte[] _buffer;
    private long _start;
    private int _count;

    /// <summary>A part of a file.</summary>
    /// <param name="file">The file, which the caller keeps open.</param>
    /// <param name="start">Its first byte.</param>
    /// <param name="end">The byte behind its last.</param>
    public FileWindow(FileBytes file, long start, long end)
    {
        _file = file;
        _end = end;
        _buffer = new byte[(int)Math.Clamp(end - start, 0, MostBytes)];
    }

    /// <summary>Pieces of at most so many bytes are read without an array of their own.</summary>
    public int Room => _buffer.Length;

    /// <summary>Bytes of the part, until the next are asked for.</summary>
    /// <param name="offset">The first, from the file's start.</param>
    /// <param name="length">Their number.</param>
    /// <exception cref="ArgumentOutOfRangeException">They are not inside the file, as it was when it was opened.</exception>
    /// <exception cref="ModelFileException">The file has become shorter since it was opened.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public ReadOnlySpan<byte> At(long offset, int length)
    {
        if (offset >= _start && offset - _start <= _count - length)
        {
            return _buffer.AsSpan((int)(offset - _start), length);
        }

        if (length > _buffer.Length || offset < 0 || offset > _end - length)
        {
            return _file.Bytes(offset, length);
        }

        _count = 0;
        int count = (int)Math.Min(_buffer.Length, _end - offset);
        _file.Copy(offset, _buffer.AsSpan(0, count));
        (_start, _count) = (offset, count);
        return _buffer.AsSpan(0, length);
    }
}
