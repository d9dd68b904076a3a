using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>One where a target counts, zero where it is −1, "ignored". Input i32 [..]; result f32 [.., 1].</summary>
internal sealed record IsTarget : ElementwiseOperator
{
    public override string Mnemonic => "is_target";

    public override int Arity => 1;

    public override Expr Express(IReadOnlyList<Expr> inputs) => Expr.Select(Comparison.GreaterThanOrEqual, inputs[0], 0.0, 1.0, 0.0);

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count == 1 && inputs[0].Element == ElementType.Int32, $"takes targets and got {List(inputs)}");
        return Single(TensorType.Float(new Shape(inputs[0].Shape.Dims.Append(1))));
    }

    public override void Gradient(GradientContext context)
    {
    }
}
