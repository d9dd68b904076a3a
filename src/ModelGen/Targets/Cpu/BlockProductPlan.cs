using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// A product with quantized weights: the input's rows are rounded to 8-bit blocks as well, and groups of 16 rows of the weights, which the workers divide, meet all of them.
/// </summary>
internal sealed class BlockProductPlan : KernelPlan
{
    /// <summary>The part of a worker's memory that holds the input in blocks.</summary>
    public const string Input = "input";

    /// <summary>The part of a worker's memory that holds a group that was unpacked.</summary>
    public const string Group = "group";

    // As the runtime has it: of 32 columns of 16 rows, a byte for each number, and 32 floats.
    private const int UnpackedBytes = 640;

    /// <summary>The words of a group of rows of some elements that was unpacked.</summary>
    public static long UnpackedWords(int columns) => columns / StorageFormat.BlockColumns * UnpackedBytes / PlanBuffer.WordBytes;

    /// <summary>The most groups of one call of the epilogue, where there is one row.</summary>
    private const int MostGroups = 64;

    /// <summary>Up to how many rows a group that would be unpacked for more is read as it lies, once for each: unpacking it takes as long as another one or two.</summary>
    public const int FewRows = 2;

    /// <summary>The fewest groups that a worker takes together.</summary>
    private const int LeastGroups = 4;

    /// <summary>Decides.</summary>
    /// <param name="kernel">The product.</param>
    /// <param name="blocks">Where a <see cref="RoundKernel"/> puts the input's blocks; null where each worker rounds the input for itself.</param>
    public BlockProductPlan(MatMulKernel kernel, View? blocks)
    {
        InputBytes = BytesOfRow(kernel.Depth);
        Blocks = blocks;
        bool isSingle = kernel.Rows == RowExtent.Literal(1);
        long elements = (long)kernel.Rows.Maximum * InputBytes / PlanBuffer.WordBytes;
        IsUnpacked = kernel.Operands[1].Access.Format.IsUnpacked && !isSingle;
        Layout = ScratchLayout.Of((Input, blocks is null ? elements : 0), (Group, IsUnpacked ? UnpackedWords(kernel.Depth) : 0));
        int most = Math.Min(MostGroups, (kernel.Columns + StorageFormat.GroupRows - 1) / StorageFormat.GroupRows);
        Pieces = new ColumnPieces(kernel.Columns, isSingle ? Math.Min(LeastGroups, most) : 1, isSingle ? most : LeastGroups);
    }

    /// <summary>The bytes of a row of the input in blocks.</summary>
    public int InputBytes { get; }

    /// <summary>Where the input's blocks are, if all products that read it have them from one place.</summary>
    public View? Blocks { get; }

    /// <summary>Whether each group is unpacked before all rows meet it.</summary>
    public bool IsUnpacked { get; }

    /// <summary>How workers take groups of 16 columns.</summary>
    public ColumnPieces Pieces { get; }

    /// <inheritdoc/>
    public override ColumnPieces? ColumnPieces => Blocks is null ? null : Pieces;

    /// <inheritdoc/>
    public override string Signature => Blocks is null ? "" : " of blocks";

    private ScratchLayout Layout { get; }

    /// <summary>The bytes of a row of some elements in blocks, as the runtime has it: the numbers, then a scale and two words more of each block, whole cache lines.</summary>
    public static int BytesOfRow(int columns) => (columns + (columns / StorageFormat.BlockColumns * 12) + 63) / 64 * 64;

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Layout;

    /// <inheritdoc/>
    public override IReadOnlyList<KernelOperand> Operands(Kernel kernel)
        => Blocks is null ? kernel.Operands : [kernel.Operands[0] with { View = Blocks, Access = Access.Matrix(InputBytes / PlanBuffer.WordBytes) }, .. kernel.Operands.Skip(1)];
}
