using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>The encoder–decoder Transformer against PyTorch's, and what its sessions promise.</summary>
[Collection(SerialCollection.Name)]
public sealed class TransformerTests
{
    [Fact]
    public void Post_norm_logits() => Logits<PostNormTransformer>("transformer-post-norm");

    [Fact]
    public void Post_norm_gradients() => Gradients<PostNormTransformer>("transformer-post-norm");

    [Fact]
    public void Post_norm_training() => Training<PostNormTransformer>("transformer-post-norm");

    [Fact]
    public void Pre_norm_logits() => Logits<PreNormTransformer>("transformer-pre-norm");

    [Fact]
    public void Pre_norm_gradients_with_shared_embeddings_and_smoothed_labels() => Gradients<PreNormTransformer>("transformer-pre-norm");

    [Fact]
    public void Pre_norm_training_with_shared_embeddings_and_smoothed_labels() => Training<PreNormTransformer>("transformer-pre-norm");

    [Fact]
    public void Logits_with_windows_and_relative_biases() => Logits<WindowTransformer>("transformer-window-relative");

    [Fact]
    public void Gradients_with_windows_and_relative_biases() => Gradients<WindowTransformer>("transformer-window-relative");

    [Fact]
    public void Training_with_windows_and_relative_biases() => Training<WindowTransformer>("transformer-window-relative");

    [Fact]
    public void Logits_with_strides_and_linear_biases() => Logits<StridedTransformer>("transformer-strided-alibi");

    [Fact]
    public void Gradients_with_strides_and_linear_biases() => Gradients<StridedTransformer>("transformer-strided-alibi");

    [Fact]
    public void Training_with_strides_and_linear_biases() => Training<StridedTransformer>("transformer-strided-alibi");

    [Fact]
    public void T5_logits() => Logits<GatedT5>("t5");

    [Fact]
    public void T5_gradients() => Gradients<GatedT5>("t5");

    [Fact]
    public void T5_training() => Training<GatedT5>("t5");

    [Fact]
    public void Tied_t5_logits() => Logits<TiedT5>("t5-tied");

    [Fact]
    public void Tied_t5_gradients() => Gradients<TiedT5>("t5-tied");

    [Fact]
    public void Tied_t5_training() => Training<TiedT5>("t5-tied");

    /// <summary>What each token of a padded batch attends to in its source, as PyTorch's own module has it.</summary>
    [Fact]
    public void Maps_of_cross_attention()
    {
        ReferenceFile reference = ReferenceFile.OfFixture("transformer-window-relative.reference");
        using EncoderDecoderSession session = WindowTransformer.Load(SourceTree.Fixture("transformer-window-relative.safetensors")).CreateSession();
        int[] source = reference.Ints("source"), lengths = reference.Ints("lengths"), inputs = reference.Ints("inputs");
        const int Time = 11, Source = 13;
        for (int layer = 0; layer < 2; layer++)
        {
            float[] maps = reference.Floats($"attentions.{layer}");
            Assert.Equal([3, 4, Time, Source], reference.Shape($"attentions.{layer}"));
            for (int b = 0; b < 3; b++)
            {
                session.Encode(source.AsSpan(b * Source, lengths[b]));
                for (int t = 0; t < Time; t++)
                {
                    session.Decode(inputs[(b * Time) + t]);
                    for (int head = 0; head < 4; head++)
                    {
                        ReadOnlySpan<float> found = session.AttentionWeights(0, layer, head);
                        Compare.Absolute(maps.AsSpan(((((b * 4) + head) * Time) + t) * Source, lengths[b]), found[..lengths[b]], 1e-5, $"layer {layer}, sequence {b}, head {head}, position {t}");
                    }
                }
            }
        }
    }

    /// <summary>A target of any length is decoded in the memory of a window, and from what the window holds alone.</summary>
    [Fact]
    public void Decoding_beyond_the_window_keeps_a_ring()
    {
        long rings = 2 * 2 * 5 * 16 * sizeof(float), memory = 2 * 2 * 9 * 16 * sizeof(float);
        Assert.InRange(LongTransformer.SessionStateBytes, rings + memory, rings + memory + (8 * 64));
        LongTransformer model = LongTransformer.Create(seed: 3);
        using EncoderDecoderSession session = model.CreateSession(), later = model.CreateSession();
        int[] source = [1, 5, 3, 9];
        session.Encode(source);
        later.Encode(source);
        int Token(int t) => ((t * t) + (t / 3)) % 11;

        // Two layers of windows of five see what the last nine tokens are, and distances alone.
        float[] all = [], last = [];
        for (int t = 0; t < 1000; t++)
        {
            all = session.Decode(Token(t)).ToArray();
            last = t < 900 ? [] : later.Decode(Token(t)).ToArray();
        }

        Compare.Absolute(last, all, 1e-5, "after 1,000 tokens and after 100");
    }

