using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Inverted dropout (Srivastava et al. 2014): an element is zero with probability <c>Probability</c> and otherwise
/// divided by 1 − <c>Probability</c>. The mask is a function of seed, <c>Stream</c> and position, so the backward
/// pass is the same operator applied to the cotangent and no mask is stored.
/// </summary>
internal sealed record Dropout(double Probability, int Stream) : UnaryOperator
{
    public override string Mnemonic => "dropout";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "p={0:R} stream={1}", Probability, Stream);

    /// <summary>The mask depends on which row it is.</summary>
    public override bool IsRowWise => false;

    public override Expr Express(Expr x)
        => Expr.Select(Comparison.GreaterThanOrEqual, new UniformExpr(Stream), Probability, x * (1 / (1 - Probability)), 0.0);

    public override void Gradient(GradientContext context) => context.Accumulate(0, () => context.Add(this, context.OutputCotangent(0)));
}
