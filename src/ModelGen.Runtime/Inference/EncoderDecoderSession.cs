using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// The inference of a model from one sequence of tokens to another, for one pair or for several (<see cref="SessionOptions.Batch"/>): a source is
/// encoded once, and what the decoder needs of it is kept; then the target is continued token by token. Nothing is allocated once the session
/// is created. It may be used by one thread at a time: a call that comes while another one runs is refused and changes nothing.
/// </summary>
public abstract class EncoderDecoderSession : DecodingSession
{
    private readonly int _encode;
    private readonly int[] _sourceLengths;
    private readonly int _heads;
    private readonly float[] _attended;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry points <c>Encode</c> and <c>Decode</c>, and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// The options ask for a negative number of threads, or for more than 1,024; or for no sequences, or for more than the declaration allows.
    /// </exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected EncoderDecoderSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
        : base(weights, layout, options)
    {
        _encode = layout.IndexOf(nameof(Encode));
        EntryInput source = layout.Entries[_encode].Inputs[0];
        SourceVocabularySize = source.Classes;
        SourceContextLength = source.Extents.Length == 0 ? source.Length : layout.Entries[_encode].MaximumCount;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(SourceVocabularySize);
        _sourceLengths = new int[Batch];

        // Behind the logits, the decoder hands out the weights of its attention, layer by layer.
        EntryOutput[] outputs = layout.Entries[layout.IndexOf(nameof(Decode))].Outputs;
        AttentionLayers = outputs.Length - 1;
        _heads = AttentionLayers > 0 ? (int)(outputs[1].Length / SourceContextLength) : 0;
        _attended = new float[checked(Batch * AttentionLayers * _heads * SourceContextLength)];
    }

    /// <summary>The number of token ids of sources.</summary>
    public int SourceVocabularySize { get; }

    /// <summary>The most tokens of a source.</summary>
    public int SourceContextLength { get; }

    /// <summary>The number of layers whose attention to the source the session hands out: 0 unless the declaration asks for <c>AttentionWeights</c>.</summary>
    public int AttentionLayers { get; }

    /// <summary>The number of heads of each of those layers.</summary>
    public int AttentionHeads => _heads;

    /// <summary>The most source positions that <see cref="Alignment"/> tells apart: <see cref="SourceContextLength"/>, or 0 unless the declaration asks for <c>AttentionWeights</c>.</summary>
    public int AlignmentLength => SourcePositions;

    /// <summary>Encodes a source for the session's first sequence, whose target begins anew.</summary>
    /// <param name="source">The source's token ids, one or more.</param>
    /// <exception cref="ArgumentException">There are no tokens, or more than <see cref="SourceContextLength"/>. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary of sources. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Encode(ReadOnlySpan<int> source) => Encode(0, source);

    /// <summary>Encodes a source for one of the session's sequences, whose target begins anew; the others stay as they are.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <param name="source">The source's token ids, one or more.</param>
    /// <exception cref="ArgumentException">There are no tokens, or more than <see cref="SourceContextLength"/>. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, or a token id is outside the vocabulary of sources. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Encode(int row, ReadOnlySpan<int> source)
    {
        using RunGuard.Section call = Enter(nameof(Encode));
        CheckRow(row);
        if (source.IsEmpty || source.Length > SourceContextLength)
        {
            throw new ArgumentException(FormattableString.Invariant($"A source has 1 to {SourceContextLength} tokens, but there are {source.Length}."), nameof(source));
        }

        RunChecks.TokenIds(source, SourceVocabularySize, nameof(source));
        Clear(row);
        Stage(_encode, 0, source);
        Run(_encode, source.Length, row);
        _sourceLengths[row] = source.Length;
    }

    /// <summary>The number of tokens of a sequence's source; 0 before one was encoded.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public int SourceLength(int row)
    {
        CheckRow(row);
        return _sourceLengths[row];
    }

