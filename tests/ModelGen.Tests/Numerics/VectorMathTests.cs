using System.Runtime.Intrinsics;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Numerics;

/// <summary>
/// Every function of <see cref="VectorMath"/> against double precision over the whole float range, and the widths against each other.
/// </summary>
public sealed class VectorMathTests
{
    private const int AllowedUlp = 2;

    // Odd and far below 2^23: every exponent is met hundreds of times, with ever different mantissas.
    private const uint Stride = 16411;
    private const int Neighbours = 2048;

    private delegate Vector128<float> Function128(Vector128<float> x);

    private delegate Vector256<float> Function256(Vector256<float> x);

    private delegate Vector512<float> Function512(Vector512<float> x);

    private sealed record Function(
        string Name,
        Func<double, double> Reference,
        Func<float, float> Scalar,
        Function128 Width128,
        Function256 Width256,
        Function512 Width512,
        float[] Thresholds);

    private static readonly Function[] Functions =
    [
        new("Exp", Math.Exp, VectorMath.Exp, VectorMath.Exp, VectorMath.Exp, VectorMath.Exp,
            [0.6931472f, 88.72284f, 89f, -87.33655f, -103.2789f, -103.97208f, -105f, -176.05967f, -0.34657359f]),
        new("Log", Math.Log, VectorMath.Log, VectorMath.Log, VectorMath.Log, VectorMath.Log,
            [1f, 1.1754944e-38f, 0.6666667f, 1.3333334f, 7e-46f, 2f]),
        new("Tanh", Math.Tanh, VectorMath.Tanh, VectorMath.Tanh, VectorMath.Tanh, VectorMath.Tanh,
            [0.05f, 0.1732868f, -0.1732868f, 0.5493061f, 9.010913f, -9.010913f, 10f]),
        new("Sigmoid", x => 1 / (1 + Math.Exp(-x)), VectorMath.Sigmoid, VectorMath.Sigmoid, VectorMath.Sigmoid, VectorMath.Sigmoid,
            [-0.5f, -2f, 16.635532f, -87.33655f, -88.72284f, -103.97208f, -176.05967f, 88.72284f]),
        new("Erf", ReferenceErf, VectorMath.Erf, VectorMath.Erf, VectorMath.Erf, VectorMath.Erf,
            [0.9f, -0.9f, 3.8325067f, 4f, -4f, 0.476936f]),
    ];

    [Fact]
    public void WithinTwoUlpEverywhere() => Sweep();

    /// <summary>The same sweep where the JIT may use less, and with a forced width.</summary>
    [Theory]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableAVX512", "0")]
    [InlineData("MODELGEN_VECTOR_BITS", "512")]
    public void WithinTwoUlpOnEveryPath(string variable, string value) => ChildProcess.RunCheck(Sweep, (variable, value));

    [Fact]
    public void SpecialValues()
    {
        const float Infinity = float.PositiveInfinity;
        AssertBits(VectorMath.Exp, (-Infinity, 0f), (Infinity, Infinity), (0f, 1f), (-0f, 1f), (float.NaN, float.NaN), (-1000f, 0f), (1000f, Infinity));
        AssertBits(VectorMath.Log, (0f, -Infinity), (-0f, -Infinity), (1f, 0f), (-1f, float.NaN), (-Infinity, float.NaN), (Infinity, Infinity), (float.NaN, float.NaN), (-float.Epsilon, float.NaN));
        AssertBits(VectorMath.Tanh, (0f, 0f), (-0f, -0f), (Infinity, 1f), (-Infinity, -1f), (float.NaN, float.NaN), (float.Epsilon, float.Epsilon), (-100f, -1f));
        AssertBits(VectorMath.Sigmoid, (0f, 0.5f), (-0f, 0.5f), (Infinity, 1f), (-Infinity, 0f), (float.NaN, float.NaN), (100f, 1f), (-200f, 0f));
        AssertBits(VectorMath.Erf, (0f, 0f), (-0f, -0f), (Infinity, 1f), (-Infinity, -1f), (float.NaN, float.NaN), (5f, 1f));
    }

    /// <summary>The three files of the widths are one text, but for the width.</summary>
    [Theory]
    [InlineData("128")]
    [InlineData("512")]
    public void WidthsAreTheSameText(string width)
    {
        Assert.Equal(Source("256").Replace("256", width), Source(width));

        static string Source(string bits) => File.ReadAllText(Path.Combine(
            SourceTree.Root, "src", "ModelGen.Runtime", "Numerics", $"VectorMath.Vector{bits}.cs")).ReplaceLineEndings("\n");
    }

    /// <summary>The oracle itself, against the tables of Abramowitz and Stegun, Handbook of Mathematical Functions, table 7.1.</summary>
    [Theory]
    [InlineData(0.02, 0.0225645747)]
    [InlineData(0.5, 0.5204998778)]
    [InlineData(1.0, 0.8427007929)]
    [InlineData(1.5, 0.9661051465)]
    [InlineData(1.9, 0.9927904292)]
    public void ReferenceErfMatchesTheTable(double x, double expected)
    {
        Assert.Equal(expected, ReferenceErf(x), 1e-10);
        Assert.Equal(-expected, ReferenceErf(-x), 1e-10);
    }

    /// <summary>The two expansions of the oracle agree where one takes over from the other.</summary>
    [Fact]
    public void ReferenceErfIsContinuous()
    {
        for (double x = 1.8; x < 3; x += 0.01) Assert.Equal(ErfSeries(x), ErfFraction(x), 1e-13);
    }

