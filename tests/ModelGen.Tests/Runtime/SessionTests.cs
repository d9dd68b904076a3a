using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

[Collection(SerialCollection.Name)]
public sealed class SessionTests : IDisposable
{
    private readonly ModelWeights _weights = ModelWeights.Create(FakeModels.Table(), seed: 1);

    public void Dispose() => _weights.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Tokens_are_appended_in_chunks(int threads)
    {
        using var session = new FakeSession(_weights, new SessionOptions { Threads = threads });
        Assert.Equal(threads, session.Threads);
        int[] prompt = FakeModels.Tokens(17, seed: 2);
        Assert.Equal(Enumerable.Range(0, 11).Select(j => (float)prompt.Sum() + j), session.Prefill(prompt).ToArray());
        Assert.Equal([(0, 8), (8, 8), (16, 1)], session.Runs);
        Assert.Equal(17, session.Position);
        Assert.Equal(prompt.Sum() + 5f, session.Decode(5)[0]);
        Assert.Equal(prompt.Sum() + 7f, session.Prefill([2])[0]);
        Assert.Equal((18, 1), session.Runs[^1]);
        Assert.Equal(19, session.Position);
        session.Reset();
        Assert.Equal(0, session.Position);
        Assert.Equal(4f, session.Decode(4)[0]);
    }

    [Fact]
    public void A_token_outside_the_vocabulary_is_refused_before_anything_happens()
    {
        using var session = new FakeSession(_weights);
        session.Prefill([1, 2]);
        foreach (int bad in new[] { -1, 11, int.MinValue, int.MaxValue })
        {
            int[] prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9, bad, 1];
            ArgumentOutOfRangeException exception = Assert.Throws<ArgumentOutOfRangeException>(() => session.Prefill(prompt));
            Assert.Equal("tokens", exception.ParamName);
            Assert.Contains("index 9", exception.Message, StringComparison.Ordinal);
            Assert.Contains(FormattableString.Invariant($"id {bad} "), exception.Message, StringComparison.Ordinal);
            Assert.Contains("11 tokens", exception.Message, StringComparison.Ordinal);
            Assert.Throws<ArgumentOutOfRangeException>(() => session.Decode(bad));
        }

        Assert.Single(session.Runs);
        Assert.Equal(2, session.Position);
        Assert.Equal(4f, session.Decode(1)[0]);
    }

    [Fact]
    public void Tokens_beyond_the_context_are_refused_before_anything_happens()
    {
        using var session = new FakeSession(_weights);
        session.Prefill(FakeModels.Tokens(18, seed: 1));
        InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => session.Prefill([1, 2, 3]));
        Assert.Contains("3 more tokens", exception.Message, StringComparison.Ordinal);
        Assert.Contains("18", exception.Message, StringComparison.Ordinal);
        Assert.Contains("20", exception.Message, StringComparison.Ordinal);
        session.Prefill([1, 2]);
        Assert.Throws<InvalidOperationException>(() => session.Decode(1));
        Assert.Equal(20, session.Position);
        session.Reset();
        session.Decode(1);
    }

    [Fact]
    public void A_context_of_zero_is_unlimited()
    {
        using var session = new FakeSession(_weights, contextLength: 0);
        session.Prefill(FakeModels.Tokens(1000, seed: 1));
        Assert.Equal(1000, session.Position);
        Assert.Equal(0, session.ContextLength);
    }

    [Fact]
    public void No_tokens_have_no_logits()
    {
        using var session = new FakeSession(_weights);
        Assert.Throws<ArgumentException>(() => session.Prefill([]));
    }

    [Fact]
    public void A_plan_that_throws_leaves_the_session_usable()
    {
        using var session = new FakeSession(_weights, new SessionOptions { Threads = 3 });
        session.Decode(1);
        session.Fail = true;
        Assert.Throws<FormatException>(() => session.Decode(1));
        Assert.Throws<FormatException>(() => session.Prefill([1, 2]));
        session.Fail = false;
        Assert.Equal(1, session.Position);
        Assert.Equal(3f, session.Decode(2)[0]);
    }

    [Fact]
    public void A_disposed_session_says_so_and_its_last_logits_stay_readable()
    {
        var session = new FakeSession(_weights);
        ReadOnlySpan<float> logits = session.Prefill([3]);
        session.Dispose();
        session.Dispose();
        Assert.Equal(3f, logits[0]);
        Assert.Throws<ObjectDisposedException>(() => session.Prefill([1]));
        Assert.Throws<ObjectDisposedException>(() => session.Decode(1));
        Assert.Throws<ObjectDisposedException>(session.Reset);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(5000)]
    public void The_number_of_threads_is_checked(int threads)
        => Assert.Throws<ArgumentOutOfRangeException>(() => new FakeSession(_weights, new SessionOptions { Threads = threads }));

    [Fact]
    public void Any_number_of_rows_is_predicted_in_blocks()
    {
        using var session = new FakeFeedForwardSession(_weights);
        float[] inputs = [.. Enumerable.Range(0, 30).Select(static i => (float)i)];
        float[] outputs = new float[20];
        session.Predict(inputs, outputs);
        Assert.Equal([4, 4, 2], session.Runs);
        for (int row = 0; row < 10; row++)
        {
            Assert.Equal((row * 9) + 3f, outputs[row * 2]);
            Assert.Equal(3f, outputs[(row * 2) + 1]);
        }

        session.Predict([], []);
        Assert.Equal(3, session.Runs.Count);
        Assert.Throws<ArgumentException>("inputs", () => session.Predict(inputs.AsSpan(0, 29), outputs));
        Assert.Throws<ArgumentException>("outputs", () => session.Predict(inputs, outputs.AsSpan(0, 19)));
        session.Dispose();
        Assert.Throws<ObjectDisposedException>(() => session.Predict(inputs, outputs));
    }

    [Fact]
    public void Inference_allocates_nothing()
    {
        using var session = new FakeSession(_weights, new SessionOptions { Threads = 2 }, contextLength: 0);
        session.Runs.Capacity = 100_000;
        int[] prompt = FakeModels.Tokens(17, seed: 2);
        Assert.Equal(0, Allocated.Least(() =>
        {
            session.Runs.Clear();
            session.Prefill(prompt);
            session.Decode(3);
            session.Prefill(prompt);
        }));
    }
}
