using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// What matrix tiles pack beside their work: the rows of what is multiplied next, one after so many steps of the contraction, so that
/// memory is read at the pace of the arithmetic. The tile copies; this tells it what.
/// </summary>
/// <remarks>A tile that asked for all rows at once would wait for them: the processor can be owed a few dozen lines, no more.</remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public unsafe struct RowCopy
{
    // A row is asked for this many rows before it is copied.
    private const int Distance = 16;

    private long _stride;
    private long _later;
    private long _wrap;
    private int _width;

    /// <summary>Rows that are left to copy; 0 or less where there are none.</summary>
    public int Rows { get; private set; }

    /// <summary>The next row.</summary>
    public float* Source { get; private set; }

    /// <summary>Where it goes.</summary>
    public float* Target { get; private set; }

    /// <summary>A row that is copied later, to be asked for now.</summary>
    public readonly float* Later => Source + _later;

    /// <summary>Begins with a matrix.</summary>
    /// <param name="source">Its first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="rows">Its rows; 0 or less where there is nothing to copy.</param>
    /// <param name="target">Where its rows go, one after the other.</param>
    /// <param name="width">Elements of a row.</param>
    public void Begin(float* source, long stride, int rows, float* target, int width)
    {
        Source = source;
        Target = target;
        Rows = rows;
        _stride = stride;
        _width = width;

        // What follows upon the last row is most often the first one of the matrix beside this.
        _wrap = width - (rows * stride);
        _later = (Distance * stride) + (rows > Distance ? 0 : _wrap);
    }

    /// <summary>Goes on to the next row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Advance()
    {
        Source += _stride;
        Target += _width;
        if (--Rows == Distance)
        {
            _later += _wrap;
        }
    }

    /// <summary>Asks for a line to be brought into the second-level cache. It reads nothing, so that any address will do.</summary>
    /// <param name="p">An address in the line.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(float* p)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch1(p);
        }
    }
}
