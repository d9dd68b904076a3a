using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>
/// Σx² over gradients, in double precision and in one order at every vector width: element i goes to partial sum i mod 16, in
/// ascending order, and the sixteen are added in a fixed tree. Sixteen, so that a sum does not wait for the one before it.
/// </summary>
/// <remarks>The square of a float is exact in double precision, so fusing it into the sum changes nothing.</remarks>
internal static unsafe class GradientMath
{
    private const int Lanes = 16;

    /// <summary>Σx² of floats.</summary>
    /// <param name="values">The floats.</param>
    public static double SumOfSquares(ReadOnlySpan<float> values)
    {
        fixed (float* p = values)
        {
            return Simd.Use512 ? Sum512(p, values.Length) : Simd.Use256 ? Sum256(p, values.Length) : Sum128(p, values.Length);
        }
    }

    /// <summary>Adds the squares of sixteen floats to the sixteen sums.</summary>
    /// <param name="values">The floats.</param>
    /// <param name="sum0">The sums 0 to 7.</param>
    /// <param name="sum1">The sums 8 to 15.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddSquares(Vector512<float> values, ref Vector512<double> sum0, ref Vector512<double> sum1)
    {
        (Vector512<double> low, Vector512<double> high) = Vector512.Widen(values);
        sum0 = Vector512.FusedMultiplyAdd(low, low, sum0);
        sum1 = Vector512.FusedMultiplyAdd(high, high, sum1);
    }

    /// <summary>Adds the squares of eight floats to eight sums.</summary>
    /// <param name="values">The floats.</param>
    /// <param name="sum0">The first four sums.</param>
    /// <param name="sum1">The other four.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddSquares(Vector256<float> values, ref Vector256<double> sum0, ref Vector256<double> sum1)
    {
        (Vector256<double> low, Vector256<double> high) = Vector256.Widen(values);
        sum0 += low * low;
        sum1 += high * high;
    }

    /// <summary>The sum of the sixteen sums.</summary>
    /// <param name="sum0">The sums 0 to 7.</param>
    /// <param name="sum1">The sums 8 to 15.</param>
    public static double Total(Vector512<double> sum0, Vector512<double> sum1)
    {
        Vector512<double> eight = sum0 + sum1;
        return Total(eight.GetLower() + eight.GetUpper());
    }

    /// <summary>The sum of the sixteen sums.</summary>
    /// <param name="sum0">The sums 0 to 3.</param>
    /// <param name="sum1">The sums 4 to 7.</param>
    /// <param name="sum2">The sums 8 to 11.</param>
    /// <param name="sum3">The sums 12 to 15.</param>
    public static double Total(Vector256<double> sum0, Vector256<double> sum1, Vector256<double> sum2, Vector256<double> sum3)
        => Total((sum0 + sum2) + (sum1 + sum3));

    private static double Total(Vector256<double> four)
    {
        Vector128<double> two = four.GetLower() + four.GetUpper();
        return two.ToScalar() + two.GetElement(1);
    }

    private static double Sum512(float* p, int length)
    {
        Vector512<double> sum0 = Vector512<double>.Zero;
        Vector512<double> sum1 = Vector512<double>.Zero;
        int i = 0;
        for (; i <= length - Lanes; i += Lanes)
        {
            AddSquares(Vector512.Load(p + i), ref sum0, ref sum1);
        }

        if (i < length)
        {
            AddSquares(Simd.LoadTail512(p + i, length - i), ref sum0, ref sum1);
        }

        return Total(sum0, sum1);
    }

    private static double Sum256(float* p, int length)
    {
        Vector256<double> sum0 = Vector256<double>.Zero;
        Vector256<double> sum1 = Vector256<double>.Zero;
        Vector256<double> sum2 = Vector256<double>.Zero;
        Vector256<double> sum3 = Vector256<double>.Zero;
        int i = 0;
        for (; i <= length - Lanes; i += Lanes)
        {
            AddSquares(Vector256.Load(p + i), ref sum0, ref sum1);
            AddSquares(Vector256.Load(p + i + 8), ref sum2, ref sum3);
        }

        if (i < length)
        {
            AddSquares(Simd.LoadTail256(p + i, Math.Min(length - i, 8)), ref sum0, ref sum1);
            if (i + 8 < length)
            {
                AddSquares(Simd.LoadTail256(p + i + 8, length - i - 8), ref sum2, ref sum3);
            }
        }

        return Total(sum0, sum1, sum2, sum3);
    }

    private static double Sum128(float* p, int length)
    {
        Vector256<double>* sums = stackalloc Vector256<double>[4];
        for (int lane = 0; lane < 4; lane++)
        {
            sums[lane] = Vector256<double>.Zero;
        }

        double* lanes = (double*)sums;
        for (int i = 0; i < length; i++)
        {
            lanes[i % Lanes] += (double)p[i] * p[i];
        }

        return Total(sums[0], sums[1], sums[2], sums[3]);
    }
}
