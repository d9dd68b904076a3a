using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>What GGUF files say of decoders.</summary>
internal static class GgufDecoderConfig
{
    public static void Gpt2(GgufEntries entries)
    {
        entries.Integer("embedding_length", "n_embd");
        entries.Integer("block_count", "n_layer");
        entries.Integer("attention.head_count", "n_head");
        entries.Integer("context_length", "n_positions");
        entries.Integer("feed_forward_length", "n_inner");
        entries.Real("attention.layer_norm_epsilon", "layer_norm_epsilon");
    }

    public static void Read(GgufEntries entries)
    {
        string architecture = entries.Architecture;
        entries.Integer("embedding_length", "hidden_size");
        entries.Integer("block_count", "num_hidden_layers");
        entries.Integer("attention.head_count", "num_attention_heads");
        TokenMixers(entries);
        entries.Integer("context_length", "max_position_embeddings");
        if (architecture != "gemma4")
        {
            entries.Integer("attention.key_length", "head_dim");
        }

        entries.Integer("attention.sliding_window", "sliding_window");
        FeedForward(entries);
        switch (architecture)
        {
            case "qwen35":
                GatedDelta(entries);
                break;
            case "granite" or "granitemoe" or "granitehybrid":
                Multipliers(entries);
                break;
            case "minicpm":
                MiniCpm(entries);
                break;
            case "gptneox":
                NeoX(entries);
                break;
            case "gemma2" or "gemma3":
                GemmaScores(entries);
                break;
        }

        if (LayerNormDeclaration.Knows(architecture))
        {
            LayerNorms(entries);
        }

        PartialRotary(entries);
        entries.Real("attention.layer_norm_rms_epsilon", "rms_norm_eps");
        entries.Real("rope.freq_base", "rope_theta");
    }

    // What mixes the tokens of each layer, and the heads of its keys and values.
    private static void TokenMixers(GgufEntries entries)
    {
        switch (entries.Architecture)
        {
            case "gemma4":
                Gemma4(entries.File, entries.Values);
                break;
            case "lfm2":
                LayerTypes(entries, "conv", "full_attention");
                entries.Integer("shortconv.l_cache", "conv_L_cache");
                break;
            case "mamba2" or "granitehybrid":
                StateSpaces(entries);
                break;
            default:
                entries.Integer("attention.head_count_kv", "num_key_value_heads");
                break;
        }
    }

    private static void FeedForward(GgufEntries entries)
    {
        switch (entries.Architecture)
        {
            case "gemma3n":
                Gemma3nDeclaration.Read(entries.File, entries.Values);
                break;
            case "gemma4":
                // Each layer has its own.
                break;
            default:
                entries.Integer("feed_forward_length", "intermediate_size");
                break;
        }

        entries.Integer("expert_count", "num_experts");
        entries.Integer("expert_used_count", "num_experts_per_tok");
        entries.Integer("expert_feed_forward_length", "moe_intermediate_size");
        if (entries.Architecture is "granitehybrid" or "qwen2moe")
        {
            entries.Integer("expert_shared_feed_forward_length", entries.Architecture == "qwen2moe" ? "shared_expert_intermediate_size" : "shared_intermediate_size");
        }
    }

    // What Granite multiplies embeddings, residuals, scores and logits with.
    private static void Multipliers(GgufEntries entries)
    {
        entries.Real("embedding_scale", "embedding_multiplier");
        entries.Real("residual_scale", "residual_multiplier");
        entries.Real("attention.scale", "attention_multiplier");
        entries.Real("logit_scale", "logits_scaling");
    }

    private static void NeoX(GgufEntries entries)
    {
        entries.Real("attention.layer_norm_epsilon", "layer_norm_eps");
        entries.Values["hidden_act"] = "gelu_new";
        entries.Values["use_parallel_residual"] = entries.Find("use_parallel_residual")?.AsFlag() ?? true;
    }

    // The part of a head's channels that positions turn.
    private static void PartialRotary(GgufEntries entries)
    {
        if (entries.Architecture is "gptneox" or "phi3" or "phi2" or "stablelm" or "nemotron"
            && entries.Number("rope.dimension_count") is { } turned && entries.Number("embedding_length") is { } width && entries.Number("attention.head_count") is { } heads and > 0 && width >= heads)
        {
            entries.Values["partial_rotary_factor"] = DecoderDeclaration.Fraction(turned, entries.Number("attention.key_length") ?? (width / heads));
        }
    }

    private static void MiniCpm(GgufEntries entries)
    {
        // Older files have the factors of the one model that there was.
        entries.Values["scale_emb"] = 12;
        entries.Values["residual_multiplier"] = 1.4 / Math.Sqrt(Math.Max(1, entries.Number("block_count") ?? 1));
        entries.Values["dim_model_base"] = 256;
        entries.Real("embedding_scale", "scale_emb");
        entries.Real("residual_scale", "residual_multiplier");
        if (entries.Find("logit_scale")?.AsReal() is > 0 and double divisor && entries.Number("embedding_length") is { } columns)
        {
            entries.Values["dim_model_base"] = columns / divisor;
        }
    }

