using System.Runtime.Intrinsics;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Numerics;

/// <summary>
/// The counter-based random numbers behind dropout masks. Everything is a pure function of fixed keys, so a bound of five or six
/// standard deviations either always holds or never.
/// </summary>
public sealed class UniformTests
{
    private const int Count = 1 << 18;

    public static TheoryData<uint, uint> Keys => new()
    {
        { 0, 0 }, { 1, 0 }, { 0, 1 }, { 2, 3 }, { 0xDEADBEEF, 0x12345678 }, { uint.MaxValue, uint.MaxValue }, { 0x80000000, 0 },
    };

    [Theory]
    [MemberData(nameof(Keys))]
    public void MomentsAndBits(uint key0, uint key1)
    {
        float[] stream = Stream(key0, key1, 0);
        Assert.All(stream, value => Assert.InRange(value, 0f, 1f - (1f / (1 << 24))));
        Assert.Equal(0.5, stream.Average(value => (double)value), 5 * Math.Sqrt(1.0 / 12 / Count));
        double variance = stream.Sum(value => (double)(value - 0.5) * (value - 0.5)) / Count;
        Assert.Equal(1.0 / 12, variance, 5 * Math.Sqrt(1.0 / 180 / Count));
        foreach (double rate in (double[])[0.01, 0.1, 0.5, 0.9])
        {
            Assert.Equal(rate, stream.Count(value => value < rate) / (double)Count, 5 * Math.Sqrt(rate * (1 - rate) / Count));
        }

        for (int bit = 0; bit < 24; bit++)
        {
            int ones = stream.Count(value => (((int)(value * (1 << 24)) >> bit) & 1) != 0);
            Assert.Equal(Count / 2.0, ones, 5 * Math.Sqrt(Count) / 2);
        }
    }

    [Theory]
    [MemberData(nameof(Keys))]
    public void SuccessiveNumbersAreIndependent(uint key0, uint key1)
    {
        foreach (int lag in (int[])[1, 2, 3, 4, 8, 16, 64, 128, 768, 4096])
        {
            AssertIndependent(Stream(key0, key1, 0), Stream(key0, key1, (uint)lag), $"lag {lag}");
        }
    }

    /// <summary>Streams of neighbouring keys, also where the counter moves along with the key.</summary>
    [Theory]
    [MemberData(nameof(Keys))]
    public void NeighbouringKeysAreIndependent(uint key0, uint key1)
    {
        float[] stream = Stream(key0, key1, 0);
        foreach (uint difference in (uint[])[1, 2, 3, 8, 0x100, 0x10000, 0x80000000])
        {
            AssertIndependent(stream, Stream(key0 ^ difference, key1, 0), $"key0 ^ {difference}");
            AssertIndependent(stream, Stream(key0, key1 ^ difference, 0), $"key1 ^ {difference}");
            AssertIndependent(stream, Stream(key0 + difference, key1 + difference, 0), $"both + {difference}");
            AssertIndependent(stream, Stream(key0 ^ difference, key1, 0, difference), $"key0 and counter ^ {difference}");
            AssertIndependent(stream, Stream(key0, key1 ^ difference, 0, difference), $"key1 and counter ^ {difference}");
            AssertIndependent(stream, Stream(key0 - difference, key1, difference), $"key0 - and counter + {difference}");
        }

        if (key0 != key1) AssertIndependent(stream, Stream(key1, key0, 0), "keys exchanged");
    }

    [Fact]
    public void WidthsAgree() => CompareWidths();

    [Theory]
    [InlineData("DOTNET_EnableHWIntrinsic", "0")]
    [InlineData("DOTNET_EnableAVX2", "0")]
    public void WidthsAgreeOnEveryPath(string variable, string value) => ChildProcess.RunCheck(CompareWidths, (variable, value));

    [Check]
    private static void CompareWidths()
    {
        Random random = new(11);
        Span<uint> counters = stackalloc uint[16];
        for (int round = 0; round < 2000; round++)
        {
            uint key0 = (uint)random.NextInt64(1L << 32), key1 = (uint)random.NextInt64(1L << 32);
            for (int i = 0; i < 16; i++) counters[i] = (uint)random.NextInt64(1L << 32);
            Vector512<float> wide = Simd.Uniform(Vector512.Create<uint>(counters), key0, key1);
            Assert.Equal(wide.GetLower(), Simd.Uniform(Vector256.Create<uint>(counters), key0, key1));
            Assert.Equal(wide.GetLower().GetLower(), Simd.Uniform(Vector128.Create<uint>(counters), key0, key1));
            for (int i = 0; i < 16; i++) Assert.Equal(wide.GetElement(i), Simd.Uniform(counters[i], key0, key1));
        }

        // A checkpoint resumed elsewhere must draw the same masks: these bits are part of the format.
        Assert.Equal(PinnedBits, (uint[])[Pin(0, 0, 0), Pin(1, 0, 0), Pin(123456789, 42, 7)]);

        static uint Pin(uint counter, uint key0, uint key1) => (uint)(Simd.Uniform(counter, key0, key1) * (1 << 24));
    }

    private static readonly uint[] PinnedBits = [12421958, 13456230, 10033476];

    private static float[] Stream(uint key0, uint key1, uint first, uint flip = 0)
    {
        float[] result = new float[Count];
        for (uint i = 0; i < Count; i += 8)
        {
            Vector256<uint> counter = (Vector256.Create(first + i) + Vector256<uint>.Indices) ^ Vector256.Create(flip);
            Simd.Uniform(counter, key0, key1).CopyTo(result, (int)i);
        }

        return result;
    }

    /// <summary>No linear correlation, and a flat joint distribution over 16 × 16 cells (chi-square).</summary>
    private static void AssertIndependent(float[] a, float[] b, string what)
    {
        const int Cells = 16;
        double product = 0;
        int[] cells = new int[Cells * Cells];
        for (int i = 0; i < Count; i++)
        {
            product += (a[i] - 0.5) * (b[i] - 0.5);
            cells[((int)(a[i] * Cells) * Cells) + (int)(b[i] * Cells)]++;
        }

        double correlation = product / Count * 12;
        Assert.True(Math.Abs(correlation) < 5 / Math.Sqrt(Count), $"{what}: correlation {correlation}");
        double expected = (double)Count / cells.Length;
        double chiSquare = cells.Sum(cell => (cell - expected) * (cell - expected) / expected);
        int freedom = cells.Length - 1;
        Assert.True(Math.Abs(chiSquare - freedom) < 6 * Math.Sqrt(2.0 * freedom), $"{what}: chi-square {chiSquare} over {freedom}");
    }
}
