namespace ModelGen;

/// <summary>The order in which a <see cref="TokenBatchLoader"/> visits its data.</summary>
public enum BatchOrder
{
    /// <summary>Windows in a new random order every epoch; each window is independent of the one before.</summary>
    Shuffled,

    /// <summary>
    /// Every row of the batch reads its own contiguous stream from start to end, for truncated back-propagation through time:
    /// a row continues where the same row of the last batch ended.
    /// </summary>
    Sequential,
}

/// <summary>Where a <see cref="TokenBatchLoader"/> stands: with its seed and sizes, all that is needed to continue exactly.</summary>
/// <param name="Epoch">How many times the data has been gone through.</param>
/// <param name="Position">Shuffled: windows used in this epoch. Sequential: batches used in this epoch.</param>
public readonly record struct LoaderState(long Epoch, long Position);

/// <summary>
/// Cuts a token sequence into training batches of B rows by T tokens; the target of each token is the token after it.
/// Reproducible by seed, resumable at any batch, and free of allocation after construction. Not for use by several threads at once.
/// </summary>
/// <remarks>
/// <para>Shuffled: an epoch's windows start at phase + wT for w = 0, 1, …, as many as fit, and each is used exactly once per
/// epoch; a batch may end one epoch and begin the next. Sequential: the data after the phase is cut into B streams of equal
/// length, each read in steps of T; fewer than T tokens at the end of each stream, and fewer than B behind the last, are left out. The phase
/// is 0 in the first epoch and a random number below T in later ones, as far as the data leaves room for it, so that the cuts fall elsewhere.</para>
/// <para>The random order needs no table: it is a keyed permutation (a Feistel network over Philox with cycle walking; Black and
/// Rogaway, "Ciphers with arbitrary finite domains", 2002), so a state is two numbers however large the data is.</para>
/// </remarks>
public sealed class TokenBatchLoader
{
    /// <summary>The last epoch, which no run reaches; a file may say anything.</summary>
    internal const long MaximumEpoch = 1L << 53;

    private const ulong PhaseStream = 0x7068_6173_6500_0000ul;
    private readonly TokenDataset _data;
    private long _epoch;
    private long _position;
    private long _phase;
    private long _count;

