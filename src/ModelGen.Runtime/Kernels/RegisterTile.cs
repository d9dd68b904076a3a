using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// The block of a matrix product that is computed in registers: for each step of the contraction, a row of some vectors of the right
/// operand meets an element of each of some rows of the left one. Its accumulators never leave the registers before they are stored.
/// </summary>
/// <remarks>
/// One body serves every vector width and every shape: rows, vectors and what happens beside the arithmetic are type arguments, so that
/// each shape becomes code of its own, as if it had been written out. Callers pass shapes as numbers: those of
/// whole tiles, which are literals where it matters, are chosen while the call is inlined, and others by a switch.
/// </remarks>
[EditorBrowsable(EditorBrowsableState.Never)]
public static unsafe partial class RegisterTile
{
    // Elements of a cache line: steps of a row that lie in one.
    private const int Line = 16;

    /// <summary>c = a · b, or c += a · b, where the rows of a are read where they lie.</summary>
    /// <typeparam name="TVector">The vectors of b and c.</typeparam>
    /// <param name="rows">Rows of a and c, at most 12; at most 8 of three vectors.</param>
    /// <param name="vectors">Vectors of a row of b and c: 1, 2 or 3.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step.</param>
    /// <param name="bStep">Elements from one row of b to the next.</param>
    /// <param name="c">The first row of the result.</param>
    /// <param name="cStep">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="adds">Whether the sums are added to what c holds.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyRows<TVector>(int rows, int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds = false)
        where TVector : struct, IVector<TVector>
        => Choose<TVector, Rows>(rows, vectors, a, aStep, b, bStep, c, cStep, depth, adds);

    /// <summary>c = a · b, or c += a · b, where the elements of a for one step lie side by side: a packed strip, or the columns of a matrix.</summary>
    /// <typeparam name="TVector">The vectors of b and c.</typeparam>
    /// <param name="rows">Rows of c, at most 12; at most 8 of three vectors.</param>
    /// <param name="vectors">Vectors of a row of b and c: 1, 2 or 3.</param>
    /// <param name="a">The elements of the first step.</param>
    /// <param name="aStep">Elements from one step to the next.</param>
    /// <param name="b">The row of the first step.</param>
    /// <param name="bStep">Elements from one row of b to the next.</param>
    /// <param name="c">The first row of the result.</param>
    /// <param name="cStep">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="adds">Whether the sums are added to what c holds.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyStrip<TVector>(int rows, int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds = false)
        where TVector : struct, IVector<TVector>
    {
        if (typeof(TVector) == typeof(F128))
        {
            if (AdvSimd.Arm64.IsSupported)
            {
                ByElement(rows, vectors, a, aStep, b, bStep, c, cStep, depth, adds);
                return;
            }

            // Sixteen registers hold half of a whole tile.
            if (rows > 4 && rows * vectors > 12)
            {
                Any<TVector, Strip>(4, vectors, a, aStep, b, bStep, c, cStep, depth, adds);
                Any<TVector, Strip>(rows - 4, vectors, a + 4, aStep, b, bStep, c + (4 * cStep), cStep, depth, adds);
                return;
            }
        }

        Choose<TVector, Strip>(rows, vectors, a, aStep, b, bStep, c, cStep, depth, adds);
    }

    /// <summary>As <see cref="MultiplyRows"/> of a whole tile's rows, while rows of what is multiplied next are copied.</summary>
    /// <typeparam name="TVector">The vectors of b and c: of 512 bits for 8 rows, of 256 for 6.</typeparam>
    /// <param name="vectors">Vectors of a row of b and c: 1, 2 or 3.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step.</param>
    /// <param name="bStep">Elements from one row of b to the next.</param>
    /// <param name="c">The first row of the result.</param>
    /// <param name="cStep">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="adds">Whether the sums are added to what c holds.</param>
    /// <param name="ahead">What is copied.</param>
    /// <param name="aheadVectors">Vectors of a row that is copied: 1, 2 or 3.</param>
    /// <param name="every">Steps of the contraction for each of them.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyRowsAhead<TVector>(int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds, RowCopy* ahead, int aheadVectors, int every)
        where TVector : struct, IVector<TVector>
        => Ahead<TVector, Rows>(vectors, a, aStep, b, bStep, c, cStep, depth, adds, ahead, aheadVectors, every);

