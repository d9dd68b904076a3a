namespace ModelGen.Tool;

/// <summary>A configuration as a llama2.c header, which has no place for anything that differs from Llama.</summary>
internal static class Llama2cExport
{
    public static Llama2cHeader Header(ModelSource source)
    {
        ModelConfig config = source.Config ?? throw new ToolException($"{source.Weights.Path}: nothing says the model's sizes: expected a config.json beside it.");
        if (config.ModelType is not ("llama" or "mistral"))
        {
            throw config.Problem("model_type", "llama, which llama2.c files hold", config.ModelType);
        }

        int width = config.Required("hidden_size");
        int heads = config.Required("num_attention_heads");
        if (config.Integer("head_dim") is { } headWidth && (long)headWidth * heads != width)
        {
            throw config.Problem("head_dim", $"{width / heads}, which llama2.c computes with", $"{headWidth}");
        }

        if (config.Real("rope_theta") is { } rotary && rotary != 10000)
        {
            throw config.Problem("rope_theta", "10000, which llama2.c computes with", $"{rotary}");
        }

        if (config.Real("rms_norm_eps") is { } epsilon && Math.Abs(epsilon - 1e-5) > 1e-9)
        {
            throw config.Problem("rms_norm_eps", "1e-05, which llama2.c computes with", $"{epsilon}");
        }

        return new Llama2cHeader(
            width,
            config.Required("intermediate_size"),
            config.Required("num_hidden_layers"),
            heads,
            config.Integer("num_key_value_heads") ?? heads,
            config.Required("vocab_size"),
            config.Required("max_position_embeddings"),
            source.Weights.Find("lm_head.weight") is null);
    }
}
