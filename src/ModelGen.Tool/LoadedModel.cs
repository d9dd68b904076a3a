using System.Diagnostics;
using System.Globalization;

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

    public static LoadedModel Of(string path, string? tokenizerPath, int? context, SessionOptions options, Func<ModelCode, ModelCode>? change = null, string? adapter = null)
    {
        ModelSource source = ModelSource.Open(path);
        try
        {
            TextTokenizer? tokenizer = Tokenizers.Find(source, tokenizerPath) is { } vocabulary ? TextTokenizer.Create(vocabulary) : null;
            ModelCode code = source.DeclareAsStored(context);
            code = change?.Invoke(code) ?? code;
            if (adapter is not null)
            {
                code = Adapted(code, adapter);
            }

            ModelAssembly assembly = ModelAssembly.Of(code);
            IModelHost host = ModelHost.Of(assembly.Type);
            long start = Stopwatch.GetTimestamp();
            KernelPreparation.Begin(assembly.Type.Assembly);
            host.Load(source.Weights.Path);
            if (adapter is not null)
            {
                host.LoadAdapters(AdapterFile.Resolve(adapter));
            }

            CausalSession session = host.CreateSession(options);
            return new LoadedModel(source, tokenizer, assembly, host, session, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The formats that the weights' matrices have in memory, that of most first: <c>Q4_K+Q6_K</c>.</summary>
    public string WeightFormats => StoredFormats.Describe(Assembly.Code);

    // Names become code: those of none but the usual characters do.
    private static ModelCode Adapted(ModelCode code, string adapter)
    {
        using AdapterFile file = AdapterFile.Open(adapter);
        if (file.Rank == 0)
        {
            throw new ToolException($"{adapter}: expected adapters of one rank, found several; 'modelgen convert --merge' merges them into the weights.");
        }

        if (file.Modules.FirstOrDefault(static module => !StoredFormats.IsPlain(module)) is { } strange)
        {
            throw new ToolException($"{adapter}: expected names of letters, digits and . _ -, found '{strange}'.");
        }

        string alpha = file.Alpha(file.Rank).ToString("R", CultureInfo.InvariantCulture);
        return code with { Beside = FormattableString.Invariant($"[Lora(Rank = {file.Rank}, Alpha = {alpha}, On = new[] {{ {string.Join(", ", file.Modules.Order(StringComparer.Ordinal).Select(static module => $"\"{module}\""))} }})]") };
    }

    public void Dispose()
    {
        Session.Dispose();
        Source.Dispose();
    }
}
