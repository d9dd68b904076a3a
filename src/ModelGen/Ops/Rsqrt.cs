using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>1 / √(x + <c>Epsilon</c>), by a square root and a division: the hardware's estimate is not exact enough.</summary>
internal sealed record Rsqrt(double Epsilon) : UnaryOperator
{
    public override string Mnemonic => "rsqrt";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "epsilon={0:R}", Epsilon);

    public override Expr Express(Expr x) => 1.0 / Expr.Apply(UnaryFunction.Sqrt, x + Epsilon);

    public override void Gradient(GradientContext context)
    {
        var y = context.Output(0);
        context.Accumulate(0, () => context.Scale(context.Multiply(context.OutputCotangent(0), context.Multiply(y, context.Multiply(y, y))), -0.5));
    }
}