    /// <summary>As <see cref="MultiplyStrip"/> of a whole tile's rows, while rows of what is multiplied next are copied.</summary>
    /// <inheritdoc cref="MultiplyRowsAhead"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyStripAhead<TVector>(int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds, RowCopy* ahead, int aheadVectors, int every)
        where TVector : struct, IVector<TVector>
        => Ahead<TVector, Strip>(vectors, a, aStep, b, bStep, c, cStep, depth, adds, ahead, aheadVectors, every);

    /// <summary>As <see cref="MultiplyRows"/> of a whole tile's rows, while other rows of the left operand are asked for.</summary>
    /// <typeparam name="TVector">The vectors of b and c: of 512 bits for 8 rows, of 256 for 6.</typeparam>
    /// <param name="vectors">Vectors of a row of b and c: 1, 2 or 3.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step.</param>
    /// <param name="bStep">Elements from one row of b to the next.</param>
    /// <param name="c">The first row of the result.</param>
    /// <param name="cStep">Elements from one row of the result to the next.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="distance">Elements from the tile's rows to those that are asked for, which need not exist.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyRowsFetching<TVector>(int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, long distance)
        where TVector : struct, IVector<TVector>
        => Whole<TVector, Rows, Fetching>(vectors, a, aStep, b, bStep, c, cStep, depth, false, null, Line, distance);

    /// <summary>a · b, where whole tiles' rows of a are read where they lie.</summary>
    /// <typeparam name="TVector">The vectors of b: of 512 bits for tiles of 8 rows, of 256 for 6.</typeparam>
    /// <param name="rows">Rows of a: a multiple of a tile's.</param>
    /// <param name="vectors">Vectors of a row of b: 1, 2 or 3.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step; the others follow upon it.</param>
    /// <param name="product">Where the first row of a · b goes; the others follow upon it.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="distance">Elements from a tile's rows to those that are asked for meanwhile, which need not exist; 0 if none are.</param>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyTiles<TVector>(int rows, int vectors, float* a, long aStep, float* b, float* product, int depth, long distance)
        where TVector : struct, IVector<TVector>
    {
        int height = TVector.Lanes == 8 ? 6 : 8, columns = vectors * TVector.Lanes;
        for (int i = 0; i < rows; i += height)
        {
            if (distance == 0)
            {
                MultiplyRows<TVector>(height, vectors, a + (i * aStep), aStep, b, columns, product + (i * columns), columns, depth);
            }
            else
            {
                MultiplyRowsFetching<TVector>(vectors, a + (i * aStep), aStep, b, columns, product + (i * columns), columns, depth, distance);
            }
        }
    }

    /// <summary>
    /// The transpose of a · b, where whole tiles' rows of a are read where they lie: turned while it is in the first-level cache, so that the
    /// rows of a become columns.
    /// </summary>
    /// <typeparam name="TVector">The vectors of b: of 512 bits for tiles of 8 rows, of 256 for 6.</typeparam>
    /// <param name="rows">Rows of a: a multiple of a tile's and of the lanes of a vector.</param>
    /// <param name="kept">Those of them whose products are turned: the others only fill up tiles.</param>
    /// <param name="vectors">Vectors of a row of b: 1, 2 or 3.</param>
    /// <param name="a">The first row.</param>
    /// <param name="aStep">Elements from one row of a to the next.</param>
    /// <param name="b">The row of the first step; the others follow upon it.</param>
    /// <param name="product">Memory for a · b.</param>
    /// <param name="c">The transpose: a row for each column of b, of as many elements as rows are kept, rounded up to whole vectors.</param>
    /// <param name="depth">Steps of the contraction.</param>
    /// <param name="distance">Elements from a tile's rows to those that are asked for meanwhile, which need not exist; 0 if none are.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyTransposed<TVector>(int rows, int kept, int vectors, float* a, long aStep, float* b, float* product, float* c, int depth, long distance)
        where TVector : struct, IVector<TVector>
    {
        int columns = vectors * TVector.Lanes;
        MultiplyTiles<TVector>(rows, vectors, a, aStep, b, product, depth, distance);
        Panels.PackPanelsTransposed(product, columns, columns, kept, c, rows, TVector.Lanes);
    }

