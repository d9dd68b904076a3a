using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The exponential linear unit (Clevert et al. 2016, equation 15, α = 1): x above zero, eˣ − 1 below. The difference is taken as
/// tanh(x/2)·(eˣ + 1), which does not cancel near zero. Its gradient, 1 + min(y, 0), is taken from its value.
/// </summary>
internal sealed record Elu : UnaryOperator
{
    public override string Mnemonic => "elu";

    public override Expr Express(Expr x)
    {
        Expr below = Expr.Min(x, 0.0);
        return Expr.Max(x, 0.0) + (Expr.Apply(UnaryFunction.Tanh, 0.5 * below) * (Expr.Apply(UnaryFunction.Exp, below) + 1.0));
    }

    public override void Gradient(GradientContext context)
    {
        var above = context.Add(new Relu(), context.Add(new Affine(-1, 0), context.Output(0)));
        context.Accumulate(0, context.Multiply(context.OutputCotangent(0), context.Add(new Affine(-1, 1), above)));
    }
}
