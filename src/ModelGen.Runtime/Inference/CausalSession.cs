using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The inference of one sequence with a language model, or of several (<see cref="SessionOptions.Batch"/>): its arena, its key/value cache
/// (or recurrent state) and its threads. Nothing is allocated once it is created. A session may be used by one thread at a time: a call that comes while another one runs is refused
/// and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract class CausalSession : ModelSession, ISequenceDecoder
{
    private readonly int _prefill;
    private readonly int _decode;
    private readonly int _score;
    private readonly int _decodeBatch;
    private readonly int _forward;
    private readonly bool _hasPositions;
    private readonly float[] _logits;
    private readonly int[] _rows;
    private readonly int[] _staged;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry points <c>Prefill</c> and <c>Decode</c>, and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// The options ask for a negative number of threads, or for more than 1,024; or for no sequences, or for more than the declaration allows.
    /// </exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected CausalSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
        : base(weights, layout, options)
    {
        _prefill = layout.IndexOf(nameof(Prefill));
        _decode = layout.IndexOf(nameof(Decode));
        _score = Array.FindIndex(layout.Entries, static entry => entry.Name == "Score");
        _decodeBatch = Array.FindIndex(layout.Entries, static entry => entry.Name == "DecodeBatch");
        _forward = Array.FindIndex(layout.Entries, static entry => entry.Name == "Forward");
        _hasPositions = _decodeBatch >= 0 && layout.Entries[_decodeBatch].Inputs.Length > 2;
        VocabularySize = layout.Entries[_prefill].Inputs[0].Classes;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(VocabularySize);
        _logits = new float[checked(Batch * VocabularySize)];
        _rows = new int[Batch];
        _staged = new int[Batch];
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
    /// The tokens do not fit into the context, the session holds several sequences, or another thread is using it. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Prefill(ReadOnlySpan<int> tokens)
    {
        using RunGuard.Section call = Enter(nameof(Prefill));
        RequireOne(nameof(Prefill));
        return Append(0, tokens);
    }

    /// <summary>Appends tokens to one of the session's sequences and computes the logits of the token that follows the last of them; the others stay as they are.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <param name="tokens">One token or more.</param>
    /// <returns><see cref="VocabularySize"/> logits, bit for bit those of a session that holds this sequence alone; the next call that continues or empties it overwrites them.</returns>
    /// <exception cref="ArgumentException">There are no tokens.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, or a token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The tokens do not fit into the context, or another thread is using the session. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Prefill(int row, ReadOnlySpan<int> tokens)
    {
        using RunGuard.Section call = Enter(nameof(Prefill));
        CheckRow(row);
        return Append(row, tokens);
    }

    /// <summary>Appends one token and computes the logits of the token that follows it.</summary>
    /// <param name="token">The token's id.</param>
    /// <returns><see cref="VocabularySize"/> logits; the next call overwrites them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context is full, the session holds several sequences, or another thread is using it. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Decode(int token)
    {
        using RunGuard.Section call = Enter(nameof(Decode));
        RequireOne(nameof(Decode));
        var tokens = new ReadOnlySpan<int>(in token);
        RunChecks.TokenIds(tokens, VocabularySize, nameof(token));
        CheckSpace(1);
        Stage(_decode, 0, tokens);
        Run(_decode, 1);
        return Keep(_decode, 0);
    }

    /// <summary>
    /// Appends one token to each of the session's sequences, whatever their positions, and computes the logits of the tokens that follow
    /// them. The weights are read once for all of them.
    /// </summary>
    /// <param name="tokens">A token's id for each sequence, or -1 where the sequence is to stay as it is.</param>
    /// <returns>
    /// The logits of all sequences, <see cref="ModelSession.Batch"/> × <see cref="VocabularySize"/>: bit for bit those of sessions that hold one sequence each.
    /// A sequence that stayed as it is has those that Decode or Prefill gave it last, zeros if it is empty. The next call overwrites them.
    /// </returns>
    /// <exception cref="ArgumentException">There are not as many tokens as sequences. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context of a sequence that is to go on is full, or another thread is using the session. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Decode(ReadOnlySpan<int> tokens)
    {
        using RunGuard.Section call = Enter(nameof(Decode));
        if (tokens.Length != Batch)
        {
            throw new ArgumentException(FormattableString.Invariant($"There must be a token, or -1, for each of the session's {Batch} sequences, but there are {tokens.Length}."), nameof(tokens));
        }

        int count = 0;
        for (int row = 0; row < tokens.Length; row++)
        {
            if (tokens[row] == -1)
            {
                continue;
            }

            RunChecks.TokenId(tokens, row, VocabularySize, nameof(tokens));
            CheckSpace(1, row);
            _staged[count] = tokens[row];
            _rows[count++] = row;
        }

        for (int row = 0; row < tokens.Length; row++)
        {
            if (tokens[row] == -1 && Positions[row] == 0)
            {
                _logits.AsSpan(row * VocabularySize, VocabularySize).Clear();
            }
        }

        if (_decodeBatch < 0 || count == 1)
        {
            // One sequence alone takes the plan of one.
            if (count > 0)
            {
                Stage<int>(_decode, 0, _staged.AsSpan(0, 1));
                Run(_decode, 1, _rows[0]);
                Keep(_decode, _rows[0]);
            }

            return _logits;
        }

        if (count > 0)
        {
            Stage<int>(_decodeBatch, 0, _staged.AsSpan(0, count));
            Stage<int>(_decodeBatch, 1, _rows.AsSpan(0, count));
            if (_hasPositions)
            {
                for (int i = 0; i < count; i++)
                {
                    _staged[i] = Positions[_rows[i]];
                }

                Stage<int>(_decodeBatch, 2, _staged.AsSpan(0, count));
            }

            Run(_decodeBatch, count);
            ReadOnlySpan<float> logits = Result(_decodeBatch, 0, count);
            for (int i = 0; i < count; i++)
            {
                logits.Slice(i * VocabularySize, VocabularySize).CopyTo(_logits.AsSpan(_rows[i] * VocabularySize));
                Advance(_rows[i], 1);
            }
        }

        return _logits;
    }

    /// <summary>Lets each sequence continue what another one was: afterwards sequence i is what sequence <paramref name="from"/>[i] was before, bit for bit.</summary>
    /// <param name="from">The number of a sequence for each sequence. One that keeps its own costs nothing.</param>
    /// <exception cref="ArgumentException">There are not as many numbers as sequences. Nothing has changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no sequence of that number. Nothing has changed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Reorder(ReadOnlySpan<int> from)
    {
        using RunGuard.Section call = Enter(nameof(Reorder));
        ReorderSequences(from);
    }

    /// <summary>Called by emitted code where the declaration asks for scoring: appends tokens and gives the log-probability of each but the first.</summary>
    /// <param name="tokens">Two tokens or more.</param>
    /// <param name="logProbabilities">One less.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected void ScoreTokens(ReadOnlySpan<int> tokens, Span<float> logProbabilities)
    {
        using RunGuard.Section call = Enter("Score");
        RequireOne("Score");
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

    /// <summary>Called by emitted code where the declaration asks for hidden states or attention weights: appends tokens and gives what is computed on the way.</summary>
    /// <param name="tokens">One token or more.</param>
    /// <param name="logits">Tokens × <see cref="VocabularySize"/>; or empty.</param>
    /// <param name="hiddenStates">Hidden states × tokens × their width; or empty.</param>
    /// <param name="attentionWeights">Layers × heads × tokens × positions of the sequence with these tokens; or empty.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected void ForwardTokens(ReadOnlySpan<int> tokens, Span<float> logits, Span<float> hiddenStates, Span<float> attentionWeights)
    {
        using RunGuard.Section call = Enter("Forward");
        RequireOne("Forward");
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There must be at least one token.", nameof(tokens));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);
        EntryLayout entry = PlanLayout.Entries[_forward];
        int states = 0, attentions = 0;
        foreach (EntryOutput output in entry.Outputs)
        {
            states += output.Name.StartsWith("hidden_states.", StringComparison.Ordinal) ? 1 : 0;
            attentions += output.Name.StartsWith("attentions.", StringComparison.Ordinal) ? 1 : 0;
        }

        // Logits come first, then hidden states, then attention weights, whose rows are as long as the context.
        int width = states > 0 ? entry.Outputs[1].Length : 0, rows = attentions > 0 ? entry.Outputs[1 + states].Length / ContextLength : 0, keys = Position + tokens.Length;
        CheckRoom(logits, (long)tokens.Length * VocabularySize, nameof(logits));
        CheckRoom(hiddenStates, (long)states * tokens.Length * width, nameof(hiddenStates));
        CheckRoom(attentionWeights, (long)attentions * rows * tokens.Length * keys, nameof(attentionWeights));
        for (int start = 0; start < tokens.Length; start += entry.MaximumCount)
        {
            int count = Math.Min(entry.MaximumCount, tokens.Length - start);
            Stage(_forward, 0, tokens.Slice(start, count));
            Run(_forward, count);
            if (!logits.IsEmpty)
            {
                Result(_forward, 0, count).CopyTo(logits[(start * VocabularySize)..]);
            }

            for (int i = 0; i < states && !hiddenStates.IsEmpty; i++)
            {
                Result(_forward, 1 + i, count).CopyTo(hiddenStates[(((i * tokens.Length) + start) * width)..]);
            }

            for (int i = 0; i < attentions && !attentionWeights.IsEmpty; i++)
            {
                ReadOnlySpan<float> weights = Result(_forward, 1 + states + i, count);
                for (int row = 0; row < rows * count; row++)
                {
                    (int head, int step) = Math.DivRem(row, count);
                    weights.Slice(row * ContextLength, keys).CopyTo(attentionWeights[(((((i * rows) + head) * tokens.Length) + start + step) * keys)..]);
                }
            }
        }

        static void CheckRoom(Span<float> span, long length, string name)
        {
            if (!span.IsEmpty && span.Length != length)
            {
                throw new ArgumentException(FormattableString.Invariant($"{name} has {length} elements, but there is room for {span.Length}. An empty span leaves it out."), name);
            }
        }
    }

    /// <inheritdoc/>
    private protected override void Forget(int row)
    {
        // What a session of one handed out stays what it was.
        if (Batch > 1)
        {
            _logits.AsSpan(row * VocabularySize, VocabularySize).Clear();
        }
    }

    /// <inheritdoc/>
    private protected override void Move(int to, int from, bool exchange)
    {
        Span<float> target = _logits.AsSpan(to * VocabularySize, VocabularySize), source = _logits.AsSpan(from * VocabularySize, VocabularySize);
        if (exchange)
        {
            RowOrder.Exchange(target, source);
        }
        else
        {
            source.CopyTo(target);
        }
    }

    void ISequenceDecoder.Begin(int row) => Reset(row);

    void ISequenceDecoder.Prefill(int row, ReadOnlySpan<int> tokens) => Prefill(row, tokens);

    // Logits are kept for each sequence.
    private protected override bool KeepsOutputs => false;

    private ReadOnlySpan<float> Append(int row, ReadOnlySpan<int> tokens)
    {
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There must be at least one token: logits follow from a token.", nameof(tokens));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length, row);
        while (!tokens.IsEmpty)
        {
            int count = Math.Min(tokens.Length, PlanLayout.Entries[_prefill].MaximumCount);
            Stage(_prefill, 0, tokens[..count]);
            Run(_prefill, count, row);
            tokens = tokens[count..];
        }

        return Keep(_prefill, row);
    }

    // A copy is safe to hold after the session is disposed; it costs nothing beside what it took to compute it.
    private ReadOnlySpan<float> Keep(int entry, int row)
    {
        Span<float> kept = _logits.AsSpan(row * VocabularySize, VocabularySize);
        Result(entry, 0, 1).CopyTo(kept);
        return kept;
    }

    private void RequireOne(string call)
    {
        if (Batch > 1)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"{call} was called without saying for which of the session's {Batch} sequences."));
        }
    }
}
