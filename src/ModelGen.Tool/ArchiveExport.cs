using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>How elements are stored in an archive.</summary>
internal enum StoredElement
{
    F32,
    F16,
    BF16,
}

/// <summary>Writes weights as archives of tensors: NumPy's (<c>.npz</c>) and PyTorch's (<c>.pt</c>).</summary>
internal static class ArchiveExport
{
    // Elements converted at a time.
    private const int Strip = 1 << 16;

    // NumPy's own headers end at a multiple of it.
    private const int HeaderAlignment = 64;

    /// <summary>How a tensor is stored where nothing else was asked for: as the input stores it, where the archive can, and in single precision where not.</summary>
    public static StoredElement As(WeightTensor tensor, StoredElement? asked, bool hasBFloat)
    {
        StoredElement type = asked is null
            ? tensor.TypeName switch { "F16" => StoredElement.F16, "BF16" => StoredElement.BF16, _ => StoredElement.F32 }
            : tensor.Shape.Length > 1 ? asked.Value : StoredElement.F32;
        return type == StoredElement.BF16 && !hasBFloat ? StoredElement.F32 : type;
    }

    /// <summary>Writes an archive that <c>numpy.load</c> reads, of F32 and F16: NumPy has no bfloat16.</summary>
    public static void SaveNumPy(WeightFile weights, string output, StoredElement? asked) => AtomicFile.Write(output, stream =>
    {
        using var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true);
        foreach (WeightTensor tensor in weights.Tensors)
        {
            StoredElement type = As(tensor, asked, hasBFloat: false);
            string shape = tensor.Shape is [var only] ? string.Create(CultureInfo.InvariantCulture, $"({only},)") : $"({string.Join(", ", tensor.Shape.Select(static extent => extent.ToString(CultureInfo.InvariantCulture)))})";
            string dictionary = $"{{'descr': '{(type == StoredElement.F16 ? "<f2" : "<f4")}', 'fortran_order': False, 'shape': {shape}, }}";
            int length = dictionary.Length + 1;
            length += (HeaderAlignment - ((10 + length) % HeaderAlignment)) % HeaderAlignment;
            using Stream member = archive.CreateEntry(tensor.Name + ".npy", CompressionLevel.NoCompression).Open();
            member.Write([0x93, .. "NUMPY"u8, 1, 0, (byte)length, (byte)(length >> 8), .. Encoding.ASCII.GetBytes(dictionary.PadRight(length - 1)), (byte)'\n']);
            WriteElements(weights, tensor, type, member);
        }
    });

    /// <summary>Writes a state dictionary that <c>torch.load</c> reads, with <c>weights_only</c> too.</summary>
    public static void SavePyTorch(WeightFile weights, string output, StoredElement? asked) => AtomicFile.Write(output, stream =>
    {
        using var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true);
        var types = weights.Tensors.Select(tensor => As(tensor, asked, hasBFloat: true)).ToArray();
        Member("data.pkl", member => member.Write(Pickle(weights, types)));
        Member("byteorder", static member => member.Write("little"u8));
        for (int i = 0; i < types.Length; i++)
        {
            int index = i;
            Member(string.Create(CultureInfo.InvariantCulture, $"data/{index}"), member => WriteElements(weights, weights.Tensors[index], types[index], member));
        }

        Member("version", static member => member.Write("3\n"u8));

        void Member(string name, Action<Stream> write)
        {
            using Stream member = archive.CreateEntry("archive/" + name, CompressionLevel.NoCompression).Open();
            write(member);
        }
    });

    /// <summary>Writes a tensor's elements, little-endian.</summary>
    public static void WriteElements(WeightFile weights, WeightTensor tensor, StoredElement type, Stream stream)
    {
        float[] values = new float[(int)Math.Min(Strip, tensor.Length)];
        byte[] bytes = new byte[values.Length * sizeof(float)];
        for (long start = 0; start < tensor.Length; start += Strip)
        {
            Span<float> part = values.AsSpan(0, (int)Math.Min(Strip, tensor.Length - start));
            weights.ReadFloats(tensor, start, part);
            stream.Write(Stored(part, type, bytes));
        }
    }

    /// <summary>Elements as they are stored: the nearest number of a type, of two equally near ones the even one.</summary>
    public static ReadOnlySpan<byte> Stored(ReadOnlySpan<float> values, StoredElement type, byte[] bytes)
    {
        int size = type == StoredElement.F32 ? sizeof(float) : sizeof(ushort);
        for (int i = 0; i < values.Length; i++)
        {
            Span<byte> target = bytes.AsSpan(i * size, size);
            switch (type)
            {
                case StoredElement.F16:
                    BinaryPrimitives.WriteHalfLittleEndian(target, (Half)values[i]);
                    break;
                case StoredElement.BF16:
                    uint bits = BitConverter.SingleToUInt32Bits(values[i]);
                    BinaryPrimitives.WriteUInt16LittleEndian(target, (ushort)(float.IsNaN(values[i]) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16));
                    break;
                default:
                    BinaryPrimitives.WriteSingleLittleEndian(target, values[i]);
                    break;
            }
        }

        return bytes.AsSpan(0, values.Length * size);
    }

    // A program of Python's pickle machine, protocol 2: an ordered dictionary of tensors, each of a storage of its own.
    private static byte[] Pickle(WeightFile weights, StoredElement[] types)
    {
        using var code = new MemoryStream();
        code.Write([0x80, 2]);
        Dictionary();
        code.WriteByte((byte)'(');
        for (int i = 0; i < types.Length; i++)
        {
            WeightTensor tensor = weights.Tensors[i];
            Text(tensor.Name);
            Global("torch._utils", "_rebuild_tensor_v2");
            code.WriteByte((byte)'(');
            code.WriteByte((byte)'(');
            Text("storage");
            Global("torch", types[i] switch { StoredElement.F16 => "HalfStorage", StoredElement.BF16 => "BFloat16Storage", _ => "FloatStorage" });
            Text(i.ToString(CultureInfo.InvariantCulture));
            Text("cpu");
            Integer(tensor.Length);
            code.Write("tQ"u8);
            Integer(0);
            Integers(tensor.Shape);
            Integers(Strides(tensor.Shape));
            code.WriteByte(0x89);
            Dictionary();
            code.Write("tR"u8);
        }

        code.Write("u."u8);
        return code.ToArray();

        void Global(string module, string name) => code.Write(Encoding.ASCII.GetBytes($"c{module}\n{name}\n"));

        void Dictionary()
        {
            Global("collections", "OrderedDict");
            code.Write(")R"u8);
        }

        void Text(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            Span<byte> length = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
            code.WriteByte((byte)'X');
            code.Write(length);
            code.Write(bytes);
        }

        void Integer(long value)
        {
            Span<byte> bytes = stackalloc byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
            if (value is >= int.MinValue and <= int.MaxValue)
            {
                code.WriteByte((byte)'J');
                code.Write(bytes[..sizeof(int)]);
                return;
            }

            code.Write([0x8A, sizeof(long)]);
            code.Write(bytes);
        }

        void Integers(IEnumerable<long> values)
        {
            code.WriteByte((byte)'(');
            foreach (long value in values)
            {
                Integer(value);
            }

            code.WriteByte((byte)'t');
        }
    }

    private static long[] Strides(IReadOnlyList<long> shape)
    {
        long[] strides = new long[shape.Count];
        long stride = 1;
        for (int i = strides.Length - 1; i >= 0; i--)
        {
            strides[i] = stride;
            stride *= Math.Max(1, shape[i]);
        }

        return strides;
    }
}
