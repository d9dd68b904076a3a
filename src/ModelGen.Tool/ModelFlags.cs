using System.CommandLine;

namespace ModelGen.Tool;

/// <summary>The options of a command line that say what model is run, and how.</summary>
internal sealed class ModelFlags
{
    // What sessions take.
    private const int MostThreads = 1024;

    private readonly Argument<string> _file = new("FILE") { Description = "A GGUF, safetensors or llama2.c file, or a folder with model.safetensors and config.json." };
    private readonly Option<string?> _tokenizer = new("--tokenizer") { Description = "The tokenizer, where the model's file has none: tokenizer.json, tokenizer.model, vocab.txt, vocab.json with merges.txt, tiktoken's ranks, tok512.bin, or a GGUF file.", HelpName = "FILE" };
    private readonly Option<int> _threads = new("--threads") { Description = "The most threads; 0 for one per processor.", HelpName = "N", DefaultValueFactory = static _ => 0 };
    private readonly Option<int?> _context = new("--context") { Description = $"The longest sequence, prompt included. [default: the model's, at most {DeclaredContext.Default}]", HelpName = "N" };

    private readonly Option<string?> _adapter = new("--adapter") { Description = "Low-rank adapters of the model: a file of PEFT's, of llama.cpp's (GGUF) or of SaveAdapters, or PEFT's folder. The weights stay as they are.", HelpName = "FILE" };

    /// <param name="command">Takes the options.</param>
    /// <param name="hasAdapter">Whether adapters can be put onto the model.</param>
    public void AddTo(Command command, bool hasAdapter = true)
    {
        command.Arguments.Add(_file);
        foreach (Option option in (Option[])[_tokenizer, _threads, _context, .. hasAdapter ? [_adapter] : Array.Empty<Option>()])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>Opens, compiles and loads the model.</summary>
    /// <param name="result">The command line.</param>
    /// <param name="change">What is declared otherwise than the file has it; null for nothing.</param>
    public LoadedModel Load(ParseResult result, Func<ModelCode, ModelCode>? change = null)
    {
        return LoadedModel.Of(result.GetValue(_file)!, result.GetValue(_tokenizer), result.GetValue(_context), Session(result), change, result.GetValue(_adapter));
    }

    /// <summary>Opens, compiles and loads an encoder.</summary>
    /// <param name="result">The command line.</param>
    /// <param name="change">How embeddings are made otherwise than the model's files say.</param>
    public EncoderModel LoadEncoder(ParseResult result, Func<EmbeddingRecipe, EmbeddingRecipe> change)
        => EncoderModel.Of(result.GetValue(_file)!, result.GetValue(_tokenizer), result.GetValue(_context), Session(result), change);

    private SessionOptions Session(ParseResult result) => result.GetValue(_threads) is >= 0 and <= MostThreads and int threads ? new SessionOptions { Threads = threads }
        : throw new UsageException($"--threads: expected 0 to {MostThreads}, found {result.GetValue(_threads)}.");
}
