using System;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// The caches that blocks are sized for, in bytes: the second level of one core, and the third, which cores share. The first
/// level decides nothing: a tile reads its operands from end to end, which the processor foresees.
/// </summary>
internal sealed record CacheSizes(int L2, int L3)
{
    /// <summary>What a processor of the last years has, or little more than that.</summary>
    public static CacheSizes Default { get; } = new(1 << 20, 16 << 20);
}

/// <summary>
/// The block of the result that a matrix product holds in registers: <c>Rows</c> × <c>Vectors</c> accumulators, with the vectors
/// of one row of the right operand and a broadcast of the left beside them.
/// </summary>
/// <param name="Lanes">Elements of a vector.</param>
/// <param name="Rows">Rows of the block.</param>
/// <param name="Vectors">Vectors of each row.</param>
internal sealed record RegisterTile(int Lanes, int Rows, int Vectors)
{
    /// <summary>For 32 registers of 512 bits, 16 of 256 bits, and 32 of 128 bits (Arm; half a tile at a time where there are 16).</summary>
    public static RegisterTile[] All { get; } = [new(16, 8, 3), new(8, 6, 2), new(4, 8, 3)];

    public static RegisterTile Of(int lanes) => Array.Find(All, t => t.Lanes == lanes);
}

/// <summary>
/// How one matrix product is cut: the work is divided by panels of columns or by strips of rows, whichever gives even shares
/// and keeps what is read again and again in cache, and the contraction is cut where a panel would outgrow the second level.
/// Nothing here depends on the number of threads, so that the results do not either.
/// </summary>
internal sealed class MatMulBlocking
{
    private const int Line = 16;
    private const int SmallestDepthBlock = 256;

    // Packing this many elements twice is quicker than meeting at a barrier.
    private const long PackedByEach = 8192;

    private MatMulBlocking(MatMulKernel kernel, RegisterTile tile, int vectors, bool byRows, CacheSizes caches)
    {
        Lanes = tile.Lanes;
        Vectors = vectors;
        ByRows = byRows;
        Height = Math.Min(tile.Rows, kernel.Rows.Maximum);
        Strips = Divide(kernel.Rows.Maximum, Height);
        Panels = Divide(kernel.Columns, Width);
        LastVectors = Divide(kernel.Columns - ((Panels - 1) * Width), Lanes);

        long panelLimit = caches.L2 * 3L / 4 / (4 * Width);
        long sharedLimit = caches.L3 / 2 / (4L * (byRows ? Panels * Width : Strips * Height));
        int limit = (int)Math.Min(kernel.Depth, Math.Max(SmallestDepthBlock, Math.Min(panelLimit, sharedLimit)));
        DepthBlock = kernel.IsRightPacked || kernel.IsSerial ? kernel.Depth : Math.Min(kernel.Depth, Align(Divide(kernel.Depth, Divide(kernel.Depth, limit)), Line));
        DepthBlocks = Divide(kernel.Depth, DepthBlock);
        BlockStrips = Math.Max(1, Math.Min(Strips, (int)(caches.L2 / 2 / (4L * DepthBlock * Height))));

        long shared = byRows ? (kernel.IsRightPacked ? 0 : SharedColumns * (long)DepthBlock) : (long)Strips * Height * DepthBlock;
        IsSharedInScratch = kernel.IsSerial || (shared <= PackedByEach && DepthBlocks == 1);
        SharedElements = Align(shared, Line);
        OwnElements = Align(byRows ? (long)BlockStrips * Height * DepthBlock : kernel.IsRightPacked ? 0 : (long)Width * DepthBlock, Line);
    }

    /// <summary>Elements of a vector.</summary>
    public int Lanes { get; }

    /// <summary>Vectors of a panel's row.</summary>
    public int Vectors { get; }

    /// <summary>Vectors of the last panel's row.</summary>
    public int LastVectors { get; }

    /// <summary>Whether workers divide strips of rows; otherwise, panels of columns.</summary>
    public bool ByRows { get; }

    /// <summary>Rows of a strip.</summary>
    public int Height { get; }

    /// <summary>Columns of a panel.</summary>
    public int Width => Vectors * Lanes;

    /// <summary>Strips that cover the most rows there can be.</summary>
    public int Strips { get; }

    /// <summary>Panels that cover the columns.</summary>
    public int Panels { get; }

    /// <summary>Steps of the contraction that are packed and multiplied together.</summary>
    public int DepthBlock { get; }

    public int DepthBlocks { get; }

