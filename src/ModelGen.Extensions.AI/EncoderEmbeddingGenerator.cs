using Microsoft.Extensions.AI;

namespace ModelGen.Extensions.AI;

/// <summary>Computes the embedding of one sequence of tokens: a call of the <c>Embed</c> of a compiled encoder's session.</summary>
/// <param name="tokens">The tokens, those at the beginning and the end included.</param>
/// <param name="embedding">Receives the embedding.</param>
public delegate void SequenceEmbedder(ReadOnlySpan<int> tokens, Span<float> embedding);

/// <summary>
/// A compiled encoder as an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> of texts. Calls may come from several threads: they take turns at the session.
/// </summary>
/// <example><code>
/// using MiniLm.Session session = model.CreateSession();
/// var generator = new EncoderEmbeddingGenerator(Tokens, (tokens, embedding) => session.Embed(1, tokens.Length, tokens, default, default, embedding), width: 384);
/// </code></example>
public sealed class EncoderEmbeddingGenerator : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly Func<string, int[]> _encode;
    private readonly SequenceEmbedder _embed;
    private readonly int _width;
    private readonly SessionTurns _turns;
    private readonly EmbeddingGeneratorMetadata _metadata;

    /// <summary>Makes a generator.</summary>
    /// <param name="encode">Gives the tokens of a text, cut to what the model reads.</param>
    /// <param name="embed">Computes the embedding of tokens.</param>
    /// <param name="width">The numbers of an embedding.</param>
    /// <param name="modelName">What the model is called; null for nothing.</param>
    /// <param name="owned">What is disposed with the generator, such as the session; null for nothing.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="width"/> is not positive.</exception>
    public EncoderEmbeddingGenerator(Func<string, int[]> encode, SequenceEmbedder embed, int width, string? modelName = null, IDisposable? owned = null)
    {
        ArgumentNullException.ThrowIfNull(encode);
        ArgumentNullException.ThrowIfNull(embed);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        _encode = encode;
        _embed = embed;
        _width = width;
        _turns = new SessionTurns(this, owned);
        _metadata = new EmbeddingGeneratorMetadata("modelgen", defaultModelId: modelName, defaultModelDimensions: width);
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">The options ask for embeddings of another width.</exception>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (options?.Dimensions is { } dimensions && dimensions != _width)
        {
            throw new NotSupportedException(FormattableString.Invariant($"Embeddings have {_width} numbers, but {dimensions} are asked for."));
        }

        await _turns.EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await Task.Run(() => Generate(values, options, cancellationToken), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _turns.Leave();
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null : serviceType == typeof(EmbeddingGeneratorMetadata) ? _metadata : serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _turns.Dispose();

    private GeneratedEmbeddings<Embedding<float>> Generate(IEnumerable<string> values, EmbeddingGenerationOptions? options, CancellationToken cancellation)
    {
        var embeddings = new GeneratedEmbeddings<Embedding<float>>();
        long count = 0;
        foreach (string value in values)
        {
            cancellation.ThrowIfCancellationRequested();
            int[] tokens = _encode(value);
            float[] embedding = new float[_width];
            _embed(tokens, embedding);
            count += tokens.Length;
            embeddings.Add(new Embedding<float>(embedding) { CreatedAt = DateTimeOffset.UtcNow, ModelId = options?.ModelId ?? _metadata.DefaultModelId });
        }

        embeddings.Usage = new UsageDetails { InputTokenCount = count, TotalTokenCount = count };
        return embeddings;
    }
}
