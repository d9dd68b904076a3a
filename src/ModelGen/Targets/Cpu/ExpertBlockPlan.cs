using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Rows that each meet a quantized matrix of their own: the rows are rounded to 8-bit blocks, and the groups of 16 rows of every matrix, which the workers divide, meet the rows that are theirs.
/// </summary>
internal sealed class ExpertBlockPlan : KernelPlan
{
    /// <summary>The fewest groups that a worker takes together, of each matrix.</summary>
    public const int LeastGroups = 4;

    /// <summary>The most of them.</summary>
    public const int MostGroups = 16;

    /// <summary>Decides.</summary>
    /// <param name="kernel">The products.</param>
    /// <param name="blocks">Where a <see cref="RoundKernel"/> puts the input's blocks; null where each worker rounds the input for itself.</param>
    public ExpertBlockPlan(ExpertProductKernel kernel, View? blocks)
    {
        InputBytes = BlockProductPlan.BytesOfRow(kernel.Depth);
        Blocks = blocks;
        IsUnpacked = kernel.Operands[1].Access.Format.IsUnpacked && kernel.Rows != RowExtent.Literal(1);
        Layout = ScratchLayout.Of(
            (BlockProductPlan.Input, blocks is null ? (long)kernel.Rows.Maximum * InputBytes / PlanBuffer.WordBytes : 0),
            (BlockProductPlan.Group, IsUnpacked ? BlockProductPlan.UnpackedWords(kernel.Depth) : 0));
        Groups = kernel.Columns / StorageFormat.GroupRows;
    }

    /// <summary>The bytes of a row of the input in blocks.</summary>
    public int InputBytes { get; }

    /// <summary>Where the input's blocks are, if all products that read it have them from one place.</summary>
    public View? Blocks { get; }

    /// <summary>Whether a group that several rows meet is unpacked first.</summary>
    public bool IsUnpacked { get; }

    /// <summary>The groups of a matrix.</summary>
    public int Groups { get; }

    /// <inheritdoc/>
    public override string Signature => Blocks is null ? "" : " of blocks";

    private ScratchLayout Layout { get; }

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Layout;

    /// <inheritdoc/>
    public override IReadOnlyList<KernelOperand> Operands(Kernel kernel)
        => Blocks is null ? kernel.Operands : [kernel.Operands[0] with { View = Blocks, Access = Access.Matrix(InputBytes / PlanBuffer.WordBytes) }, .. kernel.Operands.Skip(1)];
}
