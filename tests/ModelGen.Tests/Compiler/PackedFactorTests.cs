using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Products with matrices whose numbers are stored in another format, as the input gradient of a frozen layer is: against the interpreter on what the stored numbers stand for.</summary>
public sealed class PackedFactorTests
{
    private static readonly (int Rows, int Depth, int Columns)[] Sizes = [(1, 16, 256), (5, 33, 512), (7, 300, 256), (64, 272, 768), (130, 700, 256), (3, 1000, 1280)];

    public static TheoryData<string> Formats => ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4", "Q5_K"];

    [Theory]
    [MemberData(nameof(Formats))]
    public void An_input_gradient_is_that_of_the_numbers_that_are_stored(string format)
    {
        var cases = new List<(KernelCase Case, ModelGraph Graph)>();
        foreach ((int rows, int depth, int columns) in Sizes)
        {
            foreach (int narrow in format is "Q4_K" or "Q5_K" or "Q6_K" ? new[] { columns } : [columns, columns - 160])
            {
                ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("packed", b =>
                {
                    Value x = OperatorCases.Parameter(b, "x", rows, depth);
                    return [b.Add(new Tanh(), "y", b.Add(new Add(), "biased", b.Add(new MatMul(MatMulForm.NN), "product", x, OperatorCases.Parameter(b, "w", depth, narrow)), OperatorCases.Parameter(b, "bias", narrow)))];
                }).Graph);
                cases.Add((new KernelCase(FormattableString.Invariant($"{format} {rows}x{depth}x{narrow}"), graph, CaseData.Random(graph, rows + depth), 2e-4), graph));
            }
        }

        foreach (CacheSizes caches in new[] { CacheSizes.Default, new CacheSizes(L1: 8 << 10, L2: 32 << 10, L3: 128 << 10) })
        {
            foreach ((KernelCase c, ModelGraph graph) in cases)
            {
                Parameter weight = graph.NodesOf<Parameter>().Select(n => (Parameter)n.Op).Single(p => p.ParameterName == "w");
                StorageFormat stored = Format(format, weight.Shape.Columns);

                // What is packed once more may be other numbers: the interpreter has those of the first time.
                Tensor given = c.Run.Parameters["w"];
                c.Run.Parameters["w"] = GraphFunction.Stored(stored, given);
                RunResults expected = ReferenceInterpreter.Run(graph, c.Run);
                c.Run.Parameters["w"] = given;
                GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.Guarded, caches, new Dictionary<string, StorageFormat> { ["w"] = stored })[0];
                Assert.Contains(function.Program.Kernels, k => k is MatMulKernel { Form: MatMulForm.NN } product && product.Operands[1].Access.Format.Name == format);
                KernelCheck.Compare(c, function, expected);
            }
        }
    }

    private static StorageFormat Format(string name, int columns)
    {
        ModelSpec spec = Families.Spec("Mlp", 1, 0, DeclaredArgument.Of("Sizes", [columns, columns]), DeclaredArgument.Of("Weights", (long)Enum.Parse<global::ModelGen.Compiler.WeightFormat>(name)));
        var b = new GraphBuilder();
        Value x = b.Add(new Input("x", TensorType.Float(Shape.Of(1, columns)), 0), "x");
        b.Output("y", b.Add(new MatMul(MatMulForm.NT), "y", x, b.Add(new Parameter("w", Shape.Of(2, columns), Initializer.Ones, true, false), "w")));
        return Assert.Single(global::ModelGen.Compiler.Passes.WeightFormats.Of([b.Build()], spec, [])).Value;
    }
}
