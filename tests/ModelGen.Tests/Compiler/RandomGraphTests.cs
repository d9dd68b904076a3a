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

    private static void Check(int first, bool differentiable, bool dynamic)
    {
        var failures = new List<string>();
        int[] seeds = [.. Enumerable.Range(first, Batch)];
        ModelGraph[] sources = [.. seeds.Select(s => RandomGraphs.Build(s, differentiable, dynamic))];
        ModelGraph[] graphs = new ModelGraph[Batch];
        for (int i = 0; i < Batch; i++)
        {
            ModelGraph source = GradientCheck.Verified(sources[i], "construction");
            graphs[i] = GradientCheck.Verified(differentiable ? KernelCases.PrepareTraining(GradientCheck.WithLoss(source)) : KernelCases.Prepare(source), "the passes");
        }

        foreach (BufferPlacement placement in new[] { BufferPlacement.RedZones, BufferPlacement.Planned })
        {
            GraphFunction?[] functions = CompileAll(graphs, placement, (i, problem) => failures.Add(Describe(i, placement, problem)));
            for (int i = 0; i < Batch; i++)
            {
                if (functions[i] is not { } function)
                {
                    continue;
                }

                try
                {
                    Compare(graphs[i], function, seeds[i], differentiable, dynamic);
                }
                catch (Exception e) when (e is Xunit.Sdk.XunitException or InvalidOperationException)
                {
                    failures.Add(Describe(i, placement, e.Message));
                }
            }
        }

        Assert.True(failures.Count == 0, string.Join("\n\n", failures));

        string Describe(int i, BufferPlacement placement, string problem)
            => string.Create(CultureInfo.InvariantCulture, $"seed {seeds[i]}, {placement}: {problem}\n{GraphPrinter.Print(sources[i])}");
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

            return functions;
        }
    }

    private static void Compare(ModelGraph graph, GraphFunction function, int seed, bool differentiable, bool dynamic)
    {
        int longest = graph.Nodes.SelectMany(n => n.Outputs).SelectMany(t => t.Shape.Dims).Where(d => d.Symbol == ExtentNames.Time).Select(d => d.Maximum).DefaultIfEmpty(1).Max();
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
