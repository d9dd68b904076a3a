using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>A storage of a PyTorch file: a piece of memory that tensors are views of.</summary>
/// <param name="key">The number of its member in the archive.</param>
/// <param name="type">The element type; null where each tensor says it.</param>
/// <param name="count">The elements, or the bytes where there is no type.</param>
internal sealed class PickledStorage(string key, SafetensorsType? type, long count)
{
    public string Key { get; } = key;

    public SafetensorsType? Type { get; } = type;

    public long Count { get; } = count;
}

/// <summary>A tensor of a PyTorch file: a view of a storage.</summary>
internal sealed class PickledTensor(PickledStorage storage, SafetensorsType type, long offset, long[] shape, long[] strides)
{
    public PickledStorage Storage { get; } = storage;

    public SafetensorsType Type { get; } = type;

    public long Offset { get; } = offset;

    public long[] Shape { get; } = shape;

    public long[] Strides { get; } = strides;
}

/// <summary>
/// Reads a pickled state dictionary. Pickles are programs for a machine with a stack, which in Python may call anything: here there is no function to call. The few names that tensors are built from are known, all
/// others are refused, and every instruction costs no more memory than it has bytes in the file.
/// </summary>
internal sealed class PickleReader
{
    private const int Deepest = 32;

    // Bytes of the file for each object that it may make or remember. The smallest tensor takes 57 bytes, 5 tuples and a dictionary.
    private const int BytesOfObject = 4;
    private const int WeightOfDictionary = 3;
    private const int FreeObjects = 64;

    private static readonly string[] s_types =
    [
        "torch float32", "torch float64", "torch float16", "torch bfloat16", "torch int64", "torch int32", "torch int16", "torch int8", "torch uint8", "torch bool",
        "torch float8_e4m3fn", "torch float8_e5m2", "torch uint16", "torch uint32", "torch uint64",
    ];

    // In the same order, of the first ten types.
    private static readonly string[] s_storages =
    [
        "torch FloatStorage", "torch DoubleStorage", "torch HalfStorage", "torch BFloat16Storage", "torch LongStorage", "torch IntStorage", "torch ShortStorage", "torch CharStorage", "torch ByteStorage", "torch BoolStorage",
    ];

    private static readonly SafetensorsType[] s_elements =
    [
        SafetensorsType.F32, SafetensorsType.F64, SafetensorsType.F16, SafetensorsType.BF16, SafetensorsType.I64, SafetensorsType.I32, SafetensorsType.I16, SafetensorsType.I8, SafetensorsType.U8, SafetensorsType.Bool,
        SafetensorsType.F8E4M3, SafetensorsType.F8E5M2, SafetensorsType.U16, SafetensorsType.U32, SafetensorsType.U64,
    ];

    private static readonly string[] s_calls = ["collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_parameter", "torch Size"];

    // Under which a checkpoint of training keeps the model.
    private static readonly string[] s_models = ["state_dict", "model_state_dict", "model"];

    private static readonly object[] s_bytes = Bytes();
    private static readonly object s_true = true;
    private static readonly object s_false = false;

    private readonly string _path;
    private readonly int _most;
    private readonly List<object?> _stack = [];
    private readonly List<int> _marks = [];
    private readonly Dictionary<long, object?> _memo = [];
    private int _at;
    private int _objects;

    private PickleReader(string path, int length)
    {
        _path = path;
        _most = FreeObjects + (length / BytesOfObject);
    }

    /// <summary>The tensors of a pickled state dictionary by name, those of dictionaries inside it under both names with a dot between.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="pickle">The program.</param>
    /// <exception cref="ModelFileException">The program is damaged, or builds something else than tensors, numbers, texts and what holds them.</exception>
    public static List<(string Name, PickledTensor Tensor)> ReadTensors(string path, ReadOnlySpan<byte> pickle)
    {
        var reader = new PickleReader(path, pickle.Length);
        object? root = reader.Run(pickle);
        if (root is not Dictionary<string, object?> dictionary)
        {
            throw reader.Wrong("contents", "a dictionary of tensors", KindOf(root));
        }

        if (!dictionary.Values.Has(static value => value is PickledTensor) && s_models.Map(key => dictionary.GetValueOrDefault(key) as Dictionary<string, object?>).FirstOf(static model => model is not null) is { } model)
        {
            dictionary = model;
        }

        var tensors = new List<(string, PickledTensor)>();
        int left = pickle.Length;
        reader.Flatten("", dictionary, tensors, ref left, depth: 0);
        return tensors;
    }

