using Xunit;

namespace ModelGen.Tests.Data;

public class CounterRandomTests
{
    // Known answers for philox4x32-10 published with the Random123 paper (counter, key, result).
    public static TheoryData<uint[], uint[], uint[]> KnownAnswers => new()
    {
        { [0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
        {
            [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff],
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        },
        {
            [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0],
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        },
    };

    [Theory]
    [MemberData(nameof(KnownAnswers))]
    public void BlockGivesThePublishedAnswers(uint[] counter, uint[] key, uint[] expected)
    {
        uint[] block = [.. counter];
        CounterRandom.Block(block, key[0], key[1]);
        Assert.Equal(expected, block);
    }

    [Fact]
    public void SeedIsTheKeyAndStreamTheUpperCounter()
    {
        var random = new CounterRandom(0x299f31d0_a4093822ul, 0x03707344_13198a2eul) { Position = 5 };
        uint[] block = [1, 0, 0x13198a2e, 0x03707344];
        CounterRandom.Block(block, 0xa4093822, 0x299f31d0);
        Assert.Equal(block[1], random.NextUInt32());
        Assert.Equal(block[2], random.NextUInt32());
        Assert.Equal(7ul, random.Position);
    }

    [Fact]
    public void AnyPositionIsReachedDirectly()
    {
        var sequence = new CounterRandom(42, 7);
        var words = new uint[50];
        for (int i = 0; i < words.Length; i++)
            words[i] = sequence.NextUInt32();
        for (int i = words.Length - 1; i >= 0; i--)
        {
            var jumped = new CounterRandom(42, 7) { Position = (ulong)i };
            Assert.Equal(words[i], jumped.NextUInt32());
            sequence.Position = (ulong)i;
            Assert.Equal(words[i], sequence.NextUInt32());
        }
    }

    [Fact]
    public void StreamsAndSeedsDiffer()
    {
        var seen = new HashSet<ulong>();
        for (ulong seed = 0; seed < 40; seed++)
        {
            for (ulong stream = 0; stream < 40; stream++)
                Assert.True(seen.Add(new CounterRandom(seed, stream).NextUInt64()));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(10)]
    [InlineData(97)]
    public void IntegersAreUniform(int maximum)
    {
        var random = new CounterRandom(3, (ulong)maximum);
        const int draws = 100_000;
        var counts = new int[maximum];
        for (int i = 0; i < draws; i++)
            counts[random.NextInt32(maximum)]++;
        double expected = (double)draws / maximum;
        double chiSquare = counts.Sum(count => (count - expected) * (count - expected) / expected);

        // Mean k - 1, variance 2 (k - 1): five standard deviations.
        Assert.True(chiSquare <= maximum - 1 + 5 * Math.Sqrt(2.0 * Math.Max(1, maximum - 1)), $"chi-square {chiSquare}");
    }

    [Fact]
    public void FractionsCoverTheUnitInterval()
    {
        var random = new CounterRandom(11);
        double sum = 0, squares = 0;
        const int draws = 200_000;
        for (int i = 0; i < draws; i++)
        {
            double value = i % 2 == 0 ? random.NextSingle() : random.NextDouble();
            Assert.InRange(value, 0.0, 1.0 - double.Epsilon);
            Assert.True(value < 1.0);
            sum += value;
            squares += value * value;
        }
        Assert.Equal(0.5, sum / draws, 0.005);
        Assert.Equal(1.0 / 3.0, squares / draws, 0.005);
    }

    [Fact]
    public void NormalNumbersHaveTheNormalMoments()
    {
        var random = new CounterRandom(5, 9);
        var values = new float[400_001];
        random.FillNormal(values);
        double mean = values.Average(v => (double)v);
        double variance = values.Average(v => (v - mean) * (v - mean));
        double third = values.Average(v => Math.Pow(v, 3));
        double fourth = values.Average(v => Math.Pow(v, 4));
        Assert.Equal(0.0, mean, 0.01);
        Assert.Equal(1.0, variance, 0.01);
        Assert.Equal(0.0, third, 0.03);
        Assert.Equal(3.0, fourth, 0.06);
        Assert.Equal(0.6827, values.Count(v => Math.Abs(v) < 1) / (double)values.Length, 0.005);
        Assert.All(values, v => Assert.True(float.IsFinite(v)));
    }

    [Fact]
    public void NormalNumbersComeInBoxMullerOrder()
    {
        var words = new CounterRandom(8, 2);
        double u = (words.NextUInt32() + 1.0) / 4294967296.0;
        double v = words.NextUInt32() / 4294967296.0;
        double radius = Math.Sqrt(-2 * Math.Log(u));

        var filled = new float[3];
        var random = new CounterRandom(8, 2);
        random.FillNormal(filled, mean: 2, standardDeviation: 0.5f);
        Assert.Equal(2 + 0.5f * (float)(radius * Math.Cos(2 * Math.PI * v)), filled[0]);
        Assert.Equal(2 + 0.5f * (float)(radius * Math.Sin(2 * Math.PI * v)), filled[1]);
        Assert.Equal(4ul, random.Position);

        random.Position = 2;
        Assert.Equal(filled[2], 2 + 0.5f * random.NextNormal());
    }

    [Fact]
    public void UniformFillUsesOneWordEach()
    {
        var random = new CounterRandom(1);
        var values = new float[1001];
        random.FillUniform(values, -2f, 6f);
        Assert.Equal(1001ul, random.Position);
        Assert.All(values, v => Assert.InRange(v, -2f, 6f));
        Assert.Equal(2.0, values.Average(), 0.5);
    }

    /// <summary>Every order of three comes up as often, and nothing is lost.</summary>
    [Fact]
    public void ShuffledOrdersAreEquallyLikely()
    {
        var random = new CounterRandom(4);
        var counts = new Dictionary<string, int>();
        for (int i = 0; i < 6000; i++)
        {
            char[] items = ['a', 'b', 'c'];
            random.Shuffle(items.AsSpan());
            counts[new string(items)] = counts.GetValueOrDefault(new string(items)) + 1;
        }
        Assert.Equal(["abc", "acb", "bac", "bca", "cab", "cba"], counts.Keys.Order());
        Assert.All(counts.Values, count => Assert.InRange(count, 880, 1120));

        int[] many = [.. Enumerable.Range(0, 100)], again = [.. many];
        new CounterRandom(5).Shuffle(many.AsSpan());
        new CounterRandom(5).Shuffle(again.AsSpan());
        Assert.Equal(many, again);
        Assert.NotEqual(Enumerable.Range(0, 100), many);
        Assert.Equal(Enumerable.Range(0, 100), many.Order());
        new CounterRandom(5).Shuffle(Span<int>.Empty);
    }

    [Fact]
    public void DrawingAllocatesNothing()
    {
        var random = new CounterRandom(1);
        random.NextUInt32();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            random.NextInt32(10);
            random.NextNormal();
            random.NextDouble();
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void WrongArgumentsAreReported()
    {
        Assert.Throws<ArgumentException>(() => CounterRandom.Block(new uint[3], 0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CounterRandom(1).NextInt32(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CounterRandom(1).NextInt32(-5));
    }
}
