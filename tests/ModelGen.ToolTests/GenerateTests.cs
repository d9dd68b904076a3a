using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Trained models through the tool, from every format that it reads and writes.</summary>
[Collection(ToolCommand.Collection)]
public sealed class GenerateTests : IDisposable
{
    private readonly TemporaryFile _folder = new("out");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Stories260K_gives_the_known_tokens_in_every_format()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        int[] ids = [.. File.ReadAllText(TestData.File("stories260K", "expected_greedy_tokens.txt")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
        string text = File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt"));
        string gguf = Beside("m.gguf");
        string safetensors = Beside("m.safetensors");
        ToolCommand.Json("convert", data, gguf, "--tokenizer", vocabulary);
        ToolCommand.Json("convert", gguf, safetensors);
        ToolCommand.Json("convert", safetensors, Beside("m.bin"));
        ToolCommand.Json("convert", safetensors, Beside("half.safetensors"), "--weights", "F16");
        ToolCommand.Json("convert", Beside("half.safetensors"), Beside("half.gguf"), "--weights", "F16");

        Check(data, "--tokenizer", vocabulary);
        Check(gguf);
        Check(safetensors, "--tokenizer", gguf);
        Check(Beside("m.bin"), "--tokenizer", vocabulary);
        Check(Beside("half.gguf"), "--tokenizer", vocabulary);

        // One declaration, whatever the file: it was compiled once.
        Assert.Equal("cached", ToolCommand.Json("generate", gguf, "--tokens", "1", "--temperature", "0").GetProperty("compiled").GetString());

        void Check(string file, params string[] options)
        {
            JsonElement line = ToolCommand.Json(["generate", file, "--tokens", "200", "--temperature", "0", .. options]);
            Assert.Equal(ids, line.GetProperty("ids").EnumerateArray().Select(static id => id.GetInt32()));
            Assert.Equal(text, line.GetProperty("text").GetString());
            Assert.True(line.GetProperty("tokens_per_second").GetDouble() > 0);
            Assert.Equal(file == Beside("half.gguf") ? "F16" : "F32", line.GetProperty("weights").GetString());
        }
    }

    [Fact]
    public void A_model_is_loaded_once_whatever_becomes_of_the_cache()
    {
        string? cache = Environment.GetEnvironmentVariable("MODELGEN_CACHE");
        string data = TestData.File("stories260K", "stories260K.bin");
        ModelCode code;
        using (ModelSource source = ModelSource.Open(data))
        {
            // A context that no other test asks for, so that this one loads it first.
            code = source.DeclareAsStored(37);
        }

        // What another program compiled under the same name, against more of the framework perhaps, is the same model in another image.
        string name = ModelAssembly.NameOf(code.SourceText());
        Directory.CreateDirectory(Beside("first"));
        File.WriteAllBytes(Path.Combine(Beside("first"), name + ".dll"), InMemoryCompiler.Compile(code.SourceText() + "internal sealed class Another;", name, code));
        File.WriteAllText(Beside("file"), "");
        try
        {
            // That one, a cache that is new, and one that cannot be.
            foreach (string folder in (string[])["first", "second", Path.Combine("file", "none")])
            {
                Environment.SetEnvironmentVariable("MODELGEN_CACHE", Beside(folder));
                using LoadedModel model = LoadedModel.Of(data, TestData.File("stories260K", "tok512.bin"), 37, new SessionOptions { Threads = 1 });
                Assert.Equal(37, model.Session.ContextLength);
                Assert.NotNull(model.Assembly.Type.Assembly.GetType("Another"));
            }
        }
        finally
        {
            Environment.SetEnvironmentVariable("MODELGEN_CACHE", cache);
        }
    }

    [Fact]
    public void A_prompt_is_continued()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        JsonElement line = ToolCommand.Json("generate", data, "--tokenizer", vocabulary, "--prompt", "Once upon a time", "--tokens", "20", "--temperature", "0");
        Assert.StartsWith(", there was a little girl named Lily.", line.GetProperty("text").GetString(), StringComparison.Ordinal);
        ToolCommand.Result plain = ToolCommand.Run("generate", data, "--tokenizer", vocabulary, "--prompt", "Once upon a time", "--tokens", "12", "--temperature", "0");
        Assert.StartsWith("Once upon a time, there was a little girl", plain.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Gpt2_gives_the_known_tokens_from_its_folder_and_from_gguf()
    {
        string folder = Path.GetDirectoryName(TestData.File("tiny-random-gpt2", "model.safetensors"))!;
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
        string gguf = Beside("g.gguf");
        ToolCommand.Json("convert", folder, gguf);
        ToolCommand.Json("convert", gguf, Beside("g.safetensors"));
        int[][] prompts = Ids(expected.RootElement.GetProperty("input_ids"));
        int[][] greedy = Ids(expected.RootElement.GetProperty("greedy_numpy"));
        for (int i = 0; i < prompts.Length; i++)
        {
            foreach (string file in (string[])[folder, gguf, Beside("g.safetensors")])
            {
                JsonElement line = ToolCommand.Json("generate", file, "--prompt-ids", string.Join(',', prompts[i]), "--tokens", "8", "--temperature", "0", "--ignore-eos");
                Assert.Equal(greedy[i][prompts[i].Length..], line.GetProperty("ids").EnumerateArray().Select(static id => id.GetInt32()));
            }
        }

        static int[][] Ids(JsonElement lists) => [.. lists.EnumerateArray().Select(static list => list.EnumerateArray().Select(static id => id.GetInt32()).ToArray())];
    }

    [Fact]
    public void Inspect_lists_tensors_metadata_declaration_and_cost()
    {
        string gguf = Beside("m.gguf");
        ToolCommand.Json("convert", TestData.File("stories260K", "stories260K.bin"), gguf, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--weights", "Q8_0");
        JsonElement line = ToolCommand.Json("inspect", gguf);
        Assert.Equal("GGUF v3", line.GetProperty("format").GetString());
        Assert.Equal(47, line.GetProperty("tensors").GetArrayLength());
        Assert.Contains(line.GetProperty("tensors").EnumerateArray(), static tensor => tensor.GetProperty("name").GetString() == "blk.0.attn_q.weight" && tensor.GetProperty("type").GetString() == "Q8_0");

        // Rows of 172 are no whole number of blocks.
        Assert.Contains(line.GetProperty("tensors").EnumerateArray(), static tensor => tensor.GetProperty("name").GetString() == "blk.0.ffn_down.weight" && tensor.GetProperty("type").GetString() == "F16");
        Assert.Equal("64", line.GetProperty("metadata").GetProperty("llama.embedding_length").GetString());
        Assert.StartsWith("[Decoder(Layers = 5, DModel = 64, Heads = 8, KeyValueHeads = 4", line.GetProperty("declaration").GetString(), StringComparison.Ordinal);
        JsonElement cost = line.GetProperty("cost");
        long Cost(string name) => cost.GetProperty(name).GetInt64();
        Assert.Equal(260_032, Cost("ParameterCount"));
        Assert.Equal(512, Cost("VocabularySize"));
        Assert.Equal(512, Cost("ContextLength"));

        // Keys and values of 4 heads of 8, in 5 layers, single precision; for all 512 tokens.
        Assert.Equal(2 * 4 * 8 * 5 * sizeof(float), Cost("KvBytesPerToken"));
        Assert.Equal(512 * Cost("KvBytesPerToken"), Cost("SessionStateBytes"));

        // What the file has of weights, a table of angles, and what aligns them.
        long stored = line.GetProperty("tensors").EnumerateArray().Sum(static tensor => tensor.GetProperty("bytes").GetInt64());
        Assert.InRange(Cost("WeightBytes"), stored + (512 * 8 * sizeof(float)), stored + (512 * 8 * sizeof(float)) + (64 * 47));

        // Two operations for each number of the matrices, the head's among them, and for the scores of half of the context and what they weigh; little beside.
        long products = 2 * ((5 * ((64 * 64 * 2) + (2 * 32 * 64) + (3 * 172 * 64))) + (512 * 64)), attention = 5 * 2 * 2 * 64 * 256;
        Assert.InRange(Cost("FlopsPerToken"), products + attention, (products + attention) * 1.05);
        Assert.True(Cost("InferenceArenaBytes") > 0 && Cost("WorkerScratchBytes") > 0);
        ToolCommand.Result shown = ToolCommand.Run("inspect", gguf, "--no-cost");
        Assert.Equal(0, shown.Code);
        Assert.Contains("declared as [Decoder(", shown.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void An_error_is_one_line_and_a_code()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        byte[] whole = File.ReadAllBytes(data);
        File.WriteAllBytes(Beside("cut.bin"), whole[..1000]);
        File.WriteAllText(Beside("no.safetensors"), "nothing of the kind");
        File.WriteAllText(Beside("config.json"), """{ "model_type": "gpt2", "n_embd": "wide" }""");
        Wrong(1, "length", "inspect", Beside("cut.bin"));
        Wrong(1, "length", "generate", Beside("cut.bin"), "--tokens", "1");
        Wrong(1, "header", "inspect", Beside("no.safetensors"));
        Wrong(1, "no such file", "generate", Beside("none.gguf"));
        Wrong(2, ".gguf, .safetensors,", "convert", data, Beside("m.txt"));
        Wrong(2, "--weights", "convert", data, Beside("m.gguf"), "--weights", "Q9");
        Wrong(2, "tokenizer", "generate", data, "--prompt", "x");
        Wrong(2, "--context", "generate", data, "--context", "100000");
        Wrong(2, "--tokens", "generate", data, "--tokens", "many");
        Wrong(2, "'genrate'", "genrate", data);
        Wrong(2, "command");
        Wrong(2, "temperature", "generate", data, "--temperature", "-1");
        Wrong(2, "--temperature: expected a number, found 'x'", "generate", data, "--temperature", "x");
        Wrong(2, "--seed: expected a whole number", "generate", data, "--seed", "-1");
        Wrong(2, "--context: expected a whole number", "generate", data, "--context", "9999999999");
        Wrong(2, "--context: expected 1 or more, found 0", "generate", data, "--context", "0");
        Wrong(2, "--threads: expected 0 to 1024, found -2", "generate", data, "--threads", "-2");
        Wrong(2, "--top-p", "generate", data, "--top-p", "2");
        Wrong(2, "--typical", "generate", data, "--typical", "2");
        Wrong(2, "--xtc", "generate", data, "--xtc", "2,0.1");
        Wrong(2, "9999", "generate", data, "--logit-bias", "9999=1", "--prompt-ids", "1");
        Wrong(2, "--prompt-ids: expected token ids below 512", "generate", data, "--prompt-ids", "512");
        Wrong(1, "no such file", "generate", data, "--grammar", Beside("none.gbnf"));
        Wrong(1, "no weights", "generate", TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        Wrong(2, "", "unheard");
        var hostile = new GgufWriter();
        hostile.Set("general.architecture", "\u001b]0;title\u0007\u202Ex" + new string('y', 5000));
        hostile.Add("x", [1], GgmlType.F32, static (_, _) => { });
        hostile.Save(Beside("hostile.gguf"));
        Wrong(1, "model_type", "generate", Beside("hostile.gguf"));
        string told = ToolCommand.Run("generate", Beside("hostile.gguf")).Error.TrimEnd();
        Assert.DoesNotContain(told, static c => char.IsControl(c) || c == '\u202E');
        Assert.InRange(told.Length, 1, 2100);

        static void Wrong(int code, string part, params string[] arguments)
        {
            ToolCommand.Result result = ToolCommand.Run(arguments);
            Assert.Equal(code, result.Code);
            Assert.StartsWith("error: ", result.Error, StringComparison.Ordinal);
            Assert.Single(result.Error.TrimEnd().Split('\n'));
            Assert.DoesNotContain("(Parameter", result.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("System.", result.Error, StringComparison.Ordinal);
            Assert.Contains(part, result.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Import_writes_a_class_and_a_program_that_compile()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        ToolCommand.Result shown = ToolCommand.Run("import", data);
        Assert.Equal(0, shown.Code);
        Assert.Contains("public partial class Stories260K;", shown.Output, StringComparison.Ordinal);
        string folder = Beside("Stories");
        Assert.Equal(0, ToolCommand.Run("import", data, "--name", "Stories", "--project", folder).Code);
        Assert.Equal(["Program.cs", "Stories.cs", "Stories.csproj"], Directory.GetFiles(folder).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        InMemoryCompiler.CompileFiles(
            [File.ReadAllText(Path.Combine(folder, "Stories.cs")), File.ReadAllText(Path.Combine(folder, "Program.cs"))],
            [typeof(TextTokenizer).Assembly.Location]);
        Assert.Equal(2, ToolCommand.Run("import", data, "--project", folder).Code);
        Assert.Equal(2, ToolCommand.Run("import", data, "--name", "class").Code);
        Assert.Equal(2, ToolCommand.Run("import", data, "--name", "x; }").Code);

        // Weights stay as a file stores them.
        Assert.Equal(0, ToolCommand.Run("convert", data, Beside("blocks.gguf"), "--weights", "Q8_0").Code);
        Assert.Contains("Weights = WeightFormat.Q8_0, WeightsOf = new[] { \"*model.layers.*.mlp.down_proj.weight: F16\" }", ToolCommand.Run("import", Beside("blocks.gguf")).Output, StringComparison.Ordinal);

        // The tokenizer of a checkpoint lies beside it.
        string gpt2 = Path.GetDirectoryName(TestData.File("tiny-random-gpt2", "model.safetensors"))!;
        File.Copy(Path.Combine(gpt2, "model.safetensors"), Beside("model.safetensors"));
        File.Copy(Path.Combine(gpt2, "config.json"), Beside("config.json"));
        File.WriteAllText(Beside("tokenizer.json"), "{}");
        Assert.Equal(0, ToolCommand.Run("import", Beside("model.safetensors"), "--name", "Tiny", "--project", Beside("Tiny")).Code);
        Assert.Contains($"args.Length > 2 ? args[2] : \"{Beside("tokenizer.json")}\"", File.ReadAllText(Path.Combine(Beside("Tiny"), "Program.cs")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_configuration_is_not_trusted()
    {
        string folder = Path.GetDirectoryName(TestData.File("tiny-random-gpt2", "model.safetensors"))!;
        File.Copy(Path.Combine(folder, "model.safetensors"), Beside("model.safetensors"));
        string config = File.ReadAllText(Path.Combine(folder, "config.json"));
        foreach ((string from, string to, string part) in ((string, string, string)[])
        [
            ("\"n_head\": 4", "\"n_head\": 0", "Heads"),
            ("\"n_head\": 4", "\"n_head\": -1", "n_head: expected 0 or more"),
            ("\"n_head\": 4", "\"n_head\": 5", "Heads"),
            ("\"n_head\": 4", "\"n_head\": 1e99", "n_head"),
            ("\"n_embd\": 32", "\"n_embd\": 2147483646", "MG"),
            ("\"n_embd\": 32", "\"n_embd\": [32]", "n_embd"),
            ("\"n_layer\": 5", "\"n_layer\": 4", "transformer.h.4"),
            ("\"n_layer\": 5", "\"n_layer\": 1000000000", "Layers"),
            ("\"gelu_new\"", "\"); System.Environment.Exit(3); //\"", "activation_function"),
            ("\"gpt2\"", "\"unheard\"", "model_type"),
            ("{", "{{", "line 1"),
            ("{", "{ \"x\": " + new string('[', 5000) + ",", "JSON"),
        ])
        {
            Assert.Contains(from, config, StringComparison.Ordinal);
            int at = config.IndexOf(from, StringComparison.Ordinal);
            File.WriteAllText(Beside("config.json"), config[..at] + to + config[(at + from.Length)..]);
            ToolCommand.Result result = ToolCommand.Run("generate", Beside("model.safetensors"), "--prompt-ids", "1", "--tokens", "1");
            Assert.Equal(1, result.Code);
            Assert.Contains(part, result.Error, StringComparison.Ordinal);
            Assert.Single(result.Error.TrimEnd().Split('\n'));
        }
    }

    private string Beside(string name) => Path.Combine(Path.GetDirectoryName(_folder.Path)!, name);
}
