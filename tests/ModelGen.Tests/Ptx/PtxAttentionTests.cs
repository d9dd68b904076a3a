using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Tests.Compiler;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>Attention on tensor cores, forwards and backwards, against the interpreter in double precision.</summary>
public sealed class PtxAttentionTests
{
    private const double Tolerance = 1e-2;

    /// <summary>Every case of attention there is that tensor cores have a kernel for: key ranges, biases, caps, shared keys, ragged lengths and head widths.</summary>
    public static TheoryData<string, bool> Cases()
    {
        var data = new TheoryData<string, bool>();
        foreach (bool backward in new[] { false, true })
        {
            foreach ((string name, KernelCase c) in backward ? KernelCases.Backward : KernelCases.Forward)
            {
                if (name.Contains("attention", StringComparison.Ordinal) && PtxFunction.Compile(c.Graph, precision: Rounding.BF16).Module.Contains("TensorAttention", StringComparison.Ordinal))
                {
                    data.Add(name, backward);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Tensor_cores_attend(string name, bool backward) => Check((backward ? KernelCases.Backward : KernelCases.Forward)[name].Graph, name);

    /// <summary>Sizes around those of a block's rows and of those that it meets, and head widths around powers of two.</summary>
    [Theory]
    [InlineData(64, 64)]
    [InlineData(65, 16)]
    [InlineData(63, 15)]
    [InlineData(33, 17)]
    [InlineData(31, 40)]
    [InlineData(130, 33)]
    [InlineData(97, 128)]
    public void Tensor_cores_attend_at_ragged_sizes(int size, int headDim)
    {
        var op = new Attention(2, 1, headDim, 1 / Math.Sqrt(headDim), KeyRange.Causal);
        ModelGraph graph = OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 2, size, size)]).Graph;
        Check(KernelCases.Prepare(graph), "forward");
        if (headDim <= 64)
        {
            ModelGraph training = GradientCheck.WithLoss(graph);
            Check(KernelCases.PrepareTraining(training), "backward");
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_barrier_that_is_left_out_is_found(bool backward)
    {
        var op = new Attention(2, 1, 16, 0.25, KeyRange.Causal);
        ModelGraph graph = OperatorCases.Case("attention", b => [OperatorCases.Attend(b, op, 1, 130, 130)]).Graph;
        graph = backward ? KernelCases.PrepareTraining(GradientCheck.WithLoss(graph)) : KernelCases.Prepare(graph);
        RunArguments run = CaseData.Random(graph, 3);
        int barriers = PtxFunction.Compile(graph, precision: Rounding.BF16).Module.Split("\tbar.sync 0;\n").Length - 1, found = 0;
        for (int i = 0; i < barriers; i++)
        {
            int left = i;
            PtxFunction function = PtxFunction.Compile(
                graph,
                module =>
                {
                    string[] parts = module.Split("\tbar.sync 0;\n");
                    return string.Concat(parts.Select((part, j) => j == parts.Length - 1 ? part : j == left ? part : part + "\tbar.sync 0;\n"));
                },
                precision: Rounding.BF16);
            try
            {
                function.Run(run);
                Assert.Fail($"barrier {i} of {barriers} is for nothing");
            }
            catch (PtxException)
            {
                found++;
            }
        }

        Assert.Equal(barriers, found);
    }

    private static void Check(ModelGraph graph, string name)
    {
        RunArguments run = CaseData.Random(graph, name.Length, position: graph.NodesOf<AppendState>().Any() ? 4 : 0);
        PtxFunction function = PtxFunction.Compile(graph, precision: Rounding.BF16);
        RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
        GradientCheck.Same(actual, function.Run(run), 0, $"{name}, once more");

        // A loss sums what the forward cases look at one by one; a learned bias sums what cancels, over all queries.
        expected.Outputs.Remove("loss");
        actual.Outputs.Remove("loss");
        if (expected.Gradients.Remove("bias", out Tensor? bias))
        {
            GradientCheck.Near(bias, actual.Gradients["bias"], 10 * Tolerance * Math.Max(1, bias.Data.Max(Math.Abs)), 0, $"{name}: gradient bias");
            actual.Gradients.Remove("bias");
        }

        KernelCheck.Near(expected, actual, Tolerance, name);
    }
}
