using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>Emitted code is part of the user's project, so it compiles there without a warning at the strictest settings.</summary>
public sealed class EmittedCodeTests
{
    public static TheoryData<string> Declarations =>
    [
        "[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 17, Context = 9)]",
        "[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 17, Context = 9)] [Trainable(BatchSize = 2, SequenceLength = 5)]",
        "[Gpt(Layers = 1, DModel = 1, Heads = 1, Vocab = 1, Context = 1)] [Trainable(BatchSize = 1, SequenceLength = 1)]",
        "[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 7, FeedForward = 5, Activation = Activation.Relu, TieEmbeddings = false, Bias = false, QkvBias = true, HeadBias = true, LayerNormEpsilon = 1e-6, Dropout = 0.1, Layout = ParameterLayout.Linear)] [Trainable(BatchSize = 3, SequenceLength = 7)]",
        "[Mlp(3, 2)]",
        "[Mlp(3, 5, 2, OutputActivation = Activation.Sigmoid)]",
        "[Mlp(3, 5, 2)] [Trainable(BatchSize = 4)]",
        "[Mlp(3, 5, Bias = false, Loss = Loss.SquaredError)] [Trainable(BatchSize = 4)]",
        "[Mlp(48, 96, 48, Loss = Loss.SquaredError)] [Trainable(BatchSize = 4200)]",
        "[Mlp(3, 5, 4, 1, Activation = Activation.Sigmoid, OutputActivation = Activation.Sigmoid, Loss = Loss.SquaredError, Bias = false)] [Trainable(BatchSize = 4)]",
        "[Mlp(3, 5, 1, Activation = Activation.Silu, Loss = Loss.BinaryCrossEntropy)] [Trainable(BatchSize = 1)]",
        "[RecurrentLm(Hidden = 5, Vocab = 7)]",
        "[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 5, Embedding = 3, Vocab = 7, Dropout = 0.5)] [Trainable(BatchSize = 2, SequenceLength = 3)]",
        "[RecurrentLm(Cell = Cell.Gru, Layers = 1, Hidden = 5, Vocab = 7, TieEmbeddings = true)] [Trainable(BatchSize = 1, SequenceLength = 1)]",
        "[RecurrentLm(Cell = Cell.Rnn, Layers = 3, Hidden = 1, Embedding = 1, Vocab = 2)] [Trainable(BatchSize = 2, SequenceLength = 3)]",
    ];

    [Theory]
    [MemberData(nameof(Declarations))]
    public void Emitted_code_compiles_without_a_warning(string declaration)
    {
        GeneratorRun run = GeneratorHarness.Run($"using ModelGen;\nnamespace Tests;\n/// <summary>Documented.</summary>\n{declaration}\npublic partial class Model;");
        AssertClean(run.Result.Diagnostics);
        using var image = new MemoryStream();
        using var documentation = new MemoryStream();
        AssertClean(GeneratorHarness.WithWarnings(run.Output).Emit(image, xmlDocumentationStream: documentation).Diagnostics.Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning));
    }

    [Fact]
    public void Code_of_a_large_model_stays_below_a_megabyte()
    {
        // GPT-2 of 124 million parameters: a compiler and an editor have to live with this text.
        GeneratorRun run = GeneratorHarness.Run(
            "[ModelGen.Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)] [ModelGen.Trainable(BatchSize = 4, SequenceLength = 64)] public partial class Gpt2;");
        Assert.InRange(run.Files.Sum(file => System.Text.Encoding.UTF8.GetByteCount(file.Value)), 100_000, 999_999);
    }

    [Theory]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 3, Vocab = 11, Context = 7)]")]
    [InlineData("[Gpt(Layers = 1, DModel = 8, Heads = 3, Vocab = 11, Context = 7)] [Trainable(BatchSize = 2, SequenceLength = 5)]")]
    [InlineData("[Gpt]")]
    [InlineData("[Mlp]")]
    [InlineData("[Mlp(0, 3)] [Trainable(BatchSize = 2)]")]
    [InlineData("[Mlp(2, 3, 1, Loss = Loss.CrossEntropy)] [Trainable]")]
    [InlineData("[Mlp(2, 3, 1, Loss = (Loss)44)] [Trainable]")]
    [InlineData("[RecurrentLm(Hidden = -4, Vocab = 0)] [Trainable(BatchSize = -2, SequenceLength = -5)]")]
    [InlineData("[RecurrentLm(Cell = (Cell)77, Hidden = 4, Vocab = 5)]")]
    public void Surface_of_an_invalid_declaration_compiles_and_throws_the_problem(string declaration)
    {
        GeneratorRun run = GeneratorHarness.Run($"using ModelGen;\nnamespace Tests;\n/// <summary>Documented.</summary>\n{declaration}\npublic partial class Model;");
        AssertClean(GeneratorHarness.WithWarnings(run.Output).GetDiagnostics().Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning));
        AssertClean(run.Result.Diagnostics);

        System.Reflection.Assembly assembly = InMemoryCompilation.Load(
            [("Model.cs", run.Output.SyntaxTrees.First().ToString()), .. run.Files.Select(file => (file.Key, file.Value))],
            "InvalidModel");
        System.Reflection.MethodInfo create = assembly.GetType("Tests.Model")!.GetMethod("Create")!;
        var thrown = Assert.Throws<System.Reflection.TargetInvocationException>(() => create.Invoke(null, [1]));
        Assert.Contains("MG00", Assert.IsType<InvalidOperationException>(thrown.InnerException).Message);
    }

    [Fact]
    public void Surface_needs_no_unsafe_code()
    {
        GeneratorRun run = GeneratorHarness.Run(GeneratorHarness.Compile(
            GeneratorHarness.ParseOptions,
            GeneratorHarness.Options.WithAllowUnsafe(false),
            $"using ModelGen;\n/// <summary>Documented.</summary>\n{GeneratorHarness.Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;"));
        AssertClean(GeneratorHarness.WithWarnings(run.Output).GetDiagnostics().Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning));
    }

    [Fact]
    public void Emitted_files_are_marked_as_generated_and_enable_nullable()
    {
        foreach ((string name, string text) in GeneratorHarness.Run($"using ModelGen;\n{GeneratorHarness.Tiny} public partial class Model;").Files)
        {
            Assert.True(text.StartsWith("// <auto-generated", StringComparison.Ordinal), name);
            Assert.Contains("#nullable enable\n", text);
        }
    }

    /// <summary>A project that does not enable nullable references, or implicit usings, gets the same clean build.</summary>
    [Theory]
    [InlineData(NullableContextOptions.Disable)]
    [InlineData(NullableContextOptions.Warnings)]
    public void Emitted_code_does_not_depend_on_the_nullable_setting_of_the_project(NullableContextOptions nullable)
    {
        GeneratorRun run = GeneratorHarness.Run(GeneratorHarness.Compile(
            GeneratorHarness.ParseOptions,
            GeneratorHarness.Options.WithNullableContextOptions(nullable).WithOverflowChecks(true),
            $"using ModelGen;\n/// <summary>Documented.</summary>\n{GeneratorHarness.Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;"));
        AssertClean(GeneratorHarness.WithWarnings(run.Output).GetDiagnostics().Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning));
    }

    private static void AssertClean(IEnumerable<Diagnostic> diagnostics)
    {
        string text = InMemoryCompilation.Describe(diagnostics);
        Assert.True(text.Length == 0, text);
    }
}
