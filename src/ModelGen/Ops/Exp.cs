using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>e^x.</summary>
internal sealed record Exp : UnaryOperator
{
    public override string Mnemonic => "exp";

    public override Expr Express(Expr x) => Expr.Apply(UnaryFunction.Exp, x);
}
