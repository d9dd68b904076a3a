using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>Writes a model as a safetensors file, or as several with an index.</summary>
internal static class SafetensorsExport
{
    public const string IndexExtension = ".safetensors.index.json";

    // Shards are numbered in five digits.
    private const int MostShards = 4096;

    /// <summary>A type by the name that --weights gives it; null where it gives none.</summary>
    public static SafetensorsType? Type(string? name) => name?.ToUpperInvariant() switch
    {
        null => null,
        "F32" => SafetensorsType.F32,
        "F16" => SafetensorsType.F16,
        "BF16" => SafetensorsType.BF16,
        "F8_E4M3" => SafetensorsType.F8E4M3,
        "F8_E5M2" => SafetensorsType.F8E5M2,
        _ => throw new UsageException($"--weights: expected F32, F16, BF16, F8_E4M3 or F8_E5M2 for a safetensors file, found {name}."),
    };

    public static void Save(ModelSource source, string output, SafetensorsType? type)
    {
        SafetensorsWriter writer = Writer(source);

        // Closing what is joined would close the source's file, which is the source's to close.
        WeightFile weights = source.WithCheckpointTensors();
        foreach (WeightTensor tensor in weights.Tensors)
        {
            Add(writer, weights, tensor, type);
        }

        writer.Save(output);
    }

    /// <summary>Writes files of at most so many bytes of tensors each (a tensor alone may be larger), and the index that says which has which: <c>model.safetensors.index.json</c> beside <c>model-00001-of-00002.safetensors</c>.</summary>
    public static void SaveShards(ModelSource source, string output, SafetensorsType? type, long largest)
    {
        WeightFile weights = source.WithCheckpointTensors();
        var shards = new List<List<WeightTensor>>();
        (long size, long total) = (0, 0);
        foreach (WeightTensor tensor in weights.Tensors)
        {
            long bytes = checked(tensor.Length * Size(Stored(tensor, type)));
            if (shards.Count == 0 || (size > 0 && size + bytes > largest))
            {
                shards.Add([]);
                size = 0;
            }

            shards[^1].Add(tensor);
            size += bytes;
            total += bytes;
        }

        if (shards.Count > MostShards)
        {
            throw new UsageException($"--shard-size: expected at most {MostShards} files, found {shards.Count}.");
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(output))!;
        string stem = Path.GetFileName(output)[..^IndexExtension.Length];
        var map = new JsonObject();
        for (int i = 0; i < shards.Count; i++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"{stem}-{i + 1:D5}-of-{shards.Count:D5}.safetensors");
            SafetensorsWriter writer = Writer(source);
            foreach (WeightTensor tensor in shards[i])
            {
                Add(writer, weights, tensor, type);
                map[tensor.Name] = name;
            }

            writer.Save(Path.Combine(folder, name));
        }

        // Last: an index says that all are there.
        var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = total }, ["weight_map"] = map };
        AtomicFile.Write(output, stream => JsonSerializer.Serialize(stream, index, new JsonSerializerOptions { WriteIndented = true, Encoder = JsonText.Options.Encoder }));
    }

    /// <summary>The bytes of the files that an index names.</summary>
    public static long ShardBytes(string index)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(index))!;
        return JsonNode.Parse(File.ReadAllText(index))!["weight_map"]!.AsObject().Select(static entry => entry.Value!.GetValue<string>()).Distinct(StringComparer.Ordinal).Sum(name => new FileInfo(Path.Combine(folder, name)).Length);
    }

    private static SafetensorsWriter Writer(ModelSource source)
    {
        var writer = new SafetensorsWriter();
        foreach ((string key, string value) in source.Weights.Metadata)
        {
            if (source.Weights.Format is not (WeightFileFormat.Llama2c or WeightFileFormat.Llmc))
            {
                writer.Metadata[key] = value;
            }
        }

        writer.Metadata["format"] = "pt";
        if (source.Config is { } config)
        {
            writer.Metadata[ModelSource.ConfigKey] = config.Values.ToJsonString();
        }

        return writer;
    }

    private static void Add(SafetensorsWriter writer, WeightFile weights, WeightTensor tensor, SafetensorsType? type)
    {
        int[] shape = [.. tensor.Shape.Select(extent => extent <= int.MaxValue ? (int)extent : throw new ToolException($"The tensor {tensor.Name} has an extent of {extent}, which is not written."))];
        writer.Add(tensor.Name, shape, Stored(tensor, type), (start, destination) => weights.ReadFloats(tensor, start, destination));
    }

    // Such a file has no blocks: what they stand for is written. Norms and biases stay single precision.
    private static SafetensorsType Stored(WeightTensor tensor, SafetensorsType? type)
        => type is { } asked ? tensor.Shape.Length > 1 ? asked : SafetensorsType.F32
            : tensor.TypeName switch { "F16" => SafetensorsType.F16, "BF16" => SafetensorsType.BF16, "F8_E4M3" => SafetensorsType.F8E4M3, "F8_E5M2" => SafetensorsType.F8E5M2, _ => SafetensorsType.F32 };

    private static int Size(SafetensorsType type) => type switch { SafetensorsType.F32 => 4, SafetensorsType.F16 or SafetensorsType.BF16 => 2, _ => 1 };
}
