using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Continues a prompt token by token, as long as wanted: when a session's context is full, it starts again from the last half of it.
/// Nothing is allocated after construction. The session stays the caller's to dispose. A generator may be used by one thread at a time.
/// </summary>
public sealed class TokenGenerator
{
    private readonly RunGuard _guard = new("token generator");
    private readonly CausalSession _session;
    private readonly Sampler _sampler;
    private readonly float[] _logits;
    private readonly int[] _history;
    private int _held;
    private (int Token, CudaChain? Chain, bool IsNumberUsed, CounterRandom Random, long Run)? _next;
    private bool _started;

    // Drawn, and known to the sampler, but not fed yet, since the session refused it; −1 where there is none.
    private int _drawn = -1;

    /// <summary>Makes a generator.</summary>
    /// <param name="session">The session; the generator resets it.</param>
    /// <param name="sampler">Chooses the tokens.</param>
    /// <exception cref="ArgumentException">The sampler's vocabulary is not the session's, or the session holds several sequences.</exception>
    public TokenGenerator(CausalSession session, Sampler sampler)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(sampler);
        if (sampler.VocabularySize != session.VocabularySize)
        {
            throw new ArgumentException(
                $"Expected a sampler for {session.VocabularySize} logits, found one for {sampler.VocabularySize}.", nameof(sampler));
        }
        if (session.Batch != 1)
            throw new ArgumentException($"Expected a session of one sequence, found one of {session.Batch}.", nameof(session));
        _session = session;
        _sampler = sampler;
        _logits = new float[session.VocabularySize];
        _history = new int[session.ContextLength];
        if (session.ChoosesTokens && sampler.CanChooseOnDevice(out CudaChain? chain))
            session.PrepareChoosing(draws: chain is not null);
    }

    /// <summary>Starts over with a prompt. The sampler goes on as it is: what its steps and its constraint remember of an earlier text is forgotten by <see cref="Sampler.Reset"/>.</summary>
    /// <param name="prompt">The tokens to continue, at least one. Of a prompt longer than the context, the last tokens that fit are used.</param>
    /// <exception cref="ArgumentException">The prompt is empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token that is used is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the generator or its session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Start(ReadOnlySpan<int> prompt)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Start), this);
        if (prompt.IsEmpty)
            throw new ArgumentException("A prompt needs at least one token.", nameof(prompt));
        if (_history.Length > 0)
        {
            prompt = prompt[Math.Max(0, prompt.Length - _history.Length)..];
            prompt.CopyTo(_history);
            _held = prompt.Length;
        }
        _started = false;
        (_next, _drawn) = (null, -1);
        _session.Reset();
        _session.Prefill(prompt).CopyTo(_logits);
        _started = true;
    }

    /// <summary>Chooses the next token and feeds it to the model.</summary>
    /// <returns>The token id.</returns>
    /// <exception cref="InvalidOperationException">
    /// The last <see cref="Start"/> did not succeed or there was none, or another thread is using the generator or its session: the next call then gives the token that this one would have given.
    /// </exception>
    /// <exception cref="ArgumentException">The model's logits are not numbers to choose by: one is NaN or positive infinity, or all are negative infinity.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public int Next()
    {
        using RunGuard.Section call = _guard.Enter(nameof(Next), this);
        if (!_started)
            throw new InvalidOperationException("Start must be called before Next.");
        int token = _drawn >= 0 ? _drawn : Choose();
        _drawn = token;
        if (_held < _history.Length || _history.Length == 0)
        {
            // A call that is refused leaves the history as the session has it, and the next one goes on with the same token.
            Feed(token);
            if (_history.Length > 0)
                _history[_held++] = token;
            _drawn = -1;
            return token;
        }

        // Keep the newest half, the new token included.
        int kept = Math.Max(1, _history.Length / 2);
        _session.Reset();
        _drawn = -1;
        _history.AsSpan(_history.Length - (kept - 1)).CopyTo(_history);
        _history[kept - 1] = token;
        _held = kept;
        _started = false;
        _next = null;
        _session.Prefill(_history.AsSpan(0, kept)).CopyTo(_logits);
        _started = true;
        return token;
    }

    // What the device has chosen, as long as the sampler would still choose so: a constraint may have come, or other draws. Then the logits are fetched.
    private int Choose()
    {
        if (_next is { } next)
        {
            CounterRandom random = _sampler.Random;
            if (_sampler.CanChooseOnDevice(out CudaChain? chain) && chain == next.Chain
                && (random.Seed, random.Stream, random.Position) == (next.Random.Seed, next.Random.Stream, next.Random.Position))
            {
                if (next.IsNumberUsed)
                {
                    random.NextDouble();
                    _sampler.Random = random;
                }
                return next.Token;
            }
            _session.RecallLogits(next.Run).CopyTo(_logits);
            _next = null;
        }
        return _sampler.Sample(_logits);
    }

    // Where a device chooses as the sampler does, the logits stay there.
    private void Feed(int token)
    {
        if (!_session.ChoosesTokens || !_sampler.CanChooseOnDevice(out CudaChain? chain))
        {
            _session.Decode(token).CopyTo(_logits);
            _next = null;
            return;
        }
        CounterRandom random = _sampler.Random, number = random;
        int next = _session.DecodeAndChoose(token, chain, number.NextDouble(), out bool isNumberUsed, out ReadOnlySpan<float> logits);
        _next = next < 0 ? null : (next, chain, isNumberUsed, random, _session.LastRun);
        if (next < 0)
            logits.CopyTo(_logits);
    }
}
