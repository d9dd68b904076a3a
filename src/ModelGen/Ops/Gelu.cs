using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>x·Φ(x), the Gaussian error linear unit in its exact form (Hendrycks and Gimpel 2016, section 2).</summary>
internal sealed record Gelu : UnaryOperator
{
    public override string Mnemonic => "gelu";

    public override Expr Express(Expr x) => (0.5 * x) * (1.0 + Expr.Apply(UnaryFunction.Erf, x * 0.70710678118654757));
}
