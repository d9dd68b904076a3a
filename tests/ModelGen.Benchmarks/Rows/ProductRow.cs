using ModelGen.Benchmarks.Measuring;
using ModelGen.Generated;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>
/// The matrix products of GPT-2's training step, as emitted for <see cref="Gpt2Products"/>, each alone. With inputs X (256 × in), weights
/// W (out × in) and gradients Y (256 × out): X·Wᵀ forward, Y·W for the inputs' gradient, Yᵀ·X for the weights'.
/// </summary>
internal static unsafe class ProductRow
{
    private const int Rows = 256;

    private delegate void Emitted(FloatBlock left, FloatBlock right, FloatBlock result, FloatBlock workspace, Worker worker);

    // How often each appears in the step: once in every layer, and the vocabulary head once.
    private static readonly Product[] s_products =
    [
        new(768, 2304, 12,
            static (x, w, y, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Linear_256x768x2304(x.Pointer, w.Pointer, y.Pointer, worker),
            static (y, w, x, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Multiply_256x2304x768(y.Pointer, w.Pointer, x.Pointer, worker),
            static (y, x, w, s, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Contract_2304x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
        new(768, 768, 12,
            static (x, w, y, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Linear_256x768x768(x.Pointer, w.Pointer, y.Pointer, worker),
            static (y, w, x, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Multiply_256x768x768(y.Pointer, w.Pointer, x.Pointer, worker),
            static (y, x, w, s, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Contract_768x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
        new(768, 3072, 12,
            static (x, w, y, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Linear_256x768x3072(x.Pointer, w.Pointer, y.Pointer, worker),
            static (y, w, x, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Multiply_256x3072x768(y.Pointer, w.Pointer, x.Pointer, worker),
            static (y, x, w, s, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Contract_3072x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
        new(3072, 768, 12,
            static (x, w, y, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Linear_256x3072x768(x.Pointer, w.Pointer, y.Pointer, worker),
            static (y, w, x, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Multiply_256x768x3072(y.Pointer, w.Pointer, x.Pointer, worker),
            static (y, x, w, s, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Contract_768x256x3072(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
        new(768, 50257, 1,
            static (x, w, y, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Linear_256x768x50257(x.Pointer, w.Pointer, y.Pointer, worker),
            static (y, w, x, _, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Multiply_256x50257x768(y.Pointer, w.Pointer, x.Pointer, worker),
            static (y, x, w, s, worker) => ModelGen_Benchmarks_Gpt2Products_Kernels.Contract_50257x256x768(y.Pointer, x.Pointer, w.Pointer, s.Pointer, false, worker)),
    ];

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.02);
        using var inputs = new FloatBlock(Rows * 3072);
        using var outputs = new FloatBlock(Rows * 50257);
        using var weights = new FloatBlock(768 * 50257);
        using var workspace = new FloatBlock(Gpt2Products.TrainingArenaBytes / sizeof(float));
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using var team = new WorkerTeam(threads, Gpt2Products.WorkerScratchBytes);
            foreach (Product product in s_products)
            {
                double flops = 2.0 * Rows * product.Inputs * product.Outputs;
                Measurement New(string kind, double[] seconds) => new()
                {
                    Row = "matmul",
                    Case = FormattableString.Invariant($"{kind} {product.Inputs}→{product.Outputs}"),
                    Threads = threads,
                    Flops = flops,
                    Seconds = seconds,
                    Values = { ["count"] = product.Count },
                };
                yield return New("forward", Stopclock.Run(own, team, worker => product.Forward(inputs, weights, outputs, workspace, worker)));
                yield return New("input gradient", Stopclock.Run(own, team, worker => product.InputGradient(outputs, weights, inputs, workspace, worker)));
                yield return New("weight gradient", Stopclock.Run(own, team, worker => product.WeightGradient(outputs, inputs, weights, workspace, worker)));
            }
        }
    }

    private sealed record Product(int Inputs, int Outputs, int Count, Emitted Forward, Emitted InputGradient, Emitted WeightGradient);
}
