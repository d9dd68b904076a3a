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
        bool isGemma = type.StartsWith("gemma3", StringComparison.Ordinal);
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

        int headWidth = config.Integer("head_dim") ?? (isGemma ? 256 : type == "qwen3" ? 128 : heads > 0 ? width / heads : 0);
        if (heads > 0 && (width % heads != 0 || headWidth != width / heads))
        {
            arguments.Add(("HeadWidth", ConfigDeclaration.Text(headWidth)));
        }

        int context = config.Required("max_position_embeddings");
        arguments.Add(("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))));
        arguments.Add(("Context", ConfigDeclaration.Text(context)));
        arguments.Add(("FeedForward", ConfigDeclaration.Text(config.Required("intermediate_size"))));
        string activation = config.Text("hidden_activation") is not null
            ? ConfigDeclaration.Activation(config, "hidden_activation", "gelu_pytorch_tanh")
            : ConfigDeclaration.Activation(config, "hidden_act", isGemma ? "gelu_pytorch_tanh" : "silu");
        Add("Activation", activation, "Activation.Silu");

        // What configurations that leave it out stand for.
        Add("NormEpsilon", ConfigDeclaration.Text(config.Real("rms_norm_eps") ?? 1e-6), "1E-05");
        Positions(config, isGemma, arguments);
        Windows(config, isGemma, context, arguments);

        // Biases that configurations do not name: Qwen2 has them at queries, keys and values.
        Add("QkvBias", Has("self_attn.q_proj.bias"), "false");
        Add("OutputBias", Has("self_attn.o_proj.bias"), "false");
        Add("FeedForwardBias", Has("mlp.up_proj.bias"), "false");
        Add("QueryKeyNorm", Has("self_attn.q_norm.weight") == "true" ? "QueryKeyNorm.Head" : "none", "none");
        if (isGemma)
        {
            arguments.Add(("Norm", "Normalization.OffsetRootMeanSquare"));
            arguments.Add(("NormPlacement", "NormPlacement.Both"));
            arguments.Add(("EmbeddingMultiplier", ConfigDeclaration.Text((double)(float)Math.Sqrt(width))));
            if (config.Real("query_pre_attn_scalar") is { } scalar && scalar != headWidth && scalar > 0)
            {
                arguments.Add(("AttentionScale", ConfigDeclaration.Text(1 / Math.Sqrt(scalar))));
            }

            if (config.Real("attn_logit_softcapping") is { } attentionCap)
            {
                throw config.Problem("attn_logit_softcapping", "none", attentionCap.ToString(CultureInfo.InvariantCulture));
            }

            if (config.Real("final_logit_softcapping") is { } cap)
            {
                arguments.Add(("LogitSoftCap", ConfigDeclaration.Text(cap)));
            }
        }

        Add("TieEmbeddings", ConfigDeclaration.IsTied(config, weights, "embed_tokens.weight", byDefault: isGemma) ? "true" : "false", "false");
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

    /// <summary>How rotary positions are slowed down: the kind, and the options of it; null if they are not.</summary>
    public static (string Type, ModelConfig Options)? RotaryScaling(ModelConfig config)
        => (config.Part("rope_scaling") ?? config.Part("rope_parameters")) is { } scaling && (scaling.Text("rope_type") ?? scaling.Text("type")) is { } kind and not "default" ? (kind, scaling) : null;

    private static void Positions(ModelConfig config, bool isGemma, List<(string Name, string Value)> arguments)
    {
        double rotaryBase = config.Real("rope_theta") ?? config.Part("rope_parameters")?.Real("rope_theta") ?? (isGemma ? 1e6 : 10000);
        if (rotaryBase != 10000)
        {
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(rotaryBase)));
        }

        if (isGemma)
        {
            arguments.Add(("WindowRotaryBase", ConfigDeclaration.Text(config.Real("rope_local_base_freq") ?? 10000)));
        }

        if (config.Real("partial_rotary_factor") is { } fraction && fraction != 1)
        {
            arguments.Add(("RotaryFraction", ConfigDeclaration.Text(fraction)));
        }

        if (RotaryScaling(config) is not { } scaling)
        {
            return;
        }

        ModelConfig options = scaling.Options;
        arguments.Add(("RotaryScaling", scaling.Type switch
        {
            "linear" => "RotaryScaling.Linear",
            "llama3" => "RotaryScaling.Llama3",
            "yarn" => "RotaryScaling.Yarn",
            string other => throw config.Problem("rope_scaling", "linear, llama3 or yarn", other),
        }));
        Real("factor", "RotaryFactor");
        if (scaling.Type is "llama3" or "yarn")
        {
            arguments.Add(("RotaryOriginalContext", ConfigDeclaration.Text(options.Integer("original_max_position_embeddings") ?? config.Required("max_position_embeddings"))));
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

    private static void Windows(ModelConfig config, bool isGemma, int context, List<(string Name, string Value)> arguments)
    {
        // Mistral and Gemma look back as far as they say, Qwen only where it says so.
        if (config.Integer("sliding_window") is not { } window || window >= context || config.Flag("use_sliding_window") == false)
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

        int pattern = isGemma ? config.Integer("sliding_window_pattern") ?? 6 : 0;
        if (pattern is < 0 or > 64)
        {
            throw config.Problem("sliding_window_pattern", "0 to 64", $"{pattern}");
        }

        arguments.Add(pattern > 1
            ? ("LayerWindows", $"new int[] {{ {string.Join(", ", Enumerable.Range(1, pattern).Select(layer => layer < pattern ? ConfigDeclaration.Text(window) : "0"))} }}")
            : ("Window", ConfigDeclaration.Text(window)));
    }
}