    /// <summary>What a head attended to when a sequence last went on: how much to each token of the source. The next call of the session overwrites it.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <param name="layer">The number of the decoder's layer, 0 to below <see cref="AttentionLayers"/>.</param>
    /// <param name="head">The number of the head, 0 to below <see cref="AttentionHeads"/>.</param>
    /// <returns>As many weights as the source has tokens, which sum to one; zeros before the first step.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, layer or head.</exception>
    public ReadOnlySpan<float> AttentionWeights(int row, int layer, int head)
    {
        CheckRow(row);
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, AttentionLayers);
        ArgumentOutOfRangeException.ThrowIfNegative(head);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(head, _heads);
        return Attended(row).Slice(((layer * _heads) + head) * SourceContextLength, _sourceLengths[row]);
    }

    /// <summary>Which tokens of its source a sequence attended to when it last went on: the mean of all heads of all layers.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <param name="weights">Receives them; <see cref="AlignmentLength"/> elements, zero from the source's length on.</param>
    /// <exception cref="ArgumentException">There is not room for as many.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    /// <exception cref="NotSupportedException">The declaration does not ask for <c>AttentionWeights</c>.</exception>
    public void Alignment(int row, Span<float> weights) => Align(row, weights);

    /// <inheritdoc/>
    private protected sealed override int SourcePositions => AttentionLayers > 0 ? SourceContextLength : 0;

    /// <inheritdoc/>
    private protected sealed override void Align(int row, Span<float> weights)
    {
        if (AttentionLayers == 0)
        {
            base.Align(row, weights);
        }

        CheckRow(row);
        if (weights.Length != SourceContextLength)
        {
            throw new ArgumentException(FormattableString.Invariant($"An alignment has {SourceContextLength} weights, but there is room for {weights.Length}."), nameof(weights));
        }

        weights.Clear();
        ReadOnlySpan<float> attended = Attended(row);
        int heads = AttentionLayers * _heads;
        for (int head = 0; head < heads; head++)
        {
            ReadOnlySpan<float> one = attended.Slice(head * SourceContextLength, SourceContextLength);
            for (int i = 0; i < weights.Length; i++)
            {
                weights[i] += one[i] / heads;
            }
        }
    }

    /// <inheritdoc/>
    private protected sealed override void KeepStep(int entry, int row, int index, int count)
    {
        Span<float> attended = Attended(row);
        int each = _heads * SourceContextLength;
        for (int layer = 0; layer < AttentionLayers; layer++)
        {
            Result(entry, 1 + layer, count).Slice(index * each, each).CopyTo(attended[(layer * each)..]);
        }
    }

    private Span<float> Attended(int row)
    {
        int each = _attended.Length / Batch;
        return _attended.AsSpan(row * each, each);
    }

    /// <inheritdoc/>
    private protected sealed override int SourceLengthOf(int row) => _sourceLengths[row];

    /// <inheritdoc/>
    private protected sealed override void CheckRoom(int row)
    {
        if (_sourceLengths[row] == 0)
        {
            string which = Batch == 1 ? "The session" : FormattableString.Invariant($"Sequence {row} of the session");
            throw new InvalidOperationException($"{which} has no source: {nameof(Encode)} comes before {nameof(Decode)}.");
        }

        base.CheckRoom(row);
    }

    /// <inheritdoc/>
    private protected sealed override void BeginSequence(int row)
    {
        CheckRow(row);
        if (Positions[row] > 0)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"The target of sequence {row} has begun: {nameof(Encode)} comes before another one."));
        }
    }

    /// <inheritdoc/>
    private protected sealed override void PrefillSequence(int row, ReadOnlySpan<int> tokens)
    {
        CheckRow(row);
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

    /// <inheritdoc/>
    private protected override void Move(int to, int from, bool exchange)
    {
        base.Move(to, from, exchange);
        if (exchange)
        {
            RowOrder.Exchange(Attended(to), Attended(from));
        }
        else
        {
            Attended(from).CopyTo(Attended(to));
        }

        (_sourceLengths[to], _sourceLengths[from]) = (_sourceLengths[from], exchange ? _sourceLengths[to] : _sourceLengths[from]);
    }

    /// <inheritdoc/>
    private protected override void Forget(int row)
    {
        base.Forget(row);
        Attended(row).Clear();
        _sourceLengths[row] = 0;
    }
}
