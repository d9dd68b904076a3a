using System;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>What the workers divide among themselves.</summary>
internal enum MatMulDivision
{
    /// <summary>Panels of columns: each worker packs its own, and multiplies them with all rows.</summary>
    Panels,

    /// <summary>Strips of rows: each worker multiplies its own with all panels, which the workers pack together.</summary>
    Strips,

    /// <summary>
    /// The transpose of the result is computed, with columns for rows: the right operand, whose rows are columns of the result, is
    /// read where it lies, and the left one is packed. For weights that far outnumber the rows they meet.
    /// </summary>
    Transposed,
}

/// <summary>How workers come to their parts of a product.</summary>
internal enum WorkDivision
{
    /// <summary>One worker does all.</summary>
    Alone,

    /// <summary>Each has a share.</summary>
    Ranges,

    /// <summary>Each takes the units of its share one by one, and then those of others.</summary>
    Units,

    /// <summary>Each takes several units of its share at a time, and then some of others.</summary>
    Pieces,
}

/// <summary>What of a product's plan makes its text another one: at vector widths that have this in common, only numbers differ.</summary>
internal sealed record ProductStructure(MatMulDivision Division, WorkDivision Work, bool CutsDepth, bool PacksAhead, bool IsLeftInPlace, bool HasShared, bool IsSharedInScratch, bool FetchesPanels, bool StoresPanels, bool ReadsPanels);

/// <summary>
/// How one matrix product is cut: the work is divided by whatever gives even shares and reads and packs least, what is read
/// again and again is kept in cache, and the contraction is cut where a panel would outgrow the second level.
/// Nothing here depends on the number of threads, so that the results do not either.
/// </summary>
internal sealed class MatMulBlocking
{
    /// <summary>Names of the parts of a worker's memory.</summary>
    public const string Piece = "piece", Next = "next", Shared = "shared", Padded = "padded";

    private const int Line = 16;
    private const int SmallestDepthBlock = 256;

    // A first-level cache has 64 sets of lines: of rows a multiple of 4096 bytes apart, all meet in one.
    private const int CollidingStride = 64 * Line;
    private const int CollidingLines = 4;

    // A panel is packed ahead by the tiles of so many strips, at least: fewer would copy a row at nearly every step.
    private const int LeastStripsAhead = 4;

    // Packing this many elements twice is quicker than meeting at a barrier.
    private const long PackedByEach = 8192;

    // Multiply-adds that one worker does together, at least.
    private const long LeastWork = 1 << 19;

