using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Tests.Compiler;
using Drawing = ModelGen.Compiler.CudaRounding;
using Products = ModelGen.Compiler.CudaProducts;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>Matrices that a device computes some rows at a time, as the logits over a large vocabulary and their gradient: losses and gradients are those of whole ones, and no whole one is left.</summary>
public sealed class PtxRowBlockTests
{
    private const int Inputs = 24, Vocabulary = 41;

    /// <summary>What a head has: a table of its own or that of the embedding, a bias, a cap, a scale, smoothed targets, and weights of the rows.</summary>
    public static TheoryData<string> Heads => ["untied", "tied", "tied, cap, scale", "bias, weights", "tied, smoothing, weights, scale", "bias, cap"];

    /// <summary>GPT-2's rows and vocabulary; what is left over; few rows; a vocabulary of which half a gigabyte are few rows.</summary>
    [Theory]
    [InlineData(16_384, 50_257, 2_048)]
    [InlineData(16_385, 50_257, 2_432)]
    [InlineData(8_192, 50_257, 2_048)]
    [InlineData(2_670, 50_257, 1_408)]
    [InlineData(2_560, 50_257, null)]
    [InlineData(256, 50_257, null)]
    [InlineData(65_536, 262_144, 1_024)]
    [InlineData(1_024, 262_144, null)]
    public void Blocks_are_whole_tiles_within_the_budget(int rows, int columns, int? block) => Assert.Equal(block, RowBlocks.OfDevice.Of(rows, 4L * columns));

    /// <summary>One block, two, two that are not alike, and several, in single precision.</summary>
    [Theory]
    [InlineData(70, 70, new[] { 70 })]
    [InlineData(64, 32, new[] { 32, 32 })]
    [InlineData(70, 48, new[] { 48, 22 })]
    [InlineData(70, 40, new[] { 32, 32, 6 })]
    [InlineData(97, 16, new[] { 16, 16, 16, 16, 16, 16, 1 })]
    public void A_head_in_blocks_is_the_head(int rows, int most, int[] blocks)
    {
        foreach (string head in Heads.Select(row => row.Data))
        {
            ModelGraph graph = Head(head, rows);
            var c = new KernelCase($"{head}, {rows} rows of {most}", graph, Run(graph, rows), 5e-5);
            PtxFunction function = PtxFunction.CompileStored(graph, blocks: Blocks(most));
            Assert.Equal(blocks, RowsOf(function));
            NothingIsWhole(function, rows, blocks);
            PtxKernelTests.Check(c, function);
        }
    }

    /// <summary>In bfloat16 factors are the same bits, which sums over rows add in another order; the gradient of the logits is stored in bfloat16 where products alone read it, and not the sum that is a bias's.</summary>
    [Theory]
    [MemberData(nameof(Heads))]
    public void A_head_in_bfloat16_stores_the_gradient_of_its_logits_so(string head)
    {
        const int Rows = 70;
        ModelGraph graph = Head(head, Rows);
        RunArguments run = Run(graph, Rows);
        PtxFunction function = PtxFunction.CompileStored(graph, Rounding.BF16, stores: true, blocks: Blocks(40));
        NothingIsWhole(function, Rows, [32, 32, 6]);
        PlanBuffer[] stored = [.. function.Device.Program.Kernels.OfType<MatMulKernel>().Where(k => k.Form == MatMulForm.TN && k.Rows.Maximum == Vocabulary).Select(k => k.Operands[0].View.Buffer)];
        Assert.Equal(3, stored.Distinct().Count());
        Assert.All(stored, buffer => Assert.Equal(head.StartsWith("bias", StringComparison.Ordinal) ? StorageFormat.Float32 : StorageFormat.BFloat16, buffer.Format));
        RunResults actual = function.Run(run);
        GradientCheck.Same(PtxFunction.CompileStored(graph, Rounding.BF16, stores: true).Run(run), actual, 2e-5, head);
        GradientCheck.Same(actual, function.Run(run), 0, $"{head}, once more");
    }

