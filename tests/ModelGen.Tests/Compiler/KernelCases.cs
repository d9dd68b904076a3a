using System.Globalization;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>A graph that is ready to be lowered, and with which contents of its leaves it runs.</summary>
internal sealed record KernelCase(string Name, ModelGraph Graph, RunArguments Run, double Tolerance = 2e-5)
{
    public override string ToString() => Name;
}

/// <summary>The graphs of which emitted code is compared with the reference interpreter.</summary>
internal static class KernelCases
{
    private static readonly Lazy<IReadOnlyDictionary<string, KernelCase>> ForwardTable = new(() => Operators(backward: false).Concat(Rounded()).Concat(Sizes()).Concat(Ranges(backward: false)).ToDictionary(c => c.Name));
    private static readonly Lazy<IReadOnlyDictionary<string, KernelCase>> BackwardTable = new(() => Operators(backward: true).Concat(FamilySteps()).Concat(Ranges(backward: true)).ToDictionary(c => c.Name));

    public static IReadOnlyDictionary<string, KernelCase> Forward => ForwardTable.Value;

    public static IReadOnlyDictionary<string, KernelCase> Backward => BackwardTable.Value;

    /// <summary>What the compiler does to a forward graph before it lowers it.</summary>
    public static ModelGraph Prepare(ModelGraph graph) => Simplify.Run(ScanMotion.Run(Simplify.Run(RemoveStopGradient.Run(ExpandComposites.Run(graph)))));

    /// <summary>What the compiler does to a bound training graph before it lowers it.</summary>
    public static ModelGraph PrepareTraining(ModelGraph graph)
        => ModelCompiler.TrainingGraph(ExpandComposites.BeforeDifferentiation(graph), "loss", _ => true, default);

    private static IEnumerable<KernelCase> Operators(bool backward)
    {
        foreach (OperatorCase c in OperatorCases.All.Values)
        {
            if (backward && !c.HasGradient)
            {
                continue;
            }

            ModelGraph graph = backward ? GradientCheck.WithLoss(c.Graph) : c.Graph;
            yield return new KernelCase(c.Name, backward ? PrepareTraining(graph) : Prepare(graph), CaseData.Random(graph, 21, position: graph.NodesOf<AppendState>().Any() ? 4 : 0));
        }
    }

