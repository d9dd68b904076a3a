using System.Globalization;
using System.Text;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Low-rank adapters in GGUF files, as llama.cpp has them: read, written, and computed with as it does.</summary>
[Collection(ToolCommand.Collection)]
public sealed class GgufAdapterTests : IDisposable
{
    private const int Rank = 3;
    private const double Alpha = 4.5;

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-lora").FullName;

    private readonly string _data = TestData.File("stories260K", "stories260K.bin");

    private readonly string _vocabulary = TestData.File("stories260K", "tok512.bin");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // Rows of queries and keys lie in another order in llama.cpp's files than in PEFT's: of 8 heads of 8 channels, and of 4.
    [Fact]
    public void Adapters_give_llama_cpps_logits()
    {
        LlamaCpp.Require();
        string model = Beside("m.gguf");
        ToolCommand.Json("convert", _data, model, "--tokenizer", _vocabulary);
        WritePeft();
        ToolCommand.Json("convert", _folder, Beside("a.gguf"), "--base", model);
        WriteAsConverted(Beside("b.gguf"));
        int[] tokens = [1, .. File.ReadAllText(TestData.File("stories260K", "expected_greedy_tokens.txt")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Take(60).Select(int.Parse)];
        float[][] plain = LlamaCpp.Logits(model, tokens);
        float[][] expected = LlamaCpp.Logits(model, tokens, Beside("a.gguf"));
        double effect = Largest(plain, expected), range = expected[^1].Max() - expected[^1].Min();
        Assert.InRange(effect / range, 0.2, 100);

        // What tells the order of rows is the model, not the file.
        Assert.Equal(0, Largest(expected, LlamaCpp.Logits(model, tokens, Beside("b.gguf"))), 1e-3 * range);
        foreach (string adapter in (string[])[Beside("a.gguf"), Beside("b.gguf"), _folder])
        {
            foreach (string path in (string[])[model, _data])
            {
                using (LoadedModel beside = LoadedModel.Of(path, null, null, new SessionOptions(), adapter: adapter))
                {
                    Check(beside.Session, $"{Path.GetFileName(adapter)} beside {Path.GetFileName(path)}");
                }

                string merged = Beside("merged.gguf");
                ToolCommand.Json(["convert", path, merged, "--merge", adapter, .. path == model ? Array.Empty<string>() : ["--tokenizer", _vocabulary]]);
                using LoadedModel loaded = LoadedModel.Of(merged, null, null, new SessionOptions());
                Check(loaded.Session, $"{Path.GetFileName(adapter)} merged into {Path.GetFileName(path)}");
            }
        }

        void Check(CausalSession session, string what)
        {
            double found = Largest(expected, [.. tokens.Select(token => session.Decode(token).ToArray())]);
            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{what}: largest difference of logits {found:G3}, of a range of {range:G3} and an effect of {effect:G3}"));
            Assert.InRange(found, 0, 1e-4 * range);
        }
    }

    [Fact]
    public void The_tool_generates_alike_with_either_file()
    {
        string model = Beside("m.gguf");
        ToolCommand.Json("convert", _data, model, "--tokenizer", _vocabulary);
        WritePeft();
        ToolCommand.Json("convert", Beside("adapter_model.safetensors"), Beside("a.gguf"), "--base", _data);
        Assert.Equal(Ids(_folder), Ids(Beside("a.gguf")));
        Assert.NotEqual(Ids(), Ids(Beside("a.gguf")));
        using AdapterFile file = AdapterFile.Open(Beside("a.gguf"));
        Assert.Equal(Rank, file.Rank);
        Assert.Equal(Alpha, file.Alpha(Rank), 1e-6);
        Assert.Equal(8, file.HeadWidth);
        Assert.Equal(2, ToolCommand.Run("convert", _folder, Beside("x.safetensors"), "--base", model).Code);
        Assert.Equal(2, ToolCommand.Run("convert", _folder, Beside("x.gguf"), "--base", model, "--weights", "F16").Code);

        string Ids(params string[] adapter) => ToolCommand.Json(["generate", model, .. adapter.SelectMany(static path => (string[])["--adapter", path]), "--prompt", "Lily", "--tokens", "40", "--temperature", "0"]).GetProperty("ids").ToString();
    }

    [Theory]
    [InlineData("adapter.type", "expected lora, found none")]
    [InlineData("kind", "expected lora, found 'control'")]
    [InlineData("general.architecture", "'general.architecture'")]
    [InlineData("unheard", "'general.architecture'")]
    [InlineData("alpha", "'adapter.lora.alpha'")]
    [InlineData("negative", "'adapter.lora.alpha'")]
    [InlineData("single", "the other factor")]
    [InlineData("rank", "[rank, in]")]
    [InlineData("norm", "output_norm.weight.lora")]
    [InlineData("other", "a factor of a linear layer of llama")]
    [InlineData("embedding", "token_embd.weight.lora_a")]
    [InlineData("stack", "a factor of a linear layer of llama")]
    [InlineData("width", "the width of a head")]
    [InlineData("rows", "[63, 64]")]
    public void What_is_wrong_is_named(string what, string message)
    {
        var writer = new GgufWriter();
        writer.Set("general.type", "adapter");
        if (what != "general.architecture")
        {
            writer.Set("general.architecture", what == "unheard" ? "unheard" : "llama");
        }

        if (what != "adapter.type")
        {
            writer.Set("adapter.type", what == "kind" ? "control" : "lora");
        }

        writer.Set("adapter.lora.alpha", what == "alpha" ? float.NaN : what == "negative" ? -1f : 2f);
        Add("blk.0.attn_output.weight.lora_a", Rank, 64);
        if (what != "single")
        {
            Add("blk.0.attn_output.weight.lora_b", 64, what == "rank" ? Rank + 1 : Rank);
        }

        switch (what)
        {
            case "norm":
                Add("output_norm.weight.lora_a", Rank, 64);
                break;
            case "other":
                Add("blk.0.attn_output.weight", 64, 64);
                break;
            case "embedding":
                Add("token_embd.weight.lora_a", Rank, 512);
                break;
            case "stack":
                Add("blk.0.ffn_up.weight.lora_a", 2, Rank, 64);
                break;
            case "width" or "rows":
                Add("blk.0.attn_q.weight.lora_a", Rank, 64);
                Add("blk.0.attn_q.weight.lora_b", what == "rows" ? 63 : 64, Rank);
                break;
        }

        writer.Save(Beside("a.gguf"));
        if (what is "width" or "rows")
        {
            // A file that says neither heads nor their width.
            string model = Beside("m.safetensors");
            ToolCommand.Json("convert", _data, model);
            using AdapterFile adapter = AdapterFile.Open(Beside("a.gguf"));
            adapter.HeadWidth = what == "rows" ? 8 : 0;
            Assert.Contains(message, Assert.Throws<ModelFileException>(() => what == "rows" ? Rows(adapter) : adapter.MergeInto(WeightFile.Open(model))).Message, StringComparison.Ordinal);
            return;
        }

        ModelFileException exception = Assert.Throws<ModelFileException>(() => AdapterFile.Open(Beside("a.gguf")).Dispose());
        Assert.Contains(message, exception.Message, StringComparison.Ordinal);
        ToolCommand.Result result = ToolCommand.Run("generate", _data, "--tokenizer", _vocabulary, "--tokens", "2", "--adapter", Beside("a.gguf"));
        Assert.Equal(1, result.Code);

        void Add(string name, params long[] shape) => writer.Add(name, shape, GgmlType.F32, static (_, values) => values.Fill(1));

        WeightFile Rows(AdapterFile adapter)
        {
            using WeightFile file = WeightFile.Open(_data);
            return adapter.MergeInto(file);
        }
    }

    [Fact]
    public void Adapters_of_what_the_format_holds_as_one_are_refused()
    {
        WritePeft();
        using AdapterFile adapter = AdapterFile.Open(_folder);
        ModelFileException exception = Assert.Throws<ModelFileException>(() => adapter.SaveGguf(Beside("a.gguf"), "phi3", 8));
        Assert.Contains("layers.0.self_attn.q_proj", exception.Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => adapter.SaveGguf(Beside("a.gguf"), "unheard", 8));
        exception = Assert.Throws<ModelFileException>(() => adapter.SaveGguf(Beside("a.gguf"), "llama", 7));
        Assert.Contains("rows of heads of 7", exception.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Beside("a.gguf")));
    }

