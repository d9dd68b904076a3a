namespace ModelGen.Grammars;

/// <summary>The tokens that a grammar lets come next. What follows from a state is computed once and kept: a text that comes through the same states again costs a look-up.</summary>
internal sealed class GrammarConstraint : TokenConstraint
{
    private const int LargestStates = 4096;
    private const int LargestMasks = 256;

    private readonly GrammarMachine _machine;
    private readonly byte[][] _bytes;
    private readonly int[] _order;
    private readonly int[] _shared;
    private readonly int[] _ends;
    private readonly int[] _path;
    private readonly Dictionary<int, ulong[]> _masks = [];
    private int _state;
    private bool _isOver;

    public GrammarConstraint(GrammarRules rules, TextTokenizer tokenizer, IReadOnlyList<int> shownTokens)
    {
        _machine = new GrammarMachine(rules);
        _state = _machine.Start;
        _ends = [.. tokenizer.EndTokens];
        _bytes = new byte[tokenizer.VocabularySize][];
        byte[] buffer = new byte[tokenizer.MaximumTokenBytes];
        for (int token = 0; token < _bytes.Length; token++)
        {
            _bytes[token] = buffer[..tokenizer.GetBytes(token, buffer)];
        }

        foreach (int token in shownTokens)
        {
            _bytes[(uint)token < (uint)_bytes.Length ? token : throw new ArgumentOutOfRangeException(nameof(shownTokens), token, FormattableString.Invariant($"Expected tokens below {_bytes.Length}."))] = System.Text.Encoding.UTF8.GetBytes(tokenizer.Vocabulary.Tokens[token]);
        }

        // In the order of their bytes, tokens that begin alike stand together. What spells nothing would go on without end.
        _order = [.. Enumerable.Range(0, _bytes.Length).Where(token => _bytes[token].Length > 0 && !_ends.Contains(token))];
        Array.Sort(_order, (one, other) => _bytes[one].AsSpan().SequenceCompareTo(_bytes[other]));
        _shared = new int[_order.Length];
        for (int i = 1; i < _order.Length; i++)
        {
            _shared[i] = _bytes[_order[i - 1]].AsSpan().CommonPrefixLength(_bytes[_order[i]]);
        }

        _path = new int[_bytes.Max(static bytes => bytes.Length) + 1];
    }

    public override bool IsComplete => _isOver || (_machine.MayEnd(_state) && _machine.MustEnd(_state));

    public override void Exclude(Span<float> logits)
    {
        ulong[] mask = Mask();
        for (int token = 0; token < logits.Length; token++)
        {
            // A model may have more tokens than its tokenizer.
            if (token >= _bytes.Length || ((mask[token >> 6] >> token) & 1) == 0)
            {
                logits[token] = float.NegativeInfinity;
            }
        }
    }

    public override void Accept(int token)
    {
        if (_ends.Contains(token))
        {
            _isOver = _machine.MayEnd(_state) ? true : throw Unexpected(token);
            return;
        }

        int state = _isOver || (uint)token >= (uint)_bytes.Length || _bytes[token].Length == 0 ? GrammarMachine.Dead : _state;
        for (int i = 0; state != GrammarMachine.Dead && i < _bytes[token].Length; i++)
        {
            state = _machine.Next(state, _bytes[token][i]);
        }

        _state = state != GrammarMachine.Dead ? state : throw Unexpected(token);
        if (_machine.Count > LargestStates)
        {
            _state = _machine.Forget(_state);
            _masks.Clear();
        }
    }

    public override void Reset()
    {
        _state = _machine.Start;
        _isOver = false;
    }

    private static ArgumentException Unexpected(int token) => new(FormattableString.Invariant($"The grammar does not let the token {token} come next."), nameof(token));

    private ulong[] Mask()
    {
        int state = _isOver ? GrammarMachine.Dead : _state;
        if (_masks.TryGetValue(state, out ulong[]? mask))
        {
            return mask;
        }

        if (_masks.Count >= LargestMasks)
        {
            _masks.Clear();
        }

        mask = new ulong[(_bytes.Length + 63) / 64];
        if (state == GrammarMachine.Dead || _machine.MayEnd(state))
        {
            foreach (int end in _ends)
            {
                mask[end >> 6] |= 1UL << end;
            }
        }

        if (state != GrammarMachine.Dead)
        {
            Walk(state, mask);
        }

        _masks.Add(state, mask);
        return mask;
    }

    // Of tokens that begin alike, the beginning is walked once; where it leads nowhere, none of them is looked at.
    private void Walk(int state, ulong[] mask)
    {
        _path[0] = state;
        int known = 0;
        bool isDead = false;
        for (int i = 0; i < _order.Length; i++)
        {
            byte[] bytes = _bytes[_order[i]];
            if (isDead && _shared[i] > known)
            {
                continue;
            }

            known = Math.Min(known, _shared[i]);
            isDead = false;
            while (known < bytes.Length)
            {
                int next = _machine.Next(_path[known], bytes[known]);
                if (next == GrammarMachine.Dead)
                {
                    isDead = true;
                    break;
                }

                _path[++known] = next;
            }

            if (!isDead)
            {
                mask[_order[i] >> 6] |= 1UL << _order[i];
            }
        }
    }
}
