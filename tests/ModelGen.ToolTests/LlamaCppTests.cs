using System.Text;
using System.Text.Json.Nodes;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Our files in llama.cpp, and llama.cpp's blocks here.</summary>
[Collection(ToolCommand.Collection)]
public sealed class LlamaCppTests : IDisposable
{
    private readonly TemporaryFile _file = new("model.gguf");

    private static readonly Lazy<string> s_stories = new(static () =>
    {
        var stories = new StringBuilder();
        for (int story = 0; story < 160; story++)
        {
            (int code, string output, string error) = ToolCommand.Run("generate", TestData.File("stories260K", "stories260K.bin"), "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--tokens", "400", "--temperature", "1", "--seed", $"{story}", "--json");
            Assert.True(code == 0, error);
            stories.Append(JsonNode.Parse(output)!["text"]!.GetValue<string>()).Append(' ');
        }

        return stories.ToString();
    });

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData(GgmlType.Q4_0, 144)]
    [InlineData(GgmlType.Q4_1, 160)]
    [InlineData(GgmlType.Q5_0, 176)]
    [InlineData(GgmlType.Q5_1, 192)]
    [InlineData(GgmlType.Q8_0, 272)]
    [InlineData(GgmlType.Q2_K, 84)]
    [InlineData(GgmlType.Q3_K, 110)]
    [InlineData(GgmlType.Q4_K, 144)]
    [InlineData(GgmlType.Q5_K, 176)]
    [InlineData(GgmlType.Q6_K, 210)]
    [InlineData(GgmlType.IQ4_NL, 144)]
    [InlineData(GgmlType.MXFP4, 136)]
    [InlineData(GgmlType.F16, 512)]
    [InlineData(GgmlType.BF16, 512)]
    public void Blocks_are_read_and_written_as_ggml_does(GgmlType type, int rowBytes)
    {
        LlamaCpp.Require();
        const int Rows = 24;
        var random = new Random(5);
        float[] values = [.. Enumerable.Range(0, Rows * 256).Select(i => i < 256 ? 0 : (float)((random.NextDouble() - 0.5) * Math.Pow(10, (i / 256 % 5) - 3) * (i % 37 == 0 ? 6 : 1)))];
        byte[] blocks = LlamaCpp.Quantize(type, values, rowBytes);
        Write(type, Rows, blocks);
        float[] found = new float[values.Length];
        using (GgufFile file = GgufFile.Open(_file.Path))
        {
            file.ReadFloats(file.Tensors[0], 0, found);
        }

        float[] expected = LlamaCpp.Dequantize(type, blocks, values.Length);
        for (int i = 0; i < found.Length; i++)
        {
            // ggml may be compiled to multiply and add in one.
            Assert.Equal(expected[i], found[i], Math.Abs(expected[i]) * 2e-6f + 1e-12f);
        }

        if (type is not (GgmlType.F32 or GgmlType.Q2_K or GgmlType.Q3_K))
        {
            var writer = new GgufWriter();
            writer.Add("x", [Rows, 256], type, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
            writer.Save(_file.Path);
            using GgufFile file = GgufFile.Open(_file.Path);
            byte[] written = new byte[blocks.Length];
            file.ReadBytes(file.Tensors[0], 0, written);
            Assert.Equal(blocks, written);
        }
    }

    // Where weights are 16 bits or less, llama.cpp rounds activations to the same before it multiplies.
    [Theory]
    [InlineData("F32", 0.001)]
    [InlineData("F16", 0.05)]
    [InlineData("BF16", 0.4)]
    [InlineData("Q8_0", 0.6)]
    [InlineData("Q5_1", 0.6)]
    [InlineData("Q5_0", 0.6)]
    [InlineData("Q4_1", 0.6)]
    [InlineData("Q4_0", 0.6)]
    [InlineData("IQ4_NL", 0.6)]
    [InlineData("MXFP4", 0.6)]
    public void Our_files_of_stories260K_give_llama_cpps_logits(string weights, double tolerance)
    {
        LlamaCpp.Require();
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        Assert.Equal(0, ToolCommand.Run("convert", data, _file.Path, "--tokenizer", vocabulary, "--weights", weights, "--json").Code);
        int[] tokens = [1, .. File.ReadAllText(TestData.File("stories260K", "expected_greedy_tokens.txt")).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
        float[][] expected = LlamaCpp.Logits(_file.Path, tokens);

        // Widened, and as the file stores them.
        using ModelSource source = ModelSource.Open(_file.Path);
        foreach (ModelCode code in weights == "F32" ? [source.Declare(null)] : (ModelCode[])[source.Declare(null), source.DeclareAsStored(null)])
        {
            IModelHost model = ModelHost.Of(ModelAssembly.Of(code).Type);
            model.Load(_file.Path);
            using CausalSession session = model.CreateSession(new SessionOptions());
            int agreements = 0;
            double largest = 0;
            for (int i = 0; i < tokens.Length; i++)
            {
                ReadOnlySpan<float> found = session.Decode(tokens[i]);
                agreements += Sampler.ArgMax(found) == Sampler.ArgMax(expected[i]) ? 1 : 0;
                for (int token = 0; token < found.Length; token++)
                {
                    largest = Math.Max(largest, Math.Abs(found[token] - expected[i][token]));
                }
            }

            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{weights}, {code.Shown}: {agreements} of {tokens.Length} likeliest tokens, largest difference of logits {largest:G3}"));
            Assert.InRange(largest, 0, tolerance);
            Assert.InRange(agreements, weights is "F32" or "F16" ? tokens.Length : tokens.Length * 9 / 10, tokens.Length);
        }

        if (weights == "F32")
        {
            Assert.Equal(tokens[1..], tokens[..^1].Select((_, i) => Sampler.ArgMax(expected[i])));
        }
    }

    // The text is the model's own, since a text that surprises it would hide small differences in large losses.
    [Theory]
    [InlineData("F32", 1e-5)]
    [InlineData("F16", 1e-4)]
    [InlineData("Q8_0", 0.001)]
    [InlineData("Q5_1", 0.001)]
    [InlineData("Q5_0", 0.001)]
    [InlineData("Q4_1", 0.001)]
    [InlineData("IQ4_NL", 0.001)]
    [InlineData("MXFP4", 0.001)]
    [InlineData("Q4_0", 0.001)]
    public void Perplexity_of_our_files_of_stories260K_is_llama_cpps(string weights, double tolerance)
    {
        const int Chunk = 256;
        LlamaCpp.Require();
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        string text = s_stories.Value;
        string path = Path.ChangeExtension(_file.Path, ".txt");
        File.WriteAllText(path, text);
        Assert.Equal(0, ToolCommand.Run("convert", data, _file.Path, "--tokenizer", vocabulary, "--weights", weights, "--json").Code);
        (int found, string line, string problem) = ToolCommand.Run("perplexity", _file.Path, "--text", path, "--chunk", $"{Chunk}", "--json");
        Assert.True(found == 0, problem);
        double ours = JsonNode.Parse(line)!["perplexity"]!.GetValue<double>();
        double theirs = LlamaCpp.Perplexity(_file.Path, LlamaCpp.Tokenize(_file.Path, text), Chunk);
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{weights}: {ours:F5} here, {theirs:F5} there, {100 * ((ours / theirs) - 1):F4} %"));
        Assert.InRange(ours / theirs, 1 - tolerance, 1 + tolerance);
    }

    // Sizes that have no factor in common, so that nothing stands in the place of another.
    [Theory]
    [InlineData("llama", """ "num_key_value_heads": 2, "rope_theta": 50000.0, "rms_norm_eps": 1e-6 """)]
    [InlineData("mistral", """ "num_key_value_heads": 6, "tie_word_embeddings": true """)]
    [InlineData("qwen2", """ "num_key_value_heads": 3, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6 """)]
    [InlineData("qwen3", """ "num_key_value_heads": 2, "head_dim": 24, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true """)]
    [InlineData("gemma3_text", """ "num_key_value_heads": 1, "head_dim": 32, "query_pre_attn_scalar": 32, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 20, "tie_word_embeddings": true """)]
    [InlineData("llama", """ "num_key_value_heads": 2, "rope_theta": 500000.0, "rope_scaling": { "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 } """)]
    [InlineData("llama", """ "num_key_value_heads": 3, "rope_parameters": { "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 } """)]
    [InlineData("llama", """ "num_key_value_heads": 2, "rope_scaling": { "type": "linear", "factor": 4.0 } """)]
    [InlineData("lfm2", """ "num_key_value_heads": 2, "norm_eps": 1e-5, "rope_theta": 1000000.0, "conv_L_cache": 3, "conv_bias": false, "layer_types": ["conv", "full_attention", "conv"], "tie_word_embeddings": true """)]
    [InlineData("qwen3_moe", """ "num_key_value_heads": 2, "head_dim": 24, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": true """)]
    [InlineData("qwen3_5_text", """ "num_key_value_heads": 2, "head_dim": 24, "rope_theta": 1000000.0, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-6, "linear_num_key_heads": 3, "linear_num_value_heads": 3, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "layer_types": ["linear_attention", "linear_attention", "full_attention"] """)]
    [InlineData("mamba2", """ "time_step_limit": [0.0, Infinity], "num_heads": 6, "head_dim": 32, "n_groups": 2, "state_size": 16, "expand": 2, "conv_kernel": 4, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true """)]
    [InlineData("granitemoehybrid", """ "num_key_value_heads": 2, "mamba_n_heads": 3, "mamba_d_head": 64, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_expand": 2, "mamba_d_conv": 4, "layer_types": ["mamba", "attention", "mamba"], "position_embedding_type": "nope", "num_local_experts": 0, "shared_intermediate_size": 160, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2, "logits_scaling": 1.5, "rms_norm_eps": 1e-5, "tie_word_embeddings": true """)]
    [InlineData("granitemoehybrid", """ "num_key_value_heads": 3, "mamba_n_heads": 6, "mamba_d_head": "auto", "mamba_n_groups": 3, "mamba_d_state": 16, "mamba_expand": 2, "layers_block_type": ["mamba", "mamba", "attention"], "position_embedding_type": "rope", "rope_theta": 50000.0, "logits_scaling": 2.0, "rms_norm_eps": 1e-6 """)]
    [InlineData("gemma4_text", """ "head_dim": 16, "global_head_dim": 32, "num_key_value_heads": 2, "sliding_window": 20, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32, "use_double_wide_mlp": true, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"], "rope_parameters": { "full_attention": { "rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0 }, "sliding_attention": { "rope_type": "default", "rope_theta": 10000.0 } } """)]
    [InlineData("gpt_oss", """ "head_dim": 32, "num_key_value_heads": 2, "sliding_window": 20, "num_local_experts": 6, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "swiglu_limit": 7.0, "rope_theta": 150000.0, "tie_word_embeddings": false, "rope_scaling": { "rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 32 } """)]
    [InlineData("mixtral", """ "num_key_value_heads": 2, "rope_theta": 1000000.0, "rms_norm_eps": 1e-5, "num_local_experts": 5, "num_experts_per_tok": 2, "tie_word_embeddings": false """)]
    [InlineData("olmoe", """ "num_key_value_heads": 6, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "num_experts": 7, "num_experts_per_tok": 3, "norm_topk_prob": false, "tie_word_embeddings": false """)]
    [InlineData("phi3", """ "num_key_value_heads": 2, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": false """)]
    [InlineData("phi3", """ "num_key_value_heads": 6, "partial_rotary_factor": 0.75, "rms_norm_eps": 1e-5, "tie_word_embeddings": true """)]
    [InlineData("gpt_neox", """ "hidden_act": "gelu_new", "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": true, "layer_norm_eps": 1e-5, "tie_word_embeddings": false """)]
    [InlineData("gpt_neox", """ "hidden_act": "gelu_new", "rotary_pct": 0.5, "rotary_emb_base": 20000, "use_parallel_residual": false, "layer_norm_eps": 1e-6, "tie_word_embeddings": false """)]
    [InlineData("granite", """ "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.0625, "logits_scaling": 0.5, "tie_word_embeddings": true """)]
    [InlineData("granitemoe", """ "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "num_local_experts": 6, "num_experts_per_tok": 3, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.0625, "logits_scaling": 0.5, "tie_word_embeddings": true """)]
    [InlineData("granitemoehybrid", """ "num_key_value_heads": 2, "mamba_n_heads": 3, "mamba_d_head": 64, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_expand": 2, "mamba_d_conv": 4, "layer_types": ["mamba", "attention", "mamba"], "position_embedding_type": "nope", "num_local_experts": 5, "num_experts_per_tok": 2, "shared_intermediate_size": 160, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.25, "logits_scaling": 2.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true """)]
    [InlineData("gpt_oss", """ "stored": "blocks", "head_dim": 32, "num_key_value_heads": 2, "sliding_window": 20, "num_local_experts": 6, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "swiglu_limit": 7.0, "rope_theta": 150000.0, "tie_word_embeddings": false """)]
    [InlineData("gpt_oss", """ "stored": "turned", "head_dim": 32, "num_key_value_heads": 2, "sliding_window": 20, "num_local_experts": 6, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "swiglu_limit": 7.0, "rope_theta": 150000.0, "tie_word_embeddings": false """)]
    [InlineData("qwen3", """ "num_key_value_heads": 2, "head_dim": 24, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32 } """)]
    [InlineData("phi3", """ "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "original_max_position_embeddings": 32, "rope_scaling": { "type": "longrope", "short_factor": [1.0, 1.02, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], "long_factor": [1.05, 1.3, 2.1, 3.5, 5.9, 8.2, 12.1, 17.3] } """)]
    [InlineData("phi3", """ "num_key_value_heads": 6, "partial_rotary_factor": 0.75, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "original_max_position_embeddings": 1024, "rope_scaling": { "type": "su", "attention_factor": 1.25, "short_factor": [1.0, 1.02, 1.1, 1.2, 1.3, 2.4], "long_factor": [1.05, 1.3, 2.1, 3.5, 5.9, 8.2] } """)]
    [InlineData("minicpm", """ "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 32, "rope_scaling": { "rope_type": "longrope", "original_max_position_embeddings": 64, "short_factor": [1.0, 1.02, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], "long_factor": [1.05, 1.3, 2.1, 3.5, 5.9, 8.2, 12.1, 17.3] } """)]
    [InlineData("gemma3n_text", """ "head_dim": 16, "num_key_value_heads": 2, "sliding_window": 20, "num_kv_shared_layers": 5, "hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 512, "laurel_rank": 64, "altup_num_inputs": 4, "altup_active_idx": 0, "altup_correct_scale": true, "final_logit_softcapping": 30.0, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "tie_word_embeddings": true """)]
    [InlineData("phi", """ "partial_rotary_factor": 0.5, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "tie_word_embeddings": false """)]
    [InlineData("phi", """ "partial_rotary_factor": 0.25, "rope_theta": 20000.0, "hidden_act": "gelu_new", "layer_norm_eps": 1e-6, "num_key_value_heads": 3, "tie_word_embeddings": false """)]
    [InlineData("stablelm", """ "partial_rotary_factor": 0.25, "use_qkv_bias": true, "layer_norm_eps": 1e-5, "tie_word_embeddings": false """)]
    [InlineData("stablelm", """ "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "use_parallel_residual": true, "layer_norm_eps": 1e-6, "tie_word_embeddings": false """)]
    [InlineData("cohere", """ "num_key_value_heads": 2, "rope_theta": 50000.0, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "tie_word_embeddings": true """)]
    [InlineData("cohere2", """ "num_key_value_heads": 2, "rope_theta": 50000.0, "layer_norm_eps": 1e-5, "logit_scale": 0.25, "sliding_window": 20, "sliding_window_pattern": 4, "tie_word_embeddings": true """)]
    [InlineData("nemotron", """ "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "hidden_act": "relu2", "norm_eps": 1e-5, "tie_word_embeddings": false """)]
    [InlineData("mpt", """ "no_bias": true, "tie_word_embeddings": true, "attn_config": { "alibi": true, "alibi_bias_max": 8, "clip_qkv": null, "qk_ln": false, "softmax_scale": null } """)]
    [InlineData("bloom", """ "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true, "apply_residual_connection_post_layernorm": false """)]
    [InlineData("gpt2", """ "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true """)]
    [InlineData("olmo2", """ "num_key_value_heads": 6, "rope_theta": 500000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": false """)]
    [InlineData("smollm3", """ "num_key_value_heads": 2, "rope_theta": 5000000.0, "rms_norm_eps": 1e-6, "no_rope_layers": [1, 1, 1, 0], "tie_word_embeddings": true """)]
    [InlineData("qwen2_moe", """ "num_key_value_heads": 2, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 96, "norm_topk_prob": false, "tie_word_embeddings": false """)]
    [InlineData("gemma", """ "num_key_value_heads": 1, "head_dim": 32, "hidden_act": "gelu", "rms_norm_eps": 1e-6, "tie_word_embeddings": true """)]
    [InlineData("gemma2", """ "num_key_value_heads": 2, "head_dim": 32, "query_pre_attn_scalar": 32, "hidden_activation": "gelu_pytorch_tanh", "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "sliding_window": 20, "rms_norm_eps": 1e-6, "tie_word_embeddings": true """)]
    public void Random_models_give_llama_cpps_logits(string type, string options)
    {
        LlamaCpp.Require();
        string folder = Path.GetDirectoryName(_file.Path)!;
        var random = new Random(12);
        string model = RandomCheckpoint.Write(folder, type, options);
        bool hasGelu = type.StartsWith("gemma", StringComparison.Ordinal) || type is "gpt2" or "gpt_neox" or "phi" or "mpt" or "bloom";
        Assert.Equal("", ToolCommand.Run("convert", model, _file.Path, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--weights", "F32", "--json").Error);
        int[] tokens = [1, .. Enumerable.Range(0, 60).Select(_ => random.Next(3, RandomCheckpoint.Vocabulary))];
        float[][] expected = LlamaCpp.Logits(_file.Path, tokens);
        foreach (string path in (string[])[model, _file.Path])
        {
            using ModelSource source = ModelSource.Open(path);
            IModelHost host = ModelHost.Of(ModelAssembly.Of(source.Declare(null)).Type);
            host.Load(path);
            if (path == model)
            {
                // Under the names that models of this library have, the same file comes of it.
                string saved = Path.Combine(folder, "saved.safetensors"), again = Path.Combine(folder, "again.gguf");
                host.Save(saved);
                Assert.Equal("", ToolCommand.Run("convert", saved, again, "--json").Error);
                using GgufFile first = GgufFile.Open(_file.Path), second = GgufFile.Open(again);

                // But for keys and values that nothing is computed with.
                GgufTensor[] used = [.. first.Tensors.Where(tensor => type != "gemma3n_text" || tensor.Name.Split('.') is not ["blk", var layer, "attn_k" or "attn_v" or "attn_k_norm", _] || int.Parse(layer, System.Globalization.CultureInfo.InvariantCulture) < 20)];
                Assert.Equal(used.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal), second.Tensors.Select(static tensor => tensor.Name).Order(StringComparer.Ordinal));
                foreach (GgufTensor tensor in used)
                {
                    float[] expectedValues = new float[tensor.Length], values = new float[tensor.Length];
                    first.ReadFloats(tensor, 0, expectedValues);
                    second.ReadFloats(second.Find(tensor.Name)!, 0, values);
                    Assert.Equal(expectedValues, values);
                }
            }

            using CausalSession session = host.CreateSession(new SessionOptions());
            double largest = 0;
            for (int i = 0; i < tokens.Length; i++)
            {
                ReadOnlySpan<float> found = session.Decode(tokens[i]);
                for (int token = 0; token < found.Length; token++)
                {
                    largest = Math.Max(largest, Math.Abs(found[token] - expected[i][token]));
                }
            }

            float range = expected[^1].Max() - expected[^1].Min();
            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{type}, {Path.GetExtension(path)}: largest difference of logits {largest:G3}, whose range is {range:G3}"));
            Assert.InRange(range, 1, 1000);

            // ggml takes GELU from a table of 16-bit floats, and llama.cpp the deviation of gates by one column less.
            Assert.InRange(largest, 0, (type == "gemma3n_text" ? 3e-3 : hasGelu ? 1e-3 : 1e-4) * range);
        }
    }

    // Blocks of 256 need rows of as many. Both round activations to 8 bits, llama.cpp in blocks of 256 of one scale each, kernels here in blocks of 32: what comes out is to be as near to the numbers that the blocks stand for.
    [Theory]
    [InlineData("Q4_K")]
    [InlineData("Q5_K")]
    [InlineData("Q6_K")]
    [InlineData("Q8_0")]
    public void A_wider_model_in_blocks_of_256_is_as_near_to_its_numbers_as_llama_cpps(string weights)
    {
        LlamaCpp.Require();
        const int Width = 256, Hidden = 512, Vocabulary = 512, Layers = 2;
        string folder = Path.GetDirectoryName(_file.Path)!, model = Path.Combine(folder, "model.safetensors");
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""{ "model_type": "llama", "hidden_size": {{Width}}, "intermediate_size": {{Hidden}}, "num_hidden_layers": {{Layers}}, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": {{Vocabulary}}, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": true }""");
        var random = new Random(21);
        var writer = new SafetensorsWriter();
        void Add(string name, double scale, params int[] shape) => writer.Add(name, shape, Enumerable.Range(0, shape.Aggregate(1, static (product, extent) => product * extent))
            .Select(_ => (float)(shape.Length == 1 ? 1 + (0.2 * (random.NextDouble() - 0.5)) : scale * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()))).ToArray());
        Add("model.embed_tokens.weight", 0.1, Vocabulary, Width);
        Add("model.norm.weight", 1, Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string block = FormattableString.Invariant($"model.layers.{layer}.");
            Add(block + "input_layernorm.weight", 1, Width);
            Add(block + "post_attention_layernorm.weight", 1, Width);
            Add(block + "self_attn.q_proj.weight", 0.06, Width, Width);
            Add(block + "self_attn.k_proj.weight", 0.06, Width / 2, Width);
            Add(block + "self_attn.v_proj.weight", 0.06, Width / 2, Width);
            Add(block + "self_attn.o_proj.weight", 0.06, Width, Width);
            Add(block + "mlp.gate_proj.weight", 0.06, Hidden, Width);
            Add(block + "mlp.up_proj.weight", 0.06, Hidden, Width);
            Add(block + "mlp.down_proj.weight", 0.04, Width, Hidden);
        }

        writer.Save(model);
        Assert.Equal("", ToolCommand.Run("convert", model, _file.Path, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--weights", weights, "--json").Error);
        using (GgufFile file = GgufFile.Open(_file.Path))
        {
            Assert.All(file.Tensors.Where(static tensor => tensor.Shape.Length == 2), tensor => Assert.Equal(weights, tensor.TypeName));
        }

        int[] tokens = [1, .. Enumerable.Range(0, 60).Select(_ => random.Next(3, Vocabulary))];
        float[][] expected = LlamaCpp.Logits(_file.Path, tokens);
        using ModelSource source = ModelSource.Open(_file.Path);
        using CausalSession packed = Open(source.DeclareAsStored(null)), widened = Open(source.Declare(null));
        (double own, double peer, double both, double size) = (0, 0, 0, 0);
        for (int i = 0; i < tokens.Length; i++)
        {
            float[] found = packed.Decode(tokens[i]).ToArray(), exact = widened.Decode(tokens[i]).ToArray();
            for (int token = 0; token < found.Length; token++)
            {
                own += Math.Pow(found[token] - exact[token], 2);
                peer += Math.Pow(expected[i][token] - exact[token], 2);
                both += Math.Pow(found[token] - expected[i][token], 2);
                size += Math.Pow(exact[token], 2);
            }
        }

        // Of the same text, in chunks of which the second half counts.
        string text = Path.Combine(folder, "text.txt");
        File.WriteAllText(text, File.ReadAllText(TestData.File("text", "tinyshakespeare.txt"))[..6000]);
        double perplexity = ToolCommand.Json("perplexity", _file.Path, "--text", text, "--chunk", "64").GetProperty("perplexity").GetDouble();
        double theirs = LlamaCpp.Perplexity(_file.Path, TextTokenizer.Load(_file.Path).EncodePrompt(File.ReadAllText(text)), 64);
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{weights}: error of logits {Math.Sqrt(own / size):G3} of their size, llama.cpp's {Math.Sqrt(peer / size):G3}, between both {Math.Sqrt(both / size):G3}; perplexity {perplexity:G7}, llama.cpp's {theirs:G7} ({(perplexity / theirs) - 1:P3})"));
        Assert.InRange(Math.Sqrt(own / size), 0, 1.05 * Math.Sqrt(peer / size));
        Assert.InRange(Math.Sqrt(both / size), 0, 0.05);

        // Random weights make more of rounding than trained ones: those of stories260K are within 0.1 %.
        Assert.InRange(perplexity / theirs, 0.99, 1.01);

        CausalSession Open(ModelCode code)
        {
            IModelHost host = ModelHost.Of(ModelAssembly.Of(code).Type);
            host.Load(_file.Path);
            return host.CreateSession(new SessionOptions());
        }
    }

    // As those of Gemma 3 and 3n and of Qwen3.5 lie in public files, whose other encoders are left out.
    [Theory]
    [InlineData("model.language_model.", "model.", "model.vision_tower.encoder.weight")]
    [InlineData("language_model.model.", "language_model.", "vision_tower.encoder.weight")]
    public void A_language_model_beside_encoders_is_the_model_alone(string prefix, string head, string other)
    {
        string folder = Path.GetDirectoryName(_file.Path)!, model = RandomCheckpoint.Write(folder, "gemma3_text", """ "num_key_value_heads": 1, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 20, "tie_word_embeddings": false """);
        string around = Path.Combine(folder, "around");
        Directory.CreateDirectory(around);
        File.WriteAllText(Path.Combine(around, "config.json"), $$"""{ "model_type": "gemma3", "eos_token_id": [1, 106], "vision_config": { "hidden_size": 3 }, "text_config": {{File.ReadAllText(Path.Combine(folder, "config.json"))}} }""");
        var writer = new SafetensorsWriter();
        using (WeightFile plain = WeightFile.Open(model))
        {
            foreach (WeightTensor tensor in plain.Tensors)
            {
                float[] values = new float[tensor.Length];
                plain.ReadFloats(tensor, 0, values);
                string name = tensor.Name.StartsWith("model.", StringComparison.Ordinal) ? prefix + tensor.Name["model.".Length..] : (head == "model." ? "" : head) + tensor.Name;
                writer.Add(name, [.. tensor.Shape.Select(static extent => (int)extent)], values);
            }
        }

        writer.Add(other, [2], new float[] { 1, 2 });
        writer.Save(Path.Combine(around, "model.safetensors"));
        float[][] logits = [.. ((string[])[model, Path.Combine(around, "model.safetensors")]).Select(path =>
        {
            using ModelSource source = ModelSource.Open(path);
            Assert.Equal(path == model ? [] : [1, 106], source.Config!.Integers("eos_token_id"));
            IModelHost host = ModelHost.Of(ModelAssembly.Of(source.Declare(null)).Type);
            host.Load(path);
            using CausalSession session = host.CreateSession(new SessionOptions());
            return session.Prefill([1, 5, 9, 30]).ToArray();
        })];
        Assert.Equal(logits[0], logits[1]);
    }

    // No reader of GGUF files computes it.
    [Fact]
    public void GptJ_is_declared_and_loaded_by_its_own_names()
    {
        string folder = Path.GetDirectoryName(_file.Path)!, model = RandomCheckpoint.Write(folder, "gptj", """ "rotary_dim": 6, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": false """);
        using ModelSource source = ModelSource.Open(model);
        ModelCode code = source.Declare(null);
        Assert.Equal("[Decoder(Layers = 3, DModel = 96, Heads = 6, Vocab = 512, FeedForward = 384, Norm = Normalization.Layer, NormEpsilon = 9.999999747378752E-06, Activation = Activation.GeluTanh, GatedFeedForward = false, Form = BlockForm.Parallel, "
            + "RotaryLayout = RotaryLayout.Interleaved, RotaryFraction = 0.375, FeedForwardBias = true, HeadBias = true, Context = 128)]", code.Shown);
        IModelHost host = ModelHost.Of(ModelAssembly.Of(code).Type);
        host.Load(model);
        string saved = Path.Combine(folder, "saved.safetensors");
        host.Save(saved);
        using WeightFile theirs = WeightFile.Open(model), ours = WeightFile.Open(saved);
        Assert.Equal(theirs.Tensors.Count, ours.Tensors.Count);
        foreach ((string theirName, string ourName) in ((string, string)[])[("transformer.h.1.attn.out_proj.weight", "model.layers.1.self_attn.o_proj.weight"), ("transformer.h.2.mlp.fc_in.bias", "model.layers.2.mlp.up_proj.bias"), ("transformer.ln_f.bias", "model.norm.bias"), ("lm_head.bias", "lm_head.bias")])
        {
            float[] expected = new float[theirs.Find(theirName)!.Length], found = new float[expected.Length];
            theirs.ReadFloats(theirs.Find(theirName)!, 0, expected);
            ours.ReadFloats(ours.Find(ourName)!, 0, found);
            Assert.Equal(expected, found);
        }

        Assert.Contains("gptj", ToolCommand.Run("convert", model, _file.Path, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--json").Error, StringComparison.Ordinal);
    }

    // What is left between logits of models with GELU and llama.cpp's is its table: it rounds what goes in and what comes out to 16-bit floats. A model written out by hand, with that and without it.
    [Fact]
    public void What_llama_cpps_GELU_differs_by_is_its_table_of_16_bit_floats()
    {
        LlamaCpp.Require();
        string model = RandomCheckpoint.Write(Path.GetDirectoryName(_file.Path)!, "gpt_neox", """ "hidden_act": "gelu_new", "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": true, "layer_norm_eps": 1e-5, "tie_word_embeddings": false """);
        Assert.Equal("", ToolCommand.Run("convert", model, _file.Path, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--json").Error);
        var random = new Random(12);
        int[] tokens = [1, .. Enumerable.Range(0, 20).Select(_ => random.Next(3, RandomCheckpoint.Vocabulary))];
        float[][] expected = LlamaCpp.Logits(_file.Path, tokens);
        float range = expected[^1].Max() - expected[^1].Min();
        using WeightFile weights = WeightFile.Open(model);
        double Largest(Func<double, double> gelu) => NeoX(weights, tokens, gelu).Select((logits, i) => logits.Select((logit, token) => Math.Abs(logit - expected[i][token])).Max()).Max() / range;
        static double Gelu(double x) => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))));
        double exact = Largest(Gelu), table = Largest(static x => x <= -10 ? 0 : x >= 10 ? x : (double)(Half)(float)Gelu((double)(Half)(float)x));
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"largest difference over the range of logits: {exact:G3} from GELU, {table:G3} from its table"));
        Assert.InRange(table, 0, 5e-5);
        // What is still left is where sums of other roundings fall on the other side of a step of the table.
        Assert.InRange(exact, 2.5 * table, 1e-3);
    }

    /// <summary>Logits of GPT-NeoX (Black et al. 2022) in double precision.</summary>
    private static double[][] NeoX(WeightFile weights, int[] tokens, Func<double, double> gelu)
    {
        const int Heads = 6, Layers = 3;
        double[][] table = Matrix("gpt_neox.embed_in.weight");
        double[][] x = [.. tokens.Select(token => table[token])];
        int width = x[0].Length, headWidth = width / Heads, turned = headWidth / 4;
        for (int layer = 0; layer < Layers; layer++)
        {
            string block = FormattableString.Invariant($"gpt_neox.layers.{layer}.");
            double[][] qkv = Linear(block + "attention.query_key_value", Norm(block + "input_layernorm", x));
            double[][] mixed = [.. x.Select(_ => new double[width])];
            for (int head = 0; head < Heads; head++)
            {
                double[] Part(int row, int which)
                {
                    double[] part = qkv[row][(((3 * head) + which) * headWidth)..(((3 * head) + which + 1) * headWidth)];
                    for (int pair = 0; which < 2 && pair < turned / 2; pair++)
                    {
                        (double sin, double cos) = Math.SinCos(row * Math.Pow(10000, -2.0 * pair / turned));
                        (part[pair], part[pair + (turned / 2)]) = ((part[pair] * cos) - (part[pair + (turned / 2)] * sin), (part[pair + (turned / 2)] * cos) + (part[pair] * sin));
                    }

                    return part;
                }

                for (int row = 0; row < x.Length; row++)
                {
                    double[] query = Part(row, 0);
                    double[] scores = [.. Enumerable.Range(0, row + 1).Select(key => Part(key, 1).Zip(query, static (a, b) => a * b).Sum() / Math.Sqrt(headWidth))];
                    double most = scores.Max(), total = scores.Sum(score => Math.Exp(score - most));
                    for (int key = 0; key <= row; key++)
                    {
                        double[] value = Part(key, 2);
                        for (int channel = 0; channel < headWidth; channel++)
                        {
                            mixed[row][(head * headWidth) + channel] += Math.Exp(scores[key] - most) / total * value[channel];
                        }
                    }
                }
            }

            double[][] attended = Linear(block + "attention.dense", mixed);
            double[][] hidden = [.. Linear(block + "mlp.dense_h_to_4h", Norm(block + "post_attention_layernorm", x)).Select(row => row.Select(gelu).ToArray())];
            double[][] fed = Linear(block + "mlp.dense_4h_to_h", hidden);
            x = [.. x.Select((row, i) => row.Select((value, column) => value + attended[i][column] + fed[i][column]).ToArray())];
        }

        double[][] output = Matrix("embed_out.weight");
        return [.. Norm("gpt_neox.final_layer_norm", x).Select(row => output.Select(weight => weight.Zip(row, static (a, b) => a * b).Sum()).ToArray())];

        double[] Vector(string name)
        {
            float[] values = new float[weights.Find(name)!.Length];
            weights.ReadFloats(weights.Find(name)!, 0, values);
            return [.. values.Select(static value => (double)value)];
        }

        double[][] Matrix(string name) => [.. Vector(name).Chunk((int)weights.Find(name)!.Shape[1])];

        double[][] Linear(string name, double[][] rows)
        {
            (double[][] matrix, double[] bias) = (Matrix(name + ".weight"), Vector(name + ".bias"));
            return [.. rows.Select(row => matrix.Select((weight, i) => weight.Zip(row, static (a, b) => a * b).Sum() + bias[i]).ToArray())];
        }

        double[][] Norm(string name, double[][] rows)
        {
            (double[] scale, double[] bias) = (Vector(name + ".weight"), Vector(name + ".bias"));
            return [.. rows.Select(row =>
            {
                double mean = row.Average(), deviation = Math.Sqrt(row.Average(value => (value - mean) * (value - mean)) + 1e-5);
                return row.Select((value, i) => ((value - mean) / deviation * scale[i]) + bias[i]).ToArray();
            })];
        }
    }

    [Fact]
    public void Our_vocabulary_of_stories260K_is_llama_cpps()
    {
        LlamaCpp.Require();
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        Assert.Equal(0, ToolCommand.Run("convert", TestData.File("stories260K", "stories260K.bin"), _file.Path, "--tokenizer", vocabulary, "--json").Code);
        TextTokenizer tokenizer = TextTokenizer.Load(vocabulary);
        TextTokenizer again = TextTokenizer.Load(_file.Path);
        foreach (string text in (string[])["Once upon a time", "a", "  two  spaces\n", "Lily's mom said, \"Let's go!!!!!!\"", "naïve 漢字 😀", "<s>no token</s>"])
        {
            int[] expected = LlamaCpp.Tokenize(_file.Path, text);
            Assert.Equal(expected, tokenizer.EncodePrompt(text));
            Assert.Equal(expected, again.EncodePrompt(text));
        }

        // Names of special tokens, where they stand for them.
        foreach (string text in (string[])["</s>a b</s> c<s><s>", "Once</s>\n", "<s>x", "no name < s>"])
        {
            Assert.Equal(LlamaCpp.Tokenize(_file.Path, text, special: true), new[] { 1 }.Concat(tokenizer.EncodeSpecial(text)));
        }
    }

    // A file of one tensor, with blocks that our writer does not make.
    private void Write(GgmlType type, int rows, byte[] blocks)
    {
        using FileStream stream = File.Create(_file.Path);
        using var writer = new BinaryWriter(stream, Encoding.UTF8);
        writer.Write("GGUF"u8);
        writer.Write(3);
        writer.Write(1L);
        writer.Write(0L);
        writer.Write(1L);
        writer.Write((byte)'x');
        writer.Write(2);
        writer.Write(256L);
        writer.Write((long)rows);
        writer.Write((int)type);
        writer.Write(0L);
        writer.Write(new byte[32 - (stream.Position % 32)]);
        writer.Write(blocks);
    }
}
