using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Numerics;

/// <summary>Every member of the vectors that kernels take as a type argument, at every width, against the same of single numbers.</summary>
public sealed unsafe class VectorTests
{
    private static readonly float[] Special = [0f, -0f, 1f, -1f, 0.5f, -2.25f, float.NaN, float.PositiveInfinity, float.NegativeInfinity, 1e-40f, 3e38f, 7f];

    [Fact]
    public void MembersAreThoseOfNumbers() => AllWidths();

    [Theory]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    [InlineData("DOTNET_EnableAVX", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    [InlineData("DOTNET_EnableAVX512", "0")]
    public void OnEveryPath(string variable, string value) => ChildProcess.RunCheck(AllWidths, (variable, value));

    [Check]
    private static void AllWidths()
    {
        Members<F512>(16);
        Members<F256>(8);
        Members<F128>(4);
    }

    private static void Members<V>(int lanes)
        where V : struct, IVector<V>
    {
        Assert.Equal(lanes, V.Lanes);
        Expect(V.Zero, _ => 0f);
        Expect(V.Indices, i => i);
        Expect(V.Create(2.5f), _ => 2.5f);
        Random random = new(11);
        float[] a = new float[lanes], b = new float[lanes], c = new float[lanes];
        for (int round = 0; round < 300; round++)
        {
            foreach (float[] values in (float[][])[a, b, c])
            {
                for (int i = 0; i < lanes; i++)
                {
                    values[i] = random.Next(3) == 0 ? Special[random.Next(Special.Length)] : (random.NextSingle() - 0.5f) * 8;
                }
            }

            V va = Of<V>(a), vb = Of<V>(b), vc = Of<V>(c);
            Expect(va + vb, i => a[i] + b[i]);
            Expect(va - vb, i => a[i] - b[i]);
            Expect(va * vb, i => a[i] * b[i]);
            Expect(va / vb, i => a[i] / b[i]);
            Expect(-va, i => -a[i]);
            Expect(va & vb, i => Bits(a[i], b[i], (x, y) => x & y));
            Expect(va | vb, i => Bits(a[i], b[i], (x, y) => x | y));
            Expect(va ^ vb, i => Bits(a[i], b[i], (x, y) => x ^ y));
            Expect(V.MultiplyAdd(va, vb, vc), i => Simd.MultiplyAdd(a[i], b[i], c[i]));
            Expect(V.Sqrt(va), i => MathF.Sqrt(a[i]));
            Expect(V.Max(va, vb), i => MathF.Max(a[i], b[i]));
            Expect(V.Min(va, vb), i => MathF.Min(a[i], b[i]));
            ExpectOneOfTwo(V.MaxNative(va, vb), i => MathF.Max(a[i], b[i]), a, b);
            ExpectOneOfTwo(V.MinNative(va, vb), i => MathF.Min(a[i], b[i]), a, b);
            Expect(V.Select(V.Equal(va, vb), va, vc), i => a[i] == b[i] ? a[i] : c[i]);
            Expect(V.Select(V.LessThan(va, vb), va, vc), i => a[i] < b[i] ? a[i] : c[i]);
            Expect(V.Select(V.GreaterThan(va, vb), va, vc), i => a[i] > b[i] ? a[i] : c[i]);
            Expect(V.Select(V.GreaterThanOrEqual(va, vb), va, vc), i => a[i] >= b[i] ? a[i] : c[i]);
            Expect(V.Select(V.GreaterThanOrEqual(va, va), va, vc), i => float.IsNaN(a[i]) ? c[i] : a[i]);
            Expect(V.Exp(va), i => VectorMath.Exp(a[i]));
            Expect(V.Log(va), i => VectorMath.Log(a[i]));
            Expect(V.Tanh(va), i => VectorMath.Tanh(a[i]));
            Expect(V.Sigmoid(va), i => VectorMath.Sigmoid(a[i]));
            Expect(V.Erf(va), i => VectorMath.Erf(a[i]));
            Same(Tree(a, (x, y) => x + y), V.Sum(va));
            Same(Tree(a, MathF.Max), V.Max(va));
            if (!a.Any(float.IsNaN))
            {
                Same(Tree(a, MathF.Max), V.MaxNative(va));
            }

            uint counter = (uint)random.Next(), key0 = (uint)random.Next(), key1 = (uint)random.Next();
            Expect(V.Uniform(counter, key0, key1), i => Simd.Uniform(counter + (uint)i, key0, key1));
        }

        for (int count = 0; count <= lanes; count++)
        {
            Expect(V.FirstLanes(V.Indices, count, -1f), i => i < count ? i : -1f);
            foreach (GuardSide side in (GuardSide[])[GuardSide.After, GuardSide.Before])
            {
                using GuardedBuffer buffer = new(count, side);
                V.StoreTail(V.Indices, buffer.Pointer, count);
                Expect(V.LoadTail(buffer.Pointer, count), i => i < count ? i : 0f);
            }
        }

        const int Stride = 3;
        for (int count = 0; count <= lanes; count++)
        {
            using GuardedBuffer apart = new(Math.Max(0, ((count - 1) * Stride) + 1));
            V.StoreStridedTail(V.Indices, apart.Pointer, Stride, count);
            Expect(V.LoadStridedTail(apart.Pointer, Stride, count), i => i < count ? i : 0f);
            for (int i = 0; i < apart.Length; i++) Same(i % Stride == 0 ? i / Stride : float.NaN, apart.Pointer[i]);
        }

        using GuardedBuffer whole = new(((lanes - 1) * Stride) + 1);
        V.StoreStrided(V.Indices, whole.Pointer, Stride);
        Expect(V.LoadStrided(whole.Pointer, Stride), i => i);
        using GuardedBuffer roomy = new(2 * lanes);
        V.StoreTail(V.Indices, roomy.Pointer, lanes - 1);
        Expect(V.Load(roomy.Pointer + 1), i => i < lanes - 2 ? i + 1 : float.NaN);
    }

    private static V Of<V>(float[] values)
        where V : struct, IVector<V>
    {
        fixed (float* p = values)
        {
            return V.Load(p);
        }
    }

    private static float[] Lanes<V>(V actual)
        where V : struct, IVector<V>
    {
        float[] lanes = new float[V.Lanes];
        fixed (float* p = lanes)
        {
            V.Store(actual, p);
        }

        return lanes;
    }

    private static void Expect<V>(V actual, Func<int, float> expected)
        where V : struct, IVector<V>
    {
        float[] lanes = Lanes(actual);
        for (int i = 0; i < lanes.Length; i++)
        {
            Same(expected(i), lanes[i]);
        }
    }

    /// <summary>As <see cref="Expect"/>, but for zeros of either sign, and where one of two is NaN either of them.</summary>
    private static void ExpectOneOfTwo<V>(V actual, Func<int, float> expected, float[] a, float[] b)
        where V : struct, IVector<V>
    {
        float[] lanes = Lanes(actual);
        for (int i = 0; i < lanes.Length; i++)
        {
            Assert.True(lanes[i] == expected(i) || (float.IsNaN(expected(i)) && (lanes[i].Equals(a[i]) || lanes[i].Equals(b[i]))), $"{lanes[i]} of {a[i]} and {b[i]}");
        }
    }

    // NaNs are equal: which bits one has is the processor's business.
    private static void Same(float expected, float actual)
        => Assert.True(expected.Equals(actual) && (float.IsNaN(expected) || BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(actual)), $"expected {expected:R}, found {actual:R}");

    private static float Bits(float a, float b, Func<int, int, int> combine)
        => BitConverter.Int32BitsToSingle(combine(BitConverter.SingleToInt32Bits(a), BitConverter.SingleToInt32Bits(b)));

    private static float Tree(float[] values, Func<float, float, float> combine)
    {
        float[] lanes = [.. values];
        for (int half = lanes.Length / 2; half > 0; half /= 2)
        {
            for (int i = 0; i < half; i++)
            {
                lanes[i] = combine(lanes[i], lanes[i + half]);
            }
        }

        return lanes[0];
    }
}