    /// <summary>Stores a block of sums, or adds it to what is there: the columns of it that the result has.</summary>
    /// <typeparam name="TVector">The vectors to move it with.</typeparam>
    /// <param name="tile">The first row; the others follow upon it, each filled up to whole vectors.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns of the result.</param>
    /// <param name="c">Where the first row goes.</param>
    /// <param name="cStep">Elements from there to where the next one goes.</param>
    /// <param name="adds">Whether the sums are added to what c holds.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store<TVector>(float* tile, int rows, int columns, float* c, long cStep, bool adds = false)
        where TVector : struct, IVector<TVector>
    {
        int tileStep = (columns + TVector.Lanes - 1) / TVector.Lanes * TVector.Lanes;
        if (adds)
        {
            AttentionTiles.Add<TVector>(tile, tileStep, rows, columns, c, cStep);
        }
        else
        {
            AttentionTiles.Store<TVector>(tile, tileStep, rows, columns, c, cStep);
        }
    }

    // Shapes that whole tiles have are compared first: where they are literals, nothing but the call is left.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Choose<TVector, TLeft>(int rows, int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
        where TVector : struct, IVector<TVector>
        where TLeft : unmanaged
    {
        if (rows == 8 && vectors == 3)
        {
            Run<TVector, Eight, Three, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
        }
        else if (rows == 6 && vectors == 2)
        {
            Run<TVector, Six, Two, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
        }
        else if (rows == 12 && vectors == 2)
        {
            Run<TVector, Twelve, Two, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
        }
        else
        {
            Any<TVector, TLeft>(rows, vectors, a, aStep, b, bStep, c, cStep, depth, adds);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead<TVector, TLeft>(int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds, RowCopy* ahead, int aheadVectors, int every)
        where TVector : struct, IVector<TVector>
        where TLeft : unmanaged
    {
        if (aheadVectors == 3)
        {
            Whole<TVector, TLeft, Copying<Three>>(vectors, a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, 0);
        }
        else if (aheadVectors == 2)
        {
            Whole<TVector, TLeft, Copying<Two>>(vectors, a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, 0);
        }
        else
        {
            Whole<TVector, TLeft, Copying<One>>(vectors, a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, 0);
        }
    }

    // The rows of a whole tile fill the registers that the width has.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Whole<TVector, TLeft, TBeside>(int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds, RowCopy* ahead, int every, long distance)
        where TVector : struct, IVector<TVector>
        where TLeft : unmanaged
        where TBeside : unmanaged
    {
        if (TVector.Lanes == 8)
        {
            if (vectors == 2)
            {
                Run<TVector, Six, Two, TLeft, TBeside>(a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, distance);
            }
            else
            {
                Run<TVector, Six, One, TLeft, TBeside>(a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, distance);
            }
        }
        else if (vectors == 3)
        {
            Run<TVector, Eight, Three, TLeft, TBeside>(a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, distance);
        }
        else if (vectors == 2)
        {
            Run<TVector, Eight, Two, TLeft, TBeside>(a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, distance);
        }
        else
        {
            Run<TVector, Eight, One, TLeft, TBeside>(a, aStep, b, bStep, c, cStep, depth, adds, ahead, every, distance);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Any<TVector, TLeft>(int rows, int vectors, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
        where TVector : struct, IVector<TVector>
        where TLeft : unmanaged
    {
        switch (vectors)
        {
            case 1:
                Any<TVector, One, TLeft>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            case 2:
                Any<TVector, Two, TLeft>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
            default:
                Any<TVector, Three, TLeft>(rows, a, aStep, b, bStep, c, cStep, depth, adds);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Any<TVector, TVectors, TLeft>(int rows, float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds)
        where TVector : struct, IVector<TVector>
        where TVectors : unmanaged
        where TLeft : unmanaged
    {
        switch (rows)
        {
            case 1:
                Run<TVector, One, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 2:
                Run<TVector, Two, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 3:
                Run<TVector, Three, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 4:
                Run<TVector, Four, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 5:
                Run<TVector, Five, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 6:
                Run<TVector, Six, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 7:
                Run<TVector, Seven, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 8:
                Run<TVector, Eight, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 9 when sizeof(TVectors) < 3:
                Run<TVector, Nine, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 10 when sizeof(TVectors) < 3:
                Run<TVector, Ten, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 11 when sizeof(TVectors) < 3:
                Run<TVector, Eleven, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
            case 12 when sizeof(TVectors) < 3:
                Run<TVector, Twelve, TVectors, TLeft, Alone>(a, aStep, b, bStep, c, cStep, depth, adds, null, depth, 0);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TVector, TRows, TVectors, TLeft, TBeside>(float* a, long aStep, float* b, long bStep, float* c, long cStep, int depth, bool adds, RowCopy* ahead, int every, long distance)
        where TVector : struct, IVector<TVector>
        where TRows : unmanaged
        where TVectors : unmanaged
        where TLeft : unmanaged
        where TBeside : unmanaged
    {
        if (adds)
        {
            // The result comes from memory while the tile multiplies.
            Ask<TVector, TVectors>(c);
            if (sizeof(TRows) > 1) Ask<TVector, TVectors>(c + cStep);
            if (sizeof(TRows) > 2) Ask<TVector, TVectors>(c + (2 * cStep));
            if (sizeof(TRows) > 3) Ask<TVector, TVectors>(c + (3 * cStep));
            if (sizeof(TRows) > 4) Ask<TVector, TVectors>(c + (4 * cStep));
            if (sizeof(TRows) > 5) Ask<TVector, TVectors>(c + (5 * cStep));
            if (sizeof(TRows) > 6) Ask<TVector, TVectors>(c + (6 * cStep));
            if (sizeof(TRows) > 7) Ask<TVector, TVectors>(c + (7 * cStep));
            if (sizeof(TRows) > 8) Ask<TVector, TVectors>(c + (8 * cStep));
            if (sizeof(TRows) > 9) Ask<TVector, TVectors>(c + (9 * cStep));
            if (sizeof(TRows) > 10) Ask<TVector, TVectors>(c + (10 * cStep));
            if (sizeof(TRows) > 11) Ask<TVector, TVectors>(c + (11 * cStep));
        }

        // Three rows for each pointer: x86 adds a distance of one or two steps to an address for nothing.
        float* a3 = a + (3 * aStep), a6 = a + (6 * aStep), a9 = a + (9 * aStep);
        TVector c0_0 = default, c0_1 = default, c0_2 = default;
        TVector c1_0 = default, c1_1 = default, c1_2 = default;
        TVector c2_0 = default, c2_1 = default, c2_2 = default;
        TVector c3_0 = default, c3_1 = default, c3_2 = default;
        TVector c4_0 = default, c4_1 = default, c4_2 = default;
        TVector c5_0 = default, c5_1 = default, c5_2 = default;
        TVector c6_0 = default, c6_1 = default, c6_2 = default;
        TVector c7_0 = default, c7_1 = default, c7_2 = default;
        TVector c8_0 = default, c8_1 = default, c8_2 = default;
        TVector c9_0 = default, c9_1 = default, c9_2 = default;
        TVector c10_0 = default, c10_1 = default, c10_2 = default;
        TVector c11_0 = default, c11_1 = default, c11_2 = default;

        for (int left = depth; left > 0; left -= every)
        {
            if (typeof(TBeside) != typeof(Alone) && typeof(TBeside) != typeof(Fetching) && ahead->Rows > 0)
            {
                // Straight on: the end of a loop of so few copies would be mispredicted each time.
                float* from = ahead->Source, to = ahead->Target, later = ahead->Later;
                TVector.Store(TVector.Load(from), to);
                if (sizeof(TBeside) > 1) TVector.Store(TVector.Load(from + TVector.Lanes), to + TVector.Lanes);
                if (sizeof(TBeside) > 2) TVector.Store(TVector.Load(from + (2 * TVector.Lanes)), to + (2 * TVector.Lanes));
                RowCopy.Fetch(later);
                if (sizeof(TBeside) * TVector.Lanes > Line) RowCopy.Fetch(later + Line);
                if (sizeof(TBeside) * TVector.Lanes > 2 * Line) RowCopy.Fetch(later + (2 * Line));
                ahead->Advance();
            }

            if (typeof(TBeside) == typeof(Fetching))
            {
                RowCopy.Fetch(a + distance);
                if (sizeof(TRows) > 1) RowCopy.Fetch(a + distance + aStep);
                if (sizeof(TRows) > 2) RowCopy.Fetch(a + distance + (2 * aStep));
                if (sizeof(TRows) > 3) RowCopy.Fetch(a3 + distance);
                if (sizeof(TRows) > 4) RowCopy.Fetch(a3 + distance + aStep);
                if (sizeof(TRows) > 5) RowCopy.Fetch(a3 + distance + (2 * aStep));
                if (sizeof(TRows) > 6) RowCopy.Fetch(a6 + distance);
                if (sizeof(TRows) > 7) RowCopy.Fetch(a6 + distance + aStep);
                if (sizeof(TRows) > 8) RowCopy.Fetch(a6 + distance + (2 * aStep));
                if (sizeof(TRows) > 9) RowCopy.Fetch(a9 + distance);
                if (sizeof(TRows) > 10) RowCopy.Fetch(a9 + distance + aStep);
                if (sizeof(TRows) > 11) RowCopy.Fetch(a9 + distance + (2 * aStep));
            }

            int steps = Math.Min(every, left);
            for (int k = 0; k < steps; k++)
            {
                TVector b0 = TVector.Load(b);
                TVector b1 = sizeof(TVectors) > 1 ? TVector.Load(b + TVector.Lanes) : default;
                TVector b2 = sizeof(TVectors) > 2 ? TVector.Load(b + (2 * TVector.Lanes)) : default;
                Row<TVector, TVectors>(a, b0, b1, b2, ref c0_0, ref c0_1, ref c0_2);
                if (sizeof(TRows) > 1) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a + aStep : a + 1, b0, b1, b2, ref c1_0, ref c1_1, ref c1_2);
                if (sizeof(TRows) > 2) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a + (2 * aStep) : a + 2, b0, b1, b2, ref c2_0, ref c2_1, ref c2_2);
                if (sizeof(TRows) > 3) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a3 : a + 3, b0, b1, b2, ref c3_0, ref c3_1, ref c3_2);
                if (sizeof(TRows) > 4) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a3 + aStep : a + 4, b0, b1, b2, ref c4_0, ref c4_1, ref c4_2);
                if (sizeof(TRows) > 5) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a3 + (2 * aStep) : a + 5, b0, b1, b2, ref c5_0, ref c5_1, ref c5_2);
                if (sizeof(TRows) > 6) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a6 : a + 6, b0, b1, b2, ref c6_0, ref c6_1, ref c6_2);
                if (sizeof(TRows) > 7) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a6 + aStep : a + 7, b0, b1, b2, ref c7_0, ref c7_1, ref c7_2);
                if (sizeof(TRows) > 8) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a6 + (2 * aStep) : a + 8, b0, b1, b2, ref c8_0, ref c8_1, ref c8_2);
                if (sizeof(TRows) > 9) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a9 : a + 9, b0, b1, b2, ref c9_0, ref c9_1, ref c9_2);
                if (sizeof(TRows) > 10) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a9 + aStep : a + 10, b0, b1, b2, ref c10_0, ref c10_1, ref c10_2);
                if (sizeof(TRows) > 11) Row<TVector, TVectors>(typeof(TLeft) == typeof(Rows) ? a9 + (2 * aStep) : a + 11, b0, b1, b2, ref c11_0, ref c11_1, ref c11_2);
                if (typeof(TLeft) == typeof(Rows))
                {
                    a++;
                    if (sizeof(TRows) > 3) a3++;
                    if (sizeof(TRows) > 6) a6++;
                    if (sizeof(TRows) > 9) a9++;
                }
                else
                {
                    a += aStep;
                }

                b += bStep;
            }
        }

