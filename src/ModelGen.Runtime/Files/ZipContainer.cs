using System.Buffers.Binary;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>A file in a ZIP archive: where its bytes lie, and whether they are compressed.</summary>
/// <param name="name">Its name, folders included.</param>
/// <param name="offset">Where its bytes begin in the archive.</param>
/// <param name="storedLength">How many bytes the archive has of it.</param>
/// <param name="length">Its length.</param>
/// <param name="isCompressed">Whether its bytes are deflated; otherwise they are as they are.</param>
internal sealed class ZipMember(string name, long offset, long storedLength, long length, bool isCompressed)
{
    public string Name { get; } = name;

    public long Offset { get; } = offset;

    public long StoredLength { get; } = storedLength;

    public long Length { get; } = length;

    public bool IsCompressed { get; } = isCompressed;
}

/// <summary>
/// The directory of a ZIP archive, so that what is stored as it is can be read in place. Everything that it says is checked against the archive's length: members lie inside, and none on another.
/// </summary>
internal static class ZipContainer
{
    public static ReadOnlySpan<byte> Magic => "PK\x03\x04"u8;

    private const uint EndSignature = 0x06054B50;
    private const uint LargeEndSignature = 0x06064B50;
    private const uint LargeLocatorSignature = 0x07064B50;
    private const uint EntrySignature = 0x02014B50;
    private const uint LocalSignature = 0x04034B50;
    private const int EndLength = 22;
    private const int LargeEndLength = 56;
    private const int LargeLocatorLength = 20;
    private const int EntryLength = 46;
    private const int LocalLength = 30;
    private const int LongestComment = ushort.MaxValue;

    // Of the fields whose values do not fit.
    private const uint Elsewhere = uint.MaxValue;

    // A deflated byte stands for 1032 at the most.
    private const long LargestRatio = 1032;

    /// <summary>The members, in the order of the directory. The caller keeps the file open meanwhile.</summary>
    /// <exception cref="ModelFileException">The archive is damaged, or has what is not read: encryption, several disks, other compression.</exception>
    public static List<ZipMember> Read(FileBytes file)
    {
        (long start, long length, long count) = FindDirectory(file);
        if (count > length / EntryLength || count > SafetensorsFormat.MaximumTensors)
        {
            throw Wrong(file, "directory", Invariant($"at most {Math.Min(length / EntryLength, SafetensorsFormat.MaximumTensors)} entries in {length} bytes"), Invariant($"{count}"));
        }

        var members = new List<ZipMember>((int)count);
        long at = start, end = start + length;
        var directory = new FileWindow(file, start, end);
        for (long i = 0; i < count; i++)
        {
            members.Add(ReadEntry(file, directory, ref at, end, start));
        }

        ZipMember[] ordered = [.. members];
        Array.Sort(ordered, static (a, b) => a.Offset.CompareTo(b.Offset));
        for (int i = 1; i < ordered.Length; i++)
        {
            if (ordered[i].Offset < ordered[i - 1].Offset + ordered[i - 1].StoredLength)
            {
                throw Wrong(file, $"member {Quoted.Text(ordered[i].Name)}", "bytes of its own", $"those of {Quoted.Text(ordered[i - 1].Name)}");
            }
        }

        return members;
    }

    private static (long Start, long Length, long Count) FindDirectory(FileBytes file)
    {
        int tail = (int)Math.Min(file.Length, EndLength + LongestComment);
        byte[] bytes = file.Bytes(file.Length - tail, tail);
        for (int i = tail - EndLength; i >= 0; i--)
        {
            ReadOnlySpan<byte> record = bytes.AsSpan(i);
            if (UInt32(record, 0) != EndSignature || i + EndLength + UInt16(record, 20) != tail)
            {
                continue;
            }

            long end = file.Length - tail + i;
            long count = UInt16(record, 10), length = UInt32(record, 12), start = UInt32(record, 16);
            if (count == ushort.MaxValue || length == Elsewhere || start == Elsewhere)
            {
                (start, length, count, end) = FindLargeDirectory(file, end);
            }

            return start >= 0 && length >= 0 && count >= 0 && start <= end - length
                ? (start, length, count)
                : throw Wrong(file, "directory", Invariant($"within the {end} bytes before its end"), Invariant($"{length} bytes from {start} on"));
        }

        throw Wrong(file, "directory", "the end of a ZIP archive", "none: the file is truncated or damaged");
    }

