using System.Globalization;
using System.Text.Json;

namespace ModelGen.Runtime;

/// <summary>How PEFT names what it writes of low-rank adapters.</summary>
internal static class AdapterFiles
{
    /// <summary>What stands before every name: the wrapper's and the adapted model's field.</summary>
    public const string Prefix = "base_model.model.";

    /// <summary>The name of PEFT's files.</summary>
    public const string ModelName = "adapter_model.safetensors";

    private const string ConfigName = "adapter_config.json";

    // No configuration of adapters comes near it.
    private const long ConfigLimit = 1 << 20;

    /// <summary>Whether a file has a configuration beside it.</summary>
    public static bool HasConfig(string path) => Path.GetFileName(path) == ModelName;

    /// <summary>Writes the configuration beside a file.</summary>
    /// <param name="path">The file of the adapters.</param>
    /// <param name="options">The adapters.</param>
    /// <param name="adapted">The weights that they adapt.</param>
    public static void SaveConfig(string path, AdapterOptions options, ParameterInfo[] adapted)
        => AtomicFile.Write(ConfigOf(path), stream =>
        {
            using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
            json.WriteStartObject();
            json.WriteString("peft_type"u8, "LORA");
            json.WriteNumber("r"u8, options.Rank);
            json.WriteNumber("lora_alpha"u8, options.Alpha);
            json.WriteBoolean("fan_in_fan_out"u8, Array.Exists(adapted, static weight => weight.TransposedInFile));
            json.WriteString("bias"u8, "none");
            json.WriteBoolean("inference_mode"u8, true);
            json.WriteStartArray("target_modules"u8);
            foreach (ParameterInfo weight in adapted)
            {
                json.WriteStringValue(weight.Name.EndsWith(".weight", StringComparison.Ordinal) ? weight.Name[..^".weight".Length] : weight.Name);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        });

    /// <summary>Compares the configuration beside a file, if there is one, with a model's adapters.</summary>
    /// <exception cref="ModelFileException">It is no JSON object, or too long.</exception>
    public static void CheckConfig(string path, AdapterOptions options, FitCheck check)
    {
        string config = ConfigOf(path);
        if (!HasConfig(path) || !File.Exists(config))
        {
            return;
        }

        using FileStream stream = OpenConfig(config);
        try
        {
            using var json = JsonDocument.Parse(stream, new JsonDocumentOptions { MaxDepth = 16 });
            JsonElement root = json.RootElement.ValueKind == JsonValueKind.Object ? json.RootElement : throw new ModelFileException(config, "content", "a JSON object", Quoted.Text(json.RootElement.ValueKind.ToString()));
            double rank = Number(root, "r", options.Rank);
            double alpha = Number(root, "lora_alpha", options.Alpha);
            bool isStabilized = root.TryGetProperty("use_rslora", out JsonElement flag) && flag.ValueKind == JsonValueKind.True;
            double scale = alpha / (isStabilized ? Math.Sqrt(rank) : rank);
            if (!(Math.Abs(scale - options.Scale) <= 1e-6 * options.Scale))
            {
                check.Add($"{ConfigName}, lora_alpha", string.Create(CultureInfo.InvariantCulture, $"a scale of {options.Scale}"), string.Create(CultureInfo.InvariantCulture, $"{scale}"));
            }

            if (root.TryGetProperty("use_dora", out JsonElement dora) && dora.ValueKind == JsonValueKind.True)
            {
                check.Add($"{ConfigName}, use_dora", "false", "true");
            }
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(config, "content", "JSON", Quoted.Text(exception.Message));
        }
    }

    /// <summary>What a file of adapters says of their scale: alpha, or null for the rank; and whether it is divided by the rank's root (rsLoRA).</summary>
    /// <exception cref="ModelFileException">The configuration beside it is no JSON object, or too long; or asks for what is not known.</exception>
    public static (double? Alpha, bool IsStabilized) Scaling(WeightFile file)
    {
        if (file.Metadata.TryGetValue(FileMetadata.KeyOfOption(AdapterOptions.Prefix + "Alpha"), out string? recorded))
        {
            return double.TryParse(recorded, NumberStyles.Float, CultureInfo.InvariantCulture, out double alpha) && double.IsFinite(alpha) && alpha > 0 ? (alpha, false)
                : throw new ModelFileException(file.Path, "metadata, Lora.Alpha", "a positive number", Quoted.Text(recorded));
        }

        string config = ConfigOf(file.Path);
        if (!HasConfig(file.Path) || !File.Exists(config))
        {
            return (null, false);
        }

        using FileStream stream = OpenConfig(config);
        try
        {
            using var json = JsonDocument.Parse(stream, new JsonDocumentOptions { MaxDepth = 16 });
            JsonElement root = json.RootElement.ValueKind == JsonValueKind.Object ? json.RootElement : throw new ModelFileException(config, "content", "a JSON object", Quoted.Text(json.RootElement.ValueKind.ToString()));
            if (root.TryGetProperty("use_dora", out JsonElement dora) && dora.ValueKind == JsonValueKind.True)
            {
                throw new ModelFileException(config, "use_dora", "false", "true");
            }

            double alpha = Number(root, "lora_alpha", double.NaN);
            return (double.IsFinite(alpha) ? alpha : null, root.TryGetProperty("use_rslora", out JsonElement flag) && flag.ValueKind == JsonValueKind.True);
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(config, "content", "JSON", Quoted.Text(exception.Message));
        }
    }

    private static FileStream OpenConfig(string config)
    {
        FileStream stream = InputFile.Open(config, FileShare.Read | FileShare.Delete);
        if (stream.Length <= ConfigLimit)
        {
            return stream;
        }

        long length = stream.Length;
        stream.Dispose();
        throw new ModelFileException(config, "length", FormattableString.Invariant($"at most {ConfigLimit} bytes"), FormattableString.Invariant($"{length}"));
    }

    private static double Number(JsonElement root, string name, double otherwise)
        => root.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) ? number : otherwise;

    private static string ConfigOf(string path) => Path.Combine(Path.GetDirectoryName(path) ?? "", ConfigName);
}
