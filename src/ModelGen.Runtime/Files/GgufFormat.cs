using System.Collections.Immutable;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>What a GGUF file's header holds.</summary>
internal sealed class GgufHeader(int version, List<GgufTensor> tensors, Dictionary<string, GgufTensor> byName, Dictionary<string, GgufValue> values)
{
    public int Version { get; } = version;

    public List<GgufTensor> Tensors { get; } = tensors;

    public Dictionary<string, GgufTensor> ByName { get; } = byName;

    public Dictionary<string, GgufValue> Values { get; } = values;
}

/// <summary>
/// The GGUF header: the magic and the version; the numbers of tensors and of metadata entries; the entries, each a key, a type and a value; of each tensor the
/// name, the extents (the innermost first), the type and the place; then, aligned, the elements. A header is parsed without trust: nothing is used before it was
/// compared with what the file can hold, and nothing is allocated that the file's own bytes do not account for.
/// </summary>
internal static class GgufFormat
{
    public const int DefaultAlignment = 32;

    public const string AlignmentKey = "general.alignment";

    public const int MaximumTensors = 1 << 18;
    public const int MaximumValues = 1 << 16;

    /// <summary>Of a key or a tensor's name, in bytes.</summary>
    public const int MaximumNameBytes = 2048;

    // As ggml has it.
    public const int MaximumRank = 4;

    // Pages of the largest kind; what asks for more would only leave a hole.
    private const long MaximumAlignment = 1 << 30;

    /// <summary>The bytes of a value of fixed size; 0 for the others.</summary>
    public static int SizeOf(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.Bool => 1,
        GgufValueType.UInt16 or GgufValueType.Int16 => 2,
        GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.Float32 => 4,
        GgufValueType.UInt64 or GgufValueType.Int64 or GgufValueType.Float64 => 8,
        _ => 0,
    };

    public static GgufHeader Parse(FileBytes file) => new Parser(file).Parse();

