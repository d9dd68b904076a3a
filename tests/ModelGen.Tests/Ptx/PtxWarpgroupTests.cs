using System.Text.RegularExpressions;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Tests.Compiler;
using Rounding = ModelGen.Compiler.CudaPrecision;
using RoundingMode = ModelGen.Compiler.CudaRounding;
using Which = ModelGen.Compiler.CudaProducts;

namespace ModelGen.Tests.Ptx;

/// <summary>Products by groups of four warps, and what packs their factors, against the interpreter in double precision.</summary>
public sealed class PtxWarpgroupTests
{
    /// <summary>Every form with both tiles, whole and in parts, at sizes of one, of primes, and around those of tiles and stages.</summary>
    public static TheoryData<string, int, int, int, int, int> Sizes()
    {
        var data = new TheoryData<string, int, int, int, int, int>();
        foreach (MatMulForm form in Enum.GetValues<MatMulForm>())
        {
            foreach ((int width, int splits, int rows, int depth, int columns) in new[]
            {
                (128, 1, 1, 1, 1), (128, 1, 7, 13, 5), (128, 1, 128, 64, 128), (128, 1, 127, 65, 129), (128, 1, 129, 191, 127), (128, 1, 130, 448, 131), (128, 3, 60, 700, 70), (128, 2, 131, 130, 9), (256, 1, 128, 64, 256), (256, 1, 130, 321, 250), (256, 1, 65, 330, 260),
            })
            {
                data.Add(form.ToString(), width, splits, rows, depth, columns);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Groups_of_warps_multiply(string form, int width, int splits, int rows, int depth, int columns)
    {
        // The wider tile is for factors that are laid out in as many columns.
        ModelGraph graph = Product(Enum.Parse<MatMulForm>(form), rows, depth, width == 256 && WarpgroupTiles.Padded(columns) % 256 != 0 ? 256 : columns);
        PtxFunction function = Compile(graph, width, splits);
        Assert.Contains("wgmma.mma_async", function.Module, StringComparison.Ordinal);
        RunArguments run = CaseData.Random(graph, rows + depth + columns);
        RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
        KernelCheck.Near(expected, actual, 1e-2, $"{form} {rows}x{depth}x{columns}");
        GradientCheck.Same(actual, function.Run(run), 0, "once more");
        Assert.Equal(0, function.BankConflicts);

        // Its twin multiplies the same rounded numbers, and adds them in another order.
        PtxFunction twin = PtxFunction.Compile(graph, precision: Rounding.BF16);
        if (twin.Module.Contains("mma.sync", StringComparison.Ordinal))
        {
            KernelCheck.Near(twin.Run(run), actual, 1e-5, "mma.sync");
        }
    }

    /// <summary>A factor that is stored in bfloat16 is taken as it is.</summary>
    [Theory]
    [InlineData(72)]
    [InlineData(68)]
    [InlineData(70)]
    [InlineData(13)]
    public void Factors_in_bfloat16_are_taken_as_they_are(int depth)
    {
        ModelGraph graph = Product(MatMulForm.NT, 40, depth, 90);
        RunArguments run = CaseData.Random(graph, depth);
        double[] factor = run.Parameters["b"].Data;
        ushort[] halves = [.. factor.Select(x => (ushort)(BitConverter.SingleToUInt32Bits((float)x) >> 16))];
        for (int i = 0; i < factor.Length; i++)
        {
            factor[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
        }

        PtxFunction plain = Compile(graph, 128, 1), stored = Compile(graph, 128, 1, formats: new Dictionary<string, StorageFormat> { ["b"] = StorageFormat.BFloat16 });
        stored.Packed["b"] = System.Runtime.InteropServices.MemoryMarshal.AsBytes<ushort>(halves).ToArray();
        GradientCheck.Same(plain.Run(run), stored.Run(run), 0, "stored");
    }

    /// <summary>A value that several products read is packed once, until it is written over; a device without such products packs nothing.</summary>
    [Fact]
    public void Factors_are_packed_once()
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("products", b =>
        {
            Value x = OperatorCases.Parameter(b, "x", 140, 70), w = OperatorCases.Parameter(b, "w", 90, 70), d = OperatorCases.Parameter(b, "d", 140, 90);
            return [b.Add(new MatMul(MatMulForm.NT), "y", x, w), b.Add(new MatMul(MatMulForm.NN), "dx", d, w), b.Add(new MatMul(MatMulForm.TN), "dw", d, x)];
        }).Graph);
        PtxFunction function = Compile(graph, 128, 1);
        Assert.Equal(3, function.Device.Steps.OfType<CudaChoice>().Count());
        Assert.Equal(3, function.Device.Steps.OfType<CudaChoice>().SelectMany(c => c.Warpgroups).Count(launch => launch.Kernel is CudaPackKernel));
        Assert.DoesNotContain(function.Device.Launches, launch => launch.Kernel is CudaPackKernel);
        RunArguments run = CaseData.Random(graph, 5);
        KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run), 1e-2, "products of packed values");
    }

