using System.Collections.ObjectModel;
using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

public abstract unsafe partial class Trainer
{
    private const string KeyPrefix = FileMetadata.Prefix;
    private const string CallerPrefix = "caller.";
    private const string CheckpointVersion = "1";

    // Every integer up to it is exact in double precision, which schedules compute in; no run gets there, but a file may say so.
    private const long MaximumStepCount = 1L << 53;

    // Elements checked at a time.
    private const int CheckStrip = 1 << 14;

    // What a trainer trains with, one entry a setting.
    private const string SettingPrefix = KeyPrefix + "setting.";

    // Settings that only the file knows and that are reported: it may have any number.
    private const int UnknownSettingLimit = 20;

    // What is repeated of a file's name or value at most.
    private const int SettingLength = 200;

    // The steps of one entry point, where there are several.
    private const string EntryStepKey = "step.";

    private const string StateTensor = FileMetadata.TrainerTensors + "state";
    private const string EvaluationStateTensor = FileMetadata.TrainerTensors + "evaluation_state";

    /// <summary>
    /// In what this trainer's optimizer and accumulation, and how long the model's sequences may be where that shapes no parameter, differ from those of the run whose checkpoint was loaded last; empty where they do
    /// not, where none was loaded, and where the file records no settings, as those of version 0.1. The settings given in code hold: a
    /// checkpoint brings back the optimizer's slots, the step and the seed, and none of the settings. It may be read at any time, by any thread.
    /// </summary>
    public IReadOnlyList<ChangedSetting> ChangedSettings => Volatile.Read(ref _changedSettings);

    /// <summary>
    /// Saves a checkpoint: weights, optimizer slots, step, seed and carried state, as one safetensors file, written beside an existing
    /// one and renamed. Training resumed from it with equal settings, which it records, continues bit for bit. The model itself can be loaded from it too.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="metadata">What else the caller wants back from <see cref="LoadCheckpoint(string)"/>, such as where in the data training is; null for nothing.</param>
    /// <exception cref="ArgumentException">A key or a value of the metadata is no valid Unicode.</exception>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="ArithmeticException">A weight or a number of the optimizer is not finite, so that nobody could train on; an existing file is untouched.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer, or another trainer of the model changes its weights meanwhile; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public void SaveCheckpoint(string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using RunGuard.Section call = Enter(nameof(SaveCheckpoint));
        long version = _weights.Version();
        FetchFromDevice();
        ThrowIfDiverged();
        ParameterTable table = _weights.Table;
        var writer = new SafetensorsWriter { BeforeReplacing = () => _weights.ThrowIfChanged(version) };
        FileMetadata.Add(writer, table);
        writer.Metadata[FileMetadata.Checkpoint] = CheckpointVersion;
        writer.Metadata[KeyPrefix + "fingerprint"] = table.Fingerprint;
        writer.Metadata[KeyPrefix + "optimizer"] = OptimizerDescription();
        writer.Metadata[KeyPrefix + "step"] = StepCount.ToString(CultureInfo.InvariantCulture);
        foreach (Update update in StepsOfSeveral())
        {
            writer.Metadata[KeyPrefix + EntryStepKey + NameOf(update)] = _entrySteps[update.Entry].ToString(CultureInfo.InvariantCulture);
        }

        foreach ((string name, string value) in TrainingSettings())
        {
            writer.Metadata[SettingPrefix + name] = value;
        }

        writer.Metadata[KeyPrefix + "seed"] = _seed.ToString(CultureInfo.InvariantCulture);
        foreach ((string key, string value) in metadata ?? new Dictionary<string, string>())
        {
            writer.Metadata[CallerPrefix + key] = value;
        }

        foreach (ParameterInfo parameter in table.Parameters)
        {
            if (MasterOf(parameter) is { } master)
            {
                ParameterFiles.Add(writer, master, prefix: "", _masters!.Floats);
            }
            else
            {
                ParameterFiles.Add(writer, parameter, prefix: "", _weights.Pointer);
            }
        }

        for (int slot = 0; slot < _slotCount; slot++)
        {
            ParameterFiles.Add(writer, Trained, SlotPrefix(slot), _slots.Floats + (slot * Trained.TotalLength));
        }

