using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Files that others truncate or change while they are open: a clear exception, whatever the format, and never the end of the process.</summary>
public sealed class ChangedFileTests : IDisposable
{
    private const int Rows = 96, Columns = 1024;

    private readonly TemporaryFile _file = new();

    private string Folder => Path.GetDirectoryName(_file.Path)!;

    public static TheoryData<string> Formats =>
    [
        "gguf", "gguf-halves", "gguf-blocks", "safetensors", "safetensors-halves", "safetensors-doubles", "safetensors-index", "llama2c",
        "weights.pt", "weights-checkpoint.pt", "weights.npz", "weights-deflated.npz", "weights-llmc.bin", "weights-llmc-bf16.bin",
    ];

    public void Dispose() => _file.Dispose();

    [Theory]
    [MemberData(nameof(Formats))]
    public void Weights_of_a_file_that_becomes_shorter_are_an_exception_or_what_is_still_there(string format)
    {
        SkipOnWindows();
        (string path, string truncated) = Write(format);
        byte[] whole = File.ReadAllBytes(truncated);
        Dictionary<string, float[]> expected;
        using (WeightFile file = WeightFile.Open(path))
        {
            expected = file.Tensors.Where(static tensor => tensor.IsFloat).ToDictionary(static tensor => tensor.Name, tensor => Read(file, tensor));
        }

        int failed = 0;
        foreach (int length in (int[])[0, 1, whole.Length / 4, whole.Length / 2, whole.Length - 1])
        {
            using WeightFile file = WeightFile.Open(path);
            Truncate(truncated, length);
            int failedHere = 0;
            foreach ((string name, float[] values) in expected)
            {
                try
                {
                    Assert.Equal(values, Read(file, file.Find(name)!));
                }
                catch (ModelFileException exception)
                {
                    Assert.Equal("length", exception.Field);
                    Assert.Contains("truncated meanwhile", exception.Message, StringComparison.Ordinal);
                    failedHere++;
                }
            }

            Assert.True(length > 0 || failedHere > 0, "nothing was left, and nothing failed");
            failed += failedHere;
            file.Dispose();
            File.WriteAllBytes(truncated, whole);
        }

        Assert.True(failed > expected.Count / 2, $"{failed} reads failed");
    }

    [Fact]
    public void Metadata_of_a_file_that_becomes_shorter_are_an_exception()
    {
        SkipOnWindows();
        Write("gguf");
        using GgufFile file = GgufFile.Open(_file.Path);
        using var writer = new MemoryStream();
        Truncate(_file.Path, 40);
        Action<GgufValue>[] reads =
        [
            static value => value.ToString(), static value => value.AsText(), static value => value.AsInteger(), static value => value.AsReal(), static value => value.AsFlag(),
            static value => value.Texts(), static value => value.TextBytes(), static value => value.Integers(), static value => value.Reals(), static value => value.Flags(), value => value.CopyTo(writer),
        ];
        foreach ((string key, GgufValue value) in file.Values)
        {
            int failed = 0;
            foreach (Action<GgufValue> read in reads)
            {
                try
                {
                    read(value);
                }
                catch (InvalidOperationException)
                {
                    // Of another type.
                }
                catch (ModelFileException exception)
                {
                    Assert.Equal("length", exception.Field);
                    failed++;
                }
            }

            Assert.True(failed > 0, key);
        }

        Assert.Throws<ModelFileException>(() => file.Metadata);
    }

