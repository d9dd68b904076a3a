using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>Matrix products, with what was fused into their epilogue.</summary>
internal static class ProductRule
{
    public static void Lower(Lowering lowering, Node node, Value[] stored, KernelExpressions build)
    {
        var op = (MatMul)node.Op;
        (Value a, Value b) = (node.Inputs[0], node.Inputs[1]);
        (RowExtent rows, int columns) = (node.Outputs[0].Shape.Rows, node.Outputs[0].Shape.Columns);
        bool contracts = op.Form == MatMulForm.TN;
        if (contracts && a.Shape.Rows.IsDynamic)
        {
            throw new GraphException($"{node}: contracts over a dynamic number of rows");
        }

        int depth = contracts ? a.Shape.Rows.Maximum : a.Shape.Columns;
        KernelOperand[] factors = [Factor(lowering, a, "input"), Factor(lowering, b, contracts ? "other" : "weight")];
        Store[] stores = stored.Select(v => (v, build.Of(v))).Select(p => new Store(build.Write(p.v), p.Item2, lowering.Placement.ModeOf(p.v))).ToArray();
        (EquatableArray<RowExtent> axes, KernelOperand[] operands) = KernelAxes.Of(build.Rows, build.Columns, build.Operands);
        long flops = 2L * rows.Maximum * columns * depth;
        long bytes = 4 * (a.Shape.MaximumElements + b.Shape.MaximumElements + ((long)rows.Maximum * columns));
        var kernel = new MatMulKernel(ClusterRule.NameOf(stored), [.. factors, .. operands], op.Form, rows, columns, depth, stores, flops, bytes) { Axes = axes, RowByRow = op.RowByRow, Origins = lowering.OriginsOf(stored.Select(s => s.Node)) };
        lowering.Schedule.Add(kernel, stored.Select(s => s.Node).Append(node).Max(lowering.PositionOf));
    }

    private static KernelOperand Factor(Lowering lowering, Value value, string name)
    {
        (TensorView view, Access access) = lowering.MatrixOf(value);
        return new KernelOperand(name, view.Base, access, IsWritten: false);
    }
}
