using ModelGen.Compiler;
using ModelGen.PackageTests;

namespace ModelGen.ArmTests;

/// <summary>The program that all tests run, compiled once, when the first needs it.</summary>
public sealed class ArmFixture : IDisposable
{
    // The processors at both ends: the oldest instruction set that .NET supports, and everything that the emulator knows.
    public const string Oldest = "cortex-a53";
    public const string Newest = "max";

    private readonly TemporaryFolder _folder = new();
    private readonly Lazy<LeafAssembly> _assembly;
    private readonly Lazy<ArmProgram> _program;
    private readonly Dictionary<string, ModelRun> _runs = [];

    public ArmFixture()
    {
        _assembly = new Lazy<LeafAssembly>(() => new LeafAssembly(_folder, Models));
        _program = new Lazy<ArmProgram>(() => new ArmProgram(_folder, Assembly));
    }

    /// <summary>Sizes that no vector and no tile divides.</summary>
    internal static IReadOnlyList<ModelScenario> Models { get; } =
    [
        new("RaggedGpt", "Gpt", batch: 3, sequence: 19, vocabulary: 97, accumulates: true,
            DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 60), DeclaredArgument.Of("Heads", 5), DeclaredArgument.Of("Context", 23), DeclaredArgument.Of("Dropout", 0.1)),
        new("RaggedLstm", "RecurrentLm", batch: 3, sequence: 7, vocabulary: 31, accumulates: false,
            DeclaredArgument.Of("Cell", 1), DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("Hidden", 19), DeclaredArgument.Of("Embedding", 13)),
        new("RaggedQwen", "Qwen", batch: 2, sequence: 19, vocabulary: 53, accumulates: true,
            [.. Decoder, DeclaredArgument.Of("Mixers", [2, 0]), DeclaredArgument.Of("LinearKeyHeads", 2), DeclaredArgument.Of("LinearKeyWidth", 19), DeclaredArgument.Of("LinearValueHeads", 4), DeclaredArgument.Of("LinearValueWidth", 21), DeclaredArgument.Of("ConvolutionTaps", 4), DeclaredArgument.Of("AttentionOutputGate", 1), DeclaredArgument.Of("RotaryFraction", 0.4)]),
        new("RaggedGptOss", "GptOss", batch: 2, sequence: 19, vocabulary: 53, accumulates: false,
            [.. Decoder, DeclaredArgument.Of("Experts", 5), DeclaredArgument.Of("ActiveExperts", 2), DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("LayerWindows", [7, 0]), DeclaredArgument.Of("GateLimit", 0.3)]),
        new("RaggedGranite", "Granite", batch: 2, sequence: 19, vocabulary: 53, accumulates: false,
            [.. Decoder, DeclaredArgument.Of("Mixers", [3, 0]), DeclaredArgument.Of("StateHeads", 4), DeclaredArgument.Of("StateSize", 19), DeclaredArgument.Of("StateHeadWidth", 9), DeclaredArgument.Of("StateGroups", 2), DeclaredArgument.Of("ConvolutionTaps", 4)]),
    ];

    private static DeclaredArgument[] Decoder =>
    [
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 36), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2),
        DeclaredArgument.Of("HeadWidth", 20), DeclaredArgument.Of("FeedForward", 45), DeclaredArgument.Of("Context", 23),
    ];

    internal LeafAssembly Assembly => _assembly.Value;

    internal ArmProgram Program => _program.Value;

    /// <summary>What a model's image is, and what it becomes here.</summary>
    internal ModelRun Run(string model)
    {
        if (!_runs.TryGetValue(model, out ModelRun? run))
        {
            MemoryImage image = new();
            IReadOnlyList<Readout> readouts = Models.Single(m => m.Name == model).AddTo(image, Assembly);
            _runs.Add(model, run = new ModelRun(image, readouts, Assembly.RunHere(image.ToArray())));
        }

        return run;
    }

    public void Dispose() => _folder.Dispose();
}

/// <summary>A model's image, what to read of it, and the memory after a run under the JIT of this machine.</summary>
internal sealed record ModelRun(MemoryImage Image, IReadOnlyList<Readout> Readouts, byte[] Here);

/// <summary>The tests that share the program.</summary>
[CollectionDefinition(Name)]
public sealed class ArmTestGroup : ICollectionFixture<ArmFixture>
{
    public const string Name = "Arm";
}
