using System.Globalization;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Random graphs through the whole compiler against the reference interpreter: this is where fusion, ordering and the memory
/// plan are tested, which single operators do not exercise. The variable <c>MODELGEN_RANDOM_GRAPHS</c> sets how many of each kind.
/// </summary>
public sealed class RandomGraphTests
{
    private const int Batch = 12;

    private static int Count => int.TryParse(Environment.GetEnvironmentVariable("MODELGEN_RANDOM_GRAPHS"), CultureInfo.InvariantCulture, out int count) ? count : 3 * Batch;

    public static TheoryData<int> Batches => [.. Enumerable.Range(0, (Count + Batch - 1) / Batch).Select(i => i * Batch)];

    [Theory]
    [MemberData(nameof(Batches))]
    public void Forward_graphs(int first) => Check(first, differentiable: false, dynamic: false);

    [Theory]
    [MemberData(nameof(Batches))]
    public void Training_graphs(int first) => Check(first, differentiable: true, dynamic: false);

    [Theory]
    [MemberData(nameof(Batches))]
    public void Graphs_over_any_number_of_time_steps(int first) => Check(first, differentiable: false, dynamic: true);

    /// <summary>Every operator that there is stands in some random graph, as it is built or as the compiler's passes make it; what does not is named here, with the reason.</summary>
    [Fact]
    public void Every_operator_is_drawn()
    {
        var excused = new Dictionary<Type, string>
        {
            [typeof(AttentionWeights)] = "reads the log-sum-exp of an attention beside it, in entry points that hand weights out alone: AlignmentTests",
            [typeof(SequenceStates)] = "a pass makes it of the states of one sequence, for entry points of several: BatchedSessionTests",
            [typeof(ScatterRows)] = "a pass makes it of the state updates of one sequence, for entry points of several: BatchedSessionTests",
            [typeof(TransposeIndices)] = "gives integers, which nothing else that is drawn makes: OperatorCases",
            [typeof(Route)] = "gives integers, which the products of experts alone take: OperatorCases, and declarations with experts",
            [typeof(ExpertMatMul)] = "takes what is routed: OperatorCases, and declarations with experts",
            [typeof(ExpertWeightGradient)] = "is the gradient of ExpertMatMul",
            [typeof(BalanceLoss)] = "expands to what is drawn: OperatorCases",
            [typeof(AttentionSinks)] = "expands to what is drawn: OperatorCases",
            [typeof(Clamp)] = "has corners where differences are no derivatives: OperatorCases, and declarations with limited gates",
            [typeof(ColumnIndices)] = "gives integers, which the chunks of recurrences alone take: OperatorCases",
            [typeof(LinearRecurrence)] = "expands to what is drawn: OperatorCases",
            [typeof(ChunkedRecurrence)] = "a pass makes it of a linear recurrence: OperatorCases, and declarations with recurrent layers",
            [typeof(Softmax)] = "is drawn as what it expands to",
            [typeof(SquaredError)] = "expands to what is drawn: OperatorCases",
            [typeof(BinaryCrossEntropy)] = "expands to what is drawn: OperatorCases",
            [typeof(MeanLoss)] = "expands to what is drawn: OperatorCases",
        };
        var drawn = new HashSet<Type>();
        for (int seed = 0; seed < 250; seed++)
        {
            ModelGraph streamed = RandomGraphs.Build(new Random(seed), differentiable: false, dynamic: true), trained = RandomGraphs.Build(new Random(seed), differentiable: true, dynamic: false);
            foreach (ModelGraph graph in new[] { streamed, KernelCases.Prepare(streamed), trained, KernelCases.PrepareTraining(GradientCheck.WithLoss(trained)) })
            {
                Note(graph);
            }
        }

        Type[] never = [.. typeof(Operator).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(Operator)) && !t.IsAbstract && !drawn.Contains(t))];
        Assert.Equal(excused.Keys.Select(t => t.Name).Order(), never.Select(t => t.Name).Order());

        void Note(ModelGraph graph)
        {
            foreach (Node node in graph.Nodes)
            {
                drawn.Add(node.Op.GetType());
                if (node.Op is Scan scan)
                {
                    Note(scan.Body);
                }
            }
        }
    }

    /// <summary>Graphs are compiled together, which is quicker; one that fails is then made smaller alone.</summary>
    private static void Check(int first, bool differentiable, bool dynamic)
    {
        int[] seeds = [.. Enumerable.Range(first, Batch)];
        string?[] problems = Problems([.. seeds.Select(seed => (RandomGraphs.Build(new Random(seed), differentiable, dynamic), seed))], differentiable, dynamic);
        string[] failures = [.. seeds.Zip(problems).Where(pair => pair.Second is not null).Select((pair, nth) => nth > 0
            ? $"seed {pair.First} too: {pair.Second}"
            : RandomCase.Describe(pair.First, random => Problems([(RandomGraphs.Build(random, differentiable, dynamic), pair.First)], differentiable, dynamic)[0])
                ?? $"seed {pair.First}, only beside the others: {pair.Second}")];
        Assert.True(failures.Length == 0, string.Join("\n\n", failures));
    }

    /// <summary>What is wrong with each of some graphs, with the graph; null where nothing is.</summary>
    private static string?[] Problems((ModelGraph Source, int Seed)[] cases, bool differentiable, bool dynamic)
    {
        string?[] problems = new string?[cases.Length];
        ModelGraph?[] graphs = new ModelGraph?[cases.Length];
        for (int i = 0; i < cases.Length; i++)
        {
            try
            {
                ModelGraph source = GradientCheck.Verified(cases[i].Source, "construction");
                graphs[i] = GradientCheck.Verified(differentiable ? KernelCases.PrepareTraining(GradientCheck.WithLoss(source)) : KernelCases.Prepare(source), "the passes");
            }
            catch (Exception e) when (e is Xunit.Sdk.XunitException or GraphException)
            {
                Report(i, null, e.Message);
            }
        }

        foreach (BufferPlacement placement in new[] { BufferPlacement.RedZones, BufferPlacement.Planned })
        {
            int[] compiled = [.. Enumerable.Range(0, cases.Length).Where(i => graphs[i] is not null)];
            GraphFunction?[] functions = CompileAll([.. compiled.Select(i => graphs[i]!)], placement, (i, problem) => Report(compiled[i], placement, problem));
            foreach ((int i, GraphFunction? function) in compiled.Zip(functions))
            {
                if (function is null)
                {
                    continue;
                }

                try
                {
                    Compare(graphs[i]!, function, cases[i].Seed, differentiable, dynamic);
                }
                catch (Exception e) when (e is Xunit.Sdk.XunitException or InvalidOperationException)
                {
                    Report(i, placement, e.Message);
                }
            }
        }

        return problems;

        void Report(int i, BufferPlacement? placement, string problem) => problems[i] ??= $"{placement} {problem}\n{GraphPrinter.Print(cases[i].Source)}";
    }

    private static GraphFunction?[] CompileAll(ModelGraph[] graphs, BufferPlacement placement, Action<int, string> report)
    {
        try
        {
            return GraphFunction.Compile(graphs, placement);
        }
        catch (Exception e) when (e is GraphException or InvalidOperationException)
        {
            var functions = new GraphFunction?[graphs.Length];
            for (int i = 0; i < graphs.Length; i++)
            {
                try
                {
                    functions[i] = GraphFunction.Compile([graphs[i]], placement)[0];
                }
                catch (Exception alone) when (alone is GraphException or InvalidOperationException)
                {
                    report(i, alone.Message);
                }
            }

            if (functions.All(function => function is not null))
            {
                report(0, "Graphs compile alone, and not together: " + e.Message);
            }

            return functions;
        }
    }

    private static void Compare(ModelGraph graph, GraphFunction function, int seed, bool differentiable, bool dynamic)
    {
        int longest = graph.Nodes.SelectMany(n => n.Outputs).SelectMany(t => t.Shape.Dims).Where(d => d.Symbol == ExtentNames.Time).Select(d => d.Maximum - d.Plus).DefaultIfEmpty(1).Max();
        foreach (int time in dynamic ? new[] { 1, 1 + (seed % longest), longest } : [1])
        {
            int position = dynamic ? seed % 5 : 0;
            // Three extents that vary by themselves.
            var counts = new Dictionary<string, int> { ["S"] = 1 + ((seed + time) % 5) };
            RunArguments run = CaseData.Random(graph, seed, batch: 1 + ((seed + time) % 3), time: time, position: position, counts: counts);
            RunResults expected = ReferenceInterpreter.Run(graph, run);
            double largest = expected.Values.Values.SelectMany(v => v.Data).Select(Math.Abs).DefaultIfEmpty(0).Max();
            if (!(largest < 1e4))
            {
                // What single precision makes of such numbers says nothing about the compiler.
                continue;
            }

            RunResults actual = function.Run(run);
            KernelCheck.Near(expected, actual, 2e-4 * Math.Max(1, Math.Sqrt(largest)), "time " + time);
            GradientCheck.Same(actual, function.Run(run, threads: 3), 0, "on three threads");
            if (differentiable && expected.Gradients.Count > 0)
            {
                RunResults again = function.Run(run, threads: 2, accumulateInto: actual.Gradients);
                foreach ((string name, Tensor gradient) in actual.Gradients)
                {
                    GradientCheck.Near(new Tensor(gradient.Dims, [.. gradient.Data.Select(g => 2 * g)]), again.Gradients[name], 1e-5 * Math.Max(1, gradient.Data.Max(Math.Abs)), 0, "accumulated gradient " + name);
                }
            }
        }
    }
}