    // An object may be in several places; the file's length bounds how many.
    private void Flatten(string prefix, Dictionary<string, object?> dictionary, List<(string, PickledTensor)> tensors, ref int left, int depth)
    {
        if (depth == Deepest)
        {
            throw Wrong("contents", Invariant($"at most {Deepest} dictionaries in each other"), "more");
        }

        foreach ((string key, object? value) in dictionary)
        {
            left -= 1 + prefix.Length;
            if (left < 0)
            {
                throw Wrong("contents", "no more entries than the file has bytes for", "more");
            }

            if (value is PickledTensor tensor)
            {
                tensors.Add((prefix + key, tensor));
            }
            else if (value is Dictionary<string, object?> inner)
            {
                Flatten(prefix + key + ".", inner, tensors, ref left, depth + 1);
            }
        }
    }

    private object? Run(ReadOnlySpan<byte> code)
    {
        while (true)
        {
            int start = _at;
            byte instruction = Take(code, 1)[0];
            switch ((char)instruction)
            {
                case '\x80':
                    int protocol = Take(code, 1)[0];
                    if (protocol is < 2 or > 5)
                    {
                        throw Wrong("protocol", "2 to 5", Invariant($"{protocol}"));
                    }

                    break;
                case '\x95':
                    Take(code, 8);
                    break;
                case '.':
                    return _stack.Count == 1 && _marks.Count == 0 ? _stack[0] : throw Wrong("end", "one object", Invariant($"{_stack.Count}"));
                case '(':
                    _marks.Add(_stack.Count);
                    break;
                case '}':
                    Push(NewDictionary());
                    break;
                case ']':
                    Count(WeightOfDictionary);
                    Push(new List<object?>());
                    break;
                case ')':
                    Push(Array.Empty<object?>());
                    break;
                case 't':
                    Push(PopMarked());
                    break;
                case '\x85' or '\x86' or '\x87':
                    Push(Pop(instruction - 0x84));
                    break;
                case 'N':
                    Push(null);
                    break;
                case '\x88' or '\x89':
                    Push(instruction == 0x88 ? s_true : s_false);
                    break;
                case 'K':
                    Push(s_bytes[Take(code, 1)[0]]);
                    break;
                case 'M':
                    Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(code, 2)));
                    break;
                case 'J':
                    Push((long)BinaryPrimitives.ReadInt32LittleEndian(Take(code, 4)));
                    break;
                case '\x8A':
                    Push(Integer(Take(code, Take(code, 1)[0])));
                    break;
                case 'G':
                    Push(BinaryPrimitives.ReadDoubleBigEndian(Take(code, 8)));
                    break;
                case 'X':
                    Push(Text(Take(code, BinaryPrimitives.ReadUInt32LittleEndian(Take(code, 4)))));
                    break;
                case '\x8C':
                    Push(Text(Take(code, Take(code, 1)[0])));
                    break;
                case 'q':
                    Remember(Take(code, 1)[0]);
                    break;
                case 'r':
                    Remember(BinaryPrimitives.ReadUInt32LittleEndian(Take(code, 4)));
                    break;
                case '\x94':
                    Remember(_memo.Count);
                    break;
                case 'h':
                    Push(Remembered(Take(code, 1)[0]));
                    break;
                case 'j':
                    Push(Remembered(BinaryPrimitives.ReadUInt32LittleEndian(Take(code, 4))));
                    break;
                case 'c':
                    Push(Named($"{Line(code)} {Line(code)}"));
                    break;
                case '\x93':
                    object?[] parts = Pop(2);
                    Push(Named($"{parts[0] as string} {parts[1] as string}"));
                    break;
                case 'Q':
                    Push(Storage(Pop(1)[0]));
                    break;
                case 'R':
                    object?[] call = Pop(2);
                    Push(Call(call[0], call[1]));
                    break;
                case 'b':
                    // What state_dict() says of its modules.
                    _ = Pop(1);
                    _ = Top() as Dictionary<string, object?> ?? throw Wrong("attributes", "those of a dictionary", $"those of {KindOf(Top())}");
                    break;
                case 's':
                    Set(Pop(2));
                    break;
                case 'u':
                    Set(PopMarked());
                    break;
                case 'a':
                    Append(Pop(1));
                    break;
                case 'e':
                    Append(PopMarked());
                    break;
                default:
                    throw Wrong("instruction", "one that builds tensors and what holds them", Invariant($"0x{instruction:X2} at {start}"));
            }
        }
    }

    private void Push(object? value)
    {
        if (_stack.Count == _most)
        {
            throw Wrong("stack", Invariant($"at most {_most} objects in a file of this length"), "more");
        }

        _stack.Add(value);
    }

    private void Count(int weight)
    {
        _objects += weight;
        if (_objects > _most)
        {
            throw Wrong("objects", Invariant($"at most {_most} in a file of this length"), "more");
        }
    }

    private Dictionary<string, object?> NewDictionary()
    {
        Count(WeightOfDictionary);
        return new Dictionary<string, object?>(StringComparer.Ordinal);
    }

    private void Remember(long key)
    {
        if (_memo.Count == _most && !_memo.ContainsKey(key))
        {
            throw Wrong("memo", Invariant($"at most {_most} objects in a file of this length"), "more");
        }

        _memo[key] = Top();
    }

    private object? Top() => _stack.Count > Bottom ? _stack[^1] : throw Wrong("stack", "an object", "none");

    private int Bottom => _marks.Count > 0 ? _marks[^1] : 0;

    private object?[] Pop(int count)
    {
        if (_stack.Count - Bottom < count)
        {
            throw Wrong("stack", Invariant($"{count} objects"), Invariant($"{_stack.Count - Bottom}"));
        }

        if (count == 0)
        {
            return [];
        }

        Count(1);
        var values = new object?[count];
        _stack.CopyTo(_stack.Count - count, values, 0, count);
        _stack.RemoveRange(_stack.Count - count, count);
        return values;
    }

    private object?[] PopMarked()
    {
        if (_marks.Count == 0)
        {
            throw Wrong("stack", "a mark", "none");
        }

        object?[] values = Pop(_stack.Count - Bottom);
        _marks.RemoveAt(_marks.Count - 1);
        return values;
    }

    private object? Remembered(long key) => _memo.TryGetValue(key, out object? value) ? value : throw Wrong("memo", "an object that was remembered", Invariant($"none under {key}"));

    private void Set(object?[] pairs)
    {
        if (Top() is not Dictionary<string, object?> dictionary || pairs.Length % 2 != 0)
        {
            throw Wrong("entries", "pairs of a dictionary", KindOf(Top()));
        }

        for (int i = 0; i < pairs.Length; i += 2)
        {
            // Optimizers number their parameters.
            string key = pairs[i] switch
            {
                string text => text,
                long number => number.ToString(CultureInfo.InvariantCulture),
                _ => throw Wrong("keys", "texts or integers", KindOf(pairs[i])),
            };
            dictionary[key] = pairs[i + 1];
        }
    }

    private void Append(object?[] values)
    {
        if (Top() is not List<object?> list)
        {
            throw Wrong("elements", "those of a list", KindOf(Top()));
        }

        list.AddRange(values);
    }

    /// <summary>One of the names that tensors are built from.</summary>
    private PickledName Named(string name)
        => s_calls.Contains(name) || s_storages.Contains(name) || s_types.Contains(name) || name is "torch.storage UntypedStorage" or "torch UntypedStorage"
            ? new PickledName(name)
            : throw Wrong("global", "what tensors are built from", Quoted.Text(name));

    private PickledStorage Storage(object? id)
    {
        if (id is object?[] and ["storage", PickledName name, string key, string, long count] && count >= 0)
        {
            int index = Array.IndexOf(s_storages, name.Name);
            if (index >= 0 || name.Name.EndsWith("UntypedStorage", StringComparison.Ordinal))
            {
                return new PickledStorage(key, index >= 0 ? s_elements[index] : null, count);
            }
        }

        throw Wrong("persistent id", "a storage of tensors", KindOf(id));
    }

    private object? Call(object? function, object? arguments)
    {
        if (function is PickledName name && arguments is object?[] given)
        {
            switch (name.Name)
            {
                case "collections OrderedDict" when given.Length == 0:
                    return NewDictionary();
                case "torch Size" when given is [object?[] extents]:
                    return extents;
                case "torch._utils _rebuild_parameter" when given is [PickledTensor tensor, ..]:
                    return tensor;
                case "torch._utils _rebuild_tensor_v2" when given is [PickledStorage { Type: { } type } storage, long offset, object?[] shape, object?[] strides, ..]:
                    return Tensor(storage, type, offset, shape, strides);
                case "torch._utils _rebuild_tensor_v3" when given is [PickledStorage storage, long offset, object?[] shape, object?[] strides, _, _, PickledName dtype, ..]:
                    int index = Array.IndexOf(s_types, dtype.Name);
                    return index >= 0 ? Tensor(storage, s_elements[index], offset, shape, strides) : throw Wrong("tensor", "a type of elements", Quoted.Text(dtype.Name));
            }
        }

        throw Wrong("call", "one that builds a tensor or a dictionary", function is PickledName other ? $"{Quoted.Text(other.Name)} of other arguments" : KindOf(function));
    }

    private PickledTensor Tensor(PickledStorage storage, SafetensorsType type, long offset, object?[] shape, object?[] strides)
    {
        if (shape.Length != strides.Length || shape.Length > SafetensorsFormat.MaximumRank || !Array.TrueForAll(shape, static value => value is long and >= 0) || !Array.TrueForAll(strides, static value => value is long and >= 0) || offset < 0)
        {
            throw Wrong("tensor", Invariant($"an offset, and as many strides as extents, {SafetensorsFormat.MaximumRank} at the most, none of them negative"), "others");
        }

        return new PickledTensor(storage, type, offset, shape.Map(static extent => (long)extent!), strides.Map(static stride => (long)stride!));
    }

    private ReadOnlySpan<byte> Take(ReadOnlySpan<byte> code, long count)
    {
        if (count > code.Length - _at)
        {
            throw Wrong("length", Invariant($"{count} bytes at {_at}"), Invariant($"{code.Length - _at}: the file is truncated or damaged"));
        }

        _at += (int)count;
        return code.Slice(_at - (int)count, (int)count);
    }

    private string Line(ReadOnlySpan<byte> code)
    {
        int length = code[_at..].IndexOf((byte)'\n');
        if (length is < 0 or > SafetensorsFormat.MaximumNameBytes)
        {
            throw Wrong("global", Invariant($"a name of at most {SafetensorsFormat.MaximumNameBytes} bytes"), "none");
        }

        string line = Encoding.UTF8.GetString(code.Slice(_at, length));
        _at += length + 1;
        return line;
    }

    private static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

    // Little-endian, in as few bytes as it takes.
    private object Integer(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > sizeof(long))
        {
            throw Wrong("integer", "at most 64 bits", Invariant($"{bytes.Length} bytes"));
        }

        long value = bytes.Length > 0 && (sbyte)bytes[^1] < 0 ? -1 : 0;
        for (int i = bytes.Length - 1; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }

        return value;
    }

    private static string KindOf(object? value) => value switch
    {
        null => "nothing",
        PickledTensor => "a tensor",
        PickledStorage => "a storage",
        PickledName name => Quoted.Text(name.Name),
        string => "a text",
        long or double or bool => "a number",
        Dictionary<string, object?> => "a dictionary",
        _ => "a list",
    };

    // What a byte stands for is made once, however many there are.
    private static object[] Bytes()
    {
        var values = new object[256];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (long)i;
        }

        return values;
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    private ModelFileException Wrong(string field, string expected, string found) => new(_path, "data.pkl, " + field, expected, found);

    private sealed class PickledName(string name)
    {
        public string Name { get; } = name;
    }
}
