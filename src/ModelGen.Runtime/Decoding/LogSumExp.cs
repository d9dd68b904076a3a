using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>log Σ exp of logits: what a logit is to be lowered by to be a log-probability.</summary>
internal static class LogSumExp
{
    /// <summary>The maximum is subtracted first; exponentials are single, sums double precision. One order of additions on every processor.</summary>
    /// <exception cref="ArithmeticException">A logit is NaN or positive infinity, or all are negative infinity.</exception>
    public static double Of(ReadOnlySpan<float> logits)
    {
        float maximum = Maximum(logits);
        if (!float.IsFinite(maximum))
        {
            throw new ArithmeticException(FormattableString.Invariant($"The greatest logit is {maximum}."));
        }

        ref float first = ref MemoryMarshal.GetReference(logits);
        Vector256<float> greatest = Vector256.Create(maximum);
        Vector256<double> low = Vector256<double>.Zero, high = low;
        int i = 0;
        for (; i <= logits.Length - 8; i += 8)
        {
            (Vector256<double> l, Vector256<double> h) = Vector256.Widen(VectorMath.Exp(Vector256.LoadUnsafe(ref first, (nuint)i) - greatest));
            low += l;
            high += h;
        }

        Vector256<double> sums = low + high;
        double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        for (; i < logits.Length; i++)
        {
            sum += VectorMath.Exp(logits[i] - maximum);
        }

        return maximum + Math.Log(sum);
    }

    // A NaN stays one in a maximum.
    private static float Maximum(ReadOnlySpan<float> logits)
    {
        ref float first = ref MemoryMarshal.GetReference(logits);
        Vector256<float> maxima = Vector256.Create(float.NegativeInfinity);
        int i = 0;
        for (; i <= logits.Length - 8; i += 8)
        {
            maxima = Vector256.Max(maxima, Vector256.LoadUnsafe(ref first, (nuint)i));
        }

        float maximum = float.NegativeInfinity;
        for (int lane = 0; lane < 8; lane++)
        {
            maximum = MathF.Max(maximum, maxima[lane]);
        }

        for (; i < logits.Length; i++)
        {
            maximum = MathF.Max(maximum, logits[i]);
        }

        return maximum;
    }
}
