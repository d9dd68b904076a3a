using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Recurrent encoder–decoders, with each kind of attention: against PyTorch, and a trained model that knows how words are spoken.</summary>
[Collection(SerialCollection.Name)]
public sealed class RecurrentSeq2SeqTests
{
    [Fact]
    public void Without_attention()
    {
        CheckLogits<PlainSeq2Seq>("seq2seq-none");
        CheckTraining<PlainSeq2Seq>("seq2seq-none", PlainSeq2Seq.Parameters);
    }

    [Fact]
    public void With_dot_products()
    {
        CheckLogits<DotSeq2Seq>("seq2seq-dot");
        CheckTraining<DotSeq2Seq>("seq2seq-dot", DotSeq2Seq.Parameters);
    }

    [Fact]
    public void With_additive_attention()
    {
        CheckLogits<AdditiveSeq2Seq>("seq2seq-additive");
        CheckTraining<AdditiveSeq2Seq>("seq2seq-additive", AdditiveSeq2Seq.Parameters);
    }

    [Fact]
    public void With_additive_attention_over_layers_of_lstms()
    {
        CheckLogits<AdditiveLstmSeq2Seq>("seq2seq-additive-lstm");
        CheckTraining<AdditiveLstmSeq2Seq>("seq2seq-additive-lstm", AdditiveLstmSeq2Seq.Parameters);
    }

    [Fact]
    public void Steps_allocate_nothing_and_do_not_depend_on_threads_or_padding()
    {
        (int[] source, int[] lengths, int[] inputs, int[] targets) = Batch("seq2seq-additive", 0);
        var random = new Random(5);
        var weights = new List<float[]>();
        foreach (int threads in new[] { 1, 2, 3 })
        {
            AdditiveSeq2Seq model = AdditiveSeq2Seq.Create(3);
            using AdditiveSeq2Seq.Trainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Threads = threads });
            for (int step = 0; step < 4; step++)
            {
                trainer.Step([.. source.Select((s, i) => i % 7 < lengths[i / 7] ? s : random.Next(17))], lengths, inputs, targets);
            }

