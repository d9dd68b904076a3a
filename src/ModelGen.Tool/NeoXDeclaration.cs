namespace ModelGen.Tool;

/// <summary>The declaration of a decoder of GPT-NeoX's kind (Pythia is one) by its configuration, in the terms of Hugging Face or translated from a GGUF file.</summary>
internal static class NeoXDeclaration
{
    /// <summary>The declaration.</summary>
    public static ModelCode Of(ModelConfig config, WeightFile weights)
    {
        if (config.Flag("attention_bias") == false)
        {
            throw config.Problem("attention_bias", "true", "false");
        }

        var arguments = new List<(string Name, string Value)>
        {
            ("Layers", ConfigDeclaration.Text(config.Required("num_hidden_layers"))),
            ("DModel", ConfigDeclaration.Text(config.Required("hidden_size"))),
            ("Heads", ConfigDeclaration.Text(config.Required("num_attention_heads"))),
            ("Vocab", ConfigDeclaration.Text(config.Required("vocab_size"))),
            ("Context", ConfigDeclaration.Text(config.Required("max_position_embeddings"))),
            ("FeedForward", ConfigDeclaration.Text(config.Required("intermediate_size"))),
            ("Activation", ConfigDeclaration.Activation(config, "hidden_act", "gelu")),
            ("GatedFeedForward", "false"),
            ("Norm", "Normalization.Layer"),
            ("NormEpsilon", ConfigDeclaration.Text((double)(float)NormEpsilon(config))),
            ("Form", IsParallel(config) ? "BlockForm.ParallelTwoNorms" : "BlockForm.Sequential"),
            ("RotaryFraction", ConfigDeclaration.Text(RotaryFraction(config))),
            ("RotaryBase", ConfigDeclaration.Text(RotaryBase(config))),
            ("QkvBias", "true"),
            ("OutputBias", "true"),
            ("FeedForwardBias", "true"),
        };
        if (!weights.Tensors.Any(static tensor => tensor.Name.EndsWith("lm_head.weight", StringComparison.Ordinal) || tensor.Name.EndsWith("embed_out.weight", StringComparison.Ordinal)))
        {
            arguments.Add(("TieEmbeddings", "true"));
        }

        return DecoderDeclaration.RotaryScaling(config) is { } scaling ? throw config.Problem("rope_scaling", "none", scaling.Type) : new ModelCode("Decoder", arguments);
    }

    /// <summary>Writes what a GGUF file says of the model.</summary>
    /// <returns>The width of heads.</returns>
    public static int Write(ModelConfig config, GgufWriter writer)
    {
        const string Prefix = "gptneox.";
        int width = config.Required("hidden_size"), heads = Math.Max(1, config.Required("num_attention_heads")), headWidth = width / heads;

        // Theirs is the approximation by tanh, which is near the exact one.
        if (ConfigDeclaration.Activation(config, "hidden_act", "gelu") is not ("Activation.Gelu" or "Activation.GeluTanh"))
        {
            throw config.Problem("hidden_act", "gelu or gelu_new, which is what readers of GGUF files of gptneox compute with", config.Text("hidden_act") ?? "");
        }

        foreach ((string key, int value) in ((string, int)[])[
            ("context_length", config.Required("max_position_embeddings")), ("embedding_length", width), ("block_count", config.Required("num_hidden_layers")), ("feed_forward_length", config.Required("intermediate_size")),
            ("attention.head_count", heads), ("rope.dimension_count", (int)(headWidth * RotaryFraction(config))), ("vocab_size", config.Required("vocab_size"))])
        {
            writer.Set(Prefix + key, (uint)value);
        }

        writer.Set(Prefix + "use_parallel_residual", IsParallel(config));
        writer.Set(Prefix + "attention.layer_norm_epsilon", (float)NormEpsilon(config));
        writer.Set(Prefix + "rope.freq_base", (float)RotaryBase(config));
        return headWidth;
    }

    private static double NormEpsilon(ModelConfig config) => config.Real("layer_norm_eps") ?? 1e-5;

    /// <summary>Whether both branches of a block read its input.</summary>
    private static bool IsParallel(ModelConfig config) => config.Flag("use_parallel_residual") ?? true;

    private static double RotaryFraction(ModelConfig config) => config.Real("rotary_pct") ?? config.Real("partial_rotary_factor") ?? config.Part("rope_parameters")?.Real("partial_rotary_factor") ?? 0.25;

    private static double RotaryBase(ModelConfig config) => config.Real("rotary_emb_base") ?? DecoderDeclaration.RotaryBase(config);
}
