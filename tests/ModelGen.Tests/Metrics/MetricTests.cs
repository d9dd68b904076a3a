using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Metrics;

public sealed class MetricTests
{
    [Fact]
    public void Edit_distances_are_the_shortest_ways()
    {
        Assert.Equal(3, EditDistance.Of("kitten".AsSpan(), "sitting"));
        Assert.Equal(0, EditDistance.Of("".AsSpan(), ""));
        Assert.Equal(4, EditDistance.Of("".AsSpan(), "four"));
        Assert.Equal(1, EditDistance.Of<string>(["a", "b", "c"], ["a", "c"]));
        for (int seed = 0; seed < 200; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int[] a = Tokens(random.Next(7)), b = Tokens(random.Next(7)), c = Tokens(random.Next(7));
                int distance = EditDistance.Of<int>(a, b);
                Assert.Equal(Naive(a, b), distance);
                Assert.Equal(distance, EditDistance.Of<int>(b, a));
                Assert.True(EditDistance.Of<int>(a, c) <= distance + EditDistance.Of<int>(b, c));
                Assert.InRange(distance, Math.Abs(a.Length - b.Length), Math.Max(a.Length, b.Length));

                int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(3))];
            });
        }

        static int Naive(ReadOnlySpan<int> a, ReadOnlySpan<int> b)
            => a.IsEmpty ? b.Length : b.IsEmpty ? a.Length
                : Math.Min(Naive(a[1..], b[1..]) + (a[0] == b[0] ? 0 : 1), 1 + Math.Min(Naive(a[1..], b), Naive(a, b[1..])));
    }

    [Fact]
    public void An_error_rate_counts_edits_for_what_is_right()
    {
        var rate = new ErrorRate();
        rate.Add<int>([1, 2, 3, 4], [1, 3, 4]);
        rate.Add<int>([5], [6, 5, 7]);
        Assert.Equal((3, 5, 2), (rate.Edits, rate.Length, rate.SequenceCount));
        Assert.Equal(0.6, rate.Value, 1e-12);
    }

    /// <summary>
    /// Rows are right, columns predicted: 0: 2 1 0; 1: 0 1 1; 2: 0 0 0. Precision: 2/2, 1/2, 0; recall: 2/3, 1/2, 0 (there is none of class 2); F1: 4/5, 1/2, 0.
    /// Macro: (4/5 + 1/2 + 0) / 3; weighted: (3 · 4/5 + 2 · 1/2) / 5; micro of 1 and 2: 2·1 / (2 + 2 + 0 + 1).
    /// </summary>
    [Fact]
    public void A_confusion_matrix_by_hand()
    {
        var matrix = new ConfusionMatrix(4);
        matrix.Add([0, 0, 0, 1, 1, -1], [0, 0, 1, 1, 2, 3]);
        Assert.Equal(5, matrix.Count);
        Assert.Equal(1, matrix[1, 2]);
        Assert.Equal(0.6, matrix.Accuracy, 1e-12);
        Assert.Equal([1, 0.5, 0, 0], [matrix.Precision(0), matrix.Precision(1), matrix.Precision(2), matrix.Precision(3)]);
        Assert.Equal(2 / 3.0, matrix.Recall(0), 1e-12);
        Assert.Equal(0, matrix.Recall(2));
        Assert.Equal(0.8, matrix.F1(0), 1e-12);
        Assert.Equal(1.3 / 3, matrix.MacroF1, 1e-12);
        Assert.Equal(3.4 / 5, matrix.WeightedF1, 1e-12);
        Assert.Equal(0.4, matrix.MicroF1(1, 2), 1e-12);
        Assert.Equal(matrix.Accuracy, matrix.MicroF1(0, 1, 2, 3), 1e-12);
        Assert.Equal(" 2 1 0 0\n 0 1 1 0\n 0 0 0 0\n 0 0 0 0\n", matrix.ToString());
        Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Add(4, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Add(0, -1));
        Assert.Throws<ArgumentException>(() => matrix.Add([1], [1, 2]));
        Assert.Equal(5, matrix.Count);
        Assert.Equal(0, new ConfusionMatrix(2).MacroF1);
    }

    [Fact]
    public void Sequences_are_right_in_part_or_as_a_whole()
    {
        var accuracy = new SequenceAccuracy();
        accuracy.Add([1, 2, -1, 3], [1, 2, 9, 3]);
        accuracy.Add([1, 2], [1, 2, 3]);
        accuracy.Add([1, 2], [1]);
        accuracy.Add("Je suis étudiant .", "Je suis étudiant .");
        Assert.Equal((8, 7, 4, 2), (accuracy.ElementCount, accuracy.RightElements, accuracy.SequenceCount, accuracy.RightSequences));
        Assert.Equal(0.875, accuracy.Accuracy);
        Assert.Equal(0.5, accuracy.ExactMatch);
    }

    [Fact]
    public void Bags_of_tokens_overlap()
    {
        TokenOverlap overlap = TokenOverlap.Of<string>(["the", "old", "king"], ["the", "king", "the", "king"]);
        Assert.Equal(0.5, overlap.Precision, 1e-12);
        Assert.Equal(2 / 3.0, overlap.Recall, 1e-12);
        Assert.Equal(4 / 7.0, overlap.F1, 1e-12);
        Assert.Equal(1, TokenOverlap.Of<int>([], []).F1);
        Assert.Equal(0, TokenOverlap.Of<int>([1], []).F1);
        Assert.Equal(0, TokenOverlap.Of<int>([1], [2]).F1);
    }

    [Fact]
    public void Perplexity_is_how_many_tokens_a_model_hesitates_among()
    {
        var perplexity = new Perplexity();
        perplexity.Add([-MathF.Log(2), -MathF.Log(8)]);
        perplexity.Add(Math.Log(4), 2);
        Assert.Equal(4, perplexity.Value, 1e-6);
        Assert.Equal(2, perplexity.BitsPerToken, 1e-6);
        Assert.Equal(4, perplexity.Count);
    }

    [Fact]
    public void The_mean_of_nothing_does_not_spoil_a_perplexity()
    {
        var perplexity = new Perplexity();
        perplexity.Add(1.5, 10);
        perplexity.Add(new Perplexity().MeanLoss, 0);
        Assert.Equal(1.5, perplexity.MeanLoss);
    }

    [Fact]
    public void A_reference_is_a_text()
    {
        Assert.Equal("references", Assert.Throws<ArgumentNullException>(() => new Bleu().Add("a", "b", null!)).ParamName);
        Assert.Equal("references", Assert.Throws<ArgumentNullException>(() => new Chrf().Add("a", "b", null!)).ParamName);
    }
}
