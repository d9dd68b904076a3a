using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The declaration of a model with selective state spaces by its configuration: Mamba-2's, which has nothing else, and Granite 4.0 H's.</summary>
internal static class StateSpaceDeclaration
{
    private const string Mamba = "mamba";

    private const string Attention = "attention";

    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        bool isHybrid = IsHybrid(config);
        Sizes sizes = SizesOf(config);
        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(config.Required("num_hidden_layers"))),
            ("DModel", ConfigDeclaration.Text(config.Required("hidden_size"))),
            ("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))),
            ("StateHeads", ConfigDeclaration.Text(sizes.Heads)),
            ("StateGroups", ConfigDeclaration.Text(sizes.Groups)),
            ("StateSize", ConfigDeclaration.Text(sizes.State)),
            ("StateHeadWidth", ConfigDeclaration.Text(sizes.HeadWidth)),
            ("ConvolutionTaps", ConfigDeclaration.Text(sizes.Taps)),
        };
        Add("ConvolutionBias", config.Flag(isHybrid ? "mamba_conv_bias" : "use_conv_bias") == false ? "false" : "true", "true");
        Add("StateBias", config.Flag(isHybrid ? "mamba_proj_bias" : "use_bias") == true ? "true" : "false", "false");
        (double least, double most) = StepLimits(config);
        Add("StateStepMinimum", ConfigDeclaration.Text(least), "0");
        Add("StateStepMaximum", double.IsInfinity(most) ? "0" : ConfigDeclaration.Text(most), "0");
        Add("NormEpsilon", ((float)NormEpsilon(config)).ToString("R", CultureInfo.InvariantCulture), "1E-05");
        if (config.Text("hidden_act") is { } activation and not ("silu" or "swish"))
        {
            throw config.Problem("hidden_act", "silu", activation);
        }

        if (isHybrid)
        {
            Hybrid(config, arguments);
        }

        Add("TieEmbeddings", ConfigDeclaration.IsTied(config, weights, isHybrid ? "embed_tokens.weight" : "embeddings.weight", byDefault: false) ? "true" : "false", "true");
        return new ModelCode(isHybrid ? "Granite" : "Mamba2", arguments);

        void Add(string name, string value, string byDefault)
        {
            if (value != byDefault)
            {
                arguments.Add((name, value));
            }
        }
    }

    /// <summary>Whether some layers attend, and there is a feed-forward network in each.</summary>
    public static bool IsHybrid(ModelConfig config) => config.ModelType != "mamba2";

    /// <summary>What is added to the mean square in norms, where a configuration may leave it out.</summary>
    public static double NormEpsilon(ModelConfig config) => config.Real("rms_norm_eps") ?? config.Real("layer_norm_epsilon") ?? (IsHybrid(config) ? 1e-6 : 1e-5);

    /// <summary>What steps are at the least and at the most. Hybrids have no limits.</summary>
    public static (double Least, double Most) StepLimits(ModelConfig config)
    {
        if (IsHybrid(config) || config.Reals("time_step_limit", 2) is not { } limits)
        {
            return (0, double.PositiveInfinity);
        }

        return limits is [>= 0 and < double.PositiveInfinity, var most] && most > limits[0] ? (limits[0], most) : throw config.Problem("time_step_limit", "two numbers, the second of which is larger", FormattableString.Invariant($"{limits[0]} and {limits[1]}"));
    }

    /// <summary>The sizes of state spaces.</summary>
    public static Sizes SizesOf(ModelConfig config)
    {
        bool isHybrid = IsHybrid(config);
        int Named(string hybrid, string alone, int otherwise) => config.Integer(isHybrid ? hybrid : alone) ?? otherwise;
        int inner = Named("mamba_expand", "expand", 2) * config.Required("hidden_size"), heads = Named("mamba_n_heads", "num_heads", 128);
        if (heads <= 0)
        {
            throw config.Problem(isHybrid ? "mamba_n_heads" : "num_heads", "1 or more", ConfigDeclaration.Text(heads));
        }

        // Granite's may say "auto".
        int headWidth = isHybrid ? config.Values["mamba_d_head"] is JsonValue text && text.TryGetValue(out string? _) ? inner / heads : config.Integer("mamba_d_head") ?? inner / heads : config.Integer("head_dim") ?? 64;
        return new Sizes(heads, Named("mamba_n_groups", "n_groups", isHybrid ? 1 : 8), Named("mamba_d_state", "state_size", isHybrid ? 256 : 128), headWidth, Named("mamba_d_conv", "conv_kernel", 4));
    }

    /// <summary>What mixes the tokens of each layer of a hybrid: <c>mamba</c> or <c>attention</c>.</summary>
    public static string[] Mixers(ModelConfig config)
    {
        int layers = config.Required("num_hidden_layers");
        string name = config.Values["layers_block_type"] is not null ? "layers_block_type" : "layer_types";
        if (config.Values[name] is not JsonArray { Count: > 0 and <= 1024 } types)
        {
            throw config.Problem(name, "a list of what each layer has", "nothing");
        }

        string[] found = [.. types.Select(layer => layer is JsonValue text && text.TryGetValue(out string? kind) && kind is Mamba or Attention ? kind! : throw config.Problem(name, "mamba or attention", $"{layer}"))];
        return found.Length == layers ? found : throw config.Problem(name, $"{layers} of them", $"{found.Length}");
    }

    /// <summary>Whether positions turn queries and keys.</summary>
    public static bool IsRotary(ModelConfig config) => config.Text("position_embedding_type") is { } kind
        ? kind == "rope" || (kind == "nope" ? false : throw config.Problem("position_embedding_type", "rope or nope", kind))
        : false;

    /// <summary>The hidden width of a hybrid's feed-forward networks.</summary>
    public static int FeedForward(ModelConfig config)
    {
        if (Experts(config) > 0)
        {
            return config.Required("intermediate_size");
        }

        return config.Integer("shared_intermediate_size") is { } shared and > 0 ? shared : config.Required("intermediate_size");
    }

    /// <summary>The experts of a hybrid's layers, beside the network that all tokens go through; 0 where that is all there is.</summary>
    public static int Experts(ModelConfig config) => config.Integer("num_local_experts") ?? config.Integer("num_experts") ?? 0;

    private static void Hybrid(ModelConfig config, List<(string Name, string Value)> arguments)
    {
        int width = config.Required("hidden_size"), heads = config.Required("num_attention_heads");
        arguments.Add(("Heads", ConfigDeclaration.Text(heads)));
        if (config.Integer("num_key_value_heads") is { } keyHeads && keyHeads != heads)
        {
            arguments.Add(("KeyValueHeads", ConfigDeclaration.Text(keyHeads)));
        }

        if (config.Integer("head_dim") is { } headWidth && (heads <= 0 || headWidth * (long)heads != width))
        {
            arguments.Add(("HeadWidth", ConfigDeclaration.Text(headWidth)));
        }

        string[] mixers = Mixers(config);
        arguments.Add(("FeedForward", ConfigDeclaration.Text(FeedForward(config))));
        if (Experts(config) is > 0 and int experts)
        {
            arguments.Add(("Experts", ConfigDeclaration.Text(experts)));
            arguments.Add(("ActiveExperts", ConfigDeclaration.Text(config.Required("num_experts_per_tok"))));
            if (config.Integer("shared_intermediate_size") is { } shared and > 0)
            {
                arguments.Add(("SharedFeedForward", ConfigDeclaration.Text(shared)));
            }
        }

        arguments.Add(("Context", ConfigDeclaration.Text(config.Required("max_position_embeddings"))));
        arguments.Add(("Mixers", $"new[] {{ {string.Join(", ", mixers.Select(static mixer => mixer == Mamba ? "TokenMixer.StateSpace" : "TokenMixer.Attention"))} }}"));
        if (IsRotary(config))
        {
            arguments.Add(("Positions", "PositionEncoding.Rotary"));
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(config.Real("rope_theta") ?? 10000)));
        }

        if (config.Flag("attention_bias") == true)
        {
            arguments.Add(("QkvBias", "true"));
            arguments.Add(("OutputBias", "true"));
        }

        Factor("embedding_multiplier", "EmbeddingMultiplier", static value => value);
        Factor("residual_multiplier", "ResidualMultiplier", static value => value);
        Factor("attention_multiplier", "AttentionScale", static value => value);
        Factor("logits_scaling", "LogitScale", static value => 1 / value);

        void Factor(string name, string argument, Func<double, double> of)
        {
            if (config.Real(name) is { } value)
            {
                arguments.Add((argument, ConfigDeclaration.Text(of(value))));
            }
        }
    }

    /// <summary>The sizes of a state space.</summary>
    /// <param name="Heads">Heads.</param>
    /// <param name="Groups">Groups of B and C.</param>
    /// <param name="State">The channels of B and C.</param>
    /// <param name="HeadWidth">The channels of a head.</param>
    /// <param name="Taps">The steps that the convolution sees.</param>
    internal sealed record Sizes(int Heads, int Groups, int State, int HeadWidth, int Taps);
}
