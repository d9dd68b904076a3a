using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Products that store their results in the panels of the one that reads them.</summary>
public sealed class PassedPanelsTests
{
    /// <summary>A ragged last panel, columns that fill no whole group, a single narrow panel, and rows that would collide in the cache if they were stored as such.</summary>
    [Theory]
    [InlineData(128, 128, 768, 384)]
    [InlineData(48, 128, 780, 200)]
    [InlineData(16, 64, 768, 384)]
    [InlineData(144, 128, 1024, 384)]
    public void Results_are_passed_in_panels(int rows, int depth, int hidden, int columns)
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("two", b => [Linear(b, "y", Hidden(b, OperatorCases.Parameter(b, "x", rows, depth), hidden), columns)]).Graph);
        Assert.Equal([(true, false), (false, true)], Passes(graph));
        foreach (BufferPlacement placement in new[] { BufferPlacement.RedZones, BufferPlacement.Planned })
        {
            KernelCheck.Compare(new KernelCase("two", graph, CaseData.Random(graph, 7), 2e-4), GraphFunction.Compile([graph], placement, CacheSizes.Default)[0]);
        }
    }

    /// <summary>A run of fewer rows has fewer panels, and a narrower last one.</summary>
    [Fact]
    public void Any_number_of_rows_is_passed()
    {
        var b = new GraphBuilder();
        Value x = b.Add(new Input("x", TensorType.Float(Shape.Of(Dim.Time(128), 64)), 0), "x");
        b.Output("y", Linear(b, "y", Hidden(b, x, 768), 384));
        ModelGraph graph = KernelCases.Prepare(b.Build());
        Assert.Equal([(true, false), (false, true)], Passes(graph));
        GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.RedZones, CacheSizes.Default)[0];
        foreach (int time in new[] { 1, 17, 48, 63, 100, 128 })
        {
            RunArguments run = CaseData.Random(graph, time, time: time);
            KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run, threads: 2), 2e-4, $"{time} rows");
        }
    }

    /// <summary>What somebody else reads, what comes out, and what differs between rows is stored as it is; and so are rows that fill no whole vector.</summary>
    [Fact]
    public void Other_results_are_not_passed()
    {
        Value X(GraphBuilder b, int rows = 128) => OperatorCases.Parameter(b, "x", rows, 128);
        Func<GraphBuilder, IReadOnlyList<Value>>[] others =
        [
            b => Hidden(b, X(b), 768) is var h ? [Linear(b, "y", h, 384), Linear(b, "z", h, 384)] : [],
            b => Hidden(b, X(b), 768) is var h ? [Linear(b, "y", h, 384), h] : [],
            b => [Linear(b, "y", b.Add(new Add(), "residual", Hidden(b, X(b), 768), OperatorCases.Parameter(b, "r", 128, 768)), 384)],
            b => [Linear(b, "y", Hidden(b, X(b, rows: 100), 768), 384)],
        ];
        Assert.All(others, build => Assert.All(Passes(KernelCases.Prepare(OperatorCases.Case("other", b => [.. build(b)]).Graph)), p => Assert.Equal((false, false), p)));
    }

    // Of each product, at 512 bits, whether it stores and reads panels.
    private static IEnumerable<(bool Stores, bool Reads)> Passes(ModelGraph graph)
    {
        CpuProgram cpu = ModelCompiler.Target(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default), CacheSizes.Default, default);
        MatMulBlocking[] products = [.. cpu.Program.Kernels.OfType<MatMulKernel>().Select(k => ((ProductPlan)cpu.PlanOf(k)).Blocking(16))];
        Assert.All(products, p => Assert.Equal(MatMulDivision.Transposed, p.Division));
        return products.Select(p => (p.StoresPanels, p.ReadsPanels));
    }

    private static Value Hidden(GraphBuilder b, Value x, int columns) => b.Add(new Tanh(), "hidden", Linear(b, "in", x, columns));

    private static Value Linear(GraphBuilder b, string name, Value x, int columns)
        => b.Add(new Add(), name + "_biased", b.Add(new MatMul(MatMulForm.NT), name, x, OperatorCases.Parameter(b, name + "_w", columns, x.Type.Shape.Columns)), OperatorCases.Parameter(b, name + "_bias", columns));
}