    /// <summary>Makes a loader at the start of epoch 0.</summary>
    /// <param name="data">The tokens.</param>
    /// <param name="batchSize">B, the number of rows.</param>
    /// <param name="sequenceLength">T, the number of tokens in a row.</param>
    /// <param name="order">The order of the windows.</param>
    /// <param name="seed">The seed of the order and the phases.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, B × T exceeds 2³¹ - 1, or the order is none of the two.</exception>
    /// <exception cref="ArgumentException">The data is too short: shuffled order needs T + 1 tokens, sequential order BT + 1.</exception>
    public TokenBatchLoader(TokenDataset data, int batchSize, int sequenceLength, BatchOrder order = BatchOrder.Shuffled, ulong seed = 0)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sequenceLength);
        if (order is not (BatchOrder.Shuffled or BatchOrder.Sequential))
            throw new ArgumentOutOfRangeException(nameof(order), order, "Expected Shuffled or Sequential.");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sequenceLength, int.MaxValue / batchSize);
        _data = data;
        BatchSize = batchSize;
        SequenceLength = sequenceLength;
        Order = order;
        Seed = seed;
        if (data.Length < MinimumLength)
        {
            throw new ArgumentException(
                $"Expected at least {MinimumLength} tokens for {batchSize} × {sequenceLength} batches in {order} order, found {data.Length}.",
                nameof(data));
        }
        StartEpoch(0);
    }

    /// <summary>B, the number of rows.</summary>
    public int BatchSize { get; }

    /// <summary>T, the number of tokens in a row.</summary>
    public int SequenceLength { get; }

    /// <summary>The order of the windows.</summary>
    public BatchOrder Order { get; }

    /// <summary>The seed of the order and the phases.</summary>
    public ulong Seed { get; }

    /// <summary>The number of tokens in the data.</summary>
    public long DataLength => _data.Length;

    /// <summary>Shuffled: windows in this epoch. Sequential: batches in this epoch.</summary>
    public long CountInEpoch => _count;

    /// <summary>
    /// The place of the next batch. Setting it moves there; a state at the end of an epoch is the start of the next.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The epoch is negative or above 2⁵³, or the position is not inside it.</exception>
    public LoaderState State
    {
        get => new(_epoch, _position);
        set
        {
            if (value.Epoch is < 0 or > MaximumEpoch)
                throw new ArgumentOutOfRangeException(nameof(value), value.Epoch, $"Expected an epoch in 0 .. {MaximumEpoch}.");
            (long phase, long count) = Epoch(value.Epoch);
            if (value.Position < 0 || value.Position > count)
                throw new ArgumentOutOfRangeException(nameof(value), value.Position, $"Expected a position in 0 .. {count} of epoch {value.Epoch}.");
            (_epoch, _position, _phase, _count) = (value.Epoch, value.Position, phase, count);
        }
    }

    /// <summary>Whether a state is one of this loader's.</summary>
    internal bool Has(LoaderState state) =>
        state.Epoch is >= 0 and <= MaximumEpoch && state.Position >= 0 && state.Position <= Epoch(state.Epoch).Count;

    private long MinimumLength => Order == BatchOrder.Shuffled ? SequenceLength + 1L : (long)BatchSize * SequenceLength + 1L;

    /// <summary>Writes the next batch.</summary>
    /// <param name="inputs">Receives B × T token ids, row by row.</param>
    /// <param name="targets">Receives B × T token ids: for each input, the token after it.</param>
    /// <returns>
    /// Whether the rows begin anew, so that a recurrent model's carried state must be reset before this batch:
    /// always in shuffled order, at the start of an epoch in sequential order.
    /// </returns>
    /// <exception cref="ArgumentException">A span does not hold exactly B × T elements.</exception>
    /// <exception cref="InvalidDataException">A file holds a negative id.</exception>
    /// <exception cref="ObjectDisposedException">The data's file was closed.</exception>
    public bool NextBatch(Span<int> inputs, Span<int> targets)
    {
        int size = BatchSize * SequenceLength;
        if (inputs.Length != size)
            throw new ArgumentException($"Expected {BatchSize} × {SequenceLength} = {size} inputs, found {inputs.Length}.", nameof(inputs));
        if (targets.Length != size)
            throw new ArgumentException($"Expected {BatchSize} × {SequenceLength} = {size} targets, found {targets.Length}.", nameof(targets));

        if (Order == BatchOrder.Shuffled)
        {
            for (int row = 0; row < BatchSize; row++)
            {
                if (_position == _count)
                    StartEpoch(_epoch + 1);
                long window = Permutation.Apply(_position, _count, Seed, (ulong)_epoch);
                CopyRow(row, _phase + window * SequenceLength, inputs, targets);
                _position++;
            }
            return true;
        }

        if (_position == _count)
            StartEpoch(_epoch + 1);
        long stream = (_data.Length - 1 - _phase) / BatchSize;
        for (int row = 0; row < BatchSize; row++)
            CopyRow(row, _phase + row * stream + _position * SequenceLength, inputs, targets);
        return _position++ == 0;
    }

    /// <summary>A hash of the data's length and of its first and last 64 Ki tokens: enough to notice other data.</summary>
    internal ulong DataFingerprint()
    {
        const int Part = 1 << 16;
        ulong hash = Mix(0xCBF2_9CE4_8422_2325ul, (ulong)_data.Length);
        Span<int> buffer = stackalloc int[512];
        for (long start = 0; start < _data.Length; start += buffer.Length)
        {
            if (start == Part)
                start = Math.Max(start, _data.Length - Part);
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, _data.Length - start)];
            _data.CopyTo(start, chunk);
            foreach (int token in chunk)
                hash = Mix(hash, (ulong)token);
        }
        return hash;

        // One step of FNV-1a on a whole word.
        static ulong Mix(ulong hash, ulong value) => (hash ^ value) * 0x0000_0100_0000_01B3ul;
    }

    private void CopyRow(int row, long start, Span<int> inputs, Span<int> targets)
    {
        _data.CopyTo(start, inputs.Slice(row * SequenceLength, SequenceLength));
        _data.CopyTo(start + 1, targets.Slice(row * SequenceLength, SequenceLength));
    }

    private void StartEpoch(long epoch)
    {
        if (epoch > MaximumEpoch)
            throw new InvalidOperationException($"There is no epoch after {MaximumEpoch}.");
        (_phase, _count) = Epoch(epoch);
        _epoch = epoch;
        _position = 0;
    }

    private (long Phase, long Count) Epoch(long epoch)
    {
        long phase = 0;
        if (epoch > 0)
        {
            long room = Math.Min(SequenceLength, _data.Length - MinimumLength + 1);
            var random = new CounterRandom(Seed, PhaseStream) { Position = (ulong)epoch * 16 };
            phase = random.NextInt32((int)room);
        }
        long pairs = _data.Length - 1 - phase;
        return (phase, Order == BatchOrder.Shuffled ? pairs / SequenceLength : pairs / BatchSize / SequenceLength);
    }
}