    private MatMulBlocking(MatMulKernel kernel, bool isRightPacked, RegisterTile tile, int vectors, MatMulDivision division, CacheSizes caches, bool storesPanels = false, bool readsPanels = false)
    {
        bool isTransposed = division == MatMulDivision.Transposed;
        (int rows, int columns) = isTransposed ? (kernel.Columns, kernel.Rows.Maximum) : (kernel.Rows.Maximum, kernel.Columns);
        Lanes = tile.Lanes;
        Vectors = vectors;
        Division = division;
        StoresPanels = storesPanels;
        ReadsPanels = readsPanels;
        Height = isTransposed ? tile.Rows : Math.Min(tile.Rows, rows);
        Strips = Divide(rows, Height);
        Panels = Divide(columns, Width);
        LastVectors = Divide(columns - ((Panels - 1) * Width), Lanes);
        IsLeftInPlace = tile.ReadsInPlace && kernel.Form != MatMulForm.TN;
        bool sharesPanels = division != MatMulDivision.Panels;
        bool packsPanelsAhead = !sharesPanels && tile.ReadsInPlace && kernel.Form != MatMulForm.NT && !isRightPacked && !kernel.IsSerial() && Panels > 1 && Strips >= LeastStripsAhead;
        long sharedPerStep = sharesPanels ? (long)Panels * Width : IsLeftInPlace ? 0 : (long)Strips * Height;
        long panelLimit = (packsPanelsAhead ? caches.L2 / 8L : caches.L2 * 3L / 4) / (4 * Width);
        long sharedLimit = caches.L3 / 2 / (4L * Math.Max(1, sharedPerStep));
        if (division == MatMulDivision.Strips && kernel.Depth > sharedLimit)
        {
            // In blocks anyway: such that the next one is at hand in the second level while this one is multiplied.
            sharedLimit = caches.L2 * 2L / (4L * sharedPerStep);
        }

        int limit = (int)Math.Min(kernel.Depth, Math.Max(SmallestDepthBlock, Math.Min(panelLimit, sharedLimit)));
        bool whole = isRightPacked || kernel.IsSerial() || isTransposed;
        DepthBlock = whole ? kernel.Depth : Math.Min(kernel.Depth, Align(Divide(kernel.Depth, Divide(kernel.Depth, limit)), Line));
        DepthBlocks = Divide(kernel.Depth, DepthBlock);
        BlockStrips = Math.Max(1, Math.Min(Strips, (int)(caches.L2 / 2 / (4L * DepthBlock * Height))));
        PacksAhead = packsPanelsAhead;
        if (division == MatMulDivision.Strips && 4 * sharedPerStep * DepthBlock <= caches.L2 / 2)
        {
            // All panels are at hand: few strips at a time, so that whole rows of the result are written one after the other. Those that
            // lie side by side in the left operand's rows are copied as they lie: whole vectors.
            int few = Math.Max(1, 2 * Line / Height);
            int multiple = LeastCommonMultiple(Height, Lanes) / Height;
            PacksAhead = tile.ReadsInPlace && kernel.Form == MatMulForm.TN && few >= multiple && Strips > few;
            BlockStrips = PacksAhead ? few / multiple * multiple : Math.Min(BlockStrips, few);
        }

        if (isTransposed)
        {
            // Where rows collide, several lines of each at a time are stored faster than one.
            int group = LeastCommonMultiple(Height, Lanes);
            bool collides = !storesPanels && kernel.Stores.Any(s => kernel.Operands[s.Operand].Access is { IsMatrix: true, RowStride: > 0 and int stride } && stride % CollidingStride == 0);
            GroupStrips = group * (collides && kernel.Columns % (CollidingLines * group) == 0 ? CollidingLines : 1) / Height;
            BlockStrips = Math.Max(1, BlockStrips / GroupStrips) * GroupStrips;
        }

        long shared = readsPanels || (isRightPacked && sharesPanels) ? 0 : sharesPanels ? (((Panels - 1L) * Width) + (LastVectors * Lanes)) * DepthBlock : sharedPerStep * DepthBlock;
        IsSharedInScratch = shared > 0 && (kernel.IsSerial() || (shared <= PackedByEach && DepthBlocks == 1));
        SharedElements = Align(shared, Line);
        bool isRagged = isTransposed ? rows % (GroupStrips * Height) != 0 : kernel.Rows.IsDynamic || rows % Height != 0;
        PaddedElements = IsLeftInPlace && isRagged ? Align((long)Math.Max(1, GroupStrips) * Height * DepthBlock, Line) : 0;
        PieceElements = division switch
        {
            MatMulDivision.Panels when !isRightPacked => Align((long)Width * DepthBlock, Line),
            MatMulDivision.Strips when !IsLeftInPlace => Align((long)BlockStrips * Height * DepthBlock, Line),
            _ => 0,
        };
        FetchesPanels = division == MatMulDivision.Panels && !PacksAhead && !isRightPacked && kernel.Operands[1].Access.Format.IsPlain && Panels > 1 && 4L * kernel.Columns * kernel.Depth > caches.L2;
        FetchesRows = isTransposed && Panels > 1 && 4L * kernel.Columns * kernel.Depth > caches.L2 / 8
            && 4L * kernel.Depth * (Width + Height + FetchedRows) <= caches.L2;
        Share(kernel, rows);
        Scratch = ScratchLayout.Of((Piece, PieceElements), (Next, PacksAhead ? PieceElements : 0), (Shared, IsSharedInScratch ? SharedElements : 0), (Padded, PaddedElements));
    }

