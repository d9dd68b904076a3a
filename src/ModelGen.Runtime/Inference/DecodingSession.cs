using System.ComponentModel;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A session that continues sequences token by token, one or several (<see cref="SessionOptions.Batch"/>): each has states and a position of
/// its own. Nothing is allocated once it is created.
/// </summary>
public abstract class DecodingSession : ModelSession, ISequenceDecoder
{
    private readonly int _decode;
    private readonly int _decodeBatch;
    private readonly RowNumber[] _numbers;
    private readonly RowNumber[] _batchNumbers;
    private readonly float[] _logits;
    private readonly int[] _rows;
    private readonly int[] _staged;

    /// <summary>Called by emitted code.</summary>
    /// <param name="weights">The model's weights.</param>
    /// <param name="layout">The entry point <c>Decode</c>, and <c>DecodeBatch</c> where a session may hold several sequences, and their memory.</param>
    /// <param name="options">The session's options; null for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// The options ask for a negative number of threads, or for more than 1,024; or for no sequences, or for more than the declaration allows.
    /// </exception>
    [EditorBrowsable(EditorBrowsableState.Never)]
    protected DecodingSession(ModelWeights weights, ProgramLayout layout, SessionOptions? options)
        : base(weights, layout, options)
    {
        _decode = layout.IndexOf(nameof(Decode));
        _decodeBatch = Array.FindIndex(layout.Entries, static entry => entry.Name == "DecodeBatch");
        _numbers = NumbersOf(layout.Entries[_decode]);
        _batchNumbers = _decodeBatch < 0 ? [] : NumbersOf(layout.Entries[_decodeBatch]);
        VocabularySize = layout.Entries[_decode].Inputs[0].Classes;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(VocabularySize);
        _logits = new float[checked(Batch * VocabularySize)];
        _rows = new int[Batch];
        _staged = new int[Batch];

        static RowNumber[] NumbersOf(EntryLayout entry)
        {
            var numbers = new RowNumber[entry.Inputs.Length - 1];
            for (int i = 0; i < numbers.Length; i++)
            {
                numbers[i] = entry.Inputs[i + 1].Name switch
                {
                    "sequences" => RowNumber.Sequence,
                    "positions" => RowNumber.Position,
                    "sourceLengths" => RowNumber.SourceLength,
                    string name => throw new ArgumentException($"The layout is invalid: {entry.Name} takes {name}."),
                };
            }

            return numbers;
        }
    }

    /// <summary>What a plan may ask of each sequence beside its token.</summary>
    private enum RowNumber
    {
        Sequence,
        Position,
        SourceLength,
    }

    /// <summary>The number of token ids, and of logits.</summary>
    public int VocabularySize { get; }

    /// <summary>The most tokens of a sequence; 0 where there is no limit.</summary>
    public int ContextLength => PlanLayout.ContextLength;

    /// <summary>Appends one token and computes the logits of the token that follows it.</summary>
    /// <param name="token">The token's id.</param>
    /// <returns><see cref="VocabularySize"/> logits; the next call overwrites them.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context is full, the session holds several sequences, it has no source that it needs, or another thread is using it. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public ReadOnlySpan<float> Decode(int token)
    {
        using RunGuard.Section call = Enter(nameof(Decode));
        RequireOne(nameof(Decode));
        var tokens = new ReadOnlySpan<int>(in token);
        RunChecks.TokenIds(tokens, VocabularySize, nameof(token));
        CheckRoom(0);
        return DecodeOne(0, token);
    }

    /// <summary>
    /// Appends one token and gives the likeliest one to follow it, the lowest id among equals: what <see cref="Sampler.ArgMax"/> finds in the logits of
    /// <see cref="Decode(int)"/>. On a CUDA device it is found there, and nothing else comes back.
    /// </summary>
    /// <param name="token">The token's id.</param>
    /// <returns>The id of the token that is likeliest to follow.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="ArgumentException">A logit is NaN or positive infinity, or all are negative infinity. The token has been appended.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context is full, the session holds several sequences, it has no source that it needs, or another thread is using it. The session is unchanged.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public int DecodeGreedy(int token)
    {
        using RunGuard.Section call = Enter(nameof(DecodeGreedy));
        int next = DecodeOn(token, nameof(DecodeGreedy), chain: null, 0, out _, out ReadOnlySpan<float> logits);
        return next >= 0 ? next : Sampler.ArgMax(logits);
    }

