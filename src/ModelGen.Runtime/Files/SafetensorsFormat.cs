using System.Buffers.Binary;
using System.Text.Json;
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

    private static readonly (string Name, SafetensorsType Type, int Size)[] s_types =
    [
        ("BOOL", SafetensorsType.Bool, 1),
        ("U8", SafetensorsType.U8, 1),
        ("I8", SafetensorsType.I8, 1),
        ("F8_E5M2", SafetensorsType.F8E5M2, 1),
        ("F8_E4M3", SafetensorsType.F8E4M3, 1),
        ("I16", SafetensorsType.I16, 2),
        ("U16", SafetensorsType.U16, 2),
        ("F16", SafetensorsType.F16, 2),
        ("BF16", SafetensorsType.BF16, 2),
        ("I32", SafetensorsType.I32, 4),
        ("U32", SafetensorsType.U32, 4),
        ("F32", SafetensorsType.F32, 4),
        ("F64", SafetensorsType.F64, 8),
        ("I64", SafetensorsType.I64, 8),
        ("U64", SafetensorsType.U64, 8),
    ];

    public static int SizeOf(SafetensorsType type) => Array.Find(s_types, entry => entry.Type == type).Size;

    public static string NameOf(SafetensorsType type) => Array.Find(s_types, entry => entry.Type == type).Name;

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

    /// <summary>The tensors and metadata of a header, checked to cover exactly <paramref name="dataLength"/> bytes.</summary>
    public static (SafetensorsTensor[] Tensors, Dictionary<string, string> Metadata) Parse(string path, ReadOnlySpan<byte> header, long dataLength)
    {
        if (header[0] != (byte)'{')
        {
            throw new ModelFileException(path, "header", "a JSON object", Invariant($"a first byte of 0x{header[0]:X2}"));
        }

        if (!Utf8.IsValid(header))
        {
            throw new ModelFileException(path, "header", "UTF-8 text", "bytes that are not");
        }

        try
        {
            return new Parser(path, header, dataLength).Parse();
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(path, "header", "well-formed JSON", Invariant($"an error at byte {exception.BytePositionInLine}"), exception);
        }
        catch (InvalidOperationException exception)
        {
            // An escape sequence of half a surrogate pair.
            throw new ModelFileException(path, "header", "valid Unicode strings", "a string that is not", exception);
        }
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    private ref struct Parser(string path, ReadOnlySpan<byte> header, long dataLength)
    {
        private readonly string _path = path;
        private readonly long _dataLength = dataLength;
        private Utf8JsonReader _reader = new(header, new JsonReaderOptions { MaxDepth = 4 });

        public (SafetensorsTensor[] Tensors, Dictionary<string, string> Metadata) Parse()
        {
            var tensors = new List<SafetensorsTensor>();
            var names = new HashSet<string>(StringComparer.Ordinal);
            var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
            _reader.Read();
            while (NextKey() is { } name)
            {
                if (!names.Add(name))
                {
                    throw new ModelFileException(_path, Tensor(name), "one entry", "more than one with this name");
                }

                if (name == MetadataKey)
                {
                    ReadMetadata(metadata);
                }
                else
                {
                    tensors.Add(ReadTensor(name));
                }
            }

            // Reads to the end, where only white space may follow.
            while (_reader.Read())
            {
            }

            SafetensorsTensor[] result = [.. tensors];
            CheckCoverage(result);
            return (result, metadata);
        }

        private static string Tensor(string name) => $"tensor {Quoted.Text(name)}";

        private string? NextKey()
        {
            _reader.Read();
            return _reader.TokenType == JsonTokenType.PropertyName ? _reader.GetString()! : null;
        }

        private void ReadMetadata(Dictionary<string, string> metadata)
        {
            Expect(JsonTokenType.StartObject, MetadataKey, "an object of strings");
            while (NextKey() is { } key)
            {
                Expect(JsonTokenType.String, $"{MetadataKey} {Quoted.Text(key)}", "a string");
                if (!metadata.TryAdd(key, _reader.GetString()!))
                {
                    throw new ModelFileException(_path, $"{MetadataKey} {Quoted.Text(key)}", "one entry", "more than one with this name");
                }
            }
        }

        private SafetensorsTensor ReadTensor(string name)
        {
            string field = Tensor(name);
            SafetensorsType? type = null;
            List<long>? shape = null;
            List<long>? offsets = null;
            Expect(JsonTokenType.StartObject, field, "an object of dtype, shape and data_offsets");
            while (NextKey() is { } key)
            {
                switch (key)
                {
                    case "dtype" when type is null:
                        type = ReadType(field);
                        break;
                    case "shape" when shape is null:
                        shape = ReadIntegers(field, "shape");
                        break;
                    case "data_offsets" when offsets is null:
                        offsets = ReadIntegers(field, "data_offsets");
                        break;
                    case "dtype" or "shape" or "data_offsets":
                        throw new ModelFileException(_path, $"{field}, {key}", "one entry", "more than one");
                    default:
                        throw new ModelFileException(_path, field, "dtype, shape and data_offsets", $"{Quoted.Text(key)}");
                }
            }

            if (type is null || shape is null || offsets is null)
            {
                throw new ModelFileException(_path, field, "dtype, shape and data_offsets", $"no {(type is null ? "dtype" : shape is null ? "shape" : "data_offsets")}");
            }

            if (offsets.Count != 2 || offsets[0] > offsets[1])
            {
                throw new ModelFileException(_path, $"{field}, data_offsets", "a begin and an end that is not before it", Quoted.List(offsets.ToArray()));
            }

            if (offsets[1] > _dataLength)
            {
                throw new ModelFileException(_path, $"{field}, data_offsets", Invariant($"an end within the {_dataLength} bytes of data"), Quoted.List(offsets.ToArray()));
            }

            long byteLength = SizeOf(type.Value);
            try
            {
                // In ascending order, so that a zero does not hide that the others overflow.
                foreach (long extent in shape.Order().SkipWhile(static extent => extent == 0))
                {
                    byteLength = checked(byteLength * extent);
                }
            }
            catch (OverflowException exception)
            {
                throw new ModelFileException(_path, $"{field}, shape", "a size below 2^63 bytes", Quoted.List(shape.ToArray()), exception);
            }

            if (shape.Contains(0))
            {
                byteLength = 0;
            }

            if (byteLength != offsets[1] - offsets[0])
            {
                throw new ModelFileException(
                    _path,
                    $"{field}, data_offsets",
                    Invariant($"{byteLength} bytes for {NameOf(type.Value)} {Quoted.List(shape.ToArray())}"),
                    Invariant($"{offsets[1] - offsets[0]} bytes, {Quoted.List(offsets.ToArray())}"));
            }

            return new SafetensorsTensor(name, type.Value, [.. shape], offsets[0], byteLength);
        }

        private SafetensorsType ReadType(string field)
        {
            Expect(JsonTokenType.String, $"{field}, dtype", "a string");
            string found = _reader.GetString()!;
            int index = Array.FindIndex(s_types, entry => entry.Name == found);
            return index >= 0
                ? s_types[index].Type
                : throw new ModelFileException(_path, $"{field}, dtype", $"one of {string.Join(", ", s_types.Select(static entry => entry.Name))}", $"{Quoted.Text(found)}");
        }

        private List<long> ReadIntegers(string field, string key)
        {
            Expect(JsonTokenType.StartArray, $"{field}, {key}", "an array of integers");
            var values = new List<long>();
            while (_reader.Read() && _reader.TokenType != JsonTokenType.EndArray)
            {
                if (_reader.TokenType != JsonTokenType.Number || !_reader.TryGetInt64(out long value) || value < 0)
                {
                    throw new ModelFileException(_path, $"{field}, {key}", "integers from 0 to below 2^63", Found());
                }

                values.Add(value);
            }

            return values;
        }

        private void Expect(JsonTokenType type, string field, string expected)
        {
            _reader.Read();
            if (_reader.TokenType != type)
            {
                throw new ModelFileException(_path, field, expected, Found());
            }
        }

        private readonly string Found() => _reader.TokenType switch
        {
            JsonTokenType.StartObject => "an object",
            JsonTokenType.StartArray => "an array",
            JsonTokenType.String => "a string",
            _ => Quoted.Utf8(_reader.ValueSpan),
        };

        private readonly void CheckCoverage(SafetensorsTensor[] tensors)
        {
            long end = 0;
            foreach (SafetensorsTensor tensor in tensors.OrderBy(static tensor => tensor.Offset).ThenBy(static tensor => tensor.ByteLength))
            {
                if (tensor.Offset != end)
                {
                    throw new ModelFileException(
                        _path,
                        $"{Tensor(tensor.Name)}, data_offsets",
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
    }
}
