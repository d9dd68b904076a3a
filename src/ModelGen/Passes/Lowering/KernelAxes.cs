using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Passes;

/// <summary>An operand before its kernel's axes are known: a stride for each extent of the kernel's rows.</summary>
internal sealed record PendingOperand(string Name, View View, ElementType Element, RowExtent[] Strides, int ColumnStride, bool IsWritten)
{
    /// <param name="name">The operand's name.</param>
    /// <param name="view">Where the tensor lies.</param>
    /// <param name="type">The tensor, which broadcasts to the kernel's matrix. Indices are one number for each row.</param>
    /// <param name="rows">The extents of the kernel's rows.</param>
    /// <param name="columns">The kernel's columns.</param>
    /// <param name="isWritten">Whether it is a result.</param>
    public static PendingOperand Of(string name, TensorView view, TensorType type, IReadOnlyList<Dim> rows, int columns, bool isWritten)
    {
        int depth = type.Element == ElementType.Int32 ? type.Shape.Rank : System.Math.Max(0, type.Shape.Rank - 1);
        var strides = new RowExtent[rows.Count];
        for (int i = 1; i <= System.Math.Max(rows.Count, depth); i++)
        {
            Dim dim = i <= depth ? type.Shape[depth - i] : 1;
            if (i <= rows.Count)
            {
                bool repeats = TensorView.IsOne(dim) && !TensorView.IsOne(rows[rows.Count - i]);
                strides[rows.Count - i] = i > depth || repeats ? RowExtent.Literal(0) : view.Strides[depth - i];
            }

            if (!TensorView.IsOne(dim) && (i > rows.Count || dim != rows[rows.Count - i]))
            {
                throw new GraphException($"{name}: {type} is no operand of rows [{string.Join(", ", rows)}]");
            }
        }

        if (type.Element == ElementType.Float32 && type.Shape.Columns != 1 && type.Shape.Columns != columns)
        {
            throw new GraphException($"{name}: {type} is no operand of {columns} columns");
        }

        bool hasColumns = type.Element == ElementType.Float32 && type.Shape.Rank > 0;
        int column = hasColumns && columns > 1 && type.Shape.Columns == columns ? TensorView.Literal(view.Strides[view.Strides.Count - 1]) : 0;
        bool repeatsRows = rows.Select((r, i) => TensorView.IsOne(r) || strides[i].Coefficient == 0).All(x => x);
        if (columns == 1 && type.Element == ElementType.Float32 && (isWritten || !repeatsRows || rows.All(TensorView.IsOne)))
        {
            column = 1;
        }

        return new PendingOperand(name, view.Base, type.Element, strides, column, isWritten);
    }

    public KernelOperand With(EquatableArray<RowExtent> strides) => new(Name, View, new Access(StorageFormat.Of(Element), strides, ColumnStride), IsWritten);
}

/// <summary>The loops over a kernel's rows: as few as let every operand's address be affine in their indices.</summary>
internal static class KernelAxes
{
    /// <summary>
    /// Leaves out extents of one, and joins neighbours that follow each other evenly in every operand. There is one axis at least.
    /// </summary>
    public static (EquatableArray<RowExtent> Axes, KernelOperand[] Operands) Of(IReadOnlyList<Dim> rows, int columns, IReadOnlyList<PendingOperand> operands)
    {
        (EquatableArray<RowExtent> axes, EquatableArray<RowExtent>[] strides) = Join(rows, Enumerable.Range(0, rows.Count), operands.Select(o => o.Strides).ToArray());
        if (axes.Count > 0)
        {
            return (axes, operands.Select((o, i) => o.With(strides[i])).ToArray());
        }

        // A single row: its operands are read as rows of a matrix all the same.
        return ([RowExtent.Literal(1)], operands.Select(o => o.With([RowExtent.Literal(o.ColumnStride != 0 ? columns : o.IsWritten ? 1 : 0)])).ToArray());
    }

    /// <summary>Joins some of the row extents, given by their numbers from the outermost on, for operands with these strides.</summary>
    public static (EquatableArray<RowExtent> Axes, EquatableArray<RowExtent>[] Strides) Join(IReadOnlyList<Dim> rows, IEnumerable<int> chosen, IReadOnlyList<RowExtent[]> operands)
    {
        var axes = new List<RowExtent>();
        List<RowExtent>[] strides = operands.Select(_ => new List<RowExtent>()).ToArray();
        foreach (int row in chosen.Where(i => !TensorView.IsOne(rows[i])))
        {
            RowExtent extent = RowExtent.Of(rows[row]);
            int last = axes.Count - 1;
            if (last >= 0 && Enumerable.Range(0, operands.Count).All(o => strides[o][last] == operands[o][row] * extent))
            {
                axes[last] *= extent;
                for (int o = 0; o < operands.Count; o++)
                {
                    strides[o][last] = operands[o][row];
                }

                continue;
            }

            axes.Add(extent);
            for (int o = 0; o < operands.Count; o++)
            {
                strides[o].Add(operands[o][row]);
            }
        }

        return (new([.. axes]), strides.Select(s => new EquatableArray<RowExtent>([.. s])).ToArray());
    }
}
