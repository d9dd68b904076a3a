using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

public static unsafe partial class Panels
{
    // Rows that are copied together: their target is one piece per panel, and their sources are few enough for the prefetcher.
    private const int RowBlock = 8;

    /// <summary>
    /// Packs rows into panels, transposed: panel p holds rows p·width and following, element (k, j) at k·width + j, and panels follow
    /// each other. The last panel is as narrow as its rows allow in whole granules, and padded with zeros.
    /// </summary>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Elements of a row that are packed: the panels' rows.</param>
    /// <param name="count">Rows to pack.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackPanelsTransposed(float* source, int stride, int depth, int count, float* target, int width, int granule)
    {
        for (int first = 0; first < count; first += width)
        {
            int columns = Math.Min(width, count - first);
            int panelWidth = columns == width ? width : (columns + granule - 1) / granule * granule;
            TransposePanel(source + ((long)first * stride), stride, depth, columns, target, panelWidth, panelWidth);
            target += (long)panelWidth * depth;
        }
    }

    /// <summary>As <see cref="PackPanelsTransposed(float*, int, int, int, float*, int, int)"/>, of rows of 16-bit floats.</summary>
    /// <param name="format"><see cref="WeightFormat.F16"/> or <see cref="WeightFormat.BF16"/>.</param>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Elements of a row that are packed: the panels' rows.</param>
    /// <param name="count">Rows to pack.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackPanelsTransposed(WeightFormat format, ushort* source, int stride, int depth, int count, float* target, int width, int granule)
    {
        const int Rows = 16, Columns = 64;
        float* wide = stackalloc float[Rows * Columns];
        for (int first = 0; first < count; first += width)
        {
            int columns = Math.Min(width, count - first);
            int panelWidth = columns == width ? width : (columns + granule - 1) / granule * granule;
            for (int row = 0; row < columns; row += Rows)
            {
                int rows = Math.Min(Rows, columns - row), filled = row + rows == columns ? panelWidth - row : rows;
                for (int column = 0; column < depth; column += Columns)
                {
                    int part = Math.Min(Columns, depth - column);
                    for (int r = 0; r < rows; r++)
                    {
                        byte* from = (byte*)(source + ((long)(first + row + r) * stride) + column);
                        var to = new Span<float>(wide + (r * Columns), part);
                        if (format == WeightFormat.F16)
                        {
                            GgmlBlocks.ReadHalves(from, to);
                        }
                        else
                        {
                            GgmlBlocks.ReadUpperHalves(from, to);
                        }
                    }

                    TransposePanel(wide, Columns, part, rows, target + ((long)column * panelWidth) + row, filled, panelWidth);
                }
            }

            target += (long)panelWidth * depth;
        }
    }

    /// <summary>
    /// As <see cref="PackPanelsTransposed(float*, int, int, int, float*, int, int)"/>, done by all workers together: each packs its share
    /// of the rows, and they meet when all panels are there.
    /// </summary>
    /// <param name="worker">The worker.</param>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Elements of a row that are packed: the panels' rows.</param>
    /// <param name="count">Rows to pack.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    public static void PackPanelsTransposed(Worker worker, float* source, int stride, int depth, int count, float* target, int width, int granule)
    {
        // Where a panel may be cut, panels that are few, as those of some dozen rows are, make even shares.
        worker.Range(count, width % granule == 0 ? granule : width, out int first, out int last);
        while (first < last)
        {
            int panel = first / width * width, end = Math.Min(panel + width, last);
            int panelWidth = count - panel >= width ? width : (count - panel + granule - 1) / granule * granule;
            int filled = end == count ? panelWidth - (first - panel) : end - first;
            TransposePanel(source + ((long)first * stride), stride, depth, end - first, target + ((long)panel * depth) + (first - panel), filled, panelWidth);
            first = end;
        }

        worker.Barrier();
    }

    /// <summary>
    /// As <see cref="PackPanels(float*, int, int, int, float*, int, int)"/>, done by all workers together: each packs its share of the
    /// panels, and they meet when all of them are there.
    /// </summary>
    /// <param name="worker">The worker.</param>
    /// <param name="source">The first column's first element.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Rows: the panels' rows.</param>
    /// <param name="count">Columns to pack.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    public static void PackPanels(Worker worker, float* source, int stride, int depth, int count, float* target, int width, int granule)
    {
        worker.Range(count, width, out int first, out int last);
        PackPanels(source + first, stride, depth, last - first, target + ((long)first * depth), width, granule);
        worker.Barrier();
    }

