using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.NGram;

[Collection(SerialCollection.Name)]
public sealed class NGramModelTests
{
    // <bos> a b <eos>, <bos> a a b <eos>, <bos> b <eos>; c never occurs.
    private const int Bos = 0, Eos = 1, A = 2, B = 3, C = 4;

    private static readonly int[][] s_sentences = [[Bos, A, B, Eos], [Bos, A, A, B, Eos], [Bos, B, Eos]];

    /// <summary>
    /// Bigrams: bos a 2, bos b 1, a a 1, a b 2, b eos 3. Once: bos b, a a (n1 = 2); twice: bos a, a b (n2 = 2): D = 2 / (2 + 2·2) = 1/3.
    /// What each token followed: a: bos, a (2); b: bos, a (2); eos: b (1); in all 5 kinds of bigrams. Once: eos (n1 = 1), twice: a, b (n2 = 2): D = 1 / (1 + 2·2) = 1/5.
    /// p(a) = (2 - 1/5) / 5 + (1/5 · 3 / 5) / 5 = 0.36 + 0.024 = 0.384, p(b) alike, p(eos) = 0.16 + 0.024 = 0.184, p(bos) = p(c) = 0.024; the sum is 1.
    /// After bos (3 tokens, 2 kinds): p(a) = (2 - 1/3) / 3 + (1/3 · 2 / 3) · 0.384 = 5/9 + 2/9 · 0.384; p(c) = 2/9 · 0.024.
    /// The sentence "bos a b eos" has p(a | bos) · p(b | a) · p(eos | b), where after a (3 tokens, 2 kinds) p(b) = 5/9 + 2/9 · 0.384, and after b (3 tokens, one kind) p(eos) = (3 - 1/3) / 3 + 1/9 · 0.184.
    /// </summary>
    [Fact]
    public void Kneser_and_Ney_by_hand()
    {
        NGramModel model = Train(2, NGramSmoothing.KneserNey);
        Near(0.384, model, [C], A);
        Near(0.184, model, [C], Eos);
        Near(0.024, model, [C], Bos);
        double a = (5 / 9.0) + (2 / 9.0 * 0.384), eos = (8 / 9.0) + (1 / 9.0 * 0.184);
        Near(a, model, [Bos], A);
        Near(2 / 9.0 * 0.024, model, [Bos], C);
        Near(eos, model, [A, B], Eos);
        double perplexity = Math.Exp(model.Evaluate([[Bos, A, B, Eos]]));
        Assert.Equal(Math.Pow(a * a * eos, -1 / 3.0), perplexity, 1e-6);
        Assert.Equal(1.3885786, perplexity, 1e-6);
    }

    /// <summary>
    /// D of the bigrams is 1/3 as above. Of the 9 predicted tokens a, b and eos are 3 each (n1 = n2 = 0), so that their D is 1/2.
    /// p(a) = p(b) = p(eos) = (3 - 1/2) / 9 + (1/2 · 3 / 9) / 5 = 5/18 + 1/30 = 14/45, p(bos) = p(c) = 1/30.
    /// After a: p(b) = (2 - 1/3) / 3 = 5/9, p(a) = 2/9; 2/9 is left for eos, bos and c, which have 1 - 28/45 = 17/45 of the unigrams: p(c) = 2/9 · (1/30) / (17/45) = 1/51.
    /// After b: p(eos) = 8/9; 1/9 is left for the rest, 31/45 of the unigrams: p(a) = 1/9 · (14/45) / (31/45) = 14/279.
    /// </summary>
    [Fact]
    public void Katz_by_hand()
    {
        NGramModel model = Train(2, NGramSmoothing.Katz);
        Near(14 / 45.0, model, [C], A);
        Near(1 / 30.0, model, [C], C);
        Near(5 / 9.0, model, [A], B);
        Near(1 / 51.0, model, [A], C);
        Near(14 / 279.0, model, [B], A);
        Assert.Equal(Math.Pow(5 / 9.0 * (5 / 9.0) * (8 / 9.0), -1 / 3.0), Math.Exp(model.Evaluate([[Bos, A, B, Eos]])), 1e-6);
    }

