using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>What a device does for a kernel, where there is a choice.</summary>
internal abstract record CudaKernelPlan;

/// <summary>How a device computes a matrix product.</summary>
internal abstract record CudaProductPlan : CudaKernelPlan
{
    /// <summary>The multiprocessors of the devices that tiles are chosen for: those of an H100.</summary>
    protected const int Multiprocessors = 132;

    /// <summary>
    /// The plan for a product. Single rows are read once whatever computes them, and rows that are to be summed as if they were alone are summed that
    /// way, so both are dot products. For others it is the largest tile that still gives every multiprocessor one: larger tiles read less.
    /// </summary>
    /// <param name="kernel">The product.</param>
    /// <param name="precision">What its factors are rounded to.</param>
    public static CudaProductPlan Of(MatMulKernel kernel, CudaPrecision precision)
    {
        if (kernel.Form == MatMulForm.NT && (kernel.RowByRow || kernel.Rows == RowExtent.Literal(1)))
        {
            return new DotProducts(kernel.Operands[1].Access.Format, VectorOf(kernel, 0), VectorOf(kernel, 1));
        }

        if (precision == CudaPrecision.F32)
        {
            return new RegisterTiles();
        }

        IReadOnlyList<TensorTile> tiles = TensorTile.For(precision);
        TensorTile tile = tiles.FirstOrDefault(t => BlocksOf(kernel, t.Rows, t.Columns) is var (x, y) && (long)x * y >= Multiprocessors) ?? tiles[tiles.Count - 1];
        var plan = new TensorTiles(precision, tile, VectorOf(kernel, 0), VectorOf(kernel, 1));
        return plan.Reaches(kernel) ? plan : new RegisterTiles();
    }

    /// <summary>Blocks of threads, for the largest counts.</summary>
    public abstract (int X, int Y) Blocks(MatMulKernel kernel);

    /// <summary>Tiles that cover a product's columns and rows.</summary>
    protected static (int X, int Y) BlocksOf(MatMulKernel kernel, int rows, int columns)
        => ((kernel.Columns + columns - 1) / columns, Math.Max(1, (kernel.Rows.Maximum + rows - 1) / rows));

    /// <summary>
    /// The most elements of a factor that one access moves: four, two or one, of which every row is a multiple and begins at one. Buffers
    /// begin at multiples of 64 bytes.
    /// </summary>
    private static int VectorOf(MatMulKernel kernel, int operand)
    {
        View view = kernel.Operands[operand].View;
        bool isRow = operand == 0 ? kernel.Form != MatMulForm.TN : kernel.Form == MatMulForm.NT;
        RowExtent inner = isRow ? RowExtent.Literal(kernel.Depth) : operand == 0 ? kernel.Rows : RowExtent.Literal(kernel.Columns);
        long[] places = [kernel.Operands[operand].Access.RowStride, inner.Coefficient, view.Offset, view.PositionStride, view.LastStride, view.StepStride];
        return Array.TrueForAll(places, p => p % 4 == 0) ? 4 : Array.TrueForAll(places, p => p % 2 == 0) ? 2 : 1;
    }
}

/// <summary>A warp has a sum: single rows, and rows that are summed as such. Where rows of weights lie in groups, a block of threads has the sums of a group, and its warps the blocks of columns in turn.</summary>
/// <param name="Format">How the weights lie in memory.</param>
/// <param name="LeftVector">Elements of the row that one access moves.</param>
/// <param name="RightVector">Elements of a row of weights that one access may move, as they are aligned.</param>
internal sealed record DotProducts(StorageFormat Format, int LeftVector, int RightVector) : CudaProductPlan
{
    public override (int X, int Y) Blocks(MatMulKernel kernel) => ((kernel.Columns + ColumnsOfBlock - 1) / ColumnsOfBlock, Math.Max(1, kernel.Rows.Maximum));

    /// <summary>The sums that a block of threads has.</summary>
    public int ColumnsOfBlock => Format.IsInGroups ? StorageFormat.GroupRows : Warps;

    /// <summary>The warps of a block, each with a column.</summary>
    public static int Warps => 8;
}

