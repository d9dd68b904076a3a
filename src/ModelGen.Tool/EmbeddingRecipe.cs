using System.Text.Json;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>How a text's embedding is made of its tokens' hidden states, as a model's files say it.</summary>
/// <param name="Pooling">What the vectors of a text become.</param>
/// <param name="Normalizes">Whether embeddings are divided by their norm.</param>
/// <param name="MostTokens">How many tokens of a text are read at the most; null where nothing says it.</param>
internal sealed record EmbeddingRecipe(Pooling Pooling, bool Normalizes, int? MostTokens)
{
    private const long LargestFile = 1 << 20;

    /// <summary>
    /// The recipe: of a GGUF file its <c>pooling_type</c>, of a checkpoint what Sentence-BERT's library writes beside it (<c>modules.json</c>, the folder of its pooling, <c>sentence_bert_config.json</c>). The mean of the
    /// tokens where nothing says it. Embeddings are divided by their norm unless a list of modules lacks it, and those of GGUF files always, as llama.cpp has it.
    /// </summary>
    public static EmbeddingRecipe Of(ModelSource source)
    {
        if (source.Gguf is { } gguf)
        {
            string key = $"{gguf.Values.GetValueOrDefault("general.architecture")?.AsText()}.pooling_type";
            return new EmbeddingRecipe(
                gguf.Values.GetValueOrDefault(key)?.AsInteger() switch
                {
                    null or 0 or 1 => Pooling.Mean,
                    2 => Pooling.FirstToken,
                    long other => throw new ToolException($"{gguf.Path}: metadata '{key}': expected 1 (mean) or 2 (first token), found {other}."),
                },
                Normalizes: true,
                MostTokens: null);
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(source.Weights.Path))!;
        string limits = Path.Combine(folder, "sentence_bert_config.json");
        int? most = File.Exists(limits) ? ModelConfig.Read(limits).Integer("max_seq_length") : null;
        return Modules(folder) is not { } modules ? new EmbeddingRecipe(Pooling.Mean, Normalizes: true, most)
            : new EmbeddingRecipe(modules.Pooling is { } path ? PoolingOf(Path.Combine(folder, path, "config.json")) : Pooling.Mean, modules.Normalizes, most);
    }

    private static (string? Pooling, bool Normalizes)? Modules(string folder)
    {
        string path = Path.Combine(folder, "modules.json");
        var file = new FileInfo(path);
        if (!file.Exists)
        {
            return null;
        }

        JsonArray? modules = null;
        try
        {
            if (file.Length <= LargestFile)
            {
                string text = File.ReadAllText(path);
                JsonText.RequireUnicode(text, path);
                modules = JsonNode.Parse(text) as JsonArray;
            }
        }
        catch (JsonException)
        {
            // Said below.
        }

        if (modules is null)
        {
            throw new ToolException($"{path}: expected a JSON array of at most {LargestFile >> 20} MB.");
        }

        (string? pooling, bool normalizes) = (null, false);
        foreach (JsonNode? node in modules)
        {
            string? Text(string name) => node is JsonObject module && module[name] is JsonValue value && value.TryGetValue(out string? text) ? text : null;
            switch (Text("type")?.Split('.')[^1])
            {
                case "Transformer":
                    break;
                case "Pooling":
                    // A folder beside the file, and none anywhere else.
                    pooling = Text("path") is { Length: > 0 } name && name == Path.GetFileName(name) && name is not (".." or ".") ? name
                        : throw new ToolException($"{path}: expected the name of a folder for the pooling, found {Text("path") ?? "nothing"}.");
                    break;
                case "Normalize":
                    normalizes = true;
                    break;
                case var other:
                    throw new ToolException($"{path}: expected the modules Transformer, Pooling and Normalize, found {other ?? "one without a type"}.");
            }
        }

        return (pooling, normalizes);
    }

    private static Pooling PoolingOf(string path)
    {
        const string Prefix = "pooling_mode_";
        ModelConfig config = ModelConfig.Read(path);
        string[] modes = [.. config.Values.Select(static entry => entry.Key).Where(name => name.StartsWith(Prefix, StringComparison.Ordinal) && config.Flag(name) == true).Select(static name => name[Prefix.Length..])];
        return modes switch
        {
            ["mean_tokens"] => Pooling.Mean,
            ["cls_token"] => Pooling.FirstToken,
            _ => throw new ToolException($"{path}: expected {Prefix}mean_tokens or {Prefix}cls_token, found {(modes.Length == 0 ? "none" : string.Join(", ", modes))}."),
        };
    }
}
