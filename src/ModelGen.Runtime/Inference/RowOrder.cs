namespace ModelGen.Runtime;

/// <summary>
/// Turns "row i continues what row from[i] was" into copies and exchanges of rows that can be done in place, one after the other: rows that keep their
/// own are not touched, a row is overwritten once nobody needs what it was, and only cycles are exchanged.
/// </summary>
internal sealed class RowOrder(int rows)
{
    private readonly int[] _readers = new int[rows];
    private readonly int[] _ready = new int[rows];
    private readonly bool[] _done = new bool[rows];
    private readonly (int To, int From, bool Exchange)[] _moves = new (int, int, bool)[rows];

    /// <summary>The moves, in order, at most one for each row.</summary>
    /// <exception cref="ArgumentException">There are not as many numbers as rows.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no row of that number.</exception>
    public ReadOnlySpan<(int To, int From, bool Exchange)> Moves(ReadOnlySpan<int> from)
    {
        if (from.Length != rows)
        {
            throw new ArgumentException(FormattableString.Invariant($"There must be a number for each of the session's {rows} sequences, but there are {from.Length}."), nameof(from));
        }

        Array.Clear(_readers);
        for (int row = 0; row < rows; row++)
        {
            if ((uint)from[row] >= (uint)rows)
            {
                throw new ArgumentOutOfRangeException(nameof(from), from[row], FormattableString.Invariant($"The session holds {rows} sequences, 0 to {rows - 1}."));
            }

            _done[row] = from[row] == row;
            _readers[from[row]]++;
        }

        int moves = 0, ready = 0;
        for (int row = 0; row < rows; row++)
        {
            if (_readers[row] == 0)
            {
                _ready[ready++] = row;
            }
        }

        while (ready > 0)
        {
            int row = _ready[--ready], source = from[row];
            _moves[moves++] = (row, source, false);
            _done[row] = true;
            if (--_readers[source] == 0)
            {
                _ready[ready++] = source;
            }
        }

        // What is left are cycles, each row of which is needed by one other.
        for (int first = 0; first < rows; first++)
        {
            for (int row = first; !_done[row]; row = from[row])
            {
                _done[row] = true;
                if (from[row] != first)
                {
                    _moves[moves++] = (row, from[row], true);
                }
            }
        }

        return _moves.AsSpan(0, moves);
    }

    /// <summary>Exchanges the contents of two spans of one length.</summary>
    public static void Exchange<T>(Span<T> a, Span<T> b)
        where T : unmanaged
    {
        Span<T> kept = stackalloc T[256];
        for (int start = 0; start < a.Length; start += kept.Length)
        {
            int count = Math.Min(kept.Length, a.Length - start);
            a.Slice(start, count).CopyTo(kept);
            b.Slice(start, count).CopyTo(a[start..]);
            kept[..count].CopyTo(b[start..]);
        }
    }
}
