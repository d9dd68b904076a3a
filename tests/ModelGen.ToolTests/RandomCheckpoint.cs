using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Small checkpoints with random weights.</summary>
internal static class RandomCheckpoint
{
    public const int Vocabulary = 512;

    // Sizes that have no factor in common, so that nothing stands in the place of another.
    private const int Width = 96;
    private const int Heads = 6;
    private const int Hidden = 160;

    // So many that it makes little difference whether a deviation is that of all columns or of one less.
    private const int WideHidden = 2048;

    /// <summary>Writes a checkpoint and its configuration.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="type">The kind of model.</param>
    /// <param name="options">What the configuration says beside the sizes.</param>
    /// <returns>The safetensors file.</returns>
    public static string Write(string folder, string type, string options)
    {
        bool isGemma = type is "gemma" or "gemma2" or "gemma3_text";
        bool isDelta = type == "qwen3_5_text";

        // Of Gemma's layers, the sixth sees everything.
        int layers = type == "gemma3n_text" ? 25 : isGemma ? 7 : type == "gemma4_text" ? 6 : type is "gpt_oss" or "cohere2" or "smollm3" ? 4 : 3;

        // As each calls them.
        string sizes = type switch
        {
            "mpt" => $""" "d_model": {Width}, "n_heads": {Heads}, "n_layers": {layers}, "expansion_ratio": 2, "max_seq_len": 128 """,
            "bloom" => $""" "hidden_size": {Width}, "n_head": {Heads}, "n_layer": {layers}, "seq_length": 128 """,
            "gpt2" => $""" "n_embd": {Width}, "n_head": {Heads}, "n_layer": {layers}, "n_positions": 128 """,
            "gptj" => $""" "n_embd": {Width}, "n_head": {Heads}, "n_layer": {layers}, "n_inner": null, "n_positions": 128 """,
            _ => $""" "hidden_size": {Width}, "num_attention_heads": {Heads}, "num_hidden_layers": {layers}, "intermediate_size": {(type == "gemma3n_text" ? WideHidden : Hidden)}, "max_position_embeddings": 128 """,
        };
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""{ "model_type": "{{type}}", {{sizes}}, "vocab_size": {{Vocabulary}}, {{options}} }""");
        ModelConfig config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        int headWidth = config.Integer("head_dim") ?? Width / Heads;
        int keys = headWidth * (config.Integer("num_key_value_heads") ?? Heads);
        var random = new Random(11);
        var writer = new SafetensorsWriter();
        bool isStates = type is "mamba2" or "granitemoehybrid";
        Add(type switch { "mamba2" => "backbone.embeddings.weight", "gpt_neox" => "gpt_neox.embed_in.weight", "mpt" or "gptj" or "gpt2" => "transformer.wte.weight", "bloom" => "word_embeddings.weight", _ => "model.embed_tokens.weight" }, Vocabulary, Width);
        for (int layer = 0; layer < layers; layer++)
        {
            if (type == "lfm2")
            {
                Lfm2(layer);
                continue;
            }

            if (type == "gemma4_text")
            {
                Gemma4(layer);
                continue;
            }

            if (type == "gemma3n_text")
            {
                Gemma3n(layer);
                continue;
            }

            if (type == "gpt_oss")
            {
                GptOss(layer);
                continue;
            }

            if (type == "gpt_neox")
            {
                NeoX(layer);
                continue;
            }

            if (type is "phi" or "mpt" or "bloom" or "gptj" or "gpt2")
            {
                Plain(layer);
                continue;
            }

            string block = FormattableString.Invariant($"{(type == "mamba2" ? "backbone" : "model")}.layers.{layer}.");
            if (type == "mamba2")
            {
                Add(block + "norm.weight", Width);
                StateSpace(block + "mixer.");
                continue;
            }

            foreach (string norm in type == "olmo2" ? ["post_attention_layernorm", "post_feedforward_layernorm"] : type is "cohere" or "cohere2" || config.Flag("use_parallel_residual") == true ? ["input_layernorm"] : (string[])["input_layernorm", "post_attention_layernorm"])
            {
                Add($"{block}{norm}.weight", Width);
                if (type is "stablelm" or "nemotron")
                {
                    Add($"{block}{norm}.bias", Width);
                }
            }

            if (isDelta && DecoderDeclaration.Mixers(config)[layer] == "linear_attention")
            {
                GatedDelta(block + "linear_attn.");
                Add(block + "mlp.gate_proj.weight", Hidden, Width);
                Add(block + "mlp.up_proj.weight", Hidden, Width);
                Add(block + "mlp.down_proj.weight", Width, Hidden);
                continue;
            }

            if (isStates)
            {
                Add(block + "shared_mlp.input_linear.weight", 2 * Hidden, Width);
                Add(block + "shared_mlp.output_linear.weight", Width, Hidden);
                if (StateSpaceDeclaration.Experts(config) is > 0 and int mixed)
                {
                    GraniteExperts(block, mixed, StateSpaceDeclaration.FeedForward(config));
                }

                if (StateSpaceDeclaration.Mixers(config)[layer] == "mamba")
                {
                    StateSpace(block + "mamba.");
                    continue;
                }
            }

            if (type == "phi3")
            {
                Add(block + "self_attn.qkv_proj.weight", (Heads * headWidth) + (2 * keys), Width);
                Add(block + "self_attn.o_proj.weight", Width, Heads * headWidth);
                Add(block + "mlp.gate_up_proj.weight", 2 * Hidden, Width);
                Add(block + "mlp.down_proj.weight", Width, Hidden);
                continue;
            }

            foreach ((string name, int rows) in ((string, int)[])[("q", (isDelta ? 2 : 1) * Heads * headWidth), ("k", keys), ("v", keys)])
            {
                Add(FormattableString.Invariant($"{block}self_attn.{name}_proj.weight"), rows, Width);
                if (type is "qwen2" or "qwen2_moe" || config.Flag("use_qkv_bias") == true)
                {
                    Add(FormattableString.Invariant($"{block}self_attn.{name}_proj.bias"), rows);
                }
            }

            if (type is "qwen3" or "qwen3_moe" or "qwen3_5_text" or "gemma3_text")
            {
                Add(block + "self_attn.q_norm.weight", headWidth);
                Add(block + "self_attn.k_norm.weight", headWidth);
            }

            if (type is "olmoe" or "olmo2")
            {
                Add(block + "self_attn.q_norm.weight", Heads * headWidth);
                Add(block + "self_attn.k_norm.weight", keys);
            }

            if (type is "gemma2" or "gemma3_text")
            {
                Add(block + "pre_feedforward_layernorm.weight", Width);
                Add(block + "post_feedforward_layernorm.weight", Width);
            }

            Add(block + "self_attn.o_proj.weight", Width, Heads * headWidth);
            if (isStates)
            {
                continue;
            }

            if (type == "granitemoe")
            {
                GraniteExperts(block, GptOssDeclaration.Experts(config), Hidden);
                continue;
            }

            if (type == "mixtral")
            {
                Add(block + "block_sparse_moe.gate.weight", GptOssDeclaration.Experts(config), Width);
                for (int expert = 0; expert < GptOssDeclaration.Experts(config); expert++)
                {
                    string name = FormattableString.Invariant($"{block}block_sparse_moe.experts.{expert}.");
                    Add(name + "w1.weight", Hidden, Width);
                    Add(name + "w2.weight", Width, Hidden);
                    Add(name + "w3.weight", Hidden, Width);
                }

                continue;
            }

            if (config.Integer("num_experts") is { } experts)
            {
                int each = config.Integer("moe_intermediate_size") ?? Hidden;
                Add(block + "mlp.gate.weight", experts, Width);
                for (int expert = 0; expert < experts; expert++)
                {
                    string name = FormattableString.Invariant($"{block}mlp.experts.{expert}.");
                    Add(name + "gate_proj.weight", each, Width);
                    Add(name + "up_proj.weight", each, Width);
                    Add(name + "down_proj.weight", Width, each);
                }

                if (config.Integer("shared_expert_intermediate_size") is { } shared)
                {
                    Add(block + "mlp.shared_expert.gate_proj.weight", shared, Width);
                    Add(block + "mlp.shared_expert.up_proj.weight", shared, Width);
                    Add(block + "mlp.shared_expert.down_proj.weight", Width, shared);
                    Add(block + "mlp.shared_expert_gate.weight", 1, Width);
                }

                continue;
            }

            if (type == "nemotron")
            {
                Add(block + "mlp.up_proj.weight", Hidden, Width);
                Add(block + "mlp.down_proj.weight", Width, Hidden);
                continue;
            }

            Add(block + "mlp.gate_proj.weight", Hidden, Width);
            Add(block + "mlp.up_proj.weight", Hidden, Width);
            Add(block + "mlp.down_proj.weight", Width, Hidden);
        }

        if (type == "gemma3n_text")
        {
            int each = Gemma3nDeclaration.PerLayerWidth(config);
            Add("model.embed_tokens_per_layer.weight", Vocabulary, layers * each);
            Add("model.per_layer_model_projection.weight", layers * each, Width);
            Add("model.per_layer_projection_norm.weight", each);
            for (int stream = 0; stream < Gemma3nDeclaration.Streams(config) - 1; stream++)
            {
                Add(FormattableString.Invariant($"model.altup_projections.{stream}.weight"), Width, Width);
                Add(FormattableString.Invariant($"model.altup_unembed_projections.{stream}.weight"), Width, Width);
            }
        }

        if (type == "gemma4_text")
        {
            int all = layers * Gemma4Declaration.PerLayerWidth(config);
            Add("model.embed_tokens_per_layer.weight", Vocabulary, all);
            Add("model.per_layer_model_projection.weight", all, Width);
            Add("model.per_layer_projection_norm.weight", all / layers);
        }

        Add(type switch { "lfm2" => "model.embedding_norm.weight", "mamba2" => "backbone.norm_f.weight", "gpt_neox" => "gpt_neox.final_layer_norm.weight", "phi" => "model.final_layernorm.weight", "mpt" => "transformer.norm_f.weight", "bloom" => "ln_f.weight", "gptj" or "gpt2" => "transformer.ln_f.weight", _ => "model.norm.weight" }, Width);
        if (type == "gpt_neox")
        {
            Add("gpt_neox.final_layer_norm.bias", Width);
        }

        if (type switch { "phi" => "model.final_layernorm", "bloom" => "ln_f", "gptj" or "gpt2" => "transformer.ln_f", "stablelm" or "nemotron" => "model.norm", _ => null } is { } last)
        {
            Add(last + ".bias", Width);
        }

        if (type == "gpt2")
        {
            Add("transformer.wpe.weight", 128, Width);
        }

        if (type == "bloom")
        {
            Add("word_embeddings_layernorm.weight", Width);
            Add("word_embeddings_layernorm.bias", Width);
        }

        if (config.Flag("tie_word_embeddings") != true)
        {
            Add(type == "gpt_neox" ? "embed_out.weight" : "lm_head.weight", Vocabulary, Width);
            if (type is "phi" or "gptj")
            {
                Add("lm_head.bias", Vocabulary);
            }
        }

        string model = Path.Combine(folder, "model.safetensors");
        writer.Save(model);
        return model;

        void Gemma3n(int layer)
        {
            string block = FormattableString.Invariant($"model.layers.{layer}.");
            int hidden = Gemma3nDeclaration.FeedForwards(config)[layer], streams = Gemma3nDeclaration.Streams(config), rank = Gemma3nDeclaration.LaurelRank(config), perLayer = Gemma3nDeclaration.PerLayerWidth(config);
            foreach (string norm in (string[])["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "post_per_layer_input_norm", "altup.router_norm", "laurel.post_laurel_norm", "altup.correct_output_scale"])
            {
                Add(norm.EndsWith("scale", StringComparison.Ordinal) ? block + norm : $"{block}{norm}.weight", Width);
            }

            Add(block + "self_attn.q_norm.weight", headWidth);
            Add(block + "self_attn.q_proj.weight", Heads * headWidth, Width);

            // Layers that take those of earlier ones have them too in public files, and nothing is computed with them.
            Add(block + "self_attn.k_proj.weight", keys, Width);
            Add(block + "self_attn.v_proj.weight", keys, Width);
            Add(block + "self_attn.k_norm.weight", headWidth);
            Add(block + "self_attn.o_proj.weight", Width, Heads * headWidth);
            Add(block + "mlp.gate_proj.weight", hidden, Width);
            Add(block + "mlp.up_proj.weight", hidden, Width);
            Add(block + "mlp.down_proj.weight", Width, hidden);
            Add(block + "per_layer_input_gate.weight", perLayer, Width);
            Add(block + "per_layer_projection.weight", Width, perLayer);
            Add(block + "altup.modality_router.weight", streams, Width);
            Add(block + "altup.prediction_coefs.weight", streams * streams, streams);
            Add(block + "altup.correction_coefs.weight", streams, streams);
            Add(block + "laurel.linear_left.weight", rank, Width);
            Add(block + "laurel.linear_right.weight", Width, rank);
        }

        void Gemma4(int layer)
        {
            string block = FormattableString.Invariant($"model.layers.{layer}.");
            int each = Gemma4Declaration.HeadWidth(config, isGlobal: !Gemma4Declaration.Windowed(config)[layer]), ownKeys = each * Gemma4Declaration.KeyHeads(config)[layer], hidden = Gemma4Declaration.FeedForwards(config)[layer];
            int perLayer = Gemma4Declaration.PerLayerWidth(config);
            foreach (string norm in (string[])["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "post_per_layer_input_norm"])
            {
                Add($"{block}{norm}.weight", Width);
            }

            Add(block + "self_attn.q_proj.weight", Heads * each, Width);
            Add(block + "self_attn.q_norm.weight", each);
            if (layer < layers - Gemma4Declaration.SharedLayers(config))
            {
                Add(block + "self_attn.k_proj.weight", ownKeys, Width);
                Add(block + "self_attn.v_proj.weight", ownKeys, Width);
                Add(block + "self_attn.k_norm.weight", each);
            }

            Add(block + "self_attn.o_proj.weight", Width, Heads * each);
            Add(block + "mlp.gate_proj.weight", hidden, Width);
            Add(block + "mlp.up_proj.weight", hidden, Width);
            Add(block + "mlp.down_proj.weight", Width, hidden);
            Add(block + "per_layer_input_gate.weight", perLayer, Width);
            Add(block + "per_layer_projection.weight", Width, perLayer);
            Add(block + "layer_scalar", 1);
        }

        void GptOss(int layer)
        {
            string block = FormattableString.Invariant($"model.layers.{layer}.");
            int experts = GptOssDeclaration.Experts(config), each = GptOssDeclaration.FeedForward(config);
            Add(block + "input_layernorm.weight", Width);
            Add(block + "post_attention_layernorm.weight", Width);
            foreach ((string name, int rows, int columns) in ((string, int, int)[])[("q", Heads * headWidth, Width), ("k", keys, Width), ("v", keys, Width), ("o", Width, Heads * headWidth)])
            {
                Add(FormattableString.Invariant($"{block}self_attn.{name}_proj.weight"), rows, columns);
                Add(FormattableString.Invariant($"{block}self_attn.{name}_proj.bias"), rows);
            }

            Add(block + "self_attn.sinks", Heads);
            string stored = config.Text("stored") ?? "parts", router = stored == "parts" ? "mlp.gate." : "mlp.router.";
            Add(block + router + "weight", experts, Width);
            Add(block + router + "bias", experts);
            if (stored != "parts")
            {
                // Gates and what they let through by turns, as checkpoints of 4 bits and of bf16 have them.
                if (stored == "blocks")
                {
                    AddBlocks(block + "mlp.experts.gate_up_proj", experts, 2 * each, Width);
                    AddBlocks(block + "mlp.experts.down_proj", experts, Width, each);
                }
                else
                {
                    Add(block + "mlp.experts.gate_up_proj", experts, Width, 2 * each);
                    Add(block + "mlp.experts.down_proj", experts, each, Width);
                }

                Add(block + "mlp.experts.gate_up_proj_bias", experts, 2 * each);
                Add(block + "mlp.experts.down_proj_bias", experts, Width);
                return;
            }

            foreach ((string name, int rows, int columns) in ((string, int, int)[])[("gate", each, Width), ("up", each, Width), ("down", Width, each)])
            {
                Add(FormattableString.Invariant($"{block}mlp.experts.{name}_proj.weight"), experts, rows, columns);
                Add(FormattableString.Invariant($"{block}mlp.experts.{name}_proj.bias"), experts, rows);
            }
        }

        // Numbers up to 6, by scales that make up for the columns that are added up.
        void AddBlocks(string name, int experts, int rows, int columns)
        {
            int count = experts * rows * columns / 32;
            byte[] numbers = new byte[16 * count], scales = new byte[count];
            random.NextBytes(numbers);
            for (int i = 0; i < count; i++)
            {
                scales[i] = (byte)random.Next(121, 124);
            }

            writer.Add(name + "_blocks", [experts, rows, columns / 32, 16], numbers);
            writer.Add(name + "_scales", [experts, rows, columns / 32], scales);
        }

        void GraniteExperts(string block, int experts, int each)
        {
            Add(block + "block_sparse_moe.router.layer.weight", experts, Width);
            Add(block + "block_sparse_moe.input_linear.weight", experts, 2 * each, Width);
            Add(block + "block_sparse_moe.output_linear.weight", experts, Width, each);
        }

        void NeoX(int layer)
        {
            string block = FormattableString.Invariant($"gpt_neox.layers.{layer}.");
            foreach ((string name, int rows, int columns) in ((string, int, int)[])[("attention.query_key_value", 3 * Width, Width), ("attention.dense", Width, Width), ("mlp.dense_h_to_4h", Hidden, Width), ("mlp.dense_4h_to_h", Width, Hidden)])
            {
                Add($"{block}{name}.weight", rows, columns);
                Add($"{block}{name}.bias", rows);
            }

            foreach (string name in (string[])["input_layernorm", "post_attention_layernorm"])
            {
                Add($"{block}{name}.weight", Width);
                Add($"{block}{name}.bias", Width);
            }
        }

        // Attention and a plain network, by each one's names: what has a bias ends with one.
        void Plain(int layer)
        {
            int hidden = type switch { "phi" => Hidden, "mpt" => 2 * Width, _ => 4 * Width };
            (string block, string[] norms, (string Name, int Rows, int Columns)[] matrices) = type switch
            {
                "phi" => ("model.layers.", (string[])["input_layernorm+"], ((string, int, int)[])[("self_attn.q_proj+", Width, Width), ("self_attn.k_proj+", keys, Width), ("self_attn.v_proj+", keys, Width), ("self_attn.dense+", Width, Width), ("mlp.fc1+", hidden, Width), ("mlp.fc2+", Width, hidden)]),
                "gptj" => ("transformer.h.", ["ln_1+"], [("attn.q_proj", Width, Width), ("attn.k_proj", Width, Width), ("attn.v_proj", Width, Width), ("attn.out_proj", Width, Width), ("mlp.fc_in+", hidden, Width), ("mlp.fc_out+", Width, hidden)]),

                // Conv1D: inputs by outputs.
                "gpt2" => ("transformer.h.", ["ln_1+", "ln_2+"], [("attn.c_attn+", Width, 3 * Width), ("attn.c_proj+", Width, Width), ("mlp.c_fc+", Width, hidden), ("mlp.c_proj+", hidden, Width)]),
                "mpt" => ("transformer.blocks.", ["norm_1", "norm_2"], [("attn.Wqkv", 3 * Width, Width), ("attn.out_proj", Width, Width), ("ffn.up_proj", hidden, Width), ("ffn.down_proj", Width, hidden)]),
                _ => ("h.", ["input_layernorm+", "post_attention_layernorm+"], [("self_attention.query_key_value+", 3 * Width, Width), ("self_attention.dense+", Width, Width), ("mlp.dense_h_to_4h+", hidden, Width), ("mlp.dense_4h_to_h+", Width, hidden)]),
            };
            foreach ((string name, int rows, int columns) in norms.Select(static norm => (norm, Width, 0)).Concat(matrices))
            {
                string whole = FormattableString.Invariant($"{block}{layer}.{name.TrimEnd('+')}");
                Add(whole + ".weight", columns > 0 ? [rows, columns] : [rows]);
                if (name.EndsWith('+'))
                {
                    Add(whole + ".bias", type == "gpt2" && columns > 0 ? columns : rows);
                }
            }
        }

        void GatedDelta(string block)
        {
            int heads = config.Integer("linear_num_value_heads")!.Value, values = heads * config.Integer("linear_value_head_dim")!.Value, keys = config.Integer("linear_num_key_heads")!.Value * config.Integer("linear_key_head_dim")!.Value;
            Add(block + "in_proj_qkv.weight", (2 * keys) + values, Width);
            Add(block + "in_proj_z.weight", values, Width);
            Add(block + "in_proj_b.weight", heads, Width);
            Add(block + "in_proj_a.weight", heads, Width);
            Add(block + "conv1d.weight", (2 * keys) + values, 1, config.Integer("linear_conv_kernel_dim")!.Value);
            Add(block + "A_log", heads);
            Add(block + "dt_bias", heads);
            Add(block + "norm.weight", config.Integer("linear_value_head_dim")!.Value);
            Add(block + "out_proj.weight", Width, values);
        }

        void StateSpace(string block)
        {
            StateSpaceDeclaration.Sizes sizes = StateSpaceDeclaration.SizesOf(config);
            int inner = sizes.Heads * sizes.HeadWidth, channels = inner + (2 * sizes.Groups * sizes.State);
            Add(block + "in_proj.weight", inner + channels + sizes.Heads, Width);
            Add(block + "conv1d.weight", channels, 1, sizes.Taps);
            Add(block + "conv1d.bias", channels);
            Add(block + "A_log", sizes.Heads);
            Add(block + "D", sizes.Heads);
            Add(block + "dt_bias", sizes.Heads);
            Add(block + "norm.weight", inner);
            Add(block + "out_proj.weight", Width, inner);
        }

        // Convolutions and attention under names of their own.
        void Lfm2(int layer)
        {
            string block = FormattableString.Invariant($"model.layers.{layer}.");
            Add(block + "operator_norm.weight", Width);
            Add(block + "ffn_norm.weight", Width);
            if (DecoderDeclaration.Mixers(config)[layer] == "conv")
            {
                Add(block + "conv.in_proj.weight", 3 * Width, Width);
                Add(block + "conv.conv.weight", Width, 1, config.Integer("conv_L_cache")!.Value);
                Add(block + "conv.out_proj.weight", Width, Width);
            }
            else
            {
                Add(block + "self_attn.q_proj.weight", Heads * headWidth, Width);
                Add(block + "self_attn.k_proj.weight", keys, Width);
                Add(block + "self_attn.v_proj.weight", keys, Width);
                Add(block + "self_attn.out_proj.weight", Width, Heads * headWidth);
                Add(block + "self_attn.q_layernorm.weight", headWidth);
                Add(block + "self_attn.k_layernorm.weight", headWidth);
            }

            Add(block + "feed_forward.w1.weight", Hidden, Width);
            Add(block + "feed_forward.w3.weight", Hidden, Width);
            Add(block + "feed_forward.w2.weight", Width, Hidden);
        }

        void Add(string name, params int[] shape)
        {
            bool isNorm = name.Contains("norm", StringComparison.Ordinal) || name.Contains("ln_", StringComparison.Ordinal) || name.EndsWith("layer_scalar", StringComparison.Ordinal) || name.EndsWith("correct_output_scale", StringComparison.Ordinal);
            double scale = isNorm ? 0.3 : 1 / Math.Sqrt(shape[^1]);
            float[] values = [.. Enumerable.Range(0, shape.Aggregate(static (a, b) => a * b)).Select(_ => (float)((isNorm && !isGemma && type != "nemotron" && !name.EndsWith(".bias", StringComparison.Ordinal) && !(isDelta && !name.Contains("linear_attn", StringComparison.Ordinal)) ? 1 : 0) + (scale * ((random.NextDouble() * 2) - 1) * 1.7)))];
            if (type is "gemma3n_text" or "gemma4_text" && (name.EndsWith("q_norm.weight", StringComparison.Ordinal) || name.EndsWith("k_norm.weight", StringComparison.Ordinal)))
            {
                // Scores that nothing else scales: as large as those of other models, which do not turn what rounding leaves into other tokens.
                values = [.. values.Select(value => value / MathF.Sqrt(MathF.Sqrt(shape[0])))];
            }

            writer.Add(name, shape, values);
        }
    }
}
