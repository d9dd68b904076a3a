using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>The encoders that people embed with, with random weights under their checkpoints' names: from the checkpoint and from the GGUF file made of it, they give llama.cpp's vectors.</summary>
[Collection(ToolCommand.Collection)]
public sealed class EncoderFileTests : IDisposable
{
    // Sizes that have no factor in common but the heads'.
    private const int Width = 48, Heads = 4, Hidden = 88, Layers = 4, Vocabulary = 512, Positions = 70;

    private const string Bert = """ "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 88, "vocab_size": 512 """;

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-encoder").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "type_vocab_size": 2, "layer_norm_eps": 1e-12 """, "mean")]
    [InlineData("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "type_vocab_size": 2, "layer_norm_eps": 1e-5 """, "cls")]
    [InlineData("roberta", $$""" {{Bert}}, "max_position_embeddings": 72, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5 """, "mean")]
    [InlineData("xlm-roberta", $$""" {{Bert}}, "max_position_embeddings": 72, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5 """, "cls")]
    [InlineData("distilbert", """ "dim": 48, "n_heads": 4, "n_layers": 4, "hidden_dim": 88, "vocab_size": 512, "max_position_embeddings": 70, "activation": "gelu", "sinusoidal_pos_embds": false """, "mean")]
    [InlineData("nomic_bert", """ "n_embd": 48, "n_head": 4, "n_layer": 4, "n_inner": 88, "vocab_size": 512, "n_positions": 70, "activation_function": "swiglu", "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "qkv_proj_bias": false, "mlp_fc1_bias": false, "prenorm": false, "use_rms_norm": null, "type_vocab_size": 2, "layer_norm_epsilon": 1e-12 """, "mean")]
    [InlineData("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "type_vocab_size": 2, "position_embedding_type": "alibi", "feed_forward_type": "geglu", "layer_norm_eps": 1e-12 """, "mean")]
    [InlineData("modernbert", $$""" {{Bert}}, "max_position_embeddings": 70, "global_attn_every_n_layers": 3, "local_attention": 8, "global_rope_theta": 160000.0, "local_rope_theta": 5000.0, "norm_eps": 1e-5, "hidden_activation": "gelu" """, "mean")]
    [InlineData("modernbert", $$""" {{Bert}}, "max_position_embeddings": 70, "global_attn_every_n_layers": 2, "local_attention": 128, "norm_eps": 1e-5 """, "cls")]
    public void Random_encoders_give_llama_cpps_vectors(string type, string config, string pooling)
    {
        LlamaCpp.Require();
        string model = Write(type, config, pooling, scope: type is "roberta" ? "roberta." : type == "distilbert" ? "distilbert." : "");
        string gguf = Path.Combine(_folder, "m.gguf");
        Assert.Equal("", ToolCommand.Run("convert", model, gguf, "--tokenizer", TestData.File("stories260K", "tok512.bin")).Error);
        var random = new Random(6);
        int[] tokens = [1, .. Enumerable.Range(0, 60).Select(_ => random.Next(3, Vocabulary))];
        float[] expected = LlamaCpp.Embedding(gguf, tokens);
        foreach (string path in (string[])[model, gguf])
        {
            float[] found = Embed(path, tokens);
            double largest = expected.Zip(found, static (a, b) => Math.Abs((double)a - b)).Max();
            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{type}, {Path.GetExtension(path)}: largest difference {largest:G3} of vectors of norm 1"));

            // ggml takes GELU from a table of 16-bit floats.
            Assert.InRange(largest, 0, type == "nomic_bert" ? 2e-5 : 5e-4);
        }

        // The same text one token shorter, and tokens in another order: vectors tell them apart far beyond the tolerance.
        float[] shorter = Embed(gguf, tokens[..^1]), turned = Embed(gguf, [tokens[0], .. tokens[1..].Reverse()]);
        Assert.All([shorter, turned], other => Assert.InRange(expected.Zip(other, static (a, b) => Math.Abs(a - b)).Max(), 0.002, 2));

        // What was written is what was read.
        string again = Path.Combine(_folder, "again.gguf");
        Assert.Equal("", ToolCommand.Run("convert", gguf, again).Error);
        using GgufFile first = GgufFile.Open(gguf), second = GgufFile.Open(again);
        Assert.Equal(first.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal), second.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal));
        foreach (GgufTensor tensor in first.Tensors)
        {
            byte[] before = new byte[tensor.ByteLength], after = new byte[tensor.ByteLength];
            first.ReadBytes(tensor, 0, before);
            second.ReadBytes(second.Find(tensor.Name)!, 0, after);
            Assert.Equal(before, after);
        }
    }

    // Older files have the gate and what it lets through as two matrices; gte's configuration says how angles are scaled.
    [Fact]
    public void Gates_are_read_as_each_file_has_them()
    {
        int[] tokens = [1, 40, 41, 42, 99, 7];
        string model = Write("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "type_vocab_size": 2, "position_embedding_type": "alibi", "feed_forward_type": "geglu" """, "mean", "");
        string gguf = Path.Combine(_folder, "m.gguf"), older = Path.Combine(_folder, "older.gguf");
        Assert.Equal("", ToolCommand.Run("convert", model, gguf, "--tokenizer", TestData.File("stories260K", "tok512.bin")).Error);
        using (GgufFile file = GgufFile.Open(gguf))
        {
            Assert.Equal("jina-bert-v2", file.Metadata["general.architecture"]);
            var writer = new GgufWriter();
            foreach ((string key, GgufValue value) in file.Values)
            {
                writer.Set(key, value);
            }

            foreach (GgufTensor tensor in file.Tensors)
            {
                if (!tensor.Name.Contains("ffn_up", StringComparison.Ordinal))
                {
                    writer.Add(file, tensor);
                    continue;
                }

                Assert.Equal([2L * Hidden, Width], tensor.Shape);
                writer.Add(tensor.Name.Replace("ffn_up", "ffn_gate", StringComparison.Ordinal), [Hidden, Width], GgmlType.F32, (start, destination) => file.ReadFloats(tensor, start, destination));
                writer.Add(tensor.Name, [Hidden, Width], GgmlType.F32, (start, destination) => file.ReadFloats(tensor, start + ((long)Hidden * Width), destination));
            }

            writer.Save(older);
        }

        Assert.Equal(Embed(gguf, tokens), Embed(older, tokens));
        string declared = ToolCommand.Run("import", gguf).Output;
        Assert.All(["Positions = PositionEncoding.Alibi", "GatedFeedForward = true", "FeedForwardInputBias = false"], option => Assert.Contains(option, declared, StringComparison.Ordinal));
        string config = Path.Combine(_folder, "config.json");
        File.WriteAllText(config, $$"""{ "model_type": "new", {{Bert}}, "max_position_embeddings": 70, "type_vocab_size": 1, "rope_theta": 20000, "rope_scaling": { "type": "ntk", "factor": 8.0 } }""");
        declared = ToolCommand.Run("import", model).Output;
        Assert.All(["RotaryBase = 20000", "Segments = 1", "RotaryScaling = RotaryScaling.LongRope", "RotaryAttentionFactor = 1", "RotaryOriginalContext = 70"], option => Assert.Contains(option, declared, StringComparison.Ordinal));
        Assert.Matches("RotaryShortFactors = new double\\[\\] \\{ 1\\.41421356\\d*, 2(\\.0000\\d*)?, 2\\.8284271\\d*, (4|3\\.9999\\d*|4\\.0000\\d*), 5\\.65685\\d*, (8|7\\.9999\\d*) \\}", declared);
    }

    // With the heads that checkpoints for other uses have, and without the prefix that sentence-transformers leaves out.
    [Fact]
    public void Heads_and_prefixes_make_no_difference()
    {
        string config = $$""" {{Bert}}, "max_position_embeddings": 72, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5 """;
        int[] tokens = [1, 40, 41, 42, 99, 7];
        float[] expected = Embed(Write("roberta", config, "mean", ""), tokens);
        Assert.Equal(expected, Embed(Write("roberta", config, "mean", "roberta."), tokens));
        string declared = ToolCommand.Run("import", Write("roberta", config, "mean", "roberta.", hasHead: true)).Output;
        Assert.Contains("FirstPosition = 2", declared, StringComparison.Ordinal);
        Assert.Contains("Context = 70", declared, StringComparison.Ordinal);
        Assert.Contains("Head = BertHead.MaskedLm", declared, StringComparison.Ordinal);
        Assert.Equal(expected, Embed(Path.Combine(_folder, "model.safetensors"), tokens));
    }

    [Theory]
    [InlineData("roberta", $$""" {{Bert}}, "max_position_embeddings": 2, "type_vocab_size": 1 """, "max_position_embeddings")]
    [InlineData("roberta", $$""" {{Bert}}, "max_position_embeddings": 72, "type_vocab_size": 1, "pad_token_id": -3 """, "pad_token_id")]
    [InlineData("nomic_bert", """ "n_embd": 48, "n_head": 4, "n_layer": 4, "n_inner": 88, "vocab_size": 512, "n_positions": 70, "activation_function": "gelu" """, "activation_function")]
    [InlineData("nomic_bert", """ "n_embd": 48, "n_head": 4, "n_layer": 4, "n_inner": 88, "vocab_size": 512, "n_positions": 70, "prenorm": true """, "prenorm")]
    [InlineData("distilbert", """ "dim": 48, "n_heads": 4, "n_layers": 4, "vocab_size": 512, "max_position_embeddings": 70 """, "hidden_dim")]
    [InlineData("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "position_embedding_type": "relative_key" """, "position_embedding_type")]
    [InlineData("bert", $$""" {{Bert}}, "max_position_embeddings": 70, "feed_forward_type": "sparse" """, "feed_forward_type")]
    [InlineData("new", $$""" {{Bert}}, "max_position_embeddings": 70, "layer_norm_type": "rms_norm" """, "layer_norm_type")]
    [InlineData("new", $$""" {{Bert}}, "max_position_embeddings": 70, "logn_attention_scale": true """, "logn_attention_scale")]
    [InlineData("new", $$""" {{Bert}}, "max_position_embeddings": 70, "rope_scaling": { "type": "yarn", "factor": 2.0 } """, "rope_scaling")]
    public void What_is_not_computed_is_refused(string type, string config, string message)
    {
        ToolCommand.Result result = ToolCommand.Run("embed", Write(type, config, "mean", ""), "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--text", "a");
        Assert.Equal(1, result.Code);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
    }

    private float[] Embed(string path, int[] tokens)
    {
        using EncoderModel encoder = EncoderModel.Of(path, TestData.File("stories260K", "tok512.bin"), null, new SessionOptions(), static recipe => recipe with { Normalizes = true });
        float[] found = new float[encoder.Width];
        encoder.Embed(tokens, found);
        return found;
    }

    private string Write(string type, string config, string pooling, string scope, bool hasHead = false)
    {
        File.WriteAllText(Path.Combine(_folder, "config.json"), $$"""{ "model_type": "{{type}}", {{config}} }""");
        File.WriteAllText(Path.Combine(_folder, "modules.json"), """[ { "path": "", "type": "sentence_transformers.models.Transformer" }, { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" }, { "path": "2", "type": "x.Normalize" } ]""");
        Directory.CreateDirectory(Path.Combine(_folder, "1_Pooling"));
        File.WriteAllText(Path.Combine(_folder, "1_Pooling", "config.json"), $$"""{ "pooling_mode_{{pooling}}{{(pooling == "cls" ? "_token" : "_tokens")}}": true }""");
        var random = new Random(11);
        var writer = new SafetensorsWriter();
        switch (type)
        {
            case "modernbert":
                Modern();
                break;
            case "bert" when config.Contains("alibi", StringComparison.Ordinal):
                Jina();
                break;
            case "nomic_bert":
                Nomic();
                break;
            case "distilbert":
                Distilled();
                break;
            default:
                Usual(type == "bert" ? 0 : 2, type == "bert" ? 2 : 1);
                break;
        }

        string model = Path.Combine(_folder, "model.safetensors");
        writer.Save(model);
        return model;

        void Usual(int first, int segments)
        {
            string e = scope + "embeddings.";
            Add(e + "word_embeddings.weight", Vocabulary, Width);
            Add(e + "position_embeddings.weight", Positions + first, Width);
            Add(e + "token_type_embeddings.weight", segments, Width);
            Norm(e + "LayerNorm");
            for (int layer = 0; layer < Layers; layer++)
            {
                string block = $"{scope}encoder.layer.{layer}.";
                foreach (string name in (string[])["query", "key", "value"])
                {
                    Linear($"{block}attention.self.{name}", Width, Width);
                }

                Linear(block + "attention.output.dense", Width, Width);
                Norm(block + "attention.output.LayerNorm");
                Linear(block + "intermediate.dense", Hidden, Width);
                Linear(block + "output.dense", Width, Hidden);
                Norm(block + "output.LayerNorm");
            }

            if (hasHead)
            {
                Linear("lm_head.dense", Width, Width);
                Norm("lm_head.layer_norm");
                Add("lm_head.bias", Vocabulary);
            }
        }

        void Distilled()
        {
            string e = scope + "embeddings.";
            Add(e + "word_embeddings.weight", Vocabulary, Width);
            Add(e + "position_embeddings.weight", Positions, Width);
            Norm(e + "LayerNorm");
            for (int layer = 0; layer < Layers; layer++)
            {
                string block = $"{scope}transformer.layer.{layer}.";
                foreach (string name in (string[])["q_lin", "k_lin", "v_lin", "out_lin"])
                {
                    Linear($"{block}attention.{name}", Width, Width);
                }

                Norm(block + "sa_layer_norm");
                Linear(block + "ffn.lin1", Hidden, Width);
                Linear(block + "ffn.lin2", Width, Hidden);
                Norm(block + "output_layer_norm");
            }
        }

        void Nomic()
        {
            Add("embeddings.word_embeddings.weight", Vocabulary, Width);
            Add("embeddings.token_type_embeddings.weight", 2, Width);
            Norm("emb_ln");
            for (int layer = 0; layer < Layers; layer++)
            {
                string block = $"encoder.layers.{layer}.";
                Add(block + "attn.Wqkv.weight", 3 * Width, Width);
                Add(block + "attn.out_proj.weight", Width, Width);
                Norm(block + "norm1");
                Add(block + "mlp.fc11.weight", Hidden, Width);
                Add(block + "mlp.fc12.weight", Hidden, Width);
                Add(block + "mlp.fc2.weight", Width, Hidden);
                Norm(block + "norm2");
            }
        }

        void Jina()
        {
            Add("embeddings.word_embeddings.weight", Vocabulary, Width);
            Add("embeddings.token_type_embeddings.weight", 2, Width);
            Norm("embeddings.LayerNorm");
            for (int layer = 0; layer < Layers; layer++)
            {
                string block = $"encoder.layer.{layer}.";
                foreach (string name in (string[])["self.query", "self.key", "self.value", "output.dense"])
                {
                    Linear($"{block}attention.{name}", Width, Width);
                }

                Norm(block + "attention.output.LayerNorm");
                Add(block + "mlp.gated_layers.weight", 2 * Hidden, Width);
                Linear(block + "mlp.wo", Width, Hidden);
                Norm(block + "mlp.layernorm");
            }
        }

        void Modern()
        {
            Add("model.embeddings.tok_embeddings.weight", Vocabulary, Width);
            Add("model.embeddings.norm.weight", Width);
            for (int layer = 0; layer < Layers; layer++)
            {
                string block = $"model.layers.{layer}.";
                if (layer > 0)
                {
                    Add(block + "attn_norm.weight", Width);
                }

                Add(block + "attn.Wqkv.weight", 3 * Width, Width);
                Add(block + "attn.Wo.weight", Width, Width);
                Add(block + "mlp_norm.weight", Width);
                Add(block + "mlp.Wi.weight", 2 * Hidden, Width);
                Add(block + "mlp.Wo.weight", Width, Hidden);
            }

            Add("model.final_norm.weight", Width);
        }

        void Linear(string name, int rows, int columns)
        {
            Add(name + ".weight", rows, columns);
            Add(name + ".bias", rows);
        }

        void Norm(string name)
        {
            Add(name + ".weight", Width);
            Add(name + ".bias", Width);
        }

        void Add(string name, params int[] shape)
        {
            bool isScale = shape.Length == 1 && name.EndsWith(".weight", StringComparison.Ordinal);
            double size = shape.Length == 1 ? 0.5 : name.Contains("embeddings", StringComparison.Ordinal) ? 2 : 4 / Math.Sqrt(shape[^1]);
            float[] values = [.. Enumerable.Range(0, shape.Aggregate(static (a, b) => a * b)).Select(_ => (float)((isScale ? 1 : 0) + (size * (random.NextDouble() - 0.5))))];
            writer.Add(name, shape, values);
        }
    }
}
