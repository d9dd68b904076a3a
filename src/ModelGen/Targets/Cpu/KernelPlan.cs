using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>How the processor executes one kernel: what is decided before anything is printed.</summary>
internal abstract class KernelPlan
{
    /// <summary>Memory that the workers share while the kernel runs.</summary>
    public virtual PlanBuffer? Workspace => null;

    /// <summary>What of the plan makes the texts of two equal kernels differ.</summary>
    public virtual string Signature => "";

    /// <summary>What a worker needs for itself while the kernel runs, at vectors of <paramref name="lanes"/> elements.</summary>
    public virtual ScratchLayout Scratch(int lanes) => ScratchLayout.Empty;

    /// <summary>Whether workers meet before and after it, whatever runs before and after: those that help each other with it count on that.</summary>
    public virtual bool StandsAlone => false;

    /// <summary>How workers may take columns of the result, of which whoever takes them computes all; null where work is cut in another way.</summary>
    public virtual ColumnPieces? ColumnPieces => null;

    /// <summary>The kernel's operands with the views that are read and written in the end.</summary>
    public virtual IReadOnlyList<KernelOperand> Operands(Kernel kernel) => kernel.Operands;
}

/// <summary>How workers take columns of a product's result.</summary>
/// <param name="Columns">The columns.</param>
/// <param name="Least">The fewest units of <see cref="Unit"/> columns that stay together where there are as many.</param>
/// <param name="Most">The most units that are computed at a time.</param>
internal sealed record ColumnPieces(int Columns, int Least, int Most)
{
    /// <summary>The columns that are not divided: a vector of the widest kind, and a group of quantized rows of weights.</summary>
    public const int Unit = 16;

    /// <summary>The units.</summary>
    public int Units => (Columns + Unit - 1) / Unit;

    /// <summary>Pieces that suit two products.</summary>
    public ColumnPieces And(ColumnPieces other) => new(Columns, Math.Min(Math.Max(Least, other.Least), Math.Min(Most, other.Most)), Math.Min(Most, other.Most));
}

/// <summary>A kernel about which there is nothing to decide but whether its work is divided.</summary>
internal sealed class PlainPlan : KernelPlan
{
    public static PlainPlan Instance { get; } = new();
}

/// <summary>A matrix product.</summary>
internal sealed class ProductPlan : KernelPlan
{
    private readonly Dictionary<int, MatMulBlocking> _blockings;

    /// <summary>Decides.</summary>
    /// <param name="kernel">The product.</param>
    /// <param name="rightPanels">The panels that its right operand was packed into ahead, if it was.</param>
    /// <param name="caches">What blocks are sized for.</param>
    /// <param name="reader">The product that alone reads the result, if it might be stored in that one's panels.</param>
    /// <param name="writer">The product whose result the left operand is, if that might be stored in this one's panels.</param>
    /// <param name="fewRows">Up to how many rows it is one of dot products, for each of <see cref="RegisterTile.Products"/>; null for none (<see cref="Cpu.FewRows"/>).</param>
    public ProductPlan(MatMulKernel kernel, View? rightPanels, CacheSizes caches, MatMulKernel? reader = null, MatMulKernel? writer = null, int[]? fewRows = null)
    {
        RightPanels = rightPanels;
        IsDotProducts = AreDotProducts(kernel) || AreAllFew(kernel, fewRows);
        FewRows = IsDotProducts ? null : fewRows;
        MostDotRows = IsDotProducts ? kernel.Rows.Maximum : fewRows?.Max() ?? 0;
        if (MostDotRows > 0)
        {
            int block = Math.Min(Math.Min(DotProductBlock, Math.Max(1, MostSums / MostDotRows / ColumnPieces.Unit) * ColumnPieces.Unit), (kernel.Columns + ColumnPieces.Unit - 1) / ColumnPieces.Unit * ColumnPieces.Unit);
            DotPieces = new ColumnPieces(kernel.Columns, Math.Min(block, LeastTogether) / ColumnPieces.Unit, block / ColumnPieces.Unit);
        }

        _blockings = IsDotProducts ? [] : RegisterTile.Products.ToDictionary(t => t.Lanes, Blocked);
        long workspace = _blockings.Values.Select(b => b.WorkspaceElements).DefaultIfEmpty(0).Max();
        Workspace = workspace > 0 ? new PlanBuffer(kernel.Name + ".packed", MemorySpace.Arena, StorageFormat.Float32, workspace) : null;
        FetchedOperands = [.. kernel.Operands.Skip(2).Where(o => !o.IsWritten && o.Access is { IsMatrix: true, RowStride: > 0 } && 4L * kernel.Rows.Maximum * kernel.Columns > caches.L2)];

        MatMulBlocking Blocked(RegisterTile tile)
        {
            MatMulBlocking own = MatMulBlocking.Of(kernel, rightPanels is not null, tile, caches);
            bool stores = reader is not null && MatMulBlocking.MayPass(own, MatMulBlocking.Of(reader, isRightPacked: false, tile, caches), kernel);
            bool reads = writer is not null && MatMulBlocking.MayPass(MatMulBlocking.Of(writer, isRightPacked: false, tile, caches), own, kernel);
            return own.Passing(kernel, tile, caches, stores, reads);
        }
    }

