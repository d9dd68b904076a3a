using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>
/// The matrix products of GPT-2's training step, as emitted for <see cref="Gpt2Products"/>, each alone. With inputs X (256 × in), weights
/// W (out × in) and gradients Y (256 × out): X·Wᵀ forward, Y·W for the inputs' gradient, Yᵀ·X for the weights'.
/// </summary>
internal static unsafe class ProductRow
{
    private const int Rows = 256;

    private delegate void Kernel(FloatBlock left, FloatBlock right, FloatBlock result, FloatBlock workspace, Worker worker);

    private static readonly string[] s_kinds = ["forward", "input gradient", "weight gradient"];

    // How often each appears in the step: once in every layer, and the vocabulary head once.
    private static readonly Product[] s_products = Simd.Use512 ? Emitted<F512>.All : Simd.Use256 ? Emitted<F256>.All : Emitted<F128>.All;

    /// <summary>The names of all products.</summary>
    public static IEnumerable<string> Names => s_products.SelectMany(static product => s_kinds.Select(kind => Name(kind, product)));

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.02);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using var team = new WorkerTeam(threads, Gpt2Products.WorkerScratchBytes);
            foreach (string name in Names)
            {
                using var workload = new Workload(name);
                yield return new Measurement
                {
                    Row = "matmul",
                    Case = name,
                    Threads = threads,
                    Flops = workload.Flops,
                    Seconds = Stopclock.Run(own, team, workload.Execute),
                    Values = { ["count"] = workload.Count },
                };
            }
        }
    }

    // The kernels' vectors are a type argument.
    private static class Emitted<V>
        where V : struct, IVector<V>
    {
        public static readonly Product[] All =
        [
            new(768, 2304, 12,
                static (x, w, y, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Linear_256x768x2304(x.Pointer, w.Pointer, y.Pointer, s.Pointer, worker),
                static (y, w, x, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Multiply_256x2304x768(y.Pointer, w.Pointer, x.Pointer, s.Pointer, worker),
                static (y, x, w, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Contract_2304x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
            new(768, 768, 12,
                static (x, w, y, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Linear_256x768x768(x.Pointer, w.Pointer, y.Pointer, s.Pointer, worker),
                static (y, w, x, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Multiply_256x768x768(y.Pointer, w.Pointer, x.Pointer, s.Pointer, worker),
                static (y, x, w, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Contract_768x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
            new(768, 3072, 12,
                static (x, w, y, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Linear_256x768x3072(x.Pointer, w.Pointer, y.Pointer, s.Pointer, worker),
                static (y, w, x, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Multiply_256x3072x768(y.Pointer, w.Pointer, x.Pointer, s.Pointer, worker),
                static (y, x, w, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Contract_3072x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
            new(3072, 768, 12,
                static (x, w, y, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Linear_256x3072x768(x.Pointer, w.Pointer, y.Pointer, s.Pointer, worker),
                static (y, w, x, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Multiply_256x768x3072(y.Pointer, w.Pointer, x.Pointer, s.Pointer, worker),
                static (y, x, w, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Contract_768x256x3072(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
            new(768, 50257, 1,
                static (x, w, y, s, worker) => Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Linear_256x768x50257(x.Pointer, w.Pointer, y.Pointer, s.Pointer, worker),
                HeadInputGradient,
                HeadWeightGradient),
        ];

        // The gradients of so large a layer are emitted in blocks of rows.
        private static void HeadInputGradient(FloatBlock y, FloatBlock w, FloatBlock x, FloatBlock workspace, Worker worker)
        {
            for (int row = 0; row < Rows; row += 128)
            {
                Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Multiply_128x50257x768(y.Pointer + (row * 50257L), w.Pointer, x.Pointer + (row * 768L), workspace.Pointer, worker);
                worker.Barrier();
            }
        }

        private static void HeadWeightGradient(FloatBlock y, FloatBlock x, FloatBlock w, FloatBlock workspace, Worker worker)
        {
            for (int row = 0; row < Rows; row += 128)
            {
                Generated.ModelGen_Benchmarks_Gpt2Products_Code.Kernels<V>.Contract_50257x128x768(y.Pointer + (row * 50257L), x.Pointer + (row * 768L), w.Pointer, workspace.Pointer, row > 0, worker);
                worker.Barrier();
            }
        }
    }

    private static string Name(string kind, Product product) => FormattableString.Invariant($"{kind} {product.Inputs}→{product.Outputs}");

    /// <summary>One product with its operands.</summary>
    internal sealed class Workload : ITeamTask, IDisposable
    {
        private readonly FloatBlock _left;
        private readonly FloatBlock _right;
        private readonly FloatBlock _result;
        private readonly FloatBlock _workspace = new(Gpt2Products.TrainingArenaBytes / sizeof(float));
        private readonly Kernel _emitted;

        public Workload(string name)
        {
            Product product = s_products.First(p => s_kinds.Any(kind => Name(kind, p) == name));
            int kind = Array.FindIndex(s_kinds, k => Name(k, product) == name);
            long inputs = (long)Rows * product.Inputs, outputs = (long)Rows * product.Outputs, weights = (long)product.Inputs * product.Outputs;
            (long left, long right, long result, _emitted) = kind switch
            {
                0 => (inputs, weights, outputs, product.Forward),
                1 => (outputs, weights, inputs, product.InputGradient),
                _ => (outputs, inputs, weights, product.WeightGradient),
            };
            _left = new FloatBlock(left);
            _right = new FloatBlock(right);
            _result = new FloatBlock(result);
            Flops = 2.0 * Rows * product.Inputs * product.Outputs;
            Count = product.Count;
        }

        public double Flops { get; }

        /// <summary>How often a training step has it.</summary>
        public int Count { get; }

        public void Execute(Worker worker) => _emitted(_left, _right, _result, _workspace, worker);

        public void Dispose()
        {
            _left.Dispose();
            _right.Dispose();
            _result.Dispose();
            _workspace.Dispose();
        }
    }

    private sealed record Product(int Inputs, int Outputs, int Count, Kernel Forward, Kernel InputGradient, Kernel WeightGradient);
}
