using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Encoders and word models against PyTorch (<c>tests/fixtures/make_encoder_fixtures.py</c>), and what else is theirs.</summary>
[Collection(SerialCollection.Name)]
public sealed class EncoderTests
{
    private const int Time = 17;

    // A shift of all scores of a row changes no probability, so that the gradient of the keys' bias is rounding, and Adam makes steps of that.
    private static bool IsRounding(string name) => name.EndsWith("self.key.bias", StringComparison.Ordinal);

    [Fact]
    public void Pretraining_bert()
    {
        var fixture = new Fixture("bert-pretraining");
        PretrainingBert model = PretrainingBert.Load(fixture.Path);
        using PretrainingBert.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        (float[] logits, float[] next, float[] embeddings) = (new float[3 * Time * 53], new float[3 * 2], new float[3 * 30]);
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits, next);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 53));
        fixture.Near("next", next);
        session.Embed(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), embeddings);
        fixture.Near("embeddings", embeddings);
        fixture.CheckTraining(
            optimizer =>
            {
                PretrainingBert trained = PretrainingBert.Load(fixture.Path);
                PretrainingBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i), fixture.Ints("next", i)), trained.Save);
            },
            PretrainingBert.Parameters);
    }

    [Fact]
    public void Masked_bert()
    {
        var fixture = new Fixture("bert-masked");
        MaskedBert model = MaskedBert.Load(fixture.Path);
        using MaskedBert.Session session = model.CreateSession();

        // One sequence at a time, without its padding.
        float[] expected = fixture.Reference.Floats("OUT.logits");
        for (int b = 0; b < 3; b++)
        {
            int length = fixture.Ints("lengths")[b];
            float[] logits = new float[length * 53];
            session.Predict(1, length, fixture.Ints("tokens").AsSpan(b * Time, length), fixture.Ints("segments").AsSpan(b * Time, length), default, logits);
            Compare.Absolute(expected.AsSpan(b * Time * 53, length * 53), logits, Parity.LogitsTolerance, $"sequence {b}");
        }

        fixture.CheckTraining(
            optimizer =>
            {
                MaskedBert trained = MaskedBert.Load(fixture.Path);
                MaskedBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            MaskedBert.Parameters);
    }

    /// <summary>A window on both sides, a first token that sees all and is seen by all, and T5's biases in both directions.</summary>
    [Fact]
    public void Bert_with_a_window_and_relative_biases()
    {
        var fixture = new Fixture("bert-window-relative");
        using WindowBert.Session session = WindowBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        float[] logits = new float[3 * Time * 53];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 53));
        fixture.CheckTraining(
            optimizer =>
            {
                WindowBert trained = WindowBert.Load(fixture.Path);
                WindowBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            WindowBert.Parameters);
    }

    [Fact]
    public void Bert_with_blocks_and_linear_biases()
    {
        var fixture = new Fixture("bert-fixed-alibi");
        using FixedBert.Session session = FixedBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        float[] logits = new float[3 * Time * 7];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 7));
        fixture.CheckTraining(
            optimizer =>
            {
                FixedBert trained = FixedBert.Load(fixture.Path);
                FixedBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            FixedBert.Parameters);
    }

    [Fact]
    public void Bert_with_windows_of_layers_and_sinusoids()
    {
        var fixture = new Fixture("bert-layer-windows");
        using LayerWindowsBert.Session session = LayerWindowsBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        float[] logits = new float[3 * Time * 7];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 7));
        fixture.CheckTraining(
            optimizer =>
            {
                LayerWindowsBert trained = LayerWindowsBert.Load(fixture.Path);
                LayerWindowsBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            LayerWindowsBert.Parameters);
    }

    [Fact]
    public void Sequence_classifier()
    {
        var fixture = new Fixture("bert-sequence");
        using SequenceBert.Session session = SequenceBert.Load(fixture.Path).CreateSession();
        float[] logits = new float[4 * 4];
        session.Predict(4, Time, fixture.Ints("tokens").AsSpan(0, 4 * Time), fixture.Ints("segments").AsSpan(0, 4 * Time), fixture.Ints("lengths").AsSpan(0, 4), logits);
        Compare.Absolute(fixture.Reference.Floats("OUT.logits").AsSpan(0, 16), logits, Parity.LogitsTolerance, "logits");
        fixture.CheckTraining(
            optimizer =>
            {
                SequenceBert trained = SequenceBert.Load(fixture.Path);
                SequenceBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            SequenceBert.Parameters);
    }

    [Fact]
    public void Token_classifier()
    {
        var fixture = new Fixture("bert-token");
        using TokenBert.Session session = TokenBert.Load(fixture.Path).CreateSession();
        float[] logits = new float[3 * Time * 7];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 7));
        fixture.CheckTraining(
            optimizer =>
            {
                TokenBert trained = TokenBert.Load(fixture.Path);
                TokenBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            TokenBert.Parameters);
    }

    /// <summary>Windows, rotary positions of two bases, gated feed-forward networks and norms before them, as ModernBERT has them.</summary>
    [Fact]
    public void Masked_modern_bert()
    {
        var fixture = new Fixture("modernbert-masked");
        using MaskedModernBert.Session session = MaskedModernBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        (float[] logits, float[] embeddings) = (new float[3 * Time * 53], new float[3 * 30]);
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 53));
        session.Embed(3, Time, fixture.Ints("tokens"), fixture.Ints("lengths"), embeddings);
        fixture.Near("embeddings", embeddings);
        fixture.CheckTraining(
            optimizer =>
            {
                MaskedModernBert trained = MaskedModernBert.Load(fixture.Path);
                MaskedModernBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            MaskedModernBert.Parameters);
    }

    /// <summary>Classes are read from the mean of a sequence, by the same transformation as masked tokens.</summary>
    [Fact]
    public void Sequence_classifier_of_a_modern_bert()
    {
        var fixture = new Fixture("modernbert-sequence");
        using SequenceModernBert.Session session = SequenceModernBert.Load(fixture.Path).CreateSession();
        float[] logits = new float[5 * 4];
        session.Predict(5, Time, fixture.Ints("tokens"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", logits);
        fixture.CheckTraining(
            optimizer =>
            {
                SequenceModernBert trained = SequenceModernBert.Load(fixture.Path);
                SequenceModernBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            SequenceModernBert.Parameters);
    }

    [Fact]
    public void Bert_with_norms_before_gates_and_no_biases()
    {
        var fixture = new Fixture("bert-prenorm");
        using PreNormBert.Session session = PreNormBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        float[] logits = new float[3 * Time * 7];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 7));
        fixture.CheckTraining(
            optimizer =>
            {
                PreNormBert trained = PreNormBert.Load(fixture.Path);
                PreNormBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            PreNormBert.Parameters);
    }

    /// <summary>Rotary positions, gated units and no biases, from a file with nomic-bert's names and layout.</summary>
    [Fact]
    public void Masked_nomic_bert()
    {
        var fixture = new Fixture("bert-nomic");
        using NomicBert.Session session = NomicBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        (float[] logits, float[] embeddings) = (new float[3 * Time * 53], new float[3 * 30]);
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 53));
        session.Embed(3, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), embeddings);
        fixture.Near("embeddings", embeddings);
        fixture.CheckTraining(
            optimizer =>
            {
                NomicBert trained = NomicBert.Load(fixture.Path);
                NomicBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            NomicBert.Parameters);
    }

    /// <summary>Linear biases by distance, and gates without biases where other projections have them, from a file with jina-bert-v2's names.</summary>
    [Fact]
    public void Sequence_classifier_of_a_jina_bert()
    {
        var fixture = new Fixture("bert-jina");
        using JinaBert.Session session = JinaBert.Load(fixture.Path).CreateSession();
        float[] logits = new float[5 * 4];
        session.Predict(5, Time, fixture.Ints("tokens"), fixture.Ints("segments"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", logits);
        fixture.CheckTraining(
            optimizer =>
            {
                JinaBert trained = JinaBert.Load(fixture.Path);
                JinaBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("segments", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            JinaBert.Parameters);
    }

    /// <summary>Rotary positions with NTK scaling and gates below what they let through, from a file with gte's names.</summary>
    [Fact]
    public void Token_classifier_of_a_gte()
    {
        var fixture = new Fixture("bert-gte");
        using GteBert.Session session = GteBert.Load(fixture.Path).CreateSession(new SessionOptions { Threads = 2 });
        float[] logits = new float[3 * Time * 7];
        session.Predict(3, Time, fixture.Ints("tokens"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", Masked(logits, fixture.Ints("lengths"), 7));
        fixture.CheckTraining(
            optimizer =>
            {
                GteBert trained = GteBert.Load(fixture.Path);
                GteBert.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("tokens", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            GteBert.Parameters);
    }

    [Fact]
    public void Nnlm_with_direct_connections()
    {
        var fixture = new Fixture("nnlm");
        using DirectNnlm.Session session = DirectNnlm.Load(fixture.Path).CreateSession();
        float[] logits = new float[11 * 29];
        session.Predict(fixture.Ints("window"), logits);
        fixture.Near("logits", logits);
        fixture.CheckTraining(
            optimizer =>
            {
                DirectNnlm trained = DirectNnlm.Load(fixture.Path);
                DirectNnlm.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("window", i), fixture.Ints("targets", i)), trained.Save);
            },
            DirectNnlm.Parameters);
    }

    [Fact]
    public void Nnlm_without_direct_connections()
    {
        var fixture = new Fixture("nnlm-indirect");
        using IndirectNnlm.Session session = IndirectNnlm.Load(fixture.Path).CreateSession();
        float[] logits = new float[9 * 23];
        session.Predict(fixture.Ints("window"), logits);
        fixture.Near("logits", logits);
        fixture.CheckTraining(
            optimizer =>
            {
                IndirectNnlm trained = IndirectNnlm.Load(fixture.Path);
                IndirectNnlm.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("window", i), fixture.Ints("targets", i)), trained.Save);
            },
            IndirectNnlm.Parameters);
    }

    /// <summary>Equation 1 of the paper, written out in double precision: y = b + Wx + U tanh(d + Hx).</summary>
    [Fact]
    public void Nnlm_is_the_papers_formula()
    {
        const int Window = 3, Embedding = 7, Hidden = 13, Vocab = 29;
        DirectNnlm model = DirectNnlm.Load(SourceTree.Fixture("nnlm.safetensors"));
        using DirectNnlm.Session session = model.CreateSession();
        double P(string name, int index) => model.Parameter(name)[index];
        var random = new Random(5);
        for (int trial = 0; trial < 20; trial++)
        {
            int[] window = [.. Enumerable.Range(0, Window).Select(_ => random.Next(Vocab))];
            double[] x = [.. window.SelectMany(w => Enumerable.Range(0, Embedding).Select(j => P("C", (w * Embedding) + j)))];
            double[] a = [.. Enumerable.Range(0, Hidden).Select(k => Math.Tanh(P("d", k) + Enumerable.Range(0, x.Length).Sum(j => P("H", (k * x.Length) + j) * x[j])))];
            double[] y = [.. Enumerable.Range(0, Vocab).Select(i => P("b", i) + Enumerable.Range(0, x.Length).Sum(j => P("W", (i * x.Length) + j) * x[j]) + Enumerable.Range(0, Hidden).Sum(k => P("U", (i * Hidden) + k) * a[k]))];
            float[] logits = new float[Vocab];
            session.Predict(window, logits);
            Compare.Absolute(Array.ConvertAll(y, v => (float)v), logits, 1e-5, $"window {trial}");
        }

        // The terms of the paper: decay on weights and embeddings, none on biases.
        Assert.Equal(["C", "H", "U", "W"], DirectNnlm.Parameters.Where(p => p.WeightDecay).Select(p => p.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Word_autoencoder()
    {
        var fixture = new Fixture("word-autoencoder");
        WordCodes model = WordCodes.Load(fixture.Path);
        using WordCodes.Session session = model.CreateSession();
        (float[] logits, float[] codes) = (new float[13 * 27], new float[27 * 9]);
        session.Predict(fixture.Ints("context"), fixture.Ints("lengths"), logits);
        fixture.Near("logits", logits);
        session.Encode(Enumerable.Range(0, 27).ToArray(), codes);
        Assert.Equal(model.Parameter("encoder.weight").ToArray(), codes);
        fixture.CheckTraining(
            optimizer =>
            {
                WordCodes trained = WordCodes.Load(fixture.Path);
                WordCodes.Trainer trainer = trained.CreateTrainer(optimizer, new TrainerOptions { Threads = 2 });
                return (trainer, i => trainer.Step(fixture.Ints("context", i), fixture.Ints("lengths", i), fixture.Ints("targets", i)), trained.Save);
            },
            WordCodes.Parameters);
    }

    /// <summary>Padding changes no bit, whatever it holds; a batch gives what its sequences give alone, and lengths that are left out are those of all steps.</summary>
    [Fact]
    public void Padded_batches_and_threads_change_no_bit()
    {
        PretrainingBert model = PretrainingBert.Create(3);
        using PretrainingBert.Session session = model.CreateSession(new SessionOptions { Threads = 1 }), other = model.CreateSession(new SessionOptions { Threads = 3 });
        int[] lengths = [5, 11, 1, 8];
        float[][] Run(PretrainingBert.Session on, int padding)
        {
            int[] tokens = [.. lengths.SelectMany((length, b) => Enumerable.Range(0, 11).Select(t => t < length ? (7 * t + (13 * b)) % 53 : padding))];
            (float[] logits, float[] next, float[] embeddings) = (new float[4 * 11 * 53], new float[8], new float[4 * 30]);
            on.Predict(4, 11, tokens, default, lengths, logits, next);
            on.Embed(4, 11, tokens, default, lengths, embeddings);
            return [Masked(logits, lengths, 53, 11), next, embeddings];
        }

        float[][] batch = Run(session, 0);
        Assert.Equal(batch, Run(session, 52));
        Assert.Equal(batch, Run(other, 7));
        for (int b = 0; b < 4; b++)
        {
            int[] tokens = [.. Enumerable.Range(0, lengths[b]).Select(t => (7 * t + (13 * b)) % 53)];
            float[] embedding = new float[30];
            session.Embed(1, lengths[b], tokens, default, default, embedding);
            Compare.Absolute(batch[2].AsSpan(b * 30, 30), embedding, 1e-6, $"sequence {b} alone");
            Assert.Equal(1, embedding.Sum(e => (double)e * e), 1e-5);
        }

        int[] twice = [.. Enumerable.Range(0, 22).Select(i => i % 53)];
        float[] e2 = new float[60];
        Action embed = () => session.Embed(2, 11, twice, default, default, e2);
        embed();
        Assert.Equal(0, Allocated.Least(embed));
    }

    /// <summary>A classifier takes over a pre-trained encoder, its head is drawn from the seed, and what is frozen stays.</summary>
    [Fact]
    public void A_classifier_takes_over_a_pretrained_encoder()
    {
        using TemporaryFile file = new();
        PretrainingBert pretrained = PretrainingBert.Create(7);
        pretrained.Save(file.Path);
        ModelFileException refused = Assert.Throws<ModelFileException>(() => SequenceBert.Load(file.Path));
        Assert.Contains("classifier.weight", refused.Message, StringComparison.Ordinal);
        Assert.Throws<ModelFileException>(() => SequenceBert.Load(file.Path, new LoadOptions { IgnoreUnexpected = true, MayBeMissing = ["classifier.bias"] }));
        var options = new LoadOptions { IgnoreUnexpected = true, MayBeMissing = ["classifier."], Seed = 5 };
        SequenceBert model = SequenceBert.Load(file.Path, options), probe = SequenceBert.Load(file.Path, options);
        foreach (ParameterInfo parameter in SequenceBert.Parameters)
        {
            float[] expected = parameter.Name.StartsWith("classifier.", StringComparison.Ordinal) ? SequenceBert.Create(5).Parameter(parameter.Name).ToArray() : pretrained.Parameter(parameter.Name).ToArray();
            Assert.Equal(expected, model.Parameter(parameter.Name).ToArray());
        }

        Assert.Equal(model.Parameter("classifier.weight").ToArray(), probe.Parameter("classifier.weight").ToArray());
    }

    [Fact]
    public void Masking_follows_its_shares_and_repeats()
    {
        var masking = new TokenMasking(maskToken: 3, vocabularySize: 1000, firstWord: 5);
        int[] tokens = [.. Enumerable.Range(0, 100_000).Select(i => i % 10 == 0 ? i % 5 : 5 + (i % 995))];
        int[][] Run(ulong seed, out int chosen)
        {
            (int[] inputs, int[] targets) = (new int[tokens.Length], new int[tokens.Length]);
            var random = new CounterRandom(seed);
            chosen = masking.Mask(tokens, inputs, targets, ref random);
            return [inputs, targets];
        }

        int[][] first = Run(1, out int count);
        Assert.Equal(first, Run(1, out _));
        Assert.NotEqual(first[1], Run(2, out _)[1]);
        Assert.Equal(count, first[1].Count(t => t >= 0));
        (int masked, int kept, int random) = (0, 0, 0);
        for (int i = 0; i < tokens.Length; i++)
        {
            Assert.True(first[1][i] == tokens[i] || (first[1][i] == -1 && first[0][i] == tokens[i]));
            Assert.True(first[1][i] == -1 || tokens[i] >= 5);
            masked += first[1][i] >= 0 && first[0][i] == 3 ? 1 : 0;
            kept += first[1][i] >= 0 && first[0][i] == tokens[i] ? 1 : 0;
            random += first[1][i] >= 0 && first[0][i] != tokens[i] && first[0][i] >= 5 ? 1 : 0;
        }

        Assert.Equal(0.15, count / 90_000.0, 0.005);
        Assert.Equal(0.8, masked / (double)count, 0.02);
        Assert.Equal(0.1, kept / (double)count, 0.02);
        Assert.Equal(0.1, random / (double)count, 0.02);

        // One word at least, and none where there is none.
        var never = new TokenMasking(3, 1000, 5) { Probability = 0 };
        var numbers = new CounterRandom(4);
        int[] few = [1, 17, 2, 3], inputs = new int[4], targets = new int[4];
        Assert.Equal(1, never.Mask(few, inputs, targets, ref numbers));
        Assert.Equal([-1, 17, -1, -1], targets);
        Assert.Equal(0, never.Mask([1, 2], inputs.AsSpan(0, 2), targets.AsSpan(0, 2), ref numbers));
        Assert.Throws<ArgumentException>(() => never.Mask(new int[3], new int[3], new int[2], ref numbers));
        Assert.Equal("Probability", Assert.Throws<ArgumentOutOfRangeException>(() => new TokenMasking(3, 1000, 5) { Probability = 15 }).ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenMasking(3, 1000, 5) { MaskedShare = double.NaN });
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenMasking(3, 1000, 5) { RandomShare = -0.1 });
        Assert.Throws<InvalidOperationException>(() => new TokenMasking(3, 1000, 5) { RandomShare = 0.3 }.Mask(few, inputs, targets, ref numbers));
        Assert.Equal(0, Allocated.Least(() =>
        {
            var own = new CounterRandom(9);
            masking.Mask(few, inputs, targets, ref own);
        }));
    }

    private static float[] Masked(float[] rows, int[] lengths, int columns, int steps = Time)
        => [.. rows.Select((y, i) => i / columns % steps < lengths[i / columns / steps] ? y : 0)];

    /// <summary>One case's two files.</summary>
    private sealed class Fixture(string name)
    {
        private const int Steps = 20;

        public string Path { get; } = SourceTree.Fixture(name + ".safetensors");

        public ReferenceFile Reference { get; } = ReferenceFile.OfFixture(name + ".reference");

        /// <summary>An input of a step, the first by default.</summary>
        public int[] Ints(string input, int step = 0)
        {
            int[] all = Reference.Ints("IN." + input);
            return all[(all.Length / Steps * step)..(all.Length / Steps * (step + 1))];
        }

        public void Near(string output, float[] actual) => Compare.Absolute(Reference.Floats("OUT." + output), actual, Parity.LogitsTolerance, $"{name}: {output}");

        /// <summary>The gradients of the first step, and the losses and parameters of twenty.</summary>
        public void CheckTraining(Func<Optimizer, (Trainer Trainer, Func<int, float> Step, Action<string> Save)> create, IReadOnlyList<ParameterInfo> parameters)
        {
            (Trainer trainer, Func<int, float> step, _) = create(new AdamW { LearningRate = 1e-3f });
            using (trainer)
            {
                Assert.Equal(Reference.Floats("losses")[0], step(0), Parity.LossTolerance);
                foreach (ParameterInfo parameter in parameters)
                {
                    float[] expected = Reference.Floats("gradients." + parameter.Name);
                    if (IsRounding(parameter.Name))
                    {
                        Compare.Absolute(expected, trainer.Gradient(parameter.Name), 1e-7, parameter.Name);
                        continue;
                    }

                    Compare.RelativeToNorm(expected, trainer.Gradient(parameter.Name), Parity.GradientTolerance, $"{name}: gradient of {parameter.Name}");
                }
            }

            // The fixture's file may have the names of another layout.
            using TemporaryFile first = new(), file = new();
            (Trainer second, Func<int, float> next, Action<string> save) = create(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 });
            using (second)
            {
                save(first.Path);
                float[] losses = Reference.Floats("losses"), norms = Reference.Floats("norms");
                for (int i = 0; i < Steps; i++)
                {
                    Compare.Absolute([losses[i]], [next(i)], Parity.LossTolerance, $"{name}: loss of step {i + 1}");
                    Compare.RelativeToNorm([norms[i]], [second.GradientNorm], 1e-4, $"{name}: gradient norm of step {i + 1}");
                }
            }

            save(file.Path);
            ReferenceFile initial = new(first.Path), updated = new(file.Path);
            Assert.Equal(Reference.Names.Where(static n => n.StartsWith("final.", StringComparison.Ordinal)).Select(static n => n["final.".Length..]).Order(StringComparer.Ordinal), updated.Names.Order(StringComparer.Ordinal));
            foreach (string parameter in initial.Names.Where(n => !IsRounding(n)))
            {
                float[] before = initial.Floats(parameter), after = updated.Floats(parameter), final = Reference.Floats("final." + parameter);
                Compare.RelativeToNorm([final[0]], [Norm(after)], 1e-4, $"{name}: norm of {parameter} after {Steps} steps");
                Compare.RelativeToNorm([final[1]], [Norm([.. after.Zip(before, (a, b) => a - b)])], 1e-2, $"{name}: change of {parameter} in {Steps} steps");
            }
        }

        private static float Norm(float[] values) => (float)Math.Sqrt(values.Sum(v => (double)v * v));
    }
}