    /// <summary>As <see cref="PackPanelsTransposed(float*, int, int, int, float*, int, int)"/>, of columns instead of rows: the source is read as it lies.</summary>
    /// <param name="source">The first column's first element.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="depth">Rows: the panels' rows.</param>
    /// <param name="count">Columns to pack.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PackPanels(float* source, int stride, int depth, int count, float* target, int width, int granule)
    {
        int whole = count / width;
        int rest = count - (whole * width);
        int restWidth = (rest + granule - 1) / granule * granule;
        for (int k = 0; k < depth; k += RowBlock)
        {
            int rows = Math.Min(RowBlock, depth - k);
            float* from = source + ((long)k * stride);
            float* to = target + ((long)k * width);
            for (int panel = 0; panel < whole; panel++)
            {
                CopyRows(from, stride, rows, width, to, width);
                from += width;
                to += (long)width * depth;
            }

            if (rest > 0)
            {
                CopyRows(from, stride, rows, rest, target + ((long)whole * width * depth) + ((long)k * restWidth), restWidth);
            }
        }
    }

    /// <summary>As <see cref="PackPanels(float*, int, int, int, float*, int, int)"/>, of some rows of a matrix in another format, and of all its columns.</summary>
    /// <param name="format">The format.</param>
    /// <param name="matrix">The matrix.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="first">The first row to pack.</param>
    /// <param name="depth">Rows to pack: the panels' rows.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    public static void PackPanels(WeightFormat format, byte* matrix, int columns, int first, int depth, float* target, int width, int granule)
        => PackRows(format, matrix, columns, first, depth, 0, depth, target, width, granule);

    /// <summary>As the overload without a worker, done by all workers together: each packs its share of the rows, and they meet when all of them are there.</summary>
    /// <param name="worker">The worker.</param>
    /// <param name="format">The format.</param>
    /// <param name="matrix">The matrix.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="first">The first row to pack.</param>
    /// <param name="depth">Rows to pack: the panels' rows.</param>
    /// <param name="target">The panels.</param>
    /// <param name="width">Columns of a panel.</param>
    /// <param name="granule">What a panel's width is a multiple of.</param>
    public static void PackPanels(Worker worker, WeightFormat format, byte* matrix, int columns, int first, int depth, float* target, int width, int granule)
    {
        worker.Range(depth, BlockRows.GroupRows, out int start, out int end);
        PackRows(format, matrix, columns, first, depth, start, end, target, width, granule);
        worker.Barrier();
    }

    // A row's blocks are unpacked one after the other, and each goes to the panels that it lies across.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackRows(WeightFormat format, byte* matrix, int columns, int first, int depth, int start, int end, float* target, int width, int granule)
    {
        float* wide = stackalloc float[SuperBlocks.Columns];
        for (int k = start; k < end; k++)
        {
            for (int column = 0; column < columns; column += SuperBlocks.Columns)
            {
                int part = Math.Min(SuperBlocks.Columns, columns - column);
                BlockRows.Read(format, matrix, first + k, columns, column, part, wide);
                for (int at = column; at < column + part;)
                {
                    int panel = at / width * width, last = Math.Min(panel + width, columns), count = Math.Min(last, column + part) - at;
                    int panelWidth = last - panel == width ? width : (last - panel + granule - 1) / granule * granule;
                    float* to = target + ((long)panel * depth) + ((long)k * panelWidth) + (at - panel);
                    new ReadOnlySpan<float>(wide + (at - column), count).CopyTo(new Span<float>(to, count));
                    at += count;
                    if (at == columns)
                    {
                        new Span<float>(to + count, panel + panelWidth - columns).Clear();
                    }
                }
            }
        }
    }

    /// <summary>Copies rows one after the other, and fills them up with zeros to a whole strip: for a tile that reads more rows than there are.</summary>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="rows">Rows to copy.</param>
    /// <param name="depth">Elements of a row.</param>
    /// <param name="target">The copy, of height · depth elements.</param>
    /// <param name="height">Rows of the copy.</param>
    public static void PadRows(float* source, int stride, int rows, int depth, float* target, int height)
    {
        for (int row = 0; row < rows; row++)
        {
            new ReadOnlySpan<float>(source, depth).CopyTo(new Span<float>(target, depth));
            source += stride;
            target += depth;
        }

        for (int row = rows; row < height; row++)
        {
            new Span<float>(target, depth).Clear();
            target += depth;
        }
    }

