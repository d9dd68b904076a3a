namespace ModelGen.Tests.Decoding;

/// <summary>A session whose logits, and alignment, are random numbers that follow from the tokens before.</summary>
internal sealed class TableDecoder(int batch, int vocabulary, int seed, int context = 0, int sources = 0) : ISequenceDecoder
{
    private readonly List<int>[] _rows = [.. Enumerable.Range(0, batch).Select(_ => new List<int>())];

    public int Batch => batch;

    public int VocabularySize => vocabulary;

    public int ContextLength => context;

    public int AlignmentLength => sources;

    public IReadOnlyList<int> Positions => [.. _rows.Select(row => row.Count)];

    /// <summary>Equal logits for all tokens.</summary>
    public bool IsFlat { get; init; }

    public float[] Logits(IEnumerable<int> tokens)
    {
        var random = new Random(Hash(tokens));
        return [.. Enumerable.Range(0, vocabulary).Select(_ => IsFlat ? 1f : 4 * random.NextSingle())];
    }

    public float[] Alignment(IEnumerable<int> tokens)
    {
        var random = new Random(Hash(tokens) + 1);
        float[] weights = [.. Enumerable.Range(0, sources).Select(source => source < sources - 1 ? random.NextSingle() : 0)];
        return [.. weights.Select(weight => weight / weights.Sum())];
    }

    public int SourceLength(int row) => sources - 1;

    public ReadOnlySpan<float> Decode(ReadOnlySpan<int> tokens)
    {
        Assert.Equal(batch, tokens.Length);
        float[] logits = new float[batch * vocabulary];
        for (int row = 0; row < batch; row++)
        {
            if (tokens[row] >= 0)
            {
                Assert.True(context == 0 || _rows[row].Count < context);
                _rows[row].Add(tokens[row]);
                Logits(_rows[row]).CopyTo(logits, row * vocabulary);
            }
            else
            {
                // What is not asked for is never read.
                logits.AsSpan(row * vocabulary, vocabulary).Fill(float.NaN);
            }
        }

        return logits;
    }

    public void Reorder(ReadOnlySpan<int> from)
    {
        List<int>[] before = [.. _rows];
        for (int row = 0; row < batch; row++)
        {
            _rows[row] = [.. before[from[row]]];
        }
    }

    public void Begin(int row) => _rows[row].Clear();

    public void Alignment(int row, Span<float> weights) => Alignment(_rows[row]).CopyTo(weights);

    private int Hash(IEnumerable<int> tokens) => tokens.Aggregate(seed, (hash, token) => unchecked((hash * 31) + token + 7));
}
