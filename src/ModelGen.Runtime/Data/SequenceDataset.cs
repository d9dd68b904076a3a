using System.Buffers.Binary;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Sequences of token ids, such as sentences, to make batches of: in memory, or in a file that may be larger than memory (<see cref="SequenceFileWriter"/>). Reading is safe from several threads and allocates nothing.
/// </summary>
/// <remarks>A part made by <see cref="Split"/> shares the storage: dispose only the whole, after its parts are done.</remarks>
public sealed class SequenceDataset : IDisposable
{
    private readonly TokenDataset _tokens;
    private readonly long[] _ends;

    // A part takes some of the whole's sequences in the order of a permutation, which is computed and not stored.
    private readonly (int Start, ulong Seed)? _part;

    private SequenceDataset(TokenDataset tokens, long[] ends, int count, (int Start, ulong Seed)? part)
    {
        _tokens = tokens;
        _ends = ends;
        _part = part;
        Count = count;
        for (int i = 0; i < count; i++)
        {
            MaximumLength = Math.Max(MaximumLength, Length(i));
        }
    }

    /// <summary>The number of sequences.</summary>
    public int Count { get; }

    /// <summary>The length of the longest.</summary>
    public int MaximumLength { get; }

    /// <summary>All sequences of the whole, one behind the other: packed batches without padding are made of it with a <see cref="TokenBatchLoader"/>.</summary>
    public TokenDataset Tokens => _tokens;

    /// <summary>Takes sequences into memory.</summary>
    /// <param name="sequences">The sequences; none is empty.</param>
    /// <exception cref="ArgumentException">There are none, one is empty, or a token id is negative.</exception>
    public static SequenceDataset FromSequences(IEnumerable<int[]> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        List<int> tokens = [];
        List<long> ends = [];
        foreach (int[] sequence in sequences)
        {
            if (sequence is null or { Length: 0 })
            {
                throw new ArgumentException(FormattableString.Invariant($"Sequence {ends.Count} is empty."), nameof(sequences));
            }

            tokens.AddRange(sequence);
            ends.Add(tokens.Count);
        }

        return ends.Count > 0 ? new SequenceDataset(TokenDataset.FromTokens(tokens.ToArray()), [.. ends], ends.Count, null) : throw new ArgumentException("There are no sequences.", nameof(sequences));
    }

    /// <summary>Opens what a <see cref="SequenceFileWriter"/> wrote. The tokens stay in the file, and eight bytes for each sequence are read.</summary>
    /// <param name="path">The file of tokens; that of the sequences' ends lies beside it.</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="ModelFileException">The ends are not those of the tokens, or a file is a directory, a pipe or a device, or may not be read.</exception>
    /// <exception cref="InvalidDataException">The file holds no token, or its length is not a whole number of tokens.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static SequenceDataset FromFile(string path)
    {
        TokenDataset tokens = TokenDataset.FromFile(path, TokenStorage.Int32);
        try
        {
            string endsPath = path + SequenceFileWriter.EndsSuffix;
            long[] ends;
            using (FileStream stream = InputFile.Open(endsPath, FileShare.Read))
            {
                if (stream.Length % sizeof(long) != 0 || stream.Length / sizeof(long) > Math.Min(tokens.Length, int.MaxValue / 2))
                {
                    throw new ModelFileException(endsPath, "length", FormattableString.Invariant($"8 bytes for each of at most {tokens.Length} sequences"), FormattableString.Invariant($"{stream.Length} bytes"));
                }

                ends = new long[stream.Length / sizeof(long)];
                byte[] buffer = new byte[1 << 16];
                for (int i = 0; i < ends.Length;)
                {
                    int count = Math.Min(ends.Length - i, buffer.Length / sizeof(long));
                    stream.ReadExactly(buffer, 0, count * sizeof(long));
                    for (int j = 0; j < count; j++, i++)
                    {
                        ends[i] = BinaryPrimitives.ReadInt64LittleEndian(buffer.AsSpan(j * sizeof(long)));
                        long before = i > 0 ? ends[i - 1] : 0;
                        if (ends[i] <= before || ends[i] > tokens.Length || ends[i] - before > int.MaxValue)
                        {
                            throw new ModelFileException(endsPath, FormattableString.Invariant($"ends[{i}]"), FormattableString.Invariant($"a place behind {before}, up to {tokens.Length}"), FormattableString.Invariant($"{ends[i]}"));
                        }
                    }
                }
            }

            if (ends[^1] != tokens.Length)
            {
                throw new ModelFileException(endsPath, FormattableString.Invariant($"ends[{ends.Length - 1}]"), FormattableString.Invariant($"{tokens.Length}, the number of tokens"), FormattableString.Invariant($"{ends[^1]}"));
            }

            return new SequenceDataset(tokens, ends, ends.Length, null);
        }
        catch
        {
            tokens.Dispose();
            throw;
        }
    }

    /// <summary>The length of a sequence.</summary>
    /// <param name="index">The sequence's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public int Length(int index) => Locate(index).Length;

