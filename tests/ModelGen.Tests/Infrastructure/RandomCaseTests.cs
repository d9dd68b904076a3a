namespace ModelGen.Tests.Infrastructure;

/// <summary>What random tests rely on when they fail.</summary>
public sealed class RandomCaseTests
{
    [Fact]
    public void What_passes_says_nothing()
    {
        int runs = 0;
        RandomCase.Run(1, _ => runs++);
        Assert.Equal(1, runs);
        Assert.Null(RandomCase.Describe(1, static _ => null));
    }

    [Fact]
    public void A_failure_is_made_smaller()
    {
        Exception failure = Assert.ThrowsAny<Exception>(static () => RandomCase.Run(5, static random =>
        {
            int[] numbers = [.. Enumerable.Range(0, random.Next(3, 40)).Select(_ => random.Next(1000))];
            Assert.True(numbers.Max() < 200, $"[{string.Join(' ', numbers)}]");
        }));
        Assert.Contains("seed 5, made smaller from", failure.Message, StringComparison.Ordinal);
        Assert.Contains("[200 0 0]", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Recorded_numbers_are_drawn_again()
    {
        var random = new Random(3);
        double[] expected = [random.Next(7), random.Next(-4, 9), random.Next()];
        double[]? seen = null;
        string? problem = RandomCase.Describe(3, drawn =>
        {
            double[] numbers = [drawn.Next(7), drawn.Next(-4, 9), drawn.Next()];
            seen ??= numbers;
            return numbers.SequenceEqual(expected) ? "the same" : null;
        });
        Assert.Equal(expected, seen);
        Assert.EndsWith("from 3 numbers to 3: the same", problem, StringComparison.Ordinal);
    }
}
