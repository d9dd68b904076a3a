using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The declaration of a decoder of gpt-oss's kind by its configuration, in the terms of Hugging Face or translated from a GGUF file.</summary>
internal static class GptOssDeclaration
{
    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        int context = config.Required("max_position_embeddings"), layers = config.Required("num_hidden_layers"), window = config.Required("sliding_window"), heads = config.Required("num_attention_heads");
        if (config.Real("swiglu_limit") is double limit and not 7)
        {
            throw config.Problem("swiglu_limit", "7", ConfigDeclaration.Text(limit));
        }

        if (config.Flag("attention_bias") == false)
        {
            throw config.Problem("attention_bias", "true", "false");
        }

        // Every second layer sees everything, the first one not.
        if (config.Values["layer_types"] is JsonArray types && types.Select(static (layer, number) => (layer, number)).Any(static pair => pair.layer?.ToString() != (pair.number % 2 == 0 ? "sliding_attention" : "full_attention")))
        {
            throw config.Problem("layer_types", "sliding_attention and full_attention by turns", "others");
        }

        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(layers)),
            ("DModel", ConfigDeclaration.Text(config.Required("hidden_size"))),
            ("Heads", ConfigDeclaration.Text(heads)),
            ("KeyValueHeads", ConfigDeclaration.Text(config.Integer("num_key_value_heads") ?? heads)),
            ("HeadWidth", ConfigDeclaration.Text(config.Integer("head_dim") ?? 64)),
            ("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))),
            ("Context", ConfigDeclaration.Text(context)),
            ("FeedForward", ConfigDeclaration.Text(FeedForward(config))),
            ("Experts", ConfigDeclaration.Text(Experts(config))),
            ("ActiveExperts", ConfigDeclaration.Text(ActiveExperts(config))),
            ("NormEpsilon", ConfigDeclaration.Text((double)(float)(config.Real("rms_norm_eps") ?? 1e-5))),
            ("RotaryBase", ConfigDeclaration.Text(DecoderDeclaration.RotaryBase(config))),
        };
        if (window < context)
        {
            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("LayerWindows", layers > 1 ? $"new int[] {{ {ConfigDeclaration.Text(window)}, 0 }}" : $"new int[] {{ {ConfigDeclaration.Text(window)} }}"));
        }

        if (DecoderDeclaration.RotaryScaling(config) is { } scaling)
        {
            if (scaling.Type != "yarn")
            {
                throw config.Problem("rope_scaling", "yarn", scaling.Type);
            }

            arguments.Add(("RotaryScaling", "RotaryScaling.Yarn"));
            arguments.Add(("RotaryFactor", ConfigDeclaration.Text(scaling.Options.Real("factor") ?? 1)));
            arguments.Add(("RotaryOriginalContext", ConfigDeclaration.Text(scaling.Options.Integer("original_max_position_embeddings") ?? context)));
            arguments.Add(("RotaryBetaFast", ConfigDeclaration.Text(scaling.Options.Real("beta_fast") ?? 32)));
            arguments.Add(("RotaryBetaSlow", ConfigDeclaration.Text(scaling.Options.Real("beta_slow") ?? 1)));
        }

        if (ConfigDeclaration.IsTied(config, weights, "embed_tokens.weight", byDefault: false))
        {
            arguments.Add(("TieEmbeddings", "true"));
        }

        return new ModelCode("GptOss", arguments);
    }

    /// <summary>The hidden width of each expert.</summary>
    public static int FeedForward(ModelConfig config) => config.Integer("moe_intermediate_size") ?? config.Required("intermediate_size");

    /// <summary>The experts of each layer.</summary>
    public static int Experts(ModelConfig config) => config.Integer("num_local_experts") ?? config.Required("num_experts");

    /// <summary>The experts that each token goes through.</summary>
    public static int ActiveExperts(ModelConfig config) => config.Integer("num_experts_per_tok") ?? config.Required("experts_per_token");
}
