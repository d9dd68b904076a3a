namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    /// <summary>
    /// Loads weights from a file (safetensors, GGUF, PyTorch and others), by parameter name; F16, BF16 and F64 elements are converted. The file must be of the
    /// model: every parameter in its shape, nothing else but known buffers and a checkpoint's own, and no other declaration.
    /// </summary>
    /// <param name="table">The parameters.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static ModelWeights Load(ParameterTable table, string path) => Load(table, path, null);

    /// <inheritdoc cref="Load(ParameterTable, string)"/>
    /// <param name="table">The parameters.</param>
    /// <param name="path">The file.</param>
    /// <param name="options">In what the file may differ; null for the defaults.</param>
    public static ModelWeights Load(ParameterTable table, string path, LoadOptions? options)
    {
        ArgumentNullException.ThrowIfNull(table);
        options ??= new LoadOptions();
        using WeightFile file = FusedView.ByHeads(WeightFile.Open(path), HeadWidth(table));
        var check = new FitCheck(file, table, training: false);
        if (!options.IgnoreDeclaration)
        {
            check.Declaration();
        }

        TensorMap map = TensorMap.Find(file, table, options.NamePrefix);
        List<WeightTensor> unexpected = map.Unexpected();
        unexpected.RemoveAll(tensor => FileMetadata.IsOfTraining(file, tensor) || NamePattern.IsOneOf(tensor.Name, options.Ignore));
        check.Parameters(map, unexpected, options.IgnoreUnexpected, [.. options.MayBeMissing, .. MissingAdapters(table, map)], options.Ignore);
        check.ThrowIfAny();

        var weights = new ModelWeights(table);
        for (int index = 0; index < table.Parameters.Count; index++)
        {
            if (!map.Has(index))
            {
                weights.Initialize(index, unchecked((uint)options.Seed));
            }
        }

        ParameterFiles.Read(file, table, map, weights.Pointer);
        GC.KeepAlive(weights);
        return weights;
    }

    /// <summary>The channels of a head, as a declaration says them; 0 where it has none.</summary>
    private static long HeadWidth(ParameterTable table)
        => table.Declaration.FirstOf(static option => option.Name == "HeadWidth") is { } option && long.TryParse(option.Value, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out long width) ? width : 0;

    /// <summary>
    /// Saves the weights, written beside an existing file and renamed: as a GGUF file where its name ends in <c>.gguf</c>, each parameter stored as it lies in memory, else as a safetensors file, which has 16-bit
    /// floats but no blocks: quantized weights are written there as the floats that they stand for.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="NotSupportedException">The name ends in <c>.gguf</c>, and the program was built without such files (<c>ModelGenWeightFiles</c>).</exception>
    /// <exception cref="InvalidOperationException">A trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (IsGguf(path))
        {
            SaveGguf(path, Table.Parameters, withAdapters: true, null);
            return;
        }

        ThrowIfLeftOut(path);
        long version = Version();
        var writer = new SafetensorsWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        FileMetadata.Add(writer, Table);
        ParameterFiles.Add(writer, Table, prefix: "", Pointer);
        writer.Save(path);
        GC.KeepAlive(this);
    }

    /// <summary>
    /// Saves the weights as another GGUF file of the same model has them: under its names, in its order of rows and with its metadata (sizes, vocabulary, chat template), each parameter stored as it lies in memory.
    /// What the other file has beside the model's weights is copied. Programs that read that file read this one. Low-rank adapters are not part of it.
    /// </summary>
    /// <param name="path">The file, written beside an existing one and renamed.</param>
    /// <param name="original">The other file, of a known architecture.</param>
    /// <exception cref="ModelFileException">The other file is damaged, of an architecture whose names are not known, or of another model.</exception>
    /// <exception cref="IOException">The file cannot be written, in which case an existing one is untouched; or the other one cannot be read.</exception>
    /// <exception cref="InvalidOperationException">A trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void Save(string path, string original)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentException.ThrowIfNullOrEmpty(original);
        long version = Version();
        using GgufFile file = GgufFile.Open(original);
        string architecture = KnownArchitecture(file);

        // What does not fit here would be missing there, or be another model's. Closing the view would close the file once more, which does nothing.
        WeightFile renamed = FusedView.ByHeads(file.WithHuggingFaceNames(), HeadWidth(Table));
        ParameterInfo[] parameters = [.. Table.Parameters.Filter(static parameter => parameter.Adapts is null)];
        var check = new FitCheck(renamed, Table, training: false);
        TensorMap map = TensorMap.Find(renamed, Table, null);
        check.Parameters(map, map.Unexpected(), ignoreUnexpected: true, [.. MissingAdapters(Table, map)]);
        check.ThrowIfAny();
        var writer = new GgufWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        foreach ((string key, GgufValue value) in file.Values)
        {
            if (key == GgufWriter.FileTypeKey)
            {
                writer.SetFileType(file);
            }
            else if (key != GgufFormat.AlignmentKey && !key.StartsWith("split.", StringComparison.Ordinal) && !key.StartsWith("quantize.", StringComparison.Ordinal))
            {
                writer.Set(key, value);
            }
        }

        var view = new ParameterView(path, parameters, Pointer);
        writer.Add(view, architecture, (int)Math.Min(int.MaxValue, HuggingFaceView.HeadWidth(file, architecture)), TypeOf);

        // What is the table of tokens again, as the head of a model that ties them may be, is written as this model has it.
        foreach ((WeightTensor copy, int parameter) in map.Copies())
        {
            if (renamed.Original(copy) is (_, { } source) && !writer.Has(source.Name) && view.Find(Table.Parameters[parameter].Name) is { } tensor)
            {
                writer.Add(source.Name, tensor.Shape.AsSpan(), TypeOf(tensor), (start, destination) => view.ReadFloats(tensor, start, destination), [], (row, destination) => view.TryReadRows(tensor, TypeOf(tensor), row, 1, destination));
            }
        }

        // What parameters were read from is not copied: a matrix that the file has as one and its kind as several would be that of before.
        var read = new HashSet<WeightTensor>(ReferenceEqualityComparer.Instance);
        foreach (WeightTensor tensor in map.Tensors)
        {
            renamed.AddSources(tensor, read);
        }

        foreach (GgufTensor tensor in file.Tensors)
        {
            if (!writer.Has(tensor.Name) && !read.Contains(tensor))
            {
                writer.Add(file, tensor);
            }
        }

        writer.Save(path);
        GC.KeepAlive(this);
    }

    private static string KnownArchitecture(GgufFile file)
        => file.Values.GetValueOrDefault("general.architecture")?.AsText() is { } architecture && HuggingFaceNames.Knows(architecture) ? architecture
            : throw new ModelFileException(file.Path, "metadata 'general.architecture'", "one whose names are known", Quoted.Text(file.Values.GetValueOrDefault("general.architecture")?.AsText() ?? ""));

    private static bool IsGguf(string path) => FileReaders.Gguf && path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);

    // Not one of another format under such a name.
    private static void ThrowIfLeftOut(string path)
    {
        if (!FileReaders.Gguf && path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
        {
            throw new NotSupportedException($"{path}: the program was built without GGUF files (ModelGenWeightFiles).");
        }
    }

    private static GgmlType TypeOf(WeightTensor tensor) => BlockRows.TypeOf(ParameterView.FormatOf(tensor));

    private void SaveGguf(string path, IEnumerable<ParameterInfo> parameters, bool withAdapters, ParameterView.RowReader? read)
    {
        long version = Version();
        var writer = new GgufWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        writer.Set("general.architecture", "modelgen");
        FileMetadata.Add(writer, Table, withAdapters);
        var view = new ParameterView(path, parameters, Pointer, read);
        foreach (WeightTensor tensor in view.Tensors)
        {
            writer.Add(tensor.Name, tensor.Shape.AsSpan(), TypeOf(tensor), (start, destination) => view.ReadFloats(tensor, start, destination), [], (row, destination) => view.TryReadRows(tensor, TypeOf(tensor), row, 1, destination));
        }

        writer.Save(path);
        GC.KeepAlive(this);
    }
}