    /// <summary>Copies a sequence.</summary>
    /// <param name="index">The sequence's number.</param>
    /// <param name="destination">Receives its tokens.</param>
    /// <returns>The sequence's length.</returns>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public int CopyTo(int index, Span<int> destination)
    {
        (long start, int length) = Locate(index);
        if (destination.Length < length)
        {
            throw new ArgumentException(FormattableString.Invariant($"Sequence {index} has {length} tokens, but there is room for {destination.Length}."), nameof(destination));
        }

        _tokens.CopyTo(start, destination[..length]);
        return length;
    }

    /// <summary>A sequence, in a new array.</summary>
    /// <param name="index">The sequence's number.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public int[] ToArray(int index)
    {
        int[] sequence = new int[Length(index)];
        CopyTo(index, sequence);
        return sequence;
    }

    /// <summary>Copies sequences into a padded batch.</summary>
    /// <param name="rows">The sequences' numbers.</param>
    /// <param name="padding">The token that fills rows up.</param>
    /// <param name="tokens">Receives a row for each, all of one length.</param>
    /// <param name="lengths">Receives how many tokens of each row are the sequence's; or empty.</param>
    /// <exception cref="ArgumentException">The room is not a whole number of rows, or a sequence is longer than a row.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public void CopyPadded(ReadOnlySpan<int> rows, int padding, Span<int> tokens, Span<int> lengths)
    {
        int width = Width(rows.Length, tokens.Length, nameof(tokens));
        if (!lengths.IsEmpty && lengths.Length != rows.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected room for {rows.Length} lengths, found {lengths.Length}."), nameof(lengths));
        }

        for (int row = 0; row < rows.Length; row++)
        {
            Span<int> destination = tokens.Slice(row * width, width);
            int length = CopyTo(rows[row], destination);
            destination[length..].Fill(padding);
            if (!lengths.IsEmpty)
            {
                lengths[row] = length;
            }
        }
    }

    /// <summary>Copies sequences into a batch for teacher forcing: inputs are all tokens but the last, targets all but the first, which are what follows each input.</summary>
    /// <param name="rows">The sequences' numbers.</param>
    /// <param name="padding">The token that fills inputs up; targets are filled up with -1.</param>
    /// <param name="inputs">Receives a row for each sequence, all of one length.</param>
    /// <param name="targets">Receives as many.</param>
    /// <exception cref="ArgumentException">The rooms are not of one size and a whole number of rows, or a sequence is longer than a row and one.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public void CopyShifted(ReadOnlySpan<int> rows, int padding, Span<int> inputs, Span<int> targets)
    {
        int width = Width(rows.Length, inputs.Length, nameof(inputs));
        if (targets.Length != inputs.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"Expected {inputs.Length} targets, found {targets.Length}."), nameof(targets));
        }

        for (int row = 0; row < rows.Length; row++)
        {
            (long start, int length) = Locate(rows[row]);
            if (length - 1 > width)
            {
                throw new ArgumentException(FormattableString.Invariant($"Sequence {rows[row]} has {length} tokens, but a row takes {width} and one."), nameof(inputs));
            }

            Span<int> input = inputs.Slice(row * width, width), target = targets.Slice(row * width, width);
            _tokens.CopyTo(start, input[..(length - 1)]);
            _tokens.CopyTo(start + 1, target[..(length - 1)]);
            input[(length - 1)..].Fill(padding);
            target[(length - 1)..].Fill(-1);
        }
    }

    /// <summary>Holds out some sequences, chosen at random, for validation. Sets of as many sequences (sources and targets) are split alike by the same seed.</summary>
    /// <param name="validationFraction">The held-out part, at least 0 and below 1; its length is rounded down.</param>
    /// <param name="seed">The same seed chooses the same sequences.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="validationFraction"/> is not in [0, 1).</exception>
    /// <exception cref="InvalidOperationException">These sequences are a part themselves.</exception>
    public (SequenceDataset Training, SequenceDataset Validation) Split(double validationFraction, ulong seed = 0)
    {
        if (!(validationFraction >= 0 && validationFraction < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(validationFraction), validationFraction, "Expected a fraction of at least 0 and below 1.");
        }

        if (_part is not null)
        {
            throw new InvalidOperationException("Only a whole can be split.");
        }

        int validation = (int)(Count * validationFraction), training = Count - validation;
        return (new SequenceDataset(_tokens, _ends, training, (0, seed)), new SequenceDataset(_tokens, _ends, validation, (training, seed)));
    }

    /// <summary>Releases the file, if there is one.</summary>
    public void Dispose() => _tokens.Dispose();

    private (long Start, int Length) Locate(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        long place = _part is { } part ? Permutation.Apply(part.Start + index, _ends.Length, part.Seed, tweak: 0x5350_4C49_54) : index;
        long start = place > 0 ? _ends[place - 1] : 0;
        return (start, (int)(_ends[place] - start));
    }

    private static int Width(int rows, int room, string name)
        => rows > 0 && room > 0 && room % rows == 0 ? room / rows : throw new ArgumentException(FormattableString.Invariant($"Expected room for {rows} rows of one length, found {room}."), name);
}
