using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>How affine addresses are spelled, for loops that count rows with one variable.</summary>
internal static class Addressing
{
    /// <summary>
    /// Elements from an operand's first one to the first one of row <paramref name="row"/>: a term for every run of axes that follow
    /// each other evenly in this operand, with the row's number divided into their index where other axes lie below or above them.
    /// </summary>
    /// <param name="axes">The extents whose product the rows are.</param>
    /// <param name="strides">The operand's stride for each of them.</param>
    /// <param name="row">The loop's variable.</param>
    public static string Row(IReadOnlyList<RowExtent> axes, IReadOnlyList<RowExtent> strides, string row = "r")
    {
        var terms = new List<string>();
        RowExtent below = RowExtent.Literal(1);
        for (int last = axes.Count - 1; last >= 0;)
        {
            int first = last;
            RowExtent span = axes[last];
            while (first > 0 && strides[first - 1] == strides[first] * axes[first])
            {
                first--;
                span *= axes[first];
            }

            if (strides[last].Coefficient != 0 && span != RowExtent.Literal(1))
            {
                string index = below == RowExtent.Literal(1) ? row : $"{row} / {Factor(below)}";
                index = first > 0 ? $"{index} % {Factor(span)}" : index;
                string at = index == row ? row : $"({index})";
                terms.Add(strides[last] == RowExtent.Literal(1) ? at : $"(long){at} * {Text.RowCount(strides[last])}");
            }

            below *= span;
            last = first - 1;
        }

        terms.Reverse();
        return terms.Count == 0 ? "0" : string.Join(" + ", terms);
    }

    /// <summary>The elements of consecutive columns as a vector, from the first one on.</summary>
    public static string Load(Spelling v, string pointer, string? tail, int columnStride)
        => columnStride != 1 ? v.LoadStrided(pointer, columnStride, tail)
            : tail is null ? v.Load(pointer) : v.LoadTail(pointer, tail);

    /// <summary>The pointer to a column's element.</summary>
    public static string Column(string pointer, string column, int columnStride)
        => column == "0" ? pointer : columnStride == 1 ? $"{pointer} + {column}" : $"{pointer} + ({column}) * {CodeWriter.Number(columnStride)}";

    /// <summary>Stores a vector into consecutive columns.</summary>
    public static void Store(CodeWriter w, Spelling v, string value, string pointer, string? tail, StoreMode mode, int columnStride)
    {
        if (columnStride == 1)
        {
            Text.VectorStore(w, v, value, pointer, tail, mode);
            return;
        }

        string present = Load(v, pointer, tail, columnStride);
        string stored = mode switch
        {
            StoreMode.Replace => value,
            StoreMode.Add => $"{present} + {value}",
            _ => $"accumulate ? {present} + {value} : {value}",
        };
        w.Line(v.StoreStrided(stored, pointer, columnStride, tail));
    }

    /// <summary>What addresses over these axes need to know at run time.</summary>
    public static ArgumentKinds Arguments(IEnumerable<RowExtent> axes, IEnumerable<KernelOperand> operands)
        => axes.Concat(operands.SelectMany(o => o.Access.RowStrides)).Aggregate(ArgumentKinds.None, (kinds, extent) => kinds | CSharp.Arguments.Of(extent));

    private static string Factor(RowExtent extent) => extent.IsDynamic ? $"({Text.RowCount(extent)})" : Text.RowCount(extent);
}
