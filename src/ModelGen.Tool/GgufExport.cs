namespace ModelGen.Tool;

/// <summary>Writes a model as a GGUF file that llama.cpp reads.</summary>
internal static class GgufExport
{
    private const string RotaryFactors = "rope_freqs.weight";
    private const string ShortFactors = "rope_factors_short.weight";
    private const string LongFactors = "rope_factors_long.weight";

    /// <summary>The types that numbers can be written in; others are copied.</summary>
    public static readonly GgmlType[] Written = [GgmlType.F32, GgmlType.F16, GgmlType.BF16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_1, GgmlType.Q5_0, GgmlType.Q5_1, GgmlType.IQ4_NL, GgmlType.MXFP4, GgmlType.Q4_K, GgmlType.Q5_K, GgmlType.Q6_K];

    /// <summary>Writes a model's file.</summary>
    /// <param name="source">The model.</param>
    /// <param name="output">The file.</param>
    /// <param name="type">How matrices are stored; null for how the model's file stores each tensor.</param>
    /// <param name="vocabulary">The vocabulary to write; null for the one of the model's own GGUF file, or none.</param>
    /// <param name="importance">What counts how much; null where nothing is known.</param>
    public static void Save(ModelSource source, string output, GgmlType? type, TokenizerVocabulary? vocabulary, ImportanceMatrix? importance = null)
        => Prepare(source, output, type, vocabulary, importance, static (_, _) => { }).Save(output);

