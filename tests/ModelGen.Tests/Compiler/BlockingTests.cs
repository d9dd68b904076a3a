using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Kernels that are cut into blocks, which only large models need: compiled for a processor with very small caches, so that small
/// ones need it too.
/// </summary>
public sealed class BlockingTests
{
    private static readonly CacheSizes Small = new(L1: 4 << 10, L2: 16 << 10, L3: 64 << 10);

    // Rows, depth and columns: a deep contraction, many rows, many columns, all that at ragged sizes, rows that collide in the cache,
    // and strips beside panels that all fit it.
    private static readonly (int Rows, int Depth, int Columns)[] Products = [(200, 600, 100), (521, 300, 37), (37, 701, 521), (13, 1100, 9), (1000, 40, 64), (96, 512, 96), (2, 900, 300), (20, 64, 3072), (3001, 37, 41), (1024, 30, 32)];

    public static TheoryData<string, int, int, int> Cases
    {
        get
        {
            var data = new TheoryData<string, int, int, int>();
            foreach (string form in Enum.GetNames<MatMulForm>())
            {
                foreach ((int rows, int depth, int columns) in Products)
                {
                    data.Add(form, rows, depth, columns);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Products_in_blocks(string formName, int rows, int depth, int columns)
    {
        Check(Activated(Enum.Parse<MatMulForm>(formName), rows, depth, columns), 2e-4);
    }

    /// <summary>Strips that are packed ahead while the contraction is cut take a cache between the small one and what processors have.</summary>
    [Theory]
    [InlineData(96, 520, 48)]
    [InlineData(101, 1600, 16)]
    public void Strips_are_packed_ahead_in_blocks_of_the_contraction(int rows, int depth, int columns)
    {
        var caches = new CacheSizes(L1: 32 << 10, L2: 128 << 10, L3: 1 << 20);
        Assert.Contains(RegisterTile.Products, tile => Blocking(Product(rows, depth, columns, MatMulForm.TN), tile, caches) is { Division: MatMulDivision.Strips, PacksAhead: true, DepthBlocks: > 1 });
        Check(Activated(MatMulForm.TN, rows, depth, columns), 2e-4, caches);
    }

    /// <summary>The sizes above are there for these: without them, the tests would show nothing.</summary>
    [Fact]
    public void Products_divide_rows_and_columns_and_the_contraction()
    {
        MatMulBlocking[] blockings = [.. from p in Products from form in Enum.GetValues<MatMulForm>() from tile in RegisterTile.Products select Blocking(Product(p.Rows, p.Depth, p.Columns, form), tile, Small)];
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Strips && b.DepthBlocks > 1);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Panels && b.DepthBlocks > 1);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Strips && b.BlockStrips < b.Strips);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Transposed && b.BlockStrips < b.Strips);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Transposed && b.PaddedElements > 0);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Panels && b.PaddedElements > 0);
        Assert.Contains(blockings, b => b.Division == MatMulDivision.Transposed && b.GroupStrips * b.Height >= 4 * 16);
        Assert.Contains(blockings, b => b.PacksAhead && b.Division == MatMulDivision.Panels && b.DepthBlocks > 1);
        Assert.Contains(blockings, b => b.PacksAhead && b.Division == MatMulDivision.Panels && b.LastVectors < b.Vectors);
        Assert.Contains(blockings, b => b.PacksAhead && b.Division == MatMulDivision.Strips && b.BlockStrips < b.Strips);
        Assert.Contains(blockings, b => b.LastVectors < b.Vectors);
    }

    /// <summary>
    /// How the products of GPT-2's training step (124 million parameters, 4 sequences of 64 tokens) are cut at 512, 256 and 128 bits, for what most
    /// processors have: tile, blocks of the contraction, how workers come to their parts and what they take, a worker's own memory and what all share.
    /// </summary>
    [Theory]
    [InlineData("NT", 256, 768, 2304, "Transposed 8x48, 1 x 768, Pieces 1-10, fetches, scratch 0, workspace 196608", "Transposed 6x16, 1 x 768, Pieces 1-7, fetches, scratch 0, workspace 196608", "Strips 8x12, 1 x 768, Pieces 1-21, scratch 129024, workspace 1769472")]
    [InlineData("NT", 256, 768, 768, "Transposed 8x48, 1 x 768, Pieces 1-10, fetches, scratch 0, workspace 196608", "Transposed 6x16, 1 x 768, Pieces 1-7, fetches, scratch 0, workspace 196608", "Strips 8x12, 1 x 768, Pieces 1-21, scratch 129024, workspace 589824")]
    [InlineData("NT", 256, 768, 3072, "Transposed 8x48, 1 x 768, Pieces 1-2, fetches, scratch 0, workspace 196608", "Transposed 6x16, 1 x 768, Pieces 1-1, fetches, scratch 0, workspace 196608", "Panels 8x12, 1 x 768, Units 1-1, fetches, scratch 9216, workspace 196608")]
    [InlineData("NT", 256, 3072, 768, "Transposed 8x48, 1 x 3072, Pieces 1-2, fetches, scratch 0, workspace 786432", "Transposed 6x16, 1 x 3072, Pieces 1-1, fetches, scratch 0, workspace 786432", "Panels 8x12, 1 x 3072, Units 1-1, fetches, scratch 36864, workspace 786432")]
    [InlineData("NT", 128, 768, 50257, "Transposed 8x48, 1 x 768, Pieces 1-10, fetches, scratch 12288, workspace 98304", "Transposed 6x16, 1 x 768, Pieces 1-7, fetches, scratch 18432, workspace 98304", "Panels 8x12, 1 x 768, Units 1-1, fetches, scratch 9216, workspace 98304")]
    [InlineData("NN", 256, 2304, 768, "Panels 8x48, 4 x 576, Units 1-1, ahead, scratch 55296, workspace 196608", "Panels 6x16, 2 x 1152, Units 1-1, ahead, scratch 43776, workspace 198144", "Strips 8x12, 1 x 2304, Pieces 1-7, scratch 129024, workspace 1769472")]
    [InlineData("NN", 256, 768, 768, "Panels 8x48, 2 x 384, Units 1-1, ahead, scratch 36864, workspace 196608", "Panels 6x16, 1 x 768, Units 1-1, ahead, scratch 29184, workspace 0", "Strips 8x12, 1 x 768, Pieces 1-21, scratch 129024, workspace 589824")]
    [InlineData("NN", 256, 3072, 768, "Panels 8x48, 5 x 624, Units 1-1, ahead, scratch 59904, workspace 196608", "Panels 6x16, 2 x 1536, Units 1-1, ahead, scratch 58368, workspace 198144", "Panels 8x12, 1 x 3072, Units 1-1, fetches, scratch 36864, workspace 786432")]
    [InlineData("NN", 256, 768, 3072, "Panels 8x48, 2 x 384, Units 1-1, ahead, scratch 36864, workspace 786432", "Panels 6x16, 1 x 768, Units 1-1, ahead, scratch 29184, workspace 0", "Panels 8x12, 1 x 768, Units 1-1, fetches, scratch 9216, workspace 196608")]
    [InlineData("NN", 128, 50257, 768, "Panels 8x48, 74 x 688, Units 1-1, ahead, scratch 66048, workspace 98304", "Panels 6x16, 25 x 2016, Units 1-1, ahead, scratch 76608, workspace 101376", "Strips 8x12, 74 x 688, Pieces 1-16, scratch 88064, workspace 1155072")]
    [InlineData("TN", 2304, 256, 768, "Strips 8x48, 1 x 256, Pieces 1-64, scratch 131072, workspace 196608", "Strips 6x16, 1 x 256, Pieces 1-85, scratch 130560, workspace 196608", "Strips 8x12, 1 x 256, Pieces 1-64, scratch 131072, workspace 196608")]
    [InlineData("TN", 768, 256, 768, "Panels 8x48, 1 x 256, Units 1-1, ahead, scratch 24576, workspace 196608", "Panels 6x16, 1 x 256, Units 1-1, ahead, scratch 8192, workspace 196608", "Strips 8x12, 1 x 256, Pieces 1-64, scratch 131072, workspace 196608")]
    [InlineData("TN", 3072, 256, 768, "Strips 8x48, 1 x 256, Pieces 1-64, scratch 131072, workspace 196608", "Strips 6x16, 1 x 256, Pieces 1-85, scratch 130560, workspace 196608", "Strips 8x12, 1 x 256, Pieces 1-64, scratch 131072, workspace 196608")]
    [InlineData("TN", 768, 256, 3072, "Panels 8x48, 1 x 256, Units 1-1, ahead, scratch 24576, workspace 196608", "Panels 6x16, 1 x 256, Units 1-1, ahead, scratch 8192, workspace 196608", "Strips 8x12, 1 x 256, Pieces 1-64, scratch 131072, workspace 786432")]
    [InlineData("TN", 50257, 128, 768, "Strips 8x48, 1 x 128, Units 1-1, ahead, scratch 8192, workspace 98304", "Strips 6x16, 1 x 128, Units 1-1, ahead, scratch 6144, workspace 98304", "Strips 8x12, 1 x 128, Pieces 1-4, scratch 4096, workspace 98304")]
    public void The_products_of_GPT2_are_cut_so(string formName, int rows, int depth, int columns, string at512, string at256, string at128)
    {
        var plan = new ProductPlan(Product(rows, depth, columns, Enum.Parse<MatMulForm>(formName)), rightPanels: null, CacheSizes.Default);
        Assert.Equal([at512, at256, at128], RegisterTile.Products.Select(tile => Describe(plan.Blocking(tile.Lanes))));

        static string Describe(MatMulBlocking b)
            => $"{b.Division} {b.Height}x{b.Width}, {b.DepthBlocks} x {b.DepthBlock}, {b.Work} {b.LeastUnits}-{b.MostUnits}{(b.PacksAhead ? ", ahead" : "")}{(b.FetchesRows || b.FetchesPanels ? ", fetches" : "")}, scratch {b.Scratch.Elements}, workspace {b.WorkspaceElements}";
    }

    /// <summary>Shapes and caches that nobody thought of.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Random_products_for_random_caches(int seed)
    {
        var random = new Random(seed);
        int Size(int bits) => 1 + random.Next(1 << random.Next(1, bits));
        (int Rows, int Depth, int Columns) Sizes() => (Size(11), Size(12), Size(11)) is var s && (long)s.Item1 * s.Item2 * s.Item3 < 1 << 25 ? s : Sizes();
        var caches = new CacheSizes(L1: 32 << 10, L2: 8 << 10 << random.Next(7), L3: 64 << 10 << random.Next(5));
        ModelGraph[] graphs = [.. Enumerable.Range(0, 12).Select(_ => Sizes()).Select(s => Activated((MatMulForm)random.Next(3), s.Rows, s.Depth, s.Columns, plain: random.Next(2) == 0))];
        foreach ((ModelGraph graph, GraphFunction function) in graphs.Zip(GraphFunction.Compile([.. graphs.Select(KernelCases.Prepare)], BufferPlacement.Guarded, caches)))
        {
            KernelCheck.Compare(new KernelCase($"seed {seed}", KernelCases.Prepare(graph), CaseData.Random(graph, seed), 5e-4), function);
        }
    }

    /// <summary>Every block must fit the caches that it is made for, whatever the shape.</summary>
    [Theory]
    [InlineData(256, 768, 3072)]
    [InlineData(256, 50257, 768)]
    [InlineData(50257, 128, 768)]
    [InlineData(1120, 10000, 512)]
    [InlineData(12288, 768, 3072)]
    public void Blocks_fit_the_caches(int rows, int depth, int columns)
    {
        CacheSizes caches = CacheSizes.Default;
        foreach (RegisterTile tile in RegisterTile.Products)
        {
            foreach (MatMulForm form in Enum.GetValues<MatMulForm>())
            {
                MatMulBlocking blocking = Blocking(Product(rows, depth, columns, form), tile, caches);
                Assert.InRange(4 * blocking.PieceElements * (blocking.PacksAhead ? 2 : 1), 0, caches.L2);
                Assert.InRange(4 * blocking.SharedElements, 0, caches.L3);
                Assert.True(blocking.PieceElements + blocking.SharedElements > 0);
            }
        }
    }

    /// <summary>Queries of the gradient of attention: one block of a few, several, and a ragged last one; as many as a small or a large first level holds.</summary>
    [Theory]
    [InlineData(17, 8, true, 4, 24)]
    [InlineData(200, 8, true, 4, 24)]
    [InlineData(601, 8, true, 64, 72)]
    [InlineData(601, 8, true, 4, 24)]
    [InlineData(150, 8, false, 32, 120)]
    [InlineData(150, 40, false, 32, 48)]
    public void The_gradient_of_attention_takes_queries_in_blocks(int queries, int headDim, bool causal, int firstLevelKilobytes, int block)
    {
        var caches = Small with { L1 = firstLevelKilobytes << 10 };
        ModelGraph graph = KernelCases.PrepareTraining(GradientCheck.WithLoss(OperatorCases.Case("attention", b =>
        {
            Value Rows(string name) => OperatorCases.Parameter(b, name, 1, queries, 2 * headDim);
            return [b.Add(new Attention(2, 2, headDim, 1 / Math.Sqrt(headDim), causal ? KeyRange.Causal : KeyRange.All), "y", Rows("q"), Rows("k"), Rows("v"))];
        }).Graph));
        AttentionGradientKernel kernel = Assert.Single(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default).Kernels.OfType<AttentionGradientKernel>());
        Assert.Equal(block, new AttentionPlan(kernel, caches).Scheme(lanes: 16).QueryBlock);
        Check(graph, 5e-5, caches);
    }

    [Fact]
    public void A_large_head_is_computed_in_blocks_of_rows()
    {
        ModelGraph graph = KernelCases.PrepareTraining(GradientCheck.WithLoss(OperatorCases.Case("head", b =>
        {
            Value x = b.Add(new Tanh(), "hidden", OperatorCases.Parameter(b, "x", 384, 24));
            Value logits = b.Add(new Add(), "logits", b.Add(new MatMul(MatMulForm.NT), "product", x, OperatorCases.Parameter(b, "table", 211, 24)), OperatorCases.Parameter(b, "bias", 211));
            return [b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(), "rows", logits, OperatorCases.Indices(b, "targets", 211, 384)))];
        }).Graph));
        KernelProgram program = ModelCompiler.Target(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default), Small, default).Program;
        LoopKernel loop = Assert.Single(program.Kernels.OfType<LoopKernel>());
        Assert.Equal((3, 128), (loop.Steps.Maximum, loop.BlockRows));
        Assert.DoesNotContain(program.Kernels.SelectMany(k => k is LoopKernel l ? l.Body.SelectMany(b => b.Operands) : k.Operands), o => o.View.Buffer.Space == MemorySpace.Arena && o.View.Buffer.Elements >= 384 * 211);
        Check(graph, 5e-5);
    }

    private static MatMulKernel Product(int rows, int depth, int columns, MatMulForm form)
    {
        KernelOperand Operand(string name, int stride) => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, StorageFormat.Float32, 1), 0), Access.Matrix(stride), name == "c");
        return new MatMulKernel("product", [Operand("a", 1), Operand("b", 1), Operand("c", columns)], form, RowExtent.Literal(rows), columns, depth, [new Store(2, new AccumulatorExpr(), StoreMode.Replace)], 2L * rows * depth * columns, 1 << 20);
    }

    private static MatMulBlocking Blocking(MatMulKernel product, RegisterTile tile, CacheSizes caches) => MatMulBlocking.Of(product, isRightPacked: false, tile, caches);

    private static ModelGraph Activated(MatMulForm form, int rows, int depth, int columns, bool plain = false) => OperatorCases.Case("product", b =>
    {
        Value x = form == MatMulForm.TN ? OperatorCases.Parameter(b, "a", depth, rows) : OperatorCases.Parameter(b, "a", rows, depth);
        Value w = form == MatMulForm.NT ? OperatorCases.Parameter(b, "b", columns, depth) : OperatorCases.Parameter(b, "b", depth, columns);
        Value product = b.Add(new MatMul(form), "product", x, w);
        return plain ? [product] : [b.Add(new Tanh(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", columns))), product];
    }).Graph;

    private static void Check(ModelGraph graph, double tolerance, CacheSizes? caches = null)
    {
        var c = new KernelCase("blocks", graph.Gradients.Count > 0 ? graph : KernelCases.Prepare(graph), CaseData.Random(graph, 7), tolerance);
        foreach (BufferPlacement placement in new[] { BufferPlacement.RedZones, BufferPlacement.Planned })
        {
            KernelCheck.Compare(c, GraphFunction.Compile([c.Graph], placement, caches ?? Small)[0]);
        }
    }
}
