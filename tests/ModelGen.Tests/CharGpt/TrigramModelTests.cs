using CharGpt;

namespace ModelGen.Tests.CharGpt;

public class TrigramModelTests
{
    [Fact]
    public void ProbabilitiesSumToOneInEveryContext()
    {
        TrigramModel model = TrigramModel.Train(TokenDataset.FromBytes(TextSource.Stories().AsMemory(0, 20_000)));
        var contexts = new List<(int, int)> { (-1, -1), (-1, 'a'), (-1, 0), (0, 0), ('t', 'h'), ('h', 'e'), ('z', 'q'), (255, 'e'), ('.', ' ') };
        var random = new CounterRandom(4);
        for (int i = 0; i < 300; i++)
            contexts.Add((random.NextInt32(128), random.NextInt32(128)));
        foreach ((int first, int second) in contexts)
        {
            double sum = 0;
            for (int token = 0; token < 256; token++)
            {
                double probability = model.Probability(first, second, token);
                Assert.InRange(probability, double.Epsilon, 1);
                sum += probability;
            }
            Assert.Equal(1.0, sum, 1e-9);
        }
    }

    [Fact]
    public void EveryByteSeenInAContextStillSumsToOne()
    {
        // After "xy" come all 256 bytes: there is nothing to back off to.
        var bytes = new List<byte>();
        for (int repeat = 0; repeat < 2; repeat++)
        {
            for (int token = 0; token < 256; token++)
                bytes.AddRange([(byte)'x', (byte)'y', (byte)token]);
        }
        TrigramModel model = TrigramModel.Train(TokenDataset.FromBytes(bytes.ToArray()));
        double sum = 0;
        for (int token = 0; token < 256; token++)
            sum += model.Probability('x', 'y', token);
        Assert.Equal(1.0, sum, 1e-9);
    }

    [Fact]
    public void SeenContinuationsGetTheirDiscountedShare()
    {
        // After "ab": c twice, d once. n1 and n2 of the trigrams give the discount.
        TrigramModel model = TrigramModel.Train(TokenDataset.FromBytes("abcabcabd"u8.ToArray()));

        // Trigrams: abc 2, bca 2, cab 2, abd 1; so n1 = 1, n2 = 3, d = 1/7.
        const double Discount = 1.0 / 7;
        Assert.Equal((2 - Discount) / 3, model.Probability('a', 'b', 'c'), 1e-12);
        Assert.Equal((1 - Discount) / 3, model.Probability('a', 'b', 'd'), 1e-12);

        // What is left, 2d/3, goes to the others in proportion to the bigram model.
        double rest = 0;
        for (int token = 0; token < 256; token++)
        {
            if (token is not ('c' or 'd'))
                rest += model.Probability('a', 'b', token);
        }
        Assert.Equal(2 * Discount / 3, rest, 1e-12);
    }

    [Fact]
    public void TheLossIsTheMeanNegativeLogProbability()
    {
        TokenDataset training = TokenDataset.FromBytes(TextSource.Stories().AsMemory(0, 20_000));
        byte[] held = TextSource.Stories()[20_000..22_000];
        TrigramModel model = TrigramModel.Train(training);
        double expected = -Math.Log(model.Probability(-1, held[0], held[1]));
        for (int i = 2; i < held.Length; i++)
            expected -= Math.Log(model.Probability(held[i - 2], held[i - 1], held[i]));
        Assert.Equal(expected / (held.Length - 1), model.Evaluate(TokenDataset.FromBytes(held)), 1e-12);
    }

    [Fact]
    public void TwoBytesOfContextHelp()
    {
        (TokenDataset training, TokenDataset held) = TokenDataset.FromBytes(TextSource.Stories()).Split(0.1);
        double loss = TrigramModel.Train(training).Evaluate(held);

        // Uniform bytes would be 5.55 nats, letters by frequency about 2.9.
        Assert.InRange(loss, 1.0, 1.8);
    }
}
