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
    private readonly int[] _padded;
    private readonly bool _takesLength;

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
        _takesLength = layout.Entries[_encode].Inputs.Length > 1;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(SourceVocabularySize);
        _sourceLengths = new int[Batch];
        _padded = new int[_takesLength ? SourceContextLength : 0];
    }

    /// <summary>The number of token ids of sources.</summary>
    public int SourceVocabularySize { get; }

    /// <summary>The most tokens of a source.</summary>
    public int SourceContextLength { get; }

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
        int length = source.Length;
        if (_takesLength)
        {
            source.CopyTo(_padded);
            _padded.AsSpan(length).Clear();
            Stage<int>(_encode, 0, _padded);
            Stage(_encode, 1, new ReadOnlySpan<int>(in length));
        }
        else
        {
            Stage(_encode, 0, source);
        }

        Run(_encode, _takesLength ? 1 : length, row);
        _sourceLengths[row] = length;
    }

    /// <summary>The number of tokens of a sequence's source; 0 before one was encoded.</summary>
    /// <param name="row">The number of the sequence, 0 to below <see cref="ModelSession.Batch"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public int SourceLength(int row)
    {
        CheckRow(row);
        return _sourceLengths[row];
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
        (_sourceLengths[to], _sourceLengths[from]) = (_sourceLengths[from], exchange ? _sourceLengths[to] : _sourceLengths[from]);
    }

    /// <inheritdoc/>
    private protected override void Forget(int row)
    {
        base.Forget(row);
        _sourceLengths[row] = 0;
    }
}