            weights.Add([.. AdditiveSeq2Seq.Parameters.SelectMany(p => model.Parameter(p.Name).ToArray())]);
        }

        Compare.Bits(weights[0], weights[1], "two threads");
        Compare.Bits(weights[0], weights[2], "three threads");
        foreach (bool attends in new[] { true, false })
        {
            using SequencePairTrainer stepped = attends ? DotSeq2Seq.Create(1).CreateTrainer(new AdamW()) : AdditiveSeq2Seq.Create(1).CreateTrainer(new AdamW());
            using EncoderDecoderSession session = attends ? DotSeq2Seq.Create(1).CreateSession(new SessionOptions { Batch = 2 }) : AdditiveSeq2Seq.Create(1).CreateSession(new SessionOptions { Batch = 2 });
            int[] next = [1, 2];
            Assert.Equal(0, Allocated.Least(() =>
            {
                stepped.Step(source, lengths, inputs, targets);
                stepped.Evaluate(source, lengths, inputs, targets);
                session.Encode(0, source.AsSpan(0, 5));
                session.Encode(1, source.AsSpan(0, 7));
                session.Decode(next);
                session.Decode(next);
            }));
        }
    }

    /// <summary>As many tokens stay right as are asked for, the first always; what replaces the others is what the model says after what came before.</summary>
    [Fact]
    public void Scheduled_sampling_shows_a_model_what_it_would_write()
    {
        (int[] source, int[] lengths, int[] inputs, _) = Batch("seq2seq-dot", 0);
        DotSeq2Seq model = DotSeq2Seq.Load(SourceTree.Fixture("seq2seq-dot.safetensors"));
        using DotSeq2Seq.Session session = model.CreateSession(new SessionOptions { Batch = 4 }), alone = model.CreateSession();
        var sampling = new ScheduledSampling(session, seed: 4);
        int[] same = [.. inputs], own = [.. inputs], mixed = [.. inputs];
        sampling.Mix(source, lengths, same, 1);
        Assert.Equal(inputs, same);
        sampling.Mix(source, lengths, own, 0);
        for (int row = 0; row < 4; row++)
        {
            alone.Encode(source.AsSpan(row * 7, lengths[row]));
            int token = inputs[row * 5];
            for (int t = 0; t < 5; t++)
            {
                Assert.Equal(token, own[(row * 5) + t]);
                token = Sampler.ArgMax(alone.Decode(token));
            }
        }

        int right = 0;
        for (int round = 0; round < 100; round++)
        {
            inputs.CopyTo(mixed, 0);
            for (int i = 0; i < mixed.Length; i++)
            {
                // A token that the model does not write, so that what is replaced is seen.
                mixed[i] = i % 5 == 0 ? 0 : 12;
            }

            int[] before = [.. mixed];
            sampling.Mix(source, lengths, mixed, 0.7);
            right += mixed.Where((m, i) => i % 5 != 0 && m == before[i]).Count();
        }

        Assert.InRange(right / 1600.0, 0.65, 0.8);
        Assert.Equal(0, Allocated.Least(() => sampling.Mix(source, lengths, mixed, 0.5)));
        Assert.Throws<ArgumentOutOfRangeException>(() => sampling.Mix(source, lengths, mixed, 1.5));
        Assert.Throws<ArgumentException>(() => sampling.Mix(source, [1, 2], mixed, 0.5));
        foreach (double probability in new[] { 0.5, 1 })
        {
            foreach (int wrong in new[] { -1, session.VocabularySize })
            {
                int[] ids = [.. mixed];
                ids[7] = wrong;
                int[] unchanged = [.. ids];
                Assert.Equal("inputs", Assert.Throws<ArgumentOutOfRangeException>(() => sampling.Mix(source, lengths, ids, probability)).ParamName);
                Assert.Equal(unchanged, ids);
            }
        }

        ISequenceDecoder decoder = session;
        session.Encode(1, source.AsSpan(0, 3));
        Assert.Throws<ArgumentException>(() => decoder.Prefill(1, []));
        Assert.Throws<ArgumentOutOfRangeException>(() => decoder.Prefill(1, [0, -1]));
        Assert.Equal(0, session.Positions[1]);
        Assert.Throws<ArgumentOutOfRangeException>(() => ScheduledSampling.Linear(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => ScheduledSampling.Linear(1, 5, 1.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => ScheduledSampling.Exponential(3, 1.1));
        Assert.Throws<ArgumentOutOfRangeException>(() => ScheduledSampling.InverseSigmoid(3, -1));
        Assert.Equal([1.0, 0.5, 0.2], [ScheduledSampling.Linear(0, 10, 0.2), ScheduledSampling.Linear(5, 10, 0.2), ScheduledSampling.Linear(20, 10, 0.2)]);
        Assert.Equal(0.25, ScheduledSampling.Exponential(2, 0.5));
        Assert.Equal(10 / (10 + Math.E), ScheduledSampling.InverseSigmoid(10, 10), 1e-12);
    }

    /// <summary>A trained model of graphemes and phonemes, whose gates are r, z, n as ours.</summary>
    [Fact]
    public void A_trained_model_spells_words_out()
    {
        using ZipArchive archive = ZipFile.OpenRead(TestData.File("g2p-gru-seq2seq", "checkpoint20.npz"));
        using JsonDocument vocabulary = JsonDocument.Parse(File.ReadAllText(TestData.File("g2p-gru-seq2seq", "vocab.json")));
        string[] Words(string name) => [.. vocabulary.RootElement.GetProperty(name).EnumerateArray().Select(e => e.GetString()!)];
        (string[] graphemes, string[] phonemes) = (Words("graphemes"), Words("phonemes"));
        GraphemesToPhonemes model = GraphemesToPhonemes.Create();
        foreach ((string ours, string theirs) in new[]
        {
            ("encoder.embedding.weight", "enc_emb"), ("encoder.rnn.weight_ih_l0", "enc_w_ih"), ("encoder.rnn.weight_hh_l0", "enc_w_hh"), ("encoder.rnn.bias_ih_l0", "enc_b_ih"), ("encoder.rnn.bias_hh_l0", "enc_b_hh"),
            ("decoder.embedding.weight", "dec_emb"), ("decoder.rnn.weight_ih_l0", "dec_w_ih"), ("decoder.rnn.weight_hh_l0", "dec_w_hh"), ("decoder.rnn.bias_ih_l0", "dec_b_ih"), ("decoder.rnn.bias_hh_l0", "dec_b_hh"),
            ("head.weight", "fc_w"), ("head.bias", "fc_b"),
        })
        {
            Array(archive, theirs).CopyTo(model.Parameter(ours));
        }

        using GraphemesToPhonemes.Session session = model.CreateSession();
        int words = 0;
        foreach (string line in File.ReadLines(TestData.File("g2p-gru-seq2seq", "expected_numpy.tsv")))
        {
            string[] fields = line.Split('\t');
            session.Encode([.. fields[0].Select(c => System.Array.IndexOf(graphemes, c.ToString())), System.Array.IndexOf(graphemes, "</s>")]);
            var spoken = new List<string>();
            for (int token = System.Array.IndexOf(phonemes, "<s>"); spoken.Count < 20;)
            {
                token = Sampler.ArgMax(session.Decode(token));
                if (phonemes[token] == "</s>")
                {
                    break;
                }

                spoken.Add(phonemes[token]);
            }

            Assert.Equal(fields[1], string.Join(' ', spoken));
            words++;
        }

        Assert.Equal(10, words);
    }

    /// <summary>An array of NumPy's, version 1, of single precision in C order.</summary>
    private static float[] Array(ZipArchive archive, string name)
    {
        using Stream stream = archive.GetEntry(name + ".npy")!.Open();
        using var memory = new MemoryStream();
        stream.CopyTo(memory);
        ReadOnlySpan<byte> bytes = memory.ToArray();
        Assert.Equal(1, bytes[6]);
        int header = bytes[8] | (bytes[9] << 8);
        string text = System.Text.Encoding.ASCII.GetString(bytes.Slice(10, header));
        Assert.Contains("'descr': '<f4', 'fortran_order': False", text, StringComparison.Ordinal);
        return MemoryMarshal.Cast<byte, float>(bytes[(10 + header)..]).ToArray();
    }

    private static (int[] Source, int[] Lengths, int[] Inputs, int[] Targets) Batch(string fixture, int step)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        int[] Of(string name) => Parity.Ints(reference.Ints(name), step).ToArray();
        return (Of("inputs.source"), Of("inputs.lengths"), Of("inputs.inputs"), Of("targets"));
    }

    /// <summary>Each pair by itself, and all of them together.</summary>
    private static void CheckLogits<TModel>(string fixture)
        where TModel : IEncoderDecoderModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        int[] shape = reference.Shape("logits");
        (int batch, int time, int vocabulary) = (shape[0], shape[1], shape[2]);
        float[] expected = reference.Floats("logits");
        (int[] source, int[] lengths, int[] inputs, _) = Batch(fixture, 0);
        int most = source.Length / batch;
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using EncoderDecoderSession one = model.CreateSession(new SessionOptions { Threads = 2 }), all = model.CreateSession(new SessionOptions { Threads = 2, Batch = batch });
        for (int b = 0; b < batch; b++)
        {
            one.Encode(source.AsSpan(b * most, lengths[b]));
            all.Encode(b, source.AsSpan(b * most, lengths[b]));
            for (int t = 0; t < time; t++)
            {
                Compare.Absolute(expected.AsSpan(((b * time) + t) * vocabulary, vocabulary), one.Decode(inputs[(b * time) + t]), Parity.LogitsTolerance, $"{fixture}, pair {b}, step {t}");
            }
        }

        for (int t = 0; t < time; t++)
        {
            ReadOnlySpan<float> logits = all.Decode([.. Enumerable.Range(0, batch).Select(b => inputs[(b * time) + t])]);
            for (int b = 0; b < batch; b++)
            {
                Compare.Absolute(expected.AsSpan(((b * time) + t) * vocabulary, vocabulary), logits.Slice(b * vocabulary, vocabulary), Parity.LogitsTolerance, $"{fixture}, pair {b} of all, step {t}");
            }
        }
    }

    private static void CheckTraining<TModel>(string fixture, IReadOnlyList<ParameterInfo> parameters)
        where TModel : ITrainableEncoderDecoderModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        float Step(SequencePairTrainer trainer, int step)
        {
            (int[] source, int[] lengths, int[] inputs, int[] targets) = Batch(fixture, step);
            return trainer.Step(source, lengths, inputs, targets);
        }

        TModel Load() => TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using (SequencePairTrainer trainer = Load().CreateTrainer(new Sgd { LearningRate = 0 }, new TrainerOptions { Threads = 2 }))
        {
            Assert.Equal(reference.Floats("losses")[0], Step(trainer, 0), Parity.LossTolerance);
            Parity.CheckGradients(trainer, reference, parameters, "gradients.", fixture);
        }

        TModel model = Load();
        using SequencePairTrainer trained = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 }, new TrainerOptions { Threads = 2 });
        Parity.CheckTraining(fixture, reference, trained, i => Step(trained, i), model.Save);
    }
}
