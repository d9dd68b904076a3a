namespace ModelGen.Tool;

/// <summary>Finds a model's tokenizer.</summary>
internal static class Tokenizers
{
    /// <summary>The vocabulary of a file that was named, in the model's file, or in a tokenizer.json beside it; null if there is none.</summary>
    public static TokenizerVocabulary? Find(ModelSource source, string? path)
    {
        if (path is not null)
        {
            return TokenizerFiles.Read(path);
        }

        if (source.Weights.Format == WeightFileFormat.Gguf)
        {
            using GgufFile file = GgufFile.Open(source.Weights.Path);
            return TokenizerFiles.Read(file);
        }

        string beside = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(source.Weights.Path))!, "tokenizer.json");
        return source.Weights.Format == WeightFileFormat.Safetensors && File.Exists(beside) ? TokenizerFiles.Read(beside) : null;
    }
}
