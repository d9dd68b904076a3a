using System.Globalization;

namespace ModelGen.Tool;

/// <summary>The declaration of a model by its configuration.</summary>
internal static class ConfigDeclaration
{
    /// <summary>The declaration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="weights">The tensors, which say what a configuration may leave out.</param>
    public static ModelCode Of(ModelConfig config, WeightFile weights) => config.ModelType switch
    {
        "gpt2" => Gpt2(config, weights),
        "llama" or "mistral" or "mixtral" or "minicpm" or "phi3" or "smollm3" or "olmo2" or "olmoe" or "granite" or "granitemoe" or "qwen2" or "qwen2_moe" or "qwen2moe" or "qwen3" or "gemma" or "gemma2" or "gemma3" or "gemma3_text" or "lfm2" or "qwen3_moe" or "qwen3moe" or "qwen3_5_text" or "qwen35" => DecoderDeclaration.Of(config, weights),
        "mamba2" or "granitemoehybrid" or "granitehybrid" => StateSpaceDeclaration.Of(config, weights),
        "gpt_neox" or "gptneox" => NeoXDeclaration.Of(config, weights),
        "bert" or "roberta" or "xlm-roberta" or "camembert" => EncoderDeclaration.Bert(config, weights),
        "distilbert" => EncoderDeclaration.DistilBert(config, weights),
        "nomic_bert" => EncoderDeclaration.NomicBert(config, weights),
        "new" => EncoderDeclaration.Gte(config, weights),
        "modernbert" => EncoderDeclaration.ModernBert(config, weights),
        "gemma4_text" or "gemma4" => Gemma4Declaration.Of(config, weights),
        "gemma3n_text" or "gemma3n" => Gemma3nDeclaration.Of(config, weights),
        "gpt_oss" or "gpt-oss" => GptOssDeclaration.Of(config, weights),
        string other when LayerNormDeclaration.Knows(other) => LayerNormDeclaration.Of(config, weights),
        string other => throw new ToolException($"{config.Origin}: model_type: expected bert, roberta, xlm-roberta, distilbert, nomic_bert, new (gte's), modernbert, gpt2, gpt_neox, gptj, llama, mistral, mixtral, minicpm, phi, phi3, smollm3, olmo2, olmoe, granite, granitemoe, qwen2, qwen2_moe, qwen3, qwen3_moe, qwen3_5_text, stablelm, cohere, cohere2, nemotron, mpt, bloom, gemma, gemma2, gemma3_text, gemma3n_text, gemma4_text, gpt_oss, lfm2, mamba2 or granitemoehybrid, found {other}."),
    };

    private static ModelCode Gpt2(ModelConfig config, WeightFile weights)
    {
        // What would be computed otherwise, in ways that [Gpt] does not have.
        foreach (string option in (string[])["scale_attn_by_inverse_layer_idx", "add_cross_attention"])
        {
            if (config.Flag(option) == true)
            {
                throw config.Problem(option, "false", "true");
            }
        }

        if (config.Flag("scale_attn_weights") == false)
        {
            throw config.Problem("scale_attn_weights", "true", "false");
        }

        int width = config.Required("n_embd");
        var arguments = new List<(string, string)>
        {
            ("Layers", Text(config.Required("n_layer"))),
            ("DModel", Text(width)),
            ("Heads", Text(config.Required("n_head"))),
            ("Vocab", Text(config.Required("vocab_size"))),
            ("Context", Text(config.Integer("n_positions") ?? config.Required("n_ctx"))),
        };
        if (config.Integer("n_inner") is { } inner && inner != 4L * width)
        {
            arguments.Add(("FeedForward", Text(inner)));
        }

        string activation = Activation(config, "activation_function", "gelu_new");
        if (activation != "Activation.GeluTanh")
        {
            arguments.Add(("Activation", activation));
        }

        if (config.Real("layer_norm_epsilon") is { } epsilon && epsilon != 1e-5)
        {
            arguments.Add(("LayerNormEpsilon", Text(epsilon)));
        }

        if (!IsTied(config, weights, "wte.weight", byDefault: true))
        {
            arguments.Add(("TieEmbeddings", "false"));
        }

        return new ModelCode("Gpt", arguments);
    }

    /// <summary>Whether the head is the token embedding: by the configuration, or by there being no other.</summary>
    public static bool IsTied(ModelConfig config, WeightFile weights, string table, bool byDefault)
        => !weights.Tensors.Any(static tensor => tensor.Name.EndsWith("lm_head.weight", StringComparison.Ordinal))
            ? config.Flag("tie_word_embeddings") != false || weights.Tensors.Any(tensor => tensor.Name.EndsWith(table, StringComparison.Ordinal))
            : config.Flag("tie_word_embeddings") ?? byDefault;

    public static string Activation(ModelConfig config, string name, string byDefault) => "Activation." + ((config.Text(name) ?? byDefault) switch
    {
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => nameof(ModelGen.Activation.GeluTanh),
        "gelu" => nameof(ModelGen.Activation.Gelu),
        "relu" => nameof(ModelGen.Activation.Relu),
        "relu2" => nameof(ModelGen.Activation.ReluSquared),
        "silu" or "swish" => nameof(ModelGen.Activation.Silu),
        "tanh" => nameof(ModelGen.Activation.Tanh),
        string other => throw config.Problem(name, "gelu_new, gelu, relu, relu2, silu or tanh", other),
    });

    public static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    public static string Text(double value) => double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture) : "0";
}
