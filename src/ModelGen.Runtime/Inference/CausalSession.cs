using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The inference of one sequence with a language model: its arena, its key/value cache (or recurrent state) and its threads. Nothing
/// is allocated once it is created. A session may be used by one thread at a time: a call that comes while another one runs is refused
/// and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract unsafe class CausalSession : IDisposable
{
    private readonly ModelWeights _weights;
    private readonly SessionLayout _layout;
    private readonly RunGuard _guard = new("session");
    private readonly WorkerTeam _team;
    private readonly NativeBlock _arena;
    private readonly NativeBlock _state;
    private readonly float[] _logits;
    private readonly PrefillTask _prefill;
    private readonly DecodeTask _decode;
    private PlanContext _context;
    private int _position;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The memory and sizes of the model's plans.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for a negative number of threads, or for more than 1,024.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected CausalSession(ModelWeights weights, SessionLayout layout, SessionOptions? options)
    {
        ArgumentNullException.ThrowIfNull(weights);
        ArgumentNullException.ThrowIfNull(layout);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.VocabularySize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layout.PrefillChunk);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.TokensOffset), layout.TokensOffset, layout.PrefillChunk, layout.ArenaBytes);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.TokensOffsetDecode), layout.TokensOffsetDecode ?? layout.TokensOffset, 1, layout.ArenaBytes);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.LogitsOffsetPrefill), layout.LogitsOffsetPrefill, layout.VocabularySize, layout.ArenaBytes);
        RunChecks.InsideArena(layout.ModelName, nameof(layout.LogitsOffsetDecode), layout.LogitsOffsetDecode, layout.VocabularySize, layout.ArenaBytes);
        int threads = RunChecks.Threads(options?.Threads ?? 0, nameof(options));

        _weights = weights;
        _layout = layout;
        _arena = new NativeBlock(layout.ArenaBytes);
        _state = new NativeBlock(layout.StateBytes);
        _logits = new float[layout.VocabularySize];
        _prefill = new PrefillTask(this);
        _decode = new DecodeTask(this);
        _team = new WorkerTeam(threads, layout.ScratchBytes, _guard);
    }

    /// <summary>The number of tokens in the session. It may be read at any time, by any thread.</summary>
    public int Position => _position;

    /// <summary>The number of token ids, and of logits.</summary>
    public int VocabularySize => _layout.VocabularySize;

    /// <summary>The most tokens that the session holds; 0 where there is no limit.</summary>
    public int ContextLength => _layout.ContextLength;

    /// <summary>The number of threads that compute, the caller's included: as many as the options allow, but no more than processors.</summary>
    public int Threads => _team.Count;

    internal Span<float> Arena => new(_arena.Floats, checked((int)(_arena.ByteLength / sizeof(float))));

    internal long StateBytes => _state.ByteLength;

    /// <summary>Appends tokens and computes the logits of the token that follows the last of them.</summary>
    /// <param name="tokens">One token or more.</param>
    /// <returns><see cref="VocabularySize"/> logits; the next call overwrites them.</returns>
    /// <exception cref="ArgumentException">There are no tokens.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The tokens do not fit into the context, or another thread is using the session. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Prefill(ReadOnlySpan<int> tokens)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Prefill), this);
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There must be at least one token: logits follow from a token.", nameof(tokens));
        }

        RunChecks.TokenIds(tokens, _layout.VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);

        while (!tokens.IsEmpty)
        {
            int count = Math.Min(tokens.Length, _layout.PrefillChunk);
            Run(_prefill, tokens[..count], _layout.TokensOffset);
            tokens = tokens[count..];
        }

        return TakeLogits(_layout.LogitsOffsetPrefill);
    }

    /// <summary>Appends one token and computes the logits of the token that follows it.</summary>
    /// <param name="token">The token's id.</param>
    /// <returns><see cref="VocabularySize"/> logits; the next call overwrites them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context is full, or another thread is using the session. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Decode(int token)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Decode), this);
        var tokens = new ReadOnlySpan<int>(in token);
        RunChecks.TokenIds(tokens, _layout.VocabularySize, nameof(token));
        CheckSpace(1);
        Run(_decode, tokens, _layout.TokensOffsetDecode ?? _layout.TokensOffset);
        return TakeLogits(_layout.LogitsOffsetDecode);
    }

    /// <summary>Empties the session: no tokens, and a zero state.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Reset()
    {
        using RunGuard.Section call = _guard.Enter(nameof(Reset), this);
        _position = 0;
        _state.Clear();
    }

    /// <summary>Ends the session's threads and frees its memory.</summary>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            _team.End();
            _arena.Dispose();
            _state.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>Emitted: runs the prefill plan over <see cref="PlanContext.Count"/> tokens.</summary>
    /// <param name="context">Where the memory is, and what is run.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void ExecutePrefill(in PlanContext context, Worker worker);

    /// <summary>Emitted: runs the decode plan over one token.</summary>
    /// <param name="context">Where the memory is, and what is run.</param>
    /// <param name="worker">The worker that calls.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected abstract void ExecuteDecode(in PlanContext context, Worker worker);

    private void CheckSpace(int count)
    {
        if (_layout.ContextLength > 0 && count > _layout.ContextLength - _position)
        {
            throw new InvalidOperationException(
                FormattableString.Invariant($"{count} more tokens do not fit: the session holds {_position}, and the context length is {_layout.ContextLength}. Reset the session to start over."));
        }
    }

    private void Run(ITeamTask task, ReadOnlySpan<int> tokens, long offset)
    {
        float* arena = _arena.Floats;
        tokens.CopyTo(new Span<int>(arena + offset, tokens.Length));
        _context = new PlanContext
        {
            Weights = _weights.Pointer,
            Arena = arena,
            State = _state.Floats,
            Count = tokens.Length,
            Position = _position,
        };
        _team.RunInside(task);

        // A recurrence has no limit, and its plans do not use the position.
        _position = (int)Math.Min((long)_position + tokens.Length, int.MaxValue);
    }

    // A copy of the logits is safe to hold after the session is disposed; it costs nothing beside what it took to compute them.
    private ReadOnlySpan<float> TakeLogits(long offset)
    {
        new ReadOnlySpan<float>(_arena.Floats + offset, _logits.Length).CopyTo(_logits);
        return _logits;
    }

    private sealed class PrefillTask(CausalSession session) : ITeamTask
    {
        public void Execute(Worker worker) => session.ExecutePrefill(in session._context, worker);
    }

    private sealed class DecodeTask(CausalSession session) : ITeamTask
    {
        public void Execute(Worker worker) => session.ExecuteDecode(in session._context, worker);
    }
}
