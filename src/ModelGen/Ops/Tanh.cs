using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The hyperbolic tangent. Its gradient, 1 − y², is taken from its value, which spares computing it again.</summary>
internal sealed record Tanh : UnaryOperator
{
    public override string Mnemonic => "tanh";

    public override Expr Express(Expr x) => Expr.Apply(UnaryFunction.Tanh, x);

    public override void Gradient(GradientContext context)
    {
        var d = context.OutputCotangent(0);
        var y = context.Output(0);
        context.Accumulate(0, () => context.Add(new Subtract(), d, context.Multiply(d, context.Builder.Add(new Multiply(), context.Node.Name + ".squared", y, y))));
    }
}