    /// <summary>
    /// Asks for a share of a matrix to be brought into the second-level cache, where the next panel will be packed from: its rows are
    /// too short, and too far from each other, for the processor to foresee. It reads nothing, so that any address will do.
    /// </summary>
    /// <param name="source">The first row.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="part">Which share, counted from 0.</param>
    /// <param name="parts">The number of shares.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prefetch(float* source, int stride, int rows, int columns, int part, int parts)
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        const int Line = 16;
        if (columns > rows)
        {
            // Few long rows: each share is a range of columns of all of them.
            int first = (int)((long)columns * part / parts) / Line * Line;
            int last = (int)((long)columns * (part + 1) / parts) / Line * Line;
            last = part == parts - 1 ? columns : last;
            for (int row = 0; row < rows; row++)
            {
                float* p = source + ((long)row * stride);
                for (int column = first; column < last; column += Line)
                {
                    Sse.Prefetch1(p + column);
                }
            }
        }
        else
        {
            int last = (int)((long)rows * (part + 1) / parts);
            for (int row = (int)((long)rows * part / parts); row < last; row++)
            {
                float* p = source + ((long)row * stride);
                for (int column = 0; column < columns; column += Line)
                {
                    Sse.Prefetch1(p + column);
                }
            }
        }
    }

    /// <summary>
    /// Asks for the part of a result that a tile will be added to: asked for at the tile's beginning, it is there at its end.
    /// </summary>
    /// <param name="target">The first element.</param>
    /// <param name="stride">Elements from one row to the next.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Elements of a row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PrefetchTile(float* target, long stride, int rows, int columns)
    {
        if (!Sse.IsSupported)
        {
            return;
        }

        const int Line = 16;
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column += Line)
            {
                Sse.Prefetch0(target + column);
            }

            target += stride;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CopyRows(float* source, int stride, int rows, int columns, float* target, int width)
    {
        for (int row = 0; row < rows; row++)
        {
            int j = 0;
            if (Vector512.IsHardwareAccelerated)
            {
                for (; j <= columns - 16; j += 16)
                {
                    Vector512.Store(Vector512.Load(source + j), target + j);
                }
            }

            for (; j <= columns - 8; j += 8)
            {
                Vector256.Store(Vector256.Load(source + j), target + j);
            }

            for (; j <= columns - 4; j += 4)
            {
                Vector128.Store(Vector128.Load(source + j), target + j);
            }

            for (; j < columns; j++)
            {
                target[j] = source[j];
            }

            for (; j < width; j++)
            {
                target[j] = 0;
            }

            source += stride;
            target += width;
        }
    }

    // Columns that are not there, up to the width, are zeros; the panel's rows lie a pitch apart.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransposePanel(float* source, int stride, int depth, int columns, float* panel, int width, int pitch)
    {
        int j = 0;
        if (Avx512F.IsSupported)
        {
            for (; j <= columns - 16; j += 16)
            {
                Transpose16(source + ((long)j * stride), stride, depth, panel + j, pitch);
            }
        }

        if (Avx.IsSupported)
        {
            for (; j <= columns - 8; j += 8)
            {
                Transpose8(source + ((long)j * stride), stride, 8, depth, panel + j, pitch);
            }

            if (columns == 6 && width == 6 && pitch == 6)
            {
                Transpose8(source, stride, 6, depth, panel, width);
                return;
            }
        }

        if (Sse.IsSupported || AdvSimd.Arm64.IsSupported)
        {
            for (; j <= columns - 4; j += 4)
            {
                Transpose4(source + ((long)j * stride), stride, depth, panel + j, pitch);
            }
        }

        for (; j < columns; j++)
        {
            float* row = source + ((long)j * stride);
            float* column = panel + j;
            for (int k = 0; k < depth; k++)
            {
                *column = row[k];
                column += pitch;
            }
        }

        if (columns < width)
        {
            for (int k = 0; k < depth; k++)
            {
                for (int c = columns; c < width; c++)
                {
                    panel[((long)k * pitch) + c] = 0;
                }
            }
        }
    }

    // Sixteen rows at a time, in 16 × 16 blocks of registers: pairs of elements, pairs of pairs, then quarters of the vectors.
    private static void Transpose16(float* source, int stride, int depth, float* panel, int width)
    {
        long s = stride;
        int k = 0;
        for (; k <= depth - 16; k += 16)
        {
            float* p = source + k;
            float* q = panel + ((long)k * width);
            Quarters(p, s, out Vector512<float> a0, out Vector512<float> a1, out Vector512<float> a2, out Vector512<float> a3);
            Quarters(p + (4 * s), s, out Vector512<float> b0, out Vector512<float> b1, out Vector512<float> b2, out Vector512<float> b3);
            Quarters(p + (8 * s), s, out Vector512<float> c0, out Vector512<float> c1, out Vector512<float> c2, out Vector512<float> c3);
            Quarters(p + (12 * s), s, out Vector512<float> d0, out Vector512<float> d1, out Vector512<float> d2, out Vector512<float> d3);
            Assemble(a0, b0, c0, d0, q, width);
            Assemble(a1, b1, c1, d1, q + width, width);
            Assemble(a2, b2, c2, d2, q + (2 * width), width);
            Assemble(a3, b3, c3, d3, q + (3 * width), width);
        }

        for (; k < depth; k++)
        {
            float* q = panel + ((long)k * width);
            for (int j = 0; j < 16; j++)
            {
                q[j] = source[(j * s) + k];
            }
        }
    }

    // Four rows: quarter i of result n holds column 4i + n of the four rows.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarters(float* p, long s, out Vector512<float> v0, out Vector512<float> v1, out Vector512<float> v2, out Vector512<float> v3)
    {
        Vector512<float> r0 = Vector512.Load(p), r1 = Vector512.Load(p + s), r2 = Vector512.Load(p + (2 * s)), r3 = Vector512.Load(p + (3 * s));
        Vector512<double> t0 = Avx512F.UnpackLow(r0, r1).AsDouble(), t1 = Avx512F.UnpackHigh(r0, r1).AsDouble();
        Vector512<double> t2 = Avx512F.UnpackLow(r2, r3).AsDouble(), t3 = Avx512F.UnpackHigh(r2, r3).AsDouble();
        v0 = Avx512F.UnpackLow(t0, t2).AsSingle();
        v1 = Avx512F.UnpackHigh(t0, t2).AsSingle();
        v2 = Avx512F.UnpackLow(t1, t3).AsSingle();
        v3 = Avx512F.UnpackHigh(t1, t3).AsSingle();
    }

    // Columns n, 4 + n, 8 + n and 12 + n of sixteen rows, from the quarters of four rows each.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Assemble(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d, float* q, int width)
    {
        Vector512<float> ab02 = Avx512F.Shuffle4x128(a, b, 0x88), ab13 = Avx512F.Shuffle4x128(a, b, 0xDD);
        Vector512<float> cd02 = Avx512F.Shuffle4x128(c, d, 0x88), cd13 = Avx512F.Shuffle4x128(c, d, 0xDD);
        Vector512.Store(Avx512F.Shuffle4x128(ab02, cd02, 0x88), q);
        Vector512.Store(Avx512F.Shuffle4x128(ab13, cd13, 0x88), q + (4 * width));
        Vector512.Store(Avx512F.Shuffle4x128(ab02, cd02, 0xDD), q + (8 * width));
        Vector512.Store(Avx512F.Shuffle4x128(ab13, cd13, 0xDD), q + (12 * width));
    }

    private static void Transpose4(float* source, int stride, int depth, float* panel, int width)
    {
        long s = stride;
        int k = 0;
        for (; k <= depth - 4; k += 4)
        {
            float* p = source + k;
            Vector128<float> r0 = Vector128.Load(p), r1 = Vector128.Load(p + s), r2 = Vector128.Load(p + (2 * s)), r3 = Vector128.Load(p + (3 * s));
            Vector128<float> t0, t1, t2, t3;
            if (Sse.IsSupported)
            {
                (t0, t1, t2, t3) = (Sse.UnpackLow(r0, r1), Sse.UnpackHigh(r0, r1), Sse.UnpackLow(r2, r3), Sse.UnpackHigh(r2, r3));
                (r0, r1, r2, r3) = (Sse.MoveLowToHigh(t0, t2), Sse.MoveHighToLow(t2, t0), Sse.MoveLowToHigh(t1, t3), Sse.MoveHighToLow(t3, t1));
            }
            else
            {
                (t0, t1, t2, t3) = (AdvSimd.Arm64.ZipLow(r0, r1), AdvSimd.Arm64.ZipHigh(r0, r1), AdvSimd.Arm64.ZipLow(r2, r3), AdvSimd.Arm64.ZipHigh(r2, r3));
                r0 = AdvSimd.Arm64.ZipLow(t0.AsDouble(), t2.AsDouble()).AsSingle();
                r1 = AdvSimd.Arm64.ZipHigh(t0.AsDouble(), t2.AsDouble()).AsSingle();
                r2 = AdvSimd.Arm64.ZipLow(t1.AsDouble(), t3.AsDouble()).AsSingle();
                r3 = AdvSimd.Arm64.ZipHigh(t1.AsDouble(), t3.AsDouble()).AsSingle();
            }

            float* q = panel + ((long)k * width);
            Vector128.Store(r0, q);
            Vector128.Store(r1, q + width);
            Vector128.Store(r2, q + (2 * width));
            Vector128.Store(r3, q + (3 * width));
        }

        for (; k < depth; k++)
        {
            float* q = panel + ((long)k * width);
            for (int j = 0; j < 4; j++)
            {
                q[j] = source[(j * s) + k];
            }
        }
    }
}