        AddState(writer, StateTensor, _state);
        AddState(writer, EvaluationStateTensor, _evaluationState);
        writer.Save(path);
    }

    /// <summary>
    /// Loads a checkpoint into the model and this trainer. If the file does not fit, nothing has changed. It must be of the model's
    /// declaration, option by option; one that version 0.1 wrote records none, and is checked by the parameters' names and shapes alone.
    /// It must be of an optimizer with the same name and slots, whose settings may be others: <see cref="ChangedSettings"/> lists them.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <returns>What the caller gave to <see cref="SaveCheckpoint"/>.</returns>
    /// <exception cref="ModelFileException">The file is damaged, or is no checkpoint, or one of another model or optimizer.</exception>
    /// <exception cref="IOException">The file cannot be read. If that was in the middle of it, the trainer does nothing more until one is loaded.</exception>
    /// <exception cref="CudaException">The trainer's device fails, and the trainer does nothing more until a checkpoint is loaded.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public IReadOnlyDictionary<string, string> LoadCheckpoint(string path) => LoadCheckpoint(path, check: null);

    /// <summary>As above, with a further check of what the caller stored, by the number of steps and the metadata, before anything changes.</summary>
    internal IReadOnlyDictionary<string, string> LoadCheckpoint(string path, Action<long, IReadOnlyDictionary<string, string>>? check)
    {
        using RunGuard.Section call = Enter(nameof(LoadCheckpoint));
        ParameterTable table = _weights.Table;
        using SafetensorsFile file = SafetensorsFile.Open(path);

        // Everything is checked before anything is changed.
        Require(file, "checkpoint", CheckpointVersion, "a training checkpoint, version " + CheckpointVersion);
        TensorMap weights = CheckModel(file);
        Require(file, "optimizer", OptimizerDescription(), $"'{OptimizerDescription()}'");
        long step = (long)Number(file, "step", MaximumStepCount);
        ulong seed = Number(file, "seed", ulong.MaxValue);
        long[] entrySteps = EntrySteps(file, step);
        TensorMap[] slots = CheckTensors(file, weights);
        CheckState(file, StateTensor);
        CheckState(file, EvaluationStateTensor);
        CheckNumbers(file, weights, slots);
        Dictionary<string, string> metadata = MetadataBehind(file, CallerPrefix);
        check?.Invoke(step, metadata);
        IReadOnlyList<ChangedSetting> changed = FindChangedSettings(file);

        _isPartlyLoaded = true;
        bool whole = false;
        _weights.BeginChange();
        try
        {
            ParameterFiles.Read(file, table, weights, _weights.Overwritten);
            whole = true;
        }
        finally
        {
            if (whole)
            {
                _weights.EndOverwriting();
            }
            else
            {
                _weights.EndChange();
            }
        }

        for (int slot = 0; slot < _slotCount; slot++)
        {
            ParameterFiles.Read(file, Trained, slots[slot], _slots.Floats + (slot * Trained.TotalLength));
        }

        if (_masters is { } masters)
        {
            ParameterFiles.Read(file, Trained, TensorMap.Exact(file, Trained, prefix: ""), masters.Floats);
        }

        ReadState(file, StateTensor, _state);
        ReadState(file, EvaluationStateTensor, _evaluationState);
        PutToDevice();
        Volatile.Write(ref _stepCount, step);
        Volatile.Write(ref _changedSettings, changed);
        _seed = seed;
        entrySteps.CopyTo(_entrySteps, 0);
        foreach (Update update in Steps())
        {
            update.LearningRate = float.NaN;
        }

        if (_masters is not null)
        {
            _weights.BeginChange();
            foreach (Update update in Steps())
            {
                update.RoundAgain();
            }

            _weights.EndChange();
        }

        _isPartlyLoaded = false;
        return metadata;
    }

    /// <summary>Brings what a device has changed to where checkpoints are written from; weights come when they are asked for.</summary>
    private void FetchFromDevice()
    {
        if (_cuda is { } cuda)
        {
            cuda.FetchSlots(_slots.Floats);
            cuda.FetchState(TrainingState, _state.Floats);
            cuda.FetchState(EvaluationState, _evaluationState.Floats);
        }
    }

    /// <summary>Brings what a checkpoint held to the device; weights follow with the next run.</summary>
    private void PutToDevice()
    {
        if (_cuda is { } cuda)
        {
            cuda.PutSlots(_slots.Floats);
            cuda.PutState(TrainingState, _state.Floats);
            cuda.PutState(EvaluationState, _evaluationState.Floats);
        }
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
            throw new ModelFileException(file.Path, $"metadata '{KeyPrefix}{key}'", expected, Quoted.Text(found));
        }
    }

    private static ulong Number(SafetensorsFile file, string key, ulong maximum)
    {
        string expected = string.Create(CultureInfo.InvariantCulture, $"an integer from 0 to {maximum}");
        string found = Metadata(file, key, expected);
        return ulong.TryParse(found, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value) && value <= maximum
            ? value
            : throw new ModelFileException(file.Path, $"metadata '{KeyPrefix}{key}'", expected, Quoted.Text(found));
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
                $"tensor {Quoted.Text(name)}",
                FormattableString.Invariant($"{StateLength(_state)} elements of F32 (the carried state depends on the batch size)"),
                FormattableString.Invariant($"{tensor.Length} of {SafetensorsFormat.NameOf(tensor.Type)}"));
        }
    }

    /// <summary>The updates of a program with several steps, each of which counts its own for the schedule and the optimizer.</summary>
    private Update[] StepsOfSeveral() => Steps() is { Length: > 1 } steps ? steps : [];

    private Update[] Steps() => _updates.Filter(static update => update is not null)!;

    private string NameOf(Update update) => _layout.Entries[update.Entry].Name;

    /// <summary>The steps of each entry point; a file of an earlier version tells them of all together.</summary>
    private long[] EntrySteps(SafetensorsFile file, long step)
    {
        long[] steps = new long[_entrySteps.Length];
        foreach (Update update in Steps())
        {
            steps[update.Entry] = step;
        }

        foreach (Update update in StepsOfSeveral())
        {
            string key = EntryStepKey + NameOf(update);
            if (file.Metadata.ContainsKey(KeyPrefix + key))
            {
                steps[update.Entry] = (long)Number(file, key, (ulong)step);
            }
        }

        return steps;
    }

    private IEnumerable<KeyValuePair<string, string>> TrainingSettings()
        => [.. Optimizer.AllSettings(), new(nameof(AccumulationSteps), AccumulationSteps.ToString(CultureInfo.InvariantCulture)), .. _masters is null ? Array.Empty<KeyValuePair<string, string>>() : [new(nameof(TrainerOptions.Rounding), _rounding.ToString())]];

    private ReadOnlyCollection<ChangedSetting> FindChangedSettings(SafetensorsFile file)
    {
        Dictionary<string, string> before = MetadataBehind(file, SettingPrefix);
        var changed = new List<ChangedSetting>();
        if (before.Count > 0)
        {
            foreach ((string name, string now) in TrainingSettings())
            {
                bool known = before.Remove(name, out string? value);
                if (value != now)
                {
                    changed.Add(new ChangedSetting(name, known ? Quoted.Printable(value!, SettingLength) : null, now));
                }
            }

            string[] unknown = [.. before.Keys];
            Array.Sort(unknown, StringComparer.Ordinal);
            foreach (string name in unknown.Leading(UnknownSettingLimit))
            {
                changed.Add(new ChangedSetting(Quoted.Printable(name, SettingLength), Quoted.Printable(before[name], SettingLength), null));
            }
        }

        changed.AddRange(FileMetadata.ChangedLimits(file, _weights.Table.Declaration));
        return changed.AsReadOnly();
    }

    /// <summary>The metadata whose keys begin so, without their beginning.</summary>
    private static Dictionary<string, string> MetadataBehind(SafetensorsFile file, string prefix)
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in file.Metadata)
        {
            if (key.StartsWith(prefix, StringComparison.Ordinal))
            {
                found.Add(key[prefix.Length..], value);
            }
        }

        return found;
    }

    private string OptimizerDescription()
        => _slotCount == 0 ? Optimizer.Name : $"{Optimizer.Name} ({string.Join(", ", Optimizer.Slots)})";

    private string SlotPrefix(int slot) => FileMetadata.OptimizerTensors + Optimizer.Slots[slot] + ".";

    /// <summary>Checks that a checkpoint is of this model: its declaration, and every parameter's name, type and shape.</summary>
    private TensorMap CheckModel(SafetensorsFile file)
    {
        ParameterTable table = _weights.Table;
        string found = Metadata(file, "model", "the model's name");
        var check = new FitCheck(file, table, training: true);
        if (Metadata(file, "fingerprint", "the fingerprint of the model's parameters") != table.Fingerprint)
        {
            check.Add("model", $"a checkpoint of {table.ModelName}", $"one of {Quoted.Text(found)}");
        }

        check.Declaration();
        TensorMap weights = TensorMap.Exact(file, table, prefix: "");
        List<WeightTensor> unexpected = weights.Unexpected();
        unexpected.RemoveAll(tensor => FileMetadata.IsOfTraining(file, tensor));
        check.Parameters(weights, unexpected, ignoreUnexpected: false);
        check.ThrowIfAny();
        return weights;
    }

    /// <summary>Checks that the optimizer's slots are there for every parameter, and that nothing is beside them.</summary>
    private TensorMap[] CheckTensors(SafetensorsFile file, TensorMap weights)
    {
        var check = new FitCheck(file, _weights.Table, training: true);
        var known = new HashSet<WeightTensor>(weights.Tensors, ReferenceEqualityComparer.Instance);
        var slots = new TensorMap[_slotCount];
        for (int slot = 0; slot < _slotCount; slot++)
        {
            slots[slot] = TensorMap.Exact(file, Trained, SlotPrefix(slot));
            known.UnionWith(slots[slot].Tensors);
        }

        List<WeightTensor> unexpected =
            [.. file.Tensors.Filter(tensor => !known.Contains(tensor) && tensor.Name is not (StateTensor or EvaluationStateTensor))];
        foreach (TensorMap slot in slots)
        {
            check.Parameters(slot, unexpected, ignoreUnexpected: true);
        }

        check.Unexpected(unexpected);
        check.ThrowIfAny();
        return slots;
    }

    /// <summary>Checks that every number of a checkpoint is one to train on from.</summary>
    private void CheckNumbers(SafetensorsFile file, TensorMap weights, TensorMap[] slots)
    {
        float[] strip = new float[CheckStrip];
        foreach (WeightTensor tensor in weights.Tensors)
        {
            Check(tensor, nonNegative: false);
        }

        for (int slot = 0; slot < _slotCount; slot++)
        {
            foreach (WeightTensor tensor in slots[slot].Tensors)
            {
                Check(tensor, Optimizer.IsNonNegative(slot));
            }
        }

        Check(file.Get(StateTensor), nonNegative: false);
        Check(file.Get(EvaluationStateTensor), nonNegative: false);

        void Check(WeightTensor tensor, bool nonNegative)
        {
            for (long start = 0; start < tensor.Length; start += CheckStrip)
            {
                Span<float> values = strip.AsSpan(0, (int)Math.Min(CheckStrip, tensor.Length - start));
                file.ReadFloats(tensor, start, values);
                if (FloatRange.FirstOutside(values, nonNegative) is var index && index >= 0)
                {
                    throw new ModelFileException(
                        file.Path,
                        $"tensor {Quoted.Text(tensor.Name)}",
                        nonNegative ? "finite numbers of 0 or more" : "finite numbers",
                        string.Create(CultureInfo.InvariantCulture, $"{values[index]} at {start + index}"));
                }
            }
        }
    }

    /// <summary>Throws if a checkpoint could not be loaded again, as training from it could not go on.</summary>
    private void ThrowIfDiverged()
    {
        foreach (ParameterInfo parameter in _weights.Table.AsSpan())
        {
            if (MasterOf(parameter) is { } master)
            {
                Check(_masters!.Floats + master.Offset, master.Length, nonNegative: false, parameter.Name);
            }
            else if (parameter.Format == WeightFormat.F32)
            {
                // What else is packed is frozen, and no file with a number that is none was loaded into it.
                Check(_weights.Pointer + parameter.Offset, parameter.Length, nonNegative: false, parameter.Name);
            }
        }

        foreach (ParameterInfo parameter in Trained.AsSpan())
        {
            for (int slot = 0; slot < _slotCount; slot++)
            {
                Check(_slots.Floats + (slot * Trained.TotalLength) + parameter.Offset, parameter.Length, Optimizer.IsNonNegative(slot), SlotPrefix(slot) + parameter.Name);
            }
        }

        Check(_state.Floats, StateLength(_state), nonNegative: false, StateTensor);
        Check(_evaluationState.Floats, StateLength(_evaluationState), nonNegative: false, EvaluationStateTensor);

        static void Check(float* values, long length, bool nonNegative, string name)
        {
            for (long start = 0; start < length; start += int.MaxValue)
            {
                if (FloatRange.FirstOutside(new ReadOnlySpan<float>(values + start, (int)Math.Min(int.MaxValue, length - start)), nonNegative) is var index && index >= 0)
                {
                    throw new ArithmeticException(string.Create(
                        CultureInfo.InvariantCulture, $"{name} is {values[start + index]} at {start + index}: training has diverged, and no checkpoint of it is written."));
                }
            }
        }
    }
}
