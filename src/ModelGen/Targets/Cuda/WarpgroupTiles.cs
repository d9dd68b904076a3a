using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// A product by groups of four warps (<c>wgmma</c>), which only processors of compute capability 9.0 have. Both factors were rounded and laid out before
/// (<see cref="CudaPackKernel"/>), so that the copy engine brings a stage of them to shared memory in a few pieces, told by one thread. A block has 128 rows, 64 for each of two
/// groups, and one warp more, which tells the engine.
/// </summary>
/// <param name="Columns">Columns of a block's tile.</param>
/// <param name="Splits">Parts of the contracted extent that blocks sum by themselves, to be added afterwards; 1 where there are blocks enough.</param>
internal sealed record WarpgroupTiles(int Columns, int Splits) : CudaProductPlan
{
    /// <summary>Rows of a block's tile.</summary>
    public const int Rows = 128;

    /// <summary>The part of the contracted extent that a stage holds: a row of 128 bytes.</summary>
    public const int Depth = 64;

    /// <summary>Of the contracted extent, what one instruction multiplies.</summary>
    public const int MmaDepth = 16;

    /// <summary>Threads that multiply.</summary>
    public const int Multiplying = 256;

    /// <summary>Threads of a block.</summary>
    public const int Threads = Multiplying + 32;

    private const int ElementBytes = 2;

    // Below that, it is not worth while to round and lay out the factors first: a factor's element costs six bytes of memory's time, and saves what a product of
    // half as many bytes for each multiplication saves, which grows with rows and columns.
    private const int WorthWhile = 384;

    // Of the contracted extent, what pays for filling the stages.
    private const int LeastDepth = 256;

    // Turns of the loop that a part of the contracted extent should have at least.
    private const int LeastTurns = 16;

    // Rows of a run that counts them, from which on it pays to lay out both factors.
    private const int FewestCounted = 768;

    /// <summary>Where a run counts the rows, how many of them such products are for; a run of fewer has the product of other devices.</summary>
    public int FewestRows { get; init; }

    /// <summary>The tiles that blocks go through together, as in <see cref="TensorTiles.Height"/>.</summary>
    public int Height { get; init; } = 8;

    /// <summary>Stages of shared memory. Blocks of the narrower tile are two on a processor, of three stages each; of the wider one there is one, of four.</summary>
    public int Stages => Columns > Rows ? 4 : 3;

    /// <summary>The bytes of a stage: 128 rows of the left factor, then those of the right one.</summary>
    public int StageBytes => (Rows + Columns) * Depth * ElementBytes;

    /// <summary>The bytes of shared memory that a launch asks for: stages, which begin at a multiple of 1,024 bytes, and two barriers for each.</summary>
    public int SharedBytes => 1024 + (Stages * (StageBytes + 16));

    /// <summary>Turns of the loop over the contracted extent, of all parts.</summary>
    public static int Turns(MatMulKernel kernel) => (kernel.Depth + Depth - 1) / Depth;

    /// <summary>
    /// The plan for a product; null where another is quicker. Where a run counts rows, it has such products from some hundreds on: of fewer the factors would be laid out for nothing.
    /// </summary>
    /// <param name="kernel">The product.</param>
    /// <param name="precision">What its factors are rounded to.</param>
    /// <param name="products">What the declaration asks for.</param>
    public static WarpgroupTiles? Choose(MatMulKernel kernel, CudaPrecision precision, CudaProducts products = CudaProducts.Automatic)
    {
        if (precision != CudaPrecision.BF16 || products == CudaProducts.Warps || kernel.RowByRow || (kernel.Rows.IsDynamic && kernel.Form == MatMulForm.TN) || kernel.Rows.Maximum == 1 || !kernel.Operands.Take(2).All(o => (o.Access.Format.IsPlain || o.Access.Format == StorageFormat.BFloat16) && o.Access.IsMatrix))
        {
            return null;
        }

        // What the fewest rows pay for more do.
        long rows = kernel.Rows.Maximum, columns = kernel.Columns, fewest = kernel.Rows.IsDynamic ? FewestCounted : rows;
        if (products == CudaProducts.Automatic && (kernel.Depth < LeastDepth || rows < fewest || fewest * columns < WorthWhile * (fewest + columns)))
        {
            return null;
        }

        // The wider tile reads less, and the narrower one leaves no processor without.
        bool isWide = Padded(kernel.Columns) % 256 == 0 && Tiles(256) >= Multiprocessors;
        int splits = isWide ? 1 : (int)Math.Max(1, Math.Min(Math.Min(2L * Multiprocessors / Tiles(128), 8), Turns(kernel) / LeastTurns));
        return new WarpgroupTiles(isWide ? 256 : 128, splits) { FewestRows = !kernel.Rows.IsDynamic ? 0 : products == CudaProducts.Automatic ? FewestCounted : 2 };

        long Tiles(int width) => (rows + Rows - 1) / Rows * ((columns + width - 1) / width);
    }

