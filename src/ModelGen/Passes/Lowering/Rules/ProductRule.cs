using System.Collections.Generic;
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
        (KernelOperand[] factors, MatMulForm form) = Factors(lowering, op, a, b, ["input", contracts ? "other" : "weight"]);
        var places = new Dictionary<Value, int>();
        var stores = new List<Store>();
        foreach (Value value in stored)
        {
            Expr expr = build.Of(value);
            places.Add(value, build.Write(value));
            stores.Add(new Store(places[value], expr, lowering.Placement.ModeOf(value)));
        }

        (EquatableArray<RowExtent> axes, KernelOperand[] operands) = KernelAxes.Of(build.Rows, build.Columns, build.Operands);
        long flops = 2L * rows.Maximum * columns * depth;
        long bytes = (4 * (a.Shape.MaximumElements + ((long)rows.Maximum * columns))) + factors[1].Access.Format.Bytes(b.Shape.MaximumElements);
        var kernel = new MatMulKernel(ClusterRule.NameOf(stored), [.. factors, .. operands], form, rows, columns, depth, stores, flops, bytes) { Axes = axes, RowByRow = op.RowByRow, Derivation = Derivations.Of(lowering, places, build.Reads, node) };
        lowering.Schedule.Add(kernel, stored.Select(s => s.Node).Append(node).Max(lowering.PositionOf));
    }

    /// <summary>
    /// The factors where they lie, and the form of the product of what lies there: a factor whose columns follow each other where its rows
    /// should is the transpose of a matrix, which another form takes as it is.
    /// </summary>
    private static (KernelOperand[] Factors, MatMulForm Form) Factors(Lowering lowering, MatMul op, Value a, Value b, string[] names)
    {
        if (!op.RowByRow && op.Form != MatMulForm.NT && TransposeOf(lowering, a, names[0]) is { } first)
        {
            return ([first, Factor(lowering, b, names[1])], op.Form == MatMulForm.NN ? MatMulForm.TN : MatMulForm.NN);
        }

        if (!op.RowByRow && op.Form != MatMulForm.TN && TransposeOf(lowering, b, names[1]) is { } second)
        {
            return ([Factor(lowering, a, names[0]), second], op.Form == MatMulForm.NN ? MatMulForm.NT : MatMulForm.NN);
        }

        return ([Factor(lowering, a, names[0]), Factor(lowering, b, names[1])], op.Form);
    }

    private static KernelOperand Factor(Lowering lowering, Value value, string name)
    {
        (TensorView view, Access access) = lowering.MatrixOf(value);
        return new KernelOperand(name, view.Base, access, IsWritten: false);
    }

    /// <summary>The matrix that a factor is the transpose of; null where it is a matrix itself, or neither is one.</summary>
    private static KernelOperand? TransposeOf(Lowering lowering, Value value, string name)
    {
        if (value.Shape.Rank != 2 || !value.Shape[0].IsLiteral || lowering.Placement.ViewOf(value) is not { } view || view.MatrixStride(value.Type) is not null)
        {
            return null;
        }

        TensorView transpose = view.Permute([1, 0]);
        return transpose.MatrixStride(TensorType.Float(Shape.Of(value.Shape[1], value.Shape[0]))) is { } stride ? new KernelOperand(name, transpose.Base, Access.Matrix(stride), IsWritten: false) : null;
    }
}
