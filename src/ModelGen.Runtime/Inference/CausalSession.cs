using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The inference of one sequence with a language model: its arena, its key/value cache (or recurrent state) and its threads. Nothing
/// is allocated once it is created. A session may be used by one thread at a time: a call that comes while another one runs is refused
/// and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract class CausalSession : ModelSession
{
    private readonly int _prefill;
    private readonly int _decode;
    private readonly int _score;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry points <c>Prefill</c> and <c>Decode</c>, and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">The options ask for a negative number of threads, or for more than 1,024.</exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected CausalSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
        : base(weights, layout, options)
    {
        _prefill = layout.IndexOf(nameof(Prefill));
        _decode = layout.IndexOf(nameof(Decode));
        _score = Array.FindIndex(layout.Entries, static entry => entry.Name == "Score");
        VocabularySize = layout.Entries[_prefill].Inputs[0].Classes;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(VocabularySize);
    }

    /// <summary>The number of token ids, and of logits.</summary>
    public int VocabularySize { get; }

    /// <summary>The most tokens that the session holds; 0 where there is no limit.</summary>
    public int ContextLength => PlanLayout.ContextLength;

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
        using RunGuard.Section call = Enter(nameof(Prefill));
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There must be at least one token: logits follow from a token.", nameof(tokens));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);

        while (!tokens.IsEmpty)
        {
            int count = Math.Min(tokens.Length, PlanLayout.Entries[_prefill].MaximumCount);
            Stage(_prefill, 0, tokens[..count]);
            Run(_prefill, count);
            tokens = tokens[count..];
        }

        return Take(_prefill, 0);
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
        using RunGuard.Section call = Enter(nameof(Decode));
        var tokens = new ReadOnlySpan<int>(in token);
        RunChecks.TokenIds(tokens, VocabularySize, nameof(token));
        CheckSpace(1);
        Stage(_decode, 0, tokens);
        Run(_decode, 1);
        return Take(_decode, 0);
    }

    /// <summary>Called by emitted code where the declaration asks for scoring: appends tokens and gives the log-probability of each but the first.</summary>
    /// <param name="tokens">Two tokens or more.</param>
    /// <param name="logProbabilities">One less.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected void ScoreTokens(ReadOnlySpan<int> tokens, Span<float> logProbabilities)
    {
        using RunGuard.Section call = Enter("Score");
        if (tokens.Length < 2)
        {
            throw new ArgumentException("There must be at least two tokens: a token is scored by what comes before it.", nameof(tokens));
        }

        if (logProbabilities.Length != tokens.Length - 1)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"The log-probabilities of {tokens.Length} tokens are {tokens.Length - 1}, but there is room for {logProbabilities.Length}."),
                nameof(logProbabilities));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);
        int chunk = PlanLayout.Entries[_score].MaximumCount;
        Span<int> targets = stackalloc int[chunk];
        for (int start = 0; start < tokens.Length; start += chunk)
        {
            // Every token's target is the next one; the last has none.
            int count = Math.Min(chunk, tokens.Length - start);
            int scored = Math.Min(count, tokens.Length - 1 - start);
            targets.Fill(-1);
            tokens.Slice(start + 1, scored).CopyTo(targets);
            Stage(_score, 0, tokens.Slice(start, count));
            Stage<int>(_score, 1, targets[..count]);
            Run(_score, count);
            ReadOnlySpan<float> losses = Result(_score, 0, count);
            for (int i = 0; i < scored; i++)
            {
                logProbabilities[start + i] = -losses[i];
            }
        }
    }
}
