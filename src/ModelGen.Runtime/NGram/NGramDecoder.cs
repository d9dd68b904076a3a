namespace ModelGen.Runtime;

/// <summary>Sequences that an n-gram model continues.</summary>
internal sealed class NGramDecoder(NGramModel model, int batch) : ISequenceDecoder
{
    private readonly RunGuard _guard = new("decoder");
    private readonly RowOrder _order = new(batch);
    private readonly int[] _nodes = Enumerable.Repeat(-1, checked(batch * model.Order)).ToArray();
    private readonly int[] _positions = new int[batch];
    private readonly float[] _logits = new float[checked(batch * model.VocabularySize)];

    public int Batch => batch;

    public int VocabularySize => model.VocabularySize;

    public int ContextLength => 0;

    public IReadOnlyList<int> Positions => _positions;

    public ReadOnlySpan<float> Decode(ReadOnlySpan<int> tokens)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Decode), this);
        if (tokens.Length != batch)
        {
            throw new ArgumentException(FormattableString.Invariant($"There must be a token, or -1, for each of {batch} sequences, but there are {tokens.Length}."), nameof(tokens));
        }

        for (int row = 0; row < batch; row++)
        {
            if (tokens[row] != -1)
            {
                RunChecks.TokenId(tokens, row, VocabularySize, nameof(tokens));
            }
        }

        for (int row = 0; row < batch; row++)
        {
            if (tokens[row] >= 0)
            {
                model.Advance(Nodes(row), tokens[row]);
                model.FollowAll(Nodes(row), Logits(row));
                _positions[row] += _positions[row] < int.MaxValue ? 1 : 0;
            }
        }

        return _logits;
    }

    public void Reorder(ReadOnlySpan<int> from)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Reorder), this);
        foreach ((int to, int source, bool exchange) in _order.Moves(from))
        {
            if (exchange)
            {
                RowOrder.Exchange(Nodes(to), Nodes(source));
                RowOrder.Exchange(Logits(to), Logits(source));
            }
            else
            {
                Nodes(source).CopyTo(Nodes(to));
                Logits(source).CopyTo(Logits(to));
            }

            (_positions[to], _positions[source]) = (_positions[source], exchange ? _positions[to] : _positions[source]);
        }
    }

    public void Begin(int row)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Begin), this);
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, batch);
        NGramModel.Begin(Nodes(row));
        Logits(row).Clear();
        _positions[row] = 0;
    }

    private Span<int> Nodes(int row) => _nodes.AsSpan(row * model.Order, model.Order);

    private Span<float> Logits(int row) => _logits.AsSpan(row * VocabularySize, VocabularySize);
}
