using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text.Unicode;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The safetensors header: eight bytes of length, little-endian; a JSON object of the tensors' types, shapes and places; then the
/// elements. A header is parsed without trust: whatever it says is checked against the file's real length before anyone uses it.
/// </summary>
internal static class SafetensorsFormat
{
    /// <summary>The limit of the format's reference implementation, in bytes.</summary>
    public const long MaximumHeaderLength = 100_000_000;

    public const int PrefixLength = 8;

    private const string MetadataKey = "__metadata__";

    // Far more than any file needs; what a header of the largest length could hold would cost many times its bytes.
    public const int MaximumTensors = 1 << 18;
    public const int MaximumMetadata = 1 << 16;
    public const int MaximumRank = 64;

    /// <summary>Of a tensor's name or a metadata key, as JSON spells it.</summary>
    public const int MaximumNameBytes = 2048;

    // In the order of the enumeration.
    private static readonly string[] s_names = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"];

    private static ReadOnlySpan<byte> Sizes => [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8];

    public static int SizeOf(SafetensorsType type) => Sizes[(int)type];

    public static string NameOf(SafetensorsType type) => s_names[(int)type];

    /// <summary>The length of the header, checked against the file's.</summary>
    public static int HeaderLength(string path, ReadOnlySpan<byte> prefix, long fileLength)
    {
        if (prefix.Length < PrefixLength)
        {
            throw new ModelFileException(path, "header length", "8 bytes", Invariant($"a file of {fileLength} bytes"));
        }

        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaximumHeaderLength)
        {
            throw new ModelFileException(path, "header length", Invariant($"at most {MaximumHeaderLength} bytes"), Invariant($"{length}"));
        }

        if (length < 2)
        {
            throw new ModelFileException(path, "header length", "at least 2 bytes", Invariant($"{length}"));
        }

        if ((long)length > fileLength - PrefixLength)
        {
            throw new ModelFileException(path, "header length", Invariant($"at most the {fileLength - PrefixLength} bytes that follow"), Invariant($"{length}: the file is truncated, or no safetensors file"));
        }

