using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>Ones in as many columns as a length says, zeros behind: the steps that rows of a padded batch have. Input i32 [..]; result [.., <c>Columns</c>].</summary>
internal sealed record LengthMask(int Columns) : ElementwiseOperator
{
    public override string Mnemonic => "length_mask";

    public override string Attributes => Columns.ToString(CultureInfo.InvariantCulture);

    public override int Arity => 1;

    public override Expr Express(IReadOnlyList<Expr> inputs) => Expr.Select(Comparison.GreaterThan, inputs[0], new ColumnExpr(), 1.0, 0.0);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Int32, $"takes lengths and got {List(inputs)}");
        return Single(TensorType.Float(new Shape(inputs[0].Shape.Dims.Append(Columns))));
    }

    public override int? IndexLimit(Node node, int input) => Columns + 1;

    public override void Gradient(GradientContext context)
    {
    }
}
