using System.Buffers.Binary;
using System.Text;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

public sealed class SafetensorsTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Fact]
    public void What_is_written_is_read()
    {
        float[] floats = [1.5f, -2, float.NaN, float.PositiveInfinity, float.Epsilon, -0f];
        long[] integers = [long.MinValue, -1, long.MaxValue];
        byte[] bytes = [1, 2, 3, 4, 5];
        var writer = new SafetensorsWriter();
        writer.Metadata["who"] = "quote \" backslash \\ newline \n and Ω";
        writer.Add("bytes", [5], bytes);
        writer.Add("Ω floats", [2, 3], floats);
        writer.Add("integers", [3, 1], integers);
        writer.Add("scalar", [], new float[] { 7 });
        writer.Add("empty", [0, 4], ReadOnlyMemory<float>.Empty);
        writer.Save(_file.Path);

        using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        Assert.Equal(5, file.Tensors.Count);
        Assert.Equal("quote \" backslash \\ newline \n and Ω", Assert.Single(file.Metadata).Value);
        float[] readFloats = new float[6];
        file.ReadFloats(file.Get("Ω floats"), 0, readFloats);
        Assert.Equal(floats.Select(BitConverter.SingleToUInt32Bits), readFloats.Select(BitConverter.SingleToUInt32Bits));
        Assert.Equal<long>([2, 3], file.Get("Ω floats").Shape);
        long[] readIntegers = new long[2];
        file.ReadIntegers(file.Get("integers"), 1, readIntegers);
        Assert.Equal(integers[1..], readIntegers);
        byte[] readBytes = new byte[3];
        file.ReadBytes(file.Get("bytes"), 2, readBytes);
        Assert.Equal(bytes[2..], readBytes);
        Assert.Equal(1, file.Get("scalar").Length);
        Assert.Equal(0, file.Get("empty").Length);
        Assert.Null(file.Find("other"));

        // Everything is aligned, so that the file can be used in place.
        long headerLength = BinaryPrimitives.ReadInt64LittleEndian(File.ReadAllBytes(_file.Path));
        Assert.Equal(0, (8 + headerLength) % 64);
        Assert.All(file.Tensors, tensor => Assert.Equal(0, tensor.Offset % SafetensorsFormat.SizeOf(tensor.Type)));
    }

    [Fact]
    public void Every_element_type_is_converted()
    {
        using var data = new MemoryStream();
        using var binary = new BinaryWriter(data);
        binary.Write((byte)1);
        binary.Write((sbyte)-3);
        binary.Write((Half)1.25);
        binary.Write((ushort)0xC0A0);
        binary.Write(-2.5);
        binary.Write(-70000);
        binary.Write(4000000000u);
        binary.Write((short)-300);
        binary.Write((ushort)65000);
        WriteFile(
            """
            {"b":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},"i8":{"dtype":"I8","shape":[1],"data_offsets":[1,2]},
             "f16":{"dtype":"F16","shape":[1],"data_offsets":[2,4]},"bf16":{"dtype":"BF16","shape":[],"data_offsets":[4,6]},
             "f64":{"dtype":"F64","shape":[1,1],"data_offsets":[6,14]},"i32":{"dtype":"I32","shape":[1],"data_offsets":[14,18]},
             "u32":{"dtype":"U32","shape":[1],"data_offsets":[18,22]},"i16":{"dtype":"I16","shape":[1],"data_offsets":[22,24]},
             "u16":{"dtype":"U16","shape":[1],"data_offsets":[24,26]}}
            """,
            data.ToArray());
        using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        Assert.Equal(1.25f, Float("f16"));
        Assert.Equal(-5f, Float("bf16"));
        Assert.Equal(-2.5f, Float("f64"));
        Assert.Equal(1, Integer("b"));
        Assert.Equal(-3, Integer("i8"));
        Assert.Equal(-70000, Integer("i32"));
        Assert.Equal(4000000000, Integer("u32"));
        Assert.Equal(-300, Integer("i16"));
        Assert.Equal(65000, Integer("u16"));
        Assert.Throws<ModelFileException>(() => Float("i32"));
        Assert.Throws<ModelFileException>(() => Integer("f64"));

        float Float(string name)
        {
            float[] value = new float[1];
            file.ReadFloats(file.Get(name), 0, value);
            return value[0];
        }

        long Integer(string name)
        {
            long[] value = new long[1];
            file.ReadIntegers(file.Get(name), 0, value);
            return value[0];
        }
    }

    [Theory]
    [InlineData(SafetensorsType.F32, GgmlType.F32)]
    [InlineData(SafetensorsType.F16, GgmlType.F16)]
    [InlineData(SafetensorsType.BF16, GgmlType.BF16)]
    public void Rows_are_read_as_they_are_stored(SafetensorsType type, GgmlType same)
    {
        const int Rows = 90, Columns = 300;
        int size = SafetensorsFormat.SizeOf(type);
        byte[] stored = new byte[Rows * Columns * size];
        new Random(8).NextBytes(stored);
        var writer = new SafetensorsWriter();
        writer.Add("a", [Rows, Columns], type, Rows * Columns, stream => stream.Write(stored));
        writer.Save(_file.Path);
        using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        byte[] read = new byte[7 * Columns * size];
        Assert.True(file.TryReadRows(file.Get("a"), same, 5, 7, read));
        Assert.Equal(stored[(5 * Columns * size)..(12 * Columns * size)], read);
        Assert.False(file.TryReadRows(file.Get("a"), GgmlType.Q8_0, 5, 7, read));

        // Strip by strip, and each alone.
        float[] all = new float[(Rows * Columns) - 1];
        file.ReadFloats(file.Get("a"), 1, all);
        foreach (int index in new[] { 0, 8190, 8191, 8192, 16383, all.Length - 1 })
        {
            float[] one = new float[1];
            file.ReadFloats(file.Get("a"), 1 + index, one);
            Assert.Equal(BitConverter.SingleToInt32Bits(one[0]), BitConverter.SingleToInt32Bits(all[index]));
        }
    }

    public static TheoryData<string, string, string> HostileHeaders => new()
    {
        { "no object", "[1]", "header" },
        { "no JSON", "{abc}", "header" },
        { "cut off", """{"a":{"dtype":"F32",""", "header" },
        { "something after", """{} {}""", "header" },
        { "comment", """{/**/}""", "header" },
        { "too deep", """{"a":{"dtype":"F32","shape":[[[[1]]]],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "half a surrogate pair", """{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "header" },
        { "two of one name", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "tensor 'a'" },
        { "two of one name, escaped", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\u0061":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "tensor 'a'" },
        { "two dtypes", """{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "tensor 'a', dtype" },
        { "two shapes", """{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "two offsets", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}}""", "tensor 'a', data_offsets" },
        { "metadata twice", """{"__metadata__":{},"__metadata__":{},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "tensor '__metadata__'" },
        { "metadata no strings", """{"__metadata__":{"k":1},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "__metadata__ 'k'" },
        { "metadata key twice", """{"__metadata__":{"k":"1","k":"2"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "__metadata__ 'k'" },
        { "metadata no object", """{"__metadata__":[],"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "__metadata__" },
        { "tensor no object", """{"a":[]}""", "tensor 'a'" },
        { "unknown field", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}""", "tensor 'a'" },
        { "no dtype", """{"a":{"shape":[1],"data_offsets":[0,4]}}""", "tensor 'a'" },
        { "no shape", """{"a":{"dtype":"F32","data_offsets":[0,4]}}""", "tensor 'a'" },
        { "no offsets", """{"a":{"dtype":"F32","shape":[1]}}""", "tensor 'a'" },
        { "bad dtype", """{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}""", "tensor 'a', dtype" },
        { "dtype no string", """{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}""", "tensor 'a', dtype" },
        { "negative extent", """{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "fractional extent", """{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "huge extent", """{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "product overflows", """{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "product overflows to the right size", """{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}""", "tensor 'a', shape" },
        { "product overflows but for a zero", """{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}""", "tensor 'a', shape" },
        { "shape too large", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "tensor 'a', data_offsets" },
        { "shape too small", """{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}""", "tensor 'a', data_offsets" },
        { "offsets reversed", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", "tensor 'a', data_offsets" },
        { "offsets negative", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", "tensor 'a', data_offsets" },
        { "offsets beyond the end", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", "tensor 'a', data_offsets" },
        { "offsets huge", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}}""", "tensor 'a', data_offsets" },
        { "three offsets", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2,4]}}""", "tensor 'a', data_offsets" },
        { "one offset", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}""", "tensor 'a', data_offsets" },
        { "overlap", """{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "tensor 'b', data_offsets" },
        { "same place", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "tensor 'b', data_offsets" },
        { "gap", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}""", "tensor 'b', data_offsets" },
        { "gap at the start", """{"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}""", "tensor 'a', data_offsets" },
        { "data left over", """{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}""", "data" },
        { "no tensors but data", "{}", "data" },
    };

    [Theory]
    [MemberData(nameof(HostileHeaders))]
    public void Hostile_headers_are_refused(string what, string header, string field)
    {
        WriteFile(header, new byte[4]);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path));
        Assert.True(field == exception.Field, $"{what}: {exception.Message}");
        Assert.Equal(_file.Path, exception.Path);
        Assert.Contains(exception.Expected, exception.Message, StringComparison.Ordinal);
        Assert.Contains(exception.Found, exception.Message, StringComparison.Ordinal);

        // The file is closed again.
        File.Delete(_file.Path);
    }

    [Theory]
    [InlineData(100_000_001ul)]
    [InlineData(ulong.MaxValue)]
    [InlineData(1ul << 63)]
    [InlineData(0ul)]
    [InlineData(1ul)]
    [InlineData(21ul)]
    public void Hostile_header_lengths_are_refused(ulong length)
    {
        byte[] file = new byte[8 + 20];
        BinaryPrimitives.WriteUInt64LittleEndian(file, length);
        Encoding.UTF8.GetBytes("{}                  ").CopyTo(file, 8);
        File.WriteAllBytes(_file.Path, file);
        Assert.Equal("header length", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Field);
    }

    [Fact]
    public void Bytes_that_are_not_UTF8_are_refused()
    {
        byte[] header = Encoding.UTF8.GetBytes("""{"aa":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""");
        header[2] = 0xC3;
        header[3] = 0x28;
        WriteFile(header, new byte[4]);
        Assert.Equal("header", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Field);
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_refused()
    {
        var writer = new SafetensorsWriter();
        writer.Metadata["k"] = "v";
        writer.Add("a", [3], new float[] { 1, 2, 3 });
        writer.Add("b", [5], new byte[5]);
        writer.Save(_file.Path);
        byte[] whole = File.ReadAllBytes(_file.Path);
        SafetensorsFile.Open(_file.Path).Dispose();
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(_file.Path, whole[..length]);
            Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path));
        }

        File.WriteAllBytes(_file.Path, [.. whole, 0]);
        Assert.Equal("data", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Field);
    }

    [Fact]
    public void A_file_with_any_bit_of_its_header_flipped_is_refused_or_still_consistent()
    {
        var writer = new SafetensorsWriter();
        writer.Metadata["k"] = "v";
        writer.Add("a", [3, 2], new float[6]);
        writer.Add("b", [5], new byte[5]);
        writer.Save(_file.Path);
        byte[] whole = File.ReadAllBytes(_file.Path);
        int header = 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(whole);
        for (int bit = 0; bit < header * 8; bit++)
        {
            byte[] damaged = [.. whole];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(_file.Path, damaged);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
                Assert.Equal(whole.Length - header, file.Tensors.Sum(static tensor => tensor.ByteLength));
                foreach (SafetensorsTensor tensor in file.Tensors)
                {
                    file.ReadBytes(tensor, 0, new byte[tensor.ByteLength]);
                }
            }
            catch (ModelFileException)
            {
                // Refused, as it should be.
            }
        }
    }

    [Fact]
    public void Names_from_a_file_are_shown_without_control_characters()
    {
        WriteFile($$"""{"\u001b[31m\n{{new string('x', 5000)}}":1}""", []);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path));
        Assert.DoesNotContain('\u001b', exception.Message);
        Assert.DoesNotContain('\n', exception.Message);
        Assert.True(exception.Message.Length < 500);
    }

    [Fact]
    public void Reading_stays_inside_the_tensor()
    {
        var writer = new SafetensorsWriter();
        writer.Add("a", [4], new float[] { 1, 2, 3, 4 });
        writer.Save(_file.Path);
        SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        SafetensorsTensor tensor = file.Get("a");
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats(tensor, 1, new float[4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats(tensor, -1, new float[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats(tensor, long.MaxValue, new float[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadBytes(tensor, 16, new byte[1]));
        Assert.Throws<ArgumentException>(() => file.ReadFloats(tensor with { Offset = 1000 }, 0, new float[4]));
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.ReadFloats(tensor, 0, new float[4]));
    }

    [Fact]
    public void The_writer_refuses_what_would_not_be_a_valid_file()
    {
        var writer = new SafetensorsWriter();
        writer.Add("a", [2], new float[2]);
        Assert.Throws<ArgumentException>(() => writer.Add("a", [2], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add("b", [3], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add("__metadata__", [2], new float[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => writer.Add("b", [-1, -2], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add("b", [int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add("b", [int.MaxValue, int.MaxValue, int.MaxValue, 0], Array.Empty<float>()));
        Assert.Throws<ArgumentException>(() => writer.Add("b", [0, int.MaxValue, int.MaxValue, int.MaxValue], Array.Empty<float>()));
        writer.Add("empty", [int.MaxValue, 0], Array.Empty<float>());

        // What the reader would refuse.
        int[] extents = new int[65];
        Array.Fill(extents, 1);
        Assert.Throws<ArgumentException>(() => writer.Add("b", extents, new float[1]));
        Assert.Throws<ArgumentException>(() => writer.Add(new string('b', 2049), [1], new float[1]));
        Assert.Throws<ArgumentException>(() => writer.Add("\ud800", [1], new float[1]));
        writer.Add(new string('\u001b', 2048 / 6), extents.AsSpan(0, 64), new float[1]);
        writer.Save(_file.Path);
        SafetensorsFile.Open(_file.Path).Dispose();
        writer.Metadata[new string('é', 2048 / 6)] = "";
        writer.Save(_file.Path);
        SafetensorsFile.Open(_file.Path).Dispose();
        foreach (string? value in new[] { null, "\ud800" })
        {
            writer.Metadata["a"] = value!;
            Assert.Throws<ArgumentException>(() => writer.Save(_file.Path));
        }

        writer.Metadata["a"] = "";
        writer.Metadata[new string('é', (2048 / 6) + 1)] = "";
        Assert.Throws<InvalidOperationException>(() => writer.Save(_file.Path));
        SafetensorsFile.Open(_file.Path).Dispose();
    }

    private void WriteFile(string header, byte[] data) => WriteFile(Encoding.UTF8.GetBytes(header), data);

    private void WriteFile(byte[] header, byte[] data)
    {
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        File.WriteAllBytes(_file.Path, [.. prefix, .. header, .. data]);
    }
}
