using ModelGen.Leaf;
using ModelGen.Tests.Compiler;

namespace ModelGen.ArmTests;

/// <summary>The runtime's elementary functions on arm64, over the whole float range.</summary>
[Collection(ArmTestGroup.Name)]
public sealed class VectorMathTests(ArmFixture fixture)
{
    private const int AllowedUlp = 2;

    // Odd and far below 2^23: every exponent is met hundreds of times, with ever different mantissas.
    private const uint Stride = 16411;

    private static readonly float[] SpecialValues =
        [0f, -0f, float.Epsilon, -float.Epsilon, float.MaxValue, float.MinValue, float.PositiveInfinity, float.NegativeInfinity, float.NaN, 1.17549435e-38f, 88.72284f, -103.97208f];

    [ArmTheory]
    [InlineData(ArmFixture.Oldest)]
    [InlineData(ArmFixture.Newest)]
    public void Every_function_is_within_two_ulp(string processor)
    {
        float[] arguments = [.. Sweep().Concat(SpecialValues)];
        arguments = [.. arguments, .. Enumerable.Repeat(1f, (4 - (arguments.Length % 4)) % 4)];
        MemoryImage image = new();
        long x = image.Place<float>(arguments);
        ElementaryFunction[] functions = Enum.GetValues<ElementaryFunction>();
        long[] results = [.. functions.Select(_ => image.Reserve(arguments.Length))];
        foreach ((ElementaryFunction function, long y) in functions.Zip(results))
        {
            image.Add(new Command { Kind = CommandKind.Function, Which = (int)function, From = x, To = y, Length = arguments.Length });
        }

        byte[] memory = fixture.Program.RunEmulated(image.ToArray(), processor);
        image.CheckRedZones(memory);
        foreach ((ElementaryFunction function, long y) in functions.Zip(results))
        {
            Func<double, double> reference = Reference(function);
            ReadOnlySpan<float> values = MemoryImage.Floats(memory, y, arguments.Length);
            for (int i = 0; i < values.Length; i++)
            {
                float expected = (float)reference(arguments[i]);
                Assert.True(UlpDistance(expected, values[i]) <= AllowedUlp, $"{function}({arguments[i]:R}) is {values[i]:R}, expected {expected:R}.");
            }
        }
    }

    private static Func<double, double> Reference(ElementaryFunction function) => function switch
    {
        ElementaryFunction.Exp => Math.Exp,
        ElementaryFunction.Log => Math.Log,
        ElementaryFunction.Tanh => Math.Tanh,
        ElementaryFunction.Sigmoid => ScalarFunctions.Sigmoid,
        ElementaryFunction.Erf => x => x == 0 ? x : ScalarFunctions.Erf(x),
        _ => throw new ArgumentOutOfRangeException(nameof(function)),
    };

    private static IEnumerable<float> Sweep()
    {
        for (ulong bits = 0; bits <= uint.MaxValue; bits += Stride)
        {
            yield return BitConverter.UInt32BitsToSingle((uint)bits);
        }
    }

    /// <summary>Number of floats from one to the other; zeros of opposite sign, and NaN and a number, are infinitely far apart.</summary>
    private static long UlpDistance(float expected, float actual)
    {
        if (float.IsNaN(expected) || float.IsNaN(actual))
        {
            return float.IsNaN(expected) == float.IsNaN(actual) ? 0 : long.MaxValue;
        }

        if (expected == 0 && actual == 0)
        {
            return float.IsNegative(expected) == float.IsNegative(actual) ? 0 : long.MaxValue;
        }

        return Math.Abs(Ordinal(expected) - Ordinal(actual));

        static long Ordinal(float value)
        {
            int bits = BitConverter.SingleToInt32Bits(value);
            return bits < 0 ? int.MinValue - (long)bits : bits;
        }
    }
}