    /// <summary>The products of a training step of GPT-2 with 16 sequences of 1,024 tokens: forward, of the input's gradient and of the weight's.</summary>
    [Theory]
    [InlineData("NT", 16_384, 768, 2_304, 256, 1)]
    [InlineData("NT", 16_384, 768, 768, 256, 1)]
    [InlineData("NT", 16_384, 768, 50_257, 128, 1)]
    [InlineData("NN", 16_384, 50_257, 768, 256, 1)]
    [InlineData("TN", 50_257, 16_384, 768, 256, 1)]
    [InlineData("TN", 3_072, 16_384, 768, 128, 1)]
    [InlineData("TN", 2_304, 16_384, 768, 128, 2)]
    [InlineData("TN", 768, 16_384, 768, 128, 7)]
    [InlineData("NT", 256, 768, 3_072, 0, 0)]
    [InlineData("NT", 16_384, 64, 50_257, 0, 0)]
    public void Large_products_are_chosen(string form, int rows, int depth, int columns, int width, int splits)
    {
        MatMulForm of = Enum.Parse<MatMulForm>(form);
        KernelOperand Operand(string name, int stride, bool isWritten = false) => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, StorageFormat.Float32, 1), 0), Access.Matrix(stride), isWritten);
        MatMulKernel Of(RowExtent extent) => new(
            "product", [Operand("a", of == MatMulForm.TN ? rows : depth), Operand("b", of == MatMulForm.NT ? depth : columns), Operand("c", columns, isWritten: true)], of, extent, columns, depth, [new Store(2, new AccumulatorExpr(), StoreMode.Replace)], 0, 0);
        WarpgroupTiles? plan = WarpgroupTiles.Choose(Of(RowExtent.Literal(rows)), Rounding.BF16);
        Assert.Equal((width, splits), plan is null ? (0, 0) : (plan.Columns, plan.Splits));
        Assert.Null(WarpgroupTiles.Choose(Of(RowExtent.Literal(rows)), Rounding.TF32));
        Assert.True(plan is null || plan.SharedBytes <= 227 * 1024);
    }

    /// <summary>
    /// What such a product buys, counted: thread instructions for each 64 of the contracted extent, the difference of two extents, are a quarter of those of <c>mma.sync</c> or fewer.
    /// </summary>
    [Theory]
    [InlineData("NT", 128)]
    [InlineData("NN", 256)]
    [InlineData("TN", 128)]
    public void A_step_of_the_contracted_extent_takes_few_instructions(string form, int width)
    {
        MatMulForm of = Enum.Parse<MatMulForm>(form);
        long Executed(int depth, bool groups)
        {
            ModelGraph graph = Product(of, 256, depth, 256);
            PtxFunction function = groups ? Compile(graph, width, 1) : PtxFunction.Compile(graph, products: kernel => Assert.IsType<TensorTiles>(CudaProductPlan.Of(kernel, Rounding.BF16)) with { Tile = TensorTile.For(Rounding.BF16)[0] });
            function.Run(CaseData.Random(graph, 3));
            return function.ExecutedBy.Single(entry => entry.Key.StartsWith("MatMul", StringComparison.Ordinal)).Value;
        }

        long ofGroups = Executed(320, true) - Executed(256, true), ofWarps = Executed(320, false) - Executed(256, false);
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{form} {width}: {ofGroups} and {ofWarps} thread instructions for {2L * 256 * 256 * 64} operations"));
        Assert.True(4 * ofGroups < ofWarps, FormattableString.Invariant($"{ofGroups} and {ofWarps}"));
    }

    /// <summary>
    /// A training step of GPT-2's width with 16 sequences of 1,024 tokens: forward, input's gradient and weight's gradient of each of a layer's four products and of the vocabulary's are by groups of four warps, and each value that they
    /// read is packed once for both of its products.
    /// </summary>
    [Fact]
    public void A_step_of_gpt_2_is_by_groups_of_warps()
    {
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        ModelSpec spec = Families.Spec("Gpt", 16, 1024, I("Layers", 2), I("DModel", 768), I("Heads", 12), I("Vocab", 50_257), I("Context", 1024)) with { HasCuda = true, CudaPrecision = Rounding.BF16 };
        CompiledEntry[] Entries(Which products) => [.. ModelCompiler.Plan(spec with { CudaProducts = products }, global::ModelGen.Compiler.Targets.Cpu.CacheSizes.Default, default).Entries];
        CompiledEntry[] entries = Entries(Which.Automatic), plain = Entries(Which.Warps);
        CudaPlan step = entries.Single(e => e.Entry.Kind == EntryKind.Step).Cuda!, without = plain.Single(e => e.Entry.Kind == EntryKind.Step).Cuda!;
        CudaChoice[] choices = [.. step.Device.Steps.OfType<CudaChoice>()];
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{choices.Length} products, {choices.SelectMany(c => c.Warpgroups).Count(l => l.Kernel is CudaPackKernel)} packed, arena {step.ArenaBytes} for {without.ArenaBytes} bytes"));

        // The head's are those of eight blocks of rows, which have the weight packed once between them.
        const int Blocks = 8;
        Assert.Equal((2 * 4 * 3) + (3 * Blocks), choices.Length);
        Assert.Equal((2 * 4 * 3) + 1 + (2 * Blocks), choices.SelectMany(c => c.Warpgroups).Count(launch => launch.Kernel is CudaPackKernel));
        Assert.All(choices, choice => Assert.True(choice.Otherwise.Kernel.Flops > 1L << 30));
        Assert.Empty(without.Device.Steps.OfType<CudaChoice>());

        // A prompt is taken some 256 tokens at a time, which are too few.
        Assert.All(entries.Where(e => e.Entry.Kind == EntryKind.Infer), e => Assert.Empty(e.Cuda!.Device.Steps.OfType<CudaChoice>()));
        Assert.InRange(step.ArenaBytes, without.ArenaBytes, 2 * without.ArenaBytes);
        PtxEntryPoint.Read(step.Module.WarpgroupText);
    }

    /// <summary>Rows that a run counts: those of many are by groups of warps, those of few by the product of other devices, and each leaves the other's work alone.</summary>
    [Theory]
    [InlineData("NT", 1, 1)]
    [InlineData("NT", 1, 127)]
    [InlineData("NT", 2, 128)]
    [InlineData("NT", 2, 129)]
    [InlineData("NN", 1, 130)]
    [InlineData("NN", 2, 261)]
    [InlineData("NN", 1, 300)]
    public void Rows_that_a_run_counts_are_multiplied(string form, int splits, int count)
    {
        const int Most = 300, Fewest = 128;
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("product", b =>
        {
            Value x = OperatorCases.Parameter(b, "table", 11, 70), rows = b.Add(new Embedding(), "x", x, b.Add(new Input("tokens", TensorType.Int(Shape.Of(Dim.Time(Most))), 11), "tokens"));
            MatMulForm of = Enum.Parse<MatMulForm>(form);
            return [b.Add(new Gelu(), "activated", b.Add(new MatMul(of), "product", rows, of == MatMulForm.NT ? OperatorCases.Parameter(b, "b", 90, 70) : OperatorCases.Parameter(b, "b", 70, 90)))];
        }).Graph);
        RunArguments run = CaseData.Random(graph, 5, time: count);
        PtxFunction function = PtxFunction.Compile(graph, precision: Rounding.BF16, warpgroups: kernel => kernel.Rows.IsDynamic ? new WarpgroupTiles(128, splits) { FewestRows = Fewest } : null);
        KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run), 1e-2, $"{form} {count}");
        long Executed(string name) => function.ExecutedBy.Where(entry => entry.Key.StartsWith(name, StringComparison.Ordinal)).Sum(entry => entry.Value);
        string[] ofGroups = [.. function.ExecutedBy.Keys.Where(key => key.EndsWith("_wgmma", StringComparison.Ordinal))];
        Assert.Single(ofGroups);
        long groups = function.ExecutedBy[ofGroups[0]], warps = Executed($"MatMul{form}") - groups;
        Assert.Equal(count >= Fewest, groups > warps);
    }

    /// <summary>Batches of texts that a run counts: the products of BERT's layers have both ways to multiply.</summary>
    [Fact]
    public void Batches_of_texts_are_by_groups_of_warps()
    {
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        ModelSpec spec = Families.Spec("Bert", 16, 128, I("Layers", 2), I("DModel", 768), I("Heads", 12), I("Vocab", 997), I("Context", 512), I("MaxBatch", 16)) with { HasCuda = true, CudaPrecision = Rounding.BF16 };
        CompiledEntry predict = ModelCompiler.Plan(spec, global::ModelGen.Compiler.Targets.Cpu.CacheSizes.Default, default).Entries.First(e => e.Entry.Kind == EntryKind.Infer);
        CudaChoice[] choices = [.. predict.Cuda!.Device.Steps.OfType<CudaChoice>()];
        Assert.True(choices.Length >= 2 * 4, $"{choices.Length} products");
        Assert.All(choices, choice => Assert.Contains(choice.Warpgroups, launch => launch.Entry.Contains("bf16", StringComparison.Ordinal)));
        PtxEntryPoint.Read(predict.Cuda.Module.WarpgroupText);
    }

    /// <summary>Rounding that is drawn is right on average, and the same for every product that reads a number.</summary>
    [Fact]
    public void Rounding_is_right_on_average()
    {
        const int Rows = 35, Depth = 44, Seeds = 40;
        ModelGraph graph = Product(MatMulForm.NN, Rows, Depth, Depth);
        PtxFunction function = Compile(graph, 128, 1, rounding: RoundingMode.Stochastic);
        RunArguments run = CaseData.Random(graph, 5);
        double[] factor = run.Parameters["a"].Data, unit = run.Parameters["b"].Data, sums = new double[Rows * Depth];
        Array.Clear(unit);
        for (int d = 0; d < Depth; d++)
        {
            unit[(d * Depth) + d] = 1;
        }

        for (int seed = 0; seed < Seeds; seed++)
        {
            double[] product = function.Run(run with { Seed = 77UL * (ulong)seed }).Outputs["y1"].Data;
            for (int i = 0; i < sums.Length; i++)
            {
                float exact = (float)factor[i];
                int bits = BitConverter.SingleToInt32Bits(exact);
                float towardsZero = BitConverter.Int32BitsToSingle(bits & ~0xFFFF), away = BitConverter.Int32BitsToSingle((bits & ~0xFFFF) + ((bits & 0xFFFF) == 0 ? 0 : 0x10000));
                Assert.True(product[i] == towardsZero || product[i] == away);
                sums[i] += away == towardsZero ? 0 : (product[i] - exact) / Math.Abs(away - towardsZero);
            }
        }

        Assert.All(sums, sum => Assert.InRange(sum / Seeds, -2.5 / Math.Sqrt(Seeds), 2.5 / Math.Sqrt(Seeds)));
        Assert.InRange(sums.Sum() / (Seeds * sums.Length), -2.5 / Math.Sqrt(Seeds * sums.Length), 2.5 / Math.Sqrt(Seeds * sums.Length));
    }

    /// <summary>Whatever orders threads, engine and tensor cores is there for something: the machine says so where one is missing, or another.</summary>
    [Theory]
    [InlineData("bar\\.sync 0;", "")]
    [InlineData("fence\\.proxy\\.async\\.shared::cta;", "")]
    [InlineData("wgmma\\.fence\\.sync\\.aligned;", "")]
    [InlineData("wgmma\\.commit_group\\.sync\\.aligned;", "")]
    [InlineData("wgmma\\.wait_group\\.sync\\.aligned \\d;", "")]
    [InlineData("wgmma\\.wait_group\\.sync\\.aligned \\d;", "wgmma.wait_group.sync.aligned 2;")]
    [InlineData("mbarrier\\.arrive\\.shared::cta\\.b64 _, [^;]+;", "")]
    [InlineData("mbarrier\\.init\\.shared::cta\\.b64 [^;]+;", "")]
    [InlineData("(mbarrier\\.init\\.shared::cta\\.b64 [^,]+), \\d+;", "$1, 7;")]
    [InlineData("(mbarrier\\.arrive\\.expect_tx\\.shared::cta\\.b64 _, [^,]+), \\d+;", "$1, 32752;")]
    [InlineData("(mbarrier\\.arrive\\.expect_tx\\.shared::cta\\.b64 _, [^,]+), \\d+;", "$1, 32784;")]
    [InlineData("(mbarrier\\.try_wait\\.parity\\.shared::cta\\.b64 [^\\]]+\\]), %r\\d+;", "$1, 0;")]
    [InlineData("(mbarrier\\.try_wait\\.parity\\.shared::cta\\.b64 [^\\]]+\\]), %r\\d+;", "$1, 1;")]
    [InlineData("(cp\\.async\\.bulk\\.[^,]+, [^,]+), (\\d+), ", "$1, 4096, ")]
    [InlineData("(cp\\.async\\.bulk\\.\\S+ \\[%r\\d+)\\+", "$1+8192")]
    public void What_is_left_out_is_found(string pattern, string instead)
    {
        ModelGraph graph = Product(MatMulForm.TN, 130, 7 * WarpgroupTiles.Depth, 130);
        RunArguments run = CaseData.Random(graph, 3);
        int there = Regex.Count(Products(Compile(graph, 128, 1).Module), pattern);
        Assert.True(there > 0);
        for (int i = 0; i < there; i++)
        {
            int left = i, at = 0;
            PtxFunction function = Compile(graph, 128, 1, module => Products(module, product => Regex.Replace(product, pattern, match => at++ == left ? match.Result(instead) : match.Value)));
            Assert.Throws<PtxException>(() => function.Run(run));
        }

        // The last entry of the module, which is the product.
        static string Products(string module, Func<string, string>? edit = null)
        {
            int begin = module.IndexOf("MatMulTN", StringComparison.Ordinal);
            return edit is null ? module[begin..] : module[..begin] + edit(module[begin..]);
        }
    }

    /// <summary>No other processor has these instructions, be it older or newer, and no older PTX.</summary>
    [Theory]
    [InlineData(".target sm_90a", ".target sm_90", "sm_90a")]
    [InlineData(".target sm_90a", ".target sm_100a", "sm_90a")]
    [InlineData(".target sm_90a", ".target sm_80", "sm_90")]
    [InlineData(".version 8.0", ".version 7.8", "needs PTX 8.0")]
    public void Other_processors_refuse(string text, string instead, string problem)
    {
        ModelGraph graph = Product(MatMulForm.NT, 64, 64, 64);
        Assert.Contains(problem, Assert.Throws<PtxException>(() => Compile(graph, 128, 1, module => module.Replace(text, instead, StringComparison.Ordinal))).Message, StringComparison.Ordinal);
    }

    private static PtxFunction Compile(ModelGraph graph, int width, int splits, Func<string, string>? edit = null, RoundingMode rounding = default, IReadOnlyDictionary<string, StorageFormat>? formats = null)
        => PtxFunction.Compile(graph, edit, precision: Rounding.BF16, rounding: rounding, formats: formats, warpgroups: _ => new WarpgroupTiles(width, splits));

    private static ModelGraph Product(MatMulForm form, int m, int k, int n) => KernelCases.Prepare(OperatorCases.Case("product", b =>
    {
        Value x = form == MatMulForm.TN ? OperatorCases.Parameter(b, "a", k, m) : OperatorCases.Parameter(b, "a", m, k);
        Value y = form == MatMulForm.NT ? OperatorCases.Parameter(b, "b", n, k) : OperatorCases.Parameter(b, "b", k, n);
        Value product = b.Add(new MatMul(form), "product", x, y);
        return [b.Add(new Gelu(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", n))), product];
    }).Graph);
}
