using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>The chat template of a model.</summary>
internal static class ChatTemplates
{
    private const long LargestFile = 4 << 20;

    /// <summary>The template's text: the GGUF file's, or chat_template.jinja or tokenizer_config.json beside the weights; null if there is none.</summary>
    public static string? Find(ModelSource source)
    {
        if (source.Gguf is { } gguf)
        {
            return gguf.Values.GetValueOrDefault("tokenizer.chat_template")?.AsText();
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(source.Weights.Path))!;
        if (Read(Path.Combine(folder, "chat_template.jinja")) is { } template)
        {
            return template;
        }

        string path = Path.Combine(folder, "tokenizer_config.json");
        return Read(path) is not { } json ? null : ModelConfig.Parse(json, path).Values["chat_template"] switch
        {
            null => null,
            JsonValue value when value.TryGetValue(out string? text) => text,

            // Several, by name.
            JsonArray named => named.OfType<JsonObject>().FirstOrDefault(static one => one["name"] is JsonValue name && name.TryGetValue(out string? text) && text == "default")?["template"] is JsonValue value && value.TryGetValue(out string? text) ? text : null,
            _ => throw new ToolException($"{path}: chat_template: expected a text."),
        };
    }

    private static string? Read(string path)
    {
        var file = new FileInfo(path);
        return !file.Exists ? null : file.Length <= LargestFile ? File.ReadAllText(path) : throw new ToolException($"{path}: expected a file of at most {LargestFile >> 20} MB.");
    }
}
