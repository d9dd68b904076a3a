using System.Globalization;

namespace ModelGen.Tool;

/// <summary>The declaration of a model by its configuration.</summary>
internal static class ConfigDeclaration
{
    /// <summary>The declaration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="weights">The tensors, which say what a configuration may leave out.</param>
    public static ModelCode Of(ModelConfig config, WeightFile weights) => config.ModelType switch
    {
        "gpt2" => Gpt2(config, weights),
        "llama" or "mistral" or "qwen2" => Llama(config, weights),
        string other => throw new ToolException($"{config.Origin}: model_type: expected gpt2, llama, mistral or qwen2, found {other}."),
    };

    private static ModelCode Gpt2(ModelConfig config, WeightFile weights)
    {
        // What would be computed otherwise, in ways that [Gpt] does not have.
        foreach (string option in (string[])["scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"])
        {
            if (config.Flag(option) == true && option != "reorder_and_upcast_attn")
            {
                throw config.Problem(option, "false", "true");
            }
        }

        if (config.Flag("scale_attn_weights") == false)
        {
            throw config.Problem("scale_attn_weights", "true", "false");
        }

        int width = config.Required("n_embd");
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("n_layer"))),
            ("DModel", Text(width)),
            ("Heads", Text(config.Required("n_head"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(config.Integer("n_positions") ?? config.Required("n_ctx"))),
        };
        if (config.Integer("n_inner") is { } inner && inner != 4L * width)
        {
            arguments.Add(("FeedForward", Text(inner)));
        }

        string activation = Activation(config, "activation_function", "gelu_new");
        if (activation != "Activation.GeluTanh")
        {
            arguments.Add(("Activation", activation));
        }

        if (config.Real("layer_norm_epsilon") is { } epsilon && epsilon != 1e-5)
        {
            arguments.Add(("LayerNormEpsilon", Text(epsilon)));
        }

        if (!IsTied(config, weights, "wte.weight", byDefault: true))
        {
            arguments.Add(("TieEmbeddings", "false"));
        }

        return new ModelCode("Gpt", arguments);
    }

    private static ModelCode Llama(ModelConfig config, WeightFile weights)
    {
        if (config.Part("rope_scaling") is { } scaling && (scaling.Text("rope_type") ?? scaling.Text("type")) is { } kind and not "default")
        {
            throw config.Problem("rope_scaling", "none, or default", kind);
        }

        foreach (string bias in (string[])["mlp_bias", "attention_bias"])
        {
            if (config.Flag(bias) == true)
            {
                throw config.Problem(bias, "false", "true");
            }
        }

        int width = config.Required("hidden_size");
        int heads = config.Required("num_attention_heads");
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("num_hidden_layers"))),
            ("DModel", Text(width)),
            ("Heads", Text(heads)),
        };
        if (config.Integer("num_key_value_heads") is { } keyHeads && keyHeads != heads)
        {
            arguments.Add(("KeyValueHeads", Text(keyHeads)));
        }

        if (config.Integer("head_dim") is { } headWidth && heads > 0 && headWidth != width / heads)
        {
            arguments.Add(("HeadWidth", Text(headWidth)));
        }

        arguments.Add(("Vocab", Text(config.Required("vocab_size"))));
        int context = config.Required("max_position_embeddings");
        arguments.Add(("Context", Text(context)));
        arguments.Add(("FeedForward", Text(config.Required("intermediate_size"))));
        string activation = Activation(config, "hidden_act", "silu");
        if (activation != "Activation.Silu")
        {
            arguments.Add(("Activation", activation));
        }

        // What configurations that leave it out stand for.
        double epsilon = config.Real("rms_norm_eps") ?? 1e-6;
        if (epsilon != 1e-5)
        {
            arguments.Add(("NormEpsilon", Text(epsilon)));
        }

        if (config.Real("rope_theta") is { } rotary && rotary != 10000)
        {
            arguments.Add(("RotaryBase", Text(rotary)));
        }

        // Qwen2 has biases there and no option that says so.
        if (weights.Tensors.Any(static tensor => tensor.Name.EndsWith("self_attn.q_proj.bias", StringComparison.Ordinal)))
        {
            arguments.Add(("QkvBias", "true"));
        }

        if (config.Integer("sliding_window") is { } window && window < context && config.Flag("use_sliding_window") != false)
        {
            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("Window", Text(window)));
        }

        if (IsTied(config, weights, "embed_tokens.weight", byDefault: false))
        {
            arguments.Add(("TieEmbeddings", "true"));
        }

        return new ModelCode("Decoder", arguments);
    }

    /// <summary>Whether the head is the token embedding: by the configuration, or by there being no other.</summary>
    private static bool IsTied(ModelConfig config, WeightFile weights, string table, bool byDefault)
        => !weights.Tensors.Any(static tensor => tensor.Name.EndsWith("lm_head.weight", StringComparison.Ordinal))
            ? config.Flag("tie_word_embeddings") != false || weights.Tensors.Any(tensor => tensor.Name.EndsWith(table, StringComparison.Ordinal))
            : config.Flag("tie_word_embeddings") ?? byDefault;

    private static string Activation(ModelConfig config, string name, string byDefault) => "Activation." + ((config.Text(name) ?? byDefault) switch
    {
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => nameof(ModelGen.Activation.GeluTanh),
        "gelu" => nameof(ModelGen.Activation.Gelu),
        "relu" => nameof(ModelGen.Activation.Relu),
        "silu" or "swish" => nameof(ModelGen.Activation.Silu),
        "tanh" => nameof(ModelGen.Activation.Tanh),
        string other => throw config.Problem(name, "gelu_new, gelu, relu, silu or tanh", other),
    });

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(double value) => double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture) : "0";
}
