using System.Diagnostics;
using System.Reflection;

namespace ModelGen.Tool;

/// <summary>A file's encoder, compiled and loaded, with a session and its tokenizer.</summary>
internal sealed class EncoderModel : IDisposable
{
    private readonly ModelSource _source;
    private readonly ModelSession _session;
    private readonly SequenceEmbedder _embed;
    private readonly int _mostTokens;

    private EncoderModel(ModelSource source, TextTokenizer tokenizer, EmbeddingRecipe recipe, ModelAssembly assembly, SessionOptions options)
    {
        (_source, Tokenizer, Recipe, Assembly) = (source, tokenizer, recipe, assembly);
        long start = Stopwatch.GetTimestamp();
        object model = Invoke(assembly.Type.GetMethod("Load", [typeof(string)]), null, source.Weights.Path);
        _session = (ModelSession)Invoke(assembly.Type.GetMethod("CreateSession", [typeof(SessionOptions)]), model, options);
        _embed = Embedder(_session);
        LoadMilliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        Width = Constant("DModel");
        int context = Constant("Context");
        _mostTokens = Math.Max(2, Math.Min(context, recipe.MostTokens ?? context));

        // What the declaration says, which is known to be integers: it was compiled.
        int Constant(string name) => int.Parse(Code.Arguments.First(argument => argument.Name == name).Value, System.Globalization.CultureInfo.InvariantCulture);
    }

    private delegate void SequenceEmbedder(ReadOnlySpan<int> tokens, Span<float> embedding);

    private delegate void WithSegments(int batch, int steps, ReadOnlySpan<int> tokens, ReadOnlySpan<int> segments, ReadOnlySpan<int> lengths, Span<float> embeddings);

    private delegate void WithoutSegments(int batch, int steps, ReadOnlySpan<int> tokens, ReadOnlySpan<int> lengths, Span<float> embeddings);

    public TextTokenizer Tokenizer { get; }

    public EmbeddingRecipe Recipe { get; }

    public ModelAssembly Assembly { get; }

    /// <summary>The numbers of an embedding.</summary>
    public int Width { get; }

    public double LoadMilliseconds { get; }

    private ModelCode Code => Assembly.Code;

    public static EncoderModel Of(string path, string? tokenizerPath, int? context, SessionOptions options, Func<EmbeddingRecipe, EmbeddingRecipe>? change = null)
    {
        ModelSource source = ModelSource.Open(path);
        try
        {
            TokenizerVocabulary vocabulary = Tokenizers.Find(source, tokenizerPath) ?? throw new UsageException($"{source.Weights.Path} has no tokenizer: expected --tokenizer FILE.");
            ModelCode code = source.Declare(context);
            if (code.Attribute is not ("Bert" or "ModernBert"))
            {
                throw new ToolException($"{source.Weights.Path}: expected an encoder, found {code.Shown}.");
            }

            EmbeddingRecipe recipe = EmbeddingRecipe.Of(source);
            recipe = change?.Invoke(recipe) ?? recipe;
            code = EncoderDeclaration.WithHead(code, source.Weights).With("Embeddings", $"Pooling.{recipe.Pooling}").With("Normalize", recipe.Normalizes ? "true" : "false");
            return new EncoderModel(source, TextTokenizer.Create(vocabulary), recipe, ModelAssembly.Of(code), options);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The tokens of a text, with those at the beginning and at the end: of a long text the first ones.</summary>
    /// <param name="text">The text.</param>
    /// <param name="isCut">Whether the text was longer than is read.</param>
    public int[] Encode(string text, out bool isCut)
    {
        int[] tokens = Tokenizer.EncodePrompt(text);
        isCut = tokens.Length > _mostTokens;
        return !isCut ? tokens : Tokenizer.Vocabulary.AddsEnd ? [.. tokens[..(_mostTokens - 1)], tokens[^1]] : tokens[.._mostTokens];
    }

    /// <summary>Computes the embedding of tokens.</summary>
    public void Embed(ReadOnlySpan<int> tokens, Span<float> embedding) => _embed(tokens, embedding);

    public void Dispose()
    {
        _session.Dispose();
        _source.Dispose();
    }

    // Beside the host of language models, the one place where the model's class is asked for what only some have.
    private static SequenceEmbedder Embedder(ModelSession session)
    {
        MethodInfo? method = session.GetType().GetMethod("Embed");
        switch (method?.GetParameters().Length)
        {
            case 6:
                WithSegments first = method.CreateDelegate<WithSegments>(session);
                return (tokens, embedding) => first(1, tokens.Length, tokens, default, default, embedding);
            case 5:
                WithoutSegments second = method.CreateDelegate<WithoutSegments>(session);
                return (tokens, embedding) => second(1, tokens.Length, tokens, default, embedding);
            default:
                throw new UnreachableException("A declaration with Embeddings has an entry point Embed.");
        }
    }

    private static object Invoke(MethodInfo? method, object? target, object argument)
        => (method ?? throw new UnreachableException("Every model has Load and CreateSession.")).Invoke(target, BindingFlags.DoNotWrapExceptions, null, [argument], null)!;
}
