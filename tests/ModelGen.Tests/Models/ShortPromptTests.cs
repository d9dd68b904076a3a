namespace ModelGen.Tests.Models;

/// <summary>Prompts of every short length, through the numbers of rows at which kernels change over from dot products to tiles: the logits and the states behind them are those of single steps.</summary>
public sealed class ShortPromptTests
{
    private const int Longest = 40;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Short_prompts_are_what_single_steps_are(int threads)
    {
        WideDelta model = WideDelta.Create(3);
        using CausalSession steps = model.CreateSession(new SessionOptions { Threads = threads }), prompt = model.CreateSession(new SessionOptions { Threads = threads }), pair = model.CreateSession(new SessionOptions { Threads = threads, Batch = 2 });
        int[] tokens = [.. Enumerable.Range(0, Longest + 1).Select(i => i * 17 % WideDelta.VocabularySize)];
        for (int length = 1; length <= Longest; length++)
        {
            steps.Reset();
            for (int i = 0; i < length - 1; i++)
            {
                steps.Decode(tokens[i]);
            }

            float[] expected = steps.Decode(tokens[length - 1]).ToArray(), next = steps.Decode(tokens[length]).ToArray();
            prompt.Reset();
            Near(expected, prompt.Prefill(tokens.AsSpan(0, length)), length);
            Near(next, prompt.Decode(tokens[length]), length);

            // In two parts, which is what follows a prefix that a session holds.
            prompt.Reset();
            prompt.Prefill(tokens.AsSpan(0, (length + 1) / 2));
            if (length > 1)
            {
                Near(expected, prompt.Prefill(tokens.AsSpan((length + 1) / 2, length / 2)), length);
            }

            // As one of several sequences, bit for bit.
            prompt.Reset();
            float[] alone = prompt.Prefill(tokens.AsSpan(0, length)).ToArray();
            pair.Reset();
            pair.Prefill(0, tokens.AsSpan(3, 5));
            Assert.Equal(alone, pair.Prefill(1, tokens.AsSpan(0, length)).ToArray());
        }
    }

    [Fact]
    public void Short_prompts_allocate_nothing()
    {
        using CausalSession session = WideDelta.Create(3).CreateSession(new SessionOptions { Threads = 1 });
        int[] tokens = [.. Enumerable.Range(0, Longest)];
        for (int round = 0; round < 2; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int length = 1; length <= Longest; length++)
            {
                session.Reset();
                session.Prefill(tokens.AsSpan(0, length));
            }

            Assert.True(round == 0 || GC.GetAllocatedBytesForCurrentThread() == before);
        }
    }

    private static void Near(float[] expected, ReadOnlySpan<float> found, int length)
    {
        float largest = expected.Max(MathF.Abs);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(MathF.Abs(expected[i] - found[i]) <= 1e-5f * Math.Max(1, largest), $"{length} tokens: logit {i} is {found[i]} and not {expected[i]}");
        }
    }
}
