using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>What the metadata of a GGUF file says of its model, in the terms of Hugging Face's configurations.</summary>
internal static class GgufConfig
{
    /// <summary>The blocks of the one Gemma 2 and the one Gemma 3 whose scores are divided by the root of the width over the heads: 27B.</summary>
    public static int LargestGemma(string architecture) => architecture == "gemma2" ? 46 : 62;

    // What models save under their own names.
    private const string OwnArchitecture = "modelgen";

    // What all models have that slow rotary positions down by a table: Llama 3.1 and 3.2. The file holds what follows from it.
    private const int FirstContext = 8192;
    private const double LowFrequency = 1;
    private const double HighFrequency = 4;

    /// <summary>How each pair of rotary columns is slowed down by Llama 3.1's rule.</summary>
    /// <param name="pairs">The number of pairs.</param>
    /// <param name="rotaryBase">The base of the angles.</param>
    /// <param name="factor">What slow pairs are divided by.</param>
    /// <param name="low">The turns over the first context at the most of a slow pair.</param>
    /// <param name="high">The turns at least of a fast one.</param>
    /// <param name="context">The first context.</param>
    public static float[] RotaryFactors(int pairs, double rotaryBase, double factor, double low, double high, double context)
    {
        float[] factors = new float[pairs];
        for (int pair = 0; pair < pairs; pair++)
        {
            double turns = context * Math.Pow(rotaryBase, -(double)pair / pairs) / (2 * Math.PI);
            double part = Math.Clamp((turns - low) / (high - low), 0, 1);
            factors[pair] = (float)(1 / (((1 - part) / factor) + part));
        }

        return factors;
    }