    /// <summary>What the text depends on.</summary>
    public ProductStructure Structure => new(Division, Work, DepthBlocks > 1, PacksAhead, IsLeftInPlace, SharedElements > 0, IsSharedInScratch, FetchesPanels, StoresPanels, ReadsPanels);

    /// <summary>How workers come to their parts.</summary>
    public WorkDivision Work { get; private set; }

    /// <summary>Panels, strips or columns that are not divided: those that a worker takes at least.</summary>
    public int Unit { get; private set; }

    /// <summary>Units that a worker takes together where there are as many.</summary>
    public int LeastUnits { get; private set; }

    /// <summary>The most units that a worker takes together.</summary>
    public int MostUnits { get; private set; }

    /// <summary>Whether the sums of the blocks before must be there for a panel's next one, and no barrier sees to that.</summary>
    public bool NeedsOrder => DepthBlocks > 1 && (SharedElements == 0 || IsSharedInScratch);

    /// <summary>Elements of a vector.</summary>
    public int Lanes { get; }

    /// <summary>Vectors of a panel's row.</summary>
    public int Vectors { get; }

    /// <summary>Vectors of the last panel's row.</summary>
    public int LastVectors { get; }

    public MatMulDivision Division { get; }

    /// <summary>Whether the tile reads the rows of its left operand where they lie; otherwise, strips of them are packed.</summary>
    public bool IsLeftInPlace { get; }

    /// <summary>Whether a worker's next panel, or group of strips, is packed by the tiles of the one before it.</summary>
    public bool PacksAhead { get; }

    /// <summary>Rows of a strip.</summary>
    public int Height { get; }

    /// <summary>Columns of a panel.</summary>
    public int Width => Vectors * Lanes;

    /// <summary>Strips that cover the most rows there can be; the columns, where the transpose is computed.</summary>
    public int Strips { get; }

    /// <summary>Strips whose transposed results make whole vectors; 0 where no transpose is computed.</summary>
    public int GroupStrips { get; }

    /// <summary>Panels that cover the columns; the most rows there can be, where the transpose is computed.</summary>
    public int Panels { get; }

    /// <summary>Steps of the contraction that are packed and multiplied together.</summary>
    public int DepthBlock { get; }

    public int DepthBlocks { get; }

    /// <summary>Strips that a worker multiplies together with each panel when strips are divided: half of the second-level cache.</summary>
    public int BlockStrips { get; }

    /// <summary>Whether each worker packs the shared operand for itself, since it is small.</summary>
    public bool IsSharedInScratch { get; }

    /// <summary>The packed operand that all workers read, one block of the contraction.</summary>
    public long SharedElements { get; }

    /// <summary>The packed piece of the other operand that a worker reads alone.</summary>
    public long PieceElements { get; }

    /// <summary>A copy of the last rows of an operand that is read in place, filled up to a whole strip.</summary>
    public long PaddedElements { get; }

    /// <summary>Whether the result is stored in the panels that the product which reads it would pack: its rows are the result's columns.</summary>
    public bool StoresPanels { get; }

    /// <summary>Whether the left operand was stored in panels: nothing is packed.</summary>
    public bool ReadsPanels { get; }

    /// <summary>Whether the panel that comes next is asked for while one is multiplied: what fits the second-level cache is there already.</summary>
    public bool FetchesPanels { get; }

    /// <summary>
    /// Whether the first panel's tiles ask for the weights that come next, where the transpose is computed: the second-level cache holds
    /// them beside the panel. Only a small matrix may be there already, and with it a whole small model.
    /// </summary>
    public bool FetchesRows { get; }

    /// <summary>How many rows ahead of a tile's own rows others are asked for.</summary>
    public int FetchedRows => 2 * Height;

