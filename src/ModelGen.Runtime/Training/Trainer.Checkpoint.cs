using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

public abstract unsafe partial class Trainer
{
    private const string KeyPrefix = "modelgen.";
    private const string CallerPrefix = "caller.";
    private const string CheckpointVersion = "1";
    private const string StateTensor = "trainer.state";
    private const string EvaluationStateTensor = "trainer.evaluation_state";

    /// <summary>
    /// Saves a checkpoint: weights, optimizer slots, step, seed and carried state, as one safetensors file, written beside an existing
    /// one and renamed. Training resumed from it continues bit for bit. The model itself can be loaded from it too.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="metadata">What else the caller wants back from <see cref="LoadCheckpoint"/>, such as where in the data training is; null for nothing.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public void SaveCheckpoint(string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using RunGuard.Section call = Enter(nameof(SaveCheckpoint));
        ParameterTable table = _weights.Table;
        var writer = new SafetensorsWriter();
        writer.Metadata["format"] = "pt";
        writer.Metadata[KeyPrefix + "checkpoint"] = CheckpointVersion;
        writer.Metadata[KeyPrefix + "model"] = table.ModelName;
        writer.Metadata[KeyPrefix + "fingerprint"] = table.Fingerprint;
        writer.Metadata[KeyPrefix + "optimizer"] = OptimizerDescription();
        writer.Metadata[KeyPrefix + "step"] = StepCount.ToString(CultureInfo.InvariantCulture);
        writer.Metadata[KeyPrefix + "seed"] = _seed.ToString(CultureInfo.InvariantCulture);
        foreach ((string key, string value) in metadata ?? new Dictionary<string, string>())
        {
            writer.Metadata[CallerPrefix + key] = value;
        }

        ParameterFiles.Add(writer, table, prefix: "", _weights.Pointer);
        for (int slot = 0; slot < _slotCount; slot++)
        {
            ParameterFiles.Add(writer, table, SlotPrefix(slot), _slots.Floats + (slot * _weights.Length));
        }

        AddState(writer, StateTensor, _state);
        AddState(writer, EvaluationStateTensor, _evaluationState);
        writer.Save(path);
    }

    /// <summary>Loads a checkpoint into the model and this trainer. If the file does not fit, nothing has changed.</summary>
    /// <param name="path">The file.</param>
    /// <returns>What the caller gave to <see cref="SaveCheckpoint"/>.</returns>
    /// <exception cref="ModelFileException">The file is damaged, or is no checkpoint, or one of another model or optimizer.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public IReadOnlyDictionary<string, string> LoadCheckpoint(string path)
    {
        using RunGuard.Section call = Enter(nameof(LoadCheckpoint));
        ParameterTable table = _weights.Table;
        using SafetensorsFile file = SafetensorsFile.Open(path);

        // Everything is checked before anything is changed.
        Require(file, "checkpoint", CheckpointVersion, "a training checkpoint, version " + CheckpointVersion);
        string found = Metadata(file, "model", "the model's name");
        if (Metadata(file, "fingerprint", "the model's fingerprint") != table.Fingerprint)
        {
            throw new ModelFileException(path, "model", $"a checkpoint of {table.ModelName}", $"one of {SafetensorsFormat.Printable(found)}{Difference(file)}");
        }

        Require(file, "optimizer", OptimizerDescription(), $"'{OptimizerDescription()}'");
        long step = (long)Number(file, "step", long.MaxValue);
        ulong seed = Number(file, "seed", ulong.MaxValue);
        ParameterFiles.Check(file, table, prefix: "");
        for (int slot = 0; slot < _slotCount; slot++)
        {
            ParameterFiles.Check(file, table, SlotPrefix(slot));
        }

        CheckState(file, StateTensor);
        CheckState(file, EvaluationStateTensor);

        ParameterFiles.Read(file, table, prefix: "", _weights.Pointer);
        for (int slot = 0; slot < _slotCount; slot++)
        {
            ParameterFiles.Read(file, table, SlotPrefix(slot), _slots.Floats + (slot * _weights.Length));
        }

        ReadState(file, StateTensor, _state);
        ReadState(file, EvaluationStateTensor, _evaluationState);
        Volatile.Write(ref _stepCount, step);
        _seed = seed;
        _update.LearningRate = float.NaN;
        return file.Metadata
            .Where(static pair => pair.Key.StartsWith(CallerPrefix, StringComparison.Ordinal))
            .ToDictionary(static pair => pair.Key[CallerPrefix.Length..], static pair => pair.Value, StringComparer.Ordinal);
    }

    private static string Metadata(SafetensorsFile file, string key, string expected)
        => file.Metadata.TryGetValue(KeyPrefix + key, out string? value)
            ? value
            : throw new ModelFileException(file.Path, $"metadata '{KeyPrefix}{key}'", expected, "no such entry");

    private static void Require(SafetensorsFile file, string key, string value, string expected)
    {
        string found = Metadata(file, key, expected);
        if (found != value)
        {
            throw new ModelFileException(file.Path, $"metadata '{KeyPrefix}{key}'", expected, $"'{SafetensorsFormat.Printable(found)}'");
        }
    }

    private static ulong Number(SafetensorsFile file, string key, ulong maximum)
    {
        string expected = string.Create(CultureInfo.InvariantCulture, $"an integer from 0 to {maximum}");
        string found = Metadata(file, key, expected);
        return ulong.TryParse(found, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value) && value <= maximum
            ? value
            : throw new ModelFileException(file.Path, $"metadata '{KeyPrefix}{key}'", expected, $"'{SafetensorsFormat.Printable(found)}'");
    }

    private static int StateLength(NativeBlock block) => checked((int)(block.ByteLength / sizeof(float)));

    private static void AddState(SafetensorsWriter writer, string name, NativeBlock block)
    {
        int length = StateLength(block);
        float* source = block.Floats;
        writer.Add(name, [length], SafetensorsType.F32, length, stream => stream.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<float>(source, length))));
    }

    private static void ReadState(SafetensorsFile file, string name, NativeBlock block)
        => file.ReadFloats(file.Get(name), 0, new Span<float>(block.Floats, StateLength(block)));

    private void CheckState(SafetensorsFile file, string name)
    {
        SafetensorsTensor tensor = file.Get(name);
        if (tensor.Type != SafetensorsType.F32 || tensor.Length != StateLength(_state))
        {
            throw new ModelFileException(
                file.Path,
                $"tensor '{name}'",
                FormattableString.Invariant($"{StateLength(_state)} elements of F32 (the carried state depends on the batch size)"),
                FormattableString.Invariant($"{tensor.Length} of {SafetensorsFormat.NameOf(tensor.Type)}"));
        }
    }

    private string OptimizerDescription()
        => _slotCount == 0 ? Optimizer.Name : $"{Optimizer.Name} ({string.Join(", ", Optimizer.Slots)})";

    private string SlotPrefix(int slot) => $"optimizer.{Optimizer.Slots[slot]}.";

    /// <summary>The first parameter in which a checkpoint's model differs from this one.</summary>
    private string Difference(SafetensorsFile file)
    {
        try
        {
            ParameterFiles.Check(file, _weights.Table, prefix: "");
            return "";
        }
        catch (ModelFileException exception)
        {
            return $" ({exception.Field}: expected {exception.Expected}, found {exception.Found})";
        }
    }
}
