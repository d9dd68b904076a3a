using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The inference of one sequence with a language model, or of several (<see cref="SessionOptions.Batch"/>): its arena, its key/value cache
/// (or recurrent state) and its threads. Nothing is allocated once it is created. A session may be used by one thread at a time: a call that comes while another one runs is refused
/// and changes nothing. Sessions of one model run independently.
/// </summary>
public abstract partial class CausalSession : DecodingSession
{
    private readonly int _prefill;
    private readonly int _score;
    private readonly int _verify;
    private readonly int _forward;

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
        _score = Array.FindIndex(layout.Entries, static entry => entry.Name == "Score");
        _verify = Array.FindIndex(layout.Entries, static entry => entry.Name == "Verify");
        _forward = Array.FindIndex(layout.Entries, static entry => entry.Name == "Forward");
    }

    /// <summary>The most drafted tokens that <see cref="Verify"/> takes beside the one before them, as the declaration's <c>Drafts</c> says; 0 where it says nothing.</summary>
    public int MaximumDrafts => _verify < 0 ? 0 : PlanLayout.Entries[_verify].MaximumCount - 1;

    /// <summary>Appends a few tokens in one pass and computes the logits of the token that follows each of them: what a guess at several tokens is checked by (<see cref="SpeculativeGenerator"/>).</summary>
    /// <param name="tokens">One token to <see cref="MaximumDrafts"/> + 1.</param>
    /// <param name="logits">Receives tokens × <see cref="DecodingSession.VocabularySize"/> logits.</param>
    /// <exception cref="ArgumentException">There are no tokens, more than that, or no room for their logits. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The declaration asks for no <c>Drafts</c>; the tokens do not fit into the context, the session holds several sequences, or another thread is using it. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Verify(ReadOnlySpan<int> tokens, Span<float> logits)
    {
        using RunGuard.Section call = Enter(nameof(Verify));
        RequireOne(nameof(Verify));
        if (_verify < 0)
        {
            throw new InvalidOperationException($"The declaration of {PlanLayout.ModelName} asks for no Drafts.");
        }

        if (tokens.IsEmpty || tokens.Length > MaximumDrafts + 1 || logits.Length != (long)tokens.Length * VocabularySize)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected 1 to {MaximumDrafts + 1} tokens and {VocabularySize} logits for each, found {tokens.Length} and {logits.Length}."), nameof(tokens));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);
        Stage(_verify, 0, tokens);
        Run(_verify, tokens.Length);
        Result(_verify, 0, tokens.Length).CopyTo(logits);
    }

    /// <summary>Appends tokens and computes the logits of the token that follows the last of them.</summary>
    /// <param name="tokens">One token or more.</param>
    /// <returns><see cref="DecodingSession.VocabularySize"/> logits; the next call overwrites them.</returns>
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
    /// <returns><see cref="DecodingSession.VocabularySize"/> logits, bit for bit those of a session that holds this sequence alone; the next call that continues or empties it overwrites them.</returns>
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

    /// <summary>Called by emitted code where the declaration asks how large the inputs of layers are: appends tokens and gives the sums of the squares of what each weight is multiplied with.</summary>
    /// <param name="tokens">One token or more.</param>
    /// <param name="measure">Takes the sums.</param>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected void MeasureTokens(ReadOnlySpan<int> tokens, InputMeasure measure)
    {
        const string Prefix = "input_squares:", Counts = Prefix + "counts:";
        Span<float> one = stackalloc float[1];
        ArgumentNullException.ThrowIfNull(measure);
        using RunGuard.Section call = Enter("MeasureInputs");
        RequireOne("MeasureInputs");
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There must be at least one token.", nameof(tokens));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        CheckSpace(tokens.Length);
        int number = PlanLayout.IndexOf("Measure");
        EntryLayout entry = PlanLayout.Entries[number];
        for (int start = 0; start < tokens.Length; start += entry.MaximumCount)
        {
            int count = Math.Min(entry.MaximumCount, tokens.Length - start);
            Stage(number, 0, tokens.Slice(start, count));
            Run(number, count);
            for (int output = 0; output < entry.Outputs.Length; output++)
            {
                string name = entry.Outputs[output].Name;
                if (!name.StartsWith(Prefix, StringComparison.Ordinal) || name.StartsWith(Counts, StringComparison.Ordinal))
                {
                    continue;
                }

                // What experts were sent is beside their sums.
                one[0] = count;
                ReadOnlySpan<float> counts = one;
                if (output + 1 < entry.Outputs.Length && entry.Outputs[output + 1].Name.StartsWith(Counts, StringComparison.Ordinal) && entry.Outputs[output + 1].Name.AsSpan(Counts.Length).SequenceEqual(name.AsSpan(Prefix.Length)))
                {
                    counts = Result(number, output + 1, count);
                }

                // Weights that read the same rows are listed together.
                foreach (string weight in name[Prefix.Length..].Split('|'))
                {
                    measure(weight, Result(number, output, count), counts);
                }
            }
        }
    }

    /// <summary>Called by emitted code where the declaration asks for hidden states or attention weights: appends tokens and gives what is computed on the way.</summary>
    /// <param name="tokens">One token or more.</param>
    /// <param name="logits">Tokens × <see cref="DecodingSession.VocabularySize"/>; or empty.</param>
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
    private protected sealed override void BeginSequence(int row) => Reset(row);

    /// <inheritdoc/>
    private protected sealed override void PrefillSequence(int row, ReadOnlySpan<int> tokens) => Prefill(row, tokens);

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
}