    /// <summary>By groups of four warps the table is packed once for all blocks, and each block's rows once for both products that read them.</summary>
    [Theory]
    [InlineData("tied")]
    [InlineData("bias, cap")]
    public void Products_of_four_warps_pack_the_table_once(string head)
    {
        const int Rows = 70;
        ModelGraph graph = Head(head, Rows);
        RunArguments run = Run(graph, Rows);
        Func<MatMulKernel, WarpgroupTiles?> warpgroups = kernel => WarpgroupTiles.Choose(kernel, Rounding.BF16, Products.Warpgroups);
        PtxFunction function = PtxFunction.Compile(graph, precision: Rounding.BF16, warpgroups: warpgroups, blocks: Blocks(40));
        NothingIsWhole(function, Rows, [32, 32, 6]);
        Assert.Single(function.Device.Program.Kernels.OfType<CudaPackKernel>(), pack => pack.Operands[0].View.Buffer.Name == "table");
        Assert.Equal(3 * 2, function.Device.Program.Kernels.OfType<CudaPackKernel>().Count(pack => pack.Operands[0].View.Buffer.Name != "table"));
        GradientCheck.Same(PtxFunction.Compile(graph, precision: Rounding.BF16, warpgroups: warpgroups).Run(run), function.Run(run), 2e-5, head);
    }

    /// <summary>
    /// Where rounding is drawn, blocks of equal rows draw for themselves, although they share their kernels' entries: rounded to the nearest both have the same gradient, drawn they have not, and without the number that
    /// each launch is given they have again.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Blocks_draw_for_themselves(bool byGroupsOfWarps)
    {
        const int Rows = 64, Block = 32;
        ModelGraph graph = Head("untied", Rows);
        RunArguments run = Run(graph, Rows) with { Seed = 3 };
        double[] x = run.Parameters["x"].Data, targets = run.Inputs["targets"].Data;
        Array.Copy(x, 0, x, Block * Inputs, Block * Inputs);
        Array.Copy(targets, Block, targets, 0, Block);
        Func<MatMulKernel, WarpgroupTiles?>? warpgroups = byGroupsOfWarps ? kernel => WarpgroupTiles.Choose(kernel, Rounding.BF16, Products.Warpgroups) : null;
        foreach ((Drawing rounding, bool isGiven, bool isSame) in new[] { (Drawing.Nearest, true, true), (Drawing.Stochastic, true, false), (Drawing.Stochastic, false, true) })
        {
            PtxFunction function = PtxFunction.Compile(graph, module => isGiven ? module : Regex.Replace(module, @"ld\.param\.u32 (%r\d+), \[draw\];", "mov.u32 $1, 7;"), precision: Rounding.BF16, rounding: rounding, warpgroups: warpgroups, blocks: Blocks(Block));
            Assert.Equal([Block, Block], RowsOf(function));
            double[] gradient = function.Run(run).Gradients["x"].Data;
            Assert.Equal(isSame, gradient.AsSpan(0, Block * Inputs).SequenceEqual(gradient.AsSpan(Block * Inputs)));
        }
    }

    /// <summary>A library computes the products of each block, where it is there.</summary>
    [Fact]
    public void Each_block_has_its_calls_of_a_library()
    {
        ModelGraph graph = Head("tied", 70);
        ModelLayout layout = ModelLayout.Of([graph]);
        CudaPlan plan = ModelCompiler.LowerForDevice(new CudaModule(Rounding.BF16, Products.CublasLt) { RowBlocks = Blocks(40) }, "Step", graph, layout, default);
        Assert.Equal([32, 32, 6], plan.Device.LibraryCalls.Select(call => call.Kernel).Where(k => k.Form == MatMulForm.NT).Select(k => k.Rows.Maximum));
        Assert.Equal([32, 32, 6], plan.Device.LibraryCalls.Select(call => call.Kernel).Where(k => k.Form == MatMulForm.TN).Select(k => k.Depth));
        Assert.Equal([LibrarySum.AddsWhenAccumulating, LibrarySum.Adds, LibrarySum.Adds], plan.Device.LibraryCalls.Where(call => call.Kernel.Form == MatMulForm.TN).Select(call => call.Product.Sum));
    }

    /// <summary>Whole steps, of which all matrices that can be are computed two rows at a time.</summary>
    [Theory]
    [InlineData("gpt")]
    [InlineData("gpt untied without bias")]
    [InlineData("gpt with dropout")]
    [InlineData("bert masked")]
    [InlineData("nnlm")]
    [InlineData("word autoencoder")]
    [InlineData("transformer")]
    [InlineData("t5")]
    [InlineData("gemma")]
    [InlineData("llama with multipliers")]
    [InlineData("mixture of experts")]
    [InlineData("lfm2")]
    public void Steps_in_blocks_are_the_steps(string name)
    {
        KernelCase c = KernelCases.Backward[name];
        PtxFunction whole = PtxFunction.CompileStored(c.Graph), function = PtxFunction.CompileStored(c.Graph, blocks: new RowBlocks(64, 1) { Multiple = 2 });
        Assert.InRange(whole.Device.Program.Kernels.Count, 1, function.Device.Program.Kernels.Count - 1);
        PtxKernelTests.Check(c, function);
    }

