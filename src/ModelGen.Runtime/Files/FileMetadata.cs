using System.Globalization;

namespace ModelGen.Runtime;

/// <summary>What weight files and checkpoints say of their model in the header's metadata.</summary>
internal static class FileMetadata
{
    /// <summary>What stands before every key that this library writes.</summary>
    public const string Prefix = "modelgen.";

    public const string Checkpoint = Prefix + "checkpoint";
    public const string Model = Prefix + "model";

    /// <summary>The first option of every declaration.</summary>
    private const string Family = "Family";

    /// <summary>What stands before the names of a checkpoint's tensors that are no parameters of the model.</summary>
    public const string OptimizerTensors = "optimizer.";
    public const string TrainerTensors = "trainer.";

    // Options that only a file knows and that are listed one by one: it may have any number.
    private const int UnknownLimit = 20;

    // What is repeated of a limit at most.
    private const int LimitLength = 200;

    // Options that any use computes with, and those of training only.
    private const string DeclarationPrefix = Prefix + "declaration.";
    private const string TrainingPrefix = Prefix + "training.";

    /// <summary>Records the model's name and its declaration.</summary>
    /// <param name="writer">The file.</param>
    /// <param name="table">The model's parameters.</param>
    /// <param name="withAdapters">Whether the file is of the model with its adapters, and not of what they adapt.</param>
    public static void Add(SafetensorsWriter writer, ParameterTable table, bool withAdapters = true)
    {
        // Some readers insist on being told which framework's conventions the tensors follow.
        writer.Metadata["format"] = "pt";
        foreach ((string key, string value) in Entries(table, withAdapters))
        {
            writer.Metadata[key] = value;
        }
    }

    /// <inheritdoc cref="Add(SafetensorsWriter, ParameterTable, bool)"/>
    public static void Add(GgufWriter writer, ParameterTable table, bool withAdapters = true)
    {
        foreach ((string key, string value) in Entries(table, withAdapters))
        {
            writer.Set(key, value);
        }
    }

    /// <summary>A model's name and its declaration.</summary>
    /// <param name="table">The model's parameters.</param>
    public static Dictionary<string, string> Of(ParameterTable table)
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in Entries(table, withAdapters: true))
        {
            metadata.Add(key, value);
        }

        return metadata;
    }

    /// <summary>Whether a key is of a model's declaration.</summary>
    public static bool IsOfDeclaration(string key) => key.StartsWith(DeclarationPrefix, StringComparison.Ordinal) || key.StartsWith(TrainingPrefix, StringComparison.Ordinal);

    private static List<(string Key, string Value)> Entries(ParameterTable table, bool withAdapters)
    {
        List<(string Key, string Value)> entries = [(Model, table.ModelName)];
        foreach (DeclaredOption option in table.Declaration)
        {
            if (withAdapters || !option.Name.StartsWith(AdapterOptions.Prefix, StringComparison.Ordinal))
            {
                entries.Add((KeyOf(option), option.Value));
            }
        }

        return entries;
    }

    /// <summary>
    /// Where the recorded declaration differs from another one, but for limits. A file without one, or without an option (an earlier version wrote it),
    /// does not differ in it, unless the option says what its absence stands for.
    /// </summary>
    /// <param name="metadata">The file's metadata.</param>
    /// <param name="declaration">The other declaration.</param>
    /// <param name="training">Whether options that training alone computes with count.</param>
    public static IEnumerable<(string Name, string Expected, string Found)> Differences(IReadOnlyDictionary<string, string> metadata, IReadOnlyList<DeclaredOption> declaration, bool training)
    {
        if (declaration.Count == 0)
        {
            yield break;
        }

        bool isRecorded = metadata.ContainsKey(DeclarationPrefix + Family);
        foreach (DeclaredOption option in declaration)
        {
            string? found = metadata.TryGetValue(KeyOf(option), out string? recorded) ? recorded : isRecorded ? option.Absent : null;
            if ((training || !option.TrainingOnly) && !option.IsLimit && found is not null && !IsSame(found, option.Value))
            {
                yield return (option.Name, option.Value, Quoted.Text(found));
                if (option.Name == Family)
                {
                    // Another family has other options throughout.
                    yield break;
                }
            }
        }

        // An option that this declaration does not know: of another family, or of a later version.
        int unknown = 0;
        foreach ((string key, string value) in metadata)
        {
            if (key.StartsWith(DeclarationPrefix, StringComparison.Ordinal) && !declaration.Has(option => !option.TrainingOnly && key.AsSpan(DeclarationPrefix.Length).SequenceEqual(option.Name)))
            {
                if (unknown++ == UnknownLimit)
                {
                    yield return ("further options", "none", "more");
                    yield break;
                }

                yield return (key[DeclarationPrefix.Length..], "no such option", Quoted.Text(value));
            }
        }
    }

    /// <summary>Limits of the declaration that a file records otherwise.</summary>
    public static IEnumerable<ChangedSetting> ChangedLimits(WeightFile file, IReadOnlyList<DeclaredOption> declaration)
        => declaration.Filter(static option => option.IsLimit)
            .Filter(option => file.Metadata.TryGetValue(KeyOf(option), out string? found) && found != option.Value)
            .Map(option => new ChangedSetting(option.Name, Quoted.Printable(file.Metadata[KeyOf(option)], LimitLength), option.Value));

    /// <summary>Whether a tensor is one of a checkpoint's own, beside the model's.</summary>
    public static bool IsOfTraining(WeightFile file, WeightTensor tensor)
        => file.Metadata.ContainsKey(Checkpoint)
            && (tensor.Name.StartsWith(OptimizerTensors, StringComparison.Ordinal) || tensor.Name.StartsWith(TrainerTensors, StringComparison.Ordinal));

    // Real numbers are what single precision makes of them: whoever has computed one may have rounded it earlier or later.
    private static bool IsSame(string found, string expected)
        => found == expected || (!long.TryParse(expected, NumberStyles.Integer, CultureInfo.InvariantCulture, out _)
            && float.TryParse(found, NumberStyles.Float, CultureInfo.InvariantCulture, out float a) && float.TryParse(expected, NumberStyles.Float, CultureInfo.InvariantCulture, out float b) && a.Equals(b));

    /// <summary>The key of an option that any use computes with.</summary>
    public static string KeyOfOption(string name) => DeclarationPrefix + name;

    private static string KeyOf(DeclaredOption option) => (option.TrainingOnly ? TrainingPrefix : DeclarationPrefix) + option.Name;
}
