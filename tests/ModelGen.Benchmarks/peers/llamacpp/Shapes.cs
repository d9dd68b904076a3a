using ModelGen;

/// <summary>A published model's sizes, written as a GGUF file with random weights that llama.cpp and ModelGen both read.</summary>
internal sealed record Shape(string Name, string Architecture, int Layers, int Width, int Heads, int KeyHeads, int HeadWidth, int Hidden, int Vocabulary, double RotaryBase)
{
    private const int Context = 2048;
    private const int ConvolutionTaps = 3;
    private const int DeltaTaps = 4;
    private const int DeltaHeads = 16;
    private const int DeltaWidth = 128;
    private const int AttentionInterval = 4;

    public static IReadOnlyList<Shape> All { get; } =
    [
        new("llama110", "llama", 12, 768, 12, 12, 64, 2048, 32000, 1e4),
        new("stories15m", "llama", 6, 288, 6, 6, 48, 768, 32000, 1e4),
        new("smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, 1e5),
        new("qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 1e6),
        new("llama3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 5e5),
        new("lfm2.5-350m", "lfm2", 16, 1024, 16, 8, 64, 4608, 65536, 1e6),
        new("qwen3.5-0.8b", "qwen35", 24, 1024, 8, 2, 256, 3584, 248320, 1e7),
    ];

    /// <summary>Writes the file.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="format">A format of matrices, or Q4_K_M: Q4_K with some in Q6_K.</param>
    public void Write(string path, string format)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", Architecture);
        writer.Set("general.quantization_version", 2u);
        writer.Set("tokenizer.ggml.model", "no_vocab");
        writer.Set(Architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
        writer.Set(Architecture + ".rope.freq_base", (float)RotaryBase);
        foreach ((string key, int value) in (ReadOnlySpan<(string, int)>)[("context_length", Context), ("embedding_length", Width), ("block_count", Layers), ("feed_forward_length", Hidden), ("attention.head_count", Heads),
            ("attention.key_length", HeadWidth), ("attention.value_length", HeadWidth), ("rope.dimension_count", Architecture == "qwen35" ? HeadWidth / 4 : HeadWidth), ("vocab_size", Vocabulary)])
        {
            Set(key, value);
        }

        switch (Architecture)
        {
            case "lfm2":
                writer.Set(Architecture + ".attention.head_count_kv", [.. Enumerable.Range(0, Layers).Select(layer => Attends(layer) ? KeyHeads : 0)]);
                Set("shortconv.l_cache", ConvolutionTaps);
                break;

            case "qwen35":
                Set("attention.head_count_kv", KeyHeads);
                Set("ssm.conv_kernel", DeltaTaps);
                Set("ssm.state_size", DeltaWidth);
                Set("ssm.group_count", DeltaHeads);
                Set("ssm.time_step_rank", DeltaHeads);
                Set("ssm.inner_size", DeltaHeads * DeltaWidth);
                Set("full_attention_interval", AttentionInterval);
                int pairs = HeadWidth / 8;
                writer.Set(Architecture + ".rope.dimension_sections", [pairs - (2 * (pairs / 3)), pairs / 3, pairs / 3, 0]);
                break;

            default:
                Set("attention.head_count_kv", KeyHeads);
                break;
        }

        var random = new Random(1);
        int queries = Heads * HeadWidth, keys = KeyHeads * HeadWidth;
        Matrix("token_embd", Vocabulary, Width, important: true);
        Norm(Architecture == "lfm2" ? "token_embd_norm" : "output_norm", Width);
        for (int layer = 0; layer < Layers; layer++)
        {
            string block = $"blk.{layer}.";

            // Where Q4_K_M takes the larger format: the first and the last eighth, and every third between.
            bool isImportant = layer < Layers / 8 || layer >= 7 * Layers / 8 || (layer - (Layers / 8)) % 3 == 2;
            Norm(block + "attn_norm", Width);
            Norm(block + (Architecture == "qwen35" ? "post_attention_norm" : "ffn_norm"), Width);
            if (Attends(layer))
            {
                Matrix(block + "attn_q", Architecture == "qwen35" ? 2 * queries : queries, Width);
                Matrix(block + "attn_k", keys, Width);
                Matrix(block + "attn_v", keys, Width, isImportant);
                Matrix(block + "attn_output", Width, queries);
                if (Architecture is "qwen3" or "lfm2" or "qwen35")
                {
                    Norm(block + "attn_q_norm", HeadWidth);
                    Norm(block + "attn_k_norm", HeadWidth);
                }
            }
            else if (Architecture == "lfm2")
            {
                Matrix(block + "shortconv.in_proj", 3 * Width, Width);
                Floats(block + "shortconv.conv.weight", [Width, ConvolutionTaps], 0, 0.5);
                Matrix(block + "shortconv.out_proj", Width, Width);
            }
            else
            {
                const int Inner = DeltaHeads * DeltaWidth;
                Matrix(block + "attn_qkv", 3 * Inner, Width);
                Matrix(block + "attn_gate", Inner, Width);
                Matrix(block + "ssm_beta", DeltaHeads, Width);
                Matrix(block + "ssm_alpha", DeltaHeads, Width);
                Floats(block + "ssm_conv1d.weight", [3 * Inner, DeltaTaps], 0, 0.5);
                Floats(block + "ssm_a", [DeltaHeads], -0.5, 0.3);
                Floats(block + "ssm_dt.bias", [DeltaHeads], 0, 0.3);
                Norm(block + "ssm_norm", DeltaWidth);
                Matrix(block + "ssm_out", Width, Inner);
            }

            Matrix(block + "ffn_gate", Hidden, Width);
            Matrix(block + "ffn_up", Hidden, Width);
            Matrix(block + "ffn_down", Width, Hidden, isImportant);
        }

        writer.Save(path);

        bool Attends(int layer) => Architecture switch
        {
            "lfm2" => layer is 2 or 5 or 8 or 10 or 12 or 14,
            "qwen35" => layer % AttentionInterval == AttentionInterval - 1,
            _ => true,
        };

        void Set(string key, int value) => writer.Set($"{Architecture}.{key}", (uint)value);

        void Norm(string name, int width) => Floats(name + ".weight", [width], 1, 0.3);

        void Floats(string name, long[] shape, double middle, double spread) => Add(name, shape, GgmlType.F32, middle, spread);

        void Matrix(string name, int rows, int columns, bool important = false)
        {
            // Rows that are no whole number of blocks of 256 are stored in blocks of 32.
            GgmlType type = format == "Q4_K_M" ? columns % 256 != 0 ? GgmlType.Q8_0 : important ? GgmlType.Q6_K : GgmlType.Q4_K : Enum.Parse<GgmlType>(format);
            Add(name + ".weight", [rows, columns], type, 0, 1.7 / Math.Sqrt(columns));
        }

        // A weight is told by its place, so that a file is the same however it is read.
        void Add(string name, long[] shape, GgmlType type, double middle, double spread)
        {
            ulong seed = (ulong)random.NextInt64();
            writer.Add(name, shape, type, (start, destination) =>
            {
                for (int i = 0; i < destination.Length; i++)
                {
                    ulong bits = (seed + (ulong)(start + i)) * 0x9E3779B97F4A7C15;
                    bits = (bits ^ (bits >> 29)) * 0xBF58476D1CE4E5B9;
                    destination[i] = (float)(middle + (spread * (((bits >> 40) / (double)(1 << 23)) - 1)));
                }
            });
        }
    }
}
