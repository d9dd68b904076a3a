using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>log(1 + e^x), computed as max(x, 0) + log(1 + e^−|x|), which cannot overflow.</summary>
internal sealed record Softplus : UnaryOperator
{
    public override string Mnemonic => "softplus";

    public override Expr Express(Expr x) => Expr.Max(x, 0.0) + Expr.Apply(UnaryFunction.Log, 1.0 + Expr.Apply(UnaryFunction.Exp, Expr.Min(x, 0.0) - Expr.Max(x, 0.0)));
}
