using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Scoring a text in one pass gives the probabilities that decoding it token by token does.</summary>
[Collection(SerialCollection.Name)]
public sealed class ScoreTests
{
    [Theory]
    [InlineData(2, 0)]
    [InlineData(57, 0)]
    [InlineData(257, 3)]
    [InlineData(290, 10)]
    public void Gpt(int count, int before)
    {
        ScoringGpt model = ScoringGpt.Create(3);
        Sharpen(ScoringGpt.Parameters, model.Parameter);
        using ScoringGpt.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        using ScoringGpt.Session other = model.CreateSession(new SessionOptions { Threads = 3 });
        using ScoringGpt.Session decoding = model.CreateSession(new SessionOptions { Threads = 1 });
        Check(session, session.Score, other, other.Score, decoding, count, before);
    }

    [Theory]
    [InlineData(2, 0)]
    [InlineData(520, 0)]
    [InlineData(300, 7)]
    public void Recurrence(int count, int before)
    {
        ScoringGru model = ScoringGru.Create(3);
        Sharpen(ScoringGru.Parameters, model.Parameter);
        using ScoringGru.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        using ScoringGru.Session other = model.CreateSession(new SessionOptions { Threads = 3 });
        using ScoringGru.Session decoding = model.CreateSession(new SessionOptions { Threads = 1 });
        Check(session, session.Score, other, other.Score, decoding, count, before);
    }

    [Fact]
    public void What_cannot_be_scored_is_refused_and_nothing_is_allocated()
    {
        using ScoringGpt.Session session = ScoringGpt.Create(3).CreateSession(new SessionOptions { Threads = 2 });
        Assert.Throws<ArgumentException>(() => session.Score([1], []));
        Assert.Throws<ArgumentException>(() => session.Score([1, 2, 3], new float[3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Score([1, 19, 3], new float[2]));
        Assert.Throws<InvalidOperationException>(() => session.Score(new int[301], new float[300]));
        Assert.Equal(0, session.Position);
        int[] tokens = new int[270];
        float[] logProbabilities = new float[269];
        Assert.Equal(0, Allocated.Least(() =>
        {
            session.Reset();
            session.Score(tokens, logProbabilities);
        }));
    }

    private delegate void ScoreMethod(ReadOnlySpan<int> tokens, Span<float> logProbabilities);

    private delegate Span<float> ParameterMethod(string name);

    private static void Check(CausalSession session, ScoreMethod score, CausalSession other, ScoreMethod otherScore, CausalSession decoding, int count, int before)
    {
        int[] tokens = [.. Enumerable.Range(0, count + before).Select(i => ((i * i) + (i / 3)) % session.VocabularySize)];
        float[] logProbabilities = new float[count - 1];
        float[] again = new float[count - 1];
        if (before > 0)
        {
            session.Prefill(tokens.AsSpan(0, before));
            other.Prefill(tokens.AsSpan(0, before));
        }

        score(tokens.AsSpan(before), logProbabilities);
        otherScore(tokens.AsSpan(before), again);
        Assert.Equal(logProbabilities, again);
        Assert.Equal(count + before, session.Position);
        double[] expected = new double[count - 1];
        for (int i = 0; i < tokens.Length; i++)
        {
            ReadOnlySpan<float> logits = decoding.Decode(tokens[i]);
            if (i >= before && i < tokens.Length - 1)
            {
                double sum = 0;
                foreach (float logit in logits)
                {
                    sum += Math.Exp(logit);
                }

                expected[i - before] = logits[tokens[i + 1]] - Math.Log(sum);
            }
        }

        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i], logProbabilities[i], 2e-5);
        }

        Assert.True(count == 2 || expected.Max() - expected.Min() > 0.5);

        // The session holds the text, and goes on from its end.
        if (session.ContextLength == 0 || session.Position < session.ContextLength)
        {
            Compare.Absolute(decoding.Decode(1).ToArray(), session.Decode(1).ToArray(), 2e-5, "the logits after the text");
        }
    }

    /// <summary>Larger weights, so that some tokens are far more probable than others.</summary>
    private static void Sharpen(IReadOnlyList<ParameterInfo> parameters, ParameterMethod of)
    {
        foreach (ParameterInfo parameter in parameters.Where(p => p.Shape.Length == 2))
        {
            foreach (ref float weight in of(parameter.Name))
            {
                weight *= 4;
            }
        }
    }
}
