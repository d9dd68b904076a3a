using System.Buffers.Binary;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Gives elements of a tensor that is being written.</summary>
/// <param name="start">The first element.</param>
/// <param name="destination">Where the elements go; its length says how many.</param>
public delegate void TensorReader(long start, Span<float> destination);

/// <summary>
/// Writes a GGUF file: gather metadata and tensors, then save. The file is written beside an existing one, forced to the disk and renamed.
/// </summary>
public sealed partial class GgufWriter
{
    /// <summary>The key of the number for what a file's tensors are stored as.</summary>
    internal const string FileTypeKey = "general.file_type";

    // Elements converted at a time, whole blocks of every type.
    private const int Strip = 1 << 16;

    private readonly int _version = 3;

    private readonly List<(string Key, Action<Stream> Write)> _values = [];
    private readonly List<Entry> _tensors = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private readonly HashSet<string> _keys = new(StringComparer.Ordinal);

    // Those of the values that are integers, which shapes of tensors may follow from.
    private readonly Dictionary<string, uint> _sizes = new(StringComparer.Ordinal);

    /// <summary>Gives a row of a tensor as another file stores it.</summary>
    internal delegate bool StoredReader(long row, Span<byte> destination);

    /// <summary>The version of the format, 2 or 3, which differ in nothing else for files in this order of bytes. Default: 3.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is another one.</exception>
    public int Version
    {
        get => _version;
        init => _version = value is 2 or 3 ? value : throw new ArgumentOutOfRangeException(nameof(Version), value, "The version must be 2 or 3.");
    }

    /// <summary>Called when everything is written and nothing is replaced yet: throwing leaves an existing file as it is.</summary>
    internal Action? BeforeReplacing { get; init; }

    /// <summary>Adds a text to the metadata.</summary>
    /// <param name="key">The key.</param>
    /// <param name="value">The value.</param>
    /// <exception cref="ArgumentException">The key is empty, taken or too long, or the value is no valid Unicode.</exception>
    public void Set(string key, string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        SurrogateCheck.Require(value);
        Set(key, GgufValueType.String, stream => Write(stream, value));
    }

    /// <summary>Adds an unsigned integer of 32 bits, which most sizes are.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, uint value)
    {
        Set(key, GgufValueType.UInt32, stream => Write(stream, value));
        _sizes.Add(key, value);
    }

    /// <summary>Adds a 32-bit float.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, float value) => Set(key, GgufValueType.Float32, stream => Write(stream, BitConverter.SingleToUInt32Bits(value)));

    /// <summary>Adds a truth value.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, bool value) => Set(key, GgufValueType.Bool, stream => stream.WriteByte(value ? (byte)1 : (byte)0));

    /// <summary>Adds texts.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, IReadOnlyList<string> values) => Set(key, values, GgufValueType.String, Write);

    /// <summary>Adds 32-bit floats.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, IReadOnlyList<float> values)
        => Set(key, values, GgufValueType.Float32, static (stream, value) => Write(stream, BitConverter.SingleToUInt32Bits(value)));

    /// <summary>Adds integers of 32 bits.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, IReadOnlyList<int> values) => Set(key, values, GgufValueType.Int32, static (stream, value) => Write(stream, unchecked((uint)value)));

    /// <summary>Adds bytes.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void SetBytes(string key, IReadOnlyList<byte> values) => Set(key, values, GgufValueType.UInt8, static (stream, value) => stream.WriteByte(value));

    /// <summary>Adds truth values.</summary>
    /// <inheritdoc cref="Set(string, string)"/>
    public void Set(string key, IReadOnlyList<bool> values) => Set(key, values, GgufValueType.Bool, static (stream, value) => stream.WriteByte(value ? (byte)1 : (byte)0));

    /// <summary>Adds a value of another file as it is.</summary>
    /// <param name="key">The key.</param>
    /// <param name="value">The value; its file must be open when this one is saved.</param>
    /// <exception cref="ArgumentException">The key is empty, taken or too long.</exception>
    public void Set(string key, GgufValue value)
    {
        ArgumentNullException.ThrowIfNull(value);
        AddKey(key, stream =>
        {
            Write(stream, (uint)(value.IsArray ? GgufValueType.Array : value.ElementType));
            if (value.IsArray)
            {
                Write(stream, (uint)value.ElementType);
                Write(stream, (ulong)value.Count);
            }

            value.CopyTo(stream);
        });
        if (value.AsInteger() is >= 0 and <= uint.MaxValue and long size)
        {
            _sizes.Add(key, (uint)size);
        }
    }

