using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The natural logarithm.</summary>
internal sealed record Log : UnaryOperator
{
    public override string Mnemonic => "log";

    public override Expr Express(Expr x) => Expr.Apply(UnaryFunction.Log, x);
}