    /// <summary>Attention over key ranges that are drawn, at sizes around those of vectors and register tiles, and single queries by every algorithm.</summary>
    private static IEnumerable<KernelCase> Ranges(bool backward)
    {
        var random = new Random(11);
        KeyRange[] plain = [.. OperatorCases.Ranges(cached: false)], cached = [.. OperatorCases.Ranges(cached: true)];
        (int Heads, int KeyHeads, int HeadDim)[] shapes = [(2, 2, 4), (8, 4, 8), (4, 4, 16), (2, 1, 19), (3, 3, 33), (1, 1, 64), (2, 2, 1), (16, 16, 4)];
        foreach (int size in new[] { 1, 2, 7, 15, 16, 17, 31, 33, 49, 63, 64, 65, 97 })
        {
            for (int draw = 0; draw < (backward ? 4 : 6); draw++)
            {
                (int heads, int keyHeads, int headDim) = shapes[random.Next(shapes.Length)];
                bool isCached = !backward && draw % 2 == 1;
                KeyRange range = (isCached ? cached : plain)[random.Next((isCached ? cached : plain).Length)];
                int queries = isCached ? draw == 1 ? 1 : 1 + random.Next(Math.Min(size, 20)) : size, keys = !isCached ? size : size + 30;
                if (!isCached && draw == 4)
                {
                    (queries, keys, range) = (1, size, new KeyRange { HasKeyLengths = true, HasQueryLengths = random.Next(2) == 0 });
                }

                range = range.Window is null or 4 ? range with { Window = range.Window is null ? null : 1 + random.Next(isCached ? 10 : size) } : range;
                ScoreBias? bias = random.Next(2) == 0 ? null : OperatorCases.Biases[random.Next(OperatorCases.Biases.Count)];
                var op = new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), range) { Bias = bias, SoftCap = bias is null && draw % 3 > 0 ? 0.7 : 0 };
                string name = $"attention over t={queries} k={keys} {op.Attributes} #{size} {draw}";
                ModelGraph graph = OperatorCases.Case(name, b => [OperatorCases.Attend(b, op, 1 + random.Next(3), queries, keys)]).Graph;
                graph = backward ? GradientCheck.WithLoss(graph) : graph;
                yield return new KernelCase(name, backward ? PrepareTraining(graph) : Prepare(graph), CaseData.Random(graph, name.Length + size, position: isCached ? random.Next(keys - queries + 1) : 0), 5e-5);
            }
        }
    }

    /// <summary>Attention over caches that are not single precision: of one query and of several, over rows in order, at each sequence's position, in rings and among other sequences' states.</summary>
    private static IEnumerable<KernelCase> Rounded()
    {
        KeyRange[] ranges = [.. OperatorCases.Ranges(cached: true)];
        int number = 0;
        foreach (ModelGen.Compiler.CacheFormat format in new[] { ModelGen.Compiler.CacheFormat.F16, ModelGen.Compiler.CacheFormat.Q8_0 })
        {
            foreach (KeyRange range in ranges)
            {
                (int heads, int keyHeads, int headDim) = (number % 4) switch { 0 => (4, 2, 32), 1 => (2, 2, 64), 2 => format == ModelGen.Compiler.CacheFormat.F16 ? (4, 4, 4) : (3, 1, 32), _ => format == ModelGen.Compiler.CacheFormat.F16 ? (4, 2, 19) : (4, 4, 96) };
                foreach (int queries in new[] { 1, 5 })
                {
                    ScoreBias? bias = number % 3 == 0 ? OperatorCases.Biases[number % OperatorCases.Biases.Count] : null;
                    var op = new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), range) { Bias = bias, SoftCap = bias is null && number % 5 == 0 ? 0.7 : 0 };
                    yield return Of($"attention over {format} q={queries} {op.Attributes} #{number}", format, b => [OperatorCases.Attend(b, op, 1 + (number % 3), queries, 37)], number % 2 == 0 ? 7 : 20);
                    number++;
                }
            }

            foreach (int? window in new int?[] { null, 3 })
            {
                var op = new Attention(4, 2, 32, 0.3, new KeyRange { IsCausal = true, Window = window, IsRing = window is not null, IsCached = true, HasSequences = true, HasPositions = true });
                yield return Of($"attention over {format} of sequences {op.Attributes}", format, b =>
                {
                    Value sequences = OperatorCases.Indices(b, "sequences", 5, 3), positions = OperatorCases.Indices(b, "positions", 13, 3);
                    Value Caches(string name) => b.Add(new ScatterRows { IsRing = window is not null }, name, b.Add(new SequenceStates(name, Shape.Of(5, 13, 64)), name), OperatorCases.Parameter(b, "new_" + name, 3, 1, 64), sequences, positions);
                    return [b.Add(op, "y", OperatorCases.Parameter(b, "q", 3, 1, 128), Caches("k"), Caches("v"), sequences, positions)];
                }, 0);
            }
        }

        KernelCase Of(string name, ModelGen.Compiler.CacheFormat format, Func<GraphBuilder, IEnumerable<Value>> build, int position)
        {
            ModelGraph graph = Prepare(OperatorCases.Case(name, build).Graph);
            Assert.Equal(2, CacheFormats.Of([graph], format).Count);
            return new KernelCase(name, graph, CaseData.Random(graph, name.Length, position: position) with { Cache = format }, 5e-5);
        }
    }

    private static IEnumerable<KernelCase> FamilySteps()
    {
        foreach (string name in Families.All.Keys)
        {
            ModelGraph graph = Families.Training(name);
            yield return new KernelCase(name, PrepareTraining(graph), CaseData.Random(graph, 22), 1e-4);
        }
    }

    /// <summary>The kernel classes at sizes around those of vectors and register tiles.</summary>
    private static IEnumerable<KernelCase> Sizes()
    {
        int[] ragged = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 64, 65, 97];
        var random = new Random(5);
        int Any() => ragged[random.Next(ragged.Length)];
        foreach (int size in ragged)
        {
            foreach ((int rows, int columns) in new[] { (size, Any()), (Any(), size) })
            {
                yield return Of($"rows {rows}x{columns} #{size}", b =>
                {
                    Value x = OperatorCases.Parameter(b, "x", rows, columns);
                    Value normal = b.Add(new LayerNorm(1e-5), "norm", x, OperatorCases.Parameter(b, "gamma.positive", columns), OperatorCases.Parameter(b, "beta", columns));
                    return [b.Add(new Add(), "residual", x, b.Add(new Gelu(), "gelu", normal)), b.Add(new RowMax(), "max", x)];
                });
                yield return Of($"column sums {rows}x{columns} #{size}", b =>
                    [b.Add(new ColumnSum(Shape.Of(columns)), "sum", b.Add(new Tanh(), "t", OperatorCases.Parameter(b, "x", rows, columns)))]);
                yield return Of($"cross-entropy {rows}x{columns} #{size}", b =>
                    [b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(), "rows", OperatorCases.Parameter(b, "x", rows, columns), OperatorCases.Indices(b, "targets", columns, rows)))]);
                yield return Of($"embedding {rows}x{columns} #{size}", b =>
                    [b.Add(new Embedding(), "e", OperatorCases.Parameter(b, "table", 13, columns), OperatorCases.Indices(b, "indices", 13, rows))]);
                yield return Of($"embedding gradient {rows}x{columns} #{size}", b =>
                    [b.Add(new EmbeddingGradient(13), "e", OperatorCases.Indices(b, "indices", 13, rows), OperatorCases.Parameter(b, "d", rows, columns))]);
                yield return Of($"transposed indices {rows}x{columns} #{size}", b =>
                    [b.Add(new Embedding(), "e", OperatorCases.Parameter(b, "table", 13, 3), b.Add(new TransposeIndices(), "t", OperatorCases.Indices(b, "indices", 13, rows, columns)))]);
            }

            foreach (MatMulForm form in Enum.GetValues<MatMulForm>())
            {
                foreach ((int m, int k, int n) in new[] { (size, Any(), Any()), (Any(), size, Any()), (Any(), Any(), size) })
                {
                    yield return Of($"matmul {form} {m}x{k}x{n} #{size}", b =>
                    {
                        Value x = form == MatMulForm.TN ? OperatorCases.Parameter(b, "a", k, m) : OperatorCases.Parameter(b, "a", m, k);
                        Value w = form == MatMulForm.NT ? OperatorCases.Parameter(b, "b", n, k) : OperatorCases.Parameter(b, "b", k, n);
                        Value product = b.Add(new MatMul(form), "product", x, w);
                        return [b.Add(new Tanh(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", n))), product];
                    });
                }
            }

            if (size <= 65)
            {
                int headDim = new[] { 1, 4, 8, 16, 19, 33 }[random.Next(6)];
                int heads = 1 + random.Next(3);
                yield return Of($"attention causal t={size} d={headDim} h={heads}", b =>
                    [b.Add(new Attention(heads, heads, headDim, 1 / Math.Sqrt(headDim), KeyRange.Causal), "y", OperatorCases.Parameter(b, "q", 2, size, heads * headDim), OperatorCases.Parameter(b, "k", 2, size, heads * headDim), OperatorCases.Parameter(b, "v", 2, size, heads * headDim))]);

                // Narrow heads of a single query share vectors where they fill them.
                (int narrow, int several) = (random.Next(2) == 0 ? 4 : 8, 2 + random.Next(5));
                yield return Of($"attention q=1 k={size} d={narrow} h={several}", b =>
                    [b.Add(new Attention(several, several, narrow, 0.5, KeyRange.All), "y", OperatorCases.Parameter(b, "q", 2, 1, several * narrow), OperatorCases.Parameter(b, "k", 2, size, several * narrow), OperatorCases.Parameter(b, "v", 2, size, several * narrow))]);

                // Few and narrow heads of a single query lie in the lanes of one vector.
                int few = new[] { 4, 8, 16 }[random.Next(3)];
                int keyHeads = 1 << random.Next(4), group = 1 << random.Next(keyHeads == 8 ? 2 : 3);
                yield return Of($"attention q=1 k={size} d={few} h={keyHeads * group}/{keyHeads}", b =>
                    [b.Add(new Attention(keyHeads * group, keyHeads, few, 0.5, KeyRange.All), "y", OperatorCases.Parameter(b, "q", 3, 1, keyHeads * group * few), OperatorCases.Parameter(b, "k", 3, size, keyHeads * few), OperatorCases.Parameter(b, "v", 3, size, keyHeads * few))]);
                int keys = Any();
                yield return Of($"attention q={size} k={keys} d={headDim}", b =>
                    [b.Add(new Attention(2, 1, headDim, 1 / Math.Sqrt(headDim), KeyRange.All), "y", OperatorCases.Parameter(b, "q", 1, size, 2 * headDim), OperatorCases.Parameter(b, "k", 1, keys, headDim), OperatorCases.Parameter(b, "v", 1, keys, headDim))]);
            }
        }

        // Few rows meet many weights: the transpose is computed, in groups of columns of which the last may be shorter at any width.
        foreach ((int m, int n) in new[] { (9, 40), (5, 57), (13, 68) })
        {
            yield return Of($"matmul NT {m}x40x{n}, in groups", b =>
                [b.Add(new Tanh(), "activated", b.Add(new MatMul(MatMulForm.NT), "product", OperatorCases.Parameter(b, "a", m, 40), OperatorCases.Parameter(b, "b", n, 40)))]);
        }

        KernelCase Of(string name, Func<GraphBuilder, IEnumerable<Value>> build)
        {
            ModelGraph graph = OperatorCases.Case(name, build).Graph;
            return new KernelCase(name, Prepare(graph), CaseData.Random(graph, name.Length), 5e-5);
        }
    }
}

