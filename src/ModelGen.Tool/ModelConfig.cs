using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>
/// What a checkpoint's <c>config.json</c> says of its model, in Hugging Face's terms; other formats are translated into these. Nothing of it is trusted: a value that is of
/// another kind than expected is an error that names it.
/// </summary>
/// <param name="values">The entries.</param>
/// <param name="origin">Where they come from, for messages.</param>
internal sealed class ModelConfig(JsonObject values, string origin)
{
    // A configuration has a few kilobytes; one with a vocabulary in it some megabytes.
    private const long LargestFile = 64 << 20;

    /// <summary>Where the entries come from, for messages.</summary>
    public string Origin => origin;

    /// <summary>The entries.</summary>
    public JsonObject Values => values;

    /// <summary>The kind of model: <c>gpt2</c>, <c>llama</c>.</summary>
    public string ModelType => Text("model_type") ?? throw new ToolException($"{origin}: model_type: expected the kind of model, found nothing.");

    /// <summary>Reads a JSON file.</summary>
    public static ModelConfig Read(string path)
    {
        var file = new FileInfo(path);
        if (!file.Exists || file.Length > LargestFile)
        {
            throw new ToolException($"{path}: expected a file of at most {LargestFile >> 20} MB, found {(file.Exists ? $"{file.Length >> 20}" : "none")}.");
        }

        return Parse(File.ReadAllText(path), path);
    }

    /// <summary>Reads JSON text.</summary>
    public static ModelConfig Parse(string json, string origin)
    {
        try
        {
            json = WithNumbers(json);
            JsonText.RequireUnicode(json, origin);
            var values = JsonNode.Parse(json, documentOptions: new JsonDocumentOptions { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip, AllowDuplicateProperties = false }) as JsonObject;
            return values is not null ? new ModelConfig(values, origin) : throw new ToolException($"{origin}: expected a JSON object.");
        }
        catch (JsonException exception)
        {
            throw new ToolException($"{origin}: expected JSON, found an error in line {exception.LineNumber + 1}.", exception);
        }
    }

    /// <summary>Python writes numbers that JSON has no word for, as in Mamba-2's <c>"time_step_limit": [0.0, Infinity]</c>: they become numbers beyond all others, and what is none becomes nothing.</summary>
    private static string WithNumbers(string json)
    {
        if (!json.Contains("Infinity", StringComparison.Ordinal) && !json.Contains("NaN", StringComparison.Ordinal))
        {
            return json;
        }

        var text = new System.Text.StringBuilder(json.Length);
        bool isText = false;
        for (int i = 0; i < json.Length; i++)
        {
            if (isText && json[i] == '\\' && i + 1 < json.Length)
            {
                text.Append(json, i++, 2);
                continue;
            }

            isText ^= json[i] == '"';
            (string word, string number) = isText ? ("", "") : json.AsSpan(i).StartsWith("Infinity", StringComparison.Ordinal) ? ("Infinity", "1e999") : json.AsSpan(i).StartsWith("NaN", StringComparison.Ordinal) ? ("NaN", "null") : ("", "");
            text.Append(word.Length > 0 ? number : json[i].ToString());
            i += Math.Max(0, word.Length - 1);
        }

        return text.ToString();
    }

    /// <summary>The configuration of the language model where there are encoders of pictures or sound beside it (<c>text_config</c>), with what it does not say itself from around it; itself where there are none.</summary>
    public ModelConfig OfText()
    {
        if (Part("text_config") is not { } text || text.Text("model_type") is null)
        {
            return this;
        }

        var merged = (JsonObject)text.Values.DeepClone();
        foreach ((string name, JsonNode? value) in values)
        {
            if (value is not (null or JsonObject) && !merged.ContainsKey(name))
            {
                merged[name] = value.DeepClone();
            }
        }

        return new ModelConfig(merged, $"{origin}, text_config");
    }

    /// <summary>A list of numbers, as many as are asked for; null if there is nothing.</summary>
    public double[]? Reals(string name, int count) => Find(name) is not { } node ? null
        : node is JsonArray list && list.Count == count ? [.. list.Select(number => number is null ? throw Problem(name, "numbers", "none") : Number(number, name, "numbers"))] : throw Problem(name, $"a list of {count} numbers", node.GetValueKind().ToString());

    public string? Text(string name) => Find(name) is { } node ? Value<string>(node, name, "a text") : null;

    public bool? Flag(string name) => Find(name) is { } node ? Value<bool>(node, name, "true or false") : null;

    public double? Real(string name) => Find(name) is { } node ? Number(node, name, "a number") : null;

    public int? Integer(string name)
    {
        if (Find(name) is not { } node)
        {
            return null;
        }

        double value = Number(node, name, "an integer");
        return value == Math.Floor(value) && Math.Abs(value) < int.MaxValue ? (int)value : throw Problem(name, "an integer", value.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>An integer or a list of them; none if there is nothing.</summary>
    public IReadOnlyList<int> Integers(string name)
        => Find(name) is not JsonArray list ? Integer(name) is { } one ? [one] : []
            : list.Count > 64 ? throw Problem(name, "at most 64 integers", $"{list.Count}")
            : [.. list.Select(node => node is not null && Number(node, name, "integers") is double value && value == Math.Floor(value) && Math.Abs(value) < int.MaxValue ? (int)value : throw Problem(name, "integers", $"{node}"))];

    /// <summary>A size, which there must be.</summary>
    public int Required(string name) => Integer(name) is not { } value ? throw Problem(name, "an integer", "nothing")
        : value >= 0 ? value : throw Problem(name, "0 or more", value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A part that is an object itself; null if there is none.</summary>
    public ModelConfig? Part(string name) => Find(name) is JsonObject part ? new ModelConfig(part, $"{origin}, {name}") : null;

    public ToolException Problem(string name, string expected, string found) => new($"{origin}: {name}: expected {expected}, found {found}.");

    private JsonNode? Find(string name) => values.TryGetPropertyValue(name, out JsonNode? node) ? node : null;

    // By its text where it is none of these, since a value that was put there by code is a number of one type only. A GGUF file may have what is no number, which JSON has no text for.
    private double Number(JsonNode node, string name, string expected)
    {
        double value = double.NaN;
        bool isOne = node.GetValueKind() == JsonValueKind.Number && ((node is JsonValue held && held.TryGetValue(out value)) || double.TryParse(node.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out value));
        return isOne && !double.IsNaN(value) ? value : throw Problem(name, expected, isOne ? "NaN" : node.GetValueKind().ToString());
    }

    private T Value<T>(JsonNode node, string name, string expected)
        => node is JsonValue value && value.TryGetValue(out T? found) ? found : throw Problem(name, expected, node.GetValueKind().ToString());
}
