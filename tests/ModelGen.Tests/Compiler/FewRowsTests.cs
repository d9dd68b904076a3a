using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>Products of any number of rows, of which few are dot products: one row, those around the number at which the product changes over, and what many rows come to.</summary>
[Collection(SerialCollection.Name)]
public sealed class FewRowsTests
{
    private const int MostRows = 64;

    // Rows that are long and short, that fill no vector and vectors of some widths alone; columns that make no quarters and no whole pieces.
    private static readonly (int Depth, int Columns)[] Sizes = [(192, 400), (700, 97), (16, 4100), (129, 514), (64, 1100)];

    public static TheoryData<string> Formats => ["F32", "F16", "BF16"];

    [Theory]
    [MemberData(nameof(Formats))]
    public void Few_rows_are_what_many_are(string format) => Compare(format);

    /// <summary>The same at the other widths, each of which has a number of its own.</summary>
    [Theory]
    [InlineData("128")]
    [InlineData("256")]
    [InlineData("512")]
    public void Few_rows_are_what_many_are_at_every_vector_width(string bits) => ChildProcess.RunCheck(CompareAll, [("MODELGEN_VECTOR_BITS", bits)]);

    /// <summary>The number follows from shapes and formats: what costs more to unpack is unpacked for more rows, and a run that cannot bring more has no other way.</summary>
    [Fact]
    public void The_number_of_few_rows_follows_from_the_format()
    {
        int[] Of(string format, int rows = MostRows, int depth = 2048) => Plan(Product(Dim.Time(rows), depth, 512), format) is var plan && plan.IsDotProducts ? [.. RegisterTile.Products.Select(_ => rows)] : [.. plan.FewRows ?? []];
        int[] single = Of("F32"), half = Of("F16"), upper = Of("BF16");
        Assert.All(RegisterTile.Products.Select((_, i) => (Single: single[i], Half: half[i], Upper: upper[i])), f => Assert.True(f.Single >= 1 && f.Half > f.Single && f.Upper > f.Single, f.ToString()));
        Assert.All(half, n => Assert.InRange(n, 1, MostRows - 1));
        Assert.True(Plan(Product(Dim.Time(half.Min()), 2048, 512), "F16").IsDotProducts);
        Assert.False(Plan(Product(Dim.Time(half.Max() + 1), 2048, 512), "F16").IsDotProducts);
        Assert.Null(Plan(Product(Dim.Time(MostRows), 15, 8000), "F32").FewRows);
        Assert.Null(Plan(Product(Dim.Time(MostRows), 64, 512), "F32").FewRows);
        Assert.Null(Plan(Product(MostRows, 2048, 512), "F32").FewRows);
    }

    /// <summary>A product that stores panels and the one that reads them take the same rows for few, whatever each would take by itself.</summary>
    [Fact]
    public void Products_that_pass_panels_change_over_together()
    {
        var b = new GraphBuilder();
        Value x = b.Add(new Input("x", TensorType.Float(Shape.Of(Dim.Time(128), 128)), 0), "x");
        Value hidden = b.Add(new Tanh(), "hidden", b.Add(new MatMul(MatMulForm.NT), "in", x, OperatorCases.Parameter(b, "w", 768, 128)));
        b.Output("y", b.Add(new MatMul(MatMulForm.NT), "out", hidden, OperatorCases.Parameter(b, "v", 384, 768)));
        ModelGraph graph = KernelCases.Prepare(b.Build());
        ProductPlan[] plans = Plans(graph, []);
        Assert.True(plans[0].Blocking(16).StoresPanels && plans[1].Blocking(16).ReadsPanels);
        Assert.Equal(plans[0].FewRows, plans[1].FewRows);
        int few = plans[0].FewRows!.Max();
        Assert.True(few > 0);
        GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.Guarded, CacheSizes.Default)[0];
        foreach (int rows in new[] { 1, few, few + 1 })
        {
            RunArguments run = CaseData.Random(graph, rows, time: rows);
            KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run, threads: 2), 2e-4, $"{rows} rows");
        }
    }

    [Check]
    private static void CompareAll()
    {
        foreach (string format in new[] { "F32", "F16", "BF16" })
        {
            Compare(format);
        }
    }

    private static void Compare(string format)
    {
        foreach ((int depth, int columns) in Sizes)
        {
            ModelGraph graph = Product(Dim.Time(MostRows), depth, columns);
            int[] few = [.. Assert.IsAssignableFrom<IReadOnlyList<int>>(Plan(graph, format).FewRows)];
            GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.Guarded, CacheSizes.Default, FormatsOf(format))[0];
            RunArguments all = CaseData.Random(graph, depth, time: MostRows);
            if (format != "F32")
            {
                all.Parameters["w"] = GraphFunction.Stored(Stored(format), all.Parameters["w"]);
            }

            double[] many = function.Run(all).Outputs["y"].Data;
            foreach (int rows in few.SelectMany(n => new[] { 1, 2, n - 1, n, n + 1 }).Where(n => n > 0).Distinct())
            {
                string title = FormattableString.Invariant($"{format}: {rows} rows of {depth} x {columns}");
                RunArguments run = CaseData.Random(graph, depth, time: rows);
                run.Parameters["w"] = all.Parameters["w"];
                run.Parameters["bias"] = all.Parameters["bias"];
                foreach (string input in new[] { "x", "residual" })
                {
                    run.Inputs[input] = Tensor.Filled([rows, input == "x" ? depth : columns], i => all.Inputs[input].Data[i]);
                }

                RunResults alone = function.Run(run);
                KernelCheck.Near(ReferenceInterpreter.Run(graph, run), alone, 2e-4, title);
                double[] found = alone.Outputs["y"].Data;
                double largest = found.Max(Math.Abs);
                Assert.All(found.Select((value, i) => Math.Abs(value - many[i])), difference => Assert.True(difference <= 1e-5 * largest, title));
                Assert.Equal(found, function.Run(run, threads: 3).Outputs["y"].Data);
            }
        }
    }

    private static ModelGraph Product(Dim rows, int depth, int columns)
    {
        var b = new GraphBuilder();
        Value Rows(string name, int width) => b.Add(new Input(name, TensorType.Float(Shape.Of(rows, width)), 0), name);
        Value biased = b.Add(new Add(), "biased", b.Add(new MatMul(MatMulForm.NT), "product", Rows("x", depth), OperatorCases.Parameter(b, "w", columns, depth)), OperatorCases.Parameter(b, "bias", columns));
        b.Output("y", b.Add(new Add(), "sum", b.Add(new Tanh(), "activated", biased), Rows("residual", columns)));
        return KernelCases.Prepare(b.Build());
    }

    private static ProductPlan Plan(ModelGraph graph, string format) => Assert.Single(Plans(graph, FormatsOf(format)));

    private static ProductPlan[] Plans(ModelGraph graph, Dictionary<string, StorageFormat> formats)
    {
        CpuProgram cpu = ModelCompiler.Target(ModelCompiler.Kernels(graph, ModelLayout.Of([graph], formats: formats), default), CacheSizes.Default, default);
        return [.. cpu.Program.Kernels.OfType<MatMulKernel>().Select(k => (ProductPlan)cpu.PlanOf(k))];
    }

    private static Dictionary<string, StorageFormat> FormatsOf(string format) => format == "F32" ? [] : new() { ["w"] = Stored(format) };

    private static StorageFormat Stored(string format) => format == "F16" ? StorageFormat.Float16 : StorageFormat.BFloat16;
}
