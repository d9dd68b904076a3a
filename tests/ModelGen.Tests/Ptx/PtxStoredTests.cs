using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Compiler;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>What products alone read is stored in bfloat16: the bits of everything are those of products that round where they read.</summary>
public sealed class PtxStoredTests
{
    /// <summary>A feed-forward network behind a norm, forwards and backwards, at sizes that are even, and at odd ones, whose rows begin within words.</summary>
    [Theory]
    [InlineData(40, 24, 36, 20, 2)]
    [InlineData(67, 34, 70, 18, 2)]
    [InlineData(35, 17, 23, 9, 2)]
    public void Bits_are_those_of_products_that_round(int rows, int inputs, int hidden, int outputs, int activations)
    {
        ModelGraph graph = Network(rows, inputs, hidden, outputs);
        RunArguments run = CaseData.Random(graph, rows);
        PtxFunction plain = PtxFunction.Compile(graph, precision: Rounding.BF16), stored = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true);
        Assert.Equal(["fc1", "fc2"], stored.Copies.Select(copy => copy.From.Name).Order());
        PlanBuffer[] rounded = [.. stored.Device.Program.Buffers.Where(buffer => buffer.Format == StorageFormat.BFloat16)];
        Assert.Equal(activations, rounded.Length);
        Assert.Contains("st.global.b16", stored.Module, StringComparison.Ordinal);
        GradientCheck.Same(plain.Run(run), stored.Run(run), 0, "stored");
        Assert.NotEqual(plain.Run(run).Outputs.Values.First().Data, PtxFunction.Compile(graph).Run(run).Outputs.Values.First().Data);
    }

    /// <summary>A result that is handed out, or that something else reads too, stays what it is.</summary>
    [Fact]
    public void What_others_read_stays_in_single_precision()
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("shared", b =>
        {
            Value x = b.Add(new LayerNorm(1e-5), "norm", OperatorCases.Parameter(b, "x", 40, 32), OperatorCases.Parameter(b, "gamma.positive", 32));
            Value y = b.Add(new MatMul(MatMulForm.NT), "fc", x, OperatorCases.Parameter(b, "w", 48, 32));
            return [b.Add(new MatMul(MatMulForm.NT), "out", b.Add(new Relu(), "h", y), OperatorCases.Parameter(b, "v", 16, 48)), x, b.Add(new RowSum(), "sums", y)];
        }).Graph);
        PtxFunction stored = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true);
        Assert.Equal(["v", "w"], stored.Copies.Select(copy => copy.From.Name).Order());
        RunArguments run = CaseData.Random(graph, 4);
        GradientCheck.Same(PtxFunction.Compile(graph, precision: Rounding.BF16).Run(run), stored.Run(run), 0, "stored");
    }

    /// <summary>A single row is multiplied by the copies, and its inputs are not rounded.</summary>
    [Fact]
    public void A_single_row_reads_the_copies()
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("row", b => [b.Add(new MatMul(MatMulForm.NT), "y", OperatorCases.Parameter(b, "x", 1, 96), OperatorCases.Parameter(b, "w", 50, 96))]).Graph);
        RunArguments run = CaseData.Random(graph, 4);
        PtxFunction stored = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true);
        Assert.Contains("ld.global.v4.u32", stored.Module, StringComparison.Ordinal);
        RunResults actual = stored.Run(run);
        double[] weights = run.Parameters["w"].Data;
        for (int i = 0; i < weights.Length; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits((float)weights[i]);
            weights[i] = BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
        }

        KernelCheck.Near(ReferenceInterpreter.Run(graph, run), actual, 1e-5, "row");
    }

    /// <summary>Of GPT-2's layers what is stored in bfloat16 in training: normalized inputs and hidden layers; in a prompt also what attention gives.</summary>
    [Fact]
    public void Of_a_gpt_normalized_inputs_and_hidden_layers_are_stored()
    {
        CompiledPlans plans = ModelCompiler.Plan(Families.All["gpt"] with { HasCuda = true, CudaPrecision = Rounding.BF16 }, CacheSizes.Default, default);
        string[] Stored(string entry) => [.. plans.Entry(entry).Cuda!.Device.Program.Buffers.Where(buffer => buffer.Format == StorageFormat.BFloat16).Select(buffer => buffer.Name)];
        Assert.NotEmpty(Stored("Step"));
        Assert.NotEmpty(plans.Copies!.All);
        Assert.All(plans.Copies.All, copy => Assert.True(copy.To.Offset >= StorageFormat.Float32.Bytes(plans.OnDevice.WeightElements)));
        Assert.Equal(plans.Copies.All.Count, plans.Copies.All.Select(copy => copy.From.Name).Distinct().Count());
        Assert.True(plans.CudaWeightBytes <= plans.WeightBytes * 3 / 2 + (64 * plans.Copies.All.Count));
    }

    /// <summary>Whole steps, forwards and backwards: losses and gradients are the same bits.</summary>
    [Theory]
    [InlineData("gpt")]
    [InlineData("decoder")]
    [InlineData("bert")]
    [InlineData("mlp")]
    public void Steps_have_the_same_bits(string like)
    {
        string name = Families.All.Keys.First(key => key.StartsWith(like, StringComparison.Ordinal));
        KernelCase c = KernelCases.Backward[name];
        PtxFunction stored = PtxFunction.CompileStored(c.Graph, Rounding.BF16, stores: true);
        Assert.NotEmpty(stored.Copies);
        GradientCheck.Same(PtxFunction.Compile(c.Graph, precision: Rounding.BF16).Run(c.Run), stored.Run(c.Run), 0, name);
    }

    private static ModelGraph Network(int rows, int inputs, int hidden, int outputs) => KernelCases.Prepare(OperatorCases.Case("network", b =>
    {
        Value x = b.Add(new LayerNorm(1e-5), "norm", OperatorCases.Parameter(b, "x", rows, inputs), OperatorCases.Parameter(b, "gamma.positive", inputs));
        Value h = b.Add(new Gelu(), "hidden", b.Add(new MatMul(MatMulForm.NT), "fc1.product", x, OperatorCases.Parameter(b, "fc1", hidden, inputs)));
        return [b.Add(new MatMul(MatMulForm.NT), "fc2.product", h, OperatorCases.Parameter(b, "fc2", outputs, hidden))];
    }).Graph);
}
