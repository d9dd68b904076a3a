using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>Sums over any of the row extents.</summary>
internal static class ColumnSumRule
{
    public static void Lower(Lowering lowering, Node node)
    {
        Value input = node.Inputs[0];
        var output = new Value(node, 0);
        Dim[] rows = input.Shape.Rank == 0 ? [] : input.Shape.Dims.Take(input.Shape.Rank - 1).ToArray();
        var build = new KernelExpressions(lowering, null, rows, input.Shape.Columns);
        Expr value = build.Of(input);

        // The result has no stride along what is summed; the number of a row has one along every extent.
        int missing = rows.Length - (output.Shape.Rank - 1);
        bool IsKept(int row) => row >= missing && output.Shape[row - missing] == rows[row];
        TensorView place = lowering.Placement.PlaceOf(output);
        RowExtent[] resultStrides = rows.Select((_, i) => IsKept(i) ? place.Strides[i - missing] : RowExtent.Literal(0)).ToArray();
        RowExtent[] rowNumbers = rows.Select((_, i) => RowExtent.Product(rows.Skip(i + 1))).ToArray();
        var result = new PendingOperand(OperandNames.Unique(OperandNames.Role(output.Name), build.Operands.Select(o => o.Name).ToArray()), place.Base, ElementType.Float32, resultStrides, TensorView.Literal(place.Strides[place.Strides.Count - 1]), IsWritten: true);
        PendingOperand[] operands = [.. build.Operands, result];

        RowExtent[][] strides = [.. operands.Select(o => o.Strides), rowNumbers];
        IEnumerable<int> all = Enumerable.Range(0, rows.Length);
        (EquatableArray<RowExtent> kept, EquatableArray<RowExtent>[] keptStrides) = KernelAxes.Join(rows, all.Where(IsKept), strides);
        (EquatableArray<RowExtent> summed, EquatableArray<RowExtent>[] summedStrides) = KernelAxes.Join(rows, all.Where(i => !IsKept(i)), strides);
        EquatableArray<RowExtent>[] joined = keptStrides.Select((s, i) => new EquatableArray<RowExtent>([.. s, .. summedStrides[i]])).ToArray();
        long elements = input.Shape.MaximumElements;
        lowering.Schedule.Add(
            new ColumnSumKernel(
                node.Name,
                operands.Select((o, i) => o.With(joined[i])).ToArray(),
                kept,
                summed,
                joined[joined.Length - 1],
                input.Shape.Columns,
                [new Store(operands.Length - 1, value, lowering.Placement.ModeOf(output))],
                elements * (1 + ExprTransforms.Cost(value)),
                4 * elements * operands.Length)
            { Derivation = Derivations.Of(lowering, new Dictionary<Value, int> { [output] = operands.Length - 1 }, build.Reads) },
            lowering.PositionOf(node));
    }
}
