using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>What is emitted for a device, for every operator and every family's step, forwards and backwards, against the reference interpreter.</summary>
public sealed class PtxKernelTests
{
    /// <summary>What an operator in single precision on a device may be away from double precision, of the largest element where that is above one.</summary>
    internal const double Exact = 1e-5;

    public static TheoryData<string> Forward => [.. KernelCases.Forward.Keys];

    [Theory]
    [MemberData(nameof(Forward))]
    public void A_device_computes_what_the_graph_means(string name) => Check(KernelCases.Forward[name] with { Tolerance = Exact });

    /// <summary>Every barrier is there for something, and the machine says so where one is missing.</summary>
    [Theory]
    [InlineData("rows 1x1500")]
    [InlineData("sums 70x40")]
    [InlineData("product 70x33x90")]
    [InlineData("embedding 300x7")]
    public void A_barrier_that_is_left_out_is_found(string name)
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case(name, b => name[0] switch
        {
            'r' => [b.Add(new LayerNorm(1e-5), "y", OperatorCases.Parameter(b, "x", 1, 1500), OperatorCases.Parameter(b, "gamma.positive", 1500))],
            'e' => [b.Add(new EmbeddingGradient(13), "y", OperatorCases.Indices(b, "indices", 13, 300), OperatorCases.Parameter(b, "d", 300, 7))],
            's' => [b.Add(new ColumnSum(Shape.Of(40)), "y", OperatorCases.Parameter(b, "x", 70, 40))],
            _ => [b.Add(new MatMul(MatMulForm.NN), "y", OperatorCases.Parameter(b, "a", 70, 33), OperatorCases.Parameter(b, "b", 33, 90))],
        }).Graph);
        RunArguments run = CaseData.Random(graph, 3);
        int barriers = PtxFunction.Compile(graph).Module.Split("\tbar.sync 0;\n").Length - 1;
        Assert.True(barriers > 0);
        int found = 0;
        for (int i = 0; i < barriers; i++)
        {
            int left = i;
            PtxFunction function = PtxFunction.Compile(graph, module =>
            {
                string[] parts = module.Split("\tbar.sync 0;\n");
                return string.Concat(parts.Select((part, j) => j == parts.Length - 1 ? part : j == left ? part : part + "\tbar.sync 0;\n"));
            });
            PtxException fault = Assert.Throws<PtxException>(() => function.Run(run));
            found += fault.Message.Contains("shared memory", StringComparison.Ordinal) ? 1 : 0;
        }

        Assert.Equal(barriers, found);
    }

    /// <summary>Prompts of families whose layers are recurrences, however narrow their heads: each recurrence is one launch, which goes on from what the session holds, and no loop of launches is left.</summary>
    [Theory]
    [InlineData("gated delta rule")]
    [InlineData("gated delta rule alone")]
    [InlineData("granite")]
    [InlineData("mamba2")]
    [InlineData("state space of bounded steps")]
    public void Recurrences_of_prompts_are_one_launch(string family)
    {
        ModelSpec spec = Families.All[family];
        ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
        EntryPoint entry = program.Entries.Single(e => e.Name == "Prefill");
        ModelGraph graph = ModelCompiler.InferenceGraph(entry, entry.Build(), program.Caches, default, isOfDevice: true);
        PtxFunction function = PtxFunction.Compile(graph);
        Assert.Contains("Recurrence_", function.Module, StringComparison.Ordinal);
        Assert.Empty(function.Device.Steps.OfType<CudaLoop>());
        foreach (int steps in new[] { 1, entry.Time.Maximum })
        {
            RunArguments run = CaseData.Random(graph, steps, time: steps);
            RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
            KernelCheck.Near(expected, actual, 1e-4, $"{family}, {steps} steps");
            GradientCheck.Same(actual, function.Run(run), 0, family);
        }
    }

    /// <summary>Many rows go to few of a table, over several windows of indices, parts of the table and blocks of columns: sums are those in the order of the rows, bit for bit.</summary>
    [Theory]
    [InlineData(700, 130, 300)]
    [InlineData(257, 64, 7)]
    [InlineData(1, 200, 1)]
    public void Gradients_of_an_embedding_are_summed_in_order(int rows, int tableRows, int columns)
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("embedding gradient", b =>
            [b.Add(new EmbeddingGradient(tableRows), "e", OperatorCases.Indices(b, "indices", tableRows, rows), OperatorCases.Parameter(b, "d", rows, columns))]).Graph);
        RunArguments run = CaseData.Random(graph, rows);
        Tensor indices = run.Inputs.Values.Single(), d = run.Parameters.Values.Single();
        for (int i = 0; i < rows; i++)
        {
            // Half of them are one token's, in long runs and alone.
            indices.Data[i] = i % 7 < 3 ? tableRows - 1 : indices.Data[i];
        }

        float[] expected = new float[tableRows * columns];
        for (int i = 0; i < rows * columns; i++)
        {
            expected[((int)indices.Data[i / columns] * columns) + (i % columns)] += (float)d.Data[i];
        }

        PtxFunction function = PtxFunction.Compile(graph);
        Assert.Equal(expected, function.Run(run).Outputs.Values.Single().Data.Select(x => (float)x));

        // In proportion to the rows: each is added once, and each part of the table reads all indices once, 256 at a time.
        int parts = (tableRows + 63) / 64, windows = (rows + 255) / 256, blocks = (columns + 255) / 256;
        Assert.InRange(function.Executed, 1, 30L * ((256L * blocks * (rows + (8 * windows * parts))) + ((tableRows + 1) * columns)));
    }

    internal static void Check(KernelCase c, PtxFunction? compiled = null)
    {
        PtxFunction function = compiled ?? PtxFunction.CompileStored(c.Graph, cache: c.Run.Cache);
        RunResults expected = ReferenceInterpreter.Run(c.Graph, c.Run), actual = function.Run(c.Run);
        KernelCheck.Near(expected, actual, c.Tolerance, c.Name);
        GradientCheck.Same(actual, function.Run(c.Run), 0, $"{c.Name}, once more");
        if (expected.Gradients.Count > 0)
        {
            RunResults twice = function.Run(c.Run, actual.Gradients);
            foreach ((string name, Tensor gradient) in expected.Gradients)
            {
                double largest = gradient.Data.Max(Math.Abs);
                GradientCheck.Near(new Tensor(gradient.Dims, [.. gradient.Data.Select(x => 2 * x)]), twice.Gradients[name], c.Tolerance * Math.Max(1, 2 * largest), 0, $"{c.Name}: gradient {name}, accumulated");
            }
        }
    }
}

/// <summary>As <see cref="PtxKernelTests"/>, the gradients: a class of their own, so that both run at the same time.</summary>
public sealed class PtxGradientTests
{
    public static TheoryData<string> Backward => [.. KernelCases.Backward.Keys];

    [Theory]
    [MemberData(nameof(Backward))]
    public void A_devices_gradients_are_those_of_the_graph(string name)
    {
        // Whole steps of random weights make more of what each kernel rounds.
        KernelCase c = KernelCases.Backward[name];
        PtxKernelTests.Check(Families.All.ContainsKey(name) ? c : c with { Tolerance = PtxKernelTests.Exact });
    }
}
