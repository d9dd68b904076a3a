using System;
using System.Collections.Generic;
using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Ops;

/// <summary><c>Scale</c>·x + <c>Shift</c>, both literal.</summary>
internal sealed record Affine(double Scale, double Shift) : UnaryOperator
{
    public override string Mnemonic => "affine";

    public override string? Spell(IReadOnlyList<string> inputs)
    {
        string scaled = Scale == 1 ? inputs[0] : Scale == -1 ? "-" + inputs[0] : $"{inputs[0]} * {Scale.ToString("G6", CultureInfo.InvariantCulture)}";
        return Scale == -1 && Shift != 0 ? $"({Shift.ToString("G6", CultureInfo.InvariantCulture)} - {inputs[0]})"
            : Shift == 0 ? $"({scaled})"
            : $"({scaled} {(Shift < 0 ? "-" : "+")} {Math.Abs(Shift).ToString("G6", CultureInfo.InvariantCulture)})";
    }

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "scale={0:R} shift={1:R}", Scale, Shift);

    public override Expr Express(Expr x) => (x * Scale) + Shift;

    public override void Gradient(GradientContext context) => context.Accumulate(0, () => context.Scale(context.OutputCotangent(0), Scale));
}
