namespace ModelGen.Compiler.Families;

/// <summary>Functions of correctly rounded operations alone, so that what is emitted is the same on every machine.</summary>
internal static class PortableMath
{
    // ln 2.
    private const double LogTwo = 0.69314718055994531;

    /// <summary>ln x for x from 1e-15 to 1e15: of x/2ᵏ in √½ … √2 by the series of the inverse hyperbolic tangent, and k·ln 2. NaN for what has none, as wrong declarations may ask for.</summary>
    public static double Log(double x)
    {
        if (!(x > 0 && x <= double.MaxValue))
        {
            return double.NaN;
        }

        int halvings = 0;
        while (x > 1.4142135623730951)
        {
            x /= 2;
            halvings++;
        }

        while (x < 0.70710678118654757)
        {
            x *= 2;
            halvings--;
        }

        double t = (x - 1) / (x + 1), square = t * t, sum = 0;
        for (int k = 41; k >= 1; k -= 2)
        {
            sum = (1.0 / k) + (square * sum);
        }

        return (halvings * LogTwo) + (2 * t * sum);
    }

    /// <summary>eˣ for x from −40 to 0: the power series at x/64, squared six times.</summary>
    public static double Exp(double x)
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