/// <summary>Compares emitted code with the reference interpreter.</summary>
internal static class KernelCheck
{
    /// <summary>Cases of one compilation.</summary>
    private const int Batch = 64;

    // All are compiled together: kernels are the same wherever buffers lie.
    private static readonly BufferPlacement[] Placements = Enum.GetValues<BufferPlacement>();

    private static readonly Lazy<Dictionary<(string, bool, BufferPlacement), Lazy<GraphFunction>>> Functions = new(AllFunctions);

    public static void Run(string name, bool backward, params BufferPlacement[] placements)
    {
        KernelCase c = (backward ? KernelCases.Backward : KernelCases.Forward)[name];
        RunResults expected = ReferenceInterpreter.Run(c.Graph, c.Run);
        foreach (BufferPlacement placement in placements)
        {
            Compare(c, Functions.Value[(name, backward, placement)].Value, expected);
        }
    }

    /// <summary>Runs a function on one thread, against the interpreter, and on several, which must change nothing.</summary>
    public static void Compare(KernelCase c, GraphFunction function) => Compare(c, function, ReferenceInterpreter.Run(c.Graph, c.Run));

    /// <summary>Runs a function on one thread, against what is expected, and on several, which must change nothing.</summary>
    public static void Compare(KernelCase c, GraphFunction function, RunResults expected)
    {
        string name = c.Name;
        RunResults actual = function.Run(c.Run);
        Near(expected, actual, c.Tolerance, name);
        for (int threads = 2; threads <= 3; threads++)
        {
            GradientCheck.Same(actual, function.Run(c.Run, threads), 0, $"{name} on {threads} threads");
        }

        if (expected.Gradients.Count > 0)
        {
            Near(expected.Gradients.ToDictionary(g => g.Key, g => Twice(g.Value)), function.Run(c.Run, 2, accumulateInto: actual.Gradients).Gradients, c.Tolerance, name + ", accumulated");
        }
    }