    /// <summary>The names that a model's tensors have in GGUF files, by those of Hugging Face's.</summary>
    public static IReadOnlyDictionary<string, string> Names(ModelSource source)
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        Prepare(source, "model.gguf", GgmlType.F32, null, null, (tensor, name) => names[tensor.Name] = name);
        return names;
    }

    /// <summary>Writes low-rank adapters as a GGUF file that is read beside a model's.</summary>
    /// <param name="adapter">The adapters' file.</param>
    /// <param name="source">The model that they adapt.</param>
    /// <param name="output">The file.</param>
    public static void SaveAdapters(string adapter, ModelSource source, string output)
    {
        using AdapterFile file = AdapterFile.Open(adapter);
        try
        {
            file.SaveGguf(output, Architecture(ConfigOf(source)), HeadWidth(ConfigOf(source)));
        }
        catch (InvalidOperationException exception)
        {
            throw new ToolException($"{adapter}: {exception.Message}", exception);
        }
    }

    /// <summary>GGUF's name for the kind of a model.</summary>
    public static string Architecture(ModelSource source) => Architecture(ConfigOf(source));

    private static ModelConfig ConfigOf(ModelSource source) => source.Config ?? throw new ToolException($"{source.Weights.Path}: nothing says what model it is of: expected a config.json beside it.");

    private static string Architecture(ModelConfig config) => config.ModelType switch
    {
        "mistral" or "mixtral" => "llama",
        "gpt_neox" => "gptneox",
        "phi" => "phi2",
        "cohere" => "command-r",
        "qwen2_moe" => "qwen2moe",
        "gemma3_text" => "gemma3",
        "qwen3_moe" => "qwen3moe",
        "qwen3_5_text" => "qwen35",
        "granitemoehybrid" => "granitehybrid",
        "gemma3n_text" => "gemma3n",
        "gemma4_text" => "gemma4",
        "gpt_oss" => "gpt-oss",
        "roberta" or "xlm-roberta" or "camembert" or "distilbert" => "bert",
        "nomic_bert" => "nomic-bert",
        "bert" when config.Text("position_embedding_type") == "alibi" => "jina-bert-v2",
        "modernbert" => "modern-bert",
        string other => other,
    };

    private static GgufWriter Prepare(ModelSource source, string output, GgmlType? type, TokenizerVocabulary? vocabulary, ImportanceMatrix? importance, Action<WeightTensor, string> named)
    {
        ModelConfig config = ConfigOf(source);
        string architecture = Architecture(config);
        var writer = new GgufWriter { FirstPosition = EncoderDeclaration.FirstPosition(config) };
        writer.Set("general.architecture", architecture);
        writer.SetFileType(source.Gguf);
        writer.Set("general.quantization_version", 2u);
        int headWidth;
        if (source.Gguf is { } file)
        {
            headWidth = HeadWidth(config);
            CopyMetadata(file, writer, hasOtherVocabulary: vocabulary is not null);

            // The factors of Llama 3.1's positions are a tensor that no checkpoint has, and so are LongRoPE's two.
            foreach (GgufTensor factors in ((string[])[RotaryFactors, ShortFactors, LongFactors]).Select(file.Find).OfType<GgufTensor>())
            {
                writer.Add(file, factors);
            }
        }
        else
        {
            writer.Set("general.name", Path.GetFileNameWithoutExtension(output));
            headWidth = architecture switch
            {
                "gpt2" => Gpt2(config, writer),
                "bert" => Bert(source, config, writer),
                "jina-bert-v2" => JinaBert(source, config, writer),
                "nomic-bert" => NomicBert(source, config, writer),
                "modern-bert" => ModernBert(source, config, writer),
                "gemma3n" => Gemma3nDeclaration.Write(config, writer),
                "gemma4" => Gemma4(config, writer),
                "gpt-oss" => GptOss(config, writer),
                "gptneox" => NeoXDeclaration.Write(config, writer),
                "mamba2" or "granitehybrid" => StateSpaces(config, writer, architecture),
                string other when LayerNormDeclaration.Knows(other) => LayerNormDeclaration.Write(config, source.Weights, writer, architecture),
                _ => Llama(config, source.Weights, writer, architecture),
            };
        }

        if (source.Gguf is null && ChatTemplates.Find(source) is { } template)
        {
            writer.Set("tokenizer.chat_template", template);
        }

        if (vocabulary is not null)
        {
            TokenizerFiles.Write(writer, vocabulary);
        }

        // A tensor's type is asked for before its name is told.
        WeightTensor? asked = null;
        writer.Add(
            source.Weights,
            architecture,
            headWidth,
            tensor => type is { } chosen ? TypeOf(asked = tensor, chosen) : StoredType(source, asked = tensor),
            (name, shape) =>
            {
                named(asked!, name);
                return shape.Count < 2 ? [] : importance?.Of(name, shape[^1], shape.Count > 2 ? shape[0] : 1) ?? [];
            });
        if (importance is not null)
        {
            if (importance.Used.Count == 0)
            {
                throw new ToolException($"{importance.Path}: expected entries for the model's tensors, found none under their names.");
            }

            writer.Set("quantize.imatrix.file", Path.GetFileName(importance.Path));
            writer.Set("quantize.imatrix.entries_count", (uint)importance.Used.Count);
        }

        return writer;
    }

    /// <summary>What a file says of its model and its texts goes along as it is, also what nothing here reads; not what tells how it was stored.</summary>
    private static void CopyMetadata(GgufFile file, GgufWriter writer, bool hasOtherVocabulary)
    {
        foreach ((string key, GgufValue value) in file.Values)
        {
            bool isOfStorage = key is "general.architecture" or "general.file_type" or "general.quantization_version" or "general.alignment"
                || key.StartsWith("split.", StringComparison.Ordinal) || key.StartsWith("quantize.", StringComparison.Ordinal);
            if (!isOfStorage && !(hasOtherVocabulary && key.StartsWith("tokenizer.ggml.", StringComparison.Ordinal)))
            {
                writer.Set(key, value);
            }
        }
    }

    /// <summary>How a tensor is stored, as far as it can be written so.</summary>
    private static GgmlType StoredType(ModelSource source, WeightTensor tensor)
    {
        GgmlType stored = tensor.TypeName switch
        {
            "F8_E4M3" or "F8_E5M2" => GgmlType.F16,
            nameof(GgmlType.F64) => GgmlType.F32,
            string name => Enum.TryParse(name, out GgmlType known) && Enum.IsDefined(known) ? known : GgmlType.F32,
        };
        if (source.Gguf is not null && !source.IsMerged)
        {
            return stored == GgmlType.F64 ? GgmlType.F32 : stored;
        }

        // What is computed from blocks that are not made here is written larger.
        return TypeOf(tensor, Written.Contains(stored) ? stored : GgmlType.Q8_0);
    }

    // Vectors are small and sensitive, as are tables of positions; rows that are no whole number of blocks cannot be cut into them.
    private static GgmlType TypeOf(WeightTensor tensor, GgmlType type)
    {
        // ggml convolves by floats.
        if (tensor.Shape.Length < 2 || tensor.Name.EndsWith(".bias", StringComparison.Ordinal) || tensor.Name.EndsWith(".conv.conv.weight", StringComparison.Ordinal) || tensor.Name.EndsWith(".conv1d.weight", StringComparison.Ordinal) || tensor.Name.EndsWith("wpe.weight", StringComparison.Ordinal)
            || tensor.Name.EndsWith("position_embeddings.weight", StringComparison.Ordinal) || tensor.Name.EndsWith("token_type_embeddings.weight", StringComparison.Ordinal))
        {
            return GgmlType.F32;
        }

        bool isBlocks = type is not (GgmlType.F32 or GgmlType.F16 or GgmlType.BF16);
        bool isTransposed = tensor.Name.Contains(".c_", StringComparison.Ordinal);
        long columns = tensor.Shape[isTransposed ? 0 : ^1];
        return !isBlocks ? type : columns % 32 != 0 ? GgmlType.F16 : type is GgmlType.Q4_K or GgmlType.Q5_K or GgmlType.Q6_K && columns % 256 != 0 ? GgmlType.Q8_0 : type;
    }

    /// <summary>The channels of a head; 0 where a kind of model has none that an order of rows goes by.</summary>
    public static int HeadWidth(ModelConfig config)
        => config.ModelType is "gpt2" or "mamba2" || Architecture(config) is "bert" or "jina-bert-v2" or "nomic-bert" or "modern-bert" ? 0 : config.ModelType is "gemma4" or "gemma4_text" ? Gemma4Declaration.HeadWidth(config, isGlobal: true) : config.Integer("head_dim") ?? (DecoderDeclaration.IsGatedDelta(config) ? 256 : config.Required("hidden_size") / Math.Max(1, config.Required("num_attention_heads")));

    private static int Llama(ModelConfig config, WeightFile weights, GgufWriter writer, string architecture)
    {
        int heads = config.Required("num_attention_heads");
        int headWidth = HeadWidth(config);
        RequireWritable(config, architecture, headWidth);
        Set("context_length", config.Required("max_position_embeddings"));
        Set("embedding_length", config.Required("hidden_size"));
        Set("block_count", config.Required("num_hidden_layers"));
        Set("feed_forward_length", DecoderDeclaration.FeedForward(config, weights));
        if (DecoderDeclaration.IsMixture(config))
        {
            Set("expert_count", GptOssDeclaration.Experts(config));
            Set("expert_used_count", GptOssDeclaration.ActiveExperts(config));
            if (architecture is "qwen3moe" or "qwen2moe")
            {
                Set("expert_feed_forward_length", config.Required("moe_intermediate_size"));
            }

            if (architecture == "qwen2moe")
            {
                Set("expert_shared_feed_forward_length", config.Required("shared_expert_intermediate_size"));
            }

            bool normalizes = DecoderDeclaration.NormalizesExperts(config);
            if (normalizes == architecture is "olmoe" or "qwen2moe")
            {
                throw config.Problem("norm_topk_prob", $"{(normalizes ? "false" : "true")}, as readers of the file have it", normalizes ? "true" : "false");
            }
        }

        Set("attention.head_count", heads);
        int keyHeads = config.Integer("num_key_value_heads") ?? heads;
        if (architecture == "lfm2")
        {
            writer.Set(architecture + ".attention.head_count_kv", [.. DecoderDeclaration.Mixers(config).Select(mixer => mixer == "conv" ? 0 : keyHeads)]);
            Set("shortconv.l_cache", config.Integer("conv_L_cache") ?? 3);
        }
        else
        {
            Set("attention.head_count_kv", keyHeads);
        }

        Set("attention.key_length", headWidth);
        Set("attention.value_length", headWidth);
        Set("rope.dimension_count", (int)(headWidth * DecoderDeclaration.RotaryFraction(config)));
        if (DecoderDeclaration.IsGranite(config))
        {
            // Readers turn queries and keys where it is set.
            writer.Set(architecture + ".rope.scaling.finetuned", true);
            foreach ((string name, string key) in ((string, string)[])[("embedding_multiplier", "embedding_scale"), ("residual_multiplier", "residual_scale"), ("attention_multiplier", "attention.scale"), ("logits_scaling", "logit_scale")])
            {
                writer.Set($"{architecture}.{key}", (float)(config.Real(name) ?? 1));
            }
        }

        if (architecture == "minicpm")
        {
            // What logits are divided by.
            writer.Set("minicpm.embedding_scale", (float)(config.Real("scale_emb") ?? 1));
            writer.Set("minicpm.residual_scale", (float)DecoderDeclaration.ResidualMultiplier(config));
            writer.Set("minicpm.logit_scale", (float)(1 / DecoderDeclaration.LogitScale(config)));
        }

        if (architecture == "gemma2")
        {
            foreach (string name in (string[])["attn_logit_softcapping", "final_logit_softcapping"])
            {
                writer.Set($"{architecture}.{name}", (float)(config.Real(name) ?? throw config.Problem(name, "a number, which readers of GGUF files of gemma2 compute with", "none")));
            }
        }

        if (DecoderDeclaration.RotaryPattern(config) is { } pattern && pattern.Where(static (turns, layer) => turns == 1 != ((layer + 1) % 4 != 0)).Any())
        {
            throw config.Problem("no_rope_layers", "every fourth layer, as readers of GGUF files of smollm3 have it", string.Join(", ", pattern));
        }

        if (DecoderDeclaration.IsGatedDelta(config))
        {
            WriteGatedDelta(config, writer, architecture);
        }

        Set("vocab_size", config.Required("vocab_size"));
        writer.Set(architecture + ".attention.layer_norm_rms_epsilon", (float)DecoderDeclaration.NormEpsilon(config));
        writer.Set(architecture + ".rope.freq_base", (float)DecoderDeclaration.RotaryBase(config));
        if (DecoderDeclaration.SlidingWindow(config) is { } window)
        {
            Set("attention.sliding_window", window);
        }

        if (architecture == "gemma3" && DecoderDeclaration.WindowRotaryBase(config) is double windowBase and not 10000)
        {
            writer.Set(architecture + ".rope.freq_base_swa", (float)windowBase);
        }

        if (DecoderDeclaration.RotaryScaling(config) is { } scaling)
        {
            WriteScaling(config, writer, architecture, headWidth, scaling);
        }

        return headWidth;

        void Set(string key, int value) => writer.Set($"{architecture}.{key}", (uint)value);
    }

    /// <summary>Refuses what readers of the file would compute otherwise, since no entry of it says so.</summary>
    private static void RequireWritable(ModelConfig config, string architecture, int headWidth)
    {
        bool isGemma = DecoderDeclaration.IsGemma(config);
        string name = config.Text("hidden_activation") is not null ? "hidden_activation" : "hidden_act";
        string expected = isGemma ? "gelu_pytorch_tanh" : "silu";
        Require((config.Text(name) ?? expected) == expected || (architecture == "gemma" && name == "hidden_act"), name, expected, config.Text(name)!);
        double fraction = DecoderDeclaration.RotaryFraction(config);
        Require(fraction == 1 || architecture == "phi3" || DecoderDeclaration.IsGatedDelta(config), "partial_rotary_factor", "1", Text(fraction));
        if (!isGemma || architecture == "gemma")
        {
            return;
        }

        double scalar = config.Real("query_pre_attn_scalar") ?? 256;
        int heads = Math.Max(1, config.Required("num_attention_heads"));
        int divisor = config.Required("num_hidden_layers") == GgufConfig.LargestGemma(architecture) ? config.Required("hidden_size") / heads : headWidth;
        Require(scalar == divisor, "query_pre_attn_scalar", Text(divisor), Text(scalar));
        Require(architecture == "gemma2" || config.Real("attn_logit_softcapping") is null, "attn_logit_softcapping", "none", Text(config.Real("attn_logit_softcapping") ?? 0));
        Require(architecture == "gemma2" || config.Real("final_logit_softcapping") is null, "final_logit_softcapping", "none", Text(config.Real("final_logit_softcapping") ?? 0));

        static string Text(double value) => value.ToString("R", System.Globalization.CultureInfo.InvariantCulture);

        void Require(bool holds, string option, string wanted, string found)
        {
            if (!holds)
            {
                throw config.Problem(option, $"{wanted}, which is what readers of GGUF files of {architecture} compute with", found);
            }
        }
    }

    // Readers know by an interval which layers attend, and repeat the heads of keys in an order of their own where those of values are more.
    private static void WriteGatedDelta(ModelConfig config, GgufWriter writer, string architecture)
    {
        int keyHeads = config.Required("linear_num_key_heads");
        int valueHeads = config.Required("linear_num_value_heads");
        if (keyHeads != valueHeads)
        {
            throw config.Problem("linear_num_value_heads", $"{keyHeads}, as many as heads of keys, which alone are written", $"{valueHeads}");
        }

        string[] mixers = DecoderDeclaration.Mixers(config);
        int interval = Math.Max(1, Array.IndexOf(mixers, "full_attention") + 1);
        if (mixers.Where((mixer, layer) => (mixer == "full_attention") != ((layer + 1) % interval == 0)).Any())
        {
            throw config.Problem("layer_types", "attention in every so many layers", string.Join(", ", mixers));
        }

        foreach ((string key, int value) in ((string, int)[])[
            ("ssm.conv_kernel", config.Integer("linear_conv_kernel_dim") ?? 4), ("ssm.state_size", config.Required("linear_key_head_dim")), ("ssm.group_count", keyHeads), ("ssm.time_step_rank", valueHeads),
            ("ssm.inner_size", valueHeads * config.Required("linear_value_head_dim")), ("full_attention_interval", interval)])
        {
            writer.Set($"{architecture}.{key}", (uint)value);
        }

        // Positions of texts are the same in all directions that pictures have.
        int pairs = (int)(HeadWidth(config) * DecoderDeclaration.RotaryFraction(config)) / 2;
        writer.Set(architecture + ".rope.dimension_sections", [pairs - (2 * (pairs / 3)), pairs / 3, pairs / 3, 0]);
    }

    private static void WriteScaling(ModelConfig config, GgufWriter writer, string architecture, int headWidth, (string Type, ModelConfig Options) scaling)
    {
        double factor = scaling.Options.Real("factor") ?? 1;
        switch (scaling.Type)
        {
            case "linear":
                writer.Set(architecture + ".rope.scaling.type", "linear");
                writer.Set(architecture + ".rope.scaling.factor", (float)factor);
                break;

            case "llama3":
                float[] factors = GgufConfig.RotaryFactors(
                    headWidth / 2,
                    DecoderDeclaration.RotaryBase(config),
                    factor,
                    scaling.Options.Real("low_freq_factor") ?? 1,
                    scaling.Options.Real("high_freq_factor") ?? 4,
                    scaling.Options.Real("original_max_position_embeddings") ?? 8192);
                writer.Add(RotaryFactors, [factors.Length], GgmlType.F32, (start, destination) => factors.AsSpan((int)start, destination.Length).CopyTo(destination));
                break;

            case "yarn":
                WriteYarn(config, writer, architecture, scaling.Options);
                break;

            case "longrope" or "su":
                (int original, double[] within, double[] beyond, double magnitude) = DecoderDeclaration.LongRope(config, scaling.Options, headWidth);
                writer.Set(architecture + ".rope.scaling.type", "longrope");
                writer.Set(architecture + ".rope.scaling.original_context_length", (uint)original);
                writer.Set(architecture + ".rope.scaling.attn_factor", (float)magnitude);
                foreach ((string name, double[] list) in ((string, double[])[])[(LongFactors, beyond), (ShortFactors, within)])
                {
                    float[] values = [.. list.Select(static value => (float)value)];
                    writer.Add(name, [values.Length], GgmlType.F32, (start, destination) => values.AsSpan((int)start, destination.Length).CopyTo(destination));
                }

                break;

            case "dynamic":
                // Up to the context that the file names nothing is scaled.
                break;

            default:
                throw config.Problem("rope_scaling", "linear, llama3, yarn, longrope or dynamic, which alone are written", scaling.Type);
        }
    }

    // Readers know the ramp that all published models have, and take what cosines and sines are multiplied by from the factor.
    private static void WriteYarn(ModelConfig config, GgufWriter writer, string architecture, ModelConfig options)
    {
        double factor = options.Real("factor") ?? 1, magnitude = options.Real("attention_factor") ?? 0;
        if ((options.Real("beta_fast") ?? 32) != 32 || (options.Real("beta_slow") ?? 1) != 1)
        {
            throw config.Problem("rope_scaling", $"yarn with a ramp from 32 turns to 1, which readers of GGUF files of {architecture} compute with", FormattableString.Invariant($"{options.Real("beta_fast")} to {options.Real("beta_slow")}"));
        }

        if (magnitude != 0 && Math.Abs(magnitude - ((0.1 * Math.Log(factor)) + 1)) > 1e-5)
        {
            throw config.Problem("attention_factor", "0.1 · ln(factor) + 1, which readers of GGUF files compute with", ConfigDeclaration.Text(magnitude));
        }

        writer.Set(architecture + ".rope.scaling.type", "yarn");
        writer.Set(architecture + ".rope.scaling.factor", (float)factor);
        writer.Set(architecture + ".rope.scaling.original_context_length", (uint)(options.Integer("original_max_position_embeddings") ?? config.Required("max_position_embeddings")));
    }

    private static int StateSpaces(ModelConfig config, GgufWriter writer, string architecture)
    {
        StateSpaceDeclaration.Sizes sizes = StateSpaceDeclaration.SizesOf(config);
        bool isHybrid = StateSpaceDeclaration.IsHybrid(config);
        if (StateSpaceDeclaration.StepLimits(config) is not (0, double.PositiveInfinity) and var limits)
        {
            throw config.Problem("time_step_limit", "0 to infinity, which is what readers of GGUF files compute with", FormattableString.Invariant($"{limits.Least} to {limits.Most}"));
        }


        // Mamba's readers want a context, and there is none.
        Set("context_length", config.Integer("max_position_embeddings") ?? 1 << 20);
        Set("embedding_length", config.Required("hidden_size"));
        Set("block_count", config.Required("num_hidden_layers"));
        Set("vocab_size", config.Required("vocab_size"));
        writer.Set(architecture + ".attention.layer_norm_rms_epsilon", (float)StateSpaceDeclaration.NormEpsilon(config));
        Set("ssm.conv_kernel", sizes.Taps);
        Set("ssm.state_size", sizes.State);
        Set("ssm.group_count", sizes.Groups);
        Set("ssm.inner_size", sizes.Heads * sizes.HeadWidth);
        Set("ssm.time_step_rank", sizes.Heads);
        if (!isHybrid)
        {
            Set("feed_forward_length", 0);
            Set("attention.head_count", 0);
            return 0;
        }

        int heads = config.Required("num_attention_heads"), keyHeads = config.Integer("num_key_value_heads") ?? heads, headWidth = HeadWidth(config);
        Set("feed_forward_length", StateSpaceDeclaration.FeedForward(config));
        if (StateSpaceDeclaration.Experts(config) is > 0 and int experts)
        {
            Set("expert_count", experts);
            Set("expert_used_count", config.Required("num_experts_per_tok"));
            Set("expert_shared_feed_forward_length", config.Integer("shared_intermediate_size") ?? 0);
        }

        Set("attention.head_count", heads);
        writer.Set(architecture + ".attention.head_count_kv", [.. StateSpaceDeclaration.Mixers(config).Select(mixer => mixer == "attention" ? keyHeads : 0)]);
        Set("attention.key_length", headWidth);
        Set("attention.value_length", headWidth);
        Set("rope.dimension_count", headWidth);
        writer.Set(architecture + ".rope.freq_base", (float)(config.Real("rope_theta") ?? 10000));
        writer.Set(architecture + ".rope.scaling.finetuned", StateSpaceDeclaration.IsRotary(config));
        Factor("embedding_multiplier", "embedding_scale");
        Factor("residual_multiplier", "residual_scale");
        Factor("attention_multiplier", "attention.scale");
        Factor("logits_scaling", "logit_scale");
        return headWidth;

        void Set(string key, int value) => writer.Set($"{architecture}.{key}", (uint)value);

        void Factor(string name, string key)
        {
            if (config.Real(name) is { } value)
            {
                writer.Set($"{architecture}.{key}", (float)value);
            }
        }
    }

    private static int Gemma4(ModelConfig config, GgufWriter writer)
    {
        const string Prefix = "gemma4.";
        int headWidth = Gemma4Declaration.HeadWidth(config, isGlobal: true), windowWidth = Gemma4Declaration.HeadWidth(config, isGlobal: false);
        int[] keyHeads = Gemma4Declaration.KeyHeads(config), hidden = Gemma4Declaration.FeedForwards(config);
        foreach ((string key, int value) in ((string, int)[])[
            ("context_length", config.Required("max_position_embeddings")), ("embedding_length", config.Required("hidden_size")), ("block_count", config.Required("num_hidden_layers")),
            ("attention.head_count", config.Required("num_attention_heads")), ("attention.key_length", headWidth), ("attention.value_length", headWidth), ("attention.key_length_swa", windowWidth),
            ("attention.value_length_swa", windowWidth), ("rope.dimension_count", headWidth), ("rope.dimension_count_swa", windowWidth), ("attention.sliding_window", config.Required("sliding_window")),
            ("attention.shared_kv_layers", Gemma4Declaration.SharedLayers(config)), ("embedding_length_per_layer_input", Gemma4Declaration.PerLayerWidth(config)), ("vocab_size", config.Required("vocab_size"))])
        {
            writer.Set(Prefix + key, (uint)value);
        }

        writer.Set(Prefix + "attention.head_count_kv", keyHeads);
        writer.Set(Prefix + "feed_forward_length", hidden);
        writer.Set(Prefix + "attention.sliding_window_pattern", Gemma4Declaration.Windowed(config));
        writer.Set(Prefix + "attention.layer_norm_rms_epsilon", (float)(config.Real("rms_norm_eps") ?? 1e-6));
        writer.Set(Prefix + "rope.freq_base", (float)Gemma4Declaration.GlobalBase(config));
        writer.Set(Prefix + "rope.freq_base_swa", (float)Gemma4Declaration.WindowBase(config));
        if (config.Real("final_logit_softcapping") is > 0 and double cap)
        {
            writer.Set(Prefix + "final_logit_softcapping", (float)cap);
        }

        // Pairs that stand still are slowed down without end.
        float[] factors = [.. Enumerable.Range(0, headWidth / 2).Select(pair => pair < (int)(headWidth / 2 * Gemma4Declaration.GlobalFraction(config)) ? 1f : 1e30f)];
        writer.Add(RotaryFactors, [factors.Length], GgmlType.F32, (start, destination) => factors.AsSpan((int)start, destination.Length).CopyTo(destination));
        return headWidth;
    }

    private static int GptOss(ModelConfig config, GgufWriter writer)
    {
        const string Prefix = "gpt-oss.";
        int heads = config.Required("num_attention_heads"), headWidth = config.Integer("head_dim") ?? 64, context = config.Required("max_position_embeddings");
        foreach ((string key, int value) in ((string, int)[])[
            ("context_length", context), ("embedding_length", config.Required("hidden_size")), ("block_count", config.Required("num_hidden_layers")), ("attention.head_count", heads),
            ("attention.head_count_kv", config.Integer("num_key_value_heads") ?? heads), ("attention.key_length", headWidth), ("attention.value_length", headWidth), ("rope.dimension_count", headWidth),
            ("attention.sliding_window", config.Required("sliding_window")), ("feed_forward_length", GptOssDeclaration.FeedForward(config)), ("expert_feed_forward_length", GptOssDeclaration.FeedForward(config)),
            ("expert_count", GptOssDeclaration.Experts(config)), ("expert_used_count", GptOssDeclaration.ActiveExperts(config)), ("vocab_size", config.Required("vocab_size"))])
        {
            writer.Set(Prefix + key, (uint)value);
        }

        writer.Set(Prefix + "attention.layer_norm_rms_epsilon", (float)(config.Real("rms_norm_eps") ?? 1e-5));
        writer.Set(Prefix + "rope.freq_base", (float)DecoderDeclaration.RotaryBase(config));
        if (DecoderDeclaration.RotaryScaling(config) is { } scaling)
        {
            if (scaling.Type != "yarn")
            {
                throw config.Problem("rope_scaling", "yarn, which readers of GGUF files of gpt-oss compute with", scaling.Type);
            }

            WriteYarn(config, writer, "gpt-oss", scaling.Options);
        }

        return headWidth;
    }

    private static int Gpt2(ModelConfig config, GgufWriter writer)
    {
        int width = config.Required("n_embd");
        writer.Set("gpt2.context_length", (uint)(config.Integer("n_positions") ?? config.Required("n_ctx")));
        writer.Set("gpt2.embedding_length", (uint)width);
        writer.Set("gpt2.block_count", (uint)config.Required("n_layer"));
        writer.Set("gpt2.feed_forward_length", (uint)(config.Integer("n_inner") ?? (4 * width)));
        writer.Set("gpt2.attention.head_count", (uint)config.Required("n_head"));
        writer.Set("gpt2.attention.layer_norm_epsilon", (float)(config.Real("layer_norm_epsilon") ?? 1e-5));
        return 0;
    }

    private static int Bert(ModelSource source, ModelConfig config, GgufWriter writer)
    {
        bool isDistilled = config.ModelType == "distilbert";
        string activation = config.Text(isDistilled ? "activation" : "hidden_act") ?? "gelu";
        if (activation != "gelu")
        {
            throw config.Problem(isDistilled ? "activation" : "hidden_act", "gelu, which is what readers of GGUF files of bert compute with", activation);
        }

        Encoder(source, config, writer, "bert", config.Real("layer_norm_eps") ?? 1e-12, EncoderDeclaration.Positions(config), isDistilled ? ["dim", "n_layers", "hidden_dim", "n_heads"] : ["hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"]);

        // Readers of such files refuse a count of 0, and need no table for 1.
        writer.Set("tokenizer.ggml.token_type_count", (uint)Math.Max(1, isDistilled ? 0 : config.Integer("type_vocab_size") ?? 2));
        return 0;
    }

    private static int JinaBert(ModelSource source, ModelConfig config, GgufWriter writer)
    {
        if ((config.Text("feed_forward_type") ?? "original") is not "geglu" and string network)
        {
            throw config.Problem("feed_forward_type", "geglu, which is what readers of GGUF files of jina-bert-v2 compute with", network);
        }

        Encoder(source, config, writer, "jina-bert-v2", config.Real("layer_norm_eps") ?? 1e-12, config.Required("max_position_embeddings"), ["hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"]);
        writer.Set("tokenizer.ggml.token_type_count", (uint)Math.Max(1, config.Integer("type_vocab_size") ?? 2));
        return 0;
    }

    private static int NomicBert(ModelSource source, ModelConfig config, GgufWriter writer)
    {
        if ((config.Real("rotary_emb_fraction") ?? 1) is not 1 and var fraction)
        {
            throw config.Problem("rotary_emb_fraction", "1, which is what readers of GGUF files of nomic-bert compute with", ConfigDeclaration.Text(fraction));
        }

        Encoder(source, config, writer, "nomic-bert", config.Real("layer_norm_epsilon") ?? 1e-12, config.Required("n_positions"), ["n_embd", "n_layer", "n_inner", "n_head"]);
        writer.Set("nomic-bert.rope.freq_base", (float)(config.Real("rotary_emb_base") ?? 1000));
        writer.Set("tokenizer.ggml.token_type_count", (uint)(config.Integer("type_vocab_size") ?? 2));
        return 0;
    }

    private static int ModernBert(ModelSource source, ModelConfig config, GgufWriter writer)
    {
        if ((config.Text("hidden_activation") ?? "gelu") is not "gelu" and string activation)
        {
            throw config.Problem("hidden_activation", "gelu, which is what readers of GGUF files of modern-bert compute with", activation);
        }

        Encoder(source, config, writer, "modern-bert", config.Real("norm_eps") ?? 1e-5, config.Required("max_position_embeddings"), ["hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"]);
        writer.Set("modern-bert.rope.freq_base", (float)(config.Real("global_rope_theta") ?? 160_000));
        int every = config.Integer("global_attn_every_n_layers") ?? 3;
        if (every > 1)
        {
            writer.Set("modern-bert.rope.freq_base_swa", (float)(config.Real("local_rope_theta") ?? 10_000));
            writer.Set("modern-bert.attention.sliding_window", (uint)(config.Integer("local_attention") ?? 128));
            writer.Set("modern-bert.attention.sliding_window_pattern", (uint)every);
        }

        return 0;
    }

    /// <summary>What files of all encoders say.</summary>
    /// <param name="source">The model.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="writer">The file.</param>
    /// <param name="architecture">GGUF's name for the kind of model.</param>
    /// <param name="epsilon">What norms add to the variance.</param>
    /// <param name="positions">The longest text.</param>
    /// <param name="names">What the configuration calls the width, the layers, the feed-forward network's width and the heads.</param>
    private static void Encoder(ModelSource source, ModelConfig config, GgufWriter writer, string architecture, double epsilon, int positions, string[] names)
    {
        writer.Set(architecture + ".context_length", (uint)positions);
        writer.Set(architecture + ".embedding_length", (uint)config.Required(names[0]));
        writer.Set(architecture + ".block_count", (uint)config.Required(names[1]));
        writer.Set(architecture + ".feed_forward_length", (uint)(config.Integer(names[2]) ?? checked(4 * config.Required(names[0]))));
        writer.Set(architecture + ".attention.head_count", (uint)config.Required(names[3]));
        writer.Set(architecture + ".attention.layer_norm_epsilon", (float)epsilon);
        writer.Set(architecture + ".attention.causal", false);
        writer.Set(architecture + ".pooling_type", EmbeddingRecipe.Of(source).Pooling == Pooling.FirstToken ? 2u : 1u);
    }
}
