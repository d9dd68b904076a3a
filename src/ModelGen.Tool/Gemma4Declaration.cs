using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The declaration of a decoder of Gemma 4's kind by its configuration, in the terms of Hugging Face or translated from a GGUF file.</summary>
internal static class Gemma4Declaration
{
    // What the configuration stands for where it leaves something out.
    private const int UsualPeriod = 6;
    private const int UsualHeadWidth = 256;
    private const int UsualGlobalHeadWidth = 512;

    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        foreach (string option in (string[])["attention_k_eq_v", "enable_moe_block", "attention_bias"])
        {
            if (config.Flag(option) == true)
            {
                throw config.Problem(option, "false", "true");
            }
        }

        if (config.Integer("vocab_size_per_layer_input") is { } own && own != config.Required("vocab_size") && PerLayerWidth(config) > 0)
        {
            throw config.Problem("vocab_size_per_layer_input", $"{config.Required("vocab_size")}, as many tokens as the model has", $"{own}");
        }

        int context = config.Required("max_position_embeddings"), window = config.Required("sliding_window");
        bool[] windowed = Windowed(config);
        int[] keyHeads = KeyHeads(config), hidden = FeedForwards(config);
        int[] headWidths = [.. windowed.Select(sees => HeadWidth(config, isGlobal: !sees))];
        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(windowed.Length)),
            ("DModel", ConfigDeclaration.Text(config.Required("hidden_size"))),
            ("Heads", ConfigDeclaration.Text(config.Required("num_attention_heads"))),
            ("KeyValueHeads", ConfigDeclaration.Text(keyHeads[0])),
            ("HeadWidth", ConfigDeclaration.Text(headWidths[0])),
            ("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))),
            ("Context", ConfigDeclaration.Text(context)),
            ("FeedForward", ConfigDeclaration.Text(hidden[0])),
            ("NormEpsilon", ConfigDeclaration.Text((double)(float)(config.Real("rms_norm_eps") ?? 1e-6))),
            ("RotaryBase", ConfigDeclaration.Text(GlobalBase(config))),
            ("WindowRotaryBase", ConfigDeclaration.Text(WindowBase(config))),
            ("GlobalRotaryFraction", ConfigDeclaration.Text(GlobalFraction(config))),
        };
        if (windowed.Contains(true) && window < context)
        {
            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("LayerWindows", List([.. windowed.Select(sees => sees ? window : 0)])));
        }
        else if (windowed.Contains(true))
        {
            throw config.Problem("sliding_window", $"less than max_position_embeddings, {context}", $"{window}");
        }

        Lists("LayerHeadWidths", headWidths);
        Lists("LayerKeyValueHeads", keyHeads);
        Lists("LayerFeedForward", hidden);
        Size("SharedKeyValueLayers", SharedLayers(config));
        Size("PerLayerWidth", PerLayerWidth(config));
        string activation = ConfigDeclaration.Activation(config, "hidden_activation", "gelu_pytorch_tanh");
        if (activation != "Activation.GeluTanh")
        {
            arguments.Add(("Activation", activation));
        }

        if (config.Real("final_logit_softcapping") is > 0 and double cap)
        {
            arguments.Add(("LogitSoftCap", ConfigDeclaration.Text(cap)));
        }

        // Some files leave out factors that are all 1.
        if (!weights.Tensors.Any(static tensor => tensor.Name.EndsWith(".layer_scalar", StringComparison.Ordinal)))
        {
            arguments.Add(("LayerScale", "false"));
        }

        if (!ConfigDeclaration.IsTied(config, weights, "embed_tokens.weight", byDefault: true))
        {
            arguments.Add(("TieEmbeddings", "false"));
        }

        return new ModelCode("Gemma4", arguments);

        void Size(string name, int value)
        {
            if (value > 0)
            {
                arguments.Add((name, ConfigDeclaration.Text(value)));
            }
        }

        void Lists(string name, int[] values)
        {
            if (values.Any(value => value != values[0]))
            {
                arguments.Add((name, List(values)));
            }
        }

        static string List(int[] values) => $"new int[] {{ {string.Join(", ", values.Select(ConfigDeclaration.Text))} }}";
    }

    /// <summary>Which layers see a window alone.</summary>
    public static bool[] Windowed(ModelConfig config)
    {
        int layers = config.Required("num_hidden_layers");
        if (layers is < 1 or > 1024)
        {
            throw config.Problem("num_hidden_layers", "1 to 1024", $"{layers}");
        }

        if (config.Values["layer_types"] is not JsonArray types)
        {
            return [.. Enumerable.Range(1, layers).Select(layer => layer % UsualPeriod != 0 && layer != layers)];
        }

        bool[] windowed = [.. types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && kind is "sliding_attention" or "full_attention"
            ? kind == "sliding_attention"
            : throw config.Problem("layer_types", "sliding_attention or full_attention", $"{layer}"))];
        return windowed.Length == layers ? windowed : throw config.Problem("layer_types", $"{layers} of them", $"{windowed.Length}");
    }

    /// <summary>The channels of a head, in layers that see everything or in those that see a window.</summary>
    public static int HeadWidth(ModelConfig config, bool isGlobal) => isGlobal ? config.Integer("global_head_dim") ?? UsualGlobalHeadWidth : config.Integer("head_dim") ?? UsualHeadWidth;

    /// <summary>How many of the last layers take keys and values of earlier ones.</summary>
    public static int SharedLayers(ModelConfig config) => config.Integer("num_kv_shared_layers") ?? 0;

    /// <summary>The width of per-layer embeddings; 0 for none.</summary>
    public static int PerLayerWidth(ModelConfig config) => config.Integer("hidden_size_per_layer_input") ?? 256;

    /// <summary>The heads of keys and values of each layer.</summary>
    public static int[] KeyHeads(ModelConfig config)
        => EachLayer(config, "layer_key_value_heads") ?? [.. Windowed(config).Select(sees => (sees ? null : config.Integer("num_global_key_value_heads")) ?? config.Required("num_key_value_heads"))];

    /// <summary>The hidden width of each layer's feed-forward network: those of layers that share keys and values may be twice as wide.</summary>
    public static int[] FeedForwards(ModelConfig config)
    {
        if (EachLayer(config, "layer_intermediate_sizes") is { } given)
        {
            return given;
        }

        int layers = Windowed(config).Length, hidden = config.Required("intermediate_size"), first = layers - SharedLayers(config);
        bool isDouble = config.Flag("use_double_wide_mlp") == true;
        return [.. Enumerable.Range(0, layers).Select(layer => isDouble && first > 0 && layer >= first ? checked(2 * hidden) : hidden)];
    }

    /// <summary>The base of the rotary angles of layers that see everything.</summary>
    public static double GlobalBase(ModelConfig config) => config.Real("rope_theta") ?? Rotary(config, "full_attention")?.Real("rope_theta") ?? 1e6;

    /// <summary>The base of the rotary angles of layers that see a window.</summary>
    public static double WindowBase(ModelConfig config) => config.Real("rope_local_base_freq") ?? Rotary(config, "sliding_attention")?.Real("rope_theta") ?? 10000;

    /// <summary>The part of the pairs that turn in layers that see everything.</summary>
    public static double GlobalFraction(ModelConfig config)
    {
        ModelConfig? rotary = Rotary(config, "full_attention");
        if (rotary?.Text("rope_type") is { } type and not "proportional")
        {
            throw rotary.Problem("rope_type", "proportional", type);
        }

        return config.Real("global_rotary_fraction") ?? rotary?.Real("partial_rotary_factor") ?? (rotary is null ? 0.25 : 1);
    }

    private static ModelConfig? Rotary(ModelConfig config, string kind) => config.Part("rope_parameters")?.Part(kind);

    private static int[]? EachLayer(ModelConfig config, string name)
        => config.Values[name] is not JsonArray list ? null
            : [.. list.Select(node => node is JsonValue value && value.GetValueKind() == System.Text.Json.JsonValueKind.Number && int.TryParse(value.ToJsonString(), System.Globalization.CultureInfo.InvariantCulture, out int size) ? size : throw config.Problem(name, "integers", $"{node}"))];
}
