using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// x where the column is the one that the row's index names, zero elsewhere: x ∘ onehot(index) without the one-hot
/// matrix. An index that names no column (−1) keeps nothing.
/// Inputs: x [.., C] or [.., 1], index i32 [..]; result [.., <c>Columns</c>].
/// </summary>
internal sealed record SelectColumn(int Columns) : ElementwiseOperator
{
    public override string Mnemonic => "select_column";

    public override int Arity => 2;

    public override Expr Express(IReadOnlyList<Expr> inputs)
        => Expr.Select(Comparison.Equal, new ColumnExpr(), inputs[1], inputs[0], 0.0);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 2 && inputs[1].Element == ElementType.Int32, $"takes values and row indices and got {List(inputs)}");
        Shape index = inputs[1].Shape;
        return Single(TensorType.Float(Shape.Broadcast(inputs[0].Shape, new Shape(index.Dims.Append(Columns)))));
    }

    public override void Gradient(GradientContext context)
        => context.Accumulate(0, () => context.Add(this, context.OutputCotangent(0), context.Input(1)));
}
