using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The number of each column plus a number for each row: x [.., 1] to [.., <c>Columns</c>].</summary>
internal sealed record ColumnIndices(int Columns) : ElementwiseOperator
{
    public override string Mnemonic => "column_indices";

    public override string Attributes => Columns.ToString(CultureInfo.InvariantCulture);

    public override int Arity => 1;

    public override Expr Express(IReadOnlyList<Expr> inputs) => inputs[0] + new ColumnExpr();

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Float32 && inputs[0].Shape is { Rank: > 0, Columns: 1 } && Columns > 0, $"takes a number for each row and got {List(inputs)}");
        return Single(TensorType.Float(inputs[0].Shape.WithLast(Columns)));
    }

    public override void Gradient(GradientContext context) => context.Accumulate(0, context.OutputCotangent(0));
}
