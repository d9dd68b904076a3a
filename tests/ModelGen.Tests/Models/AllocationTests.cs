using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Models;

/// <summary>Nothing is allocated on the managed heap, by any thread, while a model generates, trains or samples.</summary>
[Collection(SerialCollection.Name)]
public sealed class AllocationTests
{
    [Fact]
    public void Gpt_inference() => Inference<TiedGpt>();

    [Fact]
    public void Lstm_inference() => Inference<LstmLm>();

    [Fact]
    public void Gru_inference() => Inference<GruLm>();

    [Fact]
    public void Rnn_inference() => Inference<RnnLm>();

    [Fact]
    public void Quantized_inference() => Inference<Q8Decoder>();

    [Fact]
    public void Quantized_inference_of_unpacked_groups() => Inference<Q51Decoder>();

    // A prompt of several chunks, the last of which is not filled.
    [Fact]
    public void Chunked_inference() => Inference<ChunkedDecoder>([.. Enumerable.Range(0, 101).Select(i => i * 7 % 43)]);

    [Fact]
    public void Gpt_training() => Training<TiedGpt>();

    [Fact]
    public void Gpt_training_with_dropout() => Training<DropoutGpt>();

    [Fact]
    public void Lstm_training() => Training<LstmLm>();

    [Fact]
    public void Gru_training() => Training<GruLm>();

    [Fact]
    public void Rnn_training() => Training<RnnLm>();

    [Fact]
    public void Mlp()
    {
        CrossEntropyMlp model = CrossEntropyMlp.Create();
        float[] inputs = new float[5 * 13];
        int[] targets = [0, 1, 2, 3, 6];
        float[] outputs = new float[5 * 7];
        using FeedForwardSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        using ClassifierTrainer trainer = model.CreateTrainer(new AdamW { GradientClip = 1 }, new TrainerOptions { Threads = 2 });
        RequireNone("Predict", () => session.Predict(inputs, outputs));
        RequireNone("Step", () => trainer.Step(inputs, targets));
        RequireNone("Evaluate", () => trainer.Evaluate(inputs, targets));
    }

    [Fact]
    public void Sampling()
    {
        float[] logits = [.. Enumerable.Range(0, 97).Select(i => MathF.Sin(i))];
        Sampler greedy = new(new SamplingOptions { Temperature = 0 }, logits.Length);
        Sampler nucleus = new(new SamplingOptions { Temperature = 0.8f, TopK = 40, TopP = 0.9f, Seed = 3 }, logits.Length);
        RequireNone("greedy", () => greedy.Sample(logits));
        RequireNone("top-k and top-p", () => nucleus.Sample(logits));
    }

    [Fact]
    public void What_is_measured_sees_every_thread()
    {
        // The measurement itself is tested: a worker that allocates must be noticed.
        using SemaphoreSlim work = new(0);
        using SemaphoreSlim done = new(0);
        bool stop = false;
        object? kept = null;
        Thread other = new(() =>
        {
            while (true)
            {
                work.Wait();
                if (Volatile.Read(ref stop))
                {
                    return;
                }

                Volatile.Write(ref kept, new byte[100]);
                done.Release();
            }
        });
        other.Start();
        long allocated = Measure(() =>
        {
            work.Release();
            done.Wait();
        });
        Volatile.Write(ref stop, true);
        work.Release();
        other.Join();
        Assert.InRange(allocated, 100, long.MaxValue);
        GC.KeepAlive(kept);
    }

    private static void Inference<TModel>(int[]? tokens = null)
        where TModel : ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create();
        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        int[] prompt = tokens ?? [1, 2, 3, 4, 5, 6, 7];
        RequireNone("Prefill and Decode", () =>
        {
            session.Reset();
            session.Prefill(prompt);
            for (int i = 0; i < 5; i++)
            {
                session.Decode(i);
            }
        });
    }

    private static void Training<TModel>()
        where TModel : ITrainableLanguageModel<TModel>
    {
        TModel model = TModel.Create();
        int size = TModel.TrainingBatchSize * TModel.TrainingSequenceLength;
        int[] inputs = new int[2 * size];
        int[] targets = new int[2 * size];
        using TokenTrainer trainer = model.CreateTrainer(
            new AdamW { LearningRate = 1e-4f, GradientClip = 1, Schedule = new WarmupCosine(3, 100, 0.1f) },
            new TrainerOptions { Threads = 2, AccumulationSteps = 2 });
        RequireNone("Step", () => trainer.Step(inputs, targets));
        RequireNone("Evaluate", () => trainer.Evaluate(inputs.AsSpan(0, size), targets.AsSpan(0, size)));
        using TokenTrainer momentum = model.CreateTrainer(new Sgd { LearningRate = 1e-4f, Momentum = 0.9f }, new TrainerOptions { Threads = 3 });
        RequireNone("Step with momentum", () => momentum.Step(inputs.AsSpan(0, size), targets.AsSpan(0, size)));
    }

    private static void RequireNone(string what, Action action)
    {
        long allocated = Measure(action);
        Assert.True(allocated == 0, $"{what}: {allocated} bytes were allocated by a call.");
    }

    /// <summary>
    /// The bytes that a call allocates on all threads. The runner's own threads may allocate at any moment, and the JIT does so
    /// once: what a call itself allocates is allocated in every round, so the least of several rounds is taken.
    /// </summary>
    private static long Measure(Action action)
    {
        for (int i = 0; i < 40; i++)
        {
            action();
        }

        long least = long.MaxValue;
        for (int round = 0; round < 12 && least != 0; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            action();
            action();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
        }

        return least;
    }
}