    /// <summary>
    /// Adds <c>general.file_type</c>, llama.cpp's number for what most elements of a model's matrices are stored as, which is settled when the file is saved: of its layers, since the tables of tokens are often stored otherwise.
    /// Where blocks of 256 are mixed with larger ones, as in <c>Q4_K_M</c>, it is the number of such a mixture.
    /// </summary>
    /// <param name="original">Another file, open when this one is saved, whose number it is if every matrix is stored as it is there; null for none.</param>
    /// <exception cref="ArgumentException">The key is taken.</exception>
    public void SetFileType(GgufFile? original = null) => Set(FileTypeKey, GgufValueType.UInt32, stream => Write(stream, FileType(original)));

    /// <summary>Adds a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">The extents, row-major; at most four. The last must be a multiple of the type's block.</param>
    /// <param name="type">How elements are stored: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4, Q4_K, Q5_K or Q6_K, in the blocks that llama.cpp makes of floats.</param>
    /// <param name="read">Gives the elements while the file is saved.</param>
    /// <exception cref="ArgumentException">The name is empty, taken or too long; there are more than four extents; or an extent is negative or does not suit the type.</exception>
    /// <exception cref="NotSupportedException">Tensors are not written in this type.</exception>
    public void Add(string name, ReadOnlySpan<long> shape, GgmlType type, TensorReader read) => Add(name, shape, type, read, []);

    /// <summary>Adds a tensor whose blocks are chosen so that the error is least in the columns that count most: with the bytes that llama.cpp writes with an importance matrix.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">The extents, row-major; at most four. The last must be a multiple of the type's block.</param>
    /// <param name="type">How elements are stored.</param>
    /// <param name="read">Gives the elements while the file is saved.</param>
    /// <param name="importance">The importance of each column, the mean square of what it is multiplied with; of a mixture of experts, of each expert's behind each other's. Empty where nothing is known: blocks are what they are without.</param>
    /// <exception cref="ArgumentException">The name is empty, taken or too long; there are more than four extents; an extent is negative or does not suit the type; or the importance is of another number of columns.</exception>
    /// <exception cref="NotSupportedException">Tensors are not written in this type.</exception>
    public void Add(string name, ReadOnlySpan<long> shape, GgmlType type, TensorReader read, IReadOnlyList<float> importance) => Add(name, shape, type, read, importance, null);

    /// <summary>Adds a tensor of another file as it is stored there, whatever its type.</summary>
    /// <param name="file">The other file, which must be open when this one is saved.</param>
    /// <param name="tensor">A tensor of it.</param>
    /// <exception cref="ArgumentException">The name is taken, or the tensor is not of the file.</exception>
    public void Add(GgufFile file, GgufTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(tensor);
        if (!ReferenceEquals(file.Find(tensor.Name), tensor))
        {
            throw new ArgumentException("The tensor is not of this file.", nameof(tensor));
        }

        Add(tensor.Name, tensor.Shape.AsSpan(), tensor.Type, (start, destination) => file.ReadFloats(tensor, start, destination), [], (row, destination) => file.TryReadRows(tensor, tensor.Type, row, 1, destination));
    }

