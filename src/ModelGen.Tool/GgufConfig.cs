using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>What the metadata of a GGUF file says of its model, in the terms of Hugging Face's configurations.</summary>
internal static class GgufConfig
{
    /// <summary>The configuration; null if the file names no architecture.</summary>
    public static ModelConfig? Of(GgufFile file)
    {
        if (file.Values.GetValueOrDefault("general.architecture")?.AsText() is not { } architecture)
        {
            return null;
        }

        var values = new JsonObject { ["model_type"] = architecture };
        if (architecture == "gpt2")
        {
            Integer("embedding_length", "n_embd");
            Integer("block_count", "n_layer");
            Integer("attention.head_count", "n_head");
            Integer("context_length", "n_positions");
            Integer("feed_forward_length", "n_inner");
            Real("attention.layer_norm_epsilon", "layer_norm_epsilon");
        }
        else
        {
            Integer("embedding_length", "hidden_size");
            Integer("block_count", "num_hidden_layers");
            Integer("attention.head_count", "num_attention_heads");
            Integer("attention.head_count_kv", "num_key_value_heads");
            Integer("attention.key_length", "head_dim");
            Integer("context_length", "max_position_embeddings");
            Integer("feed_forward_length", "intermediate_size");
            Integer("attention.sliding_window", "sliding_window");
            Real("attention.layer_norm_rms_epsilon", "rms_norm_eps");
            Real("rope.freq_base", "rope_theta");
        }

        // The table of token embeddings says it in every file, the metadata in some.
        if (file.Find("token_embd.weight") is { Shape.Length: 2 } table)
        {
            values["vocab_size"] = table.Shape[0];
        }

        Integer("tokenizer.ggml.bos_token_id", "bos_token_id", isOfArchitecture: false);
        Integer("tokenizer.ggml.eos_token_id", "eos_token_id", isOfArchitecture: false);
        values["tie_word_embeddings"] = file.Find("output.weight") is null;
        if (file.Values.GetValueOrDefault(architecture + ".rope.scaling.type")?.AsText() is { } scaling and not "none")
        {
            values["rope_scaling"] = new JsonObject { ["rope_type"] = scaling };
        }
        else if (file.Find("rope_freqs.weight") is not null)
        {
            values["rope_scaling"] = new JsonObject { ["rope_type"] = "llama3" };
        }

        return new ModelConfig(values, file.Path);

        void Integer(string key, string name, bool isOfArchitecture = true)
        {
            string full = isOfArchitecture ? $"{architecture}.{key}" : key;
            if (file.Values.TryGetValue(full, out GgufValue? value))
            {
                values[name] = value.AsInteger() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected an integer, found {value}.");
            }
        }

        void Real(string key, string name)
        {
            string full = $"{architecture}.{key}";
            if (file.Values.TryGetValue(full, out GgufValue? value))
            {
                // The nearest double that a person would write, and so the value that files of 32 bits stand for.
                double real = value.AsReal() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected a number, found {value}.");
                values[name] = double.Parse(((float)real).ToString("R", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
            }
        }
    }
}
