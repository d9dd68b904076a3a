using System.Buffers.Binary;

namespace ModelGen;

/// <summary>
/// Writes sequences of tokens one by one to a file that <see cref="SequenceDataset.FromFile"/> opens: a text that is larger than memory is read line by line, encoded and written. The file holds the tokens, four bytes each (it is a
/// <see cref="TokenDataset"/>, too); a second one beside it where each sequence ends.
/// </summary>
public sealed class SequenceFileWriter : IDisposable
{
    /// <summary>What is appended to the path for the second file.</summary>
    public const string EndsSuffix = ".ends";

    private readonly BufferedStream _tokens;
    private readonly BufferedStream _ends;
    private long _count;

    /// <summary>Creates the files, or empties them.</summary>
    /// <param name="path">The file of tokens.</param>
    /// <exception cref="IOException">A file cannot be created.</exception>
    public SequenceFileWriter(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        _tokens = new BufferedStream(File.Create(path), 1 << 16);
        try
        {
            _ends = new BufferedStream(File.Create(path + EndsSuffix), 1 << 16);
        }
        catch
        {
            _tokens.Dispose();
            throw;
        }
    }

    /// <summary>Writes a sequence.</summary>
    /// <param name="sequence">Its tokens, one or more.</param>
    /// <exception cref="ArgumentException">There are none, or one is negative. Nothing was written.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Add(ReadOnlySpan<int> sequence)
    {
        if (sequence.IsEmpty)
        {
            throw new ArgumentException("A sequence needs at least one token.", nameof(sequence));
        }

        int negative = sequence.IndexOfAnyInRange(int.MinValue, -1);
        if (negative >= 0)
        {
            throw new ArgumentException(FormattableString.Invariant($"Token {negative}: expected an id of 0 or more, found {sequence[negative]}."), nameof(sequence));
        }

        Span<byte> bytes = stackalloc byte[sizeof(long)];
        foreach (int token in sequence)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes, token);
            _tokens.Write(bytes[..sizeof(int)]);
        }

        _count += sequence.Length;
        BinaryPrimitives.WriteInt64LittleEndian(bytes, _count);
        _ends.Write(bytes);
    }

    /// <summary>Writes what is left and closes the files.</summary>
    public void Dispose()
    {
        try
        {
            _tokens.Dispose();
        }
        finally
        {
            _ends.Dispose();
        }
    }
}
