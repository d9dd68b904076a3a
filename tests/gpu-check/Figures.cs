using System.Diagnostics;
using System.Text.Json;

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

/// <summary>A Llama of 110 million parameters whose weights stay packed.</summary>
[Decoder(Layers = 12, DModel = 768, Heads = 12, FeedForward = 2048, Vocab = 32000, Context = 1024, Weights = WeightFormat.Q8_0)]
[Cuda]
public partial class PackedDecode;

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

/// <summary>Two products of GPT-2's feed-forward layers over 16,384 rows.</summary>
[Mlp(768, 3072, 768, Activation = Activation.Gelu)]
[Trainable(BatchSize = 16384)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class TwoProducts;

/// <summary>Six of them.</summary>
[Mlp(768, 3072, 768, 3072, 768, 3072, 768, Activation = Activation.Gelu)]
[Trainable(BatchSize = 16384)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class SixProducts;

/// <summary>The two products by cuBLASLt, with what its calls leave to kernels.</summary>
[Mlp(768, 3072, 768, Activation = Activation.Gelu)]
[Trainable(BatchSize = 16384)]
[Cuda(Precision = CudaPrecision.BF16, Products = CudaProducts.CublasLt)]
public partial class TwoLibraryProducts;

/// <summary>The six by cuBLASLt.</summary>
[Mlp(768, 3072, 768, 3072, 768, 3072, 768, Activation = Activation.Gelu)]
[Trainable(BatchSize = 16384)]
[Cuda(Precision = CudaPrecision.BF16, Products = CudaProducts.CublasLt)]
public partial class SixLibraryProducts;

/// <summary>GPT-2's attention over 16 sequences of 1,024 tokens, and what is around it.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, Vocab = 64, Context = 1024)]
[Trainable(BatchSize = 16, SequenceLength = 1024)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class LongSequences;

/// <summary>The same tokens in sequences that are so short that attention is next to nothing.</summary>
[Gpt(Layers = 1, DModel = 768, Heads = 12, Vocab = 64, Context = 1024)]
[Trainable(BatchSize = 1024, SequenceLength = 16)]
[Cuda(Precision = CudaPrecision.BF16)]
public partial class ShortSequences;

/// <summary>The rows of the table, each with its target. Products and attention by themselves are differences of two steps.</summary>
internal static class Figures
{
    // What a figure may take of the three minutes that all of it has, but for what cannot be stopped: the making of its model.
    private static readonly TimeSpan s_most = TimeSpan.FromSeconds(6);
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
        report.Figure("decode GPT-2 124M, batch 1, context 256, bf16", "tokens/s", 5000, true, () =>
        {
            using Gpt2Small.Session session = Gpt2Small.Create(1).CreateSession(new SessionOptions { Device = s_device });
            session.Prefill(Ids(200, 50257, 1));
            return 1000 / Median(110, i => session.Decode(i));
        });
        report.Figure("decode GPT-2 124M's width as a decoder, batch 1, context 256, Q8_0 (no target)", "tokens/s", 0, true, () =>
        {
            using PackedDecode.Session session = PackedDecode.Create(1).CreateSession(new SessionOptions { Device = s_device });
            session.Prefill(Ids(200, 32000, 1));
            return 1000 / Median(110, i => session.Decode(i));
        });
        report.Figure("GPT-2 124M, B 4 x T 64, training step, bf16", "ms", 2.5, false, () => Step(Gpt2Small.Create(1).CreateTrainer(new AdamW(), On), 20, (t, i) => t.Step(Ids(256, 50257, i), Ids(256, 50257, i + 1))));
        report.Figure("GPT-2 124M, B 16 x T 1024, training step, bf16", "ms", 33.5, false, () => Step(Gpt2Large.Create(1).CreateTrainer(new AdamW(), On), 8, (t, i) => t.Step(Ids(16384, 50257, i), Ids(16384, 50257, i + 1))));
        report.Figure("products of 16,384 rows, 768 x 3,072 and back, forward and backward, with bias, GELU and its gradient, bf16 (cuBLAS without: 342 to 677)", "TFLOP/s", 500, true, () =>
        {
            float[] inputs = [.. Enumerable.Range(0, 16384 * 768).Select(i => MathF.Sin(i))];
            double two = Step(TwoProducts.Create(1).CreateTrainer(new Sgd(), On), 20, (t, i) => t.Step(inputs, Ids(16384, 768, i)));
            double six = Step(SixProducts.Create(1).CreateTrainer(new Sgd(), On), 20, (t, i) => t.Step(inputs, Ids(16384, 768, i)));
            return 4 * 3 * 2.0 * 16384 * 768 * 3072 / ((six - two) * 1e9);
        });
        report.Figure("the same by cuBLASLt, where it is installed (no target)", "TFLOP/s", 0, true, () =>
        {
            float[] inputs = [.. Enumerable.Range(0, 16384 * 768).Select(i => MathF.Sin(i))];
            double two = Step(ByLibrary(TwoLibraryProducts.Create(1).CreateTrainer(new Sgd(), On)), 20, (t, i) => t.Step(inputs, Ids(16384, 768, i)));
            double six = Step(ByLibrary(SixLibraryProducts.Create(1).CreateTrainer(new Sgd(), On)), 20, (t, i) => t.Step(inputs, Ids(16384, 768, i)));
            return 4 * 3 * 2.0 * 16384 * 768 * 3072 / ((six - two) * 1e9);
        });
        report.Figure("attention forward and backward, T 1024 less T 16, 12 heads of 64, 16,384 tokens, bf16", "ms", 0.9, false, () =>
        {
            double with = Step(LongSequences.Create(1).CreateTrainer(new Sgd(), On), 20, (t, i) => t.Step(Ids(16384, 64, i), Ids(16384, 64, i + 1)));
            return with - Step(ShortSequences.Create(1).CreateTrainer(new Sgd(), On), 20, (t, i) => t.Step(Ids(16384, 64, i), Ids(16384, 64, i + 1)));
        });

        // In processes of their own, the first of which may not find what the driver has assembled.
        foreach (bool isCached in (bool[])[false, true])
        {
            report.Figure($"start to first token, {(isCached ? "from the driver's cache" : "assembled by the driver")}", "s", isCached ? 0.5 : 2, false, () => InProcess(isCached, TimeSpan.FromSeconds(20)));
        }
    }

    /// <summary>What <see cref="Start"/> measures in another process; with the cache it is asked twice, and fills it first.</summary>
    private static double InProcess(bool isCached, TimeSpan limit)
    {
        double value = double.NaN;
        for (int run = isCached ? 0 : 1; run < 2; run++)
        {
            var start = new ProcessStartInfo(Environment.ProcessPath!, ["start"]) { RedirectStandardOutput = true };
            start.Environment["CUDA_CACHE_DISABLE"] = isCached ? "0" : "1";
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            if (!process.WaitForExit(limit))
            {
                process.Kill();
                throw new TimeoutException(FormattableString.Invariant($"it did not end within {limit.TotalSeconds} s"));
            }

            using JsonDocument json = JsonDocument.Parse(output.Result.Split('\n')[1]);
            Row row = Row.Read(json.RootElement);
            value = row.Failure is null ? row.Value : throw new InvalidOperationException(row.Failure);
        }

        return value;
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

    /// <summary>A trainer whose products are cuBLASLt's.</summary>
    /// <exception cref="NotSupportedException">They are not, or not all of them.</exception>
    private static TTrainer ByLibrary<TTrainer>(TTrainer trainer)
        where TTrainer : Trainer
    {
        if (trainer.Device.Limitations is [string limitation, ..])
        {
            trainer.Dispose();
            throw new NotSupportedException(limitation);
        }

        Console.Error.WriteLine(trainer.Device.ProductLibrary);
        return trainer;
    }

    private static double Step<TTrainer>(TTrainer trainer, int count, Func<TTrainer, int, float> step)
        where TTrainer : Trainer
    {
        using (trainer)
        {
            return Median(count, i => step(trainer, i));
        }
    }

    /// <summary>The median of so many calls in milliseconds, or of fewer where they take too long, after three that are not counted.</summary>
    private static double Median(int count, Action<int> call)
    {
        var times = new List<double>();
        var all = Stopwatch.StartNew();
        for (int i = 0; i < count + 3 && (i < 4 || all.Elapsed < s_most); i++)
        {
            long start = Stopwatch.GetTimestamp();
            call(i);
            if (i >= 3)
            {
                times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            }
        }

        times.Sort();
        return times[times.Count / 2];
    }

    private static int[] Ids(int count, int classes, int seed) => [.. Enumerable.Range(0, count).Select(i => (int)(((i + seed) * 7919L + ((long)i * i)) % classes))];
}
