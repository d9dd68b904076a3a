using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>A session of several sequences gives, bit for bit, what as many sessions of one do.</summary>
[Collection(SerialCollection.Name)]
public sealed class BatchedSessionTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Recurrences(int threads)
    {
        Check<BatchedLstm>(BatchedLstm.Parameters, 3, threads);
        Check<BatchedGru>(BatchedGru.Parameters, 5, threads);
        Check<BatchedRnn>(BatchedRnn.Parameters, 2, threads);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Transformers(int threads)
    {
        Check<BatchedGpt>(BatchedGpt.Parameters, 4, threads);
        Check<BatchedSharedKeysGpt>(BatchedSharedKeysGpt.Parameters, 3, threads);
        Check<BatchedNarrowGpt>(BatchedNarrowGpt.Parameters, 7, threads);
        Check<BatchedWideGpt>(BatchedWideGpt.Parameters, 2, threads);
        Check<InterleavedDecoder>(InterleavedDecoder.Parameters, 3, threads);
        Check<QwenDecoder>(QwenDecoder.Parameters, 2, threads);
        Check<GemmaDecoder>(GemmaDecoder.Parameters, 2, threads);
        Check<CappedDecoder>(CappedDecoder.Parameters, 2, threads);
        Check<Lfm2Decoder>(Lfm2Decoder.Parameters, 3, threads);
        Check<MixtralDecoder>(MixtralDecoder.Parameters, 3, threads);
        Check<ConvolutionDecoder>(ConvolutionDecoder.Parameters, 2, threads);
        Check<GptOssDecoder>(GptOssDecoder.Parameters, 3, threads);
        Check<Gemma4Decoder>(Gemma4Decoder.Parameters, 3, threads);
        Check<SinkDecoder>(SinkDecoder.Parameters, 2, threads);
        Check<DeltaDecoder>(DeltaDecoder.Parameters, 3, threads);
        Check<Mamba2Decoder>(Mamba2Decoder.Parameters, 3, threads);
        Check<GraniteHybrid>(GraniteHybrid.Parameters, 3, threads);
        Check<ChunkedDecoder>(ChunkedDecoder.Parameters, 3, threads);
    }

    [Fact]
    public void What_does_not_fit_is_refused_and_nothing_changes()
    {
        BatchedGru model = BatchedGru.Create(1);
        Assert.Contains("from 1 to 5", Assert.Throws<ArgumentOutOfRangeException>(() => model.CreateSession(new SessionOptions { Batch = 6 })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => model.CreateSession(new SessionOptions { Batch = 0 }));
        Assert.Contains("no MaxBatch", Assert.Throws<ArgumentOutOfRangeException>(() => GruLm.Create(1).CreateSession(new SessionOptions { Batch = 2 })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => CrossEntropyMlp.Create(1).CreateSession(new SessionOptions { Batch = 2 }));

        using BatchedGru.Session session = model.CreateSession(new SessionOptions { Batch = 3, Threads = 1 });
        session.Prefill(1, [4, 5]);
        float[] before = session.Decode([-1, -1, -1]).ToArray();
        Assert.Contains("without saying for which", Assert.Throws<InvalidOperationException>(() => session.Prefill([1])).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => session.Decode(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Prefill(3, [1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Prefill(-1, [1]));
        Assert.Throws<ArgumentException>(() => session.Prefill(0, []));
        using (CausalSession alone = model.CreateSession())
        {
            // One sequence is none of several, and still says nothing once it is empty.
            alone.Prefill([1, 2]);
            alone.Reset();
            Assert.DoesNotContain(alone.Decode([-1]).ToArray(), logit => logit != 0);
        }

        Assert.Throws<ArgumentException>(() => session.Decode([1, 2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Decode([1, 37, 2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Decode([1, -2, 2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Reset(3));
        Assert.Equal(before, session.Decode([-1, -1, -1]).ToArray());
        Assert.Equal([0, 2, 0], session.Positions);

        // A sequence that begins anew has no last token, nor logits that followed it.
        Assert.Contains(before, logit => logit != 0);
        session.Reset(1);
        Assert.DoesNotContain(session.Decode([-1, -1, -1]).ToArray(), logit => logit != 0);
    }

    [Fact]
    public void Sequences_continue_what_others_were()
    {
        for (int seed = 1; seed <= 5; seed++)
        {
            RandomCase.Run(seed, Reordered<BatchedLstm>);
            RandomCase.Run(seed, Reordered<BatchedGpt>);
            RandomCase.Run(seed, Reordered<BatchedSharedKeysGpt>);
        }
    }

    [Fact]
    public void What_is_no_order_is_refused_and_nothing_changes()
    {
        using BatchedGru.Session session = BatchedGru.Create(1).CreateSession(new SessionOptions { Batch = 3, Threads = 1 });
        session.Prefill(1, [4, 5]);
        float[] before = session.Decode([-1, -1, -1]).ToArray();
        Assert.Throws<ArgumentException>(() => session.Reorder([1, 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Reorder([1, 3, 0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Reorder([1, -1, 0]));
        Assert.Equal(before, session.Decode([-1, -1, -1]).ToArray());
        Assert.Equal([0, 2, 0], session.Positions);
    }

    /// <summary>After any order, every sequence has the position, the last logits and the next ones of the sequence that it continues.</summary>
    private static void Reordered<TModel>(Random random)
        where TModel : ICausalLanguageModel<TModel>
    {
        const int Batch = 3;
        using CausalSession session = TModel.Create(seed: 5).CreateSession(new SessionOptions { Threads = 1, Batch = Batch });
        using CausalSession alone = TModel.Create(seed: 5).CreateSession(new SessionOptions { Threads = 1 });
        int[][] texts = [[], [], []];
        for (int step = 0; step < 12; step++)
        {
            int[] from = [.. Enumerable.Range(0, Batch).Select(_ => random.Next(Batch))];
            session.Reorder(from);
            texts = [.. from.Select(row => texts[row])];
            Assert.Equal(texts.Select(text => text.Length), session.Positions);
            Check(session.Decode([-1, -1, -1]));
            int[] tokens = [.. Enumerable.Range(0, Batch).Select(_ => random.Next(1 + session.VocabularySize) - 1)];
            texts = [.. texts.Zip(tokens, (text, token) => token < 0 ? text : [.. text, token])];
            Check(session.Decode(tokens));
        }

        void Check(ReadOnlySpan<float> logits)
        {
            for (int row = 0; row < Batch; row++)
            {
                alone.Reset();
                float[] expected = new float[session.VocabularySize];
                foreach (int token in texts[row])
                {
                    expected = alone.Decode(token).ToArray();
                }

                Assert.Equal(expected, logits.Slice(row * expected.Length, expected.Length).ToArray());
            }
        }
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        Allocates(BatchedLstm.Create(1));
        Allocates(BatchedRnn.Create(1));
        Allocates(BatchedGpt.Create(1));
    }

    private static void Allocates<TModel>(TModel model)
        where TModel : ICausalLanguageModel<TModel>
    {
        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2, Batch = 4 });
        int[] prompt = [1, 2, 3], tokens = [3, -1, 5, 6], order = [2, 3, 0, 0];
        Assert.Equal(0, Allocated.Least(() =>
        {
            session.Reset();
            session.Prefill(1, prompt);
            session.Decode(tokens);
            session.Reset(2);
            session.Reorder(order);
            session.Decode(tokens);
        }));
    }

    /// <summary>Sequences of different lengths that go on together, stand still in turns, and begin anew, beside sessions of one.</summary>
    private static void Check<TModel>(IReadOnlyList<ParameterInfo> parameters, int batch, int threads)
        where TModel : ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create(seed: 5);
        foreach (ParameterInfo parameter in parameters)
        {
            // Biases begin as zeros, and are to be told apart.
            var random = new Random(parameter.Name.Length);
            foreach (ref float weight in model.Parameter(parameter.Name))
            {
                weight = (weight * 2) + (0.2f * (random.NextSingle() - 0.5f));
            }
        }

        using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads, Batch = batch });
        CausalSession[] single = [.. Enumerable.Range(0, batch).Select(_ => model.CreateSession(new SessionOptions { Threads = 1 }))];
        try
        {
            Assert.Equal(batch, session.Batch);
            var random = new Random(7);
            float[][] expected = [.. single.Select(s => new float[s.VocabularySize])];
            int Draw() => random.Next(session.VocabularySize);
            void Fill(int row)
            {
                int[] prompt = [.. Enumerable.Range(0, Math.Min(2 + (3 * row), session.ContextLength > 0 ? session.ContextLength - single[row].Position : 20)).Select(_ => Draw())];
                expected[row] = single[row].Prefill(prompt).ToArray();
                Assert.Equal(expected[row], session.Prefill(row, prompt).ToArray());
            }

            for (int row = 1; row < batch; row++)
            {
                Fill(row);
            }

            for (int step = 0; step < 60; step++)
            {
                int[] tokens = [.. Enumerable.Range(0, batch).Select(row => (step + row) % 5 == 0 && step > 4 ? -1 : Draw())];
                for (int row = 0; row < batch; row++)
                {
                    if (session.ContextLength > 0 && single[row].Position == session.ContextLength)
                    {
                        // The end of its context: refused as long as it is to go on, and begun anew while the others stay.
                        if (tokens[row] >= 0)
                        {
                            int[] positions = [.. session.Positions];
                            Assert.Contains($"sequence {row}", Assert.Throws<InvalidOperationException>(() => session.Decode(tokens)).Message, StringComparison.Ordinal);
                            Assert.Equal(positions, session.Positions);
                        }

                        session.Reset(row);
                        single[row].Reset();
                        Fill(row);
                    }
                }

                if (step == 20)
                {
                    session.Reset(batch - 1);
                    single[batch - 1].Reset();
                }

                for (int row = 0; row < batch; row++)
                {
                    if (tokens[row] >= 0)
                    {
                        expected[row] = single[row].Decode(tokens[row]).ToArray();
                    }
                }

                float[] logits = session.Decode(tokens).ToArray();
                for (int row = 0; row < batch; row++)
                {
                    Assert.Equal(expected[row], logits.AsSpan(row * session.VocabularySize, session.VocabularySize).ToArray());
                }

                Assert.Equal(single.Select(s => s.Position), session.Positions);
            }
        }
        finally
        {
            foreach (CausalSession one in single)
            {
                one.Dispose();
            }
        }
    }
}
