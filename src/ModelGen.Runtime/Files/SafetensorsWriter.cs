using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Writes a safetensors file: gather tensors and metadata, then save. The file is written beside an existing one, forced to the disk
/// and renamed, so that the old one is whole until the new one is.
/// </summary>
public sealed class SafetensorsWriter
{
    // The elements start at a multiple of this many bytes, so that whoever maps the file can use them in place.
    private const int DataAlignment = 64;

    // Elements converted at a time.
    private const int Strip = 1 << 16;

    private readonly List<Entry> _entries = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <summary>The header's metadata.</summary>
    public IDictionary<string, string> Metadata { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Called when everything is written and nothing is replaced yet: throwing leaves an existing file as it is.</summary>
    internal Action? BeforeReplacing { get; init; }

    /// <summary>Adds a tensor of 32-bit floats (F32).</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">The extents, row-major; none for a scalar.</param>
    /// <param name="values">The elements, read when the file is saved.</param>
    /// <exception cref="ArgumentException">
    /// The name is empty, taken, no valid Unicode or too long (2048 bytes of JSON); an extent is negative; the number of elements is not that of
    /// the shape; or there are more than 64 extents.
    /// </exception>
    public void Add(string name, ReadOnlySpan<int> shape, ReadOnlyMemory<float> values)
        => Add(name, shape, SafetensorsType.F32, values.Length, stream => stream.Write(MemoryMarshal.AsBytes(values.Span)));

    /// <summary>Adds a tensor of 64-bit integers (I64).</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{int}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<int> shape, ReadOnlyMemory<long> values)
        => Add(name, shape, SafetensorsType.I64, values.Length, stream => stream.Write(MemoryMarshal.AsBytes(values.Span)));

    /// <summary>Adds a tensor of bytes (U8).</summary>
    /// <inheritdoc cref="Add(string, ReadOnlySpan{int}, ReadOnlyMemory{float})"/>
    public void Add(string name, ReadOnlySpan<int> shape, ReadOnlyMemory<byte> values)
        => Add(name, shape, SafetensorsType.U8, values.Length, stream => stream.Write(values.Span));

    /// <summary>Adds a tensor of floats whose elements are given while the file is saved.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">The extents, row-major; none for a scalar.</param>
    /// <param name="type">How elements are stored: F32, F16 or BF16, or F8_E4M3 or F8_E5M2, in which magnitudes beyond the largest number (448 and 57,344) become that.</param>
    /// <param name="read">Gives the elements.</param>
    /// <exception cref="ArgumentException">
    /// The name is empty, taken, no valid Unicode or too long (2048 bytes of JSON); an extent is negative; there are more than 64 extents, or they make 2^63 bytes or more.
    /// </exception>
    /// <exception cref="NotSupportedException">Floats are not written in this type.</exception>
    public void Add(string name, ReadOnlySpan<int> shape, SafetensorsType type, TensorReader read)
    {
        ArgumentNullException.ThrowIfNull(read);
        GgmlType? stored = type switch
        {
            SafetensorsType.F32 => GgmlType.F32,
            SafetensorsType.F16 => GgmlType.F16,
            SafetensorsType.BF16 => GgmlType.BF16,
            SafetensorsType.F8E4M3 or SafetensorsType.F8E5M2 => null,
            _ => throw new NotSupportedException($"Floats are not written as {type}."),
        };
        long length = 1;
        foreach (int extent in shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(extent, nameof(shape));
            length = checked(length * extent);
        }

        int size = SafetensorsFormat.SizeOf(type);
        Add(name, shape, type, length, stream =>
        {
            float[] values = new float[(int)Math.Min(Strip, length)];
            byte[] bytes = new byte[values.Length * size];
            for (long start = 0; start < length; start += Strip)
            {
                int count = (int)Math.Min(Strip, length - start);
                read(start, values.AsSpan(0, count));
                if (stored is { } format)
                {
                    GgmlBlocks.Write(format, values.AsSpan(0, count), bytes.AsSpan(0, count * size));
                }
                else
                {
                    Elements.ToEightBits(type, values.AsSpan(0, count), bytes.AsSpan(0, count));
                }

                stream.Write(bytes.AsSpan(0, count * size));
            }
        });
    }

    /// <summary>Writes the file.</summary>
    /// <param name="path">The file to create or replace.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="InvalidOperationException">
    /// There are more than 262,144 tensors or 65,536 metadata entries, a key is too long, or the header exceeds 100 MB: no such file would be
    /// read again.
    /// </exception>
    /// <exception cref="ArgumentException">A metadata key or value is null or no valid Unicode; an existing file is untouched.</exception>
    public void Save(string path)
    {
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("Safetensors files are little-endian, and this processor is not.");
        }

        AtomicFile.Write(path, Write);
    }

