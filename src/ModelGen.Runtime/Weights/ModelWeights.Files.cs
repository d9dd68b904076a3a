namespace ModelGen.Runtime;

public sealed unsafe partial class ModelWeights
{
    /// <summary>Loads weights from a safetensors file, by parameter name.</summary>
    /// <param name="table">The parameters.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or is of another model.</exception>
    public static ModelWeights Load(ParameterTable table, string path) => throw new NotImplementedException();

    /// <summary>Saves the weights as a safetensors file, written beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    public void Save(string path) => throw new NotImplementedException();
}