    /// <summary>A factor's rows or columns as they are laid out: whole tiles.</summary>
    public static int Padded(int extent) => (extent + Rows - 1) / Rows * Rows;

    /// <summary>The tiles of the result.</summary>
    public (int X, int Y) TilesOf(MatMulKernel kernel) => BlocksOf(kernel, Rows, Columns);

    public override (int X, int Y) Blocks(MatMulKernel kernel) => TilesOf(kernel) is var (x, y) ? (x * Splits, y) : default;

    /// <summary>Whether a factor's rows, as it lies in memory, are along the contracted extent; otherwise they are across.</summary>
    public static bool IsAlong(MatMulForm form, int operand) => operand == 0 ? form != MatMulForm.TN : form == MatMulForm.NT;

    /// <summary>Rows and columns of a factor as it lies in memory.</summary>
    public static (int Rows, int Columns) Extents(MatMulKernel kernel, int operand)
    {
        int across = operand == 0 ? kernel.Rows.Maximum : kernel.Columns;
        return IsAlong(kernel.Form, operand) ? (across, kernel.Depth) : (kernel.Depth, across);
    }
}

/// <summary>
/// Rounds a matrix to bfloat16, and lays it out so that any tile of it is a few runs of bytes, as products of four warps want them in shared memory: pieces of 8 rows of 64 columns,
/// whose chunks of 16 bytes change places with the row (chunk <c>c</c> of row <c>r</c> lies at <c>c xor r</c>); all pieces of the same columns follow each other. Rows along the contracted extent
/// and rows across it are read from the same pieces, so that one layout serves a value in the forward pass and in both products of the backward pass. Beyond the matrix are zeros, to the next multiple of 128
/// rows and columns. Operands: source, packed.
/// </summary>
/// <param name="name">The kernel's name.</param>
/// <param name="operands">Source and packed.</param>
/// <param name="rows">The matrix's rows.</param>
/// <param name="columns">Its columns.</param>
internal sealed class CudaPackKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns) : Kernel(name, operands, 0, 6L * rows.Maximum * columns)
{
    /// <summary>Rows of a piece.</summary>
    public const int PieceRows = 8;

    /// <summary>Columns of a piece.</summary>
    public const int PieceColumns = 64;

    /// <summary>Bytes of a piece.</summary>
    public const int PieceBytes = 1024;

    /// <summary>The rows, which a run may count.</summary>
    public RowExtent Rows { get; } = rows;

    /// <summary>The rows of a product that reads them, which a run counts, and how many of them it is for; null where they are literal.</summary>
    public (RowExtent Rows, int Fewest)? For { get; init; }

    public int Columns { get; } = columns;

    /// <summary>Rows as they are laid out.</summary>
    public int PaddedRows => WarpgroupTiles.Padded(Rows.Maximum);

    /// <summary>Columns as they are laid out.</summary>
    public int PaddedColumns => WarpgroupTiles.Padded(Columns);

    public override string Signature => FormattableString.Invariant($"{Rows}x{Columns}");
}