    /// <summary>
    /// Trigrams: bos a b 1, bos a a 1, a b eos 2, a a b 1, bos b eos 1: n1 = 4, n2 = 1, D = 4 / (4 + 2·1) = 2/3.
    /// Bigrams, by what came before and by the texts that begin with them: bos a 2 (twice at a beginning), bos b 1, a b 2 (bos, a), a a 1 (bos), b eos 2 (a, bos): n1 = 2, n2 = 3, D = 2 / (2 + 2·3) = 1/4.
    /// After a: p(b) = (2 - 1/4) / 3 + (1/4 · 2 / 3) · 0.384 = 7/12 + 0.064; after bos a (2 tokens, 2 kinds): p(b) = (1 - 2/3) / 2 + 2/3 · (7/12 + 0.064).
    /// </summary>
    [Fact]
    public void Three_tokens_by_hand()
    {
        NGramModel model = Train(3, NGramSmoothing.KneserNey);
        double lower = (7 / 12.0) + 0.064;
        Near(lower, model, [C, A], B);
        Near((1 / 6.0) + (2 / 3.0 * lower), model, [Bos, A], B);

        // After bos, which nothing comes before: its bigrams count as often as they occurred.
        Near(((2 - 0.25) / 3) + (0.25 * 2 / 3 * 0.384), model, [Bos], A);
        Near(0.25 * 2 / 3 * 0.024, model, [Bos], C);
    }

