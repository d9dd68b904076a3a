using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>Reductions over gradients, in double precision and in one fixed order at every vector width.</summary>
internal static class GradientMath
{
    /// <summary>
    /// Σx². Element i goes to partial sum i mod 8, in ascending order, and the eight are added in a fixed tree. The square of a
    /// float is exact in double precision, so fusing it into the sum would change nothing.
    /// </summary>
    public static double SumOfSquares(ReadOnlySpan<float> values)
    {
        Span<double> lanes = stackalloc double[8];
        int vectors = values.Length / 8;
        ref float first = ref MemoryMarshal.GetReference(values);
        if (Vector256.IsHardwareAccelerated)
        {
            Vector256<double> low = Vector256<double>.Zero;
            Vector256<double> high = Vector256<double>.Zero;
            for (int i = 0; i < vectors; i++)
            {
                (Vector256<double> a, Vector256<double> b) = Vector256.Widen(Vector256.LoadUnsafe(ref first, (nuint)(i * 8)));
                low += a * a;
                high += b * b;
            }

            low.CopyTo(lanes);
            high.CopyTo(lanes[4..]);
        }
        else
        {
            Vector128<double> sum0 = Vector128<double>.Zero;
            Vector128<double> sum1 = Vector128<double>.Zero;
            Vector128<double> sum2 = Vector128<double>.Zero;
            Vector128<double> sum3 = Vector128<double>.Zero;
            for (int i = 0; i < vectors; i++)
            {
                (Vector128<double> a, Vector128<double> b) = Vector128.Widen(Vector128.LoadUnsafe(ref first, (nuint)(i * 8)));
                (Vector128<double> c, Vector128<double> d) = Vector128.Widen(Vector128.LoadUnsafe(ref first, (nuint)((i * 8) + 4)));
                sum0 += a * a;
                sum1 += b * b;
                sum2 += c * c;
                sum3 += d * d;
            }

            sum0.CopyTo(lanes);
            sum1.CopyTo(lanes[2..]);
            sum2.CopyTo(lanes[4..]);
            sum3.CopyTo(lanes[6..]);
        }

        for (int i = vectors * 8; i < values.Length; i++)
        {
            lanes[i % 8] += (double)values[i] * values[i];
        }

        return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    }
}
