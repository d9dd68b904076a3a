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
