using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>What rows send to experts: its order, which is sorted by counting, and how experts' weights lie on a device.</summary>
public sealed class PtxExpertTests
{
    /// <summary>Around the turns of a warp, the parts of eight, more experts than threads, and more than eight warps have memory to count for.</summary>
    [Theory]
    [InlineData(1, 3, 2)]
    [InlineData(31, 4, 1)]
    [InlineData(33, 2, 2)]
    [InlineData(257, 5, 4)]
    [InlineData(700, 8, 2)]
    [InlineData(129, 300, 8)]
    [InlineData(40, 3000, 3)]
    public void Choices_are_sorted(int rows, int experts, int chosen)
    {
        ModelGraph graph = Routed(rows, experts, chosen);
        RunArguments run = CaseData.Random(graph, rows);
        PtxFunction function = PtxFunction.Compile(graph);
        KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run), 0, $"{rows} {experts} {chosen}");
    }

    /// <summary>Twice as many rows take twice as many instructions.</summary>
    [Fact]
    public void Sorting_is_linear()
    {
        long Executed(int rows)
        {
            ModelGraph graph = Routed(rows, 8, 2);
            PtxFunction function = PtxFunction.Compile(graph);
            function.Run(CaseData.Random(graph, 3));
            return function.ExecutedBy.Single(entry => entry.Key.StartsWith("Sort_", StringComparison.Ordinal)).Value;
        }

        long once = Executed(1024), twice = Executed(2048);
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{once} and {twice} thread instructions for 2,048 and 4,096 choices"));
        Assert.InRange(twice, once, once * 21 / 10);
    }

    /// <summary>Whatever orders the block's warps, and the lanes of one, is there for something.</summary>
    [Theory]
    [InlineData("\tbar.sync 0;\n")]
    [InlineData("\tbar.warp.sync -1;\n")]
    public void What_is_left_out_is_found(string awaited)
    {
        ModelGraph graph = Routed(700, 5, 2);
        RunArguments run = CaseData.Random(graph, 3);
        string[] entries = PtxFunction.Compile(graph).Module.Split(".visible .entry ");
        int sort = Array.FindIndex(entries, entry => entry.StartsWith("Sort_", StringComparison.Ordinal));
        string[] parts = entries[sort].Split(awaited);
        Assert.True(parts.Length > 4);
        for (int i = 0; i < parts.Length - 1; i++)
        {
            int left = i;
            string broken = string.Concat(parts.Select((part, j) => j == parts.Length - 1 || j == left ? part : part + awaited));
            PtxFunction function = PtxFunction.Compile(graph, _ => string.Join(".visible .entry ", entries.Select((entry, j) => j == sort ? broken : entry)));
            Assert.Throws<PtxException>(() => function.Run(run));
        }
    }

    /// <summary>Weights of experts stay as they are packed: none is widened.</summary>
    [Theory]
    [InlineData("F16")]
    [InlineData("BF16")]
    [InlineData("Q8_0")]
    [InlineData("Q4_0")]
    public void Weights_of_experts_stay_packed(string format)
    {
        DeclaredArgument I(string name, long value) => DeclaredArgument.Of(name, value);
        ModelSpec spec = Families.Spec("Decoder", 0, 0, I("Layers", 1), I("DModel", 64), I("Heads", 2), I("FeedForward", 96), I("Vocab", 37), I("Context", 9), I("Experts", 5), I("ActiveExperts", 2), I("Weights", (long)Enum.Parse<ModelGen.Compiler.WeightFormat>(format))) with { Training = null, HasCuda = true };
        CompiledPlans plans = ModelCompiler.Plan(spec, CacheSizes.Default, default);
        Assert.Contains(plans.OnDevice.Formats, pair => pair.Key.Contains("expert", StringComparison.OrdinalIgnoreCase) && pair.Value.Name == format);
        Assert.Empty(plans.WidenedFormats);
    }

    private static ModelGraph Routed(int rows, int experts, int chosen) => KernelCases.Prepare(OperatorCases.Case("route", b =>
    {
        Value[] sent = b.AddMany(new Route(chosen), "route", [OperatorCases.Parameter(b, "scores", rows, experts)]);
        Value numbers = OperatorCases.Parameter(b, "numbers", rows, 1), ofExperts = OperatorCases.Parameter(b, "experts", experts, 1);
        Value gathered = b.Add(new Embedding(), "gathered", numbers, sent[Route.Rows]);
        return [b.Add(new Embedding(), "rows", numbers, sent[Route.Rows]), b.Add(new Embedding(), "of", ofExperts, sent[Route.Experts]), b.Add(new Embedding(), "own", gathered, sent[Route.Copies])];
    }).Graph);
}