    private static Dictionary<(string, bool, BufferPlacement), Lazy<GraphFunction>> AllFunctions()
    {
        var functions = new Dictionary<(string, bool, BufferPlacement), Lazy<GraphFunction>>();
        foreach (bool backward in new[] { false, true })
        {
            foreach (KernelCase[] batch in (backward ? KernelCases.Backward : KernelCases.Forward).Values.Chunk(Batch))
            {
                var compiled = new Lazy<Dictionary<BufferPlacement, GraphFunction[]>>(() =>
                    GraphFunction.Compile([.. batch.Select(c => c.Graph)], Placements, states: [.. batch.Select(c => c.Run.Cache)], isKept: true));
                foreach ((int index, KernelCase c) in batch.Index())
                {
                    foreach (BufferPlacement placement in Placements)
                    {
                        functions.Add((c.Name, backward, placement), new Lazy<GraphFunction>(() => OneOf(compiled, index, c, placement)));
                    }
                }
            }
        }

        return functions;
    }

    // Where a batch does not compile, the test of the case that does not says so by itself; what compiles alone must compile with others too.
    private static GraphFunction OneOf(Lazy<Dictionary<BufferPlacement, GraphFunction[]>> batch, int index, KernelCase c, BufferPlacement placement)
    {
        try
        {
            return batch.Value[placement][index];
        }
        catch (Exception e) when (e is GraphException or InvalidOperationException)
        {
            GraphFunction.Compile([c.Graph], placement, states: [c.Run.Cache]);
            throw new InvalidOperationException($"It compiles alone, and not among others: {e.Message}");
        }
    }

    public static void Near(RunResults expected, RunResults actual, double tolerance, string what)
    {
        Near(expected.Outputs, actual.Outputs, tolerance, what + ": output");
        Near(expected.Gradients, actual.Gradients, tolerance, what + ": gradient");
        Near(expected.State, actual.State.Where(s => expected.State.ContainsKey(s.Key)).ToDictionary(), tolerance, what + ": state");
    }

    private static Tensor Twice(Tensor tensor) => new(tensor.Dims, [.. tensor.Data.Select(x => 2 * x)]);

    /// <summary>Errors are measured against the largest element: what cancels cannot be more exact than what it came from.</summary>
    private static void Near(Dictionary<string, Tensor> expected, Dictionary<string, Tensor> actual, double tolerance, string what)
    {
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        foreach ((string name, Tensor tensor) in expected)
        {
            double largest = tensor.Data.Max(x => Math.Abs(x));
            GradientCheck.Near(tensor, actual[name], tolerance * Math.Max(1, largest), 0, $"{what} {name}");
        }
    }
}
