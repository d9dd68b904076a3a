using System.Diagnostics;

namespace ModelGen.GpuCheck;

/// <summary>GPT-2 with 124 million parameters at the batch that PyTorch is measured with.</summary>
[Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)]
[Trainable(BatchSize = 16, SequenceLength = 1024)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class Gpt2Large;

/// <summary>The same with a batch that a launch costs more than.</summary>
[Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)]
[Trainable(BatchSize = 4, SequenceLength = 64)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class Gpt2Small;

/// <summary>The same in single precision, for tokens one by one.</summary>
[Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)]
[Cuda]
public partial class Gpt2Decode;

/// <summary>0.8 million parameters.</summary>
[Gpt(Layers = 4, DModel = 128, Heads = 4, Vocab = 65, Context = 64)]
[Trainable(BatchSize = 12, SequenceLength = 64)]
[Cuda(Precision = CudaPrecision.TF32)]
public partial class CharGpt;

/// <summary>Words by a recurrence.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Embedding = 512, Hidden = 512, Vocab = 10000)]
[Trainable(BatchSize = 32, SequenceLength = 35)]
[Cuda(Precision = CudaPrecision.TF32)]
public partial class WordLstm;

/// <summary>The rows of the table, each with its target; those that one model's step does not show (products and attention by themselves) are a profiler's.</summary>
internal static class Figures
{
    private static readonly Device s_device = Device.Cuda(0);

    public static void Run(Report report)
    {
        report.Figure("0.8M GPT, B 12 x T 64, training step", "ms", 0.3, false, () => Step(CharGpt.Create(1).CreateTrainer(new AdamW(), On), 50, (t, i) => t.Step(Ids(768, 65, i), Ids(768, 65, i + 1))));
        report.Figure("LSTM 2 x 512, B 32 x T 35, V 10,000, training step", "ms", 3, false, () => Step(WordLstm.Create(1).CreateTrainer(new AdamW(), On), 20, (t, i) => t.Step(Ids(1120, 10000, i), Ids(1120, 10000, i + 1))));
        report.Figure("decode GPT-2 124M, batch 1, context 256, f32", "tokens/s", 3000, true, () =>
        {
            using Gpt2Decode.Session session = Gpt2Decode.Create(1).CreateSession(new SessionOptions { Device = s_device });
            session.Prefill(Ids(200, 50257, 1));
            return 1000 / Median(110, i => session.Decode(i));
        });
        report.Figure("GPT-2 124M, B 4 x T 64, training step, bf16", "ms", 2.5, false, () => Step(Gpt2Small.Create(1).CreateTrainer(new AdamW(), On), 20, (t, i) => t.Step(Ids(256, 50257, i), Ids(256, 50257, i + 1))));
        report.Figure("GPT-2 124M, B 16 x T 1024, training step, bf16", "ms", 33.5, false, () => Step(Gpt2Large.Create(1).CreateTrainer(new AdamW(), On), 8, (t, i) => t.Step(Ids(16384, 50257, i), Ids(16384, 50257, i + 1))));
    }

    /// <summary>From the making of a session to the first token's logits: in a process of its own, as the driver keeps what it has assembled (CUDA_CACHE_DISABLE=1 forbids it).</summary>
    public static void Start(Report report)
    {
        Gpt2Decode model = Gpt2Decode.Create(1);
        bool cached = Environment.GetEnvironmentVariable("CUDA_CACHE_DISABLE") != "1";
        report.Figure($"start to first token, {(cached ? "from the driver's cache if it has been there before" : "assembled by the driver")}", "s", cached ? 0.5 : 2, false, () =>
        {
            var clock = Stopwatch.StartNew();
            using Gpt2Decode.Session session = model.CreateSession(new SessionOptions { Device = s_device });
            session.Decode(1);
            return clock.Elapsed.TotalSeconds;
        });
    }

    private static TrainerOptions On => new() { Seed = 1, Device = s_device };

    private static double Step<TTrainer>(TTrainer trainer, int count, Func<TTrainer, int, float> step)
        where TTrainer : Trainer
    {
        using (trainer)
        {
            return Median(count, i => step(trainer, i));
        }
    }

    /// <summary>The median of so many calls in milliseconds, after three that are not counted.</summary>
    private static double Median(int count, Action<int> call)
    {
        double[] times = new double[count];
        for (int i = -3; i < count; i++)
        {
            long start = Stopwatch.GetTimestamp();
            call(i + 3);
            if (i >= 0)
            {
                times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }
        }

        Array.Sort(times);
        return times[count / 2];
    }

    private static int[] Ids(int count, int classes, int seed) => [.. Enumerable.Range(0, count).Select(i => (int)(((i + seed) * 7919L + ((long)i * i)) % classes))];
}