    private static void LayerNorms(GgufEntries entries)
    {
        entries.Real("attention.layer_norm_epsilon", "layer_norm_eps");
        entries.Real("logit_scale", "logit_scale");
        entries.Real("attention.max_alibi_bias", "max_alibi_bias");
        if (entries.Find("attention.clamp_kqv")?.AsReal() is double clamp and not 0)
        {
            throw new ToolException($"{entries.File.Path}: metadata '{entries.Architecture}.attention.clamp_kqv': expected 0, found {clamp.ToString(System.Globalization.CultureInfo.InvariantCulture)}.");
        }

        if (entries.Architecture is "mpt" or "bloom" or "phi2")
        {
            entries.Values["hidden_act"] = "gelu_new";
        }

        if (entries.Architecture == "stablelm")
        {
            entries.Values["use_parallel_residual"] = entries.File.Find("blk.0.ffn_norm.weight") is null;
        }
    }

    private static void GemmaScores(GgufEntries entries)
    {
        entries.Real("attn_logit_softcapping", "attn_logit_softcapping");
        entries.Real("final_logit_softcapping", "final_logit_softcapping");
        if (entries.Architecture == "gemma3")
        {
            entries.Real("rope.freq_base_swa", "rope_local_base_freq");
        }

        // No entry says it: the largest models divide scores by another width than their heads', and are known by the number of their layers.
        if (entries.Number("block_count") == GgufConfig.LargestGemma(entries.Architecture) && entries.Number("embedding_length") is { } width && entries.Number("attention.head_count") is { } heads and > 0)
        {
            entries.Values["query_pre_attn_scalar"] = width / heads;
        }
        else if (entries.Number("attention.key_length") is { } headWidth)
        {
            entries.Values["query_pre_attn_scalar"] = headWidth;
        }
    }

    private static void StateSpaces(GgufEntries entries)
    {
        bool isHybrid = entries.Architecture == "granitehybrid";
        entries.Integer("ssm.time_step_rank", isHybrid ? "mamba_n_heads" : "num_heads");
        entries.Integer("ssm.group_count", isHybrid ? "mamba_n_groups" : "n_groups");
        entries.Integer("ssm.state_size", isHybrid ? "mamba_d_state" : "state_size");
        entries.Integer("ssm.conv_kernel", isHybrid ? "mamba_d_conv" : "conv_kernel");
        if (entries.Number("ssm.inner_size") is { } inner && entries.Number("ssm.time_step_rank") is { } heads and > 0)
        {
            entries.Values[isHybrid ? "mamba_d_head" : "head_dim"] = inner / heads;
        }

        entries.Values[isHybrid ? "mamba_conv_bias" : "use_conv_bias"] = entries.HasTensor(".ssm_conv1d.bias");
        entries.Values[isHybrid ? "mamba_proj_bias" : "use_bias"] = entries.HasTensor(".ssm_in.bias");
        if (isHybrid)
        {
            LayerTypes(entries, "mamba", "attention");
            entries.Values["attention_bias"] = entries.HasTensor(".attn_q.bias");
            entries.Values["position_embedding_type"] = entries.Find("rope.scaling.finetuned")?.AsFlag() == false ? "nope" : "rope";
        }
    }

    private static void GatedDelta(GgufEntries entries)
    {
        entries.Integer("ssm.group_count", "linear_num_key_heads");
        entries.Integer("ssm.time_step_rank", "linear_num_value_heads");
        if (entries.Number("ssm.group_count") is { } keyHeads && entries.Number("ssm.time_step_rank") is { } valueHeads && keyHeads != valueHeads)
        {
            // llama.cpp keeps the heads of values in another order then.
            throw new ToolException($"{entries.File.Path}: metadata '{entries.Architecture}.ssm.time_step_rank': expected {keyHeads}, as many heads of values as of keys, found {valueHeads}.");
        }

        entries.Integer("ssm.state_size", "linear_key_head_dim");
        entries.Integer("ssm.conv_kernel", "linear_conv_kernel_dim");
        entries.Integer("full_attention_interval", "full_attention_interval");
        if (entries.Number("ssm.inner_size") is { } inner && entries.Number("ssm.time_step_rank") is { } heads and > 0)
        {
            entries.Values["linear_value_head_dim"] = inner / heads;
        }

        if (entries.Number("rope.dimension_count") is { } turned && entries.Number("attention.key_length") is { } channels and > 0)
        {
            entries.Values["partial_rotary_factor"] = DecoderDeclaration.Fraction(turned, channels);
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
    private static void LayerTypes(GgufEntries entries, string other, string attention)
    {
        GgufFile file = entries.File;
        string key = entries.Architecture + ".attention.head_count_kv";
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

        entries.Values["num_key_value_heads"] = most;
        entries.Values["layer_types"] = new JsonArray([.. counts.Select(count => (JsonNode)(count == 0 ? other : attention))]);
    }
}
