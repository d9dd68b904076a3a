using System.Buffers;
using System.Text;
using System.Text.Unicode;
using Examples;
using ModelGen;

namespace CharGpt;

/// <summary>Where the text comes from: a file, or the stories in this assembly.</summary>
internal static class TextSource
{
    private const int MarkLength = 3;

    /// <summary>Opens the text as byte tokens.</summary>
    /// <exception cref="UserException">There is no such file, it is empty, or it is not UTF-8.</exception>
    public static TokenDataset Open(string? path)
    {
        if (path is null)
            return TokenDataset.FromBytes(Stories());
        if (Directory.Exists(path))
            throw new UserException($"{path} is a directory, expected a text file.");
        if (!File.Exists(path))
            throw new UserException($"{path}: there is no such file.");
        long length;
        bool marked;
        using (var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read))
        {
            length = stream.Length;
            marked = StartsWithMark(stream);
            stream.Position = 0;
            long invalid = FirstInvalidByte(stream);
            if (invalid >= 0)
                throw new UserException($"{path}: expected UTF-8 text, found other bytes at offset {invalid}.");
        }
        int skip = marked ? MarkLength : 0;
        if (length <= skip)
            throw new UserException($"{path} is empty.");
        return TokenDataset.FromFile(path, TokenStorage.UInt8, skip);
    }

    public static byte[] Stories()
    {
        using Stream stream = typeof(TextSource).Assembly.GetManifestResourceStream("stories.txt")
            ?? throw new InvalidOperationException("The stories are not embedded.");
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>The offset of the first byte that does not continue valid UTF-8; -1 if there is none.</summary>
    internal static long FirstInvalidByte(Stream stream)
    {
        var buffer = new byte[1 << 16];
        long offset = 0;
        int held = 0;
        while (true)
        {
            int read = stream.ReadAtLeast(buffer.AsSpan(held), buffer.Length - held, throwOnEndOfStream: false);
            int count = held + read;
            bool last = count < buffer.Length;
            int valid = ValidPrefix(buffer.AsSpan(0, count));

            // An incomplete character at the end of the buffer may be completed by what follows.
            bool incomplete = count - valid < 4
                && Rune.DecodeFromUtf8(buffer.AsSpan(valid, count - valid), out _, out _) == OperationStatus.NeedMoreData;
            if (valid < count && (last || !incomplete))
                return offset + valid;
            if (last)
                return -1;
            held = count - valid;
            buffer.AsSpan(valid, held).CopyTo(buffer);
            offset += valid;
        }
    }

    private static int ValidPrefix(ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
            return bytes.Length;
        int valid = 0;
        while (valid < bytes.Length && Rune.DecodeFromUtf8(bytes[valid..], out _, out int consumed) == OperationStatus.Done)
            valid += consumed;
        return valid;
    }

    private static bool StartsWithMark(Stream stream)
    {
        Span<byte> start = stackalloc byte[MarkLength];
        return stream.ReadAtLeast(start, MarkLength, throwOnEndOfStream: false) == MarkLength && start.SequenceEqual(Encoding.UTF8.Preamble);
    }
}
