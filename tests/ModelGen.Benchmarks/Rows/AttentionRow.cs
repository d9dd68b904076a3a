using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>The emitted attention and its gradient, one after the other; queries, keys and values lie side by side, as a model has them.</summary>
internal static unsafe class AttentionRow
{
    private const int Batch = 4;
    private const int Width = 768;
    private const int Heads = 12;

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.1);
        foreach (int threads in settings.ThreadCounts(2))
        {
            foreach (int length in new[] { 64, 256, 1024 })
            {
                using var workload = new Workload(length);
                using var team = new WorkerTeam(threads, workload.ScratchBytes);
                yield return new Measurement
                {
                    Row = "attention",
                    Case = FormattableString.Invariant($"T {length}"),
                    Threads = threads,
                    Flops = Flops(Batch, length, Width),
                    Seconds = Stopclock.Run(own, team, workload.Execute),

                    // Of a whole model with one layer of this attention.
                    Values = { ["arena bytes a position"] = (double)workload.ArenaBytes / (Batch * length) },
                };
            }
        }
    }

    /// <summary>
    /// The floating-point operations of causal attention over all heads: two products forward, five backward (the scores are formed
    /// again), each over half of the square.
    /// </summary>
    public static double Flops(double batch, double length, double width) => 7 * batch * length * (length + 1) * width;

    /// <summary>Forward and backward over sequences of one length, with their operands.</summary>
    internal sealed class Workload(int length) : ITeamTask, IDisposable
    {
        private readonly Buffers _buffers = new((long)Batch * length);

        public long ScratchBytes => length switch
        {
            64 => Attention64.WorkerScratchBytes,
            256 => Attention256.WorkerScratchBytes,
            _ => Attention1024.WorkerScratchBytes,
        };

        public long ArenaBytes => length switch
        {
            64 => Attention64.TrainingArenaBytes,
            256 => Attention256.TrainingArenaBytes,
            _ => Attention1024.TrainingArenaBytes,
        };

        public void Execute(Worker worker)
        {
            if (Simd.Use512)
            {
                Execute<F512>(worker);
            }
            else if (Simd.Use256)
            {
                Execute<F256>(worker);
            }
            else
            {
                Execute<F128>(worker);
            }
        }

        private void Execute<V>(Worker worker)
            where V : struct, IVector<V>
        {
            switch (length)
            {
                case 64:
                    Emitted64<V>(_buffers, worker);
                    break;
                case 256:
                    Emitted256<V>(_buffers, worker);
                    break;
                case 1024:
                    Emitted1024<V>(_buffers, worker);
                    break;
                default:
                    throw new InvalidOperationException(FormattableString.Invariant($"No attention over {length} positions is declared."));
            }
        }

        public void Dispose() => _buffers.Dispose();
    }

    private static void Emitted64<V>(Buffers b, Worker worker)
        where V : struct, IVector<V>
    {
        Generated.ModelGen_Benchmarks_Attention64_Code.Kernels<V>.Attention_4x64_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, worker);
        worker.Barrier();
        Generated.ModelGen_Benchmarks_Attention64_Code.Kernels<V>.AttentionGradient_4x64_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, b.OutputGradient, b.Dq, b.Dk, b.Dv, worker);
    }

    private static void Emitted256<V>(Buffers b, Worker worker)
        where V : struct, IVector<V>
    {
        Generated.ModelGen_Benchmarks_Attention256_Code.Kernels<V>.Attention_4x256_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, worker);
        worker.Barrier();
        Generated.ModelGen_Benchmarks_Attention256_Code.Kernels<V>.AttentionGradient_4x256_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, b.OutputGradient, b.Dq, b.Dk, b.Dv, worker);
    }

    private static void Emitted1024<V>(Buffers b, Worker worker)
        where V : struct, IVector<V>
    {
        Generated.ModelGen_Benchmarks_Attention1024_Code.Kernels<V>.Attention_4x1024_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, worker);
        worker.Barrier();
        Generated.ModelGen_Benchmarks_Attention1024_Code.Kernels<V>.AttentionGradient_4x1024_12x64(b.Q, b.K, b.V, b.Output, b.LogSumExp, b.OutputGradient, b.Dq, b.Dk, b.Dv, worker);
    }

    private sealed class Buffers(long positions) : IDisposable
    {
        private readonly FloatBlock _values = new(positions * 3 * Width);
        private readonly FloatBlock _gradients = new(positions * 3 * Width);
        private readonly FloatBlock _output = new(positions * Width);
        private readonly FloatBlock _outputGradient = new(positions * Width);
        private readonly FloatBlock _logSumExp = new(positions * Heads);

        public float* Q => _values.Pointer;

        public float* K => _values.Pointer + Width;

        public float* V => _values.Pointer + (2 * Width);

        public float* Output => _output.Pointer;

        public float* LogSumExp => _logSumExp.Pointer;

        public float* OutputGradient => _outputGradient.Pointer;

        public float* Dq => _gradients.Pointer;

        public float* Dk => _gradients.Pointer + Width;

        public float* Dv => _gradients.Pointer + (2 * Width);

        public void Dispose()
        {
            _values.Dispose();
            _gradients.Dispose();
            _output.Dispose();
            _outputGradient.Dispose();
            _logSumExp.Dispose();
        }
    }
}