    /// <summary>Steps of the contraction for each row that is copied, if <paramref name="tiles"/> tiles are to copy as many rows as there are steps.</summary>
    public int StepsOfCopy(int tiles) => DepthBlock / Divide(DepthBlock, tiles);

    /// <summary>Sums between the blocks of the contraction, tile by tile.</summary>
    public long PartialElements => DepthBlocks == 1 ? 0 : (long)Strips * Height * Panels * Width;

    /// <summary>A worker's own memory: the piece that is read, the one that is packed meanwhile, the copy of the last rows, and what is shared if each packs it for itself.</summary>
    public ScratchLayout Scratch { get; }

    /// <summary>Memory that workers share, in elements: two blocks where one is packed while another is read.</summary>
    public long WorkspaceElements => PartialElements + (IsSharedInScratch ? 0 : SharedElements * (DepthBlocks > 1 ? 2 : 1));

    /// <summary>The elements of a right operand that is packed whole, ahead of its use, whatever the vector width.</summary>
    public static long PackedElements(int columns, int depth)
        => RegisterTile.Products.Max(t => (long)Align(Divide(columns, t.Lanes) * t.Lanes, PackedVectors(columns, t) * t.Lanes) * depth);

    /// <summary>The vectors of a panel of an operand that is packed ahead: those that give even shares.</summary>
    public static int PackedVectors(int columns, RegisterTile tile) => BestVectors(columns, tile, out _);

    public static MatMulBlocking Of(MatMulKernel kernel, bool isRightPacked, RegisterTile tile, CacheSizes caches)
    {
        int vectors = BestVectors(kernel.Columns, tile, out double unevenness);
        var byPanels = new MatMulBlocking(kernel, isRightPacked, tile, vectors, MatMulDivision.Panels, caches);
        int wide = Math.Min(tile.Vectors, Divide(kernel.Columns, tile.Lanes));
        if (!kernel.Operands[1].Access.Format.IsPlain && kernel.Form == MatMulForm.NN)
        {
            // Its rows become single precision where all panels of some of them are packed: blocks of a row lie across the panels.
            return new MatMulBlocking(kernel, isRightPacked, tile, wide, MatMulDivision.Strips, caches);
        }

        if (kernel.IsSerial() || !kernel.Operands[1].Access.Format.IsPlain)
        {
            // What is stored in another format becomes single precision where a worker packs its own panels of its rows.
            return byPanels;
        }

        // Costs are relative to the multiply-adds alone. Packing an element costs as much as some of them, more if it is transposed,
        // and is paid back by every row or column that meets it.
        int rows = kernel.Rows.Maximum;
        double usualRows = kernel.Rows.IsDynamic ? Math.Max(1, rows / 4.0) : rows;
        double packRight = isRightPacked ? 0 : (kernel.Form == MatMulForm.NT ? 24 : 12) / usualRows;
        double packLeft = byPanels.IsLeftInPlace ? 0 : 8.0 / kernel.Columns;
        long sharedBytes = 4 * byPanels.SharedElements;
        double shared = sharedBytes > caches.L3 ? 0.3 : sharedBytes > caches.L2 / 2 ? 0.02 : 0;
        (MatMulBlocking best, double cost) = (byPanels, unevenness * (1 + (byPanels.PacksAhead ? packRight / 4 : packRight) + packLeft + (byPanels.DepthBlocks > 1 ? 0.02 : 0) + shared));

        // A worker's rows read the whole right operand, so there must be enough of them for each of its elements.
        var byStrips = new MatMulBlocking(kernel, isRightPacked, tile, isRightPacked ? vectors : wide, MatMulDivision.Strips, caches);
        Consider(byStrips, Unevenness(rows, Math.Min(tile.Rows, rows)) * (kernel.Rows.IsDynamic ? 1.2 : 1)
            * (1 + packRight + packLeft + (byStrips.DepthBlocks > 1 ? 0.02 : 0) + (4 * byStrips.SharedElements > caches.L3 ? 0.3 : 0.01) + (rows < 16 * tile.Rows ? 0.2 : 0)));

        if (tile.ReadsInPlace && kernel.Form == MatMulForm.NT && !isRightPacked && kernel.Columns >= tile.Lanes)
        {
            var transposed = new MatMulBlocking(kernel, isRightPacked, tile, Math.Min(tile.Vectors, Divide(rows, tile.Lanes)), MatMulDivision.Transposed, caches);
            if (4 * transposed.SharedElements <= caches.L3 / 2)
            {
                // Results are transposed as well, and the panels' empty lanes are computed in vain.
                int group = transposed.GroupStrips * transposed.Height;
                double vain = ((transposed.Panels - 1.0) * transposed.Width + (transposed.LastVectors * tile.Lanes)) / rows;
                Consider(transposed, Unevenness(kernel.Columns, group) * vain * Divide(kernel.Columns, group) * group / kernel.Columns
                    * (1 + (24.0 / kernel.Columns) + (8.0 / kernel.Depth) + (4 * transposed.SharedElements > caches.L2 / 2 ? 0.01 : 0)));
            }
        }

        return best;

        void Consider(MatMulBlocking candidate, double candidateCost)
        {
            if (candidateCost < cost)
            {
                (best, cost) = (candidate, candidateCost);
            }
        }
    }

