using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Weight files of other libraries (<c>tests/fixtures/make_weight_files.py</c>), and what is wrong with damaged and hostile ones.</summary>
public sealed class OtherWeightFilesTests : IDisposable
{
    private static readonly (string Name, long[] Shape)[] s_tensors = [("embed.weight", [7, 6]), ("layers.0.weight", [5, 6]), ("layers.0.bias", [5]), ("scalar", [])];

    private readonly TemporaryFile _file = new();

    private string Folder => Path.GetDirectoryName(_file.Path)!;

    public static TheoryData<string> Fixtures => ["weights.pt", "weights-checkpoint.pt", "weights.npz", "weights-deflated.npz", "weights-llmc.bin", "weights-llmc-bf16.bin"];

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData("weights.pt", WeightFileFormat.PyTorch)]
    [InlineData("weights.npz", WeightFileFormat.NumPy)]
    [InlineData("weights-deflated.npz", WeightFileFormat.NumPy)]
    public void Tensors_have_their_names_shapes_and_numbers(string name, WeightFileFormat format)
    {
        using WeightFile file = WeightFile.Open(SourceTree.Fixture(name));
        Assert.Equal(format, file.Format);
        for (int k = 0; k < s_tensors.Length; k++)
        {
            WeightTensor tensor = file.Find(s_tensors[k].Name)!;
            Assert.Equal(s_tensors[k].Shape, tensor.Shape);
            Assert.Equal(Numbers(k, (int)tensor.Length), Read(file, tensor.Name));
        }
    }

    [Fact]
    public void Pytorch_checkpoints_give_the_model_whatever_its_tensors_are_views_of()
    {
        using WeightFile file = WeightFile.Open(SourceTree.Fixture("weights-checkpoint.pt"));
        Assert.Equal(["half", "bfloat", "double", "parameter", "transposed", "rows", "columns", "steps", "inner.bias", "float8"], file.Tensors.Select(t => t.Name));
        Assert.Equal(["F16", "BF16", "F64", "F32", "F32", "F32", "F32", "I64", "F32", "F8_E4M3"], file.Tensors.Select(t => t.TypeName));
        float[] embed = Numbers(0, 42), weight = Numbers(1, 30), bias = Numbers(2, 5);
        Assert.Equal(embed, Read(file, "half"));
        Assert.Equal(weight, Read(file, "bfloat"));
        Assert.Equal(bias, Read(file, "double"));
        Assert.Equal(embed, Read(file, "parameter"));
        Assert.Equal([6L, 5L], file.Find("transposed")!.Shape);
        Assert.Equal(Enumerable.Range(0, 30).Select(i => weight[(i % 5 * 6) + (i / 5)]), Read(file, "transposed"));
        Assert.Equal(embed, Read(file, "rows"));
        Assert.Equal(Enumerable.Range(0, 21).Select(i => embed[(i / 3 * 6) + 1 + (i % 3)]), Read(file, "columns"));
        Assert.Equal(bias, Read(file, "inner.bias"));
        foreach ((float expected, float found) in bias.Zip(Read(file, "float8")))
        {
            Assert.InRange(found, expected - (Math.Abs(expected) / 16), expected + (Math.Abs(expected) / 16));
        }

        // From the middle, across rows.
        float[] part = new float[7];
        file.ReadFloats(file.Find("transposed")!, 3, part);
        Assert.Equal(Read(file, "transposed")[3..10], part);
        Assert.Throws<ModelFileException>(() => file.ReadFloats(file.Find("steps")!, 0, new float[2]));
    }

    [Fact]
    public void Deflated_arrays_are_read_in_any_order()
    {
        using WeightFile file = WeightFile.Open(SourceTree.Fixture("weights-deflated.npz"));
        WeightTensor tensor = file.Find("large")!;
        float[] expected = Numbers(3, 30_000), found = new float[1300];
        foreach (int start in new[] { 0, 1300, 20_000, 5, 5, 28_700, 0 })
        {
            file.ReadFloats(tensor, start, found);
            Assert.Equal(expected.AsSpan(start, found.Length).ToArray(), found);
        }
    }

    [Theory]
    [InlineData("weights-llmc.bin", 32)]
    [InlineData("weights-llmc-bf16.bin", 16)]
    public void Llmc_files_are_gpt2_checkpoints(string name, int bits)
    {
        using WeightFile file = WeightFile.Open(SourceTree.Fixture(name));
        Assert.Equal(WeightFileFormat.Llmc, file.Format);
        Assert.Equal(28, file.Tensors.Count);
        Assert.All(file.Tensors, tensor => Assert.Equal(tensor.Length * bits / 8, tensor.ByteLength));
        float[] table = Numbers(0, 16 * 6);
        Assert.Equal([11L, 6L], file.Find("transformer.wte.weight")!.Shape);
        Assert.Equal(table[..66], Read(file, "transformer.wte.weight"));
        Assert.Equal(Numbers(1, 54), Read(file, "transformer.wpe.weight"));
        float[] qkv = Numbers(4, 2 * 18 * 6), second = qkv[108..];
        Assert.Equal([6L, 18L], file.Find("transformer.h.1.attn.c_attn.weight")!.Shape);
        Assert.Equal(Enumerable.Range(0, 108).Select(i => second[(i % 18 * 6) + (i / 18)]), Read(file, "transformer.h.1.attn.c_attn.weight"));
        Assert.Equal(Numbers(13, 12)[6..], Read(file, "transformer.h.1.mlp.c_proj.bias"));
        Assert.Equal(Numbers(15, 6), Read(file, "transformer.ln_f.bias"));
    }

    [Fact]
    public void Several_safetensors_files_are_one_by_their_index()
    {
        string index = WriteShards("""{"metadata":{"total_size":12},"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"one.safetensors"}}""");
        using WeightFile file = WeightFile.Open(index);
        Assert.Equal(["a", "b", "c"], file.Tensors.Select(t => t.Name));
        Assert.Equal([1f, 2f, 3f], Read(file, "b"));
        Assert.Equal([5f], Read(file, "c"));
    }

    [Theory]
    [InlineData("""{"weight_map":{"a":"one.safetensors","d":"two.safetensors","e":"one.safetensors"}}""", "weight_map 'd'")]
    [InlineData("""{"weight_map":{"a":"../one.safetensors"}}""", "weight_map")]
    [InlineData("""{"weight_map":{"a":"/etc/passwd"}}""", "weight_map")]
    [InlineData("""{"weight_map":{"a":".."}}""", "weight_map")]
    [InlineData("""{"weight_map":{"a":""}}""", "weight_map")]
    [InlineData("""{"weight_map":{"a":"one.safetensors","a":"one.safetensors"}}""", "weight_map 'a'")]
    [InlineData("""{"weight_map":{"a":3}}""", "weight_map 'a'")]
    [InlineData("""{"weight_map":[]}""", "weight_map")]
    [InlineData("""{"weight_map":{},"weight_map":{}}""", "weight_map")]
    [InlineData("""{"metadata":{}}""", "weight_map")]
    [InlineData("""{"weight_map":{"a":"one.safetensors"}""", "file")]
    [InlineData("""{"weight_map":{}} x""", "file")]
    public void An_index_that_is_wrong_is_refused(string text, string field) => Assert.Equal(field, Assert.Throws<ModelFileException>(() => WeightFile.Open(WriteShards(text))).Field);

    [Theory]
    [InlineData("cos\nsystem\n(X\x02\0\0\0lstR.", "data.pkl, global", "'os system'")]
    [InlineData("cbuiltins\neval\n.", "data.pkl, global", "'builtins eval'")]
    [InlineData("cbuiltins\n__import__\nX\x02\0\0\0os\x85R.", "data.pkl, global", "'builtins __import__'")]
    [InlineData("\x8C\x02os\x8C\x06system\x93.", "data.pkl, global", "'os system'")]
    [InlineData("ctorch\nFloatStorage\n)R.", "data.pkl, call", "'torch FloatStorage' of other arguments")]
    [InlineData("ccollections\nOrderedDict\n)\x81.", "data.pkl, instruction", "0x81 at 26")]
    [InlineData("N.", "data.pkl, contents", "nothing")]
    [InlineData("}", "data.pkl, length", null)]
    [InlineData("h\x05.", "data.pkl, memo", null)]
    [InlineData("t.", "data.pkl, stack", null)]
    [InlineData("\x86.", "data.pkl, stack", null)]
    [InlineData("}}.", "data.pkl, end", null)]
    [InlineData("}(N.", "data.pkl, end", null)]
    [InlineData("}NNs.", "data.pkl, keys", null)]
    [InlineData("]NNs.", "data.pkl, entries", null)]
    [InlineData("}Na.", "data.pkl, elements", null)]
    [InlineData("}NQ.", "data.pkl, persistent id", null)]
    [InlineData("}X\xff\xff\xff\xff.", "data.pkl, length", null)]
    [InlineData("}\x8a\x09xxxxxxxxx.", "data.pkl, integer", null)]
    [InlineData("\x80\x07}.", "data.pkl, protocol", null)]
    public void Pickles_that_do_more_than_hold_tensors_are_refused(string program, string field, string? found)
    {
        WriteZip(("m/data.pkl", [.. program.Select(c => (byte)c)]));
        ModelFileException exception = Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path));
        Assert.Equal(field, exception.Field);
        Assert.Equal(found ?? exception.Found, exception.Found);
    }

    [Fact]
    public void Dictionaries_that_hold_themselves_or_many_others_end()
    {
        // d = {}; d['d'] = d; and thirty dictionaries, each of which has the one before twice.
        byte[] itself = [.. "}q\0X\x01\0\0\0dh\0s."u8];
        WriteZip(("m/data.pkl", itself));
        Assert.Equal("data.pkl, contents", Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path)).Field);
        var program = new List<byte>("}"u8.ToArray());
        for (byte i = 0; i < 30; i++)
        {
            program.AddRange([(byte)'q', i, (byte)'0', .. "}X\x01\0\0\0ah"u8, i, (byte)'s', .. "X\x01\0\0\0bh"u8, i, (byte)'s']);
        }

        program.Add((byte)'.');
        WriteZip(("m/data.pkl", [.. program.Where(b => b != (byte)'0')]));
        Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path));
    }

    [Fact]
    public void What_a_pickle_costs_is_bounded_by_its_length()
    {
        foreach (string instruction in new[] { "}", "]", ")", "N", "(", "(t", "N\x85", "K\x07", "K\x07q\0", "K\x07\x94", "M\0\x01", "X\0\0\0\0", "\x88", "G\0\0\0\0\0\0\0\0" })
        {
            byte[] bytes = [.. Enumerable.Repeat(instruction, 1_000_000 / instruction.Length).SelectMany(static text => text.Select(static c => (byte)c))];
            WriteZip(("m/data.pkl", bytes));
            long before = GC.GetAllocatedBytesForCurrentThread();
            Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path));
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 24 * bytes.Length);
        }
    }

    [Theory]
    [InlineData("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", "fortran_order")]
    [InlineData("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }", "descr")]
    [InlineData("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }", "descr")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", "shape")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807, 4), }", "shape")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }", "header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, }", "header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'shape': (4,), }", "header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os'), }", "header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)", "header")]
    public void Numpy_headers_that_are_wrong_are_refused(string header, string field)
    {
        byte[] text = Encoding.ASCII.GetBytes(header + "\n");
        WriteZip(("a.npy", [0x93, .. "NUMPY"u8, 1, 0, (byte)text.Length, 0, .. text, .. new byte[16]]));
        Assert.Equal($"member 'a.npy', {field}", Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path)).Field);
    }

    [Fact]
    public void A_deflated_array_that_says_more_than_it_has_is_refused()
    {
        byte[] bytes = File.ReadAllBytes(SourceTree.Fixture("weights-deflated.npz"));
        int entry = bytes.AsSpan().IndexOf("PK\x01\x02"u8);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(entry + 24), uint.MaxValue - 1);
        File.WriteAllBytes(_file.Path, bytes);
        Assert.EndsWith(", length", Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path)).Field, StringComparison.Ordinal);
    }

    /// <summary>Cut off anywhere, each integer of the headers wrong, and bytes turned at random: a clear exception or tensors within the file, and never more memory than the file has bytes for.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Damaged_files_are_refused_or_read(string name)
    {
        byte[] whole = File.ReadAllBytes(SourceTree.Fixture(name));
        int refused = 0, read = 0;
        for (int length = 0; length < whole.Length; length += length < 64 ? 1 : 64)
        {
            Try(whole[..length]);
        }

        Assert.Equal(0, read);
        uint[] values = [0, 1, uint.MaxValue, int.MaxValue, 0x8000_0000, 0xFFFF, 0x10000];
        for (int at = 0; at + 4 <= whole.Length; at += at < 64 ? 1 : 29)
        {
            foreach (uint value in values)
            {
                byte[] changed = [.. whole];
                BinaryPrimitives.WriteUInt32LittleEndian(changed.AsSpan(at), value);
                Try(changed);
            }
        }

        var random = new Random(5);
        for (int i = 0; i < 600; i++)
        {
            byte[] changed = [.. whole];
            for (int times = random.Next(4); times >= 0; times--)
            {
                changed[random.Next(3) == 0 ? random.Next(whole.Length) : whole.Length - 1 - random.Next(Math.Min(whole.Length, 1600))] = (byte)random.Next(256);
            }

            Try(changed);
        }

        Assert.NotEqual(0, refused);

        void Try(byte[] bytes)
        {
            File.WriteAllBytes(_file.Path, bytes);
            try
            {
                using WeightFile file = WeightFile.Open(_file.Path);
                float[] strip = new float[512];
                foreach (WeightTensor tensor in file.Tensors.Where(static tensor => tensor.IsFloat))
                {
                    Assert.InRange(tensor.Length, 0, 1100L * (bytes.Length + 1));
                    for (long start = 0; start < tensor.Length; start += strip.Length)
                    {
                        file.ReadFloats(tensor, start, strip.AsSpan(0, (int)Math.Min(strip.Length, tensor.Length - start)));
                    }
                }

                read++;
            }
            catch (ModelFileException)
            {
                refused++;
            }
        }
    }

    [Fact]
    public void A_file_of_an_old_pytorch_is_told_apart()
    {
        File.WriteAllBytes(_file.Path, [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, .. ".\x80\x02M\xE9\x03."u8]);
        Assert.Equal("an older one", Assert.Throws<ModelFileException>(() => WeightFile.Open(_file.Path)).Found);
    }

    /// <summary>The length of a header, which a safetensors file begins with, may be any number that another format begins with.</summary>
    [Theory]
    [InlineData(0x0280)]
    [InlineData(0x0580)]
    [InlineData(20240326)]
    [InlineData(0x04034B50)]
    public void Safetensors_files_are_told_by_more_than_their_length(int length)
    {
        byte[] header = [.. "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"u8];
        byte[] bytes = new byte[sizeof(long) + length + sizeof(float)];
        bytes.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        header.CopyTo(bytes, sizeof(long));
        BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(sizeof(long) + length), 3);
        File.WriteAllBytes(_file.Path, bytes);
        using WeightFile file = WeightFile.Open(_file.Path);
        Assert.Equal(WeightFileFormat.Safetensors, file.Format);
        Assert.Equal([3f], Read(file, "a"));
    }

    [Fact]
    public void Eight_bit_floats_are_those_of_their_definition()
    {
        // Table 1 of Micikevicius et al. 2022: bias 7 and 15, the least and the largest numbers.
        (byte Bits, float Value)[] e4m3 = [(0x00, 0), (0x01, 1f / 512), (0x07, 7f / 512), (0x08, 1f / 64), (0x38, 1), (0x39, 1.125f), (0x7E, 448), (0xB8, -1), (0xFE, -448), (0x7F, float.NaN), (0xFF, float.NaN)];
        (byte Bits, float Value)[] e5m2 = [(0x00, 0), (0x01, 1f / 65536), (0x04, 1f / 16384), (0x3C, 1), (0x3D, 1.25f), (0x7B, 57344), (0xBC, -1), (0x7C, float.PositiveInfinity), (0x7E, float.NaN)];
        int first = e4m3.Length, second = first + e5m2.Length;
        string header = string.Create(CultureInfo.InvariantCulture, $"{{\"a\":{{\"dtype\":\"F8_E4M3\",\"shape\":[{first}],\"data_offsets\":[0,{first}]}},\"b\":{{\"dtype\":\"F8_E5M2\",\"shape\":[{e5m2.Length}],\"data_offsets\":[{first},{second}]}}}}");
        byte[] text = Encoding.UTF8.GetBytes(header);
        File.WriteAllBytes(_file.Path, [.. BitConverter.GetBytes((long)text.Length), .. text, .. e4m3.Select(e => e.Bits), .. e5m2.Select(e => e.Bits)]);
        using WeightFile file = WeightFile.Open(_file.Path);
        Assert.Equal(e4m3.Select(e => e.Value), Read(file, "a"));
        Assert.Equal(e5m2.Select(e => e.Value), Read(file, "b"));
    }

    [Theory]
    [InlineData(SafetensorsType.F8E4M3, 448)]
    [InlineData(SafetensorsType.F8E5M2, 57344)]
    public void Eight_bit_floats_are_written_as_the_nearest(SafetensorsType type, float largest)
    {
        // All numbers of the type, by the reader that is tested against the definition.
        string header = $"{{\"a\":{{\"dtype\":\"{(type == SafetensorsType.F8E4M3 ? "F8_E4M3" : "F8_E5M2")}\",\"shape\":[128],\"data_offsets\":[0,128]}}}}";
        File.WriteAllBytes(_file.Path, [.. BitConverter.GetBytes((long)header.Length), .. Encoding.UTF8.GetBytes(header), .. Enumerable.Range(0, 128).Select(static bits => (byte)bits)]);
        float[] all;
        using (WeightFile file = WeightFile.Open(_file.Path))
        {
            all = [.. Read(file, "a").Where(float.IsFinite)];
        }

        Assert.Equal(largest, all[^1]);
        var random = new Random(5);
        float[] values =
        [
            .. all, .. all.Zip(all.Skip(1), static (low, high) => (low + high) / 2), .. all.Select(static value => MathF.BitIncrement(value)), .. all.Select(static value => -value), 1e30f, float.PositiveInfinity, -1e-30f,
            .. Enumerable.Range(0, 3000).Select(_ => (float)((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-20, 18)))),
        ];
        var writer = new SafetensorsWriter();
        writer.Add("a", [values.Length], type, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        writer.Add("nan", [1], type, static (_, destination) => destination.Fill(float.NaN));
        writer.Save(_file.Path);
        using WeightFile written = WeightFile.Open(_file.Path);
        float[] found = Read(written, "a");
        for (int i = 0; i < values.Length; i++)
        {
            // The nearest, and of two the one whose bits are even.
            float expected = Enumerable.Range(0, all.Length).OrderBy(bits => Math.Abs((double)all[bits] - Math.Abs((double)values[i]))).ThenBy(static bits => bits & 1).Select(bits => all[bits]).First();
            expected = Math.Abs(values[i]) > largest ? largest : expected;
            Assert.Equal(MathF.CopySign(expected, values[i]), found[i]);
            Assert.Equal(float.IsNegative(values[i]), float.IsNegative(found[i]));
        }

        Assert.True(float.IsNaN(Read(written, "nan")[0]));
    }

    private static float[] Numbers(int k, int count) => [.. Enumerable.Range(0, count).Select(i => ((((i * 37) + (k * 11)) % 64) - 32) / 16f)];

    private static float[] Read(WeightFile file, string name)
    {
        WeightTensor tensor = file.Find(name)!;
        float[] values = new float[tensor.Length];
        file.ReadFloats(tensor, 0, values);
        return values;
    }

    private string WriteShards(string index)
    {
        var one = new SafetensorsWriter();
        one.Add("a", [2], new float[] { 7, 8 });
        one.Add("c", [1], new float[] { 5 });
        one.Save(Path.Combine(Folder, "one.safetensors"));
        var two = new SafetensorsWriter();
        two.Add("b", [3], new float[] { 1, 2, 3 });
        two.Save(Path.Combine(Folder, "two.safetensors"));
        File.WriteAllText(_file.Path + ".index.json", index);
        return _file.Path + ".index.json";
    }

    private void WriteZip(params (string Name, byte[] Bytes)[] members)
    {
        File.Delete(_file.Path);
        using ZipArchive archive = ZipFile.Open(_file.Path, ZipArchiveMode.Create);
        foreach ((string name, byte[] bytes) in members)
        {
            using Stream stream = archive.CreateEntry(name, CompressionLevel.NoCompression).Open();
            stream.Write(bytes);
        }
    }

    // Whoever asks for an earlier element has all before it inflated again: several threads with pieces of one array would do that over and over.
    [Fact]
    public unsafe void Compressed_arrays_are_read_from_their_beginning_to_their_end_once()
    {
        const int Length = 5_000_011;
        byte[] header = Encoding.ASCII.GetBytes($"{{'descr': '<f4', 'fortran_order': False, 'shape': ({Length},), }}".PadRight(117) + "\n");
        float[] numbers = [.. Enumerable.Range(0, Length).Select(static i => (float)(i / 1000))];
        using (var zip = new ZipArchive(File.Create(_file.Path), ZipArchiveMode.Create))
        using (Stream member = zip.CreateEntry("big.npy", CompressionLevel.Fastest).Open())
        {
            member.Write([0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0, .. header]);
            member.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(numbers.AsSpan()));
        }

        var table = new ParameterTable("Big", new ParameterInfo("big", [Length], 0, TransposedInFile: false, ParameterInitializerKind.Zeros, 0, WeightDecay: false));
        using var file = new Recorded(WeightFile.Open(_file.Path));
        float[] read = new float[table.TotalLength];
        fixed (float* block = read)
        {
            ParameterFiles.Read(file, table, TensorMap.Find(file, table, null), block);
        }

        Assert.Equal(numbers, read[..Length]);
        Assert.True(file.Reads.Count > 1);
        Assert.Equal(file.Reads.Order(), file.Reads);
        Assert.Single(file.Threads);
    }

    /// <summary>A file that notes what is read of it.</summary>
    private sealed class Recorded(WeightFile file) : WeightFile
    {
        private readonly Lock _sync = new();

        public List<long> Reads { get; } = [];

        public HashSet<int> Threads { get; } = [];

        public override string Path => file.Path;

        public override WeightFileFormat Format => file.Format;

        public override IReadOnlyList<WeightTensor> Tensors => file.Tensors;

        public override IReadOnlyDictionary<string, string> Metadata => file.Metadata;

        public override WeightTensor? Find(string name) => file.Find(name);

        public override void ReadFloats(WeightTensor tensor, long start, Span<float> destination)
        {
            lock (_sync)
            {
                Reads.Add(start);
                Threads.Add(Environment.CurrentManagedThreadId);
            }

            file.ReadFloats(tensor, start, destination);
        }

        internal override bool IsReadInOrder(WeightTensor tensor) => file.IsReadInOrder(tensor);

        private protected override void Close() => file.Dispose();
    }
}
