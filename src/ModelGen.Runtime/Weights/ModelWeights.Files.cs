namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    /// <summary>
    /// Loads weights from a safetensors file, by parameter name; F16, BF16 and F64 elements are converted. The file must be of the
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
        unexpected.RemoveAll(tensor => FileMetadata.IsOfTraining(file, tensor));
        check.Parameters(map, unexpected, options.IgnoreUnexpected, [.. options.MayBeMissing, .. MissingAdapters(table, map)]);
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
        => table.Declaration.FirstOrDefault(static option => option.Name == "HeadWidth") is { } option && long.TryParse(option.Value, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out long width) ? width : 0;

    /// <summary>Saves the weights as a safetensors file of F32 tensors, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="InvalidOperationException">A trainer steps meanwhile, on another thread; an existing file is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void Save(string path)
    {
        long version = Version();
        var writer = new SafetensorsWriter { BeforeReplacing = () => ThrowIfChanged(version) };
        FileMetadata.Add(writer, Table);
        ParameterFiles.Add(writer, Table, prefix: "", Pointer);
        writer.Save(path);
        GC.KeepAlive(this);
    }
}
