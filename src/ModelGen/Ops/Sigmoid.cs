using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The logistic function 1 / (1 + e^−x). Its gradient, y(1 − y), is taken from its value.</summary>
internal sealed record Sigmoid : UnaryOperator
{
    public override string Mnemonic => "sigmoid";

    public override Expr Express(Expr x) => Expr.Apply(UnaryFunction.Sigmoid, x);

    public override void Gradient(GradientContext context)
    {
        context.Accumulate(0, () =>
        {
            Value dy = context.Multiply(context.OutputCotangent(0), context.Output(0));
            return context.Add(new Subtract(), dy, context.Multiply(dy, context.Output(0)));
        });
    }
}
