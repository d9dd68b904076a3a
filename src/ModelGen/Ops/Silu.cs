using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>x·σ(x), the sigmoid linear unit.</summary>
internal sealed record Silu : UnaryOperator
{
    public override string Mnemonic => "silu";

    public override Expr Express(Expr x) => x * Expr.Apply(UnaryFunction.Sigmoid, x);
}
