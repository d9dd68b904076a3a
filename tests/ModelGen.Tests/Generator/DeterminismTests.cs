using System.Globalization;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Generator;

/// <summary>The same declaration gives the same bytes on every machine, and a compilation can be given up at any time.</summary>
public sealed class DeterminismTests
{
    private static readonly string[] Declarations =
    [
        "[Gpt(Layers = 2, DModel = 12, Heads = 3, Vocab = 17, Context = 9, Dropout = 0.1, LayerNormEpsilon = 1e-6)] [Trainable(BatchSize = 2, SequenceLength = 5)] public partial class Title;",
        "[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 7, Embedding = 5, Vocab = 11, Dropout = 0.25)] [Trainable(BatchSize = 2, SequenceLength = 5)] public partial class Input;",
        "[Mlp(5, 7, 3, Activation = Activation.Tanh)] [Trainable(BatchSize = 3)] public partial class Init;",
    ];

    private static string Source => "using ModelGen;\n" + string.Join("\n", Declarations) + "\n";

    /// <summary>
    /// The tests run with invariant globalization, where no other culture exists, so what cultures do differently is set by
    /// hand. Real cultures are for tests/ModelGen.RoslynMatrix.
    /// </summary>
    [Fact]
    public void Emitted_text_does_not_depend_on_the_culture()
    {
        IReadOnlyDictionary<string, string> expected = InCulture(CultureInfo.InvariantCulture);
        var culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        culture.NumberFormat.NumberDecimalSeparator = ",";
        culture.NumberFormat.NumberGroupSeparator = ".";
        culture.NumberFormat.NegativeSign = "\u2212";
        culture.NumberFormat.NaNSymbol = "keine Zahl";
        Assert.Equal("\u22121,5", (-1.5).ToString(culture));
        Assert.Equal(expected, InCulture(culture));
    }

    [Fact]
    public void Emitted_text_does_not_depend_on_line_endings()
    {
        IReadOnlyDictionary<string, string> unix = GeneratorHarness.Run(Source).Files;
        IReadOnlyDictionary<string, string> windows = GeneratorHarness.Run(Source.Replace("\n", "\r\n", StringComparison.Ordinal)).Files;
        Assert.Equal(unix, windows);
        Assert.All(unix, file => Assert.DoesNotContain('\r', file.Value));
        Assert.All(unix, file => Assert.EndsWith("\n", file.Value, StringComparison.Ordinal));
    }

    [Fact]
    public void Emitted_text_does_not_depend_on_the_order_of_declarations()
    {
        IReadOnlyDictionary<string, string> forward = GeneratorHarness.Run(["using ModelGen;\n" + string.Join("\n", Declarations)]).Files;
        IReadOnlyDictionary<string, string> backward = GeneratorHarness.Run(Declarations.Reverse().Select(declaration => "using ModelGen;\n" + declaration)).Files;
        Assert.Equal(forward.OrderBy(file => file.Key, StringComparer.Ordinal), backward.OrderBy(file => file.Key, StringComparer.Ordinal));
    }

    [Fact]
    public void Emitted_text_names_no_file_of_this_machine()
    {
        string[] forbidden = [Environment.CurrentDirectory, Environment.MachineName, "File0.cs"];
        foreach ((string name, string text) in GeneratorHarness.Run(Source).Files)
        {
            Assert.All(forbidden, word => Assert.False(text.Contains(word, StringComparison.Ordinal), $"{name} contains '{word}'"));
        }
    }

    [Fact]
    public void Cancelled_run_ends_and_the_next_one_is_whole()
    {
        Compilation compilation = GeneratorHarness.Compile(Source);
        GeneratorDriver driver = GeneratorHarness.CreateDriver(compilation);
        Assert.ThrowsAny<OperationCanceledException>(() => driver.RunGenerators(compilation, new CancellationToken(canceled: true)));
        Assert.Equal(GeneratorHarness.Run(Source).Files, GeneratorHarness.TextOf(driver.RunGenerators(compilation).GetRunResult().Results[0]));
    }

    [Fact]
    public void Compiler_honours_cancellation()
    {
        foreach (string declaration in Declarations)
        {
            ModelSpec spec = DeclarationReading.Read("using ModelGen;\n" + declaration).Spec;
            Assert.ThrowsAny<OperationCanceledException>(() => ModelCompiler.Compile(spec, CacheSizes.Default, new CancellationToken(canceled: true)));
        }
    }

    /// <summary>Cancelled at a random moment: either it ends as cancelled, or it had finished and the result is whole.</summary>
    [Fact]
    public void Run_cancelled_midway_leaves_nothing_half_done()
    {
        Compilation compilation = GeneratorHarness.Compile(Source);
        IReadOnlyDictionary<string, string> expected = GeneratorHarness.Run(Source).Files;
        var random = new Random(5);
        for (int i = 0; i < 8; i++)
        {
            GeneratorDriver driver = GeneratorHarness.CreateDriver(compilation);
            using var source = new CancellationTokenSource(TimeSpan.FromMilliseconds(random.Next(0, 40)));
            try
            {
                driver = driver.RunGenerators(compilation, source.Token);
            }
            catch (OperationCanceledException)
            {
                driver = driver.RunGenerators(compilation);
            }

            GeneratorRunResult result = driver.GetRunResult().Results[0];
            Assert.Null(result.Exception);
            Assert.Empty(result.Diagnostics);
            Assert.Equal(expected, GeneratorHarness.TextOf(result));
        }
    }

    private static IReadOnlyDictionary<string, string> InCulture(CultureInfo culture)
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = culture;
            return GeneratorHarness.Run(Source).Files;
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }
}
