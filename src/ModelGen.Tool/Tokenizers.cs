namespace ModelGen.Tool;

/// <summary>Finds a model's tokenizer.</summary>
internal static class Tokenizers
{
    /// <summary>The vocabulary of a file that was named, in the model's file, or in a tokenizer.json (of BERT, a vocab.txt) beside it; null if there is none.</summary>
    public static TokenizerVocabulary? Find(ModelSource source, string? path)
    {
        if (path is not null)
        {
            return TokenizerFiles.Read(path);
        }

        return source.Gguf is { } gguf ? TokenizerFiles.Read(gguf)
            : PathOf(source) is { } found ? TokenizerFiles.Read(found)
            : null;
    }

    /// <summary>The file that has the model's tokenizer: its own, or a tokenizer.json beside it; null if there is none.</summary>
    public static string? PathOf(ModelSource source)
    {
        if (source.Gguf is { } gguf)
        {
            return TokenizerFiles.Read(gguf) is not null ? gguf.Path : null;
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(source.Weights.Path))!;
        string[] names = source.Config?.Text("model_type") == "bert" ? ["tokenizer.json", "vocab.txt"] : ["tokenizer.json"];
        return source.Weights.Format != WeightFileFormat.Safetensors ? null : names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }
}