    /// <summary>
    /// Appends one token and lets the device choose the one to follow it: −1 where the logits are to be looked at, because they are no finite numbers, the device cannot decide for certain, or there is none.
    /// </summary>
    internal int DecodeAndChoose(int token, CudaChain? chain, double uniform, out bool isNumberUsed, out ReadOnlySpan<float> logits)
    {
        using RunGuard.Section call = Enter(nameof(Decode));
        return DecodeOn(token, nameof(Decode), chain, uniform, out isNumberUsed, out logits);
    }

    private int DecodeOn(int token, string name, CudaChain? chain, double uniform, out bool isNumberUsed, out ReadOnlySpan<float> logits)
    {
        RequireOne(name);
        var tokens = new ReadOnlySpan<int>(in token);
        RunChecks.TokenIds(tokens, VocabularySize, nameof(token));
        CheckRoom(0);
        if (!ChoosesTokens)
        {
            isNumberUsed = false;
            logits = DecodeOne(0, token);
            return -1;
        }

        StageOne(0, token);
        int next = RunToChoose(_decode, 0, chain, uniform, out isNumberUsed);
        logits = next >= 0 ? [] : Keep(_decode, 0);
        return next;
    }

    /// <summary>Whether tokens are chosen on a device. A step that keeps more than its logits needs all that comes back.</summary>
    internal bool ChoosesTokens => ChoosesOnDevice && Batch == 1 && PlanLayout.Entries[_decode].Outputs.Length == 1;

    /// <summary>Loads what choosing takes.</summary>
    internal void PrepareChoosing(bool draws) => PrepareChoosing(VocabularySize, draws);

    /// <summary>A number that tells the last run from those before and behind it.</summary>
    internal long LastRun => DeviceRuns;

    /// <summary>The logits of a token that was decoded by <see cref="DecodeAndChoose"/>, which lie on the device until something else runs there.</summary>
    /// <param name="run">What <see cref="LastRun"/> was then.</param>
    /// <exception cref="InvalidOperationException">Something else ran.</exception>
    internal ReadOnlySpan<float> RecallLogits(long run)
    {
        using RunGuard.Section call = Enter(nameof(Decode));
        if (run != LastRun)
        {
            throw new InvalidOperationException("The logits of the last token lay on the device, and the session has been used for something else since. Start again.");
        }

        BringOutputs(_decode);
        return Keep(_decode, 0);
    }

