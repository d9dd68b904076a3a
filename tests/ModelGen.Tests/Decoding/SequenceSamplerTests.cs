using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Models;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Decoding;

[Collection(SerialCollection.Name)]
public sealed class SequenceSamplerTests
{
    private static readonly SamplingOptions s_sampling = new() { Temperature = 0.8f, TopK = 5, Seed = 9 };

    [Fact]
    public void What_is_drawn_for_a_sequence_does_not_depend_on_the_others()
    {
        for (int seed = 0; seed < 40; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int vocabulary = 4 + random.Next(8), samples = 1 + random.Next(3), length = 1 + random.Next(9);
                var options = new DecodingOptions { MaxLength = length, EndTokens = [0], MinLength = random.Next(Math.Min(2, length) + 1), NoRepeatNGram = random.Next(2) * (2 + random.Next(2)), Alignment = true };
                int[][] prompts = [.. Enumerable.Range(0, 3).Select(_ => Enumerable.Range(0, 1 + random.Next(3)).Select(_ => random.Next(vocabulary)).ToArray())];
                var decoder = new TableDecoder(3 * samples, vocabulary, random.Next(99), sources: 4);
                var sampler = new SequenceSampler(decoder, options, s_sampling, samples);
                sampler.Sample(prompts);
                var alone = new Sampler(s_sampling, vocabulary);
                for (int row = 0; row < 3 * samples; row++)
                {
                    Hypothesis found = sampler.Result(row / samples, row % samples);
                    int[] prompt = prompts[row / samples], tokens = found.Tokens.ToArray();
                    alone.Random = new CounterRandom(s_sampling.Seed, (ulong)row);
                    double sum = 0;
                    for (int j = 0; j < tokens.Length; j++)
                    {
                        Assert.Equal(decoder.Alignment([.. prompt, .. tokens[..j]]), found.Alignment.Slice(4 * j, 4).ToArray());
                        float[] logits = decoder.Logits([.. prompt, .. tokens[..j]]);
                        double logProbability = logits[tokens[j]] - Math.Log(logits.Sum(l => Math.Exp(l)));
                        Assert.Equal(logProbability, found.LogProbabilities[j], 1e-5);
                        sum += logProbability;
                        logits[0] = j < options.MinLength ? float.NegativeInfinity : logits[0];
                        int[] history = [.. prompt, .. tokens[..j]];
                        for (int n = options.NoRepeatNGram, start = 0; n > 0 && start + n <= history.Length; start++)
                        {
                            if (history[start..(start + n - 1)].SequenceEqual(history[^(n - 1)..]))
                            {
                                logits[history[start + n - 1]] = float.NegativeInfinity;
                            }
                        }

                        Assert.Equal(alone.Sample(logits), tokens[j]);
                    }

                    Assert.Equal(sum, found.LogProbability, 1e-4);
                    Assert.Equal(tokens[^1] == 0, found.HasEnded);
                    Assert.True(found.HasEnded || tokens.Length == length);
                }
            });
        }
    }

    [Fact]
    public void Samples_follow_the_distribution()
    {
        var decoder = new TableDecoder(500, 4, seed: 2);
        var sampler = new SequenceSampler(decoder, new DecodingOptions { MaxLength = 1 }, new SamplingOptions { Seed = 3 }, samples: 500);
        int[] counts = new int[4];
        for (int call = 0; call < 20; call++)
        {
            sampler.Sample([1]);
            for (int sample = 0; sample < 500; sample++)
            {
                counts[sampler.Result(0, sample).Tokens[0]]++;
            }
        }

        float[] logits = decoder.Logits([1]);
        for (int token = 0; token < 4; token++)
        {
            Assert.Equal(Math.Exp(logits[token]) / logits.Sum(l => Math.Exp(l)), counts[token] / 10_000.0, 0.02);
        }
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        using CausalSession session = BatchedLstm.Create(1).CreateSession(new SessionOptions { Batch = 4, Threads = 2 });
        var sampler = new SequenceSampler(session, new DecodingOptions { MaxLength = 10, EndTokens = [1], NoRepeatNGram = 3 }, s_sampling, samples: 2);
        int[][] prompts = [[1, 2, 3], [4]];
        Assert.Equal(0, Allocated.Least(() => sampler.Sample(prompts)));
    }

    /// <summary>A call that is refused leaves the one that runs as it is: what must not be repeated is looked up in its prompt.</summary>
    [Fact]
    public void A_refused_call_does_not_change_the_prompt()
    {
        int refusals = 0;
        foreach (bool searches in new[] { true, false })
        {
            Action<int[]> run = _ => { };
            var decoder = new TableDecoder(1, 4, seed: 5) { IsFlat = true };
            var constraint = new Calling(() =>
            {
                Assert.Throws<InvalidOperationException>(() => run([0]));
                Assert.Throws<InvalidOperationException>(() => run(null!));
                refusals++;
            });
            int[] tokens;
            if (searches)
            {
                var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 1, MaxLength = 2, NoRepeatNGram = 1, Constraint = constraint });
                run = search.Search;
                run([0, 1]);
                tokens = search.Result(0).Tokens.ToArray();
            }
            else
            {
                var sampler = new SequenceSampler(decoder, new DecodingOptions { MaxLength = 2, NoRepeatNGram = 1, Constraint = constraint }, new SamplingOptions { Temperature = 0 });
                run = sampler.Sample;
                run([0, 1]);
                tokens = sampler.Result(0).Tokens.ToArray();
            }

            Assert.Equal([2, 3], tokens);
        }

        Assert.Equal(4, refusals);
    }

    /// <summary>Room is made for what the context holds, not for what was asked for.</summary>
    [Fact]
    public void The_longest_output_is_that_of_the_context()
    {
        var decoder = new TableDecoder(2, 4, seed: 5, context: 6);
        var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 2, MaxLength = int.MaxValue });
        search.Search([1]);
        Assert.Equal(6, search.Result(0).Tokens.Length);
        var sampler = new SequenceSampler(decoder, new DecodingOptions { MaxLength = int.MaxValue }, new SamplingOptions());
        sampler.Sample([1, 2]);
        Assert.Equal(5, sampler.Result(0).Tokens.Length);
    }

    private sealed class Calling(Action call) : ITokenConstraint
    {
        public void Restrict(int input, ReadOnlySpan<int> tokens, Span<float> logits) => call();
    }
}
