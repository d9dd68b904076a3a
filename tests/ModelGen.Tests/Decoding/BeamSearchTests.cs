using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Models;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Decoding;

[Collection(SerialCollection.Name)]
public sealed class BeamSearchTests
{
    [Fact]
    public void With_enough_beams_it_is_an_exhaustive_search()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            RandomCase.Run(seed, random => Check(random, exhaustive: true));
        }
    }

    [Fact]
    public void With_few_beams_it_is_what_its_options_say()
    {
        for (int seed = 0; seed < 600; seed++)
        {
            RandomCase.Run(seed, random => Check(random, exhaustive: false));
        }
    }

    /// <summary>Random models, options and inputs, several of them in one session.</summary>
    private static void Check(Random random, bool exhaustive)
    {
        int vocabulary = 2 + random.Next(exhaustive ? 2 : 9), length = 1 + random.Next(exhaustive ? 4 : 8), inputs = 1 + random.Next(3);
        int beams = exhaustive ? (int)Math.Pow(vocabulary, length) : 1 + random.Next(5), sources = random.Next(3) == 0 ? 4 : 0;
        var options = new BeamSearchOptions
        {
            Beams = beams,
            Results = 1 + random.Next(Math.Min(beams, 5)),
            MaxLength = length,
            MinLength = random.Next(Math.Min(2, length) + 1),
            EndTokens = [.. Enumerable.Range(0, random.Next(3)).Select(_ => random.Next(vocabulary)).Distinct()],
            LengthPenalty = random.Next(4) switch { 0 => 0, 1 => 1, 2 => -0.5, _ => 2 * random.NextDouble() },
            GnmtLengthPenalty = random.Next(2) == 0,
            ScorePrefix = random.Next(2) == 0,
            CoveragePenalty = sources > 0 ? random.NextDouble() : 0,
            Alignment = sources > 0 && random.Next(2) == 0,
            NoRepeatNGram = random.Next(3) == 0 ? 1 + random.Next(3) : 0,
            Suppressed = [.. Enumerable.Range(0, random.Next(3)).Select(_ => Tokens(1 + random.Next(3)))],
            Stopping = exhaustive ? BeamStopping.Exact : (BeamStopping)random.Next(3),
        };
        int context = random.Next(2) == 0 ? 0 : 6 + length;
        var decoder = new TableDecoder((beams * inputs) + random.Next(2), vocabulary, random.Next(1000), context, sources);
        var search = new BeamSearch(decoder, options);
        int[][] prompts = [.. Enumerable.Range(0, inputs).Select(_ => Tokens(1 + random.Next(context > 0 ? 10 : 3)))];
        int[][]? prefixes = random.Next(3) == 0 ? [.. prompts.Select(_ => Tokens(random.Next(length + 1)))] : null;
        prompts = [.. prompts.Select(prompt => context > 0 && prompt.Length > context ? prompt[..context] : prompt)];
        prefixes = prefixes is null ? null : [.. prefixes.Zip(prompts, (prefix, prompt) => prefix[..Math.Min(prefix.Length, context > 0 ? context - prompt.Length + 1 : prefix.Length)])];
        search.Search([.. prompts.Select(_ => Tokens(2))]);
        search.Search(prompts, prefixes);
        Assert.Equal(inputs, search.InputCount);
        for (int input = 0; input < inputs; input++)
        {
            int limit = context > 0 ? Math.Min(length, context - prompts[input].Length + 1) : length;
            var naive = new NaiveSearch(options, limit, prompts[input], prefixes?[input] ?? [], decoder.Logits, decoder.Alignment);
            List<Output> expected = exhaustive ? naive.Exhaustive() : naive.Beams();
            Assert.Equal(Math.Min(options.Results, expected.Count), search.Count(input));
            for (int rank = 0; rank < search.Count(input); rank++)
            {
                Hypothesis found = search.Result(input, rank);
                Output output = expected[rank];
                Assert.Equal(output.Tokens, found.Tokens.ToArray());
                Assert.Equal(output.HasEnded, found.HasEnded);
                Assert.Equal(output.HasEnded ? output.Tokens[..^1] : output.Tokens, found.Content.ToArray());
                Assert.Equal(output.LogProbability, found.LogProbability, 1e-5);
                Assert.Equal(output.Score, found.Score, 1e-5);
                Assert.Equal(output.LogProbability, found.LogProbabilities.ToArray().Sum(p => (double)p), 1e-5);
                Assert.Equal(options.Alignment ? output.Tokens.Length * sources : 0, found.Alignment.Length);
                for (int j = 0; j < found.Tokens.Length && options.Alignment; j++)
                {
                    Assert.Equal(decoder.Alignment([.. prompts[input], .. output.Tokens[..j]]), found.Alignment.Slice(j * sources, sources).ToArray());
                }
            }
        }

        int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];
    }

    [Fact]
    public void Among_equals_the_lower_id_is_first()
    {
        var decoder = new TableDecoder(6, 9, seed: 1) { IsFlat = true };
        var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 3, Results = 3, MaxLength = 2, EndTokens = [8] });
        search.Search([[4], [5]]);
        for (int input = 0; input < 2; input++)
        {
            Assert.Equal([0, 0], search.Result(input).Tokens.ToArray());
            Assert.Equal([0, 1], search.Result(input, 1).Tokens.ToArray());
            Assert.Equal([0, 2], search.Result(input, 2).Tokens.ToArray());
        }
    }

    [Fact]
    public void One_beam_that_stops_at_its_first_end_is_greedy()
    {
        var decoder = new TableDecoder(1, 7, seed: 3);
        for (int start = 0; start < 7; start++)
        {
            var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 1, MaxLength = 20, EndTokens = [2], Stopping = BeamStopping.WhenFull });
            search.Search([start]);
            List<int> expected = [];
            while (expected.Count < 20 && !expected.Contains(2))
            {
                expected.Add(Sampler.ArgMax(decoder.Logits([start, .. expected])));
            }

            Assert.Equal(expected, search.Result(0).Tokens.ToArray());
        }
    }

    [Fact]
    public void A_trie_leaves_what_it_holds()
    {
        int[][] outputs = [[1, 2, 9], [1, 2, 3, 9], [1, 9], [4, 4, 4, 4, 9], [0, 7, 9]];
        var trie = new TokenTrie(outputs);
        Assert.True(trie.Contains([1, 2]) && trie.Contains([]) && !trie.Contains([2]) && !trie.Contains([1, 9, 1]));
        var decoder = new TableDecoder(8, 10, seed: 5);
        var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 8, Results = 8, MaxLength = 6, EndTokens = [9], Constraint = trie, LengthPenalty = 0 });
        search.Search([6]);
        Assert.Equal(outputs.Length, search.Count(0));
        double Score(int[] output) => Enumerable.Range(0, output.Length).Sum(j =>
        {
            float[] logits = decoder.Logits([6, .. output[..j]]);
            return logits[output[j]] - Math.Log(logits.Sum(l => Math.Exp(l)));
        });
        int[][] expected = [.. outputs.OrderByDescending(Score)];
        for (int rank = 0; rank < outputs.Length; rank++)
        {
            Assert.Equal(expected[rank], search.Result(0, rank).Tokens.ToArray());
            Assert.Equal(Score(expected[rank]), search.Result(0, rank).Score, 1e-5);
        }

        // Where nothing may follow, nothing is found.
        search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 2, MaxLength = 6, Constraint = trie });
        search.Search([[6]], [[5]]);
        Assert.Equal(0, search.Count(0));
        Assert.Throws<ArgumentException>(() => new TokenTrie([]));
        Assert.Throws<ArgumentException>(() => new TokenTrie([[1], []]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenTrie([[-1]]));
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        var decoder = new TableDecoder(4, 5, seed: 1, context: 6);
        Assert.Throws<ArgumentException>(() => new BeamSearch(decoder, new BeamSearchOptions { Beams = 5 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new BeamSearch(decoder, new BeamSearchOptions { Beams = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new BeamSearch(decoder, new BeamSearchOptions { Beams = 2, Results = 3 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new BeamSearch(decoder, new BeamSearchOptions { EndTokens = [5] }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new BeamSearch(decoder, new BeamSearchOptions { LengthPenalty = double.NaN }));
        Assert.Throws<ArgumentException>(() => new BeamSearch(decoder, new BeamSearchOptions { Suppressed = [[]] }));
        Assert.Throws<ArgumentException>(() => new BeamSearch(decoder, new BeamSearchOptions { Alignment = true }));
        Assert.Throws<ArgumentException>(() => new BeamSearch(decoder, new BeamSearchOptions { CoveragePenalty = 1 }));
        Assert.Throws<ArgumentException>(() => new BeamSearch(new TableDecoder(4, 5, 1), new BeamSearchOptions()));
        var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 2 });
        Assert.Throws<ArgumentException>(() => search.Search([[1], [2], [3]]));
        Assert.Throws<ArgumentException>(() => search.Search([[1], []]));
        Assert.Throws<ArgumentException>(() => search.Search([[1], [1]], [[1]]));
        Assert.Throws<ArgumentException>(() => search.Search([[1]], [[1, 1, 1, 1, 1, 1, 1]]));
        Assert.Throws<ArgumentOutOfRangeException>(() => search.Search([[1], [5]]));
        Assert.Throws<ArgumentOutOfRangeException>(() => search.Search([[1]], [[7]]));
        Assert.Throws<InvalidOperationException>(() => search.Search([1, 1, 1, 1, 1, 1, 1]));
        Assert.Equal(0, search.InputCount);
        Assert.Throws<ArgumentOutOfRangeException>(() => search.Count(0));
        search.Search([1, 1, 1, 1, 1, 1]);
        Assert.Equal(1, search.Result(0).Tokens.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => search.Result(0, 1));
    }

    /// <summary>The sequences of a compiled model's session follow the beams: recurrent states and caches.</summary>
    [Fact]
    public void Compiled_models_are_searched_as_from_scratch()
    {
        Searched(BatchedLstm.Create(3));
        Searched(BatchedGru.Create(3));
        Searched(BatchedGpt.Create(3));
    }

    private static void Searched<TModel>(TModel model)
        where TModel : ICausalLanguageModel<TModel>
    {
        foreach (ParameterInfo parameter in TModel.Parameters)
        {
            foreach (ref float weight in model.Parameter(parameter.Name))
            {
                weight *= 4;
            }
        }

        using CausalSession session = model.CreateSession(new SessionOptions { Batch = 4, Threads = 1 });
        using CausalSession alone = model.CreateSession(new SessionOptions { Threads = 1 });
        var options = new BeamSearchOptions { Beams = 2, Results = 2, MaxLength = 12, EndTokens = [3, 30] };
        var search = new BeamSearch(session, options);
        for (int seed = 0; seed < 5; seed++)
        {
            var random = new Random(seed);
            int[][] prompts = [.. Enumerable.Range(0, 2).Select(_ => Enumerable.Range(0, 1 + random.Next(6)).Select(_ => random.Next(session.VocabularySize)).ToArray())];
            search.Search(prompts);
            for (int input = 0; input < 2; input++)
            {
                List<Output> expected = new NaiveSearch(options, 12, prompts[input], [], tokens =>
                {
                    alone.Reset();
                    return alone.Prefill(tokens).ToArray();
                }).Beams();
                for (int rank = 0; rank < 2; rank++)
                {
                    Assert.Equal(expected[rank].Tokens, search.Result(input, rank).Tokens.ToArray());
                    Assert.Equal(expected[rank].Score, search.Result(input, rank).Score, 1e-4);
                }
            }
        }
    }

    [Fact]
    public void Tiny_random_gpt2_gives_the_known_outputs()
    {
        using JsonDocument known = JsonDocument.Parse(File.ReadAllBytes(TestData.File("tiny-random-gpt2", "expected.json")));
        int[][] prompts = Tokens(known.RootElement, "input_ids"), expected = Tokens(known.RootElement, "expected_beam4"), greedy = Tokens(known.RootElement, "greedy_numpy");
        TinyRandomGpt2InBatches model = TinyRandomGpt2InBatches.Load(TestData.File("tiny-random-gpt2", "model.safetensors"));
        using CausalSession session = model.CreateSession(new SessionOptions { Batch = 12 });
        Assert.Equal(3, prompts.Length);
        var search = new BeamSearch(session, new BeamSearchOptions { Beams = 4, MaxLength = 8, EndTokens = [98] });
        search.Search(prompts);
        var sampler = new SequenceSampler(session, new DecodingOptions { MaxLength = 8, EndTokens = [98] }, new SamplingOptions { Temperature = 0 });
        for (int input = 0; input < prompts.Length; input++)
        {
            Assert.Equal(expected[input], prompts[input].Concat(search.Result(input).Tokens.ToArray()));
        }

        sampler.Sample(prompts);
        for (int input = 0; input < prompts.Length; input++)
        {
            Assert.Equal(greedy[input], prompts[input].Concat(sampler.Result(input).Tokens.ToArray()));
        }

        // Those of another program that decodes the same model greedily.
        JsonElement other = known.RootElement.GetProperty("ort_greedy_fp32");
        (prompts, greedy) = (Tokens(other, "input_ids"), Tokens(other, "expected"));
        sampler = new SequenceSampler(session, new DecodingOptions { MaxLength = 6, EndTokens = [98] }, new SamplingOptions { Temperature = 0 });
        sampler.Sample(prompts);
        for (int input = 0; input < prompts.Length; input++)
        {
            Assert.Equal(greedy[input], prompts[input].Concat(sampler.Result(input).Tokens.ToArray()));
        }

        static int[][] Tokens(JsonElement element, string name) => element.GetProperty(name).Deserialize<int[][]>()!;
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        using CausalSession session = BatchedGpt.Create(1).CreateSession(new SessionOptions { Batch = 4, Threads = 2 });
        var search = new BeamSearch(session, new BeamSearchOptions
        {
            Beams = 2,
            Results = 2,
            MaxLength = 10,
            EndTokens = [1, 2],
            NoRepeatNGram = 2,
            Suppressed = [[3, 4], [5]],
            Constraint = new TokenTrie(Enumerable.Range(6, 80).Select(first => Enumerable.Range(first, 10).ToArray())),
        });
        int[][] prompts = [[1, 2, 3], [4]], prefixes = [[6], []];
        Assert.Equal(0, Allocated.Least(() =>
        {
            search.Search(prompts[1]);
            search.Search(prompts, prefixes);
            Assert.True(search.Count(0) == 0 || search.Result(0).Tokens[0] == 6);
        }));
    }
}
