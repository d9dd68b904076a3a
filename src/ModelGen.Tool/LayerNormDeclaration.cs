using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>
/// The declaration of decoders with layer norms by their configurations, in the terms of Hugging Face or translated from a GGUF file: Phi-1.5 and 2, StableLM, Cohere's Command, Nemotron, GPT-J, MPT and BLOOM. What each calls a size differs, and what they have beside it.
/// </summary>
internal static class LayerNormDeclaration
{
    // What published models have where configurations leave it out.
    private const int UsualWindow = 4096;
    private const int UsualWindowPattern = 4;
    private const int UsualBloomContext = 2048;

    /// <summary>Whether a kind of model is one of these.</summary>
    public static bool Knows(string type) => Kind(type) is not null;

    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        string kind = Kind(config.ModelType)!;
        RequireUsual(config, weights, kind);
        int heads = Heads(config), keyHeads = KeyHeads(config);
        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(Layers(config))),
            ("DModel", ConfigDeclaration.Text(Width(config))),
            ("Heads", ConfigDeclaration.Text(heads)),
            ("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))),
            ("Context", ConfigDeclaration.Text(Context(config))),
            ("FeedForward", ConfigDeclaration.Text(FeedForward(config))),
        };
        if (keyHeads != heads)
        {
            arguments.Add(("KeyValueHeads", ConfigDeclaration.Text(keyHeads)));
        }

        if (config.Integer("head_dim") is { } headWidth && headWidth != Width(config) / Math.Max(1, heads))
        {
            arguments.Add(("HeadWidth", ConfigDeclaration.Text(headWidth)));
        }

        if (kind != "phi")
        {
            arguments.Add(("Norm", kind == "nemotron" ? "Normalization.OffsetLayer" : "Normalization.Layer"));
        }

        arguments.Add(("NormEpsilon", ConfigDeclaration.Text((double)(float)NormEpsilon(config))));
        if (!weights.Tensors.Any(static tensor => tensor.Name.Contains("norm", StringComparison.Ordinal) && tensor.Name.EndsWith(".bias", StringComparison.Ordinal)) && kind is "cohere" or "cohere2" or "mpt")
        {
            arguments.Add(("NormBias", "false"));
        }

        if (kind is not ("stablelm" or "cohere" or "cohere2"))
        {
            arguments.Add(("Activation", Activation(config)));
            if (kind != "phi")
            {
                arguments.Add(("GatedFeedForward", "false"));
            }
        }

        if (kind != "phi" && IsParallel(config, kind))
        {
            arguments.Add(("Form", "BlockForm.Parallel"));
        }

        Positions(config, kind, arguments);
        if (kind == "bloom")
        {
            arguments.Add(("EmbeddingNorm", "true"));
        }

        if (LogitScale(config) is { } scale)
        {
            arguments.Add(("LogitScale", ConfigDeclaration.Text(scale)));
        }

        // Biases that configurations do not all name.
        bool isPhi = kind == "phi";
        Flag("QkvBias", Has(".q_proj.bias", ".query_key_value.bias", ".qkv_proj.bias"), isPhi);
        Flag("OutputBias", Has(".o_proj.bias", ".dense.bias", ".attn.out_proj.bias"), isPhi);
        Flag("FeedForwardBias", Has(".up_proj.bias", ".fc1.bias", ".fc_in.bias", ".dense_h_to_4h.bias"), isPhi);
        Flag("HeadBias", Has("lm_head.bias"), isPhi);
        Flag("TieEmbeddings", !Has("lm_head.weight") || (config.Flag("tie_word_embeddings") ?? kind is "cohere" or "cohere2" or "mpt" or "bloom"), byDefault: false);
        return new ModelCode(isPhi ? "Phi" : "Decoder", arguments);

        bool Has(params string[] ends) => weights.Tensors.Any(tensor => ends.Any(end => tensor.Name.EndsWith(end, StringComparison.Ordinal)));

        void Flag(string name, bool value, bool byDefault)
        {
            if (value != byDefault)
            {
                arguments.Add((name, value ? "true" : "false"));
            }
        }
    }

    /// <summary>Writes what a GGUF file says of the model.</summary>
    /// <returns>The width of heads.</returns>
    public static int Write(ModelConfig config, WeightFile weights, GgufWriter writer, string architecture)
    {
        string kind = Kind(config.ModelType)!;
        RequireUsual(config, weights, kind);
        int width = Width(config), heads = Math.Max(1, Heads(config)), headWidth = config.Integer("head_dim") ?? (width / heads);
        string activation = Activation(config);

        // Theirs is the approximation by tanh, which is near the exact one.
        bool isTheirs = kind switch
        {
            "stablelm" or "cohere" or "cohere2" => activation == "Activation.Silu",
            "nemotron" => activation == "Activation.ReluSquared",
            _ => activation is "Activation.Gelu" or "Activation.GeluTanh",
        };
        if (!isTheirs)
        {
            throw config.Problem("hidden_act", $"what readers of GGUF files of {architecture} compute with", activation);
        }

        foreach ((string key, int value) in ((string, int)[])[
            ("context_length", Context(config)), ("embedding_length", width), ("block_count", Layers(config)), ("feed_forward_length", FeedForward(config)), ("attention.head_count", heads), ("attention.head_count_kv", KeyHeads(config)),
            ("attention.key_length", headWidth), ("attention.value_length", headWidth), ("vocab_size", config.Required("vocab_size"))])
        {
            writer.Set($"{architecture}.{key}", (uint)value);
        }

        writer.Set(architecture + ".attention.layer_norm_epsilon", (float)NormEpsilon(config));
        if (kind is "mpt" or "bloom")
        {
            // How steep the biases of distances are at the most.
            writer.Set(architecture + ".attention.max_alibi_bias", 8f);
            return headWidth;
        }

        writer.Set(architecture + ".rope.dimension_count", (uint)(int)(headWidth * RotaryFraction(config, kind)));
        writer.Set(architecture + ".rope.freq_base", (float)DecoderDeclaration.RotaryBase(config));
        if (kind == "stablelm")
        {
            writer.Set(architecture + ".use_parallel_residual", IsParallel(config, kind));
        }

        if (LogitScale(config) is { } scale)
        {
            writer.Set(architecture + ".logit_scale", (float)scale);
        }

        if (kind == "cohere2")
        {
            bool[] windowed = Windowed(config);
            if (windowed.Where(static (sees, layer) => sees != ((layer + 1) % UsualWindowPattern != 0)).Any())
            {
                throw config.Problem("layer_types", $"all positions in every fourth layer alone, as readers of GGUF files of {architecture} have it", "others");
            }

            writer.Set(architecture + ".attention.sliding_window", (uint)(config.Integer("sliding_window") ?? UsualWindow));
        }

        return headWidth;
    }

    private static string? Kind(string type) => type switch
    {
        "phi" or "phi2" => "phi",
        "cohere" or "command-r" => "cohere",
        "stablelm" or "cohere2" or "nemotron" or "gptj" or "mpt" or "bloom" => type,
        _ => null,
    };

    /// <summary>Refuses what would be computed otherwise.</summary>
    private static void RequireUsual(ModelConfig config, WeightFile weights, string kind)
    {
        // Norms with other weights for each head.
        foreach (string name in (string[])["qk_layernorm", "use_qk_norm", "apply_residual_connection_post_layernorm"])
        {
            if (config.Flag(name) == true)
            {
                throw config.Problem(name, "false", "true");
            }
        }

        if (weights.Tensors.FirstOrDefault(static tensor => tensor.Name.Contains("q_norm", StringComparison.Ordinal) || tensor.Name.Contains("q_layernorm", StringComparison.Ordinal)) is { } norm)
        {
            throw config.Problem("qk_layernorm", "no norms of queries and keys", norm.Name);
        }

        if (DecoderDeclaration.RotaryScaling(config) is { } scaling)
        {
            throw config.Problem("rope_scaling", "none", scaling.Type);
        }

        if (kind != "mpt")
        {
            return;
        }

        if (config.Part("attn_config") is { } attention)
        {
            if (attention.Flag("alibi") == false)
            {
                throw attention.Problem("alibi", "true", "false");
            }

            if (attention.Flag("qk_ln") == true || attention.Flag("qk_gn") == true)
            {
                throw attention.Problem("qk_ln", "false", "true");
            }

            foreach ((string name, double usual) in ((string, double)[])[("clip_qkv", 0), ("alibi_bias_max", 8)])
            {
                if (attention.Real(name) is { } value && value != usual && value != 0)
                {
                    throw attention.Problem(name, ConfigDeclaration.Text(usual), ConfigDeclaration.Text(value));
                }
            }

            if (attention.Real("softmax_scale") is { } scale && Math.Abs((scale * scale * Width(config) / Math.Max(1, Heads(config))) - 1) > 1e-6)
            {
                throw attention.Problem("softmax_scale", "1 / √(width of heads)", ConfigDeclaration.Text(scale));
            }
        }
        else if (config.Values["max_alibi_bias"] is not null && config.Real("max_alibi_bias") is double most and not 8)
        {
            throw config.Problem("max_alibi_bias", "8", ConfigDeclaration.Text(most));
        }
    }

    private static void Positions(ModelConfig config, string kind, List<(string Name, string Value)> arguments)
    {
        if (kind is "mpt" or "bloom")
        {
            arguments.Add(("Positions", "PositionEncoding.Alibi"));
            return;
        }

        if (kind is "cohere" or "cohere2" or "gptj")
        {
            arguments.Add(("RotaryLayout", "RotaryLayout.Interleaved"));
        }

        if (RotaryFraction(config, kind) is double fraction and not 1)
        {
            arguments.Add(("RotaryFraction", ConfigDeclaration.Text(fraction)));
        }

        if (DecoderDeclaration.RotaryBase(config) is double rotaryBase and not 10000)
        {
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(rotaryBase)));
        }

        if (kind != "cohere2")
        {
            return;
        }

        // Layers that see everything know no positions.
        bool[] windowed = Windowed(config);
        int window = config.Integer("sliding_window") ?? UsualWindow;
        if (!windowed.Contains(true))
        {
            arguments.Add(("Positions", "PositionEncoding.None"));
            return;
        }

        arguments.Add(("RotaryPattern", $"new int[] {{ {string.Join(", ", windowed.Select(static sees => sees ? "1" : "0"))} }}"));
        if (window < Context(config))
        {
            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("LayerWindows", $"new int[] {{ {string.Join(", ", windowed.Select(sees => sees ? ConfigDeclaration.Text(window) : "0"))} }}"));
        }
    }

    private static bool[] Windowed(ModelConfig config)
    {
        int layers = Layers(config), pattern = config.Integer("sliding_window_pattern") ?? UsualWindowPattern;
        if (layers is < 1 or > 1024 || pattern < 1)
        {
            throw layers is < 1 or > 1024 ? config.Problem("num_hidden_layers", "1 to 1024", $"{layers}") : config.Problem("sliding_window_pattern", "1 or more", $"{pattern}");
        }

        if (config.Values["layer_types"] is not JsonArray types)
        {
            return [.. Enumerable.Range(1, layers).Select(layer => layer % pattern != 0)];
        }

        bool[] windowed = [.. types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && kind is "sliding_attention" or "full_attention" ? kind == "sliding_attention" : throw config.Problem("layer_types", "sliding_attention or full_attention", $"{layer}"))];
        return windowed.Length == layers ? windowed : throw config.Problem("layer_types", $"{layers} of them", $"{windowed.Length}");
    }

    private static int Layers(ModelConfig config) => Size(config, "num_hidden_layers", "n_layer", "n_layers");

    private static int Width(ModelConfig config) => Size(config, "hidden_size", "n_embd", "n_embed", "d_model");

    private static int Heads(ModelConfig config) => Size(config, "num_attention_heads", "n_head", "n_heads");

    private static int KeyHeads(ModelConfig config) => config.Integer("num_key_value_heads") ?? config.Part("attn_config")?.Integer("kv_n_heads") ?? Heads(config);

    private static int Context(ModelConfig config) => Kind(config.ModelType) == "bloom" ? config.Integer("max_position_embeddings") ?? config.Integer("seq_length") ?? UsualBloomContext : Size(config, "max_position_embeddings", "n_positions", "max_seq_len");

    private static int FeedForward(ModelConfig config)
    {
        if ((config.Integer("intermediate_size") ?? config.Integer("n_inner")) is { } given)
        {
            return given;
        }

        double hidden = Width(config) * (config.Real("expansion_ratio") ?? 4);
        return hidden is >= 1 and < int.MaxValue ? (int)hidden : throw config.Problem("expansion_ratio", "a hidden width of 1 or more", ConfigDeclaration.Text(hidden));
    }

    private static double NormEpsilon(ModelConfig config) => config.Real("layer_norm_eps") ?? config.Real("layer_norm_epsilon") ?? config.Real("norm_eps") ?? 1e-5;

    private static bool IsParallel(ModelConfig config, string kind) => kind is "phi" or "cohere" or "cohere2" or "gptj" || (kind == "stablelm" && config.Flag("use_parallel_residual") == true);

    private static double? LogitScale(ModelConfig config) => Kind(config.ModelType) is "cohere" or "cohere2" ? config.Real("logit_scale") ?? 0.0625 : null;

    private static string Activation(ModelConfig config) => Kind(config.ModelType) switch
    {
        "stablelm" or "cohere" or "cohere2" => ConfigDeclaration.Activation(config, "hidden_act", "silu"),
        "nemotron" => ConfigDeclaration.Activation(config, "hidden_act", "relu2"),
        "gptj" => ConfigDeclaration.Activation(config, "activation_function", "gelu_new"),
        "mpt" => ConfigDeclaration.Activation(config, "hidden_act", "gelu"),
        _ => ConfigDeclaration.Activation(config, "hidden_act", "gelu_new"),
    };

    private static double RotaryFraction(ModelConfig config, string kind)
    {
        if (config.Integer("rotary_dim") is { } turned)
        {
            return DecoderDeclaration.Fraction(turned, config.Integer("head_dim") ?? (Width(config) / Math.Max(1, Heads(config))));
        }

        return config.Real("partial_rotary_factor") ?? config.Real("rope_pct") ?? config.Part("rope_parameters")?.Real("partial_rotary_factor") ?? kind switch
        {
            "phi" or "nemotron" => 0.5,
            "stablelm" => 0.25,
            _ => 1,
        };
    }

    private static int Size(ModelConfig config, string name, params string[] others) => config.Integer(name) ?? others.Select(config.Integer).FirstOrDefault(static value => value is not null) ?? config.Required(name);
}