    /// <summary>GPT-2's logits of 16 x 1024 tokens, and their gradient, are nowhere whole, in training and in evaluation.</summary>
    [Theory]
    [InlineData(nameof(Rounding.F32))]
    [InlineData(nameof(Rounding.BF16))]
    public void Of_gpt_2_no_matrix_over_the_vocabulary_is_whole(string precision)
    {
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        ModelSpec spec = Families.Spec("Gpt", 16, 1024, I("Layers", 1), I("DModel", 768), I("Heads", 12), I("Vocab", 50_257), I("Context", 1024)) with { HasCuda = true, CudaPrecision = Enum.Parse<Rounding>(precision) };
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        foreach (string entry in new[] { "Step", "Evaluate" })
        {
            CudaPlan plan = plans.Entry(entry).Cuda!;
            Assert.Equal(Enumerable.Repeat(2048, 8), plan.Device.Program.Kernels.OfType<MatMulKernel>().Where(k => k.Columns == 50_257).Select(k => k.Rows.Maximum));
            Assert.All(plan.Device.Program.Buffers.Where(buffer => buffer.Space == MemorySpace.Arena), buffer => Assert.InRange(buffer.Bytes, 0, RowBlocks.OfDevice.LargestBytes));
            Assert.InRange(plan.ArenaBytes, 0, 2L << 30);
        }
    }

    private static RowBlocks Blocks(int most) => new(4L * Vocabulary * most, 1) { Multiple = 16 };

    private static IEnumerable<int> RowsOf(PtxFunction function) => function.Device.Program.Kernels.OfType<MatMulKernel>().Where(k => k.Form == MatMulForm.NT && k.Columns == Vocabulary).Select(k => k.Rows.Maximum);

    private static void NothingIsWhole(PtxFunction function, int rows, int[] blocks)
    {
        Assert.Equal(blocks, RowsOf(function));
        int whole = function.Device.Program.Kernels.SelectMany(k => k.Operands).Select(o => o.View.Buffer).Distinct().Count(b => b.Space == MemorySpace.Arena && b.Elements >= (long)rows * Vocabulary && !b.Name.EndsWith(".packed", StringComparison.Ordinal));
        Assert.True(blocks.Length > 1 ? whole == 0 : whole > 0);
    }

    private static ModelGraph Head(string head, int rows) => KernelCases.PrepareTraining(GradientCheck.WithLoss(OperatorCases.Case("head", b =>
    {
        bool Has(string what) => head.Split(", ").Contains(what);
        Value table = OperatorCases.Parameter(b, "table", Vocabulary, Inputs);
        Value x = OperatorCases.Parameter(b, "x", rows, Inputs);
        x = b.Add(new Tanh(), "hidden", Has("tied") ? b.Add(new Add(), "inputs", x, b.Add(new Embedding(), "embedding", table, OperatorCases.Indices(b, "tokens", Vocabulary, rows))) : x);
        Value logits = b.Add(new MatMul(MatMulForm.NT), "product", x, table);
        logits = Has("bias") ? b.Add(new Add(), "biased", logits, OperatorCases.Parameter(b, "bias", Vocabulary)) : logits;
        logits = Has("scale") ? b.Add(new Affine(0.7, 0), "scaled", logits) : logits;
        logits = Has("cap") ? b.Add(new Affine(1.5, 0), "capped", b.Add(new Tanh(), "logits.tanh", b.Add(new Affine(1 / 1.5, 0), "logits.scaled", logits))) : logits;
        Value losses = b.Add(new CrossEntropy(Has("smoothing") ? 0.1 : 0), "losses", logits, OperatorCases.Indices(b, "targets", Vocabulary, rows));
        losses = Has("weights") ? b.Add(new Multiply(), "weighted", losses, b.Add(new Input("importance", TensorType.Float(Shape.Of(rows, 1)), 0), "importance")) : losses;
        return [b.Add(new MeanLoss(), "loss", losses)];
    }).Graph));

    /// <summary>Arguments of which every fifth row does not count, nor the last one.</summary>
    private static RunArguments Run(ModelGraph graph, int rows)
    {
        RunArguments run = CaseData.Random(graph, rows);
        for (int row = 0; row < rows; row += 5)
        {
            run.Inputs["targets"].Data[row] = -1;
        }

        run.Inputs["targets"].Data[rows - 1] = -1;
        return run;
    }
}
