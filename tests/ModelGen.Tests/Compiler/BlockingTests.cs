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
            return [b.Add(new Attention(2, 2, headDim, 1 / Math.Sqrt(headDim), causal, Cached: false), "y", Rows("q"), Rows("k"), Rows("v"))];
        }).Graph));
        AttentionGradientKernel kernel = Assert.Single(Lowering.Run(graph, ModelLayout.Of(graph), default).Kernels.OfType<AttentionGradientKernel>());
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
        KernelProgram program = CpuTarget.Plan(Lowering.Run(graph, ModelLayout.Of(graph), default), Small).Program;
        LoopKernel loop = Assert.Single(program.Kernels.OfType<LoopKernel>());
        Assert.Equal((3, 128), (loop.Steps.Maximum, loop.BlockRows));
        Assert.DoesNotContain(program.Kernels.SelectMany(k => k is LoopKernel l ? l.Body.SelectMany(b => b.Operands) : k.Operands), o => o.View.Buffer.Space == MemorySpace.Arena && o.View.Buffer.Size >= 384 * 211);
        Check(graph, 5e-5);
    }

    private static MatMulKernel Product(int rows, int depth, int columns, MatMulForm form)
    {
        KernelOperand Operand(string name, int stride) => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, 1), 0), Access.Matrix(stride), name == "c");
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