    [Check]
    private static void Sweep()
    {
        Span<float> block = stackalloc float[16];
        foreach (Function function in Functions)
        {
            long[] histogram = new long[AllowedUlp + 2];
            float worst = 0;
            int filled = 0;
            foreach (float x in Arguments(function))
            {
                block[filled++] = x;
                if (filled < block.Length) continue;
                CheckBlock(function, block, histogram, ref worst);
                filled = 0;
            }

            block[filled..].Fill(1f);
            CheckBlock(function, block, histogram, ref worst);

            string counts = string.Join(", ", histogram.Select((count, ulp) => $"{(ulp > AllowedUlp ? "more" : ulp)}: {count}"));
            Assert.True(histogram[^1] == 0, $"{function.Name} ULP {counts}; the first beyond {AllowedUlp} at {worst:R}.");
            Assert.True(histogram.Sum() > 250_000);
        }
    }

    private static IEnumerable<float> Arguments(Function function)
    {
        for (ulong bits = 0; bits <= uint.MaxValue; bits += Stride) yield return BitConverter.UInt32BitsToSingle((uint)bits);

        float[] centres =
        [
            0f, -0f, float.Epsilon, float.MaxValue, float.MinValue, float.PositiveInfinity, float.NegativeInfinity, 1.1754944e-38f,
            -1.1754944e-38f, float.NaN,
        ];
        foreach (float centre in centres.Concat(function.Thresholds))
        {
            uint bits = BitConverter.SingleToUInt32Bits(centre);
            for (uint i = 0; i <= 2 * Neighbours; i++) yield return BitConverter.UInt32BitsToSingle(unchecked(bits - Neighbours + i));
        }
    }

    private static void CheckBlock(Function function, ReadOnlySpan<float> x, long[] histogram, ref float worst)
    {
        Span<float> wide = stackalloc float[16];
        Span<float> other = stackalloc float[16];
        function.Width512(Vector512.Create(x)).CopyTo(wide);
        for (int i = 0; i < 16; i += 8) function.Width256(Vector256.Create(x[i..])).CopyTo(other[i..]);
        AssertSameBits(function, x, wide, other, 256);
        for (int i = 0; i < 16; i += 4) function.Width128(Vector128.Create(x[i..])).CopyTo(other[i..]);
        AssertSameBits(function, x, wide, other, 128);
        for (int i = 0; i < 16; i++) other[i] = function.Scalar(x[i]);
        AssertSameBits(function, x, wide, other, 32);

        for (int i = 0; i < 16; i++)
        {
            long ulp = Math.Min(UlpDistance((float)function.Reference(x[i]), wide[i]), AllowedUlp + 1);
            if (ulp > AllowedUlp && histogram[ulp] == 0) worst = x[i];
            histogram[ulp]++;
        }
    }

    private static void AssertSameBits(Function function, ReadOnlySpan<float> x, ReadOnlySpan<float> wide, ReadOnlySpan<float> other, int width)
    {
        for (int i = 0; i < x.Length; i++)
        {
            bool same = BitConverter.SingleToInt32Bits(wide[i]) == BitConverter.SingleToInt32Bits(other[i]) ||
                (float.IsNaN(wide[i]) && float.IsNaN(other[i]));
            Assert.True(same, $"{function.Name}({x[i]:R}): {wide[i]:R} at 512 bits, {other[i]:R} at {width}.");
        }
    }

    private static void AssertBits(Func<float, float> function, params ReadOnlySpan<(float X, float Expected)> cases)
    {
        foreach ((float x, float expected) in cases)
        {
            float actual = function(x);
            Assert.True(UlpDistance(expected, actual) == 0, $"{function.Method.Name}({x:R}) is {actual:R}, expected {expected:R}.");
        }
    }

    /// <summary>Number of floats from one to the other; zeros of opposite sign, and NaN and a number, are infinitely far apart.</summary>
    private static long UlpDistance(float expected, float actual)
    {
        if (float.IsNaN(expected) || float.IsNaN(actual)) return float.IsNaN(expected) == float.IsNaN(actual) ? 0 : long.MaxValue;
        if (expected == 0 && actual == 0) return float.IsNegative(expected) == float.IsNegative(actual) ? 0 : long.MaxValue;
        return Math.Abs(Ordinal(expected) - Ordinal(actual));

        static long Ordinal(float value)
        {
            int bits = BitConverter.SingleToInt32Bits(value);
            return bits < 0 ? int.MinValue - (long)bits : bits;
        }
    }

    private static double ReferenceErf(double x) =>
        double.IsNaN(x) ? x : Math.CopySign(Math.Abs(x) < 2.2 ? ErfSeries(Math.Abs(x)) : Math.Abs(x) < 6 ? ErfFraction(Math.Abs(x)) : 1, x);

    /// <summary>Maclaurin series, Abramowitz and Stegun 7.1.5.</summary>
    private static double ErfSeries(double x)
    {
        double power = x, sum = x;
        for (int n = 1; n < 100; n++)
        {
            power *= -x * x / n;
            double term = power / ((2 * n) + 1);
            sum += term;
            if (Math.Abs(term) <= 1e-18 * Math.Abs(sum)) break;
        }

        return 2 / Math.Sqrt(Math.PI) * sum;
    }

    /// <summary>Continued fraction of the complement, Abramowitz and Stegun 7.1.14.</summary>
    private static double ErfFraction(double x)
    {
        double fraction = 0;
        for (int k = 200; k > 0; k--) fraction = k / 2.0 / (x + fraction);
        return 1 - (Math.Exp(-x * x) / (Math.Sqrt(Math.PI) * (x + fraction)));
    }
}
