namespace ModelGen.Tool;

/// <summary>What GGUF files say of encoders.</summary>
internal static class GgufEncoderConfig
{
    public static void JinaBert(GgufEntries entries)
    {
        entries.Values["model_type"] = "bert";
        entries.Values["position_embedding_type"] = "alibi";
        entries.Values["feed_forward_type"] = "geglu";
        Bert(entries);
    }

    public static void Bert(GgufEntries entries)
    {
        entries.Integer("embedding_length", "hidden_size");
        entries.Integer("block_count", "num_hidden_layers");
        entries.Integer("attention.head_count", "num_attention_heads");
        entries.Integer("context_length", "max_position_embeddings");
        entries.Integer("feed_forward_length", "intermediate_size");
        entries.Real("attention.layer_norm_epsilon", "layer_norm_eps");
        if (entries.File.Find("token_types.weight") is { } segments)
        {
            entries.Values["type_vocab_size"] = segments.Shape is [var count, _] ? count : throw new ToolException($"{entries.File.Path}: tensor 'token_types.weight': expected a matrix.");
        }
        else
        {
            entries.Values["type_vocab_size"] = 0;
        }
    }

    public static void NomicBert(GgufEntries entries)
    {
        entries.Values["model_type"] = "nomic_bert";
        entries.Integer("embedding_length", "n_embd");
        entries.Integer("block_count", "n_layer");
        entries.Integer("attention.head_count", "n_head");
        entries.Integer("context_length", "n_positions");
        entries.Integer("feed_forward_length", "n_inner");
        entries.Real("attention.layer_norm_epsilon", "layer_norm_epsilon");
        entries.Real("rope.freq_base", "rotary_emb_base");
        entries.Values["type_vocab_size"] = entries.File.Find("token_types.weight") is { Shape: [var types, _] } ? types : 0;
    }

    public static void ModernBert(GgufEntries entries)
    {
        entries.Values["model_type"] = "modernbert";
        entries.Integer("embedding_length", "hidden_size");
        entries.Integer("block_count", "num_hidden_layers");
        entries.Integer("attention.head_count", "num_attention_heads");
        entries.Integer("context_length", "max_position_embeddings");
        entries.Integer("feed_forward_length", "intermediate_size");
        entries.Real("attention.layer_norm_epsilon", "norm_eps");
        entries.Real("rope.freq_base", "global_rope_theta");
        entries.Real("rope.freq_base_swa", "local_rope_theta");
        entries.Integer("attention.sliding_window", "local_attention");
        entries.Integer("attention.sliding_window_pattern", "global_attn_every_n_layers");
        if (entries.Number("attention.sliding_window") is null or 0)
        {
            entries.Values["local_attention"] = 128;
            entries.Values["global_attn_every_n_layers"] = 1;
        }
    }
}
