namespace ModelGen.Grammars;

/// <summary>The tokens that a grammar lets come next. What follows from a state is computed once and kept: a text that comes through the same states again costs a look-up.</summary>
internal sealed class GrammarConstraint : TokenConstraint
{
    private const int LargestStates = 4096;
    private const int LargestMasks = 256;

    private readonly GrammarMachine _machine;
    private readonly TokenTable _tokens;
    private readonly CompiledGrammar? _compiled;
    private readonly Dictionary<int, ulong[]> _masks = [];
    private int _state;
    private bool _isOver;

    /// <param name="rules">The grammar.</param>
    /// <param name="compiled">What is known of it from before; its masks are used if they are of this vocabulary.</param>
    /// <param name="tokens">The vocabulary.</param>
    public GrammarConstraint(GrammarRules rules, CompiledGrammar? compiled, TokenTable tokens)
    {
        _machine = new GrammarMachine(rules, compiled?.Automaton);
        _state = _machine.Start;
        _tokens = tokens;
        _compiled = compiled?.HasMasksOf(tokens) == true ? compiled : null;
    }

    /// <summary>How many masks were computed by walking over the vocabulary.</summary>
    internal int Walks { get; private set; }

    public override bool IsComplete => _isOver || (_machine.MayEnd(_state) && _machine.MustEnd(_state));

    public override void Exclude(Span<float> logits)
    {
        ulong[] mask = Mask();
        for (int token = 0; token < logits.Length; token++)
        {
            // A model may have more tokens than its tokenizer.
            if (token >= _tokens.Bytes.Length || ((mask[token >> 6] >> token) & 1) == 0)
            {
                logits[token] = float.NegativeInfinity;
            }
        }
    }

    public override void Accept(int token)
    {
        if (_tokens.IsEnd(token))
        {
            _isOver = _machine.MayEnd(_state) ? true : throw Unexpected(token);
            return;
        }

        byte[] bytes = (uint)token < (uint)_tokens.Bytes.Length ? _tokens.Bytes[token] : [];
        int state = _isOver || bytes.Length == 0 ? GrammarMachine.Dead : _state;
        for (int i = 0; state != GrammarMachine.Dead && i < bytes.Length; i++)
        {
            state = _machine.Next(state, bytes[i]);
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

        if (_compiled?.Mask(state) is { } known)
        {
            mask = known;
        }
        else
        {
            mask = _tokens.Mask(_machine, state);
            Walks++;
        }

        _masks.Add(state, mask);
        return mask;
    }
}