    /// <summary>As the others.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="shape">The extents, row-major.</param>
    /// <param name="type">How elements are stored.</param>
    /// <param name="read">Gives the elements while the file is saved.</param>
    /// <param name="importance">The importance of each column; empty where nothing is known.</param>
    /// <param name="stored">Gives rows that are stored in this type already, which are written as they are; null where none are.</param>
    internal void Add(string name, ReadOnlySpan<long> shape, GgmlType type, TensorReader read, IReadOnlyList<float> importance, StoredReader? stored)
    {
        ArgumentNullException.ThrowIfNull(importance);
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(read);
        (int elements, int bytes) = GgmlBlocks.Size(type);
        long length = 1;
        foreach (long extent in shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(extent, nameof(shape));
            length = checked(length * extent);
        }

        if (shape.Length > GgufFormat.MaximumRank || (shape.IsEmpty ? 1 : shape[^1]) % elements != 0)
        {
            throw new ArgumentException($"The tensor '{Quoted.Printable(name, 60)}' has the extents {Quoted.List(shape)}, but there are at most {GgufFormat.MaximumRank}, and the last is a multiple of {elements} for {type}.", nameof(shape));
        }

        if (Encoding.UTF8.GetByteCount(name) > GgufFormat.MaximumNameBytes || !_names.Add(name))
        {
            throw new ArgumentException($"The name '{Quoted.Printable(name, 60)}' is taken or too long.", nameof(name));
        }

        SurrogateCheck.Require(name);
        long columns = shape.IsEmpty ? 1 : shape[^1];
        long rowBytes = columns / elements * bytes;
        if (stored is not null && (length == 0 || rowBytes > Array.MaxLength || !stored(0, new byte[rowBytes])))
        {
            stored = null;
        }

        if (stored is null && !GgmlBlocks.CanWrite(type))
        {
            throw new NotSupportedException($"The tensor '{Quoted.Printable(name, 60)}' cannot be written as {type}: blocks of this type are copied, and not made.");
        }

        if (importance.Count > 0 && (columns == 0 || importance.Count % columns != 0 || length % importance.Count != 0))
        {
            throw new ArgumentException($"The importance of the tensor '{Quoted.Printable(name, 60)}' has {importance.Count} columns, but the tensor has {columns}.", nameof(importance));
        }

        _tensors.Add(new Entry(name, shape.ToArray(), type, length, checked(length / elements * bytes), read) { Importance = [.. importance], Stored = stored });
    }

    /// <summary>Whether a tensor was added under a name.</summary>
    internal bool Has(string name) => _names.Contains(name);

    /// <summary>Writes the file.</summary>
    /// <param name="path">The file to create or replace.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void Save(string path)
    {
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("GGUF files are written little-endian, and this processor is not.");
        }