        return (int)length;
    }

    /// <summary>A header's contents, checked to cover exactly <paramref name="dataLength"/> bytes.</summary>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> header, long dataLength)
    {
        if (header[0] != (byte)'{')
        {
            throw new ModelFileException(path, "header", "a JSON object", Invariant($"a first byte of 0x{header[0]:X2}"));
        }

        if (!Utf8.IsValid(header))
        {
            throw new ModelFileException(path, "header", "UTF-8 text", "bytes that are not");
        }

        return new Parser(path, header, dataLength).Parse();
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    // Nothing is allocated but what is kept, and nothing is kept that is not within its limit.
    private ref struct Parser(string path, ReadOnlySpan<byte> header, long dataLength)
    {
        private readonly string _path = path;
        private readonly long _dataLength = dataLength;
        private readonly List<SafetensorsTensor> _tensors = [];
        private readonly Dictionary<string, SafetensorsTensor> _byName = new(StringComparer.Ordinal);
        private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);
        private JsonScanner _reader = new(header, deepest: 4);

        public SafetensorsHeader Parse()
        {
            try
            {
                ReadHeader();
            }
            catch (FormatException exception)
            {
                throw new ModelFileException(_path, "header", "well-formed JSON", Invariant($"an error after byte {_reader.Position}"), exception);
            }
            catch (InvalidOperationException exception)
            {
                // An escape sequence of half a surrogate pair.
                throw new ModelFileException(_path, "header", "valid Unicode strings", Invariant($"one that is not, after byte {_reader.Position}"), exception);
            }

            CheckCoverage();
            return new SafetensorsHeader(_tensors, _byName, _metadata);
        }

        private void ReadHeader()
        {
            bool hasMetadata = false;
            _reader.Read();
            while (NextKey())
            {
                if (_reader.Is(MetadataKey))
                {
                    if (hasMetadata)
                    {
                        throw Twice(FieldOf(MetadataKey));
                    }

                    hasMetadata = true;
                    ReadMetadata();
                    continue;
                }

                if (_tensors.Count == MaximumTensors)
                {
                    throw new ModelFileException(_path, "header", Invariant($"at most {MaximumTensors} tensors"), "more");
                }

                string name = ReadName("header");
                SafetensorsTensor tensor = ReadTensor(name);
                if (!_byName.TryAdd(name, tensor))
                {
                    throw Twice(FieldOf(name));
                }

                _tensors.Add(tensor);
            }

            // Reads to the end, where only white space may follow.
            while (_reader.Read())
            {
            }
        }

        private bool NextKey()
        {
            _reader.Read();
            return _reader.Token == JsonToken.PropertyName;
        }

        private readonly string ReadName(string field)
            => _reader.Value.Length <= MaximumNameBytes
                ? _reader.Text()
                : throw new ModelFileException(_path, field, Invariant($"names of at most {MaximumNameBytes} bytes"), Quoted.Utf8(_reader.Value));

        private void ReadMetadata()
        {
            _reader.Read();
            if (_reader.Token != JsonToken.StartObject)
            {
                throw new ModelFileException(_path, MetadataKey, "an object of strings", Found());
            }

            while (NextKey())
            {
                if (_metadata.Count == MaximumMetadata)
                {
                    throw new ModelFileException(_path, MetadataKey, Invariant($"at most {MaximumMetadata} entries"), "more");
                }

                string key = ReadName(MetadataKey);
                _reader.Read();
                if (_reader.Token != JsonToken.String)
                {
                    throw new ModelFileException(_path, $"{MetadataKey} {Quoted.Text(key)}", "a string", Found());
                }

                if (!_metadata.TryAdd(key, _reader.Text()))
                {
                    throw Twice($"{MetadataKey} {Quoted.Text(key)}");
                }
            }
        }

        private SafetensorsTensor ReadTensor(string name)
        {
            SafetensorsType? type = null;
            bool hasOffsets = false;
            int rank = -1;
            Span<long> extents = stackalloc long[MaximumRank];
            Span<long> offsets = stackalloc long[2];
            Expect(JsonToken.StartObject, name, "", "an object of dtype, shape and data_offsets");
            while (NextKey())
            {
                if (_reader.Is("dtype"))
                {
                    type = type is null ? ReadType(name) : throw Twice($"{FieldOf(name)}, dtype");
                }
                else if (_reader.Is("shape"))
                {
                    rank = rank < 0 ? ReadIntegers(name, "shape", extents) : throw Twice($"{FieldOf(name)}, shape");
                }
                else if (_reader.Is("data_offsets"))
                {
                    if (hasOffsets)
                    {
                        throw Twice($"{FieldOf(name)}, data_offsets");
                    }

                    hasOffsets = true;
                    int count = ReadIntegers(name, "data_offsets", offsets);
                    if (count != 2 || offsets[0] > offsets[1])
                    {
                        throw new ModelFileException(_path, $"{FieldOf(name)}, data_offsets", "a begin and an end that is not before it", Quoted.List(offsets[..count]));
                    }
                }
                else
                {
                    throw new ModelFileException(_path, FieldOf(name), "dtype, shape and data_offsets", Quoted.Utf8(_reader.Value));
                }
            }

            if (type is null || rank < 0 || !hasOffsets)
            {
                throw new ModelFileException(_path, FieldOf(name), "dtype, shape and data_offsets", $"no {(type is null ? "dtype" : rank < 0 ? "shape" : "data_offsets")}");
            }

            if (offsets[1] > _dataLength)
            {
                throw new ModelFileException(_path, $"{FieldOf(name)}, data_offsets", Invariant($"an end within the {_dataLength} bytes of data"), Quoted.List(offsets));
            }

            long byteLength = ByteLength(name, type.Value, extents[..rank]);
            if (byteLength != offsets[1] - offsets[0])
            {
                throw new ModelFileException(
                    _path,
                    $"{FieldOf(name)}, data_offsets",
                    Invariant($"{byteLength} bytes for {NameOf(type.Value)} {Quoted.List(extents[..rank])}"),
                    Invariant($"{offsets[1] - offsets[0]} bytes, {Quoted.List(offsets)}"));
            }

            return new SafetensorsTensor(name, type.Value, ImmutableArray.Create((ReadOnlySpan<long>)extents[..rank]), offsets[0], byteLength);
        }

        private readonly long ByteLength(string name, SafetensorsType type, scoped ReadOnlySpan<long> shape)
        {
            // A zero does not hide that the others overflow.
            long length = SizeOf(type);
            foreach (long extent in shape)
            {
                if (extent > 0 && length > long.MaxValue / extent)
                {
                    throw new ModelFileException(_path, $"{FieldOf(name)}, shape", "a size below 2^63 bytes", Quoted.List(shape));
                }

                length *= Math.Max(extent, 1);
            }

            return shape.Contains(0) ? 0 : length;
        }

        private SafetensorsType ReadType(string name)
        {
            Expect(JsonToken.String, name, ", dtype", "a string");
            for (int index = 0; index < s_names.Length; index++)
            {
                if (_reader.Is(s_names[index]))
                {
                    return (SafetensorsType)index;
                }
            }

            throw new ModelFileException(
                _path, $"{FieldOf(name)}, dtype", $"one of {string.Join(", ", s_names)}", Quoted.Utf8(_reader.Value));
        }

        /// <summary>Reads a list that has at most as many elements as the destination.</summary>
        private int ReadIntegers(string name, string key, scoped Span<long> destination)
        {
            _reader.Read();
            if (_reader.Token != JsonToken.StartArray)
            {
                throw new ModelFileException(_path, $"{FieldOf(name)}, {key}", "an array of integers", Found());
            }

            int count = 0;
            while (_reader.Read() && _reader.Token != JsonToken.EndArray)
            {
                if (count == destination.Length)
                {
                    throw new ModelFileException(_path, $"{FieldOf(name)}, {key}", Invariant($"at most {destination.Length} numbers"), "more");
                }

                if (_reader.Token != JsonToken.Number || !_reader.TryInteger(out long value) || value < 0)
                {
                    throw new ModelFileException(_path, $"{FieldOf(name)}, {key}", "integers from 0 to below 2^63", Found());
                }

                destination[count++] = value;
            }

            return count;
        }

        private void Expect(JsonToken type, string tensor, string part, string expected)
        {
            _reader.Read();
            if (_reader.Token != type)
            {
                throw new ModelFileException(_path, FieldOf(tensor) + part, expected, Found());
            }
        }

        private readonly string Found() => _reader.Token switch
        {
            JsonToken.StartObject => "an object",
            JsonToken.StartArray => "an array",
            JsonToken.String => "a string",
            _ => Quoted.Raw(_reader.Value),
        };

        private readonly ModelFileException Twice(string field) => new(_path, field, "one entry", "more than one with this name");

        private readonly void CheckCoverage()
        {
            // Most files hold their tensors in the header's order.
            List<SafetensorsTensor> ordered = _tensors;
            if (!IsOrdered(ordered))
            {
                ordered = new List<SafetensorsTensor>(_tensors);
                ordered.Sort(static (a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset) : a.ByteLength.CompareTo(b.ByteLength));
            }

            long end = 0;
            foreach (SafetensorsTensor tensor in ordered)
            {
                if (tensor.Offset != end)
                {
                    throw new ModelFileException(
                        _path,
                        $"{FieldOf(tensor.Name)}, data_offsets",
                        Invariant($"a begin of {end}, where the tensor before ends"),
                        Invariant($"{tensor.Offset}, which leaves {(tensor.Offset < end ? "an overlap" : "a gap")}"));
                }

                end = tensor.Offset + tensor.ByteLength;
            }

            if (end != _dataLength)
            {
                throw new ModelFileException(_path, "data", Invariant($"{end} bytes, where the last tensor ends"), Invariant($"{_dataLength} bytes"));
            }
        }

        private static bool IsOrdered(List<SafetensorsTensor> tensors)
        {
            long end = 0;
            foreach (SafetensorsTensor tensor in tensors)
            {
                if (tensor.Offset != end)
                {
                    return false;
                }

                end += tensor.ByteLength;
            }

            return true;
        }

        private static string FieldOf(string tensor) => $"tensor {Quoted.Text(tensor)}";
    }
}

/// <summary>What a header says.</summary>
/// <param name="tensors">The tensors, in the order of the header.</param>
/// <param name="byName">The same by their names.</param>
/// <param name="metadata">The metadata.</param>
internal sealed class SafetensorsHeader(List<SafetensorsTensor> tensors, Dictionary<string, SafetensorsTensor> byName, Dictionary<string, string> metadata)
{
    public List<SafetensorsTensor> Tensors { get; } = tensors;

    public Dictionary<string, SafetensorsTensor> ByName { get; } = byName;

    public Dictionary<string, string> Metadata { get; } = metadata;
}