    /// <summary>Where the right operand lies in panels that a <see cref="PackKernel"/> made; null where the product reads it as it lies.</summary>
    public View? RightPanels { get; }

    /// <summary>Whether outputs are dot products of the left operand's few rows, read where they lie, with rows of the right operand.</summary>
    public bool IsDotProducts { get; }

    /// <summary>Up to how many rows outputs are dot products, for each of <see cref="RegisterTile.Products"/>, where a run may bring more; null for none.</summary>
    public IReadOnlyList<int>? FewRows { get; }

    /// <summary>The most rows that are multiplied by dot products.</summary>
    public int MostDotRows { get; }

    /// <summary>How workers take the columns of dot products; null where there are none.</summary>
    public ColumnPieces? DotPieces { get; }

    /// <inheritdoc/>
    public override PlanBuffer? Workspace { get; }

    /// <summary>Matrices that the epilogue reads, and that are too large to lie in the second-level cache still: they come from memory while tiles multiply.</summary>
    public IReadOnlyList<KernelOperand> FetchedOperands { get; }

    /// <inheritdoc/>
    public override string Signature => (FewRows is null ? "" : " few " + string.Join(",", FewRows)) + (RightPanels is null ? "" : " packed") + (Workspace is null ? "" : " workspace")
        + string.Concat(_blockings.Values.Where(b => b.StoresPanels).Select(b => $" stores panels of {b.Lanes}"))
        + string.Concat(_blockings.Values.Where(b => b.ReadsPanels).Select(b => $" reads panels of {b.Lanes}"));

    /// <summary>The most dot products of one call of the epilogue. Streams are a quarter of it apart: the farther, the more memory gives.</summary>
    private const int DotProductBlock = 1024;

    /// <summary>The most sums of all rows that wait for the epilogue.</summary>
    private const int MostSums = 4 * DotProductBlock;

    /// <summary>The fewest dot products that a worker takes together.</summary>
    private const int LeastTogether = 64;

    /// <inheritdoc/>
    public override ColumnPieces? ColumnPieces => IsDotProducts ? DotPieces : null;

    /// <inheritdoc/>
    public override bool StandsAlone => _blockings.Values.Any(b => b.NeedsOrder);

    /// <summary>Whether a product is one of dot products: that of a single row is, and so are those whose rows sum like single ones.</summary>
    public static bool AreDotProducts(MatMulKernel kernel) => kernel.Form == MatMulForm.NT && (kernel.RowByRow || kernel.Rows == RowExtent.Literal(1));

    /// <summary>Whether a run cannot bring more rows than are few, whatever the vector width.</summary>
    public static bool AreAllFew(MatMulKernel kernel, int[]? fewRows) => fewRows is not null && fewRows.Min() >= kernel.Rows.Maximum;

    /// <summary>How the product is cut, at vectors of <paramref name="lanes"/> elements; there is no such thing for dot products.</summary>
    public MatMulBlocking Blocking(int lanes) => _blockings[lanes];

    /// <summary>The widths whose text is the same but for numbers, together; those of wider vectors come first.</summary>
    public IReadOnlyList<IReadOnlyList<MatMulBlocking>> Algorithms => [.. _blockings.Values.GroupBy(b => b.Structure).Select(g => g.ToArray())];

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => IsDotProducts ? ScratchLayout.Empty : Blocking(lanes).Scratch;

    /// <inheritdoc/>
    public override IReadOnlyList<KernelOperand> Operands(Kernel kernel)
        => RightPanels is null ? kernel.Operands
            : [kernel.Operands[0], kernel.Operands[1] with { View = RightPanels, Access = Access.Matrix(1) }, .. kernel.Operands.Skip(2)];
}
