using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>max(x, 0).</summary>
internal sealed record Relu : UnaryOperator
{
    public override string Mnemonic => "relu";

    public override Expr Express(Expr x) => Expr.Max(x, 0.0);
}
