namespace ModelGen;

/// <summary>
/// Chooses the sequences of training batches: in a new random order every epoch, those of a batch of like lengths if that is asked for. Reproducible by seed, resumable at any batch, and free of allocation after construction. Not for use by several
/// threads at once.
/// </summary>
/// <remarks>
/// An epoch has as many batches as fit; the few sequences that are left over are others in every epoch, and the last ones in the order of the data. Bucketing by length: the sequences of so many batches, as the random order gives them, are sorted by length and cut into
/// batches, which come in random order. Batches of pairs (sources and targets) are made of two sets with the same numbers: see <see cref="SequenceDataset.CopyPadded"/> and <see cref="SequenceDataset.CopyShifted"/>.
/// </remarks>
public sealed class SequenceBatchLoader
{
    private const ulong BatchTweak = 1ul << 63;
    private readonly SequenceDataset _data;
    private readonly ulong _seed;
    private readonly int _bucket;
    private readonly bool _shuffled;
    private readonly int[] _rows;
    private readonly long[] _keys;
    private long _epoch;
    private long _position;

    // The bucket whose sequences lie sorted in _rows.
    private (long Epoch, long Bucket) _sorted = (-1, -1);

    /// <summary>Makes a loader at the start of epoch 0.</summary>
    /// <param name="data">The sequences, by whose lengths buckets are made.</param>
    /// <param name="batchSize">The number of rows of a batch.</param>
    /// <param name="bucketBatches">The number of batches that are sorted by length together; 1: none are.</param>
    /// <param name="seed">The seed of the order.</param>
    /// <param name="shuffled">Whether the order is random; else it is that of the data.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is not positive, or a bucket would be too large.</exception>
    /// <exception cref="ArgumentException">There are fewer sequences than a batch has rows.</exception>
    public SequenceBatchLoader(SequenceDataset data, int batchSize, int bucketBatches = 1, ulong seed = 0, bool shuffled = true)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bucketBatches);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bucketBatches, int.MaxValue / batchSize, nameof(bucketBatches));
        if (data.Count < batchSize)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected at least {batchSize} sequences, found {data.Count}."), nameof(data));
        }

        _data = data;
        _seed = seed;
        _shuffled = shuffled;
        BatchSize = batchSize;
        BatchesInEpoch = data.Count / batchSize;
        _bucket = Math.Min(bucketBatches, BatchesInEpoch);
        _rows = new int[_bucket * batchSize];
        _keys = new long[_rows.Length];
    }

    /// <summary>The number of rows of a batch.</summary>
    public int BatchSize { get; }

    /// <summary>The number of batches of an epoch.</summary>
    public int BatchesInEpoch { get; }

    /// <summary>The place of the next batch; a position counts batches. Setting it moves there; a state at the end of an epoch is the start of the next.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The epoch is negative or above 2⁵³, or the position is not inside it.</exception>
    public LoaderState State
    {
        get => new(_epoch, _position);
        set
        {
            if (value.Epoch is < 0 or > TokenBatchLoader.MaximumEpoch)
            {
                throw new ArgumentOutOfRangeException(nameof(value), value.Epoch, FormattableString.Invariant($"Expected an epoch in 0 .. {TokenBatchLoader.MaximumEpoch}."));
            }

            if (value.Position < 0 || value.Position > BatchesInEpoch)
            {
                throw new ArgumentOutOfRangeException(nameof(value), value.Position, FormattableString.Invariant($"Expected a position in 0 .. {BatchesInEpoch} of epoch {value.Epoch}."));
            }

            (_epoch, _position) = (value.Epoch, value.Position);
        }
    }

    /// <summary>Chooses the sequences of the next batch.</summary>
    /// <param name="rows">Receives their numbers, <see cref="BatchSize"/> of them.</param>
    /// <returns>The length of the longest.</returns>
    /// <exception cref="ArgumentException">There is no room for as many, or for more.</exception>
    public int Next(Span<int> rows)
    {
        if (rows.Length != BatchSize)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected room for {BatchSize} numbers, found {rows.Length}."), nameof(rows));
        }

        if (_position == BatchesInEpoch)
        {
            (_epoch, _position) = (_epoch + 1, 0);
        }

        long bucket = _position / _bucket;
        int batches = (int)Math.Min(_bucket, BatchesInEpoch - (bucket * _bucket));
        if (_sorted != (_epoch, bucket))
        {
            Sort(bucket * _bucket * BatchSize, batches * BatchSize);
            _sorted = (_epoch, bucket);
        }

        long batch = _position % _bucket;
        if (_shuffled && batches > 1)
        {
            batch = Permutation.Apply(batch, batches, _seed ^ (ulong)bucket, BatchTweak | (ulong)_epoch);
        }

        _rows.AsSpan((int)batch * BatchSize, BatchSize).CopyTo(rows);
        _position++;
        int longest = 0;
        foreach (int row in rows)
        {
            longest = Math.Max(longest, _data.Length(row));
        }

        return longest;
    }

    private void Sort(long start, int count)
    {
        for (int i = 0; i < count; i++)
        {
            int row = (int)(_shuffled ? Permutation.Apply(start + i, _data.Count, _seed, (ulong)_epoch) : start + i);
            _rows[i] = row;
            _keys[i] = _bucket > 1 ? ((long)_data.Length(row) << 32) | (uint)i : i;
        }

        if (_bucket > 1)
        {
            Array.Sort(_keys, _rows, 0, count);
        }
    }
}
