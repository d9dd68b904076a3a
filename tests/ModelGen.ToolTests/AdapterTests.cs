using System.Globalization;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Low-rank adapters in the tool: beside the weights and merged into them they are one model.</summary>
[Collection(ToolCommand.Collection)]
public sealed class AdapterTests : IDisposable
{
    private const int Rank = 3;

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-adapter").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Adapters_beside_the_weights_and_merged_ones_are_one_model()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        File.WriteAllText(Beside("text.txt"), File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt")));
        string adapter = Write(data, static _ => true);
        double plain = Perplexity(data, "--tokenizer", vocabulary);
        double adapted = Perplexity(data, "--tokenizer", vocabulary, "--adapter", adapter);
        Assert.NotInRange(adapted / plain, 0.99, 1.01);
        Assert.Equal(adapted, Perplexity(data, "--tokenizer", vocabulary, "--adapter", _folder));
        string ids = Ids(data, "--tokenizer", vocabulary, "--adapter", adapter);
        Assert.NotEqual(Ids(data, "--tokenizer", vocabulary), ids);
        foreach (string name in (string[])["m.gguf", "m.safetensors", "m.bin"])
        {
            ToolCommand.Json(["convert", data, Beside(name), "--merge", adapter, .. name == "m.gguf" ? ["--tokenizer", vocabulary] : Array.Empty<string>()]);
            string[] flags = name == "m.gguf" ? [] : ["--tokenizer", vocabulary];
            Assert.Equal(1, Perplexity([Beside(name), .. flags]) / adapted, 1e-5);
            Assert.Equal(ids, Ids([Beside(name), .. flags]));
        }

        // The weights stay as they are stored: their rounding to 8 bits, and that of what they are multiplied with, is all that differs.
        ToolCommand.Json("convert", data, Beside("q.gguf"), "--weights", "Q8_0", "--tokenizer", vocabulary);
        Assert.Equal(1, Perplexity(Beside("q.gguf"), "--adapter", adapter) / adapted, 0.05);
        Assert.StartsWith("Q8_0", ToolCommand.Json("generate", Beside("q.gguf"), "--tokens", "3", "--adapter", adapter).GetProperty("weights").GetString(), StringComparison.Ordinal);
        Assert.StartsWith("Q8_0", ToolCommand.Json("generate", Beside("q.gguf"), "--tokens", "3").GetProperty("weights").GetString(), StringComparison.Ordinal);

        string Ids(params string[] arguments) => ToolCommand.Json(["generate", .. arguments, "--prompt", "Lily", "--tokens", "40", "--temperature", "0"]).GetProperty("ids").ToString();

        double Perplexity(params string[] arguments) => ToolCommand.Json(["perplexity", .. arguments, "--text", Beside("text.txt"), "--chunk", "64"]).GetProperty("perplexity").GetDouble();
    }

    [Fact]
    public void Merging_adds_the_product_of_the_factors()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string path = Write(data, static name => name.Contains("layers.1.", StringComparison.Ordinal));
        using WeightFile plain = WeightFile.Open(data);
        using WeightFile factors = WeightFile.Open(path);
        using AdapterFile adapter = AdapterFile.Open(path);
        Assert.Equal(Rank, adapter.Rank);
        Assert.Equal(6, adapter.Alpha(Rank), 1e-12);
        using WeightFile merged = adapter.MergeInto(WeightFile.Open(data));
        int changed = 0;
        foreach (WeightTensor tensor in plain.Tensors)
        {
            float[] before = Floats(plain, tensor.Name);
            float[] after = new float[before.Length];

            // In pieces that begin and end anywhere.
            for (int start = 0, size = 1; start < after.Length; start += size, size = (size * 3 % 101) + 1)
            {
                merged.ReadFloats(merged.Find(tensor.Name)!, start, after.AsSpan(start, size = Math.Min(size, after.Length - start)));
            }

            string module = "base_model.model." + tensor.Name.Replace(".weight", "", StringComparison.Ordinal);
            if (factors.Find(module + ".lora_A.weight") is null)
            {
                Assert.Equal(before, after);
                continue;
            }

            changed++;
            float[] a = Floats(factors, module + ".lora_A.weight");
            float[] b = Floats(factors, module + ".lora_B.weight");
            int columns = (int)tensor.Shape[1];
            for (int i = 0; i < before.Length; i++)
            {
                double update = Enumerable.Range(0, Rank).Sum(r => (double)b[(i / columns * Rank) + r] * a[(r * columns) + (i % columns)]);
                Assert.Equal(before[i] + (2 * update), after[i], 1e-5);
            }
        }

        Assert.Equal(7, changed);
    }

    /// <summary>0 stands for the rank in llama.cpp's files of adapters, and scales by 0 in PEFT's.</summary>
    [Fact]
    public void An_alpha_of_zero_is_what_its_file_means_by_it()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string path = Write(data, static name => name.Contains("layers.1.mlp", StringComparison.Ordinal));
        using (AdapterFile adapter = AdapterFile.Open(path))
        {
            adapter.SaveGguf(Beside("two.gguf"), "llama", 8);
        }

        File.WriteAllText(Beside("adapter_config.json"), $"{{\"peft_type\": \"LORA\", \"r\": {Rank}, \"lora_alpha\": 0}}");
        using (AdapterFile adapter = AdapterFile.Open(path))
        {
            Assert.Equal(0, adapter.Alpha(Rank));
            using WeightFile plain = WeightFile.Open(data);
            using WeightFile merged = adapter.MergeInto(WeightFile.Open(data));
            Assert.All(plain.Tensors, tensor => Assert.Equal(Floats(plain, tensor.Name), Floats(merged, tensor.Name)));

            // Such a file would be of other weights.
            File.WriteAllText(Beside("out.gguf"), "old");
            Assert.Contains("positive", Assert.Throws<InvalidOperationException>(() => adapter.SaveGguf(Beside("out.gguf"), "llama", 8)).Message, StringComparison.Ordinal);
            Assert.Equal("old", File.ReadAllText(Beside("out.gguf")));
        }

        using (GgufFile two = GgufFile.Open(Beside("two.gguf")))
        {
            Assert.Equal(2.0 * Rank, two.Values["adapter.lora.alpha"].AsReal());
            var writer = new GgufWriter();
            foreach ((string key, GgufValue value) in two.Values)
            {
                if (key == "adapter.lora.alpha")
                {
                    writer.Set(key, 0f);
                }
                else
                {
                    writer.Set(key, value);
                }
            }

            foreach (GgufTensor tensor in two.Tensors)
            {
                writer.Add(two, tensor);
            }

            writer.Save(Beside("zero.gguf"));
        }

        using AdapterFile zero = AdapterFile.Open(Beside("zero.gguf"));
        Assert.Equal(Rank, zero.Alpha(Rank));
    }

    [Fact]
    public void Adapters_of_another_model_are_refused()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        foreach ((string name, int[] first, int[] second) in ((string, int[], int[])[])
            [
                ("model.layers.0.self_attn.q_proj", [Rank, 63], [64, Rank]),
                ("model.layers.0.self_attn.q_proj", [Rank, 64], [64, Rank + 1]),
                ("model.layers.9.self_attn.q_proj", [Rank, 64], [64, Rank]),
                ("model.layers.0.self_attn.strange\"name", [Rank, 64], [64, Rank]),
            ])
        {
            var writer = new SafetensorsWriter();
            writer.Add($"base_model.model.{name}.lora_A.weight", first, SafetensorsType.F32, static (_, values) => values.Fill(1));
            writer.Add($"base_model.model.{name}.lora_B.weight", second, SafetensorsType.F32, static (_, values) => values.Fill(1));
            writer.Save(Beside("wrong.safetensors"));
            Refused();
        }

        foreach (string other in (string[])["model.layers.0.self_attn.q_proj.lora_A.weight", "model.norm.weight"])
        {
            var writer = new SafetensorsWriter();
            writer.Add(other, [Rank, 64], SafetensorsType.F32, static (_, values) => values.Fill(1));
            writer.Save(Beside("wrong.safetensors"));
            Refused();
        }

        File.WriteAllText(Beside("wrong.safetensors"), "no file of adapters");
        Refused();

        void Refused()
        {
            Assert.Equal(1, ToolCommand.Run("convert", data, Beside("out.safetensors"), "--merge", Beside("wrong.safetensors")).Code);
            Assert.Equal(1, ToolCommand.Run("generate", data, "--tokenizer", vocabulary, "--tokens", "2", "--adapter", Beside("wrong.safetensors")).Code);
            Assert.False(File.Exists(Beside("out.safetensors")));
        }
    }

    // PEFT's file of random factors for the linear layers of a model, scaled by 2, with its configuration.
    private string Write(string data, Func<string, bool> isWanted)
    {
        var writer = new SafetensorsWriter();
        using WeightFile file = WeightFile.Open(data);
        foreach (WeightTensor tensor in file.Tensors.Where(tensor => tensor.Name.Contains("_proj.", StringComparison.Ordinal) && isWanted(tensor.Name)))
        {
            string module = "base_model.model." + tensor.Name.Replace(".weight", "", StringComparison.Ordinal);
            Add(module + ".lora_A.weight", [Rank, (int)tensor.Shape[1]], 0.1);
            Add(module + ".lora_B.weight", [(int)tensor.Shape[0], Rank], 0.1);
        }

        string path = Beside("adapter_model.safetensors");
        writer.Save(path);
        File.WriteAllText(Beside("adapter_config.json"), string.Create(CultureInfo.InvariantCulture, $"{{\"peft_type\": \"LORA\", \"r\": {Rank}, \"lora_alpha\": {2 * Rank}}}"));
        return path;

        void Add(string name, int[] shape, double size)
        {
            var random = new Random(name.Length + (31 * name[^20]) + name[31]);
            float[] values = [.. Enumerable.Range(0, shape[0] * shape[1]).Select(_ => (float)(size * ((2 * random.NextDouble()) - 1) * 2))];
            writer.Add(name, shape, SafetensorsType.F32, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
        }
    }

    private static float[] Floats(WeightFile file, string name)
    {
        WeightTensor tensor = file.Find(name)!;
        float[] values = new float[tensor.Length];
        file.ReadFloats(tensor, 0, values);
        return values;
    }

    private string Beside(string name) => Path.Combine(_folder, name);
}
