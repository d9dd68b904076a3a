using System.Runtime.CompilerServices;

namespace ModelGen.Runtime;

/// <summary>
/// Distributions and seeds on top of <see cref="CounterRandom"/> that are the same on every machine, to the bit: only integer and
/// correctly rounded operations are used, and nothing of the system's mathematics library.
/// </summary>
internal static class WeightRandom
{
    /// <summary>A seed for one micro-batch of one step: a bijective mix of each number in turn (the finalizer of SplitMix64, Steele et al., 2014).</summary>
    public static ulong MixSeed(ulong seed, ulong step, ulong micro) => Mix(Mix(Mix(seed) ^ step) ^ micro);

    /// <summary>The 32 random bits as a number strictly between 0 and 1: the midpoint of one of 2³² equal intervals.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double OpenUnit(uint bits) => (bits + 0.5) * (1.0 / 4294967296.0);

    /// <summary>
    /// The quantile of the standard normal distribution for a probability from 2⁻³³ to 1 − 2⁻³³: the rational approximations of
    /// Wichura's PPND16 (algorithm AS 241, Applied Statistics 37, 1988), whose third, for farther tails, is not needed here.
    /// </summary>
    public static double NormalQuantile(double probability)
    {
        double q = probability - 0.5;
        if (Math.Abs(q) <= 0.425)
        {
            double r = 0.180625 - (q * q);
            double numerator = (((((((((((((2509.0809287301226727 * r) + 33430.575583588128105) * r) + 67265.770927008700853) * r)
                + 45921.953931549871457) * r) + 13731.693765509461125) * r) + 1971.5909503065514427) * r) + 133.14166789178437745) * r)
                + 3.3871328727963666080;
            double denominator = (((((((((((((5226.4952788528545610 * r) + 28729.085735721942674) * r) + 39307.895800092710610) * r)
                + 21213.794301586595867) * r) + 5394.1960214247511077) * r) + 687.18700749205790830) * r) + 42.313330701600911252) * r)
                + 1.0;
            return q * numerator / denominator;
        }

        double tail = Math.Sqrt(-Log(q < 0 ? probability : 1 - probability)) - 1.6;
        double top = (((((((((((((7.74545014278341407640e-4 * tail) + 2.27238449892691845833e-2) * tail) + 2.41780725177450611770e-1) * tail)
            + 1.27045825245236838258) * tail) + 3.64784832476320460504) * tail) + 5.76949722146069140550) * tail) + 4.63033784615654529590) * tail)
            + 1.42343711074968357734;
        double bottom = (((((((((((((1.05075007164441684324e-9 * tail) + 5.47593808499534494600e-4) * tail) + 1.51986665636164571966e-2) * tail)
            + 1.48103976427480074590e-1) * tail) + 6.89767334985100004550e-1) * tail) + 1.67638483018380384940) * tail) + 2.05319162663775882187) * tail)
            + 1.0;
        double magnitude = top / bottom;
        return q < 0 ? -magnitude : magnitude;
    }

    /// <summary>
    /// The natural logarithm of a positive normal number, from x = 2ᵏ·m and ln m = 2 artanh((m − 1)/(m + 1)) as a power series. The
    /// system's own may differ in its last bit from one machine to another.
    /// </summary>
    private static double Log(double x)
    {
        long bits = BitConverter.DoubleToInt64Bits(x);
        int exponent = (int)(bits >> 52) - 1022;
        double m = BitConverter.Int64BitsToDouble((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FE0_0000_0000_0000);
        if (m < 0.70710678118654752)
        {
            m *= 2;
            exponent--;
        }

        // |s| is at most 0.172, so the first term left out, s²³/23, is below the last bit.
        double s = (m - 1) / (m + 1);
        double square = s * s;
        double series = 0;
        for (int k = 21; k >= 1; k -= 2)
        {
            series = (series * square) + (1.0 / k);
        }

        return (exponent * 0.69314718055994530942) + (2 * s * series);
    }

    private static ulong Mix(ulong x)
    {
        x += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
