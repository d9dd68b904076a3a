using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>What compiling costs, counted and not timed.</summary>
public sealed class CompilerCostTests
{
    /// <summary>
    /// Four times the layers are four times the work, in every stage. What is counted is what a stage allocates: who looks at everything
    /// for each of everything allocates so too, and bytes are the same on every machine.
    /// </summary>
    [Fact]
    public void Work_grows_linearly_with_layers()
    {
        // Twice, since the compiler that runs this compiler moves some of what is allocated to the stack later on.
        Allocations(12);
        Dictionary<string, long> shallow = Allocations(12), deep = Allocations(48);
        Assert.Contains("Lowering", shallow.Keys);
        Assert.Contains("MemoryPlanVerifier", shallow.Keys);
        string[] worse = [.. deep.Where(d => d.Value > (4.6 * shallow[d.Key]) + 100_000).Select(d => $"{d.Key}: {shallow[d.Key]} bytes for 12 layers, {d.Value} for 48")];
        Assert.Empty(worse);
    }

    private static Dictionary<string, long> Allocations(int layers)
    {
        ModelSpec spec = Families.Spec("Gpt", 2, 8,
            DeclaredArgument.Of("Layers", (long)layers), DeclaredArgument.Of("DModel", 16L), DeclaredArgument.Of("Heads", 2L), DeclaredArgument.Of("Vocab", 32L), DeclaredArgument.Of("Context", 16L));
        var counter = new Counter();
        ModelCompiler.Compile(spec, FamilyRegistry.Get(spec.Family).Describe(spec), CacheSizes.Default, new Stages(default, counter));
        return counter.Bytes;
    }

    private sealed class Counter : IStageObserver
    {
        private long _start;

        public Dictionary<string, long> Bytes { get; } = [];

        public void Begin(string stage) => _start = GC.GetAllocatedBytesForCurrentThread();

        public void End(string stage)
        {
            long bytes = GC.GetAllocatedBytesForCurrentThread() - _start;
            Bytes[stage] = Bytes.GetValueOrDefault(stage) + bytes;
        }
    }
}
