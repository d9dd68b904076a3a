using System.Text;
using System.Text.RegularExpressions;

namespace ModelGen.ToolTests;

/// <summary>Configurations and GGUF files of every kind of model with something changed at random: commands do what they are asked or say in a line what is wrong.</summary>
[Collection(ToolCommand.Collection)]
public sealed class HostileFileTests : IDisposable
{
    private const int Rounds = 12;

    private static readonly string[] s_values =
    [
        "0", "1", "-1", "2", "3", "63", "1000000", "2147483646", "2147483647", "-2147483647", "4294967296", "9223372036854775807", "1e308", "-1e308", "1e999", "-1e999", "1e-320", "1.5", "NaN", "Infinity", "null", "true", "false", "\"\"",
        "\"gelu\"", "\"default\"", "\"\\u001b[31m\"", "\"\\ud800\"", "\"\u202e\"", "[]", "[0]", "[1, 2, 3]", "[null]", "[\"full_attention\"]", "{}", "{\"rope_type\": \"yarn\", \"factor\": 0}", "{\"rope_type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1]}",
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-hostile").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("gpt2", "")]
    [InlineData("llama", "\"num_key_value_heads\": 2, \"rope_scaling\": { \"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64 }")]
    [InlineData("mistral", "\"num_key_value_heads\": 2, \"sliding_window\": 64")]
    [InlineData("phi3", "\"num_key_value_heads\": 2, \"original_max_position_embeddings\": 64, \"rope_scaling\": { \"type\": \"longrope\", \"short_factor\": [1, 1, 1.5, 2, 2, 3, 3, 4], \"long_factor\": [2, 2, 3, 4, 4, 5, 6, 7] }")]
    [InlineData("gemma2", "\"num_key_value_heads\": 2, \"head_dim\": 16, \"query_pre_attn_scalar\": 16, \"sliding_window\": 20, \"attn_logit_softcapping\": 50.0, \"final_logit_softcapping\": 30.0")]
    [InlineData("gemma3_text", "\"num_key_value_heads\": 1, \"head_dim\": 32, \"query_pre_attn_scalar\": 32, \"sliding_window\": 20, \"sliding_window_pattern\": 6")]
    [InlineData("gemma3n_text", "\"num_key_value_heads\": 2, \"head_dim\": 16, \"sliding_window\": 20, \"hidden_size_per_layer_input\": 256, \"laurel_rank\": 64, \"altup_num_inputs\": 4, \"num_kv_shared_layers\": 5, \"vocab_size_per_layer_input\": 512, \"activation_sparsity_pattern\": [0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]")]
    [InlineData("qwen2_moe", "\"num_key_value_heads\": 2, \"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 64, \"shared_expert_intermediate_size\": 96, \"norm_topk_prob\": false")]
    [InlineData("qwen3_5_text", "\"num_key_value_heads\": 2, \"head_dim\": 32, \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 16, \"linear_value_head_dim\": 16, \"linear_conv_kernel_dim\": 4, \"layer_types\": [\"linear_attention\", \"linear_attention\", \"full_attention\"]")]
    [InlineData("smollm3", "\"num_key_value_heads\": 2, \"no_rope_layer_interval\": 4")]
    [InlineData("minicpm", "\"num_key_value_heads\": 2, \"scale_emb\": 12, \"scale_depth\": 1.4, \"dim_model_base\": 48")]
    [InlineData("olmo2", "\"num_key_value_heads\": 6")]
    [InlineData("phi", "\"partial_rotary_factor\": 0.5, \"hidden_act\": \"gelu_new\"")]
    [InlineData("stablelm", "\"num_key_value_heads\": 2, \"partial_rotary_factor\": 0.25, \"use_qkv_bias\": false")]
    [InlineData("cohere2", "\"num_key_value_heads\": 2, \"logit_scale\": 0.25, \"sliding_window\": 20, \"sliding_window_pattern\": 4")]
    [InlineData("nemotron", "\"num_key_value_heads\": 2, \"partial_rotary_factor\": 0.5, \"hidden_act\": \"relu2\"")]
    [InlineData("gptj", "\"rotary_dim\": 8")]
    [InlineData("mpt", "\"attn_config\": { \"alibi\": true, \"alibi_bias_max\": 8, \"clip_qkv\": null, \"softmax_scale\": null }")]
    [InlineData("bloom", "\"layer_norm_epsilon\": 1e-5")]
    [InlineData("gpt_neox", "\"hidden_act\": \"gelu\", \"rotary_pct\": 0.25, \"use_parallel_residual\": true")]
    [InlineData("mamba2", "\"num_heads\": 6, \"head_dim\": 32, \"n_groups\": 2, \"state_size\": 16, \"expand\": 2, \"conv_kernel\": 4, \"time_step_limit\": [0.0, Infinity]")]
    public void Changed_configurations_are_understood_or_refused_in_a_line(string type, string options)
    {
        string model = RandomCheckpoint.Write(_folder, type, options), config = Path.Combine(_folder, "config.json"), text = File.ReadAllText(config);
        int refused = 0;
        Assert.False(IsRefused("unchanged", "import", model));
        for (int seed = 0; seed < Rounds; seed++)
        {
            string changed = Change(text, new Random(seed));
            File.WriteAllText(config, changed);
            refused += IsRefused(changed, "import", model) ? 1 : 0;
            _ = IsRefused(changed, "convert", model, Path.Combine(_folder, "m.gguf"));
        }

        Assert.InRange(refused, 1, Rounds);
    }

    [Theory]
    [InlineData("llama", "\"num_key_value_heads\": 2, \"rope_scaling\": { \"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192 }")]
    [InlineData("phi3", "\"num_key_value_heads\": 2, \"original_max_position_embeddings\": 64, \"rope_scaling\": { \"type\": \"longrope\", \"short_factor\": [1, 1, 1.5, 2, 2, 3, 3, 4], \"long_factor\": [2, 2, 3, 4, 4, 5, 6, 7] }")]
    [InlineData("gemma2", "\"num_key_value_heads\": 2, \"head_dim\": 16, \"query_pre_attn_scalar\": 16, \"sliding_window\": 20, \"attn_logit_softcapping\": 50.0, \"final_logit_softcapping\": 30.0")]
    [InlineData("qwen2_moe", "\"num_key_value_heads\": 2, \"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 64, \"shared_expert_intermediate_size\": 96, \"norm_topk_prob\": false")]
    [InlineData("minicpm", "\"num_key_value_heads\": 2, \"scale_emb\": 12, \"scale_depth\": 1.4, \"dim_model_base\": 48")]
    [InlineData("stablelm", "\"num_key_value_heads\": 2, \"partial_rotary_factor\": 0.25, \"use_qkv_bias\": false")]
    [InlineData("bloom", "\"layer_norm_epsilon\": 1e-5")]
    [InlineData("mamba2", "\"num_heads\": 6, \"head_dim\": 32, \"n_groups\": 2, \"state_size\": 16, \"expand\": 2, \"conv_kernel\": 4, \"time_step_limit\": [0.0, Infinity]")]
    public void Changed_files_are_understood_or_refused_in_a_line(string type, string options)
    {
        string model = Path.Combine(_folder, "m.gguf"), output = Path.Combine(_folder, "out.gguf");
        Assert.Equal("", ToolCommand.Run("convert", RandomCheckpoint.Write(_folder, type, options), model, "--weights", "Q8_0").Error);
        byte[] whole = File.ReadAllBytes(model);
        int refused = 0, head;
        using (GgufFile file = GgufFile.Open(model))
        {
            head = (int)file.Tensors.Min(static tensor => tensor.Offset);
        }

        Assert.False(IsRefused("unchanged", "import", model));
        for (int seed = 0; seed < Rounds; seed++)
        {
            var random = new Random(seed);
            byte[] changed = [.. whole];
            for (int changes = random.Next(1, 4); changes > 0; changes--)
            {
                // Values are among names, and what is not ASCII is no name.
                int at = random.Next(24, head);
                for (int i = 0; i < 200 && char.IsAsciiLetterLower((char)changed[at]); i++)
                {
                    at = random.Next(24, head);
                }

                changed[at] = random.Next(3) switch { 0 => (byte)random.Next(256), 1 => (byte)(changed[at] ^ (1 << random.Next(8))), _ => (byte)(random.Next(2) * 255) };
            }

            File.WriteAllBytes(model, random.Next(8) == 0 ? changed[..random.Next(changed.Length)] : changed);
            refused += IsRefused($"seed {seed}", "import", model) ? 1 : 0;
            _ = IsRefused($"seed {seed}", "inspect", model);
            _ = IsRefused($"seed {seed}", "convert", model, output);
            _ = IsRefused($"seed {seed}", "convert", model, Path.ChangeExtension(output, ".safetensors"));
        }

        Assert.InRange(refused, 1, Rounds);
    }

    private static string Change(string text, Random random)
    {
        for (int count = random.Next(1, 3); count > 0; count--)
        {
            MatchCollection found = Regex.Matches(text, """(?<=: ?|\[|, )(-?[\d.]+(e-?\d+)?|true|false|null|"[^"]*"(?! ?:))(?= ?[,\]}])""");
            if (found.Count > 0)
            {
                Match match = found[random.Next(found.Count)];
                text = string.Concat(text.AsSpan(0, match.Index), s_values[random.Next(s_values.Length)], text.AsSpan(match.Index + match.Length));
            }
        }

        return text;
    }

    private static bool IsRefused(string what, params string[] arguments)
    {
        ToolCommand.Result result;
        try
        {
            result = ToolCommand.Run(arguments);
        }
        catch (Exception exception)
        {
            throw new InvalidOperationException($"{string.Join(' ', arguments)}: {what}", exception);
        }

        Assert.True(result.Code is 0 or 1 or 2 && (result.Code == 0) == (result.Error.Length == 0), $"{result.Code}: {result.Error} {what}");
        Assert.DoesNotContain('\u001b', result.Error + result.Output);
        Assert.True(result.Error.AsSpan().Count('\n') <= 1, result.Error);
        return result.Code != 0;
    }
}
