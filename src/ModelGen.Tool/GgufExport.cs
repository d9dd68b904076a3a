namespace ModelGen.Tool;

/// <summary>Writes a model as a GGUF file that llama.cpp reads.</summary>
internal static class GgufExport
{
    public static void Save(ModelSource source, string output, GgmlType type, TokenizerVocabulary? vocabulary)
    {
        ModelConfig config = source.Config ?? throw new ToolException($"{source.Weights.Path}: nothing says what model it is of: expected a config.json beside it.");
        string architecture = config.ModelType switch
        {
            "mistral" => "llama",
            "gemma3_text" => "gemma3",
            string other => other,
        };
        var writer = new GgufWriter();
        writer.Set("general.architecture", architecture);
        writer.Set("general.name", Path.GetFileNameWithoutExtension(output));
        writer.Set("general.file_type", FileType(type));
        writer.Set("general.quantization_version", 2u);
        int headWidth;
        if (source.Weights.Format == WeightFileFormat.Gguf)
        {
            // What is known of the model in other words than these goes along.
            using GgufFile file = GgufFile.Open(source.Weights.Path);
            headWidth = HeadWidth(config);
            foreach ((string key, GgufValue value) in file.Values)
            {
                if (key.StartsWith(architecture + ".", StringComparison.Ordinal) || key == "tokenizer.chat_template")
                {
                    writer.Set(key, value);
                }
            }

            Save(source, writer, architecture, headWidth, type, vocabulary, output);
            return;
        }

        headWidth = architecture == "gpt2" ? Gpt2(config, writer) : Llama(config, writer, architecture);
        Save(source, writer, architecture, headWidth, type, vocabulary, output);
    }

    private static void Save(ModelSource source, GgufWriter writer, string architecture, int headWidth, GgmlType type, TokenizerVocabulary? vocabulary, string output)
    {
        if (vocabulary is not null)
        {
            TokenizerFiles.Write(writer, vocabulary);
        }

        writer.Add(source.Weights, architecture, headWidth, tensor => TypeOf(tensor, type));
        writer.Save(output);
    }

    // Vectors are small and sensitive, as are tables of positions; rows that are no whole number of blocks cannot be cut into them.
    private static GgmlType TypeOf(WeightTensor tensor, GgmlType type)
    {
        if (tensor.Shape.Length < 2 || tensor.Name.EndsWith("wpe.weight", StringComparison.Ordinal))
        {
            return GgmlType.F32;
        }

        bool isBlocks = type is not (GgmlType.F32 or GgmlType.F16 or GgmlType.BF16);
        bool isTransposed = tensor.Name.Contains(".c_", StringComparison.Ordinal);
        return isBlocks && tensor.Shape[isTransposed ? 0 : ^1] % 32 != 0 ? GgmlType.F16 : type;
    }

    private static int HeadWidth(ModelConfig config)
        => config.ModelType == "gpt2" ? 0 : config.Integer("head_dim") ?? (config.Required("hidden_size") / Math.Max(1, config.Required("num_attention_heads")));

    private static int Llama(ModelConfig config, GgufWriter writer, string architecture)
    {
        int heads = config.Required("num_attention_heads");
        int headWidth = HeadWidth(config);
        Set("context_length", config.Required("max_position_embeddings"));
        Set("embedding_length", config.Required("hidden_size"));
        Set("block_count", config.Required("num_hidden_layers"));
        Set("feed_forward_length", config.Required("intermediate_size"));
        Set("attention.head_count", heads);
        Set("attention.head_count_kv", config.Integer("num_key_value_heads") ?? heads);
        Set("attention.key_length", headWidth);
        Set("attention.value_length", headWidth);
        Set("rope.dimension_count", headWidth);
        Set("vocab_size", config.Required("vocab_size"));
        writer.Set(architecture + ".attention.layer_norm_rms_epsilon", (float)(config.Real("rms_norm_eps") ?? 1e-6));
        writer.Set(architecture + ".rope.freq_base", (float)(config.Real("rope_theta") ?? config.Part("rope_parameters")?.Real("rope_theta") ?? 10000));
        if (config.Integer("sliding_window") is { } window && config.Flag("use_sliding_window") != false)
        {
            Set("attention.sliding_window", window);
        }

        if (DecoderDeclaration.RotaryScaling(config) is { } scaling)
        {
            WriteScaling(config, writer, architecture, headWidth, scaling);
        }

        return headWidth;

        void Set(string key, int value) => writer.Set($"{architecture}.{key}", (uint)value);
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
                    config.Real("rope_theta") ?? 10000,
                    factor,
                    scaling.Options.Real("low_freq_factor") ?? 1,
                    scaling.Options.Real("high_freq_factor") ?? 4,
                    scaling.Options.Real("original_max_position_embeddings") ?? 8192);
                writer.Add("rope_freqs.weight", [factors.Length], GgmlType.F32, (start, destination) => factors.AsSpan((int)start, destination.Length).CopyTo(destination));
                break;

            default:
                throw config.Problem("rope_scaling", "linear or llama3, which alone are written", scaling.Type);
        }
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

    // llama.cpp's numbers for what most tensors of a file are.
    private static uint FileType(GgmlType type) => type switch
    {
        GgmlType.F32 => 0,
        GgmlType.F16 => 1,
        GgmlType.Q4_0 => 2,
        GgmlType.Q4_1 => 3,
        GgmlType.Q8_0 => 7,
        GgmlType.Q5_0 => 8,
        GgmlType.Q5_1 => 9,
        _ => 32,
    };
}
