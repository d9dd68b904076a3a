using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The identity, which no gradient passes: a value that shifts a computation without changing its result.</summary>
internal sealed record StopGradient : UnaryOperator
{
    public override string Mnemonic => "stop_gradient";

    public override Expr Express(Expr x) => x;

    public override void Gradient(GradientContext context)
    {
    }
}