        Store<TVector, TVectors>(c, adds, c0_0, c0_1, c0_2);
        if (sizeof(TRows) > 1) Store<TVector, TVectors>(c + cStep, adds, c1_0, c1_1, c1_2);
        if (sizeof(TRows) > 2) Store<TVector, TVectors>(c + (2 * cStep), adds, c2_0, c2_1, c2_2);
        if (sizeof(TRows) > 3) Store<TVector, TVectors>(c + (3 * cStep), adds, c3_0, c3_1, c3_2);
        if (sizeof(TRows) > 4) Store<TVector, TVectors>(c + (4 * cStep), adds, c4_0, c4_1, c4_2);
        if (sizeof(TRows) > 5) Store<TVector, TVectors>(c + (5 * cStep), adds, c5_0, c5_1, c5_2);
        if (sizeof(TRows) > 6) Store<TVector, TVectors>(c + (6 * cStep), adds, c6_0, c6_1, c6_2);
        if (sizeof(TRows) > 7) Store<TVector, TVectors>(c + (7 * cStep), adds, c7_0, c7_1, c7_2);
        if (sizeof(TRows) > 8) Store<TVector, TVectors>(c + (8 * cStep), adds, c8_0, c8_1, c8_2);
        if (sizeof(TRows) > 9) Store<TVector, TVectors>(c + (9 * cStep), adds, c9_0, c9_1, c9_2);
        if (sizeof(TRows) > 10) Store<TVector, TVectors>(c + (10 * cStep), adds, c10_0, c10_1, c10_2);
        if (sizeof(TRows) > 11) Store<TVector, TVectors>(c + (11 * cStep), adds, c11_0, c11_1, c11_2);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Row<TVector, TVectors>(float* a, TVector b0, TVector b1, TVector b2, ref TVector c0, ref TVector c1, ref TVector c2)
        where TVector : struct, IVector<TVector>
        where TVectors : unmanaged
    {
        TVector x = TVector.Create(*a);
        c0 = TVector.MultiplyAdd(x, b0, c0);
        if (sizeof(TVectors) > 1) c1 = TVector.MultiplyAdd(x, b1, c1);
        if (sizeof(TVectors) > 2) c2 = TVector.MultiplyAdd(x, b2, c2);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ask<TVector, TVectors>(float* c)
        where TVector : struct, IVector<TVector>
        where TVectors : unmanaged
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        Sse.Prefetch0(c);
        if (sizeof(TVectors) * TVector.Lanes > Line) Sse.Prefetch0(c + Line);
        if (sizeof(TVectors) * TVector.Lanes > 2 * Line) Sse.Prefetch0(c + (2 * Line));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TVector, TVectors>(float* c, bool adds, TVector c0, TVector c1, TVector c2)
        where TVector : struct, IVector<TVector>
        where TVectors : unmanaged
    {
        if (adds)
        {
            c0 = TVector.Load(c) + c0;
            if (sizeof(TVectors) > 1) c1 = TVector.Load(c + TVector.Lanes) + c1;
            if (sizeof(TVectors) > 2) c2 = TVector.Load(c + (2 * TVector.Lanes)) + c2;
        }

        TVector.Store(c0, c);
        if (sizeof(TVectors) > 1) TVector.Store(c1, c + TVector.Lanes);
        if (sizeof(TVectors) > 2) TVector.Store(c2, c + (2 * TVector.Lanes));
    }

    // Numbers that the compiler knows as soon as it reads the code: the sizes of types. What they rule out is then never looked at.
    [StructLayout(LayoutKind.Sequential, Size = 1)]
    private readonly struct One;

    [StructLayout(LayoutKind.Sequential, Size = 2)]
    private readonly struct Two;

    [StructLayout(LayoutKind.Sequential, Size = 3)]
    private readonly struct Three;

    [StructLayout(LayoutKind.Sequential, Size = 4)]
    private readonly struct Four;

    [StructLayout(LayoutKind.Sequential, Size = 5)]
    private readonly struct Five;

    [StructLayout(LayoutKind.Sequential, Size = 6)]
    private readonly struct Six;

    [StructLayout(LayoutKind.Sequential, Size = 7)]
    private readonly struct Seven;

    [StructLayout(LayoutKind.Sequential, Size = 8)]
    private readonly struct Eight;

    [StructLayout(LayoutKind.Sequential, Size = 9)]
    private readonly struct Nine;

    [StructLayout(LayoutKind.Sequential, Size = 10)]
    private readonly struct Ten;

    [StructLayout(LayoutKind.Sequential, Size = 11)]
    private readonly struct Eleven;

    [StructLayout(LayoutKind.Sequential, Size = 12)]
    private readonly struct Twelve;

    // The left operand's rows are read where they lie.
    private readonly struct Rows;

    // The left operand is packed.
    private readonly struct Strip;

    // Nothing happens beside the arithmetic.
    private readonly struct Alone;

    // Rows of the left operand are asked for.
    private readonly struct Fetching;

    // Rows of as many vectors as the type's size are copied.
    private readonly struct Copying<TVectors>
        where TVectors : unmanaged
    {
#pragma warning disable CS0169, IDE0051 // It gives the type its size.
        private readonly TVectors _size;
#pragma warning restore CS0169, IDE0051
    }
}
