using System.Buffers.Binary;
using System.Text;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>GGUF files: what is written is read again, under GGUF's names and under Hugging Face's, and nothing that a file says is trusted.</summary>
public sealed class GgufTests : IDisposable
{
    private readonly TemporaryFile _file = new();
    private readonly TemporaryFile _other = new();

    public void Dispose()
    {
        _file.Dispose();
        _other.Dispose();
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void Metadata_and_tensors_come_back(int version)
    {
        float[] values = [.. Enumerable.Range(0, 64).Select(static i => (i * 0.25f) - 7)];
        var writer = new GgufWriter { Version = version };
        writer.Set("general.architecture", "test");
        writer.Set("a.text", "naïve 漢字");
        writer.Set("a.count", 4_000_000_000u);
        writer.Set("a.real", 1e-5f);
        writer.Set("a.flag", true);
        writer.Set("a.texts", (string[])["", "x", "▁y"]);
        writer.Set("a.reals", (float[])[0, -1.5f]);
        writer.Set("a.integers", (int[])[-1, int.MaxValue]);
        writer.Add("matrix", [2, 32], GgmlType.F32, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        writer.Add("scalar", [], GgmlType.F32, (_, destination) => destination.Fill(3));
        writer.Add("half", [4], GgmlType.F16, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        writer.Save(_file.Path);

        using GgufFile file = GgufFile.Open(_file.Path);
        Assert.Equal(version, file.Version);
        Assert.Equal("naïve 漢字", file.Values["a.text"].AsText());
        Assert.Equal(4_000_000_000, file.Values["a.count"].AsInteger());
        Assert.Equal(1e-5f, (float)file.Values["a.real"].AsReal()!);
        Assert.True(file.Values["a.flag"].AsFlag());
        Assert.Equal(["", "x", "▁y"], file.Values["a.texts"].Texts());
        Assert.Equal([0, -1.5], file.Values["a.reals"].Reals());
        Assert.Equal([-1, int.MaxValue], file.Values["a.integers"].Integers());
        Assert.Equal("[2 × Int32]", file.Metadata["a.integers"]);
        GgufTensor matrix = file.Find("matrix")!;
        Assert.Equal([2, 32], matrix.Shape);
        float[] read = new float[64];
        file.ReadFloats(matrix, 0, read);
        Assert.Equal(values, read);
        file.ReadFloats(file.Find("scalar")!, 0, read.AsSpan(0, 1));
        Assert.Equal(3, read[0]);
        file.ReadFloats(file.Find("half")!, 1, read.AsSpan(0, 3));
        Assert.Equal(values[1..4], read[..3]);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloats(matrix, 1, read));
        Assert.Throws<ArgumentException>(() => file.ReadFloats(matrix with { Name = "other" }, 0, read));
    }

    // llama.cpp's numbers (llama_ftype). Vectors, and the tables of tokens beside layers, do not count.
    [Theory]
    [InlineData(0, GgmlType.F32)]
    [InlineData(1, GgmlType.F16)]
    [InlineData(2, GgmlType.Q4_0, GgmlType.Q4_0, GgmlType.Q8_0)]
    [InlineData(3, GgmlType.Q4_1)]
    [InlineData(7, GgmlType.Q8_0, GgmlType.F16)]
    [InlineData(8, GgmlType.Q5_0)]
    [InlineData(9, GgmlType.Q5_1)]
    [InlineData(14, GgmlType.Q4_K, GgmlType.Q4_K, GgmlType.F32)]
    [InlineData(15, GgmlType.Q6_K, GgmlType.Q4_K, GgmlType.Q4_K)]
    [InlineData(16, GgmlType.Q5_K)]
    [InlineData(17, GgmlType.Q5_K, GgmlType.Q5_K, GgmlType.Q6_K)]
    [InlineData(18, GgmlType.Q6_K, GgmlType.Q4_K, GgmlType.Q6_K)]
    [InlineData(25, GgmlType.IQ4_NL)]
    [InlineData(32, GgmlType.BF16)]
    [InlineData(38, GgmlType.MXFP4)]
    public void A_file_says_what_most_of_it_is_stored_as(long expected, params GgmlType[] types)
    {
        Write(_file.Path, types, null);
        using GgufFile file = GgufFile.Open(_file.Path);
        Assert.Equal(expected, file.Values["general.file_type"].AsInteger());

        // As it was where nothing is stored otherwise, even by a number that nobody here knows; and what it is where anything is.
        var renamed = new GgufWriter();
        renamed.Set("general.file_type", 4711u);
        foreach (GgufTensor tensor in file.Tensors)
        {
            renamed.Add(file, tensor);
        }

        renamed.Save(_other.Path);
        using GgufFile original = GgufFile.Open(_other.Path);
        Write(_file.Path, types, original);
        using (GgufFile same = GgufFile.Open(_file.Path))
        {
            Assert.Equal(4711, same.Values["general.file_type"].AsInteger());
        }

        GgmlType other = types[0] == GgmlType.Q8_0 ? GgmlType.F16 : GgmlType.Q8_0;
        Write(_file.Path, [.. types.Select(_ => other)], original);
        using GgufFile changed = GgufFile.Open(_file.Path);
        Assert.Equal(other == GgmlType.Q8_0 ? 7 : 1, changed.Values["general.file_type"].AsInteger());

        static void Write(string path, GgmlType[] types, GgufFile? original)
        {
            var writer = new GgufWriter();
            writer.SetFileType(original);
            writer.Add("token_embd.weight", [64, 256], types[0] == GgmlType.F32 ? GgmlType.F32 : GgmlType.F16, static (_, values) => values.Clear());
            for (int i = 0; i < types.Length; i++)
            {
                writer.Add($"blk.{i}.ffn_up.weight", [i == 0 ? 3 : 2, 256], types[i], static (_, values) => values.Clear());
                writer.Add($"blk.{i}.ffn_norm.weight", [256], GgmlType.F32, static (_, values) => values.Clear());
            }

            writer.Save(path);
        }
    }

    // Half a step; with an even number of levels about zero, one end lacks the last.
    [Theory]
    [InlineData(GgmlType.Q8_0, 0.005)]
    [InlineData(GgmlType.Q4_0, 0.13)]
    [InlineData(GgmlType.Q4_1, 0.07)]
    [InlineData(GgmlType.Q5_0, 0.07)]
    [InlineData(GgmlType.Q5_1, 0.035)]
    [InlineData(GgmlType.BF16, 0.004)]
    public void Quantized_tensors_come_back_about_as_they_were(GgmlType type, double tolerance)
    {
        var random = new Random(1);
        float[] values = [.. Enumerable.Range(0, 320).Select(_ => (float)((random.NextDouble() * 2) - 1))];
        var writer = new GgufWriter();
        writer.Add("x", [5, 64], type, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        writer.Save(_file.Path);
        using GgufFile file = GgufFile.Open(_file.Path);
        float[] read = new float[320];
        file.ReadFloats(file.Tensors[0], 0, read);
        for (int i = 0; i < read.Length; i++)
        {
            Assert.Equal(values[i], read[i], tolerance);
        }

        // Any part is the same as that of the whole.
        foreach ((int start, int count) in ((int, int)[])[(0, 1), (31, 2), (17, 100), (63, 257)])
        {
            float[] part = new float[count];
            file.ReadFloats(file.Tensors[0], start, part);
            Assert.Equal(read[start..(start + count)], part);
        }
    }

    [Fact]
    public unsafe void Every_16_bit_float_is_widened_exactly()
    {
        ushort[] patterns = [.. Enumerable.Range(0, 1 << 16).Select(static bits => (ushort)bits), 0x3C01];
        float[] halves = new float[patterns.Length];
        float[] uppers = new float[patterns.Length];
        fixed (ushort* source = patterns)
        {
            GgmlBlocks.ReadHalves((byte*)source, halves);
            GgmlBlocks.ReadUpperHalves((byte*)source, uppers);
        }

        for (int i = 0; i < patterns.Length; i++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf(patterns[i]);
            Assert.True(float.IsNaN(expected) ? float.IsNaN(halves[i]) : BitConverter.SingleToUInt32Bits(expected) == BitConverter.SingleToUInt32Bits(halves[i]), $"{patterns[i]:X4}");
            Assert.Equal((uint)patterns[i] << 16, BitConverter.SingleToUInt32Bits(uppers[i]));
        }
    }

    [Fact]
    public void Llama_rows_are_turned_between_the_two_orders()
    {
        // Two heads of four channels: Hugging Face pairs 0 with 2, GGUF neighbours.
        float[] rows = [.. Enumerable.Range(0, 8).SelectMany(static row => new float[] { row, row + 0.5f })];
        var writer = new SafetensorsWriter();
        writer.Add("model.layers.0.self_attn.q_proj.weight", [8, 2], rows);
        writer.Add("model.layers.0.mlp.down_proj.weight", [8, 2], rows);
        writer.Save(_file.Path);
        using (SafetensorsFile source = SafetensorsFile.Open(_file.Path))
        {
            var gguf = new GgufWriter();
            gguf.Set("general.architecture", "llama");
            gguf.Set("llama.embedding_length", 8u);
            gguf.Set("llama.attention.head_count", 2u);
            gguf.Add(source, "llama", headWidth: 4, _ => GgmlType.F32);
            gguf.Save(_other.Path);
        }

        float[] read = new float[16];
        using (GgufFile raw = GgufFile.Open(_other.Path))
        {
            raw.ReadFloats(raw.Find("blk.0.attn_q.weight")!, 0, read);
            Assert.Equal([0, 2, 1, 3, 4, 6, 5, 7], read.Where((_, i) => i % 2 == 0));
            raw.ReadFloats(raw.Find("blk.0.ffn_down.weight")!, 0, read);
            Assert.Equal(rows, read);
        }

        using WeightFile file = WeightFile.Open(_other.Path);
        file.ReadFloats(file.Find("model.layers.0.self_attn.q_proj.weight")!, 0, read);
        Assert.Equal(rows, read);
        file.ReadFloats(file.Find("model.layers.0.self_attn.q_proj.weight")!, 5, read.AsSpan(0, 6));
        Assert.Equal(rows[5..11], read[..6]);
    }

    // Heads at once, parts of them, and what begins inside one.
    [Fact]
    public void Stored_rows_of_heads_are_turned_whatever_is_asked_for()
    {
        const int Heads = 3, Width = 6, RowBytes = 34;
        var random = new Random(5);
        var writer = new SafetensorsWriter();
        writer.Add("model.layers.0.self_attn.q_proj.weight", [Heads * Width, 32], Enumerable.Range(0, Heads * Width * 32).Select(_ => random.NextSingle() - 0.5f).ToArray());
        writer.Save(_file.Path);
        using (SafetensorsFile source = SafetensorsFile.Open(_file.Path))
        {
            var gguf = new GgufWriter();
            gguf.Set("general.architecture", "llama");
            gguf.Set("llama.embedding_length", (uint)(Heads * Width));
            gguf.Set("llama.attention.head_count", (uint)Heads);
            gguf.Add(source, "llama", Width, _ => GgmlType.Q8_0);
            gguf.Save(_other.Path);
        }

        byte[] stored = new byte[Heads * Width * RowBytes];
        using (GgufFile raw = GgufFile.Open(_other.Path))
        {
            raw.ReadBytes(raw.Find("blk.0.attn_q.weight")!, 0, stored);
        }

        // Hugging Face pairs 0 with 3, GGUF neighbours: six channels, since the two orders of four are each other's inverse and the same.
        byte[] turned = [.. Enumerable.Range(0, Heads * Width).SelectMany(row => stored.AsSpan(((row / Width * Width) + new[] { 0, 2, 4, 1, 3, 5 }[row % Width]) * RowBytes, RowBytes).ToArray())];
        using WeightFile file = WeightFile.Open(_other.Path);
        WeightTensor tensor = file.Find("model.layers.0.self_attn.q_proj.weight")!;
        for (int row = 0; row < Heads * Width; row++)
        {
            for (int count = 1; count <= (Heads * Width) - row; count++)
            {
                byte[] read = new byte[count * RowBytes];
                Assert.True(file.TryReadRows(tensor, GgmlType.Q8_0, row, count, read));
                Assert.Equal(turned[(row * RowBytes)..((row + count) * RowBytes)], read);
            }
        }

        Assert.False(file.TryReadRows(tensor, GgmlType.F16, 0, 1, new byte[64]));
    }

    // What is converted is read strip by strip, from inside a block and to inside another.
    [Theory]
    [InlineData(GgmlType.F16)]
    [InlineData(GgmlType.Q8_0)]
    [InlineData(GgmlType.Q6_K)]
    public void Any_range_of_elements_is_read(GgmlType type)
    {
        const int Rows = 37, Columns = 1024;
        var random = new Random(6);
        var writer = new GgufWriter();
        float[] values = [.. Enumerable.Range(0, Rows * Columns).Select(_ => random.NextSingle() - 0.5f)];
        writer.Add("a", [Rows, Columns], type, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        writer.Save(_other.Path);
        using GgufFile file = GgufFile.Open(_other.Path);
        GgufTensor tensor = file.Find("a")!;
        float[] all = new float[Rows * Columns];
        for (int row = 0; row < Rows; row++)
        {
            file.ReadFloats(tensor, row * Columns, all.AsSpan(row * Columns, Columns));
        }

        foreach ((int start, int count) in new[] { (0, Rows * Columns), (1, (Rows * Columns) - 1), (255, 20_000), (8191, 2), (300, 0), ((Rows * Columns) - 1, 1), (17, 30_001) })
        {
            float[] read = new float[count];
            file.ReadFloats(tensor, start, read);
            Assert.Equal(all[start..(start + count)], read);
        }
    }

    [Fact]
    public void What_a_format_has_no_place_for_is_listed_at_once()
    {
        var writer = new SafetensorsWriter();
        writer.Add("model.norm.weight", [2], new float[2]);
        writer.Add("model.extra", [2], new float[2]);
        writer.Add("other.weight", [2], new long[2]);
        writer.Save(_file.Path);
        using SafetensorsFile source = SafetensorsFile.Open(_file.Path);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => new GgufWriter().Add(source, "llama", 4, _ => GgmlType.F32));
        Assert.Equal(["tensor 'model.extra'", "tensor 'other.weight'"], exception.Problems.Select(static problem => problem.Field).Order());
        Assert.Throws<NotSupportedException>(() => new GgufWriter().Add(source, "unheard", 4, _ => GgmlType.F32));
    }

    [Fact]
    public void A_file_that_is_cut_off_anywhere_is_refused()
    {
        byte[] whole = Sample(out int end);
        for (int length = 0; length < whole.Length; length++)
        {
            if (length % 64 == 0 || length < 64 || length > end - 64)
            {
                File.WriteAllBytes(_file.Path, whole[..length]);
                if (length < end)
                {
                    Assert.Throws<ModelFileException>(() => Read(_file.Path));
                }
                else
                {
                    Read(_file.Path);
                }
            }
        }
    }

    [Fact]
    public void No_integer_of_a_header_is_trusted()
    {
        byte[] whole = Sample(out _);
        Span<byte> bytes = stackalloc byte[8];
        int refused = 0;
        foreach ((int offset, int width) in Integers(whole))
        {
            ulong most = width == 8 ? ulong.MaxValue : (1UL << (8 * width)) - 1;
            foreach (ulong value in (ulong[])[0, 1, 2, 9, most, most >> 1, (most >> 1) + 1, most - 7, (ulong)whole.Length, (ulong)whole.Length / 2, most / 8, 1UL << 31, 1UL << 40])
            {
                byte[] changed = [.. whole];
                BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
                bytes[..width].CopyTo(changed.AsSpan(offset));
                refused += IsRefused(changed) ? 1 : 0;
            }
        }

        // Most of these numbers are lengths, counts, types and places.
        Assert.InRange(refused, 300, int.MaxValue);
    }

    [Fact]
    public void Files_of_random_changes_are_read_or_refused()
    {
        byte[] whole = Sample(out _);
        var random = new Random(7);
        int refused = 0;
        for (int i = 0; i < 3000; i++)
        {
            byte[] changed = [.. whole];
            for (int changes = random.Next(1, 6); changes > 0; changes--)
            {
                changed[random.Next(random.Next(8) == 0 ? whole.Length : 600)] = (byte)random.Next(256);
            }

            refused += IsRefused(changed) ? 1 : 0;
        }

        Assert.InRange(refused, 1000, 3000);
    }

    [Theory]
    [InlineData("two keys", "metadata 'k'")]
    [InlineData("two tensors", "tensor 't'")]
    [InlineData("overlap", "tensor 'u', offset")]
    [InlineData("nested", "metadata 'k', type of elements")]
    [InlineData("alignment", "metadata 'general.alignment'")]
    [InlineData("unaligned", "tensor 'u', offset")]
    [InlineData("rank", "tensor 't', number of dimensions")]
    [InlineData("overflow", "tensor 't', dimensions")]
    [InlineData("block", "tensor 't', dimension 0")]
    [InlineData("type", "tensor 't', type")]
    [InlineData("bool", "metadata 'k'")]
    [InlineData("big-endian", "version")]
    [InlineData("utf-8", "metadata key 0")]
    [InlineData("texts", "metadata 'k', count")]
    public void What_contradicts_itself_is_refused_by_name(string fault, string field)
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true))
        {
            bool hasTensors = fault is "two tensors" or "overlap" or "alignment" or "unaligned" or "rank" or "overflow" or "block" or "type";
            writer.Write("GGUF"u8);
            writer.Write(fault == "big-endian" ? BinaryPrimitives.ReverseEndianness(3) : 3);
            writer.Write(hasTensors ? 2L : 0L);
            writer.Write(fault == "two keys" ? 2L : hasTensors && fault != "alignment" ? 0L : 1L);
            switch (fault)
            {
                case "two keys":
                    Number("k");
                    Number("k");
                    break;
                case "nested":
                    Key("k");
                    writer.Write(9);
                    writer.Write(9);
                    writer.Write(1L);
                    break;
                case "alignment":
                    Key("general.alignment");
                    writer.Write(4);
                    writer.Write(24);
                    break;
                case "bool":
                    Key("k");
                    writer.Write(7);
                    writer.Write((byte)2);
                    break;
                case "utf-8":
                    writer.Write(1L);
                    writer.Write((byte)0xFF);
                    writer.Write(4);
                    writer.Write(1);
                    break;
                case "texts":
                    Key("k");
                    writer.Write(9);
                    writer.Write(8);
                    writer.Write(1_000_000L);
                    break;
            }

            if (hasTensors)
            {
                Tensor("t", fault == "rank" ? 5 : 2, fault == "overflow" ? [1L << 32, 1L << 32] : fault == "block" ? [33, 1] : [4, 2], fault == "block" ? 8 : fault == "type" ? 99 : 0, 0);
                Tensor(fault == "two tensors" ? "t" : "u", 1, [8], 0, fault == "overlap" ? 0 : fault == "unaligned" ? 33 : 32);
            }

            writer.Write(new byte[256]);

            void Key(string key)
            {
                writer.Write((long)key.Length);
                writer.Write(Encoding.UTF8.GetBytes(key));
            }

            void Number(string key)
            {
                Key(key);
                writer.Write(4);
                writer.Write(1);
            }

            void Tensor(string name, int rank, long[] extents, int type, long offset)
            {
                Key(name);
                writer.Write(rank);
                foreach (long extent in extents)
                {
                    writer.Write(extent);
                }

                writer.Write(type);
                writer.Write(offset);
            }
        }

        File.WriteAllBytes(_file.Path, stream.ToArray());
        Assert.Equal(field, Assert.Throws<ModelFileException>(() => GgufFile.Open(_file.Path).Dispose()).Field);
    }

