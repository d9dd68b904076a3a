using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The declaration of a decoder of Gemma 3n's kind by its configuration, in the terms of Hugging Face or translated from a GGUF file.</summary>
internal static class Gemma3nDeclaration
{
    // What the configuration stands for where it leaves something out, and what llama.cpp computes with whatever a file says.
    private const int UsualPeriod = 5;
    private const int UsualSparseLayers = 10;
    private const int LayersWithKeys = 20;
    private const int Rank = 64;
    private const int Inputs = 4;
    private const double UsualSparsity = 0.95;

    // The quantile of a normal distribution that such a share lies below.
    private const double UsualQuantile = 1.6448536269514722;

    /// <summary>The width of per-layer embeddings where none is given.</summary>
    public const int UsualPerLayerWidth = 256;

    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        if (config.Flag("attention_bias") == true || config.Flag("altup_correct_scale") == false || (config.Integer("altup_active_idx") ?? 0) != 0)
        {
            string wrong = config.Flag("attention_bias") == true ? "attention_bias" : config.Flag("altup_correct_scale") == false ? "altup_correct_scale" : "altup_active_idx";
            throw config.Problem(wrong, wrong == "altup_correct_scale" ? "true" : wrong == "attention_bias" ? "false" : "0", "another");
        }

        int context = config.Required("max_position_embeddings"), window = config.Required("sliding_window"), width = config.Required("hidden_size"), heads = config.Required("num_attention_heads");
        bool[] windowed = Windowed(config);
        int[] hidden = FeedForwards(config);
        double[] sparsity = Sparsity(config);
        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(windowed.Length)),
            ("DModel", ConfigDeclaration.Text(width)),
            ("Heads", ConfigDeclaration.Text(heads)),
            ("KeyValueHeads", ConfigDeclaration.Text(config.Integer("num_key_value_heads") ?? heads)),
            ("HeadWidth", ConfigDeclaration.Text(HeadWidth(config))),

            // Tables may have rows for pictures and sound, which texts have no tokens of.
            ("Vocab", ConfigDeclaration.Text(Vocabulary(config))),
            ("Context", ConfigDeclaration.Text(context)),
            ("FeedForward", ConfigDeclaration.Text(hidden[0])),
            ("NormEpsilon", ConfigDeclaration.Text((double)(float)(config.Real("rms_norm_eps") ?? 1e-6))),
            ("RotaryBase", ConfigDeclaration.Text(GlobalBase(config))),
            ("WindowRotaryBase", ConfigDeclaration.Text(WindowBase(config))),
            ("Streams", ConfigDeclaration.Text(Streams(config))),
            ("LaurelRank", ConfigDeclaration.Text(LaurelRank(config))),
            ("PerLayerWidth", ConfigDeclaration.Text(PerLayerWidth(config))),
        };
        if (windowed.Contains(true))
        {
            if (window >= context)
            {
                throw config.Problem("sliding_window", $"less than max_position_embeddings, {context}", $"{window}");
            }

            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("LayerWindows", $"new int[] {{ {string.Join(", ", windowed.Select(sees => sees ? ConfigDeclaration.Text(window) : "0"))} }}"));
        }

        if (hidden.Any(each => each != hidden[0]))
        {
            arguments.Add(("LayerFeedForward", $"new int[] {{ {string.Join(", ", hidden.Select(ConfigDeclaration.Text))} }}"));
        }

        if (SharedLayers(config) is > 0 and int shared)
        {
            arguments.Add(("SharedKeyValueLayers", ConfigDeclaration.Text(shared)));
        }

        if (sparsity.Any(static share => share > 0))
        {
            arguments.Add(("LayerSparsity", $"new double[] {{ {string.Join(", ", sparsity.Select(ConfigDeclaration.Text))} }}"));
        }

        string activation = ConfigDeclaration.Activation(config, "hidden_activation", "gelu_pytorch_tanh");
        if (activation != "Activation.GeluTanh")
        {
            arguments.Add(("Activation", activation));
        }

        if (Cap(config) is > 0 and double cap)
        {
            arguments.Add(("LogitSoftCap", ConfigDeclaration.Text(cap)));
        }

        if (!ConfigDeclaration.IsTied(config, weights, "embed_tokens.weight", byDefault: true))
        {
            arguments.Add(("TieEmbeddings", "false"));
        }

        return new ModelCode("Gemma3n", arguments);
    }

    /// <summary>Writes what a GGUF file says of the model.</summary>
    /// <returns>The width of heads.</returns>
    public static int Write(ModelConfig config, GgufWriter writer)
    {
        const string Prefix = "gemma3n.";
        int headWidth = HeadWidth(config), layers = Windowed(config).Length, shared = SharedLayers(config);
        double[] sparsity = Sparsity(config);

        // Readers compute with these, whatever is written.
        Require(Windowed(config).Select(static (sees, layer) => sees == ((layer + 1) % UsualPeriod != 0)).All(static holds => holds), "layer_types", "all positions in every fifth layer alone");
        Require(layers <= LayersWithKeys ? shared == 0 : layers - shared == LayersWithKeys, "num_kv_shared_layers", $"all but {LayersWithKeys} layers");
        Require(LaurelRank(config) == Rank, "laurel_rank", $"{Rank}");
        Require(Streams(config) == Inputs, "altup_num_inputs", $"{Inputs}");
        Require(PerLayerWidth(config) == UsualPerLayerWidth, "hidden_size_per_layer_input", $"{UsualPerLayerWidth}");
        Require(sparsity.Select(static (share, layer) => share == (layer < UsualSparseLayers ? UsualSparsity : 0)).All(static holds => holds), "activation_sparsity_pattern", $"{UsualSparsity.ToString(System.Globalization.CultureInfo.InvariantCulture)} in the first {UsualSparseLayers} layers alone");
        Require(WindowBase(config) == 10000, "rope_local_base_freq", "10000");
        Require(Cap(config) > 0, "final_logit_softcapping", "a number");
        Require(ConfigDeclaration.Activation(config, "hidden_activation", "gelu_pytorch_tanh") == "Activation.GeluTanh", "hidden_activation", "gelu_pytorch_tanh");
        foreach ((string key, int value) in ((string, int)[])[
            ("context_length", config.Required("max_position_embeddings")), ("embedding_length", config.Required("hidden_size")), ("block_count", layers), ("attention.head_count", config.Required("num_attention_heads")),
            ("attention.head_count_kv", config.Integer("num_key_value_heads") ?? config.Required("num_attention_heads")), ("attention.key_length", headWidth), ("attention.value_length", headWidth), ("rope.dimension_count", headWidth),
            ("attention.sliding_window", config.Required("sliding_window")), ("attention.shared_kv_layers", shared), ("embedding_length_per_layer_input", PerLayerWidth(config)), ("altup.active_idx", 0), ("altup.num_inputs", Streams(config)),
            ("vocab_size", Vocabulary(config))])
        {
            writer.Set(Prefix + key, (uint)value);
        }

        writer.Set(Prefix + "feed_forward_length", FeedForwards(config));
        writer.Set(Prefix + "attention.sliding_window_pattern", Windowed(config));
        writer.Set(Prefix + "activation_sparsity_scale", [.. sparsity.Select(static share => share > 0 ? (float)UsualQuantile : float.NegativeInfinity)]);
        writer.Set(Prefix + "attention.layer_norm_rms_epsilon", (float)(config.Real("rms_norm_eps") ?? 1e-6));
        writer.Set(Prefix + "rope.freq_base", (float)GlobalBase(config));
        writer.Set(Prefix + "final_logit_softcapping", (float)Cap(config));
        return headWidth;

        void Require(bool holds, string option, string wanted)
        {
            if (!holds)
            {
                throw config.Problem(option, $"{wanted}, which is what readers of GGUF files of gemma3n compute with", "another");
            }
        }
    }

    /// <summary>What a GGUF file says of layers, beside the sizes that all architectures have.</summary>
    public static void Read(GgufFile file, JsonObject values)
    {
        const string Prefix = "gemma3n.";
        if (file.Values.GetValueOrDefault(Prefix + "block_count")?.AsInteger() is not (>= 1 and <= 1024 and long layers))
        {
            throw Problem("block_count", "1 to 1024");
        }

        GgufValue? hidden = file.Values.GetValueOrDefault(Prefix + "feed_forward_length");
        long[] widths = hidden is { IsInteger: true } && (hidden.IsArray ? hidden.Count == layers : hidden.Count == 1) ? hidden.Integers() : throw Problem("feed_forward_length", "an integer, or one for each layer");
        values["intermediate_size"] = new JsonArray([.. Enumerable.Range(0, (int)layers).Select(layer => (JsonNode)widths[widths.Length == 1 ? 0 : layer])]);
        if (file.Values.TryGetValue(Prefix + "attention.sliding_window_pattern", out GgufValue? pattern))
        {
            bool[] windowed = pattern is { IsArray: true, ElementType: GgufValueType.Bool } && pattern.Count == layers ? pattern.Flags() : throw Problem("attention.sliding_window_pattern", "a truth value for each layer");
            values["layer_types"] = new JsonArray([.. windowed.Select(static sees => (JsonNode)(sees ? "sliding_attention" : "full_attention"))]);
        }

        values["num_kv_shared_layers"] = file.Values.GetValueOrDefault(Prefix + "attention.shared_kv_layers")?.AsInteger() ?? Math.Max(0, layers - LayersWithKeys);
        values["hidden_size_per_layer_input"] = file.Values.GetValueOrDefault(Prefix + "embedding_length_per_layer_input")?.AsInteger() ?? UsualPerLayerWidth;
        values["altup_num_inputs"] = file.Values.GetValueOrDefault(Prefix + "altup.num_inputs")?.AsInteger() ?? Inputs;
        values["altup_active_idx"] = file.Values.GetValueOrDefault(Prefix + "altup.active_idx")?.AsInteger() ?? 0;
        values["laurel_rank"] = file.Find("blk.0.laurel_l.weight") is { Shape: [> 0 and var rank, _] } ? rank : Rank;
        values["final_logit_softcapping"] = file.Values.GetValueOrDefault(Prefix + "final_logit_softcapping")?.AsReal() ?? 30;

        // The quantiles that gates are cut at; that of the one share that models have is told from none.
        if (file.Values.TryGetValue(Prefix + "activation_sparsity_scale", out GgufValue? scales))
        {
            double[] quantiles = scales.IsArray && scales.Count == layers && !scales.IsInteger ? scales.Reals() : throw Problem("activation_sparsity_scale", "a number for each layer");
            if (quantiles.Any(static quantile => quantile > 0 && !(Math.Abs(quantile - UsualQuantile) < 1e-4)))
            {
                throw Problem("activation_sparsity_scale", $"{UsualQuantile.ToString(System.Globalization.CultureInfo.InvariantCulture)}, or none");
            }

            values["activation_sparsity_pattern"] = new JsonArray([.. quantiles.Select(static quantile => (JsonNode)(quantile > 0 ? UsualSparsity : 0.0))]);
        }

        ToolException Problem(string key, string expected) => new($"{file.Path}: metadata '{Prefix}{key}': expected {expected}, found {file.Values.GetValueOrDefault(Prefix + key)?.ToString() ?? "nothing"}.");
    }

    /// <summary>How many of the last layers take keys and values of earlier ones.</summary>
    public static int SharedLayers(ModelConfig config) => config.Integer("num_kv_shared_layers") ?? 15;

    /// <summary>The width of per-layer embeddings.</summary>
    public static int PerLayerWidth(ModelConfig config) => config.Integer("hidden_size_per_layer_input") ?? UsualPerLayerWidth;

    /// <summary>The rank of the product beside attention.</summary>
    public static int LaurelRank(ModelConfig config) => config.Integer("laurel_rank") ?? Rank;

    /// <summary>The residual streams.</summary>
    public static int Streams(ModelConfig config) => config.Integer("altup_num_inputs") ?? Inputs;

    /// <summary>The channels of a head.</summary>
    public static int HeadWidth(ModelConfig config) => config.Integer("head_dim") ?? 256;

    /// <summary>The hidden width of each layer's feed-forward network.</summary>
    public static int[] FeedForwards(ModelConfig config)
    {
        int layers = Windowed(config).Length;
        IReadOnlyList<int> given = config.Integers("intermediate_size");
        return given.Count == layers ? [.. given] : given.Count == 1 ? [.. Enumerable.Repeat(given[0], layers)] : throw config.Problem("intermediate_size", $"an integer, or {layers} of them", $"{given.Count}");
    }

    private static int Vocabulary(ModelConfig config) => Math.Min(config.Required("vocab_size"), config.Integer("vocab_size_per_layer_input") ?? int.MaxValue);

    private static double Cap(ModelConfig config) => config.Values.ContainsKey("final_logit_softcapping") ? config.Real("final_logit_softcapping") ?? 0 : 30;

    private static double GlobalBase(ModelConfig config) => config.Real("rope_theta") ?? config.Part("rope_parameters")?.Part("full_attention")?.Real("rope_theta") ?? 1e6;

    private static double WindowBase(ModelConfig config) => config.Real("rope_local_base_freq") ?? config.Part("rope_parameters")?.Part("sliding_attention")?.Real("rope_theta") ?? 10000;

    private static bool[] Windowed(ModelConfig config)
    {
        int layers = config.Required("num_hidden_layers");
        if (layers is < 1 or > 1024)
        {
            throw config.Problem("num_hidden_layers", "1 to 1024", $"{layers}");
        }

        if (config.Values["layer_types"] is not JsonArray types)
        {
            return [.. Enumerable.Range(1, layers).Select(static layer => layer % UsualPeriod != 0)];
        }

        bool[] windowed = [.. types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && kind is "sliding_attention" or "full_attention" ? kind == "sliding_attention" : throw config.Problem("layer_types", "sliding_attention or full_attention", $"{layer}"))];
        return windowed.Length == layers ? windowed : throw config.Problem("layer_types", $"{layers} of them", $"{windowed.Length}");
    }

    private static double[] Sparsity(ModelConfig config)
    {
        int layers = Windowed(config).Length;
        return config.Values["activation_sparsity_pattern"] switch
        {
            null => [.. Enumerable.Range(0, layers).Select(layer => layers > UsualSparseLayers && layer < UsualSparseLayers ? UsualSparsity : 0)],
            JsonArray => config.Reals("activation_sparsity_pattern", layers)!,
            _ => [.. Enumerable.Repeat(config.Real("activation_sparsity_pattern")!.Value, layers)],
        };
    }
}
