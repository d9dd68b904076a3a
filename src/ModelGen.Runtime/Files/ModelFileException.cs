namespace ModelGen;

/// <summary>A model file or checkpoint is damaged, or does not fit the model.</summary>
public sealed class ModelFileException : IOException
{
    /// <summary>Describes what is wrong with a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="field">What in the file is wrong: a tensor's name, or a part of the format.</param>
    /// <param name="expected">What should be there.</param>
    /// <param name="found">What is there.</param>
    /// <param name="innerException">What caused the failure, if anything did.</param>
    public ModelFileException(string path, string field, string expected, string found, Exception? innerException = null)
        : base($"{path}: {field}: expected {expected}, found {found}.", innerException)
    {
        Path = path;
        Field = field;
        Expected = expected;
        Found = found;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>What in the file is wrong: a tensor's name, or a part of the format.</summary>
    public string Field { get; }

    /// <summary>What should be there.</summary>
    public string Expected { get; }

    /// <summary>What is there.</summary>
    public string Found { get; }
}