    private ref struct Parser(FileBytes file)
    {
        // A string's length and, of an entry, its type and one byte; of a tensor the name's length, its rank, its type and its place.
        private const int LeastValueBytes = 8 + 4 + 1;
        private const int LeastTensorBytes = 8 + 4 + 4 + 8;

        private readonly FileBytes _file = file;
        private readonly FileWindow _window = new(file, 0, file.Length);
        private readonly List<GgufTensor> _tensors = [];
        private readonly Dictionary<string, GgufTensor> _byName = new(StringComparer.Ordinal);
        private readonly Dictionary<string, GgufValue> _values = new(StringComparer.Ordinal);
        private long _at;

        public GgufHeader Parse()
        {
            if (_file.Length < GgufFile.Magic.Length || !_window.At(0, GgufFile.Magic.Length).SequenceEqual(GgufFile.Magic))
            {
                throw Problem("magic", "GGUF", "something else: this is no GGUF file");
            }

            _at = GgufFile.Magic.Length;
            uint version = Read<uint>("version");
            if (version is not (2 or 3))
            {
                throw Problem("version", "2 or 3", Invariant($"{version}") + (BitOperations.PopCount(version) < 3 && version > ushort.MaxValue ? ": the file is big-endian" : ""));
            }

            long tensors = Count("tensor count", MaximumTensors, LeastTensorBytes);
            long values = Count("metadata count", MaximumValues, LeastValueBytes);
            for (long i = 0; i < values; i++)
            {
                ReadValue(i);
            }

            for (long i = 0; i < tensors; i++)
            {
                ReadTensor(i);
            }

            Place();
            return new GgufHeader((int)version, _tensors, _byName, _values);
        }

        private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

        private readonly ModelFileException Problem(string field, string expected, string found) => new(_file.Path, field, expected, found);

        private unsafe T Read<T>(string field)
            where T : unmanaged
        {
            if (sizeof(T) > _file.Length - _at)
            {
                throw Problem(field, Invariant($"{sizeof(T)} bytes at {_at}"), Invariant($"the end of the file at {_file.Length}: it is truncated"));
            }

            T value = MemoryMarshal.Read<T>(_window.At(_at, sizeof(T)));
            _at += sizeof(T);
            return value;
        }

        /// <summary>Reads a number of things that take so many bytes each at least.</summary>
        private long Count(string field, long most, int leastBytes)
        {
            ulong count = Read<ulong>(field);
            if (count > (ulong)most)
            {
                throw Problem(field, Invariant($"at most {most}"), Invariant($"{count}"));
            }

            if ((long)count > (_file.Length - _at) / leastBytes)
            {
                throw Problem(field, Invariant($"at most {(_file.Length - _at) / leastBytes}, which the {_file.Length - _at} bytes behind it can hold"), Invariant($"{count}: the file is truncated or damaged"));
            }

            return (long)count;
        }

        /// <summary>Passes over a string and gives where it lies. A vocabulary has many: which one it is, is spelled only when it is wrong.</summary>
        private (long Offset, int Length) Text(string field, long number = -1)
        {
            ulong length = _file.Length - _at >= sizeof(ulong) ? MemoryMarshal.Read<ulong>(_window.At(_at, sizeof(ulong))) : Read<ulong>(Field());
            _at += sizeof(ulong);
            if (length > (ulong)(_file.Length - _at) || length > int.MaxValue)
            {
                throw Problem(Field(), Invariant($"at most the {Math.Min(_file.Length - _at, int.MaxValue)} bytes that follow"), Invariant($"{length}: the file is truncated or damaged"));
            }

            long offset = _at;
            _at += (long)length;
            return (offset, (int)length);

            string Field() => (number >= 0 ? field + Invariant($", text {number}") : field) + ", length";
        }

        private string Name(string field)
        {
            (long offset, int length) = Text(field);
            ReadOnlySpan<byte> bytes = _window.At(offset, Math.Min(length, MaximumNameBytes));
            if (length is 0 or > MaximumNameBytes)
            {
                throw Problem(field, Invariant($"1 to {MaximumNameBytes} bytes"), Invariant($"{length}"));
            }

            try
            {
                return s_strict.GetString(bytes);
            }
            catch (DecoderFallbackException exception)
            {
                throw new ModelFileException(_file.Path, field, "UTF-8 text", Quoted.Utf8(bytes), exception);
            }
        }

        private void ReadValue(long number)
        {
            string key = Name(Invariant($"metadata key {number}"));
            string field = $"metadata {Quoted.Text(key)}";
            uint type = Read<uint>(field + ", type");
            bool isArray = type == (uint)GgufValueType.Array;
            long count = 1;
            if (isArray)
            {
                type = Read<uint>(field + ", type of elements");
            }

            if (type > (uint)GgufValueType.Float64 || type == (uint)GgufValueType.Array)
            {
                throw Problem(isArray ? field + ", type of elements" : field + ", type", isArray ? "0 to 8 or 10 to 12 (arrays do not nest)" : "0 to 12", Invariant($"{type}"));
            }

            var valueType = (GgufValueType)type;
            int size = SizeOf(valueType);
            if (isArray)
            {
                count = Count(field + ", count", int.MaxValue, size > 0 ? size : sizeof(long));
            }

            long start = _at;
            if (size == 0)
            {
                for (long i = 0; i < count; i++)
                {
                    Text(field, isArray ? i : -1);
                }
            }
            else if (count * size > _file.Length - _at)
            {
                throw Problem(field, Invariant($"{count * size} bytes at {_at}"), Invariant($"the end of the file at {_file.Length}: it is truncated"));
            }
            else
            {
                _at += count * size;
            }

            if (valueType == GgufValueType.Bool)
            {
                CheckFlags(field, start, _at);
            }

            if (!_values.TryAdd(key, new GgufValue(_file, key, valueType, isArray, count, start, _at - start)))
            {
                throw Problem(field, "one entry", "more than one with this key");
            }
        }

        private readonly void CheckFlags(string field, long start, long end)
        {
            int count;
            for (long at = start; at < end; at += count)
            {
                count = (int)Math.Min(_window.Room, end - at);
                if (_window.At(at, count).ContainsAnyExceptInRange((byte)0, (byte)1))
                {
                    throw Problem(field, "truth values of 0 or 1", "others");
                }
            }
        }

        private void ReadTensor(long number)
        {
            string name = Name(Invariant($"name of tensor {number}"));
            string field = $"tensor {Quoted.Text(name)}";
            uint rank = Read<uint>(field + ", number of dimensions");
            if (rank > MaximumRank)
            {
                throw Problem(field + ", number of dimensions", Invariant($"at most {MaximumRank}"), Invariant($"{rank}"));
            }

            Span<long> shape = stackalloc long[MaximumRank];
            shape = shape[..(int)rank];
            for (int i = 0; i < shape.Length; i++)
            {
                ulong extent = Read<ulong>(field + Invariant($", dimension {i}"));
                if (extent > long.MaxValue)
                {
                    throw Problem(field + Invariant($", dimension {i}"), "a number below 2^63", Invariant($"{extent}"));
                }

                shape[shape.Length - 1 - i] = (long)extent;
            }

            uint type = Read<uint>(field + ", type");
            (int elements, int bytes) = GgmlBlocks.Size((GgmlType)type);
            if (elements == 0)
            {
                throw Problem(field + ", type", "a type of the format that is read here", Invariant($"{type}"));
            }

            ulong offset = Read<ulong>(field + ", offset");
            if (offset > (ulong)_file.Length)
            {
                throw Problem(field + ", offset", Invariant($"a place inside the file of {_file.Length} bytes"), Invariant($"{offset}"));
            }

            long length = 1;
            foreach (long extent in shape)
            {
                // A zero does not hide that the others overflow.
                if (extent > 0 && length > long.MaxValue / bytes / extent)
                {
                    throw Problem(field + ", dimensions", "a size below 2^63 bytes", Quoted.List(shape));
                }

                length *= Math.Max(extent, 1);
            }

            length = shape.Contains(0) ? 0 : length;
            if ((shape.IsEmpty ? 1 : shape[^1]) % elements != 0)
            {
                throw Problem(field + ", dimension 0", Invariant($"a multiple of {elements}, the elements in a block of {(GgmlType)type}"), Invariant($"{(shape.IsEmpty ? 1 : shape[^1])}"));
            }

            var tensor = new GgufTensor(name, (GgmlType)type, ImmutableArray.Create((ReadOnlySpan<long>)shape), (long)offset, length / elements * bytes);
            if (!_byName.TryAdd(name, tensor))
            {
                throw Problem(field, "one entry", "more than one with this name");
            }

            _tensors.Add(tensor);
        }

        /// <summary>Finds where the elements begin, and requires that every tensor lies behind that, aligned, inside the file and apart from the others.</summary>
        private readonly void Place()
        {
            long alignment = DefaultAlignment;
            if (_values.TryGetValue(AlignmentKey, out GgufValue? declared))
            {
                alignment = declared.ElementType == GgufValueType.UInt32 ? declared.AsInteger() ?? 0 : 0;
                if (alignment <= 0 || alignment > MaximumAlignment || !BitOperations.IsPow2(alignment))
                {
                    throw Problem($"metadata '{AlignmentKey}'", Invariant($"a 32-bit unsigned power of two, at most {MaximumAlignment}"), declared.ToString());
                }
            }

            long start = (_at + alignment - 1) / alignment * alignment;
            for (int i = 0; i < _tensors.Count; i++)
            {
                GgufTensor tensor = _tensors[i];
                string field = $"tensor {Quoted.Text(tensor.Name)}, offset";
                if (tensor.Offset % alignment != 0)
                {
                    throw Problem(field, Invariant($"a multiple of {alignment}"), Invariant($"{tensor.Offset}"));
                }

                if (tensor.ByteLength > 0 && (start > _file.Length || tensor.ByteLength > _file.Length - start || tensor.Offset > _file.Length - start - tensor.ByteLength))
                {
                    throw Problem(
                        field,
                        Invariant($"{tensor.ByteLength} bytes within the {Math.Max(0, _file.Length - start)} of data"),
                        Invariant($"{tensor.Offset}, which ends behind the file: it is truncated or damaged"));
                }

                GgufTensor placed = tensor with { Offset = tensor.ByteLength > 0 ? start + tensor.Offset : start };
                _tensors[i] = placed;
                _byName[placed.Name] = placed;
            }

            GgufTensor[] ordered = _tensors.Filter(static tensor => tensor.ByteLength > 0);
            Array.Sort(ordered, static (a, b) => a.Offset.CompareTo(b.Offset));
            for (int i = 1; i < ordered.Length; i++)
            {
                long end = ordered[i - 1].Offset + ordered[i - 1].ByteLength;
                if (ordered[i].Offset < end)
                {
                    throw Problem(
                        $"tensor {Quoted.Text(ordered[i].Name)}, offset",
                        Invariant($"a place from {end - start} on, where {Quoted.Text(ordered[i - 1].Name)} ends"),
                        Invariant($"{ordered[i].Offset - start}, which is an overlap"));
                }
            }
        }
    }

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
}
