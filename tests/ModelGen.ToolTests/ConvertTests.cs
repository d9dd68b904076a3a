using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>What a configuration says, through declarations and other formats.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ConvertTests : IDisposable
{
    private const string Scaling = """ "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 """;

    private readonly TemporaryFile _folder = new("out");

    public void Dispose() => _folder.Dispose();

    // Archives of tensors, several files with an index, 8-bit floats: each is read again, and says the same.
    [Theory]
    [InlineData("m.npz", null, 0)]
    [InlineData("m.npz", "F16", 2e-3)]
    [InlineData("m.pt", null, 0)]
    [InlineData("m.pth", "F16", 2e-3)]
    [InlineData("m.pt", "BF16", 2e-2)]
    [InlineData("m.safetensors.index.json", null, 0)]
    [InlineData("m.safetensors.index.json", "BF16", 2e-2)]
    [InlineData("m.safetensors", "F8_E4M3", 0.1)]
    [InlineData("m.safetensors", "F8_E5M2", 0.2)]
    public void Every_format_that_is_read_is_written(string name, string? weights, double tolerance)
    {
        string source = TestData.File("stories260K", "stories260K.bin");
        string[] options = [.. weights is null ? Array.Empty<string>() : ["--weights", weights], .. name.EndsWith("json", StringComparison.Ordinal) ? ["--shard-size", "200K"] : Array.Empty<string>()];
        JsonElement said = ToolCommand.Json(["convert", source, Beside(name), .. options]);
        Assert.Equal(47, said.GetProperty("tensors").GetInt32());
        using (WeightFile expected = WeightFile.Open(source))
        using (WeightFile found = WeightFile.Open(Beside(name)))
        {
            Assert.Equal(expected.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal), found.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
            foreach (WeightTensor tensor in expected.Tensors)
            {
                WeightTensor other = found.Find(tensor.Name)!;
                Assert.Equal(tensor.Shape, other.Shape);
                Assert.Equal(tensor.Shape.Length > 1 && weights is not null ? weights : "F32", other.TypeName);
                (float[] before, float[] after) = (Values(expected, tensor), Values(found, other));
                double error = Math.Sqrt(before.Zip(after, static (a, b) => Math.Pow((double)a - b, 2)).Sum() / before.Sum(static a => (double)a * a));
                Assert.True(error <= tolerance, $"{tensor.Name}: {error}");
                Assert.True(tolerance == 0 || tensor.Shape.Length == 1 || error > 0, tensor.Name);
            }
        }

        // The model is known again: by the configuration in the file, or beside it.
        JsonElement line = ToolCommand.Json("generate", Beside(name), "--prompt-ids", "1", "--tokens", "20", "--temperature", "0");
        Assert.Equal(20, line.GetProperty("ids").GetArrayLength());
        if (tolerance == 0)
        {
            Assert.Equal([403, 407, 261, 378, 432, 383, 286, 261, 376, 298], line.GetProperty("ids").EnumerateArray().Take(10).Select(static id => id.GetInt32()));
        }

        if (name.EndsWith("json", StringComparison.Ordinal))
        {
            Assert.True(Directory.GetFiles(Folder, "m-*-of-*.safetensors").Length > 2);
        }

        static float[] Values(WeightFile file, WeightTensor tensor)
        {
            float[] values = new float[tensor.Length];
            file.ReadFloats(tensor, 0, values);
            return values;
        }
    }

    [Theory]
    [InlineData(null, 0)]
    [InlineData("BF16", 5e-3)]
    public void Gpt2_is_written_as_llmc_has_it(string? weights, double tolerance)
    {
        string source = TestData.File("tiny-random-gpt2", "model.safetensors");
        Assert.Equal(0, ToolCommand.Run(["convert", source, Beside("gpt2.bin"), .. weights is null ? Array.Empty<string>() : ["--weights", weights], "--json"]).Code);
        using WeightFile expected = WeightFile.Open(source);
        using WeightFile found = WeightFile.Open(Beside("gpt2.bin"));
        Assert.Equal(WeightFileFormat.Llmc, found.Format);

        // Rows of the vocabulary come in groups of 128.
        Assert.Equal("1024", found.Metadata["Vp"]);
        Assert.Equal(expected.Tensors.Count, found.Tensors.Count);
        foreach (WeightTensor tensor in expected.Tensors)
        {
            float[] before = new float[tensor.Length], after = new float[tensor.Length];
            expected.ReadFloats(tensor, 0, before);
            found.ReadFloats(found.Find(tensor.Name)!, 0, after);
            Assert.All(before.Zip(after), pair => Assert.True(Math.Abs(pair.First - pair.Second) <= tolerance * Math.Abs(pair.First), tensor.Name));
        }

        Assert.Equal(2, ToolCommand.Run("convert", source, Beside("gpt2.bin"), "--weights", "F16").Code);
    }

    // Beyond the configuration's context the base is another one, and up to it nothing is.
    [Fact]
    public void Dynamic_positions_go_beyond_the_context_of_a_configuration()
    {
        string model = RandomCheckpoint.Write(Folder, "llama", """ "rms_norm_eps": 1e-5, "rope_scaling": { "rope_type": "dynamic", "factor": 2.0 } """);
        string declared = ToolCommand.Json("inspect", model, "--no-cost", "--context", "256").GetProperty("declaration").GetString()!;
        Assert.All(["RotaryScaling = RotaryScaling.Dynamic", "RotaryFactor = 2", "RotaryOriginalContext = 128", "Context = 256"], option => Assert.Contains(option, declared, StringComparison.Ordinal));
        ToolCommand.Result refused = ToolCommand.Run("inspect", model, "--no-cost", "--context", "257");
        Assert.Equal(2, refused.Code);
        Assert.Contains("at most 256", refused.Error, StringComparison.Ordinal);
        string[] generate = ["--prompt-ids", "1,5,9,300", "--tokens", "12", "--temperature", "0", "--ignore-eos"];
        int[] Ids(string file, params string[] options) => [.. ToolCommand.Json(["generate", file, .. generate, .. options]).GetProperty("ids").EnumerateArray().Select(static id => id.GetInt32())];
        Convert(model, Beside("dynamic.gguf"));
        Assert.Equal(Ids(model), Ids(Beside("dynamic.gguf")));
        Assert.NotEqual(Ids(model), Ids(model, "--context", "256"));
    }

    [Fact]
    public void A_gguf_file_loses_nothing_by_another_conversion()
    {
        string model = RandomCheckpoint.Write(Folder, "llama", $$""" "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "rope_scaling": { {{Scaling}} } """);
        Convert(model, Beside("a.gguf"), "--tokenizer", TestData.File("stories260K", "tok512.bin"));

        // What other programs put there, and this one does not read.
        using (GgufFile first = GgufFile.Open(Beside("a.gguf")))
        {
            var writer = new GgufWriter();
            foreach ((string key, GgufValue value) in first.Values)
            {
                writer.Set(key, value);
            }

            writer.Set("tokenizer.chat_template", "{{ messages }}");
            writer.Set("tokenizer.ggml.eot_token_id", 2u);
            writer.Set("general.license", "mit");
            writer.Set("llama.unheard", 3.5f);
            foreach (GgufTensor tensor in first.Tensors)
            {
                writer.Add(tensor.Name, tensor.Shape.AsSpan(), GgmlType.F32, (start, destination) => first.ReadFloats(tensor, start, destination));
            }

            writer.Save(Beside("b.gguf"));
        }

        Convert(Beside("b.gguf"), Beside("c.gguf"), "--weights", "F16");
        Convert(Beside("c.gguf"), Beside("e.gguf"), "--weights", "Q8_0");
        Convert(Beside("e.gguf"), Beside("f.gguf"));
        Assert.Equal([0, 0, 1, 7, 7], ((string[])["a.gguf", "b.gguf", "c.gguf", "e.gguf", "f.gguf"]).Select(FileType));
        using GgufFile before = GgufFile.Open(Beside("b.gguf"));
        using (GgufFile after = GgufFile.Open(Beside("c.gguf")))
        {
            Assert.Equal(before.Values.Keys.Order(StringComparer.Ordinal), after.Values.Keys.Order(StringComparer.Ordinal));
            Assert.Equal(before.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal), after.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
            Assert.Equal(before.Metadata.Where(static entry => entry.Key != "general.file_type").OrderBy(static entry => entry.Key, StringComparer.Ordinal), after.Metadata.Where(static entry => entry.Key != "general.file_type").OrderBy(static entry => entry.Key, StringComparer.Ordinal));
            Assert.Equal(before.Values["tokenizer.ggml.tokens"].Texts(), after.Values["tokenizer.ggml.tokens"].Texts());
            Assert.Equal(Floats(before, "rope_freqs.weight"), Floats(after, "rope_freqs.weight"));
        }

        // With another vocabulary, that is the one; the template stays.
        Convert(Beside("b.gguf"), Beside("d.gguf"), "--tokenizer", TestData.File("tokenizers", "tokenizer.bin"));
        using (GgufFile other = GgufFile.Open(Beside("d.gguf")))
        {
            Assert.Equal(32000, other.Values["tokenizer.ggml.tokens"].Count);
            Assert.Equal("{{ messages }}", other.Metadata["tokenizer.chat_template"]);
            Assert.False(other.Values.ContainsKey("tokenizer.ggml.eot_token_id"));
        }

        string declared = Declared(model);
        Assert.Contains("RotaryScaling = RotaryScaling.Llama3", declared, StringComparison.Ordinal);
        Assert.Contains("RotaryBase = 500000", declared, StringComparison.Ordinal);
        Convert(Beside("c.gguf"), Beside("c.safetensors"));
        Assert.All(["a.gguf", "c.gguf", "c.safetensors"], name => Assert.Equal(Sorted(declared), Sorted(Declared(Beside(name)))));

        long FileType(string name)
        {
            using GgufFile file = GgufFile.Open(Beside(name));
            return file.Values["general.file_type"].AsInteger()!.Value;
        }

        static float[] Floats(GgufFile file, string name)
        {
            float[] values = new float[file.Find(name)!.Length];
            file.ReadFloats(file.Find(name)!, 0, values);
            return values;
        }

        static string Sorted(string declaration) => string.Join(", ", declaration[(declaration.IndexOf('(', StringComparison.Ordinal) + 1)..^2].Split(", ").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_is_no_number_is_named()
    {
        Convert(RandomCheckpoint.Write(Folder, "llama", "\"num_key_value_heads\": 2"), Beside("a.gguf"));
        using (GgufFile file = GgufFile.Open(Beside("a.gguf")))
        {
            var writer = new GgufWriter();
            foreach ((string key, GgufValue value) in file.Values)
            {
                if (key == "llama.attention.layer_norm_rms_epsilon")
                {
                    writer.Set(key, float.NaN);
                }
                else
                {
                    writer.Set(key, value);
                }
            }

            foreach (GgufTensor tensor in file.Tensors)
            {
                writer.Add(file, tensor);
            }

            writer.Save(Beside("b.gguf"));
        }

        ToolCommand.Result refused = ToolCommand.Run("import", Beside("b.gguf"));
        Assert.Equal(1, refused.Code);
        Assert.Contains("rms_norm_eps: expected a number, found NaN", refused.Error, StringComparison.Ordinal);
    }

    // 30/44 of 44, as floats of 64 bits, is less than 30.
    [Fact]
    public void As_many_channels_are_turned_as_a_file_says()
    {
        string model = RandomCheckpoint.Write(Folder, "stablelm", """ "num_key_value_heads": 2, "head_dim": 44, "partial_rotary_factor": 0.6818181818181819, "use_qkv_bias": false """);
        Convert(model, Beside("a.gguf"));
        using (GgufFile file = GgufFile.Open(Beside("a.gguf")))
        {
            Assert.Equal(30, file.Values["stablelm.rope.dimension_count"].AsInteger());
        }

        using ModelSource source = ModelSource.Open(Beside("a.gguf"));
        double fraction = double.Parse(source.Declare(null).Arguments.Single(static argument => argument.Name == "RotaryFraction").Value, System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(30, (int)(44 * fraction));
    }

    // Blocks of four-bit floats are made of the floats that they stand for without loss, whatever power of two they had.
    [Fact]
    public void Experts_in_blocks_stay_in_blocks()
    {
        string model = RandomCheckpoint.Write(Folder, "gpt_oss", """ "stored": "blocks", "head_dim": 32, "num_key_value_heads": 2, "sliding_window": 20, "num_local_experts": 6, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "swiglu_limit": 7.0, "rope_theta": 150000.0, "tie_word_embeddings": false """);
        string output = Path.Combine(Folder, "blocks.gguf");
        Assert.Equal("", ToolCommand.Run("convert", model, output).Error);
        using (GgufFile file = GgufFile.Open(output))
        {
            Assert.All(file.Tensors, static tensor => Assert.Equal(tensor.Name.Contains("_exps.weight", StringComparison.Ordinal), tensor.Type == GgmlType.MXFP4));
            Assert.Contains(file.Tensors, static tensor => tensor.Type == GgmlType.MXFP4);
        }

        using WeightFile before = WeightFile.Open(model), after = WeightFile.Open(output);
        foreach (WeightTensor tensor in before.Tensors.Where(static tensor => tensor.TypeName == "MXFP4"))
        {
            float[] expected = new float[tensor.Length], found = new float[tensor.Length];
            before.ReadFloats(tensor, 0, expected);
            after.ReadFloats(after.Find(tensor.Name)!, 0, found);
            Assert.Equal(expected, found);
        }
    }

    // Whatever an architecture does to rows, matrices and norms between the two formats: there and back, every bit is what it was.
    [Theory]
    [InlineData("llama", "\"num_key_value_heads\": 2", "Q8_0")]
    [InlineData("llama", "\"num_key_value_heads\": 2", "Q4_0")]
    [InlineData("llama", "\"num_key_value_heads\": 2, \"head_dim\": 24", "F16")]
    [InlineData("llama", "\"num_key_value_heads\": 2", "BF16")]
    [InlineData("gemma3_text", "\"num_key_value_heads\": 1, \"head_dim\": 32, \"query_pre_attn_scalar\": 32, \"rms_norm_eps\": 1e-6, \"sliding_window\": 20", "Q8_0")]
    [InlineData("phi3", "\"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-5", "Q5_1")]
    [InlineData("gpt_neox", "\"hidden_act\": \"gelu_new\", \"rotary_pct\": 0.25, \"use_parallel_residual\": true, \"layer_norm_eps\": 1e-5", "Q4_1")]
    [InlineData("mixtral", "\"num_key_value_heads\": 2, \"num_local_experts\": 5, \"num_experts_per_tok\": 2", "Q5_0")]
    [InlineData("mamba2", "\"time_step_limit\": [0.0, Infinity], \"num_heads\": 6, \"head_dim\": 32, \"n_groups\": 2, \"state_size\": 16, \"expand\": 2, \"conv_kernel\": 4", "Q8_0")]
    [InlineData("gpt2", "", "Q4_0")]
    public void Files_of_one_format_keep_every_bit(string type, string options, string weights)
    {
        string model = type == "gpt2" ? Path.GetDirectoryName(TestData.File("tiny-random-gpt2", "model.safetensors"))! : RandomCheckpoint.Write(Folder, type, options);
        Convert(model, Beside("a.gguf"), "--weights", weights);
        Convert(Beside("a.gguf"), Beside("b.gguf"));
        Convert(Beside("a.gguf"), Beside("c.gguf"), "--weights", weights);
        using GgufFile before = GgufFile.Open(Beside("a.gguf"));
        Assert.Contains(before.Tensors, tensor => tensor.TypeName == weights || type == "gpt2");
        foreach (string name in (string[])["b.gguf", "c.gguf"])
        {
            using GgufFile after = GgufFile.Open(Beside(name));
            Assert.Equal(before.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal), after.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal));
            Assert.Equal(before.Tensors.Count, after.Tensors.Count);
            Assert.All(before.Tensors, tensor =>
            {
                Assert.Equal(tensor.Type, after.Find(tensor.Name)!.Type);
                Assert.Equal(Bytes(before, tensor.Name), Bytes(after, tensor.Name));
            });
        }

        // 16-bit floats go through a checkpoint and back.
        if (weights is "F16" or "BF16")
        {
            Convert(Beside("a.gguf"), Beside("d.safetensors"));
            Convert(Beside("d.safetensors"), Beside("e.gguf"));
            using WeightFile checkpoint = WeightFile.Open(Beside("d.safetensors"));
            using GgufFile after = GgufFile.Open(Beside("e.gguf"));
            Assert.Contains(checkpoint.Tensors, tensor => tensor.TypeName == weights);
            Assert.All(before.Tensors, tensor => Assert.Equal(Bytes(before, tensor.Name), Bytes(after, tensor.Name)));
        }
    }

    [Fact]
    public void Phi3s_checkpoints_have_their_own_tensors_again()
    {
        string model = RandomCheckpoint.Write(Folder, "phi3", "\"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-5");
        Convert(model, Beside("a.gguf"));
        Convert(Beside("a.gguf"), Beside("b.safetensors"));
        using SafetensorsFile before = SafetensorsFile.Open(model), after = SafetensorsFile.Open(Beside("b.safetensors"));
        Assert.Contains(before.Tensors, static tensor => tensor.Name.EndsWith("qkv_proj.weight", StringComparison.Ordinal));
        Assert.Equal(before.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal), after.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
        foreach (SafetensorsTensor tensor in before.Tensors)
        {
            float[] expected = new float[tensor.Length], found = new float[tensor.Length];
            before.ReadFloats(tensor, 0, expected);
            after.ReadFloats(after.Find(tensor.Name)!, 0, found);
            Assert.Equal(expected, found);
        }
    }

    // Checkpoints of LFM2 call projections otherwise than models do: rules of formats go by either name.
    [Fact]
    public void Mixed_files_are_held_as_they_are_stored()
    {
        string model = RandomCheckpoint.Write(Folder, "lfm2", """ "num_key_value_heads": 2, "norm_eps": 1e-5, "conv_L_cache": 3, "conv_bias": false, "layer_types": ["conv", "full_attention", "conv"], "tie_word_embeddings": true """);
        Convert(model, Beside("a.gguf"), "--weights", "Q8_0");
        using (GgufFile first = GgufFile.Open(Beside("a.gguf")))
        {
            var writer = new GgufWriter();
            foreach ((string key, GgufValue value) in first.Values)
            {
                writer.Set(key, value);
            }

            foreach (GgufTensor tensor in first.Tensors)
            {
                if (tensor.Name is "blk.0.ffn_down.weight" or "blk.2.ffn_gate.weight" or "blk.1.attn_output.weight" or "blk.0.shortconv.out_proj.weight")
                {
                    writer.Add(tensor.Name, tensor.Shape.AsSpan(), GgmlType.F16, (start, destination) => first.ReadFloats(tensor, start, destination));
                }
                else
                {
                    writer.Add(first, tensor);
                }
            }

            writer.Save(Beside("b.gguf"));
        }

        using GgufFile mixed = GgufFile.Open(Beside("b.gguf"));
        using ModelSource source = ModelSource.Open(Beside("b.gguf"));
        var parameters = (IReadOnlyList<ParameterInfo>)ModelAssembly.Of(source.DeclareAsStored(null)).Type.GetProperty("Parameters")!.GetValue(null)!;
        int others = 0;
        foreach (ParameterInfo parameter in parameters)
        {
            string name = GgufWriter.TensorName("lfm2", parameter.Name)!;
            Assert.Equal(mixed.Find(name)!.TypeName, parameter.Format.ToString());
            others += parameter.Format == WeightFormat.F16 ? 1 : 0;
        }

        Assert.Equal(4, others);
        Assert.Null(GgufWriter.TensorName("lfm2", "model.layers.0.unheard.weight"));
        Assert.Null(GgufWriter.TensorName("unheard", "model.norm.weight"));
    }

    // Transformers 4 and 5 say the same in other places.
    [Theory]
    [InlineData("llama", "\"rope_theta\": 500000.0, \"rope_scaling\": { " + Scaling + " }", "\"rope_parameters\": { \"rope_theta\": 500000.0, " + Scaling + " }")]
    [InlineData("llama", "\"rope_theta\": 20000.0", "\"rope_parameters\": { \"rope_type\": \"default\", \"rope_theta\": 20000.0 }")]
    [InlineData("llama", "\"partial_rotary_factor\": 0.5", "\"rope_parameters\": { \"rope_type\": \"default\", \"rope_theta\": 10000.0, \"partial_rotary_factor\": 0.5 }")]
    [InlineData("gemma3_text", "\"head_dim\": 32, \"rope_theta\": 1000000.0, \"rope_local_base_freq\": 5000.0, \"rope_scaling\": { \"rope_type\": \"linear\", \"factor\": 8.0 }", "\"head_dim\": 32, \"rope_parameters\": { \"full_attention\": { \"rope_type\": \"linear\", \"factor\": 8.0, \"rope_theta\": 1000000.0 }, \"sliding_attention\": { \"rope_type\": \"default\", \"rope_theta\": 5000.0 } }")]
    [InlineData("qwen2", "\"sliding_window\": 16", "\"sliding_window\": 16, \"use_sliding_window\": false")]
    [InlineData("qwen2", "\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 2", "\"sliding_window\": 16, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\", \"full_attention\", \"sliding_attention\"]")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5", "\"rms_norm_eps\": 9.999999747378752e-06")]
    public void Configurations_that_say_the_same_are_declared_alike(string type, string one, string other)
    {
        string declared = Declared(RandomCheckpoint.Write(Folder, type, one));
        Assert.Equal(declared, Declared(RandomCheckpoint.Write(Folder, type, other)));
        Assert.Equal(one.Contains("use_sliding_window\": true", StringComparison.Ordinal), declared.Contains("LayerWindows", StringComparison.Ordinal) && type == "qwen2");
    }

    [Theory]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5", "")]
    [InlineData("mistral", "\"rms_norm_eps\": 1e-5, \"sliding_window\": 128, \"num_key_value_heads\": 2, \"tie_word_embeddings\": true", "")]
    [InlineData("llama", "\"tie_word_embeddings\": true", "NormEpsilon")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"rope_theta\": 20000.0", "RotaryBase")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"rope_parameters\": { \"rope_theta\": 20000.0 }", "RotaryBase")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"rope_scaling\": { \"type\": \"linear\", \"factor\": 2.0 }", "RotaryScaling")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"partial_rotary_factor\": 0.5", "RotaryFraction")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"hidden_act\": \"gelu\"", "Activation")]
    [InlineData("mistral", "\"rms_norm_eps\": 1e-5, \"sliding_window\": 64", "Window")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"head_dim\": 32", "HeadWidth")]
    [InlineData("qwen2", "\"rms_norm_eps\": 1e-5", "QkvBias")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"x\": 1", "num_attention_heads")]
    [InlineData("llama", "\"rms_norm_eps\": 1e-5, \"x\": 1, \"x\": 2", "expected JSON")]
    public void Llama2c_files_hold_what_they_can(string type, string options, string refused)
    {
        string model = refused == "expected JSON" ? RandomCheckpoint.Write(Folder, type, "\"x\": 1") : RandomCheckpoint.Write(Folder, type, options);
        if (refused == "expected JSON")
        {
            File.WriteAllText(Beside("config.json"), "{ \"model_type\": \"llama\", " + options + " }");
        }

        if (refused == "num_attention_heads")
        {
            string config = File.ReadAllText(Beside("config.json"));
            File.WriteAllText(Beside("config.json"), config.Replace("\"num_attention_heads\": 6", "\"num_attention_heads\": 0", StringComparison.Ordinal));
        }

        ToolCommand.Result result = ToolCommand.Run("convert", model, Beside("m.bin"));
        Assert.Equal(refused.Length > 0 ? 1 : 0, result.Code);
        Assert.Contains(refused, result.Error, StringComparison.Ordinal);
        Assert.Equal(refused.Length == 0, File.Exists(Beside("m.bin")));
    }

    [Theory]
    [InlineData("llama", "\"hidden_act\": \"gelu\"", "hidden_act")]
    [InlineData("llama", "\"partial_rotary_factor\": 0.5", "partial_rotary_factor")]
    [InlineData("gemma3_text", "\"head_dim\": 32, \"query_pre_attn_scalar\": 64", "query_pre_attn_scalar")]
    [InlineData("gemma3_text", "\"head_dim\": 32, \"query_pre_attn_scalar\": 32, \"final_logit_softcapping\": 30.0", "final_logit_softcapping")]
    [InlineData("gemma3_text", "\"head_dim\": 32, \"query_pre_attn_scalar\": 32, \"rope_local_base_freq\": 5000.0", "")]
    public void Gguf_files_hold_what_their_readers_compute(string type, string options, string refused)
    {
        string model = RandomCheckpoint.Write(Folder, type, options);
        ToolCommand.Result result = ToolCommand.Run("convert", model, Beside("m.gguf"));
        Assert.Equal(refused.Length > 0 ? 1 : 0, result.Code);
        Assert.Contains(refused, result.Error, StringComparison.Ordinal);
        if (refused.Length == 0)
        {
            Assert.Contains("WindowRotaryBase = 5000", Declared(Beside("m.gguf")), StringComparison.Ordinal);
        }
    }

    // 27B: 5,376 channels over 32 heads of 128; the others divide by their heads' width.
    [Theory]
    [InlineData(62, 1 / 12.961481396815721)]
    [InlineData(48, null)]
    public void Gemmas_scale_is_known_by_its_layers(int layers, double? scale)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", "gemma3");
        foreach ((string key, uint value) in ((string, uint)[])[("embedding_length", 5376), ("block_count", (uint)layers), ("attention.head_count", 32), ("attention.head_count_kv", 16), ("attention.key_length", 128), ("context_length", 1024), ("feed_forward_length", 21504)])
        {
            writer.Set("gemma3." + key, value);
        }

        writer.Add("token_embd.weight", [1, 1], GgmlType.F32, static (_, _) => { });
        writer.Save(Beside("m.gguf"));
        string declared = Declared(Beside("m.gguf"));
        int at = declared.IndexOf("AttentionScale = ", StringComparison.Ordinal);
        Assert.Equal(scale is null, at < 0);
        if (scale is { } expected)
        {
            Assert.Equal(expected, double.Parse(declared[(at + "AttentionScale = ".Length)..].Split(',')[0], System.Globalization.CultureInfo.InvariantCulture), 1e-12);
        }
    }

    [Fact]
    public void Parts_of_transposed_matrices_are_parts_of_the_whole()
    {
        string folder = Path.GetDirectoryName(TestData.File("tiny-random-gpt2", "model.safetensors"))!;
        Convert(folder, Beside("g.gguf"));
        using WeightFile gguf = WeightFile.Open(Beside("g.gguf"));
        using WeightFile checkpoint = WeightFile.Open(Path.Combine(folder, "model.safetensors"));
        WeightTensor matrix = gguf.Find("transformer.h.0.attn.c_attn.weight")!;
        float[] whole = new float[matrix.Length];
        checkpoint.ReadFloats(checkpoint.Find(matrix.Name)!, 0, whole);
        Parallel.For(0, 200, number =>
        {
            var random = new Random(number);
            int start = random.Next(whole.Length);
            float[] part = new float[number == 0 ? 0 : random.Next(whole.Length - start + 1)];
            gguf.ReadFloats(matrix, start, part);
            Assert.Equal(whole[start..(start + part.Length)], part);
        });
    }

    private static byte[] Bytes(GgufFile file, string name)
    {
        GgufTensor tensor = file.Find(name)!;
        byte[] bytes = new byte[tensor.ByteLength];
        file.ReadBytes(tensor, 0, bytes);
        return bytes;
    }

    private string Folder => Path.GetDirectoryName(_folder.Path)!;

    private static string Declared(string path)
    {
        using ModelSource source = ModelSource.Open(path);
        return source.Declare(null).Shown;
    }

    private static void Convert(string from, string to, params string[] options)
    {
        ToolCommand.Result result = ToolCommand.Run(["convert", from, to, .. options]);
        Assert.Equal("", result.Error);
        Assert.Equal(0, result.Code);
    }

    private string Beside(string name) => Path.Combine(Folder, name);
}