    [Fact]
    public void Probabilities_sum_to_one_and_agree_everywhere()
    {
        for (int seed = 0; seed < 60; seed++)
        {
            RandomCase.Run(seed, random =>
            {
                int vocabulary = 2 + random.Next(9), order = 1 + random.Next(5);
                var options = new NGramOptions { Order = order, VocabularySize = vocabulary, Smoothing = (NGramSmoothing)random.Next(3) };
                int[][] texts = [.. Enumerable.Range(0, 1 + random.Next(6)).Select(_ => Tokens(2 + random.Next(60)))];
                NGramModel model = NGramModel.Train(texts, options);
                float[] all = new float[vocabulary];
                for (int trial = 0; trial < 20; trial++)
                {
                    int[] context = trial < 10 ? Tokens(random.Next(7)) : texts[0][..random.Next(texts[0].Length)];
                    model.LogProbabilities(context, all);
                    Assert.Equal(1, all.Sum(p => Math.Exp(p)), 1e-5);
                    for (int token = 0; token < vocabulary; token++)
                    {
                        Assert.True(float.IsFinite(all[token]));
                        Assert.Equal(all[token], model.LogProbability(context, token), 1e-4);
                    }
                }

                int[] text = Tokens(700);
                float[] scores = new float[699];
                model.Score(text, scores);
                Assert.Equal(model.LogProbability(text.AsSpan(0, 400), text[400]), scores[399], 1e-5);
                Assert.Equal(-scores.Average(p => (double)p), model.Evaluate(TokenDataset.FromTokens(text)), 1e-5);
                Assert.Equal(-scores.Average(p => (double)p), model.Evaluate([text, [0]]), 1e-5);

                int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(random.Next(2) == 0 ? vocabulary : 2))];
            });
        }
    }

    /// <summary>A longer context helps on a text that has long dependencies, and what was never seen is unlikely but possible.</summary>
    [Fact]
    public void More_context_is_better_where_there_is_something_to_know()
    {
        var random = new Random(3);
        List<int> text = [];
        while (text.Count < 20_000)
        {
            // A bracket of one of four kinds, filling of three tokens, and the bracket again.
            int kind = random.Next(4);
            text.AddRange([kind, 4 + random.Next(2), 4 + random.Next(2), kind]);
        }

        TokenDataset training = TokenDataset.FromTokens(text.ToArray().AsMemory(0, 16_000)), held = TokenDataset.FromTokens(text.ToArray().AsMemory(16_000));
        foreach (NGramSmoothing smoothing in Enum.GetValues<NGramSmoothing>())
        {
            double[] losses = [.. Enumerable.Range(1, 4).Select(order => NGramModel.Train(training, new NGramOptions { Order = order, VocabularySize = 7, Smoothing = smoothing }).Evaluate(held))];
            Assert.True(losses[1] > losses[2] && losses[2] > losses[3], string.Join(" ", losses));

            // Of four tokens, the first has four choices, two have two, and the last none.
            Assert.Equal((Math.Log(4) + (2 * Math.Log(2))) / 4, losses[3], 0.02);
        }
    }

    [Fact]
    public void What_was_saved_is_loaded()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.Path, "model.safetensors");
        foreach (NGramSmoothing smoothing in Enum.GetValues<NGramSmoothing>())
        {
            NGramModel model = Train(3, smoothing);
            model.Save(path);
            NGramModel loaded = NGramModel.Load(path);
            Assert.Equal(model.Options, loaded.Options);
            Assert.Equal(model.NGramCount, loaded.NGramCount);
            Assert.Equal(model.Evaluate(s_sentences), loaded.Evaluate(s_sentences));
        }
    }

    [Fact]
    public void Damaged_files_are_refused()
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(folder.Path, "model.safetensors");
        Train(3, NGramSmoothing.KneserNey).Save(path);
        byte[] bytes = File.ReadAllBytes(path);
        int refused = 0;
        for (int seed = 0; seed < 400; seed++)
        {
            // One byte differs: what is loaded all the same gives probabilities and reads no memory that is not its own.
            var random = new Random(seed);
            byte[] damaged = [.. bytes];
            damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(path, damaged);
            try
            {
                Assert.True(double.IsFinite(NGramModel.Load(path).Evaluate([[0, 0], .. s_sentences])));
            }
            catch (ModelFileException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 50, 399);
    }

    [Fact]
    public void What_makes_no_sense_is_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new NGramCounts(new NGramOptions { VocabularySize = 3, Order = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NGramCounts(new NGramOptions { VocabularySize = 3, Order = 13 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NGramCounts(new NGramOptions { VocabularySize = 0 }));
        var counts = new NGramCounts(new NGramOptions { VocabularySize = 3 });
        Assert.Throws<InvalidOperationException>(counts.Build);
        Assert.Throws<ArgumentOutOfRangeException>(() => counts.Add([1, 3]));
        counts.Add([1]);
        Assert.Throws<InvalidOperationException>(counts.Build);
        counts.Add([1, 2]);
        NGramModel model = counts.Build();
        Assert.Throws<ArgumentOutOfRangeException>(() => model.LogProbability([1], 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.LogProbability([3], 1));
        Assert.Throws<ArgumentException>(() => model.LogProbabilities([1], new float[2]));
        Assert.Throws<ArgumentException>(() => model.Score([1], []));
        Assert.Throws<ArgumentException>(() => model.Evaluate([[1]]));
        Assert.Throws<InvalidDataException>(() => model.Evaluate(TokenDataset.FromTokens(new int[] { 1, 5 })));
    }

    [Fact]
    public void It_is_decoded_as_every_model_is()
    {
        NGramModel model = Train(3, NGramSmoothing.ModifiedKneserNey);
        ISequenceDecoder decoder = model.CreateDecoder(batch: 4);
        var search = new BeamSearch(decoder, new BeamSearchOptions { Beams = 4, Results = 2, MaxLength = 6, EndTokens = [Eos], LengthPenalty = 0 });
        int[][] prompts = [[Bos]];
        search.Search(prompts);
        float[] scores = new float[search.Result(0).Tokens.Length];
        model.Score([Bos, .. search.Result(0).Tokens], scores);
        Assert.Equal(scores.Sum(), search.Result(0).LogProbability, 1e-5);
        Assert.Equal([A, B, Eos], search.Result(0).Tokens.ToArray());
        Assert.Equal(0, Allocated.Least(() => search.Search(prompts)));
    }

    /// <summary>One thread decodes, another one disturbs it: each call of either is whole, or refused.</summary>
    [Fact]
    public void A_decoder_refuses_a_second_call()
    {
        NGramModel model = Train(3, NGramSmoothing.KneserNey);
        ISequenceDecoder decoder = model.CreateDecoder(2);
        Assert.Equal("row", Assert.Throws<ArgumentOutOfRangeException>(() => decoder.Begin(2)).ParamName);
        Assert.Equal("row", Assert.Throws<ArgumentOutOfRangeException>(() => decoder.Begin(-1)).ParamName);
        Assert.Throws<ArgumentException>(() => decoder.Prefill(0, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => decoder.Prefill(0, [A, -1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => decoder.Prefill(0, [A, 5]));
        Assert.Equal(0, decoder.Positions[0]);
        int done = 0, refused = 0;
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(_ => new Thread(() =>
        {
            int[] tokens = [A, B];
            while (Volatile.Read(ref refused) == 0 && Interlocked.Increment(ref done) < 50_000_000)
            {
                try
                {
                    decoder.Decode(tokens);
                }
                catch (InvalidOperationException)
                {
                    Interlocked.Increment(ref refused);
                }
            }
        }))];
        Array.ForEach(threads, static thread => thread.Start());
        Array.ForEach(threads, static thread => thread.Join());
        Assert.True(refused > 0);
    }
    [Fact]
    public void Scoring_allocates_nothing()
    {
        NGramModel model = Train(3, NGramSmoothing.ModifiedKneserNey);
        int[] text = [Bos, A, B, A, C, Eos];
        float[] scores = new float[5], all = new float[5];
        TokenDataset data = TokenDataset.FromTokens(text);
        Assert.Equal(0, Allocated.Least(() =>
        {
            model.Score(text, scores);
            model.Evaluate(data);
            model.LogProbabilities(text, all);
        }));
    }

    private static NGramModel Train(int order, NGramSmoothing smoothing) => NGramModel.Train(s_sentences, new NGramOptions { Order = order, VocabularySize = 5, Smoothing = smoothing });

    private static void Near(double expected, NGramModel model, int[] context, int token) => Assert.Equal(expected, Math.Exp(model.LogProbability(context, token)), 1e-6);
}
