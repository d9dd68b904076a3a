using System.Diagnostics;
using System.Reflection;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using ModelGen.EncoderTests;
using ModelGen.Extensions.AI;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Embeddings of texts: the trained all-MiniLM-L6-v2 against ONNX Runtime's numbers, from every format.</summary>
[Collection(ToolCommand.Collection)]
public sealed class EmbedTests : IDisposable
{
    private const double Tolerance = 1e-5;

    private static readonly Lazy<Case[]> s_cases = new(() =>
    {
        using JsonDocument file = JsonDocument.Parse(File.ReadAllText(TestData.File("minilm", "cases.json")));
        return [.. file.RootElement.GetProperty("cases").EnumerateArray().Select(static one => one.Deserialize<Case>(new JsonSerializerOptions { PropertyNameCaseInsensitive = true })!)];
    });

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-embed").FullName;

    private sealed record Case(string Text, int[] Ids, float[] Embedding);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_trained_encoder_gives_the_reference_vectors_from_checkpoint_and_gguf()
    {
        string model = Trained();
        string[] texts = [.. s_cases.Value.SelectMany(static one => new[] { "--text", one.Text })];
        JsonElement found = ToolCommand.Json(["embed", model, .. texts]);
        Near(found);
        Assert.Equal(384, found.GetProperty("width").GetInt32());
        Assert.Equal("mean", found.GetProperty("pooling").GetString());
        Assert.Equal(s_cases.Value.Select(static one => one.Ids.Length), found.GetProperty("tokens").EnumerateArray().Select(static count => count.GetInt32()));
        for (int i = 0; i < s_cases.Value.Length; i++)
        {
            for (int j = 0; j < s_cases.Value.Length; j++)
            {
                Assert.Equal(Dot(s_cases.Value[i].Embedding, s_cases.Value[j].Embedding), found.GetProperty("cosines")[i][j].GetDouble(), Tolerance);
            }
        }

        string gguf = Path.Combine(_folder, "minilm.gguf");
        Assert.Equal(0, ToolCommand.Run("convert", model, gguf).Code);
        Near(ToolCommand.Json(["embed", gguf, .. texts]));

        // The other reader of the file.
        foreach (Case one in s_cases.Value.Take(4))
        {
            Assert.InRange(Dot(LlamaCpp.Embedding(gguf, one.Ids), one.Embedding), 1 - 1e-4, 1 + 1e-4);
            Assert.Equal(one.Ids, LlamaCpp.Tokenize(gguf, one.Text));
        }
    }