        AtomicFile.Write(path, Write);
    }

    private static void Write(Stream stream, uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void Write(Stream stream, ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void Write(Stream stream, string value)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(value);
        Write(stream, (ulong)bytes.Length);
        stream.Write(bytes);
    }

    private static void Pad(Stream stream)
    {
        while (stream.Position % GgufFormat.DefaultAlignment != 0)
        {
            stream.WriteByte(0);
        }
    }

    private static long Padded(long length) => (length + GgufFormat.DefaultAlignment - 1) / GgufFormat.DefaultAlignment * GgufFormat.DefaultAlignment;

    // llama.cpp's enumeration of what most tensors of a file are (llama_ftype); of mixtures that go by the same type, the one that larger blocks beside it tell.
    private static uint FileType(GgmlType type, bool isMixed) => type switch
    {
        GgmlType.F16 => 1,
        GgmlType.Q4_0 => 2,
        GgmlType.Q4_1 => 3,
        GgmlType.Q8_0 => 7,
        GgmlType.Q5_0 => 8,
        GgmlType.Q5_1 => 9,
        GgmlType.Q2_K => 10,
        GgmlType.Q3_K => isMixed ? 12u : 11u,
        GgmlType.Q4_K => isMixed ? 15u : 14u,
        GgmlType.Q5_K => isMixed ? 17u : 16u,
        GgmlType.Q6_K => 18,
        GgmlType.IQ4_NL => 25,
        GgmlType.BF16 => 32,
        GgmlType.MXFP4 => 38,
        _ => 0,
    };

    private uint FileType(GgufFile? original)
    {
        List<Entry> matrices = _tensors.FindAll(static entry => entry.Shape.Length > 1 && GgmlBlocks.IsFloat(entry.Type));
        if (original?.Values.GetValueOrDefault(FileTypeKey)?.AsInteger() is >= 0 and <= uint.MaxValue and long said && matrices.TrueForAll(entry => original.Find(entry.Name)?.Type == entry.Type))
        {
            return (uint)said;
        }

        List<Entry> layers = matrices.FindAll(static entry => entry.Name.Contains("blk.", StringComparison.Ordinal));
        layers = layers.Count > 0 ? layers : matrices;
        GgmlType most = GgmlType.F32;
        long mostLength = 0;
        foreach (Entry entry in layers)
        {
            long length = layers.Fold(0L, (sum, other) => other.Type == entry.Type ? sum + other.Length : sum);
            (most, mostLength) = length > mostLength ? (entry.Type, length) : (most, mostLength);
        }

        return FileType(most, layers.Has(entry => entry.Type is GgmlType.Q4_K or GgmlType.Q5_K or GgmlType.Q6_K && entry.Type > most));
    }

    private void Set(string key, GgufValueType type, Action<Stream> write) => AddKey(key, stream =>
    {
        Write(stream, (uint)type);
        write(stream);
    });

    private void Set<T>(string key, IReadOnlyList<T> values, GgufValueType type, Action<Stream, T> write)
    {
        ArgumentNullException.ThrowIfNull(values);
        AddKey(key, stream =>
        {
            Write(stream, (uint)GgufValueType.Array);
            Write(stream, (uint)type);
            Write(stream, (ulong)values.Count);
            foreach (T value in values)
            {
                write(stream, value);
            }
        });
    }

    private void AddKey(string key, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        SurrogateCheck.Require(key);
        if (key == GgufFormat.AlignmentKey || Encoding.UTF8.GetByteCount(key) > GgufFormat.MaximumNameBytes || !_keys.Add(key))
        {
            throw new ArgumentException($"The key '{Quoted.Printable(key, 60)}' is taken or too long.", nameof(key));
        }

        _values.Add((key, write));
    }

    private void Write(Stream stream)
    {
        stream.Write(GgufFile.Magic);
        Write(stream, (uint)_version);
        Write(stream, (ulong)_tensors.Count);
        Write(stream, (ulong)_values.Count);
        foreach ((string key, Action<Stream> write) in _values)
        {
            Write(stream, key);
            write(stream);
        }

        long offset = 0;
        foreach (Entry entry in _tensors)
        {
            Write(stream, entry.Name);
            Write(stream, (uint)entry.Shape.Length);
            for (int i = entry.Shape.Length - 1; i >= 0; i--)
            {
                Write(stream, (ulong)entry.Shape[i]);
            }

            Write(stream, (uint)entry.Type);
            Write(stream, (ulong)offset);
            offset = Padded(offset + entry.ByteLength);
        }

        Pad(stream);
        float[] values = new float[Strip];
        byte[] blocks = new byte[Strip * sizeof(float)];
        foreach (Entry entry in _tensors)
        {
            (int elements, int bytes) = GgmlBlocks.Size(entry.Type);
            if (entry.Stored is not null)
            {
                WriteStored(stream, entry, entry.Stored);
                continue;
            }

            if (entry.Importance.Length > 0)
            {
                WriteWeighted(stream, entry);
                continue;
            }

            for (long start = 0; start < entry.Length; start += Strip)
            {
                int count = (int)Math.Min(Strip, entry.Length - start);
                entry.Read(start, values.AsSpan(0, count));
                Span<byte> written = blocks.AsSpan(0, count / elements * bytes);
                GgmlBlocks.Write(entry.Type, values.AsSpan(0, count), written);
                stream.Write(written);
            }

            Pad(stream);
        }

        BeforeReplacing?.Invoke();
    }

    // What is stored otherwise after all, as a part of a joined matrix may be, is converted.
    private static void WriteStored(Stream stream, Entry entry, StoredReader stored)
    {
        (int elements, int bytes) = GgmlBlocks.Size(entry.Type);
        int columns = checked((int)(entry.Shape.Length > 0 ? entry.Shape[^1] : 1));
        byte[] blocks = new byte[columns / elements * bytes];
        float[]? values = null;
        for (long row = 0; row < entry.Length / columns; row++)
        {
            if (!stored(row, blocks))
            {
                entry.Read(row * columns, values ??= new float[columns]);
                GgmlBlocks.Write(entry.Type, values, blocks);
            }

            stream.Write(blocks);
        }

        Pad(stream);
    }

    // Row by row: how elements are weighed depends on all of a row.
    private static void WriteWeighted(Stream stream, Entry entry)
    {
        (int elements, int bytes) = GgmlBlocks.Size(entry.Type);
        int columns = checked((int)entry.Shape[^1]);
        long rows = entry.Length / columns;
        long rowsOfEach = rows / (entry.Importance.Length / columns);
        float[] values = new float[columns];
        byte[] blocks = new byte[columns / elements * bytes];
        for (long row = 0; row < rows; row++)
        {
            entry.Read(row * columns, values);
            WeightedBlocks.Write(entry.Type, values, entry.Importance.AsSpan((int)(row / rowsOfEach * columns), columns), blocks);
            stream.Write(blocks);
        }

        Pad(stream);
    }

    private sealed record Entry(string Name, long[] Shape, GgmlType Type, long Length, long ByteLength, TensorReader Read)
    {
        public float[] Importance { get; init; } = [];

        public StoredReader? Stored { get; init; }
    }
}
