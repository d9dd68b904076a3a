namespace ModelGen.Tool;

/// <summary>The declaration of an encoder by its configuration.</summary>
internal static class EncoderDeclaration
{
    private const string Pooler = "pooler.dense.weight";

    public static ModelCode Bert(ModelConfig config, WeightFile weights)
    {
        string positions = config.Text("position_embedding_type") ?? "absolute";
        if (positions is not ("absolute" or "alibi"))
        {
            throw config.Problem("position_embedding_type", "absolute or alibi", positions);
        }

        int width = config.Required("hidden_size"), first = FirstPosition(config);
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("num_hidden_layers"))),
            ("DModel", Text(width)),
            ("Heads", Text(config.Required("num_attention_heads"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(Positions(config))),
            ("FeedForward", Text(config.Integer("intermediate_size") ?? checked(4 * width))),
        };
        if (first > 0)
        {
            arguments.Add(("FirstPosition", Text(first)));
        }

        if (config.Integer("type_vocab_size") is { } segments and not 2)
        {
            arguments.Add(("Segments", Text(segments)));
        }

        if (positions == "alibi")
        {
            arguments.Add(("Positions", "PositionEncoding.Alibi"));
        }

        // jina-bert-v2's (Günther et al. 2023), whose activation is that of the gate.
        string network = config.Text("feed_forward_type") ?? "original";
        if (network is not ("original" or "geglu" or "reglu"))
        {
            throw config.Problem("feed_forward_type", "original, geglu or reglu", network);
        }

        if (network != "original")
        {
            Gated(arguments);
            if (network == "reglu")
            {
                arguments.Add(("Activation", "Activation.Relu"));
            }

            Epsilon(config, arguments, "layer_norm_eps", 1e-12);
            return WithHead(new ModelCode("Bert", arguments), weights);
        }

        Common(config, arguments, "hidden_act", "layer_norm_eps", 1e-12);
        return WithHead(new ModelCode("Bert", arguments), weights);
    }

    /// <summary>gte's encoders (Zhang et al., "mGTE", 2024, <c>model_type: new</c>): BERT with rotary positions and gated units.</summary>
    public static ModelCode Gte(ModelConfig config, WeightFile weights)
    {
        foreach (string option in (string[])["logn_attention_scale", "logn_attention_clip1"])
        {
            if (config.Flag(option) == true)
            {
                throw config.Problem(option, "false", "true");
            }
        }

        if ((config.Text("layer_norm_type") ?? "layer_norm") is not "layer_norm" and string norm)
        {
            throw config.Problem("layer_norm_type", "layer_norm", norm);
        }

        string positions = config.Text("position_embedding_type") ?? "rope";
        if (positions is not ("absolute" or "rope"))
        {
            throw config.Problem("position_embedding_type", "absolute or rope", positions);
        }

        int width = config.Required("hidden_size"), heads = config.Required("num_attention_heads"), context = config.Required("max_position_embeddings");
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("num_hidden_layers"))),
            ("DModel", Text(width)),
            ("Heads", Text(heads)),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(context)),
            ("FeedForward", Text(config.Integer("intermediate_size") ?? checked(4 * width))),
        };
        if (positions == "rope")
        {
            arguments.Add(("Positions", "PositionEncoding.Rotary"));
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(config.Real("rope_theta") ?? 10_000)));
            if (config.Part("rope_scaling") is { } scaling)
            {
                Scale(scaling);
            }
        }

        Gated(arguments);
        int segments = config.Integer("type_vocab_size") ?? 1;
        if (segments != 2)
        {
            arguments.Add(("Segments", Text(segments)));
        }

        Common(config, arguments, "hidden_act", "layer_norm_eps", 1e-12);
        return WithHead(new ModelCode("Bert", arguments), weights);

        // Pair i turns by (base·s)^(-2i/w) / s^(2/w), whatever the length of a text: of what LongRoPE divides angles by, s^(2(i + 1)/w).
        void Scale(ModelConfig scaling)
        {
            string type = scaling.Text("type") ?? scaling.Text("rope_type") ?? "";
            double factor = scaling.Real("factor") ?? double.NaN;
            if (type != "ntk" || scaling.Real("mixed_b") is not null || factor is not (>= 1 and <= 1e6))
            {
                throw config.Problem("rope_scaling", "ntk with a factor of 1 or more, without mixed_b", $"{type}, {ConfigDeclaration.Text(factor)}");
            }

            int headWidth = width / Math.Max(1, heads);
            string factors = $"new double[] {{ {string.Join(", ", Enumerable.Range(0, Math.Max(1, headWidth / 2)).Select(i => ConfigDeclaration.Text(Math.Pow(factor, 2.0 * (i + 1) / headWidth))))} }}";
            arguments.Add(("RotaryScaling", "RotaryScaling.LongRope"));
            arguments.Add(("RotaryOriginalContext", Text(Math.Max(2, context))));
            arguments.Add(("RotaryAttentionFactor", "1"));
            arguments.Add(("RotaryShortFactors", factors));
            arguments.Add(("RotaryLongFactors", factors));
        }
    }

    /// <summary>The row of the table of positions that a first token has: RoBERTa counts from the padding's id on, which itself is for padding.</summary>
    public static int FirstPosition(ModelConfig config)
        => config.ModelType is not ("roberta" or "xlm-roberta" or "camembert") ? 0
            : (config.Integer("pad_token_id") ?? 1) is >= 0 and < 1 << 20 and int padding ? padding + 1
            : throw config.Problem("pad_token_id", "0 or more", "another one");

    /// <summary>The positions of a text.</summary>
    public static int Positions(ModelConfig config)
    {
        int rows = config.Required("max_position_embeddings"), first = FirstPosition(config);
        return rows > first ? rows - first : throw config.Problem("max_position_embeddings", $"more than the {first} in front of the first position", Text(rows));
    }

    /// <summary>DistilBERT (Sanh et al. 2019): BERT without segments and without a pooler.</summary>
    public static ModelCode DistilBert(ModelConfig config, WeightFile weights)
    {
        // What computes the table is what filled it.
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("n_layers"))),
            ("DModel", Text(config.Required("dim"))),
            ("Heads", Text(config.Required("n_heads"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(config.Required("max_position_embeddings"))),
            ("FeedForward", Text(config.Required("hidden_dim"))),
            ("Segments", "0"),
        };
        Common(config, arguments, "activation", "layer_norm_eps", 1e-12);
        return WithHead(new ModelCode("Bert", arguments), weights);
    }

    /// <summary>nomic-bert (Nussbaum et al. 2024): BERT with rotary positions and gated units, and without biases in them.</summary>
    public static ModelCode NomicBert(ModelConfig config, WeightFile weights)
    {
        foreach ((string option, bool expected) in ((string, bool)[])[("prenorm", false), ("qkv_proj_bias", false), ("mlp_fc1_bias", false), ("mlp_fc2_bias", false), ("use_rms_norm", false), ("parallel_block", false), ("rotary_emb_interleaved", false), ("causal", false)])
        {
            if (config.Flag(option) is { } has && has != expected)
            {
                throw config.Problem(option, expected ? "true" : "false", has ? "true" : "false");
            }
        }

        if ((config.Text("activation_function") ?? "swiglu") is not "swiglu" and string activation)
        {
            throw config.Problem("activation_function", "swiglu", activation);
        }

        // Beyond what it was trained on, angles are slowed down by how long a text is.
        int context = config.Required("n_positions");
        context = config.Real("rotary_scaling_factor") is not null && config.Integer("max_trained_positions") is > 0 and int trained ? Math.Min(context, trained) : context;
        int width = config.Required("n_embd");
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("n_layer"))),
            ("DModel", Text(width)),
            ("Heads", Text(config.Required("n_head"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(context)),
            ("FeedForward", Text(config.Integer("n_inner") ?? checked(4 * width))),
            ("Positions", "PositionEncoding.Rotary"),
            ("RotaryBase", ConfigDeclaration.Text(config.Real("rotary_emb_base") ?? 1000)),
            ("GatedFeedForward", "true"),
            ("Bias", "false"),
            ("Activation", "Activation.Silu"),
        };
        if (config.Real("rotary_emb_fraction") is { } fraction and not 1)
        {
            arguments.Add(("RotaryFraction", ConfigDeclaration.Text(fraction)));
        }

        if (config.Integer("type_vocab_size") is { } segments and not 2)
        {
            arguments.Add(("Segments", Text(segments)));
        }

        if (config.Real("layer_norm_epsilon") is { } epsilon and not 1e-12)
        {
            arguments.Add(("LayerNormEpsilon", ConfigDeclaration.Text(epsilon)));
        }

        return WithHead(new ModelCode("Bert", arguments), weights);
    }

    public static ModelCode ModernBert(ModelConfig config, WeightFile weights)
    {
        foreach (string option in (string[])["attention_bias", "mlp_bias", "norm_bias", "decoder_bias", "classifier_bias"])
        {
            // The one bias that these encoders have by default is the decoder's.
            if (config.Flag(option) is { } has && has != (option == "decoder_bias"))
            {
                throw config.Problem(option, option == "decoder_bias" ? "true" : "false", has ? "true" : "false");
            }
        }

        int every = config.Integer("global_attn_every_n_layers") ?? 3;
        int seen = config.Integer("local_attention") ?? 128;
        if (every is < 1 or > 1024 || seen is < 2 or > 1 << 20)
        {
            throw config.Problem("global_attn_every_n_layers, local_attention", "1 to 1024 layers and a window of 2 tokens or more", $"{every} and {seen}");
        }

        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("num_hidden_layers"))),
            ("DModel", Text(config.Required("hidden_size"))),
            ("Heads", Text(config.Required("num_attention_heads"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(config.Required("max_position_embeddings"))),
            ("FeedForward", Text(config.Required("intermediate_size"))),
        };
        if (every > 1)
        {
            // Half of what a configuration says lies on each side, and a token sees itself beside.
            string window = Text((seen / 2) + 1);
            arguments.Add(("Attention", "AttentionPattern.Window"));
            arguments.Add(("LayerWindows", $"new[] {{ 0{string.Concat(Enumerable.Repeat(", " + window, every - 1))} }}"));
        }

        if (config.Real("global_rope_theta") is { } all and not 160_000)
        {
            arguments.Add(("RotaryBase", ConfigDeclaration.Text(all)));
        }

        if (config.Real("local_rope_theta") is { } local and not 10_000)
        {
            arguments.Add(("WindowRotaryBase", ConfigDeclaration.Text(local)));
        }

        Common(config, arguments, "hidden_activation", "norm_eps", 1e-5);
        return WithHead(new ModelCode("ModernBert", arguments), weights);
    }

    /// <summary>The declaration with the head that the file has.</summary>
    public static ModelCode WithHead(ModelCode code, WeightFile weights)
    {
        bool Has(string name) => weights.Tensors.Any(tensor => tensor.Name.EndsWith(name, StringComparison.Ordinal));
        if (code.Attribute == "ModernBert")
        {
            return Has("head.dense.weight") ? code.With("Head", "BertHead.MaskedLm") : code;
        }

        if (Has("cls.predictions.transform.dense.weight"))
        {
            code = code.With("Head", "BertHead.MaskedLm");
            return Has("cls.seq_relationship.weight") ? code.With("NextSentence", "true") : code;
        }

        return Has(Pooler) ? code : code.With("Pooler", "false");
    }

    // A gate and what it lets through have no bias, where other projections have.
    private static void Gated(List<(string, string)> arguments)
    {
        arguments.Add(("GatedFeedForward", "true"));
        arguments.Add(("FeedForwardInputBias", "false"));
    }

    private static void Common(ModelConfig config, List<(string, string)> arguments, string activation, string epsilon, double usual)
    {
        string declared = ConfigDeclaration.Activation(config, activation, "gelu");
        if (declared != "Activation.Gelu")
        {
            arguments.Add(("Activation", declared));
        }

        Epsilon(config, arguments, epsilon, usual);
    }

    private static void Epsilon(ModelConfig config, List<(string, string)> arguments, string epsilon, double usual)
    {
        if (config.Real(epsilon) is { } value && value != usual)
        {
            arguments.Add(("LayerNormEpsilon", ConfigDeclaration.Text(value)));
        }
    }

    private static string Text(int value) => ConfigDeclaration.Text(value);
}