/// <summary>A block has a tile of the result, each of its threads a part of it in registers; factors stay in single precision.</summary>
internal sealed record RegisterTiles : CudaProductPlan
{
    /// <summary>Rows and columns of a tile.</summary>
    public const int Tile = 64;

    /// <summary>The part of the contracted extent that shared memory holds.</summary>
    public const int Depth = 16;

    /// <summary>Rows and columns of each thread.</summary>
    public const int Each = 4;

    /// <summary>
    /// Steps of the contracted extent that are written out, of those that shared memory holds. Four give 64 products for the handful of instructions that
    /// a turn of the loop costs; all sixteen would make entries four times as long for less than a hundredth of the time.
    /// </summary>
    public const int Unrolled = 4;

    public override (int X, int Y) Blocks(MatMulKernel kernel) => BlocksOf(kernel, Tile, Tile);
}

/// <summary>Products on tensor cores, with sums in single precision. Factors are rounded on their way from memory, where they stay in single precision.</summary>
/// <param name="Precision">What they are rounded to.</param>
/// <param name="Tile">The tile of a block.</param>
/// <param name="LeftVector">Elements of the left factor that one access moves.</param>
/// <param name="RightVector">Elements of the right factor that one access moves.</param>
internal sealed record TensorTiles(CudaPrecision Precision, TensorTile Tile, int LeftVector, int RightVector) : CudaProductPlan
{
    /// <summary>
    /// The tiles of rows that blocks go through together, column of tiles by column. What runs at once on some hundred multiprocessors then is about as high as it is wide and reads the
    /// fewest tiles of both factors; a row of tiles after the other would read the whole right factor again for each.
    /// </summary>
    public int Height { get; init; } = 8;

    /// <summary>How factors are rounded to bfloat16.</summary>
    public CudaRounding Rounding { get; init; }

    public override (int X, int Y) Blocks(MatMulKernel kernel) => BlocksOf(kernel, Tile.Rows, Tile.Columns);

    /// <summary>Whether a thread finds all that it reads of a tile at literal distances from where it begins.</summary>
    public bool Reaches(MatMulKernel kernel)
        => kernel.Operands.Take(2).All(o => 4L * o.Access.RowStride * Math.Max(Math.Max(Tile.Rows, Tile.Columns), Tile.Depth) <= int.MaxValue);
}

/// <summary>What a block of threads computes at once, on tensor cores.</summary>
/// <param name="Rows">Rows of the result.</param>
/// <param name="Columns">Columns of the result.</param>
/// <param name="Depth">The part of the contracted extent that a stage of shared memory holds.</param>
/// <param name="WarpRows">Rows of each warp.</param>
/// <param name="WarpColumns">Columns of each warp.</param>
/// <param name="Stages">Parts of the contracted extent that shared memory holds: one is read, the others are on their way.</param>
internal sealed record TensorTile(int Rows, int Columns, int Depth, int WarpRows, int WarpColumns, int Stages)
{
    /// <summary>Shared memory that a block has without asking.</summary>
    public const int SharedBytes = 48 * 1024;

    // Factors that are rounded where tensor cores take them lie in shared memory in four bytes, and are copied there past the registers; those that
    // are rounded in between, in two bytes, pass through registers, which hold the next stage meanwhile. Registers bound a warp's part: 64 x 32 sums
    // are 64 of each thread's. Blocks of the smallest tile have as many threads as those of other kernels, so that what is small may be one launch with these.
    private static readonly TensorTile[] Copied = [new(128, 128, 16, 64, 32, 3), new(64, 64, 32, 32, 32, 3), new(32, 64, 32, 16, 16, 3)];
    private static readonly TensorTile[] Rounded = [new(128, 128, 32, 64, 32, 2), new(64, 64, 32, 32, 32, 2), new(32, 64, 32, 16, 16, 2)];

    /// <summary>Threads of a block.</summary>
    public int Threads => 32 * (Rows / WarpRows) * (Columns / WarpColumns);

    /// <summary>The tiles that there are for a precision, the largest first.</summary>
    public static IReadOnlyList<TensorTile> For(CudaPrecision precision) => precision == CudaPrecision.TF32 ? Copied : Rounded;
}
