using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>
/// Files of every format that is read, changed at random: each is read to its end or refused by the exceptions that are documented, in bounded time and with allocations in proportion. The environment variable
/// MODELGEN_FUZZ_SECONDS says how long each format is tried; what was done is printed.
/// </summary>
[Collection(ToolCommand.Collection)]
public sealed class AnyFileFuzzTests : IDisposable
{
    private const string SecondsVariable = "MODELGEN_FUZZ_SECONDS";
    private const double UsualSeconds = 1;

    // Of a file of some kilobytes. A table of a vocabulary and of what a template may make has a size of its own.
    private const long MostAllocated = 96L << 20;

    // Its own limits are of what it computes and of how long texts are.
    private const long MostOfTemplate = 4L << 30;

    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(20);

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-fuzz").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("gguf")]
    [InlineData("safetensors")]
    [InlineData("index")]
    [InlineData("llama2c")]
    [InlineData("llmc")]
    [InlineData("npz")]
    [InlineData("pt")]
    [InlineData("imatrix")]
    [InlineData("imatrix.dat")]
    [InlineData("tok512.bin")]
    [InlineData("tokenizer.json")]
    [InlineData("vocab.txt")]
    [InlineData("vocab.json")]
    [InlineData("tiktoken")]
    [InlineData("template")]
    [InlineData("gbnf")]
    [InlineData("schema")]
    [InlineData("config")]
    public void Changed_files_are_read_or_refused(string kind)
    {
        (string path, Action<string> read) = Subject(kind);
        byte[] whole = File.ReadAllBytes(path);
        read(path);
        double seconds = double.TryParse(Environment.GetEnvironmentVariable(SecondsVariable), CultureInfo.InvariantCulture, out double asked) ? asked : UsualSeconds;
        long start = Stopwatch.GetTimestamp();
        (int runs, int refused) = (0, 0);
        for (; Stopwatch.GetElapsedTime(start).TotalSeconds < seconds || runs < 50; runs++)
        {
            byte[] changed = Change(whole, new Random(runs));
            File.WriteAllBytes(path, changed);
            long allocated = GC.GetAllocatedBytesForCurrentThread(), begun = Stopwatch.GetTimestamp();
            try
            {
                read(path);
            }
            catch (Exception exception) when (exception is IOException or InvalidDataException or NotSupportedException or ToolException or GrammarException)
            {
                refused++;
            }
            catch (Exception exception)
            {
                throw new InvalidOperationException($"{kind}, seed {runs}: {Convert.ToBase64String(changed.AsSpan(0, Math.Min(changed.Length, 3000)))}", exception);
            }

            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            Assert.True(allocated < (kind == "template" ? MostOfTemplate : MostAllocated) + (400L * changed.Length), $"{kind}, seed {runs}: {allocated} bytes allocated for a file of {changed.Length}");
            Assert.True(Stopwatch.GetElapsedTime(begun) < s_longest, $"{kind}, seed {runs}: {Stopwatch.GetElapsedTime(begun)}");
        }

        Assert.InRange(refused, 1, runs);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{kind}: {runs} executions in {Stopwatch.GetElapsedTime(start).TotalMinutes:F1} minutes, {refused} refused"));
    }