    /// <summary>Strips that a worker packs together when rows are divided: half of the second-level cache.</summary>
    public int BlockStrips { get; }

    /// <summary>Whether each worker packs the shared operand for itself, since it is small.</summary>
    public bool IsSharedInScratch { get; }

    /// <summary>The packed operand that all workers read, one block of the contraction.</summary>
    public long SharedElements { get; }

    /// <summary>The packed piece of the other operand that a worker reads alone.</summary>
    public long OwnElements { get; }

    /// <summary>Sums between the blocks of the contraction, tile by tile.</summary>
    public long PartialElements => DepthBlocks == 1 ? 0 : (long)Strips * Height * Panels * Width;

    /// <summary>A worker's own memory, in elements.</summary>
    public long ScratchElements => OwnElements + (IsSharedInScratch ? SharedElements : 0);

    /// <summary>Memory that workers share, in elements: two blocks where one is packed while another is read.</summary>
    public long WorkspaceElements => PartialElements + (IsSharedInScratch ? 0 : SharedElements * (DepthBlocks > 1 ? 2 : 1));

    private long SharedColumns => ((Panels - 1L) * Width) + (LastVectors * Lanes);

    /// <summary>The elements of a right operand that was packed whole, ahead of its use.</summary>
    public static long PackedElements(int columns, int depth, RegisterTile tile, int vectors)
        => (long)Align(Divide(columns, tile.Lanes) * tile.Lanes, vectors * tile.Lanes) * depth;

    /// <summary>The vectors of a panel of an operand that is packed ahead: those that give even shares.</summary>
    public static int PackedVectors(int columns, RegisterTile tile) => BestVectors(columns, tile, out _);

    public static MatMulBlocking Of(MatMulKernel kernel, RegisterTile tile)
    {
        CacheSizes caches = kernel.Caches;
        int vectors = BestVectors(kernel.Columns, tile, out double columnCost);
        int rows = kernel.Rows.Maximum;
        double rowCost = Unevenness(rows, Math.Min(tile.Rows, rows)) * (kernel.Rows.IsDynamic ? 1.2 : 1);
        var byColumns = new MatMulBlocking(kernel, tile, vectors, byRows: false, caches);
        if (kernel.IsSerial)
        {
            return byColumns;
        }

        // A worker's rows read the whole right operand, so there must be enough of them for each of its elements.
        int wide = Math.Min(tile.Vectors, Divide(kernel.Columns, tile.Lanes));
        int rowVectors = kernel.IsRightPacked ? vectors : wide;
        var byRows = new MatMulBlocking(kernel, tile, rowVectors, byRows: true, caches);
        columnCost *= 1 + (byColumns.DepthBlocks > 1 ? 0.02 : 0) + (4 * byColumns.SharedElements > caches.L3 ? 0.3 : 4 * byColumns.SharedElements > caches.L2 / 2 ? 0.02 : 0);
        rowCost *= 1 + (byRows.DepthBlocks > 1 ? 0.02 : 0) + (4 * byRows.SharedElements > caches.L3 ? 0.3 : 0.01) + (rows < 16 * tile.Rows ? 0.2 : 0);
        return rowCost < columnCost ? byRows : byColumns;
    }

    private static int BestVectors(int columns, RegisterTile tile, out double cost)
    {
        int best = 1;
        cost = double.MaxValue;
        for (int vectors = Math.Min(tile.Vectors, Divide(columns, tile.Lanes)); vectors >= Math.Max(1, tile.Vectors - 1); vectors--)
        {
            // A narrower panel reads the left operand more often for the same products.
            double unevenness = Unevenness(columns, vectors * tile.Lanes) * (1 + (0.02 * (tile.Vectors - vectors)));
            if (unevenness < cost)
            {
                best = vectors;
                cost = unevenness;
            }
        }

        if (cost == double.MaxValue)
        {
            cost = Unevenness(columns, tile.Lanes);
        }

        return best;
    }

    /// <summary>The largest share, over the even one, of two and four workers.</summary>
    private static double Unevenness(int total, int unit)
    {
        int units = Divide(total, unit);
        double Share(int workers) => Math.Min(total, (double)Divide(units, workers) * unit) * workers / total;
        return (Share(2) + Share(4)) / 2;
    }

    private static int Divide(int total, int unit) => (total + unit - 1) / unit;

    private static int Divide(int total, long unit) => (int)((total + unit - 1) / unit);

    private static int Align(int value, int multiple) => Divide(value, multiple) * multiple;

    private static long Align(long value, int multiple) => (value + multiple - 1) / multiple * multiple;
}
