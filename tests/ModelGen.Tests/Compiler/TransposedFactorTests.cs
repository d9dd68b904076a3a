using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>Products of transposes, which other forms of product read where they lie.</summary>
public sealed class TransposedFactorTests
{
    [Theory]
    [InlineData("NN", true, false, "TN")]
    [InlineData("TN", true, false, "NN")]
    [InlineData("NT", false, true, "NN")]
    [InlineData("NN", false, true, "NT")]
    public void The_transpose_of_a_factor_is_not_copied(string form, bool first, bool second, string expected)
    {
        foreach ((int rows, int depth, int columns) in new[] { (3, 5, 7), (17, 9, 33), (40, 16, 8) })
        {
            KernelCase c = Case($"{form} {rows}x{depth}x{columns}", Enum.Parse<MatMulForm>(form), first, second, rows, depth, columns);
            MatMulKernel kernel = Assert.IsType<MatMulKernel>(Assert.Single(ModelCompiler.Kernels(c.Graph, ModelLayout.Of(c.Graph), default).Kernels));
            Assert.Equal((Enum.Parse<MatMulForm>(expected), rows, depth, columns), (kernel.Form, kernel.Rows.Maximum, kernel.Depth, kernel.Columns));
            KernelCheck.Compare(c, GraphFunction.Compile([c.Graph], BufferPlacement.RedZones)[0]);
        }
    }

    /// <summary>Of two transposes, one is taken as it is.</summary>
    [Theory]
    [InlineData("NN")]
    [InlineData("NT")]
    [InlineData("TN")]
    public void One_of_two_transposes_is_copied(string form)
    {
        KernelCase c = Case(form, Enum.Parse<MatMulForm>(form), true, true, 17, 9, 33);
        Assert.Equal(2, ModelCompiler.Kernels(c.Graph, ModelLayout.Of(c.Graph), default).Kernels.Count);
        KernelCheck.Compare(c, GraphFunction.Compile([c.Graph], BufferPlacement.RedZones)[0]);
    }

    /// <summary>Columns of a transpose are rows of what it looks at, some elements apart.</summary>
    [Fact]
    public void Some_columns_of_a_transpose_are_read_where_they_lie()
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("slices", b =>
        {
            Value columns = b.Add(new SliceColumns(2, 9), "columns", b.Add(new Permute([1, 0]), "transpose", b.Add(new SliceColumns(1, 17), "slice", OperatorCases.Parameter(b, "a", 12, 20))));
            return [b.Add(new Tanh(), "y", b.Add(new MatMul(MatMulForm.NN), "product", columns, OperatorCases.Parameter(b, "b", 9, 33)))];
        }).Graph);
        Assert.Equal(MatMulForm.TN, Assert.IsType<MatMulKernel>(Assert.Single(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default).Kernels)).Form);
        KernelCheck.Compare(new KernelCase("slices", graph, CaseData.Random(graph, 1)), GraphFunction.Compile([graph], BufferPlacement.RedZones)[0]);
    }

    private static KernelCase Case(string name, MatMulForm form, bool first, bool second, int rows, int depth, int columns)
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case(name, b =>
        {
            Value Factor(string factor, bool isTransposed, int height, int width)
                => isTransposed ? b.Add(new Permute([1, 0]), factor + ".transpose", OperatorCases.Parameter(b, factor, width, height)) : OperatorCases.Parameter(b, factor, height, width);
            Value x = form == MatMulForm.TN ? Factor("a", first, depth, rows) : Factor("a", first, rows, depth);
            Value w = form == MatMulForm.NT ? Factor("b", second, columns, depth) : Factor("b", second, depth, columns);
            return [b.Add(new Tanh(), "y", b.Add(new Add(), "biased", b.Add(new MatMul(form), "product", x, w), OperatorCases.Parameter(b, "bias", columns)))];
        }).Graph);
        return new KernelCase(name, graph, CaseData.Random(graph, name.Length));
    }
}