    /// <summary>A small file of everything: values of every kind, blocks, a scalar. <paramref name="end"/> is where its last element ends.</summary>
    private byte[] Sample(out int end)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", "llama");
        writer.Set("llama.embedding_length", 64u);
        writer.Set("llama.attention.head_count", 2u);
        writer.Set("a.real", 1e-5f);
        writer.Set("a.flag", true);
        writer.Set("a.texts", (string[])["", "one", "two"]);
        writer.Set("a.reals", (float[])[0, -1.5f]);
        writer.Set("a.integers", (int[])[-1, 5]);
        writer.Add("token_embd.weight", [3, 64], GgmlType.F16, static (_, destination) => destination.Fill(1));
        writer.Add("blk.0.attn_q.weight", [64, 64], GgmlType.Q8_0, static (_, destination) => destination.Fill(2));
        writer.Add("scalar", [], GgmlType.F32, static (_, destination) => destination.Fill(3));
        writer.Add("output_norm.weight", [64], GgmlType.F32, static (_, destination) => destination.Fill(4));
        writer.Save(_other.Path);
        using GgufFile file = GgufFile.Open(_other.Path);
        end = (int)file.Tensors.Max(static tensor => tensor.Offset + tensor.ByteLength);
        return File.ReadAllBytes(_other.Path);
    }

    /// <summary>Where a header has integers, and of how many bytes: all but those inside arrays of texts' characters.</summary>
    private static List<(int Offset, int Width)> Integers(byte[] file)
    {
        var integers = new List<(int, int)>();
        int at = 4;
        Next(4);
        long tensors = Next(8);
        long values = Next(8);
        for (long i = 0; i < values; i++)
        {
            Skip();
            Value((GgufValueType)Next(4));
        }

        for (long i = 0; i < tensors; i++)
        {
            Skip();
            long rank = Next(4);
            for (long d = 0; d < rank; d++)
            {
                Next(8);
            }

            Next(4);
            Next(8);
        }

        return integers;

        void Skip()
        {
            long length = Next(8);
            at += (int)length;
        }

        long Next(int width)
        {
            integers.Add((at, width));
            long value = width == 8 ? BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(at)) : width == 4 ? BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at)) : file[at];
            at += width;
            return value;
        }

        void Value(GgufValueType type)
        {
            switch (type)
            {
                case GgufValueType.String:
                    Skip();
                    break;
                case GgufValueType.Array:
                    var elements = (GgufValueType)Next(4);
                    for (long count = Next(8); count > 0; count--)
                    {
                        Value(elements);
                    }

                    break;
                default:
                    Next(GgufFormat.SizeOf(type));
                    break;
            }
        }
    }

    /// <summary>Whether a file is refused by a clear exception; anything else than that, or than reading it, fails, as does what takes far more memory than the file.</summary>
    private bool IsRefused(byte[] bytes)
    {
        File.WriteAllBytes(_file.Path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            Read(_file.Path);
            return false;
        }
        catch (ModelFileException exception)
        {
            Assert.All(exception.Problems, static problem => Assert.False(problem.Field.Length == 0 || problem.Expected.Length == 0));
            return true;
        }
        finally
        {
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1_000_000 + (32L * bytes.Length));
        }
    }

    /// <summary>Reads all that a file holds, under both names.</summary>
    private static void Read(string path)
    {
        using (GgufFile file = GgufFile.Open(path))
        {
            Assert.Equal(file.Values.Count, file.Metadata.Count);
            foreach (GgufValue value in file.Values.Values)
            {
                if (value.ElementType == GgufValueType.String)
                {
                    value.Texts();
                }
            }

            ReadAll(file);
        }

        if (WeightFile.FormatOf(path) == WeightFileFormat.Gguf)
        {
            using WeightFile view = WeightFile.Open(path);
            ReadAll(view);
        }
    }

    private static void ReadAll(WeightFile file)
    {
        float[] strip = new float[1000];
        foreach (WeightTensor tensor in file.Tensors)
        {
            for (long start = 0; tensor.IsFloat && start < tensor.Length; start += strip.Length)
            {
                file.ReadFloats(tensor, start, strip.AsSpan(0, (int)Math.Min(strip.Length, tensor.Length - start)));
            }
        }
    }
}