    /// <summary>
    /// Appends one token to each of the session's sequences, whatever their positions, and computes the logits of the tokens that follow
    /// them. The weights are read once for all of them.
    /// </summary>
    /// <param name="tokens">A token's id for each sequence, or -1 where the sequence is to stay as it is.</param>
    /// <returns>
    /// The logits of all sequences, <see cref="ModelSession.Batch"/> × <see cref="VocabularySize"/>: bit for bit those of sessions that hold one sequence each.
    /// A sequence that stayed as it is has those that it was given last, zeros if it is empty. The next call overwrites them.
    /// </returns>
    /// <exception cref="ArgumentException">There are not as many tokens as sequences. The session is unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token id is outside the vocabulary. The session is unchanged.</exception>
    /// <exception cref="InvalidOperationException">
    /// The context of a sequence that is to go on is full, it has no source that it needs, or another thread is using the session. The session is unchanged.
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
            CheckRoom(row);
            _rows[count++] = row;
        }

        for (int row = 0; row < tokens.Length; row++)
        {
            if (tokens[row] == -1 && Positions[row] == 0)
            {
                Logits(row).Clear();
            }
        }

        if (_decodeBatch < 0 || count == 1)
        {
            // One sequence alone takes the plan of one.
            if (count > 0)
            {
                DecodeOne(_rows[0], tokens[_rows[0]]);
            }
        }
        else if (count > 0)
        {
            DecodeSeveral(tokens, _rows.AsSpan(0, count));
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

    void ISequenceDecoder.Begin(int row) => BeginSequence(row);

    void ISequenceDecoder.Prefill(int row, ReadOnlySpan<int> tokens) => PrefillSequence(row, tokens);

    int ISequenceDecoder.AlignmentLength => SourcePositions;

    int ISequenceDecoder.SourceLength(int row) => SourceLengthOf(row);

    void ISequenceDecoder.Alignment(int row, Span<float> weights) => Align(row, weights);

    /// <summary>Lets a new output begin, outside of a call's section.</summary>
    private protected abstract void BeginSequence(int row);

    /// <summary>Appends tokens to a sequence, outside of a call's section.</summary>
    private protected abstract void PrefillSequence(int row, ReadOnlySpan<int> tokens);

    /// <summary>The most source positions that an alignment tells apart; 0 where the session gives none.</summary>
    private protected virtual int SourcePositions => 0;

    /// <summary>Which positions of its source a sequence attended to when it last went on.</summary>
    private protected virtual void Align(int row, Span<float> weights) => throw new NotSupportedException("The session gives no alignment.");

    /// <summary>Keeps what else a step gave a sequence than its logits.</summary>
    /// <param name="entry">The entry point that was run.</param>
    /// <param name="row">The number of the sequence.</param>
    /// <param name="index">Which row of the run it was.</param>
    /// <param name="count">Rows of the run.</param>
    private protected virtual void KeepStep(int entry, int row, int index, int count)
    {
    }

    /// <summary>The number of tokens of a sequence's source.</summary>
    private protected virtual int SourceLengthOf(int row) => 0;

    /// <summary>Requires that a sequence can go on by a token.</summary>
    private protected virtual void CheckRoom(int row) => CheckSpace(1, row);

    // Logits are kept for each sequence.
    private protected sealed override bool KeepsOutputs => false;

    /// <inheritdoc/>
    private protected override void Forget(int row)
    {
        // What a session of one handed out stays what it was.
        if (Batch > 1)
        {
            Logits(row).Clear();
        }
    }

    /// <inheritdoc/>
    private protected override void Move(int to, int from, bool exchange)
    {
        if (exchange)
        {
            RowOrder.Exchange(Logits(to), Logits(from));
        }
        else
        {
            Logits(from).CopyTo(Logits(to));
        }
    }

    /// <summary>The logits that a sequence was given last.</summary>
    private protected Span<float> Logits(int row) => _logits.AsSpan(row * VocabularySize, VocabularySize);

    /// <summary>Keeps what an entry point gave a sequence. A copy is safe to hold after the session is disposed; it costs nothing beside what it took to compute it.</summary>
    private protected ReadOnlySpan<float> Keep(int entry, int row)
    {
        Span<float> kept = Logits(row);
        Result(entry, 0, 1).CopyTo(kept);
        return kept;
    }

    /// <summary>Requires that the session holds one sequence, which a call that names none means.</summary>
    private protected void RequireOne(string call)
    {
        if (Batch > 1)
        {
            throw new InvalidOperationException(FormattableString.Invariant($"{call} was called without saying for which of the session's {Batch} sequences."));
        }
    }

    private ReadOnlySpan<float> DecodeOne(int row, int token)
    {
        StageOne(row, token);
        Run(_decode, 1, row);
        KeepStep(_decode, row, 0, 1);
        return Keep(_decode, row);
    }

    private void StageOne(int row, int token)
    {
        Stage(_decode, 0, new ReadOnlySpan<int>(in token));
        for (int i = 0; i < _numbers.Length; i++)
        {
            int number = NumberOf(_numbers[i], row);
            Stage(_decode, 1 + i, new ReadOnlySpan<int>(in number));
        }
    }

    private void DecodeSeveral(ReadOnlySpan<int> tokens, ReadOnlySpan<int> rows)
    {
        Span<int> staged = _staged.AsSpan(0, rows.Length);
        for (int i = 0; i < rows.Length; i++)
        {
            staged[i] = tokens[rows[i]];
        }

        Stage<int>(_decodeBatch, 0, staged);
        for (int input = 0; input < _batchNumbers.Length; input++)
        {
            for (int i = 0; i < rows.Length; i++)
            {
                staged[i] = NumberOf(_batchNumbers[input], rows[i]);
            }

            Stage<int>(_decodeBatch, 1 + input, staged);
        }

        Run(_decodeBatch, rows.Length);
        ReadOnlySpan<float> logits = Result(_decodeBatch, 0, rows.Length);
        for (int i = 0; i < rows.Length; i++)
        {
            logits.Slice(i * VocabularySize, VocabularySize).CopyTo(Logits(rows[i]));
            KeepStep(_decodeBatch, rows[i], i, rows.Length);
            Advance(rows[i], 1);
        }
    }

    private int NumberOf(RowNumber number, int row) => number switch
    {
        RowNumber.Sequence => row,
        RowNumber.Position => Positions[row],
        _ => SourceLengthOf(row),
    };
}
