using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Continues a prompt as <see cref="TokenGenerator"/> does, several tokens at a time where a <see cref="DraftSource"/> guesses right: the model reads the guesses in one pass, which takes little longer than a single token where weights
/// are what takes time. A token is drawn from the model's distribution at every position, and guesses are kept as long as they are what was drawn, so that texts are distributed as without them: with the same seed they are the same,
/// up to the rounding of logits, which a pass of several tokens adds up in another order.
/// </summary>
/// <remarks>Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative Decoding" (2023), for drafts of a probability of 1.</remarks>
public sealed class SpeculativeGenerator
{
    private readonly RunGuard _guard = new("speculative generator");
    private readonly CausalSession _session;
    private readonly Sampler _sampler;
    private readonly DraftSource _drafts;
    private readonly float[] _logits;
    private readonly List<int> _text = [];
    private readonly int[] _run;
    private int _given;
    private int _known;
    private bool _started;

    /// <summary>Makes a generator.</summary>
    /// <param name="session">The session; the generator resets it. It stays the caller's to dispose.</param>
    /// <param name="sampler">Chooses the tokens.</param>
    /// <param name="drafts">Guesses them.</param>
    /// <exception cref="ArgumentException">
    /// The sampler's vocabulary is not the session's; the session holds several sequences; its model forgets (<see cref="CausalSession.CanRewind"/>), or its declaration has no <c>Drafts</c>.
    /// </exception>
    public SpeculativeGenerator(CausalSession session, Sampler sampler, DraftSource drafts)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(sampler);
        ArgumentNullException.ThrowIfNull(drafts);
        if (sampler.VocabularySize != session.VocabularySize)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected a sampler for {session.VocabularySize} logits, found one for {sampler.VocabularySize}."), nameof(sampler));
        }

        if (session.Batch != 1 || !session.CanRewind || session.MaximumDrafts == 0)
        {
            throw new ArgumentException("Expected a session of one sequence, of a model that can be taken back to any step and whose declaration asks for Drafts.", nameof(session));
        }

        (_session, _sampler, _drafts) = (session, sampler, drafts);
        _run = new int[session.MaximumDrafts + 1];
        _logits = new float[_run.Length * session.VocabularySize];
        _text.Capacity = session.ContextLength + _run.Length + 1;
    }

    /// <summary>How many tokens were guessed.</summary>
    public long Drafted { get; private set; }

    /// <summary>How many of them were right.</summary>
    public long Accepted { get; private set; }

    /// <summary>How many passes of the model there were behind prompts.</summary>
    public long Passes { get; private set; }

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
        {
            throw new ArgumentException("A prompt needs at least one token.", nameof(prompt));
        }

        if (_session.ContextLength > 0)
        {
            prompt = prompt[Math.Max(0, prompt.Length - _session.ContextLength)..];
        }

        _started = false;
        _text.Clear();
        foreach (int token in prompt)
        {
            _text.Add(token);
        }

        Begin();
        _started = true;
    }

    /// <summary>The next token.</summary>
    /// <returns>The token id.</returns>
    /// <exception cref="InvalidOperationException">The last <see cref="Start"/> did not succeed or there was none, or another thread is using the generator or its session.</exception>
    /// <exception cref="ArgumentException">The model's logits are not numbers to choose by: one is NaN or positive infinity, or all are negative infinity.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public int Next()
    {
        using RunGuard.Section call = _guard.Enter(nameof(Next), this);
        if (!_started)
        {
            throw new InvalidOperationException("Start must be called before Next.");
        }

        if (_given == _known)
        {
            _started = false;
            Continue();
            _started = true;
        }

        return _text[_given++];
    }

    // Reads the text from its beginning and draws the token behind it. The drawn tokens are the text's last ones; the session holds all but the last of them.
    private void Begin()
    {
        _session.Reset();
        int token = _sampler.Sample(_session.Prefill(CollectionsMarshal.AsSpan(_text)));
        _given = _text.Count;
        _text.Add(token);
        _known = _text.Count;
    }

    private void Continue()
    {
        int context = _session.ContextLength, held = _text.Count - 1;
        if (context > 0 && held == context)
        {
            // The newest half goes on, as if it were a prompt.
            _text.RemoveRange(0, _text.Count - Math.Max(1, context / 2));
            Begin();
            return;
        }

        int room = context > 0 ? Math.Min(_run.Length, context - held) : _run.Length;
        _run[0] = _text[^1];
        int guessed = room > 1 ? _drafts.Propose(CollectionsMarshal.AsSpan(_text), _run.AsSpan(1, room - 1)) : 0;
        for (int i = 1; i <= guessed; i++)
        {
            // Another model's tokens may be unknown here.
            if ((uint)_run[i] >= (uint)_session.VocabularySize)
            {
                guessed = i - 1;
            }
        }

        Passes++;
        Drafted += guessed;
        int vocabulary = _session.VocabularySize;
        ReadOnlySpan<float> logits = guessed == 0 ? _session.Decode(_run[0]) : _logits.AsSpan(0, (guessed + 1) * vocabulary);
        if (guessed > 0)
        {
            _session.Verify(_run.AsSpan(0, guessed + 1), _logits.AsSpan(0, (guessed + 1) * vocabulary));
        }

        for (int i = 0; ; i++)
        {
            int token = _sampler.Sample(logits.Slice(i * vocabulary, vocabulary));
            _text.Add(token);
            if (i == guessed || token != _run[i + 1])
            {
                Accepted += i;
                break;
            }
        }

        if (_session.Position > _text.Count - 1)
        {
            _session.Rewind(_text.Count - 1);
        }

        _known = _text.Count;
    }
}
