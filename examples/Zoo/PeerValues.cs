using System.Text.Json;

namespace Zoo;

/// <summary>What PyTorch reached with the same initial weights, batches, schedule and decoding: examples/Zoo/pytorch.json, which tests/fixtures/train_zoo.py writes.</summary>
internal static class PeerValues
{
    private static readonly Lazy<IReadOnlyDictionary<string, double>> s_values = new(Read);

    /// <summary>The value of a training that was exported under this name; null if it was not repeated.</summary>
    public static double? Of(string? name) => name is not null && s_values.Value.TryGetValue(name, out double value) ? value : null;

    private static Dictionary<string, double> Read()
    {
        string? path = Repository.Root is { } root ? Path.Combine(root, "examples", "Zoo", "pytorch.json") : null;
        if (!File.Exists(path))
            return [];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        return document.RootElement.EnumerateObject().ToDictionary(peer => peer.Name, peer => peer.Value.GetProperty("value").GetDouble());
    }
}
