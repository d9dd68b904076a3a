using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary>x, at least <c>Low</c> and at most <c>High</c>, either of which may be infinite.</summary>
internal sealed record Clamp(double Low, double High) : UnaryOperator
{
    public override string Mnemonic => "clamp";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "{0:R}..{1:R}", Low, High);

    public override IReadOnlyList<string> Constants => [Text(Low), Text(High)];

    private static string Text(double bound) => double.IsInfinity(bound) ? bound < 0 ? "-∞" : "∞" : bound.ToString("G6", CultureInfo.InvariantCulture);

    public override Expr Express(Expr x)
    {
        Expr above = double.IsInfinity(Low) ? x : Expr.Max(x, Low);
        return double.IsInfinity(High) ? above : Expr.Min(above, High);
    }
}
