using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The declaration of a decoder of Llama's kind by its configuration.</summary>
internal static class DecoderDeclaration
{
    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        string type = config.ModelType;
        bool isGemma = IsGemma(config);
        int width = config.Required("hidden_size");
        int heads = config.Required("num_attention_heads");
        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(config.Required("num_hidden_layers"))),
            ("DModel", ConfigDeclaration.Text(width)),
            ("Heads", ConfigDeclaration.Text(heads)),
        };
        if (config.Integer("num_key_value_heads") is { } keyHeads && keyHeads != heads)
        {
            arguments.Add(("KeyValueHeads", ConfigDeclaration.Text(keyHeads)));
        }

        int headWidth = config.Integer("head_dim") ?? (isGemma || IsGatedDelta(config) ? 256 : type is "qwen3" or "qwen3_moe" or "qwen3moe" ? 128 : heads > 0 ? width / heads : 0);
        if (heads > 0 && (width % heads != 0 || headWidth != width / heads))
        {
            arguments.Add(("HeadWidth", ConfigDeclaration.Text(headWidth)));
        }

        int context = config.Required("max_position_embeddings");
        arguments.Add(("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))));
        arguments.Add(("Context", ConfigDeclaration.Text(context)));
        arguments.Add(("FeedForward", ConfigDeclaration.Text(FeedForward(config, weights))));
        string activation = config.Text("hidden_activation") is not null
            ? ConfigDeclaration.Activation(config, "hidden_activation", "gelu_pytorch_tanh")
            : type == "gemma" ? "Activation.GeluTanh" // Gemma 1 was trained with it, and its configurations say gelu.
            : ConfigDeclaration.Activation(config, "hidden_act", isGemma ? "gelu_pytorch_tanh" : "silu");
        Add("Activation", activation, "Activation.Silu");

        // What configurations that leave it out stand for.
        Add("NormEpsilon", ((float)NormEpsilon(config)).ToString("R", CultureInfo.InvariantCulture), "1E-05");
        Positions(config, headWidth, arguments);
        Windows(config, context, arguments);
        if (IsMixture(config))
        {
            Experts(config, arguments);
        }

        if (IsGranite(config))
        {
            Multipliers(config, arguments);
        }

        if (type == "minicpm")
        {
            // By its own names, or translated from a GGUF file, which has what follows from them.
            double residual = ResidualMultiplier(config), scale = LogitScale(config);
            arguments.Add(("EmbeddingMultiplier", ConfigDeclaration.Text(config.Real("scale_emb") ?? 1)));
            arguments.Add(("ResidualMultiplier", ConfigDeclaration.Text(residual)));
            arguments.Add(("LogitScale", ConfigDeclaration.Text(scale)));
        }

        if (IsGatedDelta(config))
        {
            GatedDelta(config, arguments);
        }

        if (type == "lfm2")
        {
            Convolutions(config, arguments);
        }

        // Biases that configurations do not name: Qwen2 has them at queries, keys and values.
        Add("QkvBias", Has("self_attn.q_proj.bias"), "false");
        Add("OutputBias", Has("self_attn.o_proj.bias"), "false");
        Add("FeedForwardBias", Has("mlp.up_proj.bias"), "false");
        Add("QueryKeyNorm", type is "olmoe" or "olmo2" ? "QueryKeyNorm.Whole" : type == "lfm2" || Has("self_attn.q_norm.weight") == "true" ? "QueryKeyNorm.Head" : "none", "none");
        if (type == "olmo2")
        {
            arguments.Add(("NormPlacement", "NormPlacement.After"));
        }

        if (isGemma)
        {
            arguments.Add(("Norm", "Normalization.OffsetRootMeanSquare"));
            arguments.Add(("EmbeddingMultiplier", ConfigDeclaration.Text((double)(float)Math.Sqrt(width))));
        }

        if (isGemma && type != "gemma")
        {
            arguments.Add(("NormPlacement", "NormPlacement.Both"));
            double scalar = config.Real("query_pre_attn_scalar") ?? 256;
            if (scalar != headWidth && scalar > 0)
            {
                arguments.Add(("AttentionScale", ConfigDeclaration.Text(1 / Math.Sqrt(scalar))));
            }

            if (config.Real("attn_logit_softcapping") is { } attentionCap)
            {
                arguments.Add(("AttentionSoftCap", ConfigDeclaration.Text(attentionCap)));
            }

            if (config.Real("final_logit_softcapping") is { } cap)
            {
                arguments.Add(("LogitSoftCap", ConfigDeclaration.Text(cap)));
            }
        }

        Add("TieEmbeddings", ConfigDeclaration.IsTied(config, weights, "embed_tokens.weight", byDefault: isGemma || type == "lfm2") ? "true" : "false", "false");
        return new ModelCode("Decoder", arguments);

        void Add(string name, string value, string byDefault)
        {
            if (value != byDefault)
            {
                arguments.Add((name, value));
            }
        }

        string Has(string tensor) => weights.Tensors.Any(found => found.Name.EndsWith(tensor, StringComparison.Ordinal)) ? "true" : "false";
    }

    /// <summary>What is added to the mean square in norms, where a configuration may leave it out.</summary>
    public static double NormEpsilon(ModelConfig config) => config.Real("rms_norm_eps") ?? config.Real("norm_eps") ?? (config.ModelType == "lfm2" ? 1e-5 : 1e-6);

    /// <summary>The hidden width of the feed-forward network. What LFM2's configurations say of it is rounded and multiplied before it is used: its tensors tell.</summary>
    public static int FeedForward(ModelConfig config, WeightFile weights)
        => config.ModelType == "lfm2" && weights.Tensors.FirstOrDefault(static tensor => tensor.Name.EndsWith("feed_forward.w1.weight", StringComparison.Ordinal)) is { Shape: [> 0 and <= int.MaxValue, _] } gate
            ? (int)gate.Shape[0]
            : config.ModelType is "qwen3_moe" or "qwen3moe" or "qwen2_moe" or "qwen2moe" ? config.Required("moe_intermediate_size")
            : config.Required("intermediate_size");

    /// <summary>Whether layers are mixtures of experts.</summary>
    public static bool IsMixture(ModelConfig config)
        => config.ModelType is "qwen3_moe" or "qwen3moe" or "qwen2_moe" or "qwen2moe" or "mixtral" or "olmoe" or "granitemoe" || (config.ModelType == "llama" && config.Integer("num_experts") > 0);

    /// <summary>Whether the weights of the experts that a token goes through add up to 1. GGUF files do not say it: llama.cpp has it so but for OLMoE's.</summary>
    public static bool NormalizesExperts(ModelConfig config) => config.Flag("norm_topk_prob") ?? config.ModelType is not ("qwen3_moe" or "qwen2_moe" or "qwen2moe" or "olmoe");

    /// <summary>Whether it is Granite, which scales what it adds up by numbers of its own.</summary>
    public static bool IsGranite(ModelConfig config) => config.ModelType is "granite" or "granitemoe";

    private static void Experts(ModelConfig config, List<(string Name, string Value)> arguments)
    {
        if (config.Integer("decoder_sparse_step") is { } step and not 1)
        {
            throw config.Problem("decoder_sparse_step", "1, and experts in all layers", ConfigDeclaration.Text(step));
        }

        if (config.Values["mlp_only_layers"] is JsonArray { Count: > 0 })
        {
            throw config.Problem("mlp_only_layers", "none, and experts in all layers", "some");
        }

        if (config.Real("clip_qkv") is { } clip)
        {
            throw config.Problem("clip_qkv", "none", ConfigDeclaration.Text(clip));
        }

        arguments.Add(("Experts", ConfigDeclaration.Text(GptOssDeclaration.Experts(config))));
        arguments.Add(("ActiveExperts", ConfigDeclaration.Text(GptOssDeclaration.ActiveExperts(config))));
        if (!NormalizesExperts(config))
        {
            arguments.Add(("NormalizeExperts", "false"));
        }

        if (config.ModelType is "qwen2_moe" or "qwen2moe")
        {
            arguments.Add(("SharedFeedForward", ConfigDeclaration.Text(config.Required("shared_expert_intermediate_size"))));
            arguments.Add(("SharedExpertGate", "true"));
        }
    }

    // What its configurations leave out is 1, the scale of scores too.
    private static void Multipliers(ModelConfig config, List<(string Name, string Value)> arguments)
    {
        foreach ((string name, string argument, Func<double, double> of) in ((string, string, Func<double, double>)[])[
            ("embedding_multiplier", "EmbeddingMultiplier", static value => value), ("residual_multiplier", "ResidualMultiplier", static value => value),
            ("attention_multiplier", "AttentionScale", static value => value), ("logits_scaling", "LogitScale", static value => 1 / value)])
        {
            double value = config.Real(name) ?? 1;
            if (!(value > 0))
            {
                throw config.Problem(name, "more than 0", ConfigDeclaration.Text(value));
            }

            arguments.Add((argument, ConfigDeclaration.Text(of(value))));
        }
    }

    /// <summary>Whether layers have the gated delta rule, as in Qwen3.5.</summary>
    public static bool IsGatedDelta(ModelConfig config) => config.ModelType is "qwen3_5_text" or "qwen35";

    private static void GatedDelta(ModelConfig config, List<(string Name, string Value)> arguments)
    {
        arguments.Add(("Norm", "Normalization.OffsetRootMeanSquare"));
        arguments.Add(("AttentionOutputGate", "true"));
        arguments.Add(("Mixers", $"new[] {{ {string.Join(", ", Mixers(config).Select(static mixer => mixer == "linear_attention" ? "TokenMixer.GatedDelta" : "TokenMixer.Attention"))} }}"));
        arguments.Add(("ConvolutionTaps", ConfigDeclaration.Text(config.Integer("linear_conv_kernel_dim") ?? 4)));
        foreach ((string name, string argument) in ((string, string)[])[("linear_num_key_heads", "LinearKeyHeads"), ("linear_num_value_heads", "LinearValueHeads"), ("linear_key_head_dim", "LinearKeyWidth"), ("linear_value_head_dim", "LinearValueWidth")])
        {
            arguments.Add((argument, ConfigDeclaration.Text(config.Required(name))));
        }
    }

    /// <summary>What mixes the tokens of each layer: <c>conv</c> or <c>full_attention</c> in LFM2, <c>linear_attention</c> or <c>full_attention</c> in Qwen3.5.</summary>
    public static string[] Mixers(ModelConfig config)
    {
        int layers = config.Required("num_hidden_layers");
        if (IsGatedDelta(config) && config.Values["layer_types"] is null && layers is > 0 and <= 1024)
        {
            int interval = config.Integer("full_attention_interval") ?? 4;
            return interval > 0 ? [.. Enumerable.Range(1, layers).Select(layer => layer % interval == 0 ? "full_attention" : "linear_attention")] : throw config.Problem("full_attention_interval", "1 or more", ConfigDeclaration.Text(interval));
        }

        string other = IsGatedDelta(config) ? "linear_attention" : "conv";
        if (config.Values["layer_types"] is JsonArray { Count: > 0 and <= 1024 } types)
        {
            string[] found = [.. types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && (kind == other || kind == "full_attention") ? kind : throw config.Problem("layer_types", $"{other} or full_attention", $"{layer}"))];
            return found.Length == layers ? found : throw config.Problem("layer_types", $"{layers} of them", $"{found.Length}");
        }

        if (config.Values["full_attn_idxs"] is JsonArray { Count: > 0 and <= 1024 } attending && layers is > 0 and <= 1024)
        {
            int[] numbers = [.. attending.Select(layer => layer is JsonValue number && number.TryGetValue(out int index) && index >= 0 && index < layers ? index : throw config.Problem("full_attn_idxs", $"0 to {layers - 1}", $"{layer}"))];
            return [.. Enumerable.Range(0, layers).Select(layer => numbers.Contains(layer) ? "full_attention" : "conv")];
        }

        throw config.Problem("layer_types", "a list of what each layer has", "nothing");
    }

    /// <summary>How rotary positions are slowed down: the kind, and the options of it; null if they are not.</summary>
    public static (string Type, ModelConfig Options)? RotaryScaling(ModelConfig config)
        => (config.Part("rope_scaling") ?? RotaryParameters(config)) is { } scaling && (scaling.Text("rope_type") ?? scaling.Text("type")) is { } kind and not "default" ? (kind, scaling) : null;

    /// <summary>The base of the rotary angles; of layers that see everything, where others have another.</summary>
    public static double RotaryBase(ModelConfig config)
        => config.Real("rope_theta") ?? RotaryParameters(config)?.Real("rope_theta") ?? (IsGemma3(config) || config.ModelType == "lfm2" ? 1e6 : config.ModelType == "smollm3" ? 2e6 : 10000);

    /// <summary>The base of the rotary angles of Gemma's layers that see a window.</summary>
    public static double WindowRotaryBase(ModelConfig config)
        => config.Real("rope_local_base_freq") ?? config.Part("rope_parameters")?.Part("sliding_attention")?.Real("rope_theta") ?? 10000;

    /// <summary>The part that so many of a head's channels are, of which the same number comes again.</summary>
    public static double Fraction(long turned, long headWidth)
    {
        double fraction = turned / (double)Math.Max(1, headWidth);
        return Math.Floor(headWidth * fraction) < turned ? Math.BitIncrement(fraction) : fraction;
    }

    /// <summary>What layers' outputs are multiplied by in MiniCPM: its depth's factor over the root of the layers.</summary>
    public static double ResidualMultiplier(ModelConfig config) => config.Real("residual_multiplier") ?? ((config.Real("scale_depth") ?? 1) / Math.Sqrt(Math.Max(1, config.Required("num_hidden_layers"))));

    /// <summary>What logits are multiplied by in MiniCPM: the width of the smallest model over its own.</summary>
    public static double LogitScale(ModelConfig config) => (config.Real("dim_model_base") ?? config.Required("hidden_size")) / Math.Max(1, config.Required("hidden_size"));

    /// <summary>For each layer, 1 where SmolLM3 turns queries and keys; null where all models of a kind do. Its configurations have the list, or a number of layers after which one does not.</summary>
    public static int[]? RotaryPattern(ModelConfig config)
    {
        if (config.ModelType != "smollm3")
        {
            return null;
        }

        int layers = config.Required("num_hidden_layers"), interval = config.Integer("no_rope_layer_interval") ?? 4;
        if (layers is < 1 or > 1024)
        {
            throw config.Problem("num_hidden_layers", "1 to 1024", $"{layers}");
        }

        if (config.Values["no_rope_layers"] is JsonArray { Count: > 0 } given)
        {
            int[] pattern = [.. given.Select(layer => layer is JsonValue number && number.GetValueKind() == System.Text.Json.JsonValueKind.Number && number.ToJsonString() is "0" or "1" ? number.ToJsonString() == "1" ? 1 : 0 : throw config.Problem("no_rope_layers", "0 or 1 for each layer", $"{layer}"))];
            return pattern.Length == layers ? pattern : throw config.Problem("no_rope_layers", $"{layers} of them", $"{pattern.Length}");
        }

        return interval > 0 ? [.. Enumerable.Range(1, layers).Select(layer => layer % interval == 0 ? 0 : 1)] : throw config.Problem("no_rope_layer_interval", "1 or more", $"{interval}");
    }

    /// <summary>LongRoPE's numbers: the first context, what pairs are divided by within it and beyond it, and what cosines and sines are multiplied by.</summary>
    public static (int OriginalContext, double[] Short, double[] Long, double AttentionFactor) LongRope(ModelConfig config, ModelConfig options, int headWidth)
    {
        int pairs = (int)(headWidth * RotaryFraction(config)) / 2, longest = config.Required("max_position_embeddings");
        int original = options.Integer("original_max_position_embeddings") ?? config.Integer("original_max_position_embeddings") ?? longest;
        double[] List(string name) => options.Reals(name, pairs) ?? throw options.Problem(name, $"{pairs} numbers", "nothing");
        double usual = longest > original && original > 1 ? Math.Sqrt(1 + (Math.Log(longest / (double)original) / Math.Log(original))) : 1;
        double? given = options.Real("attention_factor");
        if ((options.Real("short_mscale"), options.Real("long_mscale")) is ({ } within, { } beyond))
        {
            given ??= within == beyond ? within : throw options.Problem("long_mscale", $"{within}, as short_mscale", $"{beyond}");
        }

        return (original, List("short_factor"), List("long_factor"), given ?? usual);
    }

    /// <summary>The part of a head's channels that positions turn.</summary>
    public static double RotaryFraction(ModelConfig config)
        => config.Real("partial_rotary_factor") ?? RotaryParameters(config)?.Real("partial_rotary_factor") ?? (IsGatedDelta(config) ? 0.25 : 1);

    /// <summary>How far layers look back that do not see everything; null if all do. Mistral's and Gemma's do where a number is given, Qwen's only where it is said beside it.</summary>
    public static int? SlidingWindow(ModelConfig config)
        => config.Integer("sliding_window") is { } window && (config.Flag("use_sliding_window") ?? !config.ModelType.StartsWith("qwen", StringComparison.Ordinal)) ? window : null;

    // Since version 5 of transformers they lie together, by kinds of layers where those differ.
    private static ModelConfig? RotaryParameters(ModelConfig config)
        => config.Part("rope_parameters") is { } all ? all.Part("full_attention") ?? all : null;

    /// <summary>Whether it is Gemma, of the first three generations.</summary>
    public static bool IsGemma(ModelConfig config) => config.ModelType is "gemma" or "gemma2" || IsGemma3(config);

    private static bool IsGemma3(ModelConfig config) => config.ModelType.StartsWith("gemma3", StringComparison.Ordinal);

    private static void Positions(ModelConfig config, int headWidth, List<(string Name, string Value)> arguments)
    {
        double rotaryBase = RotaryBase(config);
        if (rotaryBase != 10000)
        {
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(rotaryBase)));
        }

        if (IsGemma3(config))
        {
            arguments.Add(("WindowRotaryBase", ConfigDeclaration.Text(WindowRotaryBase(config))));
        }

        if (RotaryFraction(config) is double fraction and not 1)
        {
            arguments.Add(("RotaryFraction", ConfigDeclaration.Text(fraction)));
        }

        if (RotaryPattern(config) is { } pattern)
        {
            if (pattern.All(static turns => turns == 0))
            {
                throw config.Problem("no_rope_layers", "layers whose queries and keys are turned", "none");
            }

            arguments.Add(("RotaryPattern", $"new int[] {{ {string.Join(", ", pattern)} }}"));
        }

        if (RotaryScaling(config) is not { } scaling)
        {
            return;
        }

        ModelConfig options = scaling.Options;
        if (scaling.Type is "longrope" or "su")
        {
            (int original, double[] within, double[] beyond, double factor) = LongRope(config, options, headWidth);
            static string List(double[] values) => $"new double[] {{ {string.Join(", ", values.Select(ConfigDeclaration.Text))} }}";
            arguments.Add(("RotaryScaling", "RotaryScaling.LongRope"));
            arguments.Add(("RotaryOriginalContext", ConfigDeclaration.Text(original)));
            arguments.Add(("RotaryAttentionFactor", ConfigDeclaration.Text(factor)));
            arguments.Add(("RotaryShortFactors", List(within)));
            arguments.Add(("RotaryLongFactors", List(beyond)));
            return;
        }

        arguments.Add(("RotaryScaling", scaling.Type switch
        {
            "linear" => "RotaryScaling.Linear",
            "llama3" => "RotaryScaling.Llama3",
            "yarn" => "RotaryScaling.Yarn",
            "dynamic" => "RotaryScaling.Dynamic",
            string other => throw config.Problem("rope_scaling", "linear, llama3, yarn, longrope or dynamic", other),
        }));
        Real("factor", "RotaryFactor");
        if (scaling.Type is "llama3" or "yarn")
        {
            arguments.Add(("RotaryOriginalContext", ConfigDeclaration.Text(options.Integer("original_max_position_embeddings") ?? config.Required("max_position_embeddings"))));
        }

        if (scaling.Type == "dynamic")
        {
            // That of the configuration is the first context, which longer texts are measured by.
            arguments.Add(("RotaryOriginalContext", ConfigDeclaration.Text(config.Required("max_position_embeddings"))));
        }

        if (scaling.Type == "llama3")
        {
            Real("low_freq_factor", "RotaryLowFrequencyFactor");
            Real("high_freq_factor", "RotaryHighFrequencyFactor");
        }

        if (scaling.Type == "yarn")
        {
            Real("beta_fast", "RotaryBetaFast");
            Real("beta_slow", "RotaryBetaSlow");
            Real("attention_factor", "RotaryAttentionFactor");
        }

        void Real(string name, string option)
        {
            if (options.Real(name) is { } value)
            {
                arguments.Add((option, ConfigDeclaration.Text(value)));
            }
        }
    }

    private static void Convolutions(ModelConfig config, List<(string Name, string Value)> arguments)
    {
        arguments.Add(("Mixers", $"new[] {{ {string.Join(", ", Mixers(config).Select(static mixer => mixer == "conv" ? "TokenMixer.ShortConvolution" : "TokenMixer.Attention"))} }}"));
        if (config.Integer("conv_L_cache") is { } taps and not 3)
        {
            arguments.Add(("ConvolutionTaps", ConfigDeclaration.Text(taps)));
        }

        if (config.Flag("conv_bias") == true)
        {
            arguments.Add(("ConvolutionBias", "true"));
        }
    }

    private static void Windows(ModelConfig config, int context, List<(string Name, string Value)> arguments)
    {
        if (SlidingWindow(config) is not { } window || window >= context)
        {
            return;
        }

        arguments.Add(("Attention", "AttentionPattern.Window"));
        if (config.Values["layer_types"] is JsonArray { Count: > 0 and <= 1024 } types)
        {
            arguments.Add(("LayerWindows", $"new int[] {{ {string.Join(", ", types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && kind is "sliding_attention" or "full_attention"
                ? kind == "full_attention" ? "0" : ConfigDeclaration.Text(window)
                : throw config.Problem("layer_types", "sliding_attention or full_attention", $"{layer}")))} }}"));
            return;
        }

        // Qwen's first layers see everything.
        if (config.ModelType.StartsWith("qwen", StringComparison.Ordinal))
        {
            int layers = config.Required("num_hidden_layers");
            int first = Math.Clamp(config.Integer("max_window_layers") ?? 28, 0, Math.Max(0, layers));
            if (first > 0 && layers is > 0 and <= 1024)
            {
                arguments.Add(("LayerWindows", $"new int[] {{ {string.Join(", ", Enumerable.Range(0, layers).Select(layer => layer < first ? "0" : ConfigDeclaration.Text(window)))} }}"));
                return;
            }
        }

        int pattern = config.ModelType == "gemma2" ? 2 : IsGemma3(config) ? config.Integer("sliding_window_pattern") ?? 6 : 0;
        if (pattern is < 0 or > 64)
        {
            throw config.Problem("sliding_window_pattern", "0 to 64", $"{pattern}");
        }

        arguments.Add(pattern > 1
            ? ("LayerWindows", $"new int[] {{ {string.Join(", ", Enumerable.Range(1, pattern).Select(layer => layer < pattern ? ConfigDeclaration.Text(window) : "0"))} }}")
            : ("Window", ConfigDeclaration.Text(window)));
    }
}
