namespace ModelGen.Tool;

/// <summary>Finds a model's tokenizer.</summary>
internal static class Tokenizers
{
    /// <summary>The vocabulary of a file that was named, in the model's file, or beside it: tokenizer.json, tokenizer.model, vocab.json with merges.txt, of BERT vocab.txt; null if there is none.</summary>
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

    /// <summary>The file that has the model's tokenizer: its own, or one beside it; null if there is none.</summary>
    public static string? PathOf(ModelSource source)
    {
        if (source.Gguf is { } gguf)
        {
            return TokenizerFiles.Read(gguf) is not null ? gguf.Path : null;
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(source.Weights.Path))!;
        string[] names = ["tokenizer.json", "tokenizer.model", .. File.Exists(Path.Combine(folder, "merges.txt")) ? ["vocab.json"] : Array.Empty<string>(), .. source.Config?.Text("model_type") == "bert" ? ["vocab.txt"] : Array.Empty<string>()];
        return source.Weights.Format != WeightFileFormat.Safetensors ? null : names.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }
}
