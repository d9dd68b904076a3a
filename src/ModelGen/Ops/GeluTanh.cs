using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>The tanh form of GELU (Hendrycks and Gimpel 2016, section 2). ½x(1 + tanh u) equals x·σ(2u), with u = √(2/π)(x + 0.044715x³): one exponential.</summary>
internal sealed record GeluTanh : UnaryOperator
{
    public override string Mnemonic => "gelu_tanh";

    public override Expr Express(Expr x) => x * Expr.Apply(UnaryFunction.Sigmoid, x * (1.5957691216057308 + (0.071354816272600252 * (x * x))));
}
