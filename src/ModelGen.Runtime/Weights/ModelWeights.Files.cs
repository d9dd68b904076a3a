namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    /// <summary>
    /// Loads weights from a safetensors file, by parameter name; F16, BF16 and F64 elements are converted. Tensors that the model
    /// does not have are passed over, unless they show that the file is of a model with more layers.
    /// </summary>
    /// <param name="table">The parameters.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static ModelWeights Load(ParameterTable table, string path)
    {
        ArgumentNullException.ThrowIfNull(table);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        ParameterFiles.Check(file, table, prefix: "");
        var weights = new ModelWeights(table);
        ParameterFiles.Read(file, table, prefix: "", weights.Pointer);
        GC.KeepAlive(weights);
        return weights;
    }

    /// <summary>Saves the weights as a safetensors file of F32 tensors, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    /// <exception cref="ObjectDisposedException">The weights were disposed.</exception>
    public void Save(string path)
    {
        var writer = new SafetensorsWriter();

        // Some readers insist on being told which framework's conventions the tensors follow.
        writer.Metadata["format"] = "pt";
        writer.Metadata["modelgen.model"] = Table.ModelName;
        ParameterFiles.Add(writer, Table, prefix: "", Pointer);
        writer.Save(path);
        GC.KeepAlive(this);
    }
}
