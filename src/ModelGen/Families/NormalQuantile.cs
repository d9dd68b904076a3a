using System;

namespace ModelGen.Compiler.Families;

/// <summary>The quantiles of the normal distribution.</summary>
internal static class NormalQuantile
{
    private const double RootOfTwoPi = 2.5066282746310002;

    // Beyond it, what is left is less than rounding.
    private const double Farthest = 8.5;

    /// <summary>The z that a normally distributed number is below with probability <paramref name="probability"/>, above 0 and below 1.</summary>
    public static double Of(double probability)
    {
        double low = -Farthest, high = Farthest;
        for (int i = 0; i < 80; i++)
        {
            double middle = (low + high) / 2;
            if (Below(middle) < probability)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        return (low + high) / 2;
    }

    /// <summary>Φ(z) = ½ + φ(z)·(z + z³/3 + z⁵/(3·5) + …) (Marsaglia, "Evaluating the Normal Distribution", 2004), of the negative one where z is negative.</summary>
    private static double Below(double z)
    {
        double term = Math.Abs(z), sum = term, square = z * z;
        for (int k = 3; k < 400; k += 2)
        {
            term *= square / k;
            sum += term;
        }

        double half = sum * PortableMath.Exp(-square / 2) / RootOfTwoPi;
        return z < 0 ? 0.5 - half : 0.5 + half;
    }
}