    /// <summary>The configuration; null if the file names no architecture, or was saved by a model, whose declaration it then records.</summary>
    public static ModelConfig? Of(GgufFile file)
    {
        if (file.Values.GetValueOrDefault("general.architecture")?.AsText() is not { } architecture || architecture == OwnArchitecture)
        {
            return null;
        }

        var values = new JsonObject { ["model_type"] = architecture };
        switch (architecture)
        {
            case "gpt2":
                Gpt2();
                break;
            case "bert":
                Bert();
                break;
            case "jina-bert-v2":
                values["model_type"] = "bert";
                values["position_embedding_type"] = "alibi";
                values["feed_forward_type"] = "geglu";
                Bert();
                break;
            case "nomic-bert":
                NomicBert();
                break;
            case "modern-bert":
                ModernBert();
                break;
            default:
                Decoder();
                break;
        }

        // The table of token embeddings says it in every file, the metadata in some.
        if (file.Find("token_embd.weight") is { Shape.Length: 2 } table)
        {
            values["vocab_size"] = table.Shape[0];
        }

        Integer("tokenizer.ggml.bos_token_id", "bos_token_id", isOfArchitecture: false);
        Integer("tokenizer.ggml.eos_token_id", "eos_token_id", isOfArchitecture: false);
        values["tie_word_embeddings"] = file.Find("output.weight") is null;
        if (architecture != "gemma4" && RotaryScaling(file, architecture) is { } scaling)
        {
            values["rope_scaling"] = scaling;
        }

        return new ModelConfig(values, file.Path);

        void Gpt2()
        {
            Integer("embedding_length", "n_embd");
            Integer("block_count", "n_layer");
            Integer("attention.head_count", "n_head");
            Integer("context_length", "n_positions");
            Integer("feed_forward_length", "n_inner");
            Real("attention.layer_norm_epsilon", "layer_norm_epsilon");
        }

        void Bert()
        {
            Integer("embedding_length", "hidden_size");
            Integer("block_count", "num_hidden_layers");
            Integer("attention.head_count", "num_attention_heads");
            Integer("context_length", "max_position_embeddings");
            Integer("feed_forward_length", "intermediate_size");
            Real("attention.layer_norm_epsilon", "layer_norm_eps");
            if (file.Find("token_types.weight") is { } segments)
            {
                values["type_vocab_size"] = segments.Shape is [var count, _] ? count : throw new ToolException($"{file.Path}: tensor 'token_types.weight': expected a matrix.");
            }
            else
            {
                values["type_vocab_size"] = 0;
            }
        }

        void NomicBert()
        {
            values["model_type"] = "nomic_bert";
            Integer("embedding_length", "n_embd");
            Integer("block_count", "n_layer");
            Integer("attention.head_count", "n_head");
            Integer("context_length", "n_positions");
            Integer("feed_forward_length", "n_inner");
            Real("attention.layer_norm_epsilon", "layer_norm_epsilon");
            Real("rope.freq_base", "rotary_emb_base");
            values["type_vocab_size"] = file.Find("token_types.weight") is { Shape: [var types, _] } ? types : 0;
        }

        void ModernBert()
        {
            values["model_type"] = "modernbert";
            Integer("embedding_length", "hidden_size");
            Integer("block_count", "num_hidden_layers");
            Integer("attention.head_count", "num_attention_heads");
            Integer("context_length", "max_position_embeddings");
            Integer("feed_forward_length", "intermediate_size");
            Real("attention.layer_norm_epsilon", "norm_eps");
            Real("rope.freq_base", "global_rope_theta");
            Real("rope.freq_base_swa", "local_rope_theta");
            Integer("attention.sliding_window", "local_attention");
            Integer("attention.sliding_window_pattern", "global_attn_every_n_layers");
            if (Number("attention.sliding_window") is null or 0)
            {
                values["local_attention"] = 128;
                values["global_attn_every_n_layers"] = 1;
            }
        }

        void Decoder()
        {
            Integer("embedding_length", "hidden_size");
            Integer("block_count", "num_hidden_layers");
            Integer("attention.head_count", "num_attention_heads");
            if (architecture == "gemma4")
            {
                Gemma4(file, values);
            }

            if (architecture == "gemma3n")
            {
                Gemma3nDeclaration.Read(file, values);
            }

            if (architecture == "lfm2")
            {
                Mixers(file, architecture, values, "conv", "full_attention");
                Integer("shortconv.l_cache", "conv_L_cache");
            }
            else if (architecture is "mamba2" or "granitehybrid")
            {
                StateSpaces();
            }
            else if (architecture != "gemma4")
            {
                Integer("attention.head_count_kv", "num_key_value_heads");
            }

            Integer("context_length", "max_position_embeddings");
            if (architecture != "gemma4")
            {
                Integer("attention.key_length", "head_dim");
            }

            if (architecture is not ("gemma3n" or "gemma4"))
            {
                Integer("feed_forward_length", "intermediate_size");
            }

            Integer("expert_count", "num_experts");
            Integer("expert_used_count", "num_experts_per_tok");
            Integer("expert_feed_forward_length", "moe_intermediate_size");
            Integer("attention.sliding_window", "sliding_window");
            if (architecture == "qwen35")
            {
                GatedDelta();
            }

            if (architecture is "granite" or "granitemoe")
            {
                Real("embedding_scale", "embedding_multiplier");
                Real("residual_scale", "residual_multiplier");
                Real("attention.scale", "attention_multiplier");
                Real("logit_scale", "logits_scaling");
            }

            if (architecture == "granitehybrid")
            {
                Integer("expert_shared_feed_forward_length", "shared_intermediate_size");
            }

            if (architecture == "qwen2moe")
            {
                Integer("expert_shared_feed_forward_length", "shared_expert_intermediate_size");
            }

            if (architecture == "minicpm")
            {
                MiniCpm();
            }

            if (LayerNormDeclaration.Knows(architecture))
            {
                LayerNorms();
            }

            if (architecture is "gemma2" or "gemma3")
            {
                Real("attn_logit_softcapping", "attn_logit_softcapping");
                Real("final_logit_softcapping", "final_logit_softcapping");
            }

            if (architecture is "gptneox" or "phi3" or "phi2" or "stablelm" or "nemotron" && Number("rope.dimension_count") is { } turned && Number("embedding_length") is { } all && Number("attention.head_count") is { } parts and > 0 && all >= parts)
            {
                values["partial_rotary_factor"] = DecoderDeclaration.Fraction(turned, Number("attention.key_length") ?? (all / parts));
            }

            if (architecture == "gptneox")
            {
                Real("attention.layer_norm_epsilon", "layer_norm_eps");
                values["hidden_act"] = "gelu_new";
                values["use_parallel_residual"] = file.Values.GetValueOrDefault("gptneox.use_parallel_residual")?.AsFlag() ?? true;
            }

            Real("attention.layer_norm_rms_epsilon", "rms_norm_eps");
            Real("rope.freq_base", "rope_theta");
            if (architecture is "gemma2" or "gemma3")
            {
                GemmaScores();
            }
        }

        void MiniCpm()
        {
            // Older files have the factors of the one model that there was.
            values["scale_emb"] = 12;
            values["residual_multiplier"] = 1.4 / Math.Sqrt(Math.Max(1, Number("block_count") ?? 1));
            values["dim_model_base"] = 256;
            Real("embedding_scale", "scale_emb");
            Real("residual_scale", "residual_multiplier");
            if (file.Values.GetValueOrDefault("minicpm.logit_scale")?.AsReal() is > 0 and double divisor && Number("embedding_length") is { } columns)
            {
                values["dim_model_base"] = columns / divisor;
            }
        }

        void LayerNorms()
        {
            Real("attention.layer_norm_epsilon", "layer_norm_eps");
            Real("logit_scale", "logit_scale");
            Real("attention.max_alibi_bias", "max_alibi_bias");
            if (file.Values.GetValueOrDefault(architecture + ".attention.clamp_kqv")?.AsReal() is double clamp and not 0)
            {
                throw new ToolException($"{file.Path}: metadata '{architecture}.attention.clamp_kqv': expected 0, found {clamp.ToString(System.Globalization.CultureInfo.InvariantCulture)}.");
            }

            if (architecture is "mpt" or "bloom" or "phi2")
            {
                values["hidden_act"] = "gelu_new";
            }

            if (architecture == "stablelm")
            {
                values["use_parallel_residual"] = file.Find("blk.0.ffn_norm.weight") is null;
            }
        }

        void GemmaScores()
        {
            if (architecture == "gemma3")
            {
                Real("rope.freq_base_swa", "rope_local_base_freq");
            }

            // No entry says it: the largest models divide scores by another width than their heads', and are known by the number of their layers.
            if (Number("block_count") == LargestGemma(architecture) && Number("embedding_length") is { } width && Number("attention.head_count") is { } heads and > 0)
            {
                values["query_pre_attn_scalar"] = width / heads;
            }
            else if (Number("attention.key_length") is { } headWidth)
            {
                values["query_pre_attn_scalar"] = headWidth;
            }
        }

        void StateSpaces()
        {
            bool isHybrid = architecture == "granitehybrid";
            Integer("ssm.time_step_rank", isHybrid ? "mamba_n_heads" : "num_heads");
            Integer("ssm.group_count", isHybrid ? "mamba_n_groups" : "n_groups");
            Integer("ssm.state_size", isHybrid ? "mamba_d_state" : "state_size");
            Integer("ssm.conv_kernel", isHybrid ? "mamba_d_conv" : "conv_kernel");
            if (Number("ssm.inner_size") is { } inner && Number("ssm.time_step_rank") is { } heads and > 0)
            {
                values[isHybrid ? "mamba_d_head" : "head_dim"] = inner / heads;
            }

            values[isHybrid ? "mamba_conv_bias" : "use_conv_bias"] = file.Tensors.Any(static tensor => tensor.Name.EndsWith(".ssm_conv1d.bias", StringComparison.Ordinal));
            values[isHybrid ? "mamba_proj_bias" : "use_bias"] = file.Tensors.Any(static tensor => tensor.Name.EndsWith(".ssm_in.bias", StringComparison.Ordinal));
            if (isHybrid)
            {
                Mixers(file, architecture, values, "mamba", "attention");
                values["attention_bias"] = file.Tensors.Any(static tensor => tensor.Name.EndsWith(".attn_q.bias", StringComparison.Ordinal));
                values["position_embedding_type"] = file.Values.GetValueOrDefault(architecture + ".rope.scaling.finetuned")?.AsFlag() == false ? "nope" : "rope";
                Real("embedding_scale", "embedding_multiplier");
                Real("residual_scale", "residual_multiplier");
                Real("attention.scale", "attention_multiplier");
                Real("logit_scale", "logits_scaling");
            }
        }

        void GatedDelta()
        {
            Integer("ssm.group_count", "linear_num_key_heads");
            Integer("ssm.time_step_rank", "linear_num_value_heads");
            if (Number("ssm.group_count") is { } keyHeads && Number("ssm.time_step_rank") is { } valueHeads && keyHeads != valueHeads)
            {
                // llama.cpp keeps the heads of values in another order then.
                throw new ToolException($"{file.Path}: metadata '{architecture}.ssm.time_step_rank': expected {keyHeads}, as many heads of values as of keys, found {valueHeads}.");
            }

            Integer("ssm.state_size", "linear_key_head_dim");
            Integer("ssm.conv_kernel", "linear_conv_kernel_dim");
            Integer("full_attention_interval", "full_attention_interval");
            if (Number("ssm.inner_size") is { } inner && Number("ssm.time_step_rank") is { } heads and > 0)
            {
                values["linear_value_head_dim"] = inner / heads;
            }

            if (Number("rope.dimension_count") is { } turned && Number("attention.key_length") is { } channels and > 0)
            {
                values["partial_rotary_factor"] = DecoderDeclaration.Fraction(turned, channels);
            }
        }

        long? Number(string key) => file.Values.GetValueOrDefault($"{architecture}.{key}")?.AsInteger();

        void Integer(string key, string name, bool isOfArchitecture = true)
        {
            string full = isOfArchitecture ? $"{architecture}.{key}" : key;
            if (file.Values.TryGetValue(full, out GgufValue? value))
            {
                values[name] = value.AsInteger() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected an integer, found {value}.");
            }
        }

        void Real(string key, string name)
        {
            string full = $"{architecture}.{key}";
            if (file.Values.TryGetValue(full, out GgufValue? value))
            {
                // The nearest double that a person would write, and so the value that files of 32 bits stand for.
                double real = value.AsReal() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected a number, found {value}.");
                values[name] = double.Parse(((float)real).ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
            }
        }
    }

    /// <summary>What Gemma 4's files say of layers, each of which may be otherwise.</summary>
    private static void Gemma4(GgufFile file, JsonObject values)
    {
        const string Prefix = "gemma4.";
        if (file.Values.GetValueOrDefault(Prefix + "block_count")?.AsInteger() is not (>= 1 and <= 1024 and long layers))
        {
            throw Problem("block_count", "1 to 1024");
        }

        bool[] windowed = file.Values.GetValueOrDefault(Prefix + "attention.sliding_window_pattern") switch
        {
            { IsArray: true, ElementType: GgufValueType.Bool } flags when flags.Count == layers => flags.Flags(),
            { IsArray: false, IsInteger: true } period when period.AsInteger() is >= 1 and <= 1024 and long each => [.. Enumerable.Range(1, (int)layers).Select(layer => layer % each != 0)],
            _ => throw Problem("attention.sliding_window_pattern", "a truth value for each layer, or one integer"),
        };
        values["layer_types"] = new JsonArray([.. windowed.Select(static sees => (JsonNode)(sees ? "sliding_attention" : "full_attention"))]);
        values["layer_key_value_heads"] = List("attention.head_count_kv");
        values["layer_intermediate_sizes"] = List("feed_forward_length");
        foreach ((string key, string name) in ((string, string)[])[
            ("attention.key_length", "global_head_dim"), ("attention.key_length_swa", "head_dim"), ("attention.shared_kv_layers", "num_kv_shared_layers"), ("embedding_length_per_layer_input", "hidden_size_per_layer_input")])
        {
            values[name] = file.Values.TryGetValue(Prefix + key, out GgufValue? value) ? value.AsInteger() ?? throw Problem(key, "an integer") : 0;
        }

        values["rope_local_base_freq"] = file.Values.GetValueOrDefault(Prefix + "rope.freq_base_swa")?.AsReal() ?? 10000;
        if (file.Values.GetValueOrDefault(Prefix + "final_logit_softcapping")?.AsReal() is > 0 and double cap)
        {
            values["final_logit_softcapping"] = cap;
        }

        // Pairs that stand still are slowed down without end.
        values["global_rotary_fraction"] = 1;
        if (file.Find("rope_freqs.weight") is { Shape: [> 0 and < 4096] } table)
        {
            float[] factors = new float[table.Length];
            file.ReadFloats(table, 0, factors);
            int turning = factors.TakeWhile(static factor => factor == 1).Count();
            if (turning == 0 || factors.Skip(turning).Any(static factor => !(factor > 1e20f)))
            {
                throw new ToolException($"{file.Path}: tensor 'rope_freqs.weight': expected pairs that turn, with the factor 1, and behind them pairs that stand still, found others.");
            }

            values["global_rotary_fraction"] = (double)turning / factors.Length;
        }

        JsonArray List(string key)
        {
            GgufValue? value = file.Values.GetValueOrDefault(Prefix + key);
            long[] numbers = value is { IsInteger: true } && (value.IsArray ? value.Count == layers : value.Count == 1) ? value.Integers() : throw Problem(key, "an integer, or one for each layer");
            return new JsonArray([.. Enumerable.Range(0, (int)layers).Select(layer => (JsonNode)numbers[numbers.Length == 1 ? 0 : layer])]);
        }

        ToolException Problem(string key, string expected) => new($"{file.Path}: metadata '{Prefix}{key}': expected {expected}, found {file.Values.GetValueOrDefault(Prefix + key)?.ToString() ?? "nothing"}.");
    }

    /// <summary>What mixes the tokens of each layer: one without heads of keys and values has something else.</summary>
    private static void Mixers(GgufFile file, string architecture, JsonObject values, string other, string attention)
    {
        string key = architecture + ".attention.head_count_kv";
        if (!file.Values.TryGetValue(key, out GgufValue? heads) || !heads.IsArray || !heads.IsInteger || heads.Count is 0 or > 1024)
        {
            throw new ToolException($"{file.Path}: metadata '{key}': expected a list of an integer for each layer, found {heads?.ToString() ?? "nothing"}.");
        }

        long[] counts = heads.Integers();
        long most = counts.Max();
        if (counts.Any(count => count != 0 && count != most))
        {
            throw new ToolException($"{file.Path}: metadata '{key}': expected 0 or one number of heads for all layers, found {heads}.");
        }

        values["num_key_value_heads"] = most;
        values["layer_types"] = new JsonArray([.. counts.Select(count => (JsonNode)(count == 0 ? other : attention))]);
    }

    private static JsonObject? RotaryScaling(GgufFile file, string architecture)
    {
        if (file.Find("rope_factors_long.weight") is { } beyond && file.Find("rope_factors_short.weight") is { } within)
        {
            JsonArray List(GgufTensor tensor)
            {
                if (tensor.Shape is not [> 0 and < 4096])
                {
                    throw new ToolException($"{file.Path}: tensor '{tensor.Name}': expected a factor for each pair of turned channels.");
                }

                float[] values = new float[tensor.Length];
                file.ReadFloats(tensor, 0, values);
                return new JsonArray([.. values.Select(static value => (JsonNode)double.Parse(value.ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture))]);
            }

            var lists = new JsonObject
            {
                ["rope_type"] = "longrope",
                ["short_factor"] = List(within),
                ["long_factor"] = List(beyond),
                ["attention_factor"] = file.Values.GetValueOrDefault(architecture + ".rope.scaling.attn_factor")?.AsReal() ?? 1,
            };
            if (file.Values.GetValueOrDefault(architecture + ".rope.scaling.original_context_length")?.AsInteger() is { } first)
            {
                lists["original_max_position_embeddings"] = first;
            }

            return lists;
        }

        if (file.Values.GetValueOrDefault(architecture + ".rope.scaling.type")?.AsText() is { } type and not "none")
        {
            var scaling = new JsonObject { ["rope_type"] = type };
            if (file.Values.GetValueOrDefault(architecture + ".rope.scaling.factor")?.AsReal() is { } given)
            {
                scaling["factor"] = given;
            }

            if (file.Values.GetValueOrDefault(architecture + ".rope.scaling.original_context_length")?.AsInteger() is { } context)
            {
                scaling["original_max_position_embeddings"] = context;
            }

            return scaling;
        }

        if (file.Find("rope_freqs.weight") is not { Shape: [> 0 and < 4096] } table)
        {
            return null;
        }

        float[] found = new float[table.Length];
        file.ReadFloats(table, 0, found);
        double rotaryBase = file.Values.GetValueOrDefault(architecture + ".rope.freq_base")?.AsReal() ?? 10000;
        double factor = found.Max();
        float[] expected = RotaryFactors(found.Length, rotaryBase, factor, LowFrequency, HighFrequency, FirstContext);
        for (int pair = 0; pair < found.Length; pair++)
        {
            if (!(Math.Abs(found[pair] - expected[pair]) <= 1e-3 * Math.Abs(expected[pair])))
            {
                throw new ToolException(FormattableString.Invariant($"{file.Path}: tensor 'rope_freqs.weight': expected Llama 3.1's factors, {expected[pair]:G5} for pair {pair}, found {found[pair]:G5}."));
            }
        }

        return new JsonObject
        {
            ["rope_type"] = "llama3",
            ["factor"] = factor,
            ["low_freq_factor"] = LowFrequency,
            ["high_freq_factor"] = HighFrequency,
            ["original_max_position_embeddings"] = FirstContext,
        };
    }
}
