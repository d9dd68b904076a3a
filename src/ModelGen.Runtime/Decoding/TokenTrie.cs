namespace ModelGen;

/// <summary>Allows a set of outputs and no others: labels, commands, names. Asking allocates nothing.</summary>
public sealed class TokenTrie : ITokenConstraint
{
    // Node n's children are the pairs from _first[n] to below _first[n + 1], by ascending token.
    private readonly int[] _first;
    private readonly int[] _tokens;
    private readonly int[] _nodes;

    /// <summary>Makes the set.</summary>
    /// <param name="outputs">The allowed outputs, each with the token that ends it.</param>
    /// <exception cref="ArgumentException">There are none, or one is empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is negative.</exception>
    public TokenTrie(IEnumerable<IReadOnlyList<int>> outputs)
    {
        ArgumentNullException.ThrowIfNull(outputs);
        List<SortedDictionary<int, int>> nodes = [[]];
        foreach (IReadOnlyList<int> output in outputs)
        {
            if (output is null or { Count: 0 })
            {
                throw new ArgumentException("An output needs at least one token.", nameof(outputs));
            }

            int node = 0;
            foreach (int token in output)
            {
                ArgumentOutOfRangeException.ThrowIfNegative(token, nameof(outputs));
                if (!nodes[node].TryGetValue(token, out int child))
                {
                    child = nodes.Count;
                    nodes[node].Add(token, child);
                    nodes.Add([]);
                }

                node = child;
            }
        }

        if (nodes.Count == 1)
        {
            throw new ArgumentException("There are no outputs.", nameof(outputs));
        }

        _first = new int[nodes.Count + 1];
        for (int node = 0; node < nodes.Count; node++)
        {
            _first[node + 1] = _first[node] + nodes[node].Count;
        }

        _tokens = new int[_first[^1]];
        _nodes = new int[_tokens.Length];
        for (int node = 0; node < nodes.Count; node++)
        {
            nodes[node].Keys.CopyTo(_tokens, _first[node]);
            nodes[node].Values.CopyTo(_nodes, _first[node]);
        }
    }

    /// <summary>Whether tokens are the beginning of an allowed output (or one).</summary>
    /// <param name="tokens">The tokens.</param>
    public bool Contains(ReadOnlySpan<int> tokens) => Find(tokens) >= 0;

    /// <inheritdoc/>
    public void Restrict(int input, ReadOnlySpan<int> tokens, Span<float> logits)
    {
        int node = Find(tokens), next = 0;
        for (int child = node < 0 ? 0 : _first[node]; node >= 0 && child < _first[node + 1]; child++)
        {
            int token = _tokens[child];
            if (token >= logits.Length)
            {
                break;
            }

            logits[next..token].Fill(float.NegativeInfinity);
            next = token + 1;
        }

        logits[next..].Fill(float.NegativeInfinity);
    }

    private int Find(ReadOnlySpan<int> tokens)
    {
        int node = 0;
        foreach (int token in tokens)
        {
            int index = Array.BinarySearch(_tokens, _first[node], _first[node + 1] - _first[node], token);
            if (index < 0)
            {
                return -1;
            }

            node = _nodes[index];
        }

        return node;
    }
}
