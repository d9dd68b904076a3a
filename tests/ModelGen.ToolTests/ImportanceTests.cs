using System.Text;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Quantizing with and without an importance matrix: with the bytes that ggml writes, and less lost where it counts.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ImportanceTests : IDisposable
{
    private const int Rows = 20;
    private const int Columns = 512;

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-importance").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(GgmlType.Q4_0, 18, 32)]
    [InlineData(GgmlType.Q4_1, 20, 32)]
    [InlineData(GgmlType.Q5_0, 22, 32)]
    [InlineData(GgmlType.Q5_1, 24, 32)]
    [InlineData(GgmlType.Q8_0, 34, 32)]
    [InlineData(GgmlType.Q4_K, 144, 256)]
    [InlineData(GgmlType.Q5_K, 176, 256)]
    [InlineData(GgmlType.Q6_K, 210, 256)]
    [InlineData(GgmlType.IQ4_NL, 18, 32)]
    public void Blocks_are_those_of_ggml(GgmlType type, int blockBytes, int blockElements)
    {
        LlamaCpp.Require();
        foreach (bool isWeighted in (bool[])[false, true])
        {
            for (int seed = 0; seed < 4; seed++)
            {
                (float[] values, float[] importance) = Random(seed);
                byte[] expected = LlamaCpp.Quantize(type, values, Columns / blockElements * blockBytes, isWeighted ? importance : null, Columns);
                byte[] found = Written(type, values, isWeighted ? importance : null);
                int different = Enumerable.Range(0, expected.Length / blockBytes).Count(block => !expected.AsSpan(block * blockBytes, blockBytes).SequenceEqual(found.AsSpan(block * blockBytes, blockBytes)));
                Assert.True(different == 0, $"{different} of {expected.Length / blockBytes} blocks differ, {(isWeighted ? "with" : "without")} importance");
            }
        }
    }

    [Theory]
    [InlineData(GgmlType.Q4_0)]
    [InlineData(GgmlType.Q4_1)]
    [InlineData(GgmlType.Q5_0)]
    [InlineData(GgmlType.Q5_1)]
    [InlineData(GgmlType.Q4_K)]
    [InlineData(GgmlType.Q5_K)]
    [InlineData(GgmlType.Q6_K)]
    [InlineData(GgmlType.IQ4_NL)]
    public void Less_is_lost_where_it_counts(GgmlType type)
    {
        (float[] values, float[] importance) = Random(8);
        double Error(float[]? by)
        {
            Written(type, values, by);
            using GgufFile file = GgufFile.Open(Beside("x.gguf"));
            float[] read = new float[values.Length];
            file.ReadFloats(file.Tensors[0], 0, read);
            return Enumerable.Range(Columns, values.Length - Columns).Sum(i => importance[i % Columns] * Math.Pow(read[i] - values[i], 2));
        }

        Assert.InRange(Error(importance), 0, 0.95 * Error(null));

        // What has no importance at all is still a number.
        Assert.True(double.IsFinite(Error(new float[Columns])));
    }

    [Fact]
    public void Experts_have_columns_of_their_own()
    {
        (float[] values, float[] importance) = Random(9);
        float[] other = [.. importance.Reverse()];
        byte[] both = Written(GgmlType.Q4_0, [.. values, .. values], [.. importance, .. other], 2, Rows, Columns);
        Assert.Equal([.. Written(GgmlType.Q4_0, values, importance), .. Written(GgmlType.Q4_0, values, other)], both);
        Assert.Throws<ArgumentException>(() => new GgufWriter().Add("x", [Rows, Columns], GgmlType.Q4_0, static (_, _) => { }, new float[Columns - 1]));
        Assert.Throws<ArgumentException>(() => new GgufWriter().Add("x", [Rows, Columns], GgmlType.Q4_0, static (_, _) => { }, new float[3 * Columns]));
    }

    [Fact]
    public void Quantize_reads_matrices_in_both_formats_and_tells_the_perplexity()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        string text = Beside("text.txt");
        File.WriteAllText(text, File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt")));
        var random = new Random(10);
        (string Name, float[] Values)[] entries = [.. Enumerable.Range(0, 5).SelectMany(layer => new[] { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up" }.Select(name => ($"blk.{layer}.{name}.weight", Enumerable.Range(0, 64).Select(_ => (float)Math.Exp(4 * random.NextDouble())).ToArray())))];
        Legacy(Beside("old.dat"), entries);
        Gguf(Beside("new.gguf"), entries);

        JsonElement plain = ToolCommand.Json("quantize", data, Beside("plain.gguf"), "Q4_0", "--tokenizer", vocabulary, "--text", text, "--chunk", "64");
        JsonElement old = ToolCommand.Json("quantize", data, Beside("a.gguf"), "Q4_0", "--tokenizer", vocabulary, "--imatrix", Beside("old.dat"), "--text", text, "--chunk", "64");
        JsonElement recent = ToolCommand.Json("quantize", data, Beside("b.gguf"), "Q4_0", "--tokenizer", vocabulary, "--imatrix", Beside("new.gguf"));
        Assert.Equal(30, old.GetProperty("importance_entries").GetInt32());
        Assert.Equal(30, recent.GetProperty("importance_entries").GetInt32());
        Assert.Equal(plain.GetProperty("perplexity_before").GetDouble(), old.GetProperty("perplexity_before").GetDouble());
        Assert.InRange(plain.GetProperty("perplexity").GetDouble() / plain.GetProperty("perplexity_before").GetDouble(), 1.0001, 3);
        Assert.NotEqual(plain.GetProperty("perplexity").GetDouble(), old.GetProperty("perplexity").GetDouble());
        double measured = ToolCommand.Json("perplexity", Beside("plain.gguf"), "--text", text, "--chunk", "64").GetProperty("perplexity").GetDouble();
        Assert.Equal(measured, plain.GetProperty("perplexity").GetDouble(), 1e-9);

        // Both say the same; what no matrix has is stored as without one.
        using GgufFile one = GgufFile.Open(Beside("a.gguf"));
        using GgufFile other = GgufFile.Open(Beside("b.gguf"));
        using GgufFile without = GgufFile.Open(Beside("plain.gguf"));
        Assert.Equal("old.dat", one.Values["quantize.imatrix.file"].AsText());
        foreach (GgufTensor tensor in one.Tensors)
        {
            byte[] Bytes(GgufFile file)
            {
                byte[] bytes = new byte[tensor.ByteLength];
                file.ReadBytes(file.Find(tensor.Name)!, 0, bytes);
                return bytes;
            }

            Assert.Equal(Bytes(one), Bytes(other));
            bool isWeighted = entries.Any(entry => entry.Name == tensor.Name);
            Assert.Equal(!isWeighted, Bytes(one).AsSpan().SequenceEqual(Bytes(without)));
        }
    }

    [Fact]
    public void Nothing_of_a_matrix_is_trusted()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        float[] right = [.. Enumerable.Repeat(2f, 64)];
        Legacy(Beside("m.dat"), [("blk.0.attn_q.weight", right), ("blk.1.attn_q.weight", right)]);
        byte[] whole = File.ReadAllBytes(Beside("m.dat"));
        for (int length = 0; length < whole.Length; length += length < 40 ? 1 : 37)
        {
            File.WriteAllBytes(Beside("cut.dat"), whole[..length]);
            Refused(Beside("cut.dat"));
        }

        foreach ((int at, int value) in ((int, int)[])[(0, 0), (0, -1), (0, int.MaxValue), (4, -1), (4, int.MaxValue), (31, -5), (31, int.MaxValue)])
        {
            byte[] changed = [.. whole];
            BitConverter.TryWriteBytes(changed.AsSpan(at), value);
            File.WriteAllBytes(Beside("changed.dat"), changed);
            Refused(Beside("changed.dat"));
        }

        Legacy(Beside("m.dat"), [("blk.0.attn_q.weight", [.. right.Take(63)])]);
        Assert.Contains("blk.0.attn_q.weight", Refused(Beside("m.dat")), StringComparison.Ordinal);
        Legacy(Beside("m.dat"), [("blk.0.attn_q.weight", [.. right.Take(63), float.NaN])]);
        Assert.Contains("column 63", Refused(Beside("m.dat")), StringComparison.Ordinal);
        Legacy(Beside("m.dat"), [("other", right)]);
        Refused(Beside("m.dat"));
        Refused(Beside("missing.dat"));
        Refused(data);

        string Refused(string matrix)
        {
            ToolCommand.Result result = ToolCommand.Run("quantize", data, Beside("q.gguf"), "Q4_0", "--imatrix", matrix);
            Assert.Equal(1, result.Code);
            Assert.False(File.Exists(Beside("q.gguf")));
            return result.Error;
        }
    }

    private static (float[] Values, float[] Importance) Random(int seed)
    {
        // A row of zeros, rows of one sign, of negative zeros and few numbers, of parts that are zero and of numbers so small that they count as that; of many sizes and, in every other set, of the normal distribution; some elements far out.
        var random = new Random(seed);
        float[] values = [.. Enumerable.Range(0, Rows * Columns).Select(i =>
        {
            int row = i / Columns;
            double plain = random.NextDouble() + random.NextDouble() - 1;
            double normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            double value = (seed % 2 == 0 ? plain : normal) * Math.Pow(10, (row % 5) - 3) * (i % 37 == 0 ? 6 : 1);
            return row switch
            {
                0 => 0,
                3 or 10 or 17 => (float)Math.Abs(value),
                4 or 15 => (float)-Math.Abs(value),
                5 or 18 => (float)Math.Round(value * 4),
                6 => i / 32 % 3 == 0 ? 0 : (float)value,
                7 => (float)(1e-17 * value),
                _ => (float)value,
            };
        })];
        float[] importance = [.. Enumerable.Range(0, Columns).Select(i => i % 61 == 0 ? 0 : (float)Math.Exp(6 * random.NextDouble() - 3))];
        return (values, importance);
    }

    private byte[] Written(GgmlType type, float[] values, float[]? importance, params long[] shape)
    {
        var writer = new GgufWriter();
        writer.Add("x", shape.Length > 0 ? shape : [Rows, Columns], type, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination), importance ?? []);
        writer.Save(Beside("x.gguf"));
        using GgufFile file = GgufFile.Open(Beside("x.gguf"));
        byte[] bytes = new byte[file.Tensors[0].ByteLength];
        file.ReadBytes(file.Tensors[0], 0, bytes);
        return bytes;
    }

    private static void Legacy(string path, (string Name, float[] Values)[] entries)
    {
        const int Times = 3;
        using var writer = new BinaryWriter(File.Create(path));
        writer.Write(entries.Length);
        foreach ((string name, float[] values) in entries)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(name);
            writer.Write(bytes.Length);
            writer.Write(bytes);
            writer.Write(Times);
            writer.Write(values.Length);
            foreach (float value in values)
            {
                writer.Write(value * 4);
            }
        }

        writer.Write(Times);
    }

    private static void Gguf(string path, (string Name, float[] Values)[] entries)
    {
        var writer = new GgufWriter();
        writer.Set("general.type", "imatrix");
        writer.Set("imatrix.datasets", ["text.txt"]);
        writer.Set("imatrix.chunk_count", 3u);
        writer.Set("imatrix.chunk_size", 512u);
        foreach ((string name, float[] values) in entries)
        {
            writer.Add(name + ".in_sum2", [1, values.Length], GgmlType.F32, (start, destination) => values.AsSpan((int)start, destination.Length).ToArray().Select(static value => value * 4).ToArray().CopyTo(destination));
            writer.Add(name + ".counts", [1, 1], GgmlType.F32, static (_, destination) => destination.Fill(3));
        }

        writer.Save(path);
    }

    private string Beside(string name) => Path.Combine(_folder, name);
}
