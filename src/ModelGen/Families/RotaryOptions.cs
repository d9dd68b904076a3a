using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

/// <summary>What a declaration says of rotary positions: how fast each pair of a head's columns turns, and which columns are a pair.</summary>
internal sealed record RotaryOptions(double Base, double Fraction, RotaryLayout Layout)
{
    // ln 2.
    private const double LogTwo = 0.69314718055994531;

    private static readonly string[] Names = ["RotaryBase", "RotaryFraction", "RotaryLayout"];

    public static RotaryOptions Of(ModelSpec spec, double usualBase = 10_000) => new(
        spec.Real("RotaryBase", usualBase),
        spec.Real("RotaryFraction", 1),
        spec.Choice("RotaryLayout", RotaryLayout.Halves));

    public IEnumerable<FileOption> Files =>
    [
        FileOption.Of("RotaryBase", Base),
        FileOption.Of("RotaryFraction", Fraction) with { Absent = "1" },
        FileOption.Of("RotaryLayout", Layout),
    ];

    /// <summary>How many of a head's columns are turned: the fraction's, rounded down.</summary>
    public int Rotated(int headWidth) => (int)(headWidth * Fraction);

    /// <summary>The table [<paramref name="rows"/>, turned columns] of positions' cosines and sines.</summary>
    public Value Table(GraphBuilder b, int rows, int headWidth)
    {
        int rotated = Rotated(headWidth);
        return b.Add(new Parameter("rotary", Shape.Of(rows, rotated), Initializer.Rotary(Frequencies(rotated), 1), false, false) { IsTable = true }, "rotary");
    }

    /// <summary>The radians from one position to the next: base^(−2i/<paramref name="rotated"/>) of pair i.</summary>
    public EquatableArray<double> Frequencies(int rotated)
    {
        double log = Log(Base);
        return new([.. Enumerable.Range(0, rotated / 2).Select(i => Exp(-log * (2.0 * i / rotated)))]);
    }

    /// <summary>Checks the arguments.</summary>
    /// <param name="spec">The declaration.</param>
    /// <param name="checks">Its checks.</param>
    /// <param name="isUsed">Whether positions are rotary.</param>
    /// <param name="headWidth">The columns of a head; 0 where that is wrong already.</param>
    /// <param name="positions">How positions are known instead.</param>
    /// <param name="report">Where problems go.</param>
    public bool Validate(ModelSpec spec, ArgumentChecks checks, bool isUsed, int headWidth, PositionEncoding positions, Action<SpecProblem> report)
    {
        if (!isUsed)
        {
            foreach (string name in Names.Where(spec.Has))
            {
                report(new SpecProblem(DiagnosticIds.UnsupportedCombination, name, [name, $"PositionEncoding.{positions}", "only PositionEncoding.Rotary turns columns of heads"]));
            }

            return true;
        }

        bool holds = checks.OptionalReal("RotaryBase", Base is > 1 and <= 1e15, "greater than 1 and at most 1e15")
            & checks.OptionalReal("RotaryFraction", Fraction is > 0 and <= 1, "greater than 0 and at most 1");
        if (!holds || headWidth == 0)
        {
            return holds;
        }

        int rotated = Rotated(headWidth);
        if (rotated == 0 || rotated % 2 != 0)
        {
            string argument = spec.Has("RotaryFraction") ? "RotaryFraction" : spec.Has("HeadWidth") ? "HeadWidth" : "DModel";
            report(new SpecProblem(DiagnosticIds.UnsupportedCombination, argument, ["PositionEncoding.Rotary", $"{rotated} turned columns of each head", "pairs of columns are turned, so that there must be 2, 4, 6, …"]));
            return false;
        }

        return true;
    }

    // Of correctly rounded operations alone, so that what is emitted is the same on every machine.

    /// <summary>ln x for x from 1 to 1e15: of x/2ᵏ in √½ … √2 by the series of the inverse hyperbolic tangent, and k·ln 2.</summary>
    private static double Log(double x)
    {
        int halvings = 0;
        while (x > 1.4142135623730951)
        {
            x /= 2;
            halvings++;
        }

        double t = (x - 1) / (x + 1), square = t * t, sum = 0;
        for (int k = 41; k >= 1; k -= 2)
        {
            sum = (1.0 / k) + (square * sum);
        }

        return (halvings * LogTwo) + (2 * t * sum);
    }

    /// <summary>eˣ for x from −40 to 0: the power series at x/64, squared six times.</summary>
    private static double Exp(double x)
    {
        double part = x / 64, sum = 1;
        for (int k = 18; k >= 1; k--)
        {
            sum = 1 + (part / k * sum);
        }

        for (int i = 0; i < 6; i++)
        {
            sum *= sum;
        }

        return sum;
    }
}