    [Fact]
    public void Each_of_several_sequences_is_bit_for_bit_that_of_a_session_of_its_own()
    {
        PreNormTransformer model = PreNormTransformer.Create(seed: 5);
        using EncoderDecoderSession several = model.CreateSession(new SessionOptions { Threads = 3, Batch = 3 });
        EncoderDecoderSession[] alone = [.. Enumerable.Range(0, 3).Select(_ => model.CreateSession(new SessionOptions { Threads = 1 }))];
        var random = new Random(3);
        Span<int> tokens = stackalloc int[3];
        for (int turn = 0; turn < 40; turn++)
        {
            for (int row = 0; row < 3; row++)
            {
                if (alone[row].SourceLength(0) == 0 || alone[row].Position == PreNormTransformer.TargetContextLength || random.Next(9) == 0)
                {
                    int[] source = [.. Enumerable.Range(0, 1 + random.Next(PreNormTransformer.SourceContextLength)).Select(_ => random.Next(PreNormTransformer.SourceVocabularySize))];
                    several.Encode(row, source);
                    alone[row].Encode(source);
                }

                tokens[row] = random.Next(4) == 0 ? -1 : random.Next(PreNormTransformer.TargetVocabularySize);
            }

            ReadOnlySpan<float> logits = several.Decode(tokens);
            for (int row = 0; row < 3; row++)
            {
                Assert.Equal(alone[row].Decode(tokens.Slice(row, 1)).ToArray(), logits.Slice(row * PreNormTransformer.TargetVocabularySize, PreNormTransformer.TargetVocabularySize).ToArray());
            }
        }

        Array.ForEach(alone, session => session.Dispose());
    }

    /// <summary>What stands in the padding, of sources and of targets, changes no bit; nor does the number of threads.</summary>
    [Fact]
    public void Training_depends_on_neither_padding_nor_threads()
    {
        var weights = new List<float[][]>();
        foreach ((int threads, int padding) in new[] { (1, 0), (3, 0), (2, 7) })
        {
            PostNormTransformer model = PostNormTransformer.Create(seed: 2);
            using SequencePairTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-2f }, new TrainerOptions { Threads = threads });
            int[] lengths = [9, 1, 4];
            int[] source = [.. Enumerable.Range(0, 27).Select(i => i % 9 < lengths[i / 9] ? i % 13 : padding)];
            int[] targets = [.. Enumerable.Range(0, 21).Select(i => i % 7 < lengths[i / 7] ? i % 11 : -1)];
            int[] inputs = [.. Enumerable.Range(0, 21).Select(i => i % 7 < lengths[i / 7] ? (i + 3) % 11 : padding)];
            for (int step = 0; step < 4; step++)
            {
                trainer.Step(source, lengths, inputs, targets);
            }

