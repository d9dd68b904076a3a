namespace ModelGen.Tests.Models;

/// <summary>Prompts of every short length, through the numbers of rows at which kernels change over from dot products to tiles: the logits and the states behind them are those of single steps.</summary>
public sealed class ShortPromptTests
{
    private const int Longest = 40;

    /// <summary>Whose weights are many enough for a second way, and whose layers carry on what they do: states, windows of inputs, and keys of a window of tokens.</summary>
    public static TheoryData<string, int> Models => new(from name in new[] { nameof(WideDelta), nameof(WideSpace), nameof(WideConvolution), nameof(WideWindow) } from threads in new[] { 1, 2 } select (name, threads));

    [Theory]
    [MemberData(nameof(Models))]
    public void Short_prompts_are_what_single_steps_are(string name, int threads)
    {
        switch (name)
        {
            case nameof(WideDelta):
                Check<WideDelta>(threads);
                break;
            case nameof(WideSpace):
                Check<WideSpace>(threads);
                break;
            case nameof(WideConvolution):
                Check<WideConvolution>(threads);
                break;
            default:
                Check<WideWindow>(threads);
                break;
        }
    }

    private static void Check<TModel>(int threads)
        where TModel : class, ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create(3);
        using CausalSession steps = model.CreateSession(new SessionOptions { Threads = threads }), prompt = model.CreateSession(new SessionOptions { Threads = threads }), pair = model.CreateSession(new SessionOptions { Threads = threads, Batch = 2 });
        int[] tokens = [.. Enumerable.Range(0, Longest + 1).Select(i => i * 17 % TModel.VocabularySize)];
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

    /// <summary>A pass over several drafts gives the logits that each token gives alone, whatever is taken back of it and of what is behind the windows of its layers.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Drafts_are_checked_as_single_steps_would(int threads)
    {
        using CausalSession session = WideWindow.Create(3).CreateSession(new SessionOptions { Threads = threads }), steps = WideWindow.Create(3).CreateSession(new SessionOptions { Threads = threads });
        int vocabulary = WideWindow.VocabularySize, most = session.MaximumDrafts + 1;
        Assert.Equal(10, most);
        for (int count = 1; count <= most; count++)
        {
            session.Reset();
            steps.Reset();
            int[] prompt = [.. Enumerable.Range(0, 12 + count).Select(i => i * 19 % vocabulary)], drafts = [.. Enumerable.Range(0, count).Select(i => ((i * 29) + count) % vocabulary)];
            session.Prefill(prompt);
            steps.Prefill(prompt);
            for (int round = 0; round < 3; round++)
            {
                float[] logits = new float[count * vocabulary];
                session.Verify(drafts, logits);
                int kept = steps.Position + ((count + round) / 2);
                for (int i = 0; i < count; i++)
                {
                    Near(steps.Decode(drafts[i]).ToArray(), logits.AsSpan(i * vocabulary, vocabulary), count);
                }

                // As much is taken back as a wrong guess would.
                session.Rewind(Math.Min(kept, session.Position));
                steps.Rewind(Math.Min(kept, steps.Position));
                Near(steps.Decode(round).ToArray(), session.Decode(round), count);
            }
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