    /// <summary>Whether one product's result may be stored in the panels that another one reads: both compute transposes, and the panels take no more room than the rows.</summary>
    public static bool MayPass(MatMulBlocking writer, MatMulBlocking reader, MatMulKernel kernel)
        => writer.Division == MatMulDivision.Transposed && reader.Division == MatMulDivision.Transposed && writer.Width == reader.Width && kernel.Rows.Maximum % writer.Lanes == 0;

    /// <summary>The same product, where results or the left operand are in panels.</summary>
    public MatMulBlocking Passing(MatMulKernel kernel, RegisterTile tile, CacheSizes caches, bool stores, bool reads)
        => stores || reads ? new MatMulBlocking(kernel, isRightPacked: false, tile, Vectors, Division, caches, stores, reads) : this;

    private void Share(MatMulKernel kernel, int rows)
    {
        Unit = 1;
        LeastUnits = MostUnits = 1;
        if (kernel.IsSerial())
        {
            Work = WorkDivision.Alone;
            return;
        }

        if (Division == MatMulDivision.Panels || PacksAhead)
        {
            Work = PacksAhead || (kernel.IsHelped() && !NeedsOrder && Panels > 1) ? WorkDivision.Units : WorkDivision.Ranges;
            return;
        }

        int total = rows, most = BlockStrips * Height;
        long unitWork;
        if (Division == MatMulDivision.Strips)
        {
            (total, most) = (Strips, BlockStrips);
            unitWork = (long)Height * kernel.Columns * DepthBlock;
        }
        else
        {
            // A chunk may have far fewer rows than the most there can be: pieces are made for a sixteenth of them.
            Unit = GroupStrips * Height;
            unitWork = (long)Unit * Math.Max(1, kernel.Rows.Maximum / (kernel.Rows.IsDynamic ? 16 : 1)) * kernel.Depth;
        }

        MostUnits = most / Unit;
        LeastUnits = (int)Math.Min(MostUnits, Math.Max(1, LeastWork / unitWork));
        Work = kernel.IsHelped() && 2 * LeastUnits <= Divide(total, Unit) ? WorkDivision.Pieces : WorkDivision.Ranges;
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

    private static int LeastCommonMultiple(int a, int b)
    {
        int multiple = a;
        while (multiple % b != 0)
        {
            multiple += a;
        }

        return multiple;
    }

    private static int Divide(int total, int unit) => (total + unit - 1) / unit;

    private static int Divide(int total, long unit) => (int)((total + unit - 1) / unit);

    private static int Align(int value, int multiple) => Divide(value, multiple) * multiple;

    private static long Align(long value, int multiple) => (value + multiple - 1) / multiple * multiple;
}