            // The first row of a table that padding alone has looked up is decayed like any other.
            weights.Add([.. PostNormTransformer.Parameters.Select(p => model.Parameter(p.Name).ToArray())]);
        }

        Assert.Equal(weights[0], weights[1]);
        Assert.Equal(weights[0], weights[2]);
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        PostNormTransformer model = PostNormTransformer.Create(seed: 2);
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 2, Batch = 4 });
        using SequencePairTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-4f }, new TrainerOptions { Threads = 2 });
        int[] source = new int[27], lengths = [9, 1, 4], ids = new int[21], tokens = [1, 2, -1, 3], order = [1, 0, 0, 3];
        Assert.Equal(0, Allocated.Least(() =>
        {
            for (int row = 0; row < 4; row++)
            {
                session.Encode(row, source.AsSpan(0, 2 + row));
            }

            session.Decode(tokens);
            session.Reorder(order);
            session.Decode(tokens);
        }));
        Assert.Equal(0, Allocated.Least(() => trainer.Step(source, lengths, ids, ids)));
    }

    /// <summary>Sources reversed, of any length: every token of an output needs another one of the source.</summary>
    [Fact]
    public void It_learns_to_reverse_sequences()
    {
        const int Bos = 1, Eos = 2, First = 3, Steps = 1500;
        LearningTransformer model = LearningTransformer.Create(seed: 4);
        var random = new Random(1);
        int[] Draw() => [.. Enumerable.Range(0, 1 + random.Next(6)).Select(_ => First + random.Next(LearningTransformer.SourceVocabularySize - First))];
        float loss = 0;
        using (SequencePairTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 3e-3f, GradientClip = 1, Schedule = new WarmupCosine(50, Steps, 0.02) }))
        {
            for (int step = 0; step < Steps; step++)
            {
                int[][] sources = [.. Enumerable.Range(0, 8).Select(_ => Draw())];
                int[] source = [.. sources.SelectMany(s => s.Concat(new int[7 - s.Length]))];
                int[] targets = [.. sources.SelectMany(s => s.Reverse().Append(Eos).Concat(Enumerable.Repeat(-1, 7 - s.Length)))];
                int[] inputs = [.. sources.SelectMany(s => s.Reverse().Prepend(Bos).Concat(new int[7 - s.Length]))];
                loss = trainer.Step(source, [.. sources.Select(s => s.Length)], inputs, targets);
            }
        }

        using EncoderDecoderSession session = model.CreateSession();
        int right = 0;
        for (int i = 0; i < 100; i++)
        {
            int[] source = Draw();
            session.Encode(source);
            var output = new List<int>();
            int token = Bos;
            while ((token = Sampler.ArgMax(session.Decode(token))) != Eos && output.Count < 7)
            {
                output.Add(token);
            }

            right += output.SequenceEqual(source.Reverse()) ? 1 : 0;
        }

        Assert.True(right >= 95, $"{right} of 100 are right; the last loss is {loss}");
    }

    /// <summary>The logits at every position of padded targets, token by token: of one sequence, and of all as one batch.</summary>
    private static void Logits<TModel>(string fixture)
        where TModel : ITrainableEncoderDecoderModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        (float[] logits, int[] shape) = (reference.Floats("logits"), reference.Shape("logits"));
        (int batch, int time, int vocabulary) = (shape[0], shape[1], shape[2]);
        int[] source = reference.Ints("source"), lengths = reference.Ints("lengths"), inputs = reference.Ints("inputs");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        int length = TModel.TrainingSourceLength;
        for (int b = 0; b < batch; b++)
        {
            session.Encode(source.AsSpan(b * length, lengths[b]));
            for (int t = 0; t < time; t++)
            {
                Compare.Absolute(logits.AsSpan(((b * time) + t) * vocabulary, vocabulary), session.Decode(inputs[(b * time) + t]), Parity.LogitsTolerance, $"{fixture}, sequence {b}, position {t}");
            }
        }

        using EncoderDecoderSession several = model.CreateSession(new SessionOptions { Threads = 2, Batch = 3 });
        for (int row = 0; row < 3; row++)
        {
            several.Encode(row, source.AsSpan(row * length, lengths[row]));
        }

        for (int t = 0; t < time; t++)
        {
            ReadOnlySpan<float> all = several.Decode([inputs[t], inputs[time + t], inputs[(2 * time) + t]]);
            for (int row = 0; row < 3; row++)
            {
                Compare.Absolute(logits.AsSpan(((row * time) + t) * vocabulary, vocabulary), all.Slice(row * vocabulary, vocabulary), Parity.LogitsTolerance, $"{fixture}, sequence {row} of several, position {t}");
            }
        }
    }

    private static void Gradients<TModel>(string fixture)
        where TModel : ITrainableEncoderDecoderModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using SequencePairTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f }, new TrainerOptions { Threads = 2 });
        Assert.Equal(reference.Floats("losses")[0], Step(trainer, reference, 0), Parity.LossTolerance);
        Parity.CheckGradients(trainer, reference, TModel.Parameters, "gradients.", fixture);
    }

    private static void Training<TModel>(string fixture)
        where TModel : ITrainableEncoderDecoderModel<TModel>
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        TModel model = TModel.Load(SourceTree.Fixture(fixture + ".safetensors"));
        using SequencePairTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0.1f, GradientClip = 1 }, new TrainerOptions { Threads = 2 });
        Parity.CheckTraining(fixture, reference, trainer, step => Step(trainer, reference, step), model.Save);
    }

    private static float Step(SequencePairTrainer trainer, ReferenceFile reference, int step)
    {
        ReadOnlySpan<int> Part(string name, int each) => reference.Ints(name).AsSpan(step * trainer.BatchSize * each, trainer.BatchSize * each);
        return trainer.Step(Part("source", trainer.SourceLength), Part("lengths", 1), Part("inputs", trainer.SequenceLength), Part("targets", trainer.SequenceLength));
    }
}