    [Fact]
    public void Damaged_files_end_with_an_error()
    {
        WriteAsConverted(Beside("b.gguf"));
        byte[] bytes = File.ReadAllBytes(Beside("b.gguf"));
        for (int length = 0; length < bytes.Length; length += 64)
        {
            Damaged(bytes.AsSpan(0, length), mayOpen: false);
        }

        // Each word of the header, and of its integers some that are none.
        int header = Math.Min(bytes.Length - 8, 4096);
        for (int at = 4; at < header; at += 4)
        {
            foreach (int value in (int[])[0, -1, int.MaxValue, int.MinValue])
            {
                byte[] changed = [.. bytes];
                BitConverter.TryWriteBytes(changed.AsSpan(at), value);
                Damaged(changed, mayOpen: true);
            }
        }

        // Two tensors of one name, two keys.
        Damaged(Replaced("blk.0.attn_k.weight.lora_a", "blk.0.attn_q.weight.lora_a"), mayOpen: false);
        Damaged(Replaced("adapter.lora.alpha", "adapter.lora.alphb"), mayOpen: true);
        Damaged(Replaced("adapter.type", "general.type"), mayOpen: false);

        byte[] Replaced(string from, string to)
        {
            byte[] changed = [.. bytes];
            int at = changed.AsSpan().IndexOf(Encoding.UTF8.GetBytes(from));
            Assert.True(at > 0 && from.Length == to.Length || at > 0);
            if (from.Length == to.Length)
            {
                Encoding.UTF8.GetBytes(to).CopyTo(changed.AsSpan(at));
            }

            return changed;
        }

        void Damaged(ReadOnlySpan<byte> content, bool mayOpen)
        {
            File.WriteAllBytes(Beside("damaged.gguf"), content);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                using AdapterFile file = AdapterFile.Open(Beside("damaged.gguf"));
                file.HeadWidth = 8;
                using WeightFile model = WeightFile.Open(_data);
                using WeightFile merged = file.MergeInto(model);
                Assert.True(mayOpen);
            }
            catch (ModelFileException exception)
            {
                Assert.True(exception.Message.Length < 100_000);
            }

            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 20_000_000);
        }
    }

    // As convert_lora_to_gguf.py writes it: nothing of the model's sizes, factors of 16 bits; and without alpha where that is the rank.
    private void WriteAsConverted(string path)
    {
        WritePeft();
        using WeightFile peft = WeightFile.Open(Beside("adapter_model.safetensors"));
        var writer = new GgufWriter();
        writer.Set("general.architecture", "llama");
        writer.Set("general.type", "adapter");
        writer.Set("adapter.type", "lora");
        writer.Set("adapter.lora.alpha", (float)Alpha);
        foreach (WeightTensor tensor in peft.Tensors)
        {
            float[] values = new float[tensor.Length];
            peft.ReadFloats(tensor, 0, values);
            string[] parts = tensor.Name.Split('.');
            string name = parts[6] switch { "q_proj" => "attn_q", "k_proj" => "attn_k", "v_proj" => "attn_v", "o_proj" => "attn_output", "gate_proj" => "ffn_gate", "up_proj" => "ffn_up", _ => "ffn_down" };
            bool isSecond = parts[7] == "lora_B";
            if (isSecond && name is "attn_q" or "attn_k" && isSecond)
            {
                // Of a head of 8: rows 0, 4, 1, 5, 2, 6, 3, 7.
                values = [.. Enumerable.Range(0, (int)tensor.Shape[0]).SelectMany(row => values.Skip(((row / 8 * 8) + (row % 8 / 2) + (row % 2 * 4)) * Rank).Take(Rank))];
            }

            writer.Add($"blk.{parts[4]}.{name}.weight.lora_{(isSecond ? "b" : "a")}", tensor.Shape.AsSpan(), GgmlType.F32, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        }

        writer.Save(path);
    }

    // PEFT's file of random factors for all linear layers, with its configuration.
    private void WritePeft()
    {
        var random = new Random(3);
        var writer = new SafetensorsWriter();
        using WeightFile file = WeightFile.Open(_data);
        foreach (WeightTensor tensor in file.Tensors.Where(static tensor => tensor.Name.Contains("_proj.", StringComparison.Ordinal)))
        {
            string module = "base_model.model." + tensor.Name.Replace(".weight", "", StringComparison.Ordinal);
            Add(module + ".lora_A.weight", Rank, (int)tensor.Shape[1]);
            Add(module + ".lora_B.weight", (int)tensor.Shape[0], Rank);
        }

        writer.Save(Beside("adapter_model.safetensors"));
        File.WriteAllText(Beside("adapter_config.json"), string.Create(CultureInfo.InvariantCulture, $"{{\"peft_type\": \"LORA\", \"r\": {Rank}, \"lora_alpha\": {Alpha}}}"));

        void Add(string name, int rows, int columns)
        {
            float[] values = [.. Enumerable.Range(0, rows * columns).Select(_ => (float)(0.3 * (random.NextDouble() - 0.5)))];
            writer.Add(name, [rows, columns], values);
        }
    }

    private static double Largest(float[][] one, float[][] other) => one.Zip(other, static (a, b) => a.Zip(b, static (x, y) => Math.Abs((double)x - y)).Max()).Max();

    private string Beside(string name) => Path.Combine(_folder, name);
}
