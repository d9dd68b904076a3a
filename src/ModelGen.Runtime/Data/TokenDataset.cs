using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>How one token id is stored in a token file: little-endian, without a header.</summary>
public enum TokenStorage
{
    /// <summary>One byte per token; any file is a sequence of byte tokens.</summary>
    UInt8,

    /// <summary>Two bytes per token.</summary>
    UInt16,

    /// <summary>Four bytes per token.</summary>
    Int32,
}

/// <summary>
/// A sequence of token ids to train on or to evaluate, in memory or in a file, which may be larger. Reading is safe from several
/// threads and allocates nothing.
/// </summary>
/// <remarks>A part made by <see cref="Slice"/> or <see cref="Split"/> shares the storage: dispose only the whole, after its parts are done.</remarks>
public abstract class TokenDataset : IDisposable
{
    private protected TokenDataset(long length)
    {
        Length = length;
    }

    /// <summary>The number of tokens.</summary>
    public long Length { get; }

    /// <summary>Wraps bytes: each is a token id 0 .. 255. The memory is not copied.</summary>
    /// <param name="tokens">The tokens.</param>
    public static TokenDataset FromBytes(ReadOnlyMemory<byte> tokens) => new ByteMemoryDataset(tokens);

    /// <summary>Wraps token ids. The memory is not copied.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <exception cref="ArgumentException">A token id is negative.</exception>
    public static TokenDataset FromTokens(ReadOnlyMemory<int> tokens)
    {
        ReadOnlySpan<int> span = tokens.Span;
        for (int i = 0; i < span.Length; i++)
        {
            if (span[i] < 0)
                throw new ArgumentException($"Token {i}: expected an id of 0 or more, found {span[i]}.", nameof(tokens));
        }
        return new IntMemoryDataset(tokens);
    }

    /// <summary>Opens a token file, of which what is asked for is read.</summary>
    /// <param name="path">The file.</param>
    /// <param name="storage">How a token is stored.</param>
    /// <param name="offset">How many bytes to skip at the start.</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The offset is negative, or the storage is none of the three.</exception>
    /// <exception cref="InvalidDataException">The file holds no token, is a pipe or a device, or its length is not a whole number of tokens.</exception>
    /// <exception cref="ModelFileException">It is a directory, or may not be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static TokenDataset FromFile(string path, TokenStorage storage = TokenStorage.UInt8, int offset = 0)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        int size = storage switch
        {
            TokenStorage.UInt8 => 1,
            TokenStorage.UInt16 => 2,
            TokenStorage.Int32 => 4,
            _ => throw new ArgumentOutOfRangeException(nameof(storage), storage, "Expected UInt8, UInt16 or Int32."),
        };
        FileStream stream = InputFile.TryOpen(path, FileShare.Read)
            ?? throw new InvalidDataException($"{path}: expected at least one token after byte {offset}, found an empty file, a pipe or a device.");
        try
        {
            long bytes = stream.Length - offset;
            if (bytes <= 0)
                throw new InvalidDataException($"{path}: expected at least one token after byte {offset}, found a file of {stream.Length} bytes.");
            if (bytes % size != 0)
                throw new InvalidDataException($"{path}: expected a whole number of {size}-byte tokens after byte {offset}, found {bytes} bytes.");
            return new FileDataset(path, stream, offset, bytes / size, size);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Reads consecutive tokens.</summary>
    /// <param name="start">The index of the first one.</param>
    /// <param name="destination">Receives the ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the data.</exception>
    /// <exception cref="InvalidDataException">A file holds a negative id, or others have truncated it meanwhile.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyTo(long start, Span<int> destination)
    {
        if (start < 0 || start > Length - destination.Length)
        {
            throw new ArgumentOutOfRangeException(
                nameof(start), start, $"Expected {destination.Length} tokens inside 0 .. {Length}.");
        }
        Read(start, destination);
    }

    /// <summary>A part of the data, without copying it.</summary>
    /// <param name="start">The index of the first token.</param>
    /// <param name="length">The number of tokens.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the data.</exception>
    public TokenDataset Slice(long start, long length)
    {
        if (start < 0 || start > Length)
            throw new ArgumentOutOfRangeException(nameof(start), start, $"Expected a start in 0 .. {Length}.");
        if (length < 0 || length > Length - start)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"Expected a length in 0 .. {Length - start}.");
        return new DatasetSlice(this, start, length);
    }

