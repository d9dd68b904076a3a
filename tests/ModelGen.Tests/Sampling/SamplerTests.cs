using Xunit;

namespace ModelGen.Tests.Sampling;

public class SamplerTests
{
    private static readonly float[] Logits = [1.5f, -0.5f, 2.5f, 0f, 2.0f, -3f, 1.0f];

    [Fact]
    public void GreedyTakesTheLargestAndTheLowestIdAmongEquals()
    {
        var sampler = new Sampler(new SamplingOptions { Temperature = 0 }, 5);
        Assert.Equal(1, sampler.Sample([0f, 3f, 3f, 3f, 1f]));
        Assert.Equal(0, sampler.Sample([0f, -0f, 0f, -1f, -2f]));
        Assert.Equal(4, sampler.Sample([float.NegativeInfinity, -5f, -5f, -5f, -4f]));
        Assert.Equal(0ul, sampler.Position);
    }

    [Theory]
    [InlineData(1f, 0, 1f)]
    [InlineData(0.5f, 0, 1f)]
    [InlineData(2f, 0, 1f)]
    [InlineData(1f, 3, 1f)]
    [InlineData(1f, 7, 1f)]
    [InlineData(1f, 100, 1f)]
    [InlineData(1f, 0, 0.7f)]
    [InlineData(0.8f, 5, 0.6f)]
    [InlineData(1f, 1, 1f)]
    [InlineData(1f, 0, 1e-6f)]
    public void DrawsFollowTheRestrictedDistribution(float temperature, int topK, float topP)
    {
        double[] expected = Reference(Logits, temperature, topK, topP);
        var sampler = new Sampler(
            new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP, Seed = 17 }, Logits.Length);
        const int draws = 30_000;
        var counts = new int[Logits.Length];
        for (int i = 0; i < draws; i++)
            counts[sampler.Sample(Logits)]++;
        for (int i = 0; i < counts.Length; i++)
        {
            if (expected[i] == 0)
                Assert.Equal(0, counts[i]);
            else
                Assert.Equal(expected[i], counts[i] / (double)draws, 5 * Math.Sqrt(expected[i] * (1 - expected[i]) / draws) + 1e-9);
        }
    }

    [Fact]
    public void TopKBreaksTiesByLowestId()
    {
        float[] equal = [1f, 1f, 1f, 1f, 1f, 1f];
        var sampler = new Sampler(new SamplingOptions { TopK = 2, Seed = 3 }, 6);
        var seen = new HashSet<int>();
        for (int i = 0; i < 200; i++)
            seen.Add(sampler.Sample(equal));
        Assert.Equal([0, 1], seen.Order());

        float[] zeros = [-0f, 0f, -0f, 0f];
        sampler = new Sampler(new SamplingOptions { TopK = 1, Seed = 3 }, 4);
        for (int i = 0; i < 20; i++)
            Assert.Equal(0, sampler.Sample(zeros));
    }

    [Fact]
    public void NucleusIsTheFewestTokensThatReachTheMass()
    {
        // Probabilities 0.5, 0.25, 0.125, 0.125: exactly reaching p ends the nucleus.
        float[] logits = [MathF.Log(0.125f), MathF.Log(0.5f), MathF.Log(0.25f), MathF.Log(0.125f)];
        Assert.Equal([1], Seen(logits, 0.49f));
        Assert.Equal([1, 2], Seen(logits, 0.74f));
        Assert.Equal([0, 1, 2], Seen(logits, 0.87f));
        Assert.Equal([0, 1, 2, 3], Seen(logits, 0.99f));

        static IEnumerable<int> Seen(float[] logits, float topP)
        {
            var sampler = new Sampler(new SamplingOptions { TopP = topP, Seed = 5 }, logits.Length);
            var seen = new HashSet<int>();
            for (int i = 0; i < 500; i++)
                seen.Add(sampler.Sample(logits));
            return seen.Order();
        }
    }

    [Fact]
    public void LargeVocabulariesKeepExactlyTheTopK()
    {
        var random = new CounterRandom(9);
        foreach (int size in new[] { 2, 3, 257, 5000 })
        {
            var logits = new float[size];
            for (int i = 0; i < size; i++)
                logits[i] = random.NextInt32(size / 2 + 1);
            foreach (int k in new[] { 1, 2, size / 3 + 1, size - 1 })
            {
                var allowed = Enumerable.Range(0, size).OrderByDescending(i => logits[i]).ThenBy(i => i).Take(k).ToHashSet();
                var sampler = new Sampler(new SamplingOptions { TopK = k, Temperature = 1e6f, Seed = 1 }, size);
                var seen = new HashSet<int>();
                for (int i = 0; i < Math.Min(20 * k, 600); i++)
                {
                    int token = sampler.Sample(logits);
                    Assert.Contains(token, allowed);
                    seen.Add(token);
                }
                Assert.True(seen.Count >= Math.Min(k, 300) * 0.9, $"{seen.Count} of {k} tokens were drawn");
            }
        }
    }

    [Fact]
    public void EqualSeedsGiveEqualTokensAndAPositionResumesThem()
    {
        var options = new SamplingOptions { Temperature = 1.3f, TopP = 0.95f, Seed = 77 };
        var one = new Sampler(options, Logits.Length);
        var two = new Sampler(options, Logits.Length);
        var tokens = new int[200];
        ulong middle = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            if (i == 120)
                middle = one.Position;
            tokens[i] = one.Sample(Logits);
            Assert.Equal(tokens[i], two.Sample(Logits));
        }
        var resumed = new Sampler(options, Logits.Length) { Position = middle };
        for (int i = 120; i < tokens.Length; i++)
            Assert.Equal(tokens[i], resumed.Sample(Logits));
        var other = new Sampler(options with { Seed = 78 }, Logits.Length);
        Assert.NotEqual(tokens, Enumerable.Range(0, 200).Select(_ => other.Sample(Logits)));
    }

    [Theory]
    [InlineData(1e-45f)]
    [InlineData(1e-6f)]
    [InlineData(3e38f)]
    public void ExtremeTemperaturesStayInRange(float temperature)
    {
        var sampler = new Sampler(new SamplingOptions { Temperature = temperature, Seed = 2 }, Logits.Length);
        for (int i = 0; i < 100; i++)
        {
            int token = sampler.Sample(Logits);
            Assert.InRange(token, 0, Logits.Length - 1);
            if (temperature < 1)
                Assert.Equal(2, token);
        }
    }

    /// <summary>Vectors, and what is left over from them, at every length and place.</summary>
    [Fact]
    public void The_largest_logit_is_found_at_any_length_and_place()
    {
        for (int length = 1; length <= 70; length++)
        {
            for (int place = 0; place < length; place++)
            {
                float[] logits = [.. Enumerable.Range(0, length).Select(i => i < place ? -(i % 5) - 2f : -(i % 3) - 1f)];
                logits[place] = -0.5f;
                Assert.Equal(place, Sampler.ArgMax(logits));

                logits[length - 1] = -0.5f;
                Assert.Equal(place, Sampler.ArgMax(logits));

                logits[place] = float.NaN;
                Assert.Contains($"Logit {place} is NaN", Assert.Throws<ArgumentException>(() => Sampler.ArgMax(logits)).Message, StringComparison.Ordinal);

                logits[place] = float.PositiveInfinity;
                Assert.Contains($"Logit {place} is", Assert.Throws<ArgumentException>(() => Sampler.ArgMax(logits)).Message, StringComparison.Ordinal);

                Array.Fill(logits, float.NegativeInfinity);
                Assert.Throws<ArgumentException>(() => Sampler.ArgMax(logits));
            }
        }
    }

    [Fact]
    public void MaskedTokensAreNeverChosen()
    {
        float[] logits = [float.NegativeInfinity, 0f, float.NegativeInfinity, -90f];
        foreach (var options in new[]
        {
            new SamplingOptions { Seed = 1 },
            new SamplingOptions { Seed = 1, Temperature = 1000 },
            new SamplingOptions { Seed = 1, TopK = 3 },
            new SamplingOptions { Seed = 1, TopP = 0.999f },
        })
        {
            var sampler = new Sampler(options, logits.Length);
            for (int i = 0; i < 300; i++)
                Assert.Contains(sampler.Sample(logits), new[] { 1, 3 });
        }
    }

    [Theory]
    [InlineData(0f, 0, 1f)]
    [InlineData(1f, 0, 1f)]
    [InlineData(1f, 2, 0.5f)]
    public void UnusableLogitsAreReported(float temperature, int topK, float topP)
    {
        var sampler = new Sampler(new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP }, 3);
        Assert.Contains("Logit 1 is NaN", Assert.Throws<ArgumentException>(() => sampler.Sample([0, float.NaN, 1])).Message, StringComparison.Ordinal);
        Assert.Contains("Logit 2 is", Assert.Throws<ArgumentException>(() => sampler.Sample([0, 1, float.PositiveInfinity])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => sampler.Sample([float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity]));
        Assert.Contains("Expected 3 logits, found 2", Assert.Throws<ArgumentException>(() => sampler.Sample([0, 1])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Sampler.ArgMax([]));
    }

    [Fact]
    public void OptionsAreChecked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { Temperature = -0.1f });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { Temperature = float.NaN });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { Temperature = float.PositiveInfinity });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { TopK = -1 });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { TopP = 0 });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { TopP = 1.01f });
        Assert.Throws<ArgumentOutOfRangeException>(() => new SamplingOptions { TopP = float.NaN });
        Assert.Throws<ArgumentOutOfRangeException>(() => new Sampler(new SamplingOptions(), 0));
    }

    [Fact]
    public void SamplingAllocatesNothing()
    {
        Sampler[] samplers =
        [
            new(new SamplingOptions { Temperature = 0 }, Logits.Length),
            new(new SamplingOptions(), Logits.Length),
            new(new SamplingOptions { TopK = 3, TopP = 0.9f }, Logits.Length),
        ];
        long before = 0;
        for (int i = 0; i < 400; i++)
        {
            if (i == 200)
                before = GC.GetAllocatedBytesForCurrentThread();
            foreach (Sampler sampler in samplers)
                sampler.Sample(Logits);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static double[] Reference(float[] logits, float temperature, int topK, float topP)
    {
        double[] probabilities = [.. logits.Select(l => Math.Exp(l / temperature))];
        int[] order = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(i => i)];
        int[] kept = topK > 0 ? [.. order.Take(topK)] : order;
        double total = kept.Sum(i => probabilities[i]);
        var nucleus = new List<int>();
        double sum = 0;
        foreach (int i in kept)
        {
            nucleus.Add(i);
            sum += probabilities[i] / total;
            if (sum >= topP)
                break;
        }
        double mass = nucleus.Sum(i => probabilities[i]);
        var result = new double[logits.Length];
        foreach (int i in nucleus)
            result[i] = probabilities[i] / mass;
        return result;
    }
}
