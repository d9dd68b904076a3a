using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>A GGUF file's entries of its architecture, and the configuration that they are put into.</summary>
/// <param name="file">The file.</param>
/// <param name="architecture">The architecture that the file names, with which its entries begin.</param>
/// <param name="values">The configuration's values.</param>
internal sealed class GgufEntries(GgufFile file, string architecture, JsonObject values)
{
    public GgufFile File => file;

    public string Architecture => architecture;

    public JsonObject Values => values;

    /// <summary>What the file says under a key of the architecture; null where it says nothing.</summary>
    public GgufValue? Find(string key) => file.Values.GetValueOrDefault($"{architecture}.{key}");

    /// <summary>The integer under a key of the architecture; null where there is none.</summary>
    public long? Number(string key) => Find(key)?.AsInteger();

    /// <summary>Puts the integer under a key into the configuration, if there is one.</summary>
    /// <exception cref="ToolException">It is no integer.</exception>
    public void Integer(string key, string name, bool isOfArchitecture = true)
    {
        string full = isOfArchitecture ? $"{architecture}.{key}" : key;
        if (file.Values.TryGetValue(full, out GgufValue? value))
        {
            values[name] = value.AsInteger() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected an integer, found {value}.");
        }
    }

    /// <summary>Puts the number under a key into the configuration, if there is one.</summary>
    /// <exception cref="ToolException">It is no number.</exception>
    public void Real(string key, string name)
    {
        string full = $"{architecture}.{key}";
        if (file.Values.TryGetValue(full, out GgufValue? value))
        {
            // The nearest double that a person would write, and so the value that files of 32 bits stand for.
            double real = value.AsReal() ?? throw new ToolException($"{file.Path}: metadata '{full}': expected a number, found {value}.");
            values[name] = double.Parse(((float)real).ToString("R", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        }
    }

    /// <summary>Whether a tensor's name ends so.</summary>
    public bool HasTensor(string ending) => file.Tensors.Any(tensor => tensor.Name.EndsWith(ending, StringComparison.Ordinal));
}
