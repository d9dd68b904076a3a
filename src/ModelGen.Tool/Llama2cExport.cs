namespace ModelGen.Tool;

/// <summary>A configuration as a llama2.c header, which has no place for anything that differs from Llama.</summary>
internal static class Llama2cExport
{
    // What the header says. Everything else that a declaration can say differs from what llama2.c computes.
    private static readonly string[] s_held = ["Layers", "DModel", "Heads", "KeyValueHeads", "Vocab", "Context", "FeedForward", "TieEmbeddings"];

    public static Llama2cHeader Header(ModelSource source)
    {
        ModelConfig config = source.Config ?? throw new ToolException($"{source.Weights.Path}: nothing says the model's sizes: expected a config.json beside it.");
        ModelCode code = ConfigDeclaration.Of(config, source.Weights);
        if (code.Attribute != "Decoder")
        {
            throw config.Problem("model_type", "llama, which llama2.c files hold", config.ModelType);
        }

        if (code.Arguments.FirstOrDefault(static argument => !s_held.Contains(argument.Name)) is { Name: { } option } differing)
        {
            throw new ToolException($"{config.Origin}: the model is declared with {option} = {differing.Value}: expected what llama2.c computes with, whose files have no place for another.");
        }

        int heads = config.Required("num_attention_heads");
        return new Llama2cHeader(
            config.Required("hidden_size"),
            config.Required("intermediate_size"),
            config.Required("num_hidden_layers"),
            heads > 0 ? heads : throw config.Problem("num_attention_heads", "at least 1", $"{heads}"),
            config.Integer("num_key_value_heads") ?? heads,
            config.Required("vocab_size"),
            config.Required("max_position_embeddings"),
            source.Weights.Find("lm_head.weight") is null);
    }
}
