using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Passes;

/// <summary>Row kernels over a matrix given by its extents.</summary>
internal static class RowKernels
{
    /// <summary>Element-wise work without reductions.</summary>
    public static RowKernel Map(string name, IReadOnlyList<PendingOperand> operands, IReadOnlyList<Dim> rows, int columns, IReadOnlyList<Store> stores, long flops, long bytes)
        => Of(name, operands, rows, columns, [new RowPhase([], stores)], flops, bytes);

    public static RowKernel Of(string name, IReadOnlyList<PendingOperand> operands, IReadOnlyList<Dim> rows, int columns, IReadOnlyList<RowPhase> phases, long flops, long bytes)
    {
        if (columns == 1 && RunsAlongRows(operands, rows, phases) is { } along)
        {
            // A single column that lies scattered: vectors run along the innermost extent of the rows.
            operands = [.. operands.Select(o => o with { ColumnStride = TensorView.Literal(o.Strides[along]), Strides = [.. o.Strides.Take(along)] })];
            columns = rows[along].Maximum;
            rows = [.. rows.Take(along)];
        }

        (EquatableArray<RowExtent> axes, KernelOperand[] bound) = KernelAxes.Of(rows, columns, operands);
        return new RowKernel(name, bound, axes, columns, phases, flops, bytes);
    }

    // The row extent that takes the place of the columns, where elements do not follow each other anyway.
    private static int? RunsAlongRows(IReadOnlyList<PendingOperand> operands, IReadOnlyList<Dim> rows, IReadOnlyList<RowPhase> phases)
    {
        int along = Enumerable.Range(0, rows.Count).LastOrDefault(i => !TensorView.IsOne(rows[i]));
        if (rows.Count == 0 || !rows[along].IsLiteral || phases.Any(p => p.Reductions.Count > 0) || operands.Any(o => o.Strides[along].IsDynamic || (o.Element == ElementType.Int32 && o.Strides[along].Coefficient != 0)))
        {
            return null;
        }

        bool column = false;
        foreach (Store store in phases.SelectMany(p => p.Stores))
        {
            ExprTransforms.Visit(store.Value, e => column |= e is ColumnExpr);
        }

        (EquatableArray<RowExtent> axes, KernelOperand[] bound) = KernelAxes.Of(rows, 1, operands);
        bool flat = axes.Count == 1 && bound.All(o => o.Access.Kind == AccessKind.Scalar || (o.Access.IsMatrix && o.Access.RowStride == 1));
        return column || flat ? null : along;
    }
}
