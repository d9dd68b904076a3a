using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// What greedy decoding, beam search and sampling need of a model's session: several sequences, each of which goes on by a token at a time.
/// Language models (<see cref="CausalSession"/>) and encoder–decoders implement it, so that a way to decode is written once.
/// </summary>
public interface ISequenceDecoder
{
    /// <summary>The number of sequences.</summary>
    int Batch { get; }

    /// <summary>The number of token ids, and of logits.</summary>
    int VocabularySize { get; }

    /// <summary>The most tokens of a sequence; 0 where there is no limit.</summary>
    int ContextLength { get; }

    /// <summary>The number of tokens of each sequence.</summary>
    IReadOnlyList<int> Positions { get; }

    /// <summary>The most source positions that <see cref="Alignment"/> tells apart; 0 where the session gives no alignment.</summary>
    int AlignmentLength => 0;

    /// <summary>The number of source positions that a sequence's output is aligned with.</summary>
    /// <param name="row">The number of the sequence.</param>
    int SourceLength(int row) => AlignmentLength;

    /// <summary>Appends one token to each sequence.</summary>
    /// <param name="tokens">A token's id for each sequence, or -1 where the sequence is to stay as it is.</param>
    /// <returns>The logits of the tokens that follow, <see cref="Batch"/> × <see cref="VocabularySize"/>; the next call overwrites them. Those of a sequence that stayed as it is may be anything.</returns>
    /// <exception cref="ArgumentException">There are not as many tokens as sequences.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">A sequence that is to go on has no room.</exception>
    ReadOnlySpan<float> Decode(ReadOnlySpan<int> tokens);

    /// <summary>Lets each sequence continue what another one was: afterwards sequence i is what sequence <paramref name="from"/>[i] was before.</summary>
    /// <param name="from">The number of a sequence for each sequence. One that keeps its own costs nothing.</param>
    /// <exception cref="ArgumentException">There are not as many numbers as sequences.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no sequence of that number. Nothing has changed.</exception>
    void Reorder(ReadOnlySpan<int> from);

    /// <summary>
    /// Called before a new output begins. A language model forgets the sequence; an encoder–decoder, where encoding a source does that already, leaves it as it is.
    /// </summary>
    /// <param name="row">The number of the sequence.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    /// <exception cref="InvalidOperationException">The output of an encoder–decoder's sequence has begun, and no source was encoded since.</exception>
    void Begin(int row)
    {
    }

    /// <summary>Appends tokens to one of the sequences; the others stay as they are.</summary>
    /// <param name="row">The number of the sequence.</param>
    /// <param name="tokens">One token or more.</param>
    /// <exception cref="ArgumentException">There are no tokens.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, or a token id is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">The tokens do not fit.</exception>
    void Prefill(int row, ReadOnlySpan<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Batch);
        if (tokens.IsEmpty)
        {
            throw new ArgumentException("There are no tokens.", nameof(tokens));
        }

        // Of an id of -1, a sequence would stay as it is.
        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        Span<int> next = Batch <= 1024 ? stackalloc int[Batch] : new int[Batch];
        next.Fill(-1);
        foreach (int token in tokens)
        {
            next[row] = token;
            Decode(next);
        }
    }

    /// <summary>Which positions of its source a sequence attended to when it last went on: weights that sum to one.</summary>
    /// <param name="row">The number of the sequence.</param>
    /// <param name="weights">Receives them; <see cref="AlignmentLength"/> elements, zero from <see cref="SourceLength"/> on.</param>
    /// <exception cref="NotSupportedException">The session gives no alignment.</exception>
    void Alignment(int row, Span<float> weights) => throw new NotSupportedException("The session gives no alignment.");
}
