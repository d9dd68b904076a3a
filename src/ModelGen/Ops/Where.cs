using System.Collections.Generic;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The second input where the first, a mask, is one, and the third where it is zero: a choice and no product, so that what is not chosen may be
/// anything. The inputs broadcast; none flows back to the mask.
/// </summary>
internal sealed record Where : ElementwiseOperator
{
    public override string Mnemonic => "where";

    public override int Arity => 3;

    public override Expr Express(IReadOnlyList<Expr> inputs) => Expr.Select(Comparison.GreaterThan, inputs[0], 0.0, inputs[1], inputs[2]);

    public override void Gradient(GradientContext context)
    {
        Value Zero() => context.Add(new Constant(0, Shape.Scalar));
        context.Accumulate(1, () => context.Add(this, context.Input(0), context.OutputCotangent(0), Zero()));
        context.Accumulate(2, () => context.Add(this, context.Input(0), Zero(), context.OutputCotangent(0)));
    }
}
