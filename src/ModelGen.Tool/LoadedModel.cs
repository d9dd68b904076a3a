using System.Diagnostics;

namespace ModelGen.Tool;

/// <summary>A file's model, compiled and loaded, with a session and its tokenizer.</summary>
internal sealed class LoadedModel : IDisposable
{
    private LoadedModel(ModelSource source, TextTokenizer? tokenizer, ModelAssembly assembly, IModelHost host, CausalSession session, double loadMilliseconds)
    {
        Source = source;
        Tokenizer = tokenizer;
        Assembly = assembly;
        Host = host;
        Session = session;
        LoadMilliseconds = loadMilliseconds;
    }

    public ModelSource Source { get; }

    /// <summary>The tokenizer; null where there is none.</summary>
    public TextTokenizer? Tokenizer { get; }

    public ModelAssembly Assembly { get; }

    public IModelHost Host { get; }

    public CausalSession Session { get; }

    /// <summary>How long the weights and the session took.</summary>
    public double LoadMilliseconds { get; }

    /// <summary>The tokens that an answer ends with: the tokenizer's and the configuration's.</summary>
    public IReadOnlyList<int> EndTokens => [.. (Tokenizer?.EndTokens ?? []).Concat(Source.Config?.Integers("eos_token_id") ?? []).Distinct()];

    public static LoadedModel Of(string path, string? tokenizerPath, int? context, SessionOptions options, Func<ModelCode, ModelCode>? change = null)
    {
        ModelSource source = ModelSource.Open(path);
        try
        {
            TextTokenizer? tokenizer = Tokenizers.Find(source, tokenizerPath) is { } vocabulary ? TextTokenizer.Create(vocabulary) : null;
            ModelCode code = source.DeclareAsStored(context);
            ModelAssembly assembly = ModelAssembly.Of(change?.Invoke(code) ?? code);
            IModelHost host = ModelHost.Of(assembly.Type);
            long start = Stopwatch.GetTimestamp();
            host.Load(source.Weights.Path);
            CausalSession session = host.CreateSession(options);
            return new LoadedModel(source, tokenizer, assembly, host, session, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Session.Dispose();
        Source.Dispose();
    }
}
