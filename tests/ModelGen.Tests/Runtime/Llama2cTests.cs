using System.Buffers.Binary;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Files in llama2.c's first format: sizes and floats, without a name in them.</summary>
public sealed class Llama2cTests : IDisposable
{
    private readonly TemporaryFile _file = new();
    private readonly TemporaryFile _other = new();

    public void Dispose()
    {
        _file.Dispose();
        _other.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_is_written_is_read_again(bool isTied)
    {
        var header = new Llama2cHeader(16, 24, 2, 4, 2, 10, 8, isTied);
        using SafetensorsFile source = Weights(header);
        Llama2cFile.Save(_file.Path, header, source);
        using WeightFile file = WeightFile.Open(_file.Path);
        Assert.Equal(WeightFileFormat.Llama2c, file.Format);
        Assert.Equal(header, Assert.IsType<Llama2cFile>(file).Header);
        Assert.Equal(source.Tensors.Count, file.Tensors.Count);
        foreach (SafetensorsTensor tensor in source.Tensors)
        {
            float[] expected = new float[tensor.Length];
            float[] found = new float[tensor.Length];
            source.ReadFloats(tensor, 0, expected);
            WeightTensor same = file.Find(tensor.Name)!;
            Assert.Equal(tensor.Shape, same.Shape);
            file.ReadFloats(same, 0, found);
            Assert.Equal(expected, found);
            file.ReadFloats(same, 3, found.AsSpan(0, 10));
            Assert.Equal(expected[3..13], found[..10]);
        }
    }

    [Fact]
    public void Stories260K_is_written_as_it_was()
    {
        string path = TestData.File("stories260K", "stories260K.bin");
        using Llama2cFile file = Llama2cFile.Open(path);
        Assert.Equal(new Llama2cHeader(64, 172, 5, 8, 4, 512, 512, TiedHead: true), file.Header);
        Llama2cFile.Save(_file.Path, file.Header, file);
        byte[] expected = File.ReadAllBytes(path);
        byte[] found = File.ReadAllBytes(_file.Path);
        Assert.Equal(expected.Length, found.Length);

        // But for the tables of rotations at the end, which another program computed in single precision.
        int tables = 512 * 8 * sizeof(float);
        Assert.Equal(expected[..^tables], found[..^tables]);
        for (int i = expected.Length - tables; i < expected.Length; i += sizeof(float))
        {
            Assert.Equal(BitConverter.ToSingle(expected, i), BitConverter.ToSingle(found, i), 1e-4f);
        }
    }

    [Fact]
    public void What_does_not_fit_is_listed_at_once()
    {
        var header = new Llama2cHeader(16, 24, 2, 4, 2, 10, 8, TiedHead: true);
        using SafetensorsFile source = Weights(header);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => Llama2cFile.Save(_file.Path, header with { FeedForward = 32, Layers = 1 }, source));
        Assert.Equal(3 + 9, exception.Problems.Count);
        Assert.Throws<ArgumentException>(() => Llama2cFile.Save(_file.Path, header with { Heads = 3 }, source));
    }

    [Fact]
    public void No_integer_of_the_header_is_trusted()
    {
        var header = new Llama2cHeader(16, 24, 2, 4, 2, 10, 8, TiedHead: true);
        using (SafetensorsFile source = Weights(header))
        {
            Llama2cFile.Save(_file.Path, header, source);
        }

        string[] fields = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len", "length", "header"];
        byte[] whole = File.ReadAllBytes(_file.Path);
        for (int field = 0; field < 7; field++)
        {
            foreach (int value in (int[])[0, -1, int.MinValue, int.MaxValue, int.MaxValue - 1, 3, 1 << 20, 1 << 14])
            {
                byte[] changed = [.. whole];
                BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(4 * field), value);
                Refused(changed, fields);
            }
        }

        for (int length = 0; length < whole.Length; length += length < 64 ? 1 : 64)
        {
            Refused(whole[..length], [.. fields, "file"]);
        }

        Refused([.. whole, 0, 0, 0, 0], ["length"]);
        byte[] later = [.. whole];
        "24ka"u8.CopyTo(later);
        Refused(later, ["version"]);
    }

    private void Refused(byte[] bytes, string[] fields)
    {
        File.WriteAllBytes(_other.Path, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains(Assert.Throws<ModelFileException>(() => Llama2cFile.Open(_other.Path).Dispose()).Field, fields);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1_000_000);
    }

    private SafetensorsFile Weights(Llama2cHeader header)
    {
        var random = new Random(3);
        var writer = new SafetensorsWriter();
        int width = header.Width;
        int keys = width / header.Heads * header.KeyValueHeads;
        Add("model.embed_tokens.weight", header.Vocabulary, width);
        for (int layer = 0; layer < header.Layers; layer++)
        {
            string block = $"model.layers.{layer}.";
            Add(block + "input_layernorm.weight", width);
            Add(block + "self_attn.q_proj.weight", width, width);
            Add(block + "self_attn.k_proj.weight", keys, width);
            Add(block + "self_attn.v_proj.weight", keys, width);
            Add(block + "self_attn.o_proj.weight", width, width);
            Add(block + "post_attention_layernorm.weight", width);
            Add(block + "mlp.gate_proj.weight", header.FeedForward, width);
            Add(block + "mlp.up_proj.weight", header.FeedForward, width);
            Add(block + "mlp.down_proj.weight", width, header.FeedForward);
        }

        Add("model.norm.weight", width);
        if (!header.TiedHead)
        {
            Add("lm_head.weight", header.Vocabulary, width);
        }

        writer.Save(_other.Path);
        return SafetensorsFile.Open(_other.Path);

        void Add(string name, params int[] shape)
            => writer.Add(name, shape, Enumerable.Range(0, shape.Aggregate(static (a, b) => a * b)).Select(_ => (float)random.NextDouble()).ToArray());
    }
}