    /// <summary>Holds out the last part for validation.</summary>
    /// <param name="validationFraction">The held-out part, at least 0 and below 1; its length is rounded down.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="validationFraction"/> is not in [0, 1).</exception>
    public (TokenDataset Training, TokenDataset Validation) Split(double validationFraction)
    {
        if (!(validationFraction >= 0 && validationFraction < 1))
        {
            throw new ArgumentOutOfRangeException(
                nameof(validationFraction), validationFraction, "Expected a fraction of at least 0 and below 1.");
        }
        long validation = (long)(Length * validationFraction);
        return (Slice(0, Length - validation), Slice(Length - validation, validation));
    }

    /// <summary>Checks every token against a vocabulary, so that a wrong file is reported before training starts.</summary>
    /// <param name="vocabularySize">The number of token ids.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="vocabularySize"/> is not positive.</exception>
    /// <exception cref="InvalidDataException">A token is outside the vocabulary.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void RequireVocabulary(int vocabularySize)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        Span<int> buffer = stackalloc int[512];
        for (long start = 0; start < Length; start += buffer.Length)
        {
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, Length - start)];
            CopyTo(start, chunk);
            for (int i = 0; i < chunk.Length; i++)
            {
                if ((uint)chunk[i] >= (uint)vocabularySize)
                    throw new InvalidDataException($"Token {start + i}: expected an id in 0 .. {vocabularySize - 1}, found {chunk[i]}.");
            }
        }
    }

    /// <summary>Releases the file, if there is one.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    private protected abstract void Read(long start, Span<int> destination);

    private protected virtual void Dispose(bool disposing)
    {
    }

    private sealed class ByteMemoryDataset(ReadOnlyMemory<byte> tokens) : TokenDataset(tokens.Length)
    {
        private protected override void Read(long start, Span<int> destination)
        {
            ReadOnlySpan<byte> source = tokens.Span.Slice((int)start, destination.Length);
            for (int i = 0; i < source.Length; i++)
                destination[i] = source[i];
        }
    }

    private sealed class IntMemoryDataset(ReadOnlyMemory<int> tokens) : TokenDataset(tokens.Length)
    {
        private protected override void Read(long start, Span<int> destination) =>
            tokens.Span.Slice((int)start, destination.Length).CopyTo(destination);
    }

    private sealed class DatasetSlice(TokenDataset whole, long offset, long length) : TokenDataset(length)
    {
        private protected override void Read(long start, Span<int> destination) => whole.CopyTo(offset + start, destination);
    }

    private sealed class FileDataset(string path, FileStream stream, long offset, long length, int size) : TokenDataset(length)
    {
        private readonly SafeFileHandle _file = stream.SafeFileHandle;

        private protected override void Read(long start, Span<int> destination)
        {
            ObjectDisposedException.ThrowIf(_file.IsClosed, this);
            long at = offset + start * size;
            if (size == 4)
            {
                // A span of bytes has fewer than 2^31.
                for (int done = 0, count; done < destination.Length; done += count)
                {
                    count = Math.Min(destination.Length - done, 1 << 28);
                    ReadBytes(at + (long)done * size, MemoryMarshal.AsBytes(destination.Slice(done, count)));
                }
                for (int i = 0; i < destination.Length; i++)
                {
                    if (!BitConverter.IsLittleEndian)
                        destination[i] = BinaryPrimitives.ReverseEndianness(destination[i]);
                    if (destination[i] < 0)
                        throw new InvalidDataException($"{path}: token {start + i}: expected an id of 0 or more, found {destination[i]}.");
                }
                return;
            }
            Span<byte> buffer = stackalloc byte[4096];
            while (!destination.IsEmpty)
            {
                int count = Math.Min(destination.Length, buffer.Length / size);
                Span<byte> chunk = buffer[..(count * size)];
                ReadBytes(at, chunk);
                for (int i = 0; i < count; i++)
                    destination[i] = size == 1 ? chunk[i] : chunk[2 * i] | (chunk[2 * i + 1] << 8);
                at += chunk.Length;
                destination = destination[count..];
            }
        }

        private void ReadBytes(long at, Span<byte> bytes)
        {
            while (!bytes.IsEmpty)
            {
                int read = RandomAccess.Read(_file, bytes, at);
                if (read <= 0)
                    throw new InvalidDataException($"{path}: expected the {offset + Length * size} bytes that it had when it was opened, found its end at {at}: it was truncated meanwhile.");
                bytes = bytes[read..];
                at += read;
            }
        }

        private protected override void Dispose(bool disposing)
        {
            if (disposing)
                stream.Dispose();
        }
    }
}