    /// <summary>The length of a text was right when the file was opened.</summary>
    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(1UL << 31)]
    [InlineData(1000UL)]
    [InlineData(10UL)]
    public void A_text_whose_length_is_changed_meanwhile_is_refused(ulong length)
    {
        Write("gguf");
        byte[] bytes = File.ReadAllBytes(_file.Path);
        int at = bytes.AsSpan().IndexOf("fifth"u8) - sizeof(ulong);
        using GgufFile file = GgufFile.Open(_file.Path);
        Assert.Equal(["first", "", "fifth"], file.Values["a.texts"].Texts());
        using (FileStream stream = OpenToChange(_file.Path))
        {
            stream.Position = at;
            stream.Write(BitConverter.GetBytes(length));
        }

        foreach (Action read in (Action[])[() => file.Values["a.texts"].Texts(), () => file.Values["a.texts"].TextBytes()])
        {
            ModelFileException exception = Assert.Throws<ModelFileException>(read);
            Assert.Equal("metadata 'a.texts', length", exception.Field);
            Assert.Contains("changed meanwhile", exception.Found, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Integers_of_a_file_that_becomes_shorter_are_an_exception()
    {
        SkipOnWindows();
        var writer = new SafetensorsWriter();
        long[] numbers = [.. Enumerable.Range(0, 20_000).Select(static i => (long)i * i)];
        writer.Add("n", [numbers.Length], SafetensorsType.I64, numbers.Length, stream => stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(numbers.AsSpan())));
        writer.Save(_file.Path);
        using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
        long[] read = new long[numbers.Length];
        file.ReadIntegers(file.Get("n"), 0, read);
        Assert.Equal(numbers, read);
        Truncate(_file.Path, 100_000);
        Assert.Equal("length", Assert.Throws<ModelFileException>(() => file.ReadIntegers(file.Get("n"), 0, read)).Field);
        file.ReadIntegers(file.Get("n"), 5, read.AsSpan(0, 100));
        Assert.Equal(numbers[5..105], read[..100]);
    }

    [Theory]
    [InlineData(TokenStorage.UInt8, 1)]
    [InlineData(TokenStorage.UInt16, 2)]
    [InlineData(TokenStorage.Int32, 4)]
    public void Tokens_of_a_file_that_becomes_shorter_are_an_exception(TokenStorage storage, int size)
    {
        SkipOnWindows();
        const int Offset = 3, Count = 50_000;
        byte[] bytes = [1, 2, 3, .. Enumerable.Range(0, Count).SelectMany(i => BitConverter.GetBytes(i % 251)[..size])];
        File.WriteAllBytes(_file.Path, bytes);
        using TokenDataset data = TokenDataset.FromFile(_file.Path, storage, Offset);
        int[] tokens = new int[Count];
        data.CopyTo(0, tokens);
        Assert.Equal(Enumerable.Range(0, Count).Select(static i => i % 251), tokens);
        Truncate(_file.Path, Offset + (1000 * size));
        Assert.Contains("truncated meanwhile", Assert.Throws<InvalidDataException>(() => data.CopyTo(500, tokens.AsSpan(0, 501))).Message, StringComparison.Ordinal);
        data.CopyTo(500, tokens.AsSpan(0, 500));
        Assert.Equal(Enumerable.Range(500, 500).Select(static i => i % 251), tokens[..500]);
        Truncate(_file.Path, 0);
        Assert.Throws<InvalidDataException>(() => data.CopyTo(0, tokens.AsSpan(0, 1)));
    }

    /// <summary>Matrices whose elements lie in a file in another order, in panels that are smaller, larger and of other shapes than they are, and with more between their elements than is read with them.</summary>
    [Fact]
    public void Elements_with_strides_are_put_in_order_panel_by_panel()
    {
        var random = new Random(3);
        float[] stored = [.. Enumerable.Range(0, 60_100).Select(static i => (float)i)];
        File.WriteAllBytes(_file.Path, [.. new byte[12], .. System.Runtime.InteropServices.MemoryMarshal.AsBytes(stored.AsSpan())]);
        using FileBytes bytes = FileBytes.Open(_file.Path);
        (long[] Shape, long[] Strides)[] views =
        [
            ([200, 300], [1, 200]), ([30, 20], [1, 3000]), ([17, 5], [1, 31]), ([300], [7]), ([100], [599]), ([1, 90], [5, 600]), ([90, 1], [600, 1]), ([13, 40], [4600, 1]),
            ([6, 10, 20], [1, 120, 6]), ([6, 10, 20], [9000, 1, 400]), ([4, 5, 6], [2, 9, 1000]), ([200, 3], [1, 200]), ([5, 5], [0, 3]), ([2, 3, 4, 5], [3, 2000, 1, 400]),
        ];
        foreach ((long[] shape, long[] strides) in views)
        {
            var tensor = new PlacedTensor("t", SafetensorsType.F32, [.. shape], 12 + (4 * 11)) { Strides = [.. strides] };
            float[] expected = new float[tensor.Length];
            for (int i = 0; i < expected.Length; i++)
            {
                long place = 11, rest = i;
                for (int d = shape.Length - 1; d >= 0; d--)
                {
                    place += rest % shape[d] * strides[d];
                    rest /= shape[d];
                }

                expected[i] = stored[place];
            }

            foreach (int panel in (int[])[1, 7, 64, 1000, 1 << 22])
            {
                var elements = new StridedElements(bytes, panel);
                float[] found = new float[expected.Length];
                elements.Read(tensor, 0, found);
                Assert.Equal(expected, found);
                for (int round = 0; round < 20; round++)
                {
                    int start = random.Next(expected.Length), count = random.Next(expected.Length - start + 1);
                    elements.Read(tensor, start, found.AsSpan(0, count));
                    Assert.Equal(expected[start..(start + count)], found[..count]);
                }
            }
        }
    }

    private static void SkipOnWindows() => Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows does not let others truncate a file that is read.");

    private static float[] Read(WeightFile file, WeightTensor tensor)
    {
        float[] values = new float[tensor.Length];
        file.ReadFloats(tensor, 0, values);
        return values;
    }

    // As a program does that takes no notice of locks.
    private static FileStream OpenToChange(string path) => new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);

    private static void Truncate(string path, long length)
    {
        using FileStream stream = OpenToChange(path);
        stream.SetLength(length);
    }

    /// <summary>Writes a file, and gives it and the file that its elements are in.</summary>
    private (string Path, string Truncated) Write(string format)
    {
        switch (format)
        {
            case "gguf" or "gguf-halves" or "gguf-blocks":
                var gguf = new GgufWriter();
                gguf.Set("general.architecture", "none");
                gguf.Set("a.text", "a text");
                gguf.Set("a.texts", (string[])["first", "", "fifth"]);
                gguf.Set("a.integer", 5u);
                gguf.Set("a.integers", (int[])[.. Enumerable.Range(0, 50_000)]);
                gguf.Set("a.real", 5f);
                gguf.Set("a.reals", (float[])[1, 2, 3]);
                gguf.Set("a.flag", true);
                gguf.Add("a", [Rows, Columns], format switch { "gguf" => GgmlType.F32, "gguf-halves" => GgmlType.F16, _ => GgmlType.Q8_0 }, Fill);
                gguf.Add("b", [Rows, Columns], GgmlType.F32, Fill);
                gguf.Save(_file.Path);
                return (_file.Path, _file.Path);
            case "llama2c":
                var header = new Llama2cHeader(32, 64, 2, 4, 2, 100, 16, TiedHead: true);
                var layers = new SafetensorsWriter();
                AddFloats(layers, "model.embed_tokens.weight", 100, 32);
                AddFloats(layers, "model.norm.weight", 32);
                for (int layer = 0; layer < 2; layer++)
                {
                    foreach ((string name, int[] shape) in ((string, int[])[])
                        [
                            ("input_layernorm", [32]), ("post_attention_layernorm", [32]), ("self_attn.q_proj", [32, 32]), ("self_attn.k_proj", [16, 32]), ("self_attn.v_proj", [16, 32]),
                            ("self_attn.o_proj", [32, 32]), ("mlp.gate_proj", [64, 32]), ("mlp.up_proj", [64, 32]), ("mlp.down_proj", [32, 64]),
                        ])
                    {
                        AddFloats(layers, $"model.layers.{layer}.{name}.weight", shape);
                    }
                }

                layers.Save(_file.Path);
                string path = Path.Combine(Folder, "model.bin");
                using (SafetensorsFile source = SafetensorsFile.Open(_file.Path))
                {
                    Llama2cFile.Save(path, header, source);
                }

                return (path, path);
            case "safetensors-index":
                foreach (string name in (string[])["one", "two"])
                {
                    var shard = new SafetensorsWriter();
                    AddFloats(shard, name, Rows, Columns);
                    shard.Save(Path.Combine(Folder, name + ".safetensors"));
                }

                string index = Path.Combine(Folder, "model.safetensors.index.json");
                File.WriteAllText(index, """{"weight_map":{"one":"one.safetensors","two":"two.safetensors"}}""");
                return (index, Path.Combine(Folder, "two.safetensors"));
            case "safetensors" or "safetensors-halves" or "safetensors-doubles":
                SafetensorsType type = format switch { "safetensors" => SafetensorsType.F32, "safetensors-halves" => SafetensorsType.F16, _ => SafetensorsType.F64 };
                var writer = new SafetensorsWriter();
                foreach (string name in (string[])["a", "b"])
                {
                    writer.Add(name, [Rows, Columns], type, Rows * Columns, stream =>
                    {
                        byte[] bytes = new byte[Rows * Columns * SafetensorsFormat.SizeOf(type)];
                        for (int i = 0; i < bytes.Length; i++)
                        {
                            bytes[i] = (byte)(i % 50);
                        }

                        stream.Write(bytes);
                    });
                }

                writer.Save(_file.Path);
                return (_file.Path, _file.Path);
            default:
                File.Copy(SourceTree.Fixture(format), _file.Path, overwrite: true);
                return (_file.Path, _file.Path);
        }
    }

    private static void AddFloats(SafetensorsWriter writer, string name, params int[] shape)
    {
        float[] values = new float[shape.Aggregate(1, static (product, extent) => product * extent)];
        Fill(0, values);
        writer.Add(name, shape, values);
    }

    private static void Fill(long start, Span<float> values)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (start + i) % 113;
        }
    }
}
