using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>x · sigmoid(1.702x), an approximation of GELU (Hendrycks and Gimpel 2016, section 2).</summary>
internal sealed record QuickGelu : UnaryOperator
{
    public override string Mnemonic => "quick_gelu";

    public override Expr Express(Expr x) => x * Expr.Apply(UnaryFunction.Sigmoid, 1.702 * x);
}
