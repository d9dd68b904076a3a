using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>What compiling costs, counted and not timed.</summary>
public sealed class CompilerCostTests
{
    /// <summary>
    /// Four times the layers are four times the work, in every stage. What is counted is what a stage allocates: who looks at everything
    /// for each of everything allocates so too, and bytes are the same on every machine.
    /// </summary>
    [Theory]
    [InlineData("Gpt")]
    [InlineData("RecurrentTagger")]
    [InlineData("Transformer")]
    [InlineData("Decoder")]
    [InlineData("Gemma")]
    [InlineData("Bert")]
    [InlineData("T5")]
    [InlineData("Lfm2", 1, 1, 0)]
    [InlineData("Decoder", 2, 0)]
    [InlineData("Decoder", 3)]
    public void Work_grows_linearly_with_layers(string family, params int[] mixers)
    {
        // Twice, since the compiler that runs this compiler moves some of what is allocated to the stack later on.
        Allocations(family, 12, mixers);
        Dictionary<string, long> shallow = Allocations(family, 12, mixers), deep = Allocations(family, 48, mixers);
        Assert.Contains("Lowering", shallow.Keys);
        Assert.Contains("MemoryPlanVerifier", shallow.Keys);
        string[] worse = [.. deep.Where(d => d.Value > ((mixers.Length > 0 && d.Key == "Fusion" ? 4.2 : 4.6) * shallow[d.Key]) + 100_000).Select(d => $"{d.Key}: {shallow[d.Key]} bytes for 12 layers, {d.Value} for 48")];
        Assert.Empty(worse);
    }

    /// <summary>Where buckets begin is not counted out, distance by distance: for these that would take an hour.</summary>
    [Fact]
    public void Buckets_of_long_distances_are_found_at_once()
    {
        IReadOnlyList<int> starts = [];
        for (int i = 0; i < 1000; i++)
        {
            starts = new RelativeBias(32, KeyRange.LargestWindow, IsBidirectional: false).Starts;
        }

        Assert.Equal(Enumerable.Range(0, 17), starts.Take(17));
        Assert.All(Enumerable.Range(17, 15), bucket => Assert.Equal(Math.Ceiling(16 * Math.Pow(KeyRange.LargestWindow / 16.0, (bucket - 16) / 16.0)), starts[bucket], 1.0));
    }

    private static Dictionary<string, long> Allocations(string family, long layers, int[] mixers)
    {
        (string Name, long Size)[] sizes = family switch
        {
            "Gpt" => [("Layers", layers), ("DModel", 16), ("Heads", 2), ("Vocab", 32), ("Context", 16)],
            "RecurrentTagger" => [("Layers", layers), ("Hidden", 16), ("Vocab", 32), ("Tags", 3), ("MaxBatch", 2)],
            "Decoder" or "Gemma" or "Lfm2" => [("Layers", layers), ("DModel", 16), ("Heads", 2), ("FeedForward", 20), ("Vocab", 32), ("Context", 16)],
            "Bert" => [("Layers", layers), ("DModel", 16), ("Heads", 2), ("FeedForward", 20), ("Vocab", 32), ("Context", 16), ("Head", 1)],
            "T5" => [("Layers", layers / 2), ("DModel", 16), ("Heads", 2), ("FeedForward", 20), ("Vocab", 32), ("Context", 16)],
            _ => [("EncoderLayers", layers / 2), ("DecoderLayers", layers / 2), ("DModel", 16), ("Heads", 2), ("FeedForward", 20), ("SourceVocab", 32), ("TargetVocab", 32), ("Context", 16)],
        };
        ModelSpec spec = Families.Spec(family, 2, 8, [
            .. sizes.Select(size => DeclaredArgument.Of(size.Name, size.Size)), .. mixers.Length > 0 ? [DeclaredArgument.Of("Mixers", mixers)] : Array.Empty<DeclaredArgument>(),
            .. mixers.Contains(2) ? [DeclaredArgument.Of("LinearKeyHeads", 2L), DeclaredArgument.Of("LinearKeyWidth", 8L)] : Array.Empty<DeclaredArgument>(),
            .. mixers.Contains(3) ? [DeclaredArgument.Of("StateHeads", 2L), DeclaredArgument.Of("StateSize", 8L), DeclaredArgument.Of("StateHeadWidth", 16L)] : Array.Empty<DeclaredArgument>(),
        ]);
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