    private static (long Start, long Length, long Count, long End) FindLargeDirectory(FileBytes file, long end)
    {
        byte[]? locator = end >= LargeLocatorLength ? file.Bytes(end - LargeLocatorLength, LargeLocatorLength) : null;
        if (locator is null || UInt32(locator, 0) != LargeLocatorSignature)
        {
            throw Wrong(file, "directory", "where a ZIP64 archive's is", "nothing of it");
        }

        long at = Int64(locator, 8);
        byte[]? record = at >= 0 && at <= end - LargeLocatorLength - LargeEndLength ? file.Bytes(at, LargeEndLength) : null;
        return record is not null && UInt32(record, 0) == LargeEndSignature
            ? (Int64(record, 48), Int64(record, 40), Int64(record, 32), at)
            : throw Wrong(file, "directory", "the end of a ZIP64 archive", Invariant($"none at {at}"));
    }

    private static ZipMember ReadEntry(FileBytes file, FileWindow directory, ref long at, long end, long limit)
    {
        ReadOnlySpan<byte> entry = at <= end - EntryLength ? directory.At(at, EntryLength) : default;
        if (entry.IsEmpty || UInt32(entry, 0) != EntrySignature)
        {
            throw Wrong(file, "directory", Invariant($"an entry at {at}"), "none: the file is truncated or damaged");
        }

        int flags = UInt16(entry, 8), method = UInt16(entry, 10), nameLength = UInt16(entry, 28), extraLength = UInt16(entry, 30), commentLength = UInt16(entry, 32);
        long stored = UInt32(entry, 20), length = UInt32(entry, 24), local = UInt32(entry, 42);
        if (at + EntryLength + nameLength + extraLength + commentLength > end)
        {
            throw Wrong(file, "directory", Invariant($"an entry within {end}"), Invariant($"one at {at} that goes on beyond it"));
        }

        string name = Encoding.UTF8.GetString(directory.At(at + EntryLength, nameLength));
        string field = $"member {Quoted.Text(name)}";
        ReadLarge(file, field, directory.At(at + EntryLength + nameLength, extraLength), ref length, ref stored, ref local);
        at += EntryLength + nameLength + extraLength + commentLength;
        if ((flags & 1) != 0 || method is not (0 or 8))
        {
            throw Wrong(file, field, "stored or deflated, and not encrypted", (flags & 1) != 0 ? "an encrypted one" : Invariant($"compression method {method}"));
        }

        Span<byte> header = stackalloc byte[LocalLength];
        bool isInside = local >= 0 && local <= limit - LocalLength;
        if (isInside)
        {
            file.Copy(local, header);
        }

        if (!isInside || UInt32(header, 0) != LocalSignature)
        {
            throw Wrong(file, field, Invariant($"a header before {limit}"), Invariant($"none at {local}"));
        }

        long offset = local + LocalLength + UInt16(header, 26) + UInt16(header, 28);
        if (stored < 0 || length < 0 || offset > limit - stored)
        {
            throw Wrong(file, field, Invariant($"bytes before {limit}"), Invariant($"{stored} from {offset} on"));
        }

        if (method == 0 ? length != stored : length > (stored + 1) * LargestRatio)
        {
            throw Wrong(file, $"{field}, length", method == 0 ? Invariant($"{stored}, as many bytes as are stored") : Invariant($"at most {(stored + 1) * LargestRatio}, which {stored} deflated bytes can be"), Invariant($"{length}"));
        }

        return new ZipMember(name, offset, stored, length, method != 0);
    }

    // Values that do not fit into 32 bits stand in the extra field 1, in this order.
    private static void ReadLarge(FileBytes file, string field, ReadOnlySpan<byte> extra, ref long length, ref long stored, ref long local)
    {
        if (length != Elsewhere && stored != Elsewhere && local != Elsewhere)
        {
            return;
        }

        while (extra.Length >= 4)
        {
            int size = UInt16(extra, 2);
            if (size > extra.Length - 4)
            {
                break;
            }

            ReadOnlySpan<byte> values = extra.Slice(4, size);
            if (UInt16(extra, 0) == 1 && Take(ref values, ref length) && Take(ref values, ref stored) && Take(ref values, ref local))
            {
                return;
            }

            extra = extra[(4 + size)..];
        }

        throw Wrong(file, field, "its length and place in 64 bits", "nothing of them");

        static bool Take(ref ReadOnlySpan<byte> values, ref long value)
        {
            if (value != Elsewhere)
            {
                return true;
            }

            if (values.Length < sizeof(long))
            {
                return false;
            }

            value = Int64(values, 0);
            values = values[sizeof(long)..];
            return true;
        }
    }

    private static int UInt16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint UInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long Int64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    private static ModelFileException Wrong(FileBytes file, string field, string expected, string found) => new(file.Path, field, expected, found);
}