    [Fact]
    public async Task An_embedding_generator_gives_the_reference_vectors()
    {
        using EncoderModel model = EncoderModel.Of(Trained(), null, null, new SessionOptions { Threads = 2 });
        using var generator = new EncoderEmbeddingGenerator(text => model.Encode(text, out _), model.Embed, model.Width, "all-MiniLM-L6-v2");
        GeneratedEmbeddings<Embedding<float>> found = await generator.GenerateAsync(s_cases.Value.Select(static one => one.Text), cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(s_cases.Value.Sum(static one => one.Ids.Length), found.Usage!.InputTokenCount);
        foreach ((Case one, Embedding<float> embedding) in s_cases.Value.Zip(found))
        {
            Near(one, embedding.Vector.Span);
        }

        // Calls from several threads take turns.
        Embedding<float>[] together = await Task.WhenAll(s_cases.Value.Select(one => Task.Run(() => generator.GenerateAsync(one.Text, cancellationToken: TestContext.Current.CancellationToken))));
        Assert.All(found.Zip(together), static pair => Assert.Equal(pair.First.Vector.ToArray(), pair.Second.Vector.ToArray()));
    }

    [Fact]
    public void The_tool_needs_no_globalization_data()
    {
        string model = Trained();
        string tool = Path.Combine(AppContext.BaseDirectory, "ModelGen.Tool.dll");
        using JsonDocument settings = JsonDocument.Parse(File.ReadAllText(Path.ChangeExtension(tool, ".runtimeconfig.json")));
        Assert.True(settings.RootElement.GetProperty("runtimeOptions").GetProperty("configProperties").GetProperty("System.Globalization.Invariant").GetBoolean());
        const string Text = "Crème brûlée, ÀÉÎ Ǻ ệ 한국어 naïve İstanbul";
        var start = new ProcessStartInfo("dotnet", [tool, "tokenize", Path.Combine(Path.GetDirectoryName(model)!, "vocab.txt"), Text, "--json"]) { RedirectStandardOutput = true, RedirectStandardError = true, StandardOutputEncoding = Encoding.UTF8 };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        Assert.Equal("", process.StandardError.ReadToEnd());
        process.WaitForExit();
        using JsonDocument line = JsonDocument.Parse(output);
        int[] expected = TextTokenizer.Load(Path.Combine(Path.GetDirectoryName(model)!, "vocab.txt")).Encode(Text);
        Assert.Equal(expected, line.RootElement.GetProperty("ids").EnumerateArray().Select(static id => id.GetInt32()));
    }

    /// <summary>Our decompositions against the framework's, which here has ICU, for every character that both know.</summary>
    [Fact]
    public void Characters_are_decomposed_as_the_framework_does()
    {
        Type ours = typeof(TextTokenizer).Assembly.GetType("ModelGen.Runtime.CanonicalComposition")!;
        Func<string, string> decompose = ours.GetMethod("Decompose", [typeof(string)])!.CreateDelegate<Func<string, string>>();
        var random = new Random(3);
        var marks = new List<string>();
        int changed = 0;
        for (int value = 0; value < 0x30000; value++)
        {
            // Unicode 14, which ours are of, and not what came later.
            if (!Rune.IsValid(value) || Rune.GetUnicodeCategory(new Rune(value)) == System.Globalization.UnicodeCategory.OtherNotAssigned)
            {
                continue;
            }

            string text = new Rune(value).ToString();
            string found = decompose(text);
            if (found != text)
            {
                Assert.Equal(text.Normalize(NormalizationForm.FormD), found);
                changed++;
            }

            if (Rune.GetUnicodeCategory(new Rune(value)) == System.Globalization.UnicodeCategory.NonSpacingMark && value < 0x1000)
            {
                marks.Add(text);
            }
        }

        Assert.True(changed > 13_000, $"{changed}");
        for (int i = 0; i < 2000; i++)
        {
            string text = "e" + string.Concat(Enumerable.Range(0, random.Next(6)).Select(_ => marks[random.Next(marks.Count)])) + "ö";
            Assert.Equal(text.Normalize(NormalizationForm.FormD), decompose(text));
        }
    }

    [Fact]
    public void Pooling_and_normalization_are_the_files_own()
    {
        string model = Trained();
        const string Text = "How is this cut?";
        float[] Embedded(params string[] more) => [.. ToolCommand.Json(["embed", model, "--text", Text, .. more]).GetProperty("embeddings")[0].EnumerateArray().Select(static value => value.GetSingle())];
        float[] mean = Embedded();
        float[] first = Embedded("--pooling", "cls");
        float[] plain = Embedded("--normalize", "false");
        Assert.Equal(1, Dot(mean, mean), 1e-5);
        Assert.NotInRange(Dot(mean, first), 0.999, 1.001);
        Assert.NotInRange(Dot(plain, plain), 0.99, 1.01);
        Assert.Equal(1, EmbedCommand.Cosine(mean, plain), 1e-6);

        File.WriteAllText(Path.Combine(_folder, "modules.json"), """[ { "path": "", "type": "sentence_transformers.models.Transformer" }, { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" } ]""");
        Directory.CreateDirectory(Path.Combine(_folder, "1_Pooling"));
        string pooling = Path.Combine(_folder, "1_Pooling", "config.json");
        File.WriteAllText(pooling, """{ "word_embedding_dimension": 384, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false }""");
        Assert.Equal(first, Embedded("--normalize", "true"));
        Assert.NotInRange(Dot(Embedded(), Embedded()), 0.99, 1.01);
        File.WriteAllText(Path.Combine(_folder, "sentence_bert_config.json"), """{ "max_seq_length": 4, "do_lower_case": false }""");
        JsonElement cut = ToolCommand.Json("embed", model, "--text", Text, "--text", "a");
        Assert.Equal([4, 3], cut.GetProperty("tokens").EnumerateArray().Select(static count => count.GetInt32()));
        Assert.Equal([true, false], cut.GetProperty("cut").EnumerateArray().Select(static value => value.GetBoolean()));

        // Nothing of these files is trusted.
        foreach (string hostile in (string[])["{ }", "[", "[ 1 ]", """[ { "type": "sentence_transformers.models.Dense" } ]""", """[ { "type": "x.Pooling", "path": "../x" } ]""", """[ { "type": "x.Pooling", "path": ".." } ]""", """[ { "type": "x.Pooling", "path": 1 } ]"""])
        {
            File.WriteAllText(Path.Combine(_folder, "modules.json"), hostile);
            ToolCommand.Result result = ToolCommand.Run("embed", model, "--text", Text);
            Assert.Equal(1, result.Code);
            Assert.Contains("modules.json", result.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_is_wrong_is_said()
    {
        string model = Trained();
        Assert.Equal(2, ToolCommand.Run("embed", model).Code);
        Assert.Equal(2, ToolCommand.Run("embed", model, "--text", "a", "--pooling", "last").Code);
        ToolCommand.Result other = ToolCommand.Run("embed", TestData.File("stories260K", "stories260K.bin"), "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--text", "a");
        Assert.Equal(1, other.Code);
        Assert.Contains("expected an encoder", other.Error, StringComparison.Ordinal);
        ToolCommand.Result lines = ToolCommand.Run("embed", model, "--text", "A cat sat.", "A kitten was sitting.");
        Assert.Equal(0, lines.Code);
        Assert.StartsWith(" 1.0000  0.", lines.Output, StringComparison.Ordinal);
    }

    /// <summary>ModernBERT's declaration by its configuration: what is compiled loads the file's tensors, and reads a text.</summary>
    [Fact]
    public void Modern_encoders_are_declared_by_their_configuration()
    {
        File.WriteAllText(Path.Combine(_folder, "config.json"), """
            { "model_type": "modernbert", "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 520, "max_position_embeddings": 64,
              "global_attn_every_n_layers": 3, "local_attention": 8, "global_rope_theta": 160000.0, "local_rope_theta": 5000.0, "norm_eps": 1e-5, "hidden_activation": "gelu" }
            """);
        var random = new Random(4);
        var writer = new SafetensorsWriter();
        Add("model.embeddings.tok_embeddings.weight", 520, 48);
        Add("model.embeddings.norm.weight", 48);
        for (int layer = 0; layer < 4; layer++)
        {
            string block = $"model.layers.{layer}.";
            if (layer > 0)
            {
                Add(block + "attn_norm.weight", 48);
            }

            Add(block + "attn.Wqkv.weight", 144, 48);
            Add(block + "attn.Wo.weight", 48, 48);
            Add(block + "mlp_norm.weight", 48);
            Add(block + "mlp.Wi.weight", 80, 48);
            Add(block + "mlp.Wo.weight", 48, 40);
        }

        Add("model.final_norm.weight", 48);
        string model = Path.Combine(_folder, "model.safetensors");
        writer.Save(model);
        string declared = ToolCommand.Run("import", model).Output;
        Assert.Contains("[ModernBert(Layers = 4, DModel = 48, Heads = 4, Vocab = 520, FeedForward = 40, Attention = AttentionPattern.Window, LayerWindows = new[] { 0, 5, 5 }, WindowRotaryBase = 5000, Context = 64)]", declared, StringComparison.Ordinal);
        Assert.Contains("a model that continues texts", ToolCommand.Run("import", model, "--project", Path.Combine(_folder, "program")).Error, StringComparison.Ordinal);
        JsonElement found = ToolCommand.Json("embed", model, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--text", "Tom had a dog.", "--text", "Tom had a cat.", "--text", "The sun");
        Assert.Equal(48, found.GetProperty("embeddings")[2].GetArrayLength());
        Assert.InRange(found.GetProperty("cosines")[0][1].GetDouble(), 0.3, 0.9999);
        Assert.True(found.GetProperty("cosines")[0][1].GetDouble() > found.GetProperty("cosines")[0][2].GetDouble());

        void Add(string name, params int[] shape)
        {
            float[] values = [.. Enumerable.Range(0, shape.Aggregate(static (a, b) => a * b)).Select(_ => (float)((name.Contains("norm", StringComparison.Ordinal) ? 1 : 0) + ((random.NextDouble() - 0.5) / Math.Sqrt(shape[^1]) * 4)))];
            writer.Add(name, shape, values);
        }
    }

    private static double Dot(float[] one, float[] other) => one.Zip(other, static (a, b) => (double)a * b).Sum();

    private static void Near(JsonElement found)
    {
        foreach ((Case one, JsonElement embedding) in s_cases.Value.Zip(found.GetProperty("embeddings").EnumerateArray()))
        {
            Near(one, [.. embedding.EnumerateArray().Select(static value => value.GetSingle())]);
        }
    }

    private static void Near(Case one, ReadOnlySpan<float> found)
    {
        Assert.Equal(one.Embedding.Length, found.Length);
        for (int i = 0; i < found.Length; i++)
        {
            Assert.True(Math.Abs(one.Embedding[i] - found[i]) <= Tolerance, $"{one.Text}: {found[i]} at {i}, and {one.Embedding[i]} is expected");
        }
    }

    /// <summary>The trained model as a checkpoint in the folder: weights, configuration and vocabulary.</summary>
    private string Trained()
    {
        string assembly = typeof(EmbedTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static entry => entry.Key == "TrainedEncoder").Value!;
        Assert.SkipWhen(!File.Exists(assembly), $"{assembly} was not restored.");
        var writer = new SafetensorsWriter();
        foreach ((string name, TrainedEncoder.Tensor tensor) in TrainedEncoder.Read(assembly))
        {
            writer.Add(name, tensor.Shape, tensor.Values);
        }

        string model = Path.Combine(_folder, "model.safetensors");
        writer.Save(model);
        File.WriteAllBytes(Path.Combine(_folder, "vocab.txt"), TrainedEncoder.Vocabulary(assembly));
        File.WriteAllText(Path.Combine(_folder, "config.json"), """
            { "architectures": [ "BertModel" ], "model_type": "bert", "hidden_act": "gelu", "hidden_size": 384, "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
              "num_attention_heads": 12, "num_hidden_layers": 6, "type_vocab_size": 2, "vocab_size": 30522, "pad_token_id": 0 }
            """);
        return model;
    }
}