    /// <summary>Adds a tensor whose elements are written by the caller, who must write exactly as many as there are.</summary>
    internal void Add(string name, ReadOnlySpan<int> shape, SafetensorsType type, long length, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (NameBytes(name) > SafetensorsFormat.MaximumNameBytes)
        {
            throw new ArgumentException($"The name '{Quoted.Printable(name, 60)}' is too long.", nameof(name));
        }

        if (shape.Length > SafetensorsFormat.MaximumRank)
        {
            throw new ArgumentException(FormattableString.Invariant($"The tensor '{name}' has {shape.Length} extents, but the most are {SafetensorsFormat.MaximumRank}."), nameof(shape));
        }

        // A zero does not hide that the others overflow: the reader refuses that, too.
        long expected = 1;
        foreach (int extent in shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(extent, nameof(shape));
            if (extent > 0 && expected > long.MaxValue / SafetensorsFormat.SizeOf(type) / extent)
            {
                throw new ArgumentException($"The extents of the tensor '{name}' make more than 2^63 bytes.", nameof(shape));
            }

            expected *= Math.Max(extent, 1);
        }

        expected = shape.Contains(0) ? 0 : expected;
        if (expected != length)
        {
            throw new ArgumentException(FormattableString.Invariant($"The tensor '{name}' has {expected} elements by its shape, but {length} were given."), nameof(shape));
        }

        if (name == "__metadata__" || !_names.Add(name))
        {
            throw new ArgumentException($"The name '{name}' is taken.", nameof(name));
        }

        _entries.Add(new Entry(name, [.. shape], type, length, write));
    }

    private void Write(Stream stream)
    {
        // Larger elements first: then every tensor is aligned to its element size.
        var ordered = new List<Entry>(_entries.Count);
        foreach (int size in (ReadOnlySpan<int>)[8, 4, 2, 1])
        {
            ordered.AddRange(_entries.Filter(entry => SafetensorsFormat.SizeOf(entry.Type) == size));
        }

        ReadOnlySpan<byte> header = Header(ordered);
        int padding = (DataAlignment - ((SafetensorsFormat.PrefixLength + header.Length) % DataAlignment)) % DataAlignment;
        Span<byte> prefix = stackalloc byte[SafetensorsFormat.PrefixLength];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length + padding);
        stream.Write(prefix);
        stream.Write(header);
        Span<byte> spaces = stackalloc byte[padding];
        spaces.Fill((byte)' ');
        stream.Write(spaces);
        foreach (Entry entry in ordered)
        {
            long start = stream.Position;
            entry.Write(stream);
            if (stream.Position - start != entry.ByteLength)
            {
                throw new InvalidOperationException(FormattableString.Invariant($"The tensor '{entry.Name}' is {entry.ByteLength} bytes, but {stream.Position - start} were written."));
            }
        }

        BeforeReplacing?.Invoke();
    }

    private ReadOnlySpan<byte> Header(List<Entry> entries)
    {
        if (entries.Count > SafetensorsFormat.MaximumTensors || Metadata.Count > SafetensorsFormat.MaximumMetadata)
        {
            throw new InvalidOperationException(FormattableString.Invariant(
                $"There are {entries.Count} tensors and {Metadata.Count} metadata entries, but the most are {SafetensorsFormat.MaximumTensors} and {SafetensorsFormat.MaximumMetadata}."));
        }

        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (Metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__"u8);
                foreach ((string key, string value) in Metadata)
                {
                    if (NameBytes(key) > SafetensorsFormat.MaximumNameBytes)
                    {
                        throw new InvalidOperationException($"The metadata key '{Quoted.Printable(key, 60)}' is too long.");
                    }

                    // The JSON writer would put another character in the place of half a one.
                    SurrogateCheck.Require(value ?? throw new ArgumentException($"The metadata entry '{Quoted.Printable(key, 60)}' is null."));
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach (Entry entry in entries)
            {
                json.WriteStartObject(entry.Name);
                json.WriteString("dtype"u8, SafetensorsFormat.NameOf(entry.Type));
                json.WriteStartArray("shape"u8);
                foreach (int extent in entry.Shape)
                {
                    json.WriteNumberValue(extent);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets"u8);
                json.WriteNumberValue(offset);
                offset += entry.ByteLength;
                json.WriteNumberValue(offset);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        if (buffer.WrittenCount > SafetensorsFormat.MaximumHeaderLength - DataAlignment)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"The header is {buffer.WrittenCount} bytes, but the format allows {SafetensorsFormat.MaximumHeaderLength}."));
        }

        return buffer.WrittenSpan;
    }

    private static int NameBytes(string name) => JsonEncodedText.Encode(name).EncodedUtf8Bytes.Length;

    private sealed record Entry(string Name, int[] Shape, SafetensorsType Type, long Length, Action<Stream> Write)
    {
        public long ByteLength => Length * SafetensorsFormat.SizeOf(Type);
    }
}