    // A valid file, and what reads all of it.
    private (string Path, Action<string> Read) Subject(string kind)
    {
        string model = TestData.File("tiny-random-gpt2", "model.safetensors");
        string At(string name) => Path.Combine(_folder, name);
        switch (kind)
        {
            case "gguf":
                var gguf = new GgufWriter();
                gguf.Set("general.architecture", "llama");
                gguf.Set("llama.block_count", 1u);
                gguf.Set("llama.attention.head_count", 2u);
                gguf.Set("tokenizer.chat_template", "{% for m in messages %}{{ m.role }}{% endfor %}");
                TokenizerFiles.Write(gguf, ByteLevelTrainer.Train(["ab ab ab"], new ByteLevelTrainingOptions { VocabularySize = 260 }));
                foreach (GgmlType type in (GgmlType[])[GgmlType.F16, GgmlType.BF16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q5_1, GgmlType.IQ4_NL, GgmlType.MXFP4, GgmlType.Q4_K, GgmlType.Q6_K])
                {
                    gguf.Add($"blk.0.{type}.weight", [2, 256], type, static (_, values) => values.Fill(0.5f));
                }

                gguf.Save(At("m.gguf"));

                return (At("m.gguf"), path =>
                {
                    using GgufFile file = GgufFile.Open(path);
                    _ = file.Metadata.Count;
                    foreach (GgufValue value in file.Values.Values)
                    {
                        _ = value.ToString();
                    }

                    ReadAll(file);
                    using (WeightFile named = WeightFile.Open(path))
                    {
                        ReadAll(named);
                    }

                    if (TokenizerFiles.Read(file) is { } vocabulary)
                    {
                        Encode(vocabulary);
                    }
                }
                );

            case "safetensors":
                Small().Save(At("m.safetensors"));
                return (At("m.safetensors"), Weights);

            case "index":
                Small().Save(At("a.safetensors"));
                File.WriteAllText(At("m.safetensors.index.json"), """{ "metadata": { "total_size": 100 }, "weight_map": { "a": "a.safetensors", "b": "a.safetensors", "c": "a.safetensors" } }""");
                return (At("m.safetensors.index.json"), Weights);

            case "llama2c":
                using (WeightFile llama = Random(At("l.safetensors"), ("model.embed_tokens.weight", [11, 8]), ("model.norm.weight", [8]), ("model.layers.0.input_layernorm.weight", [8]), ("model.layers.0.post_attention_layernorm.weight", [8]),
                    ("model.layers.0.self_attn.q_proj.weight", [8, 8]), ("model.layers.0.self_attn.k_proj.weight", [4, 8]), ("model.layers.0.self_attn.v_proj.weight", [4, 8]), ("model.layers.0.self_attn.o_proj.weight", [8, 8]),
                    ("model.layers.0.mlp.gate_proj.weight", [12, 8]), ("model.layers.0.mlp.down_proj.weight", [8, 12]), ("model.layers.0.mlp.up_proj.weight", [12, 8])))
                {
                    Llama2cFile.Save(At("m.bin"), new Llama2cHeader(8, 12, 1, 2, 1, 11, 6, true), llama);
                }

                return (At("m.bin"), Weights);

            case "llmc" or "npz" or "pt":
                string name = At(kind == "llmc" ? "m.bin" : "m." + kind);
                if (kind == "llmc")
                {
                    Assert.Equal(0, ToolCommand.Run("convert", model, name).Code);
                }
                else
                {
                    using WeightFile small = Random(At("s.safetensors"), ("w", [3, 5]), ("layer.weight", [2, 2, 2]), ("bias", [7]));
                    if (kind == "npz")
                    {
                        ArchiveExport.SaveNumPy(small, name, null);
                    }
                    else
                    {
                        ArchiveExport.SavePyTorch(small, name, StoredElement.BF16);
                    }
                }

                return (name, Weights);

            case "imatrix" or "imatrix.dat":
                string matrix = At(kind == "imatrix" ? "m.gguf" : "m.dat");
                File.WriteAllText(At("text.txt"), string.Concat(Enumerable.Repeat("Once upon a time there was a dog. ", 30)));
                Assert.Equal(0, ToolCommand.Run("imatrix", TestData.File("stories260K", "stories260K.bin"), "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--text", At("text.txt"), "-o", matrix, "--chunk", "64").Code);
                return (matrix, static path => ImportanceMatrix.Read(path));

            case "tok512.bin":
                File.Copy(TestData.File("stories260K", kind), At(kind));
                return (At(kind), static path => Encode(TokenizerFiles.Read(path)));

            case "tokenizer.json":
                TokenizerFiles.Save(At(kind), ByteLevelTrainer.Train(["ab ab ab abc"], new ByteLevelTrainingOptions { VocabularySize = 270 }));
                return (At(kind), static path => Encode(TokenizerFiles.Read(path)));

            case "vocab.txt":
                File.WriteAllText(At(kind), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##b\n##c\nhello\n");
                return (At(kind), static path => Encode(TokenizerFiles.Read(path)));

            case "vocab.json":
                TokenizerVocabulary bytes = ByteLevelTrainer.Train(["ab ab ab abc"], new ByteLevelTrainingOptions { VocabularySize = 262 });
                File.WriteAllLines(At("merges.txt"), ["#version: 0.2", .. bytes.Merges]);
                File.WriteAllText(At(kind), "{" + string.Join(", ", bytes.Tokens.Select(static (token, id) => $"{System.Text.Json.JsonSerializer.Serialize(token)}: {id}")) + "}");
                return (At(kind), static path => Encode(TokenizerFiles.Read(path)));

            case "tiktoken":
                File.WriteAllLines(At(kind), [.. Enumerable.Range(0, 256).Select(static id => $"{Convert.ToBase64String([(byte)id])} {id}"), "YWI= 256", "YWJj 257"]);
                return (At(kind), static path => Encode(TokenizerFiles.ReadTiktoken(path, "gpt-2")));

            case "template":
                File.Copy(TestData.File("templates", "Qwen-Qwen2.5-7B-Instruct.jinja"), At("t.jinja"));
                return (At("t.jinja"), static path => ChatTemplate.Parse(File.ReadAllText(path)).Render([new ChatTurn("system", "Be nice."), new ChatTurn("user", "Hi"), new ChatTurn("assistant", "Yes?"), new ChatTurn("user", "No.")]));

            case "gbnf":
                File.WriteAllText(At("g.gbnf"), "root ::= object\nobject ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\"\npair ::= string \":\" ws value\nvalue ::= string | number | object\nstring ::= \"\\\"\" [^\"\\\\]{0,20} \"\\\"\" ws\nnumber ::= \"-\"? [0-9]+ (\".\" [0-9]{1,5})? ws\nws ::= [ \\t\\n]*\n");
                return (At("g.gbnf"), static path => Grammar.Parse(File.ReadAllText(path)));

            case "schema":
                File.WriteAllText(At("s.json"), """{ "type": "object", "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 20 }, "age": { "type": "integer" }, "tags": { "type": "array", "items": { "enum": ["a", "b", 3] }, "maxItems": 4 } }, "required": ["name"], "additionalProperties": false, "$defs": { "x": { "type": "null" } } }""");
                return (At("s.json"), static path => Grammar.FromJsonSchema(File.ReadAllText(path)));

            default:
                RandomCheckpoint.Write(_folder, "llama", """ "num_key_value_heads": 2, "rope_scaling": { "rope_type": "dynamic", "factor": 2.0 } """);
                return (At("config.json"), path =>
                {
                    using ModelSource source = ModelSource.Open(At("model.safetensors"));
                    _ = source.DeclareAsStored(null).Shown;
                }
                );
        }
    }

    private static SafetensorsWriter Small()
    {
        var writer = new SafetensorsWriter();
        writer.Metadata["k"] = "v";
        writer.Add("a", [3, 2], new float[6]);
        writer.Add("b", [4], SafetensorsType.BF16, static (_, values) => values.Fill(1));
        writer.Add("c", [5], SafetensorsType.F8E4M3, static (_, values) => values.Fill(1));
        return writer;
    }

    private static WeightFile Random(string path, params (string Name, int[] Shape)[] tensors)
    {
        var random = new Random(1);
        var writer = new SafetensorsWriter();
        foreach ((string name, int[] shape) in tensors)
        {
            writer.Add(name, shape, new float[shape.Aggregate(1, static (product, extent) => product * extent)].Select(_ => random.NextSingle()).ToArray());
        }

        writer.Save(path);
        return WeightFile.Open(path);
    }

    private static void Weights(string path)
    {
        using WeightFile file = WeightFile.Open(path);
        ReadAll(file);
    }

    private static void ReadAll(WeightFile file)
    {
        _ = file.Metadata.Sum(static entry => entry.Value.Length);
        foreach (WeightTensor tensor in file.Tensors.Where(static tensor => tensor.IsFloat))
        {
            file.ReadFloats(tensor, 0, new float[Math.Min(tensor.Length, 1 << 16)]);
        }
    }

    private static void Encode(TokenizerVocabulary vocabulary)
    {
        TextTokenizer tokenizer;
        try
        {
            tokenizer = TextTokenizer.Create(vocabulary);
        }
        catch (ArgumentException exception)
        {
            // What Load makes of it.
            throw new InvalidDataException(exception.Message, exception);
        }

        try
        {
            _ = tokenizer.Decode(tokenizer.Encode("abc ab <s> é 漢 12"));
        }
        catch (ArgumentException)
        {
            // A vocabulary may lack what a text needs.
        }
    }

    private static byte[] Change(byte[] whole, Random random)
    {
        var changed = new List<byte>(whole);
        for (int count = random.Next(1, 5); count > 0 && changed.Count > 0; count--)
        {
            // Where headers are, mostly.
            int at = random.Next(random.Next(3) == 0 ? changed.Count : Math.Min(changed.Count, 1024));
            int length = Math.Min(random.Next(1, 40), changed.Count - at);
            switch (random.Next(9))
            {
                case 0:
                    changed[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    changed[at] = (byte)random.Next(256);
                    break;
                case 2:
                    changed.RemoveRange(at, length);
                    break;
                case 3:
                    changed.InsertRange(at, changed.GetRange(at, length));
                    break;
                case 4:
                    changed.RemoveRange(at, changed.Count - at);
                    break;
                case 5:
                    byte[] number = new byte[sizeof(long)];
                    long[] odd = [0, 1, -1, int.MaxValue, int.MinValue, uint.MaxValue, long.MaxValue, long.MinValue, changed.Count, changed.Count + 1L, 1L << 40, random.Next()];
                    BinaryPrimitives.WriteInt64LittleEndian(number, odd[random.Next(odd.Length)]);
                    for (int i = 0; i < (random.Next(2) == 0 ? sizeof(int) : sizeof(long)) && at + i < changed.Count; i++)
                    {
                        changed[at + i] = number[i];
                    }

                    break;
                case 6:
                    string[] pieces = ["-1", "0", "99999999999999999999", "1e999", "null", "true", "\"\"", "[", "]", "{", "}", "[[[[[[[[", ",", ":", "\\ud800", "%}", "{%", "{{", "}}", "(", ")", "*", "{0,1000000}", "\n", "::=", "\"$ref\": \"#\","];
                    changed.InsertRange(at, Encoding.UTF8.GetBytes(pieces[random.Next(pieces.Length)]));
                    break;
                case 7:
                    int from = random.Next(changed.Count);
                    List<byte> part = changed.GetRange(from, Math.Min(length, changed.Count - from));
                    changed.InsertRange(at, part);
                    break;
                default:
                    for (int i = 0; i < length; i++)
                    {
                        changed[at + i] = (byte)(random.Next(2) * 255);
                    }

                    break;
            }
        }

        return [.. changed];
    }
}
