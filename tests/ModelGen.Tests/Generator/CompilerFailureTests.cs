using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ModelGen.Compiler;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Generator;

/// <summary>A compiler of models that fails, is cancelled, or is not called at all.</summary>
public sealed class CompilerFailureTests
{
    private const string Source = $"using ModelGen;\n{GeneratorHarness.Tiny} public partial class Model;\n[Mlp(2, 3, 2)] public partial class Other;";

    [Fact]
    public void Defect_of_the_compiler_is_an_error_and_the_surface_is_emitted()
    {
        List<string> problems = [];
        GeneratorRunResult result = Run(
            (spec, _, _) => spec.Type.Name == "Model" ? throw new KeyNotFoundException("no such\r\nbuffer") : File(spec),
            (spec, problem, _) =>
            {
                problems.Add(problem);
                return File(spec);
            });

        Diagnostic diagnostic = Assert.Single(result.Diagnostics);
        Assert.Equal((DiagnosticIds.InternalError, DiagnosticSeverity.Error), (diagnostic.Id, diagnostic.Severity));
        Assert.Equal(
            "The model 'Model' was not compiled, because of a defect in ModelGen; please report it with the declaration: KeyNotFoundException: no such buffer",
            GeneratorHarness.Message(diagnostic));
        Assert.Equal(GeneratorHarness.Tiny, $"[{Text(diagnostic)}]");
        Assert.Equal(["KeyNotFoundException: no such buffer"], problems);
        Assert.Equal(["Model.g.cs", "Other.g.cs"], result.GeneratedSources.Select(file => file.HintName).Order(StringComparer.Ordinal));
        Assert.Null(result.Exception);
    }

    [Fact]
    public void Defect_of_the_surface_too_is_reported_once()
    {
        GeneratorRunResult result = Run((_, _, _) => throw new InvalidOperationException("first"), (_, _, _) => throw new InvalidOperationException("second"));
        Assert.Equal(2, result.Diagnostics.Length);
        Assert.All(result.Diagnostics, diagnostic => Assert.EndsWith(": first", GeneratorHarness.Message(diagnostic), StringComparison.Ordinal));
        Assert.Empty(result.GeneratedSources);
        Assert.Null(result.Exception);
    }

    [Fact]
    public void Cancellation_in_the_compiler_is_no_defect()
    {
        using var source = new CancellationTokenSource();
        bool cancel = true;
        CSharpCompilation compilation = GeneratorHarness.Compile(Source);
        GeneratorDriver driver = Driver(
            (spec, _, cancellation) =>
            {
                if (cancel)
                {
                    source.Cancel();
                }

                cancellation.ThrowIfCancellationRequested();
                return File(spec);
            },
            (_, _, _) => throw new InvalidOperationException());
        Assert.ThrowsAny<OperationCanceledException>(() => driver.RunGenerators(compilation, source.Token));

        cancel = false;
        GeneratorRunResult result = driver.RunGenerators(compilation).GetRunResult().Results[0];
        Assert.Empty(result.Diagnostics);
        Assert.Equal(2, result.GeneratedSources.Length);
    }

    [Fact]
    public void Compiler_is_called_once_for_each_model_until_its_declaration_changes()
    {
        List<string> compiled = [];
        GeneratorDriver driver = Driver(
            (spec, _, _) =>
            {
                compiled.Add(spec.Type.Name);
                return File(spec);
            },
            (_, _, _) => throw new InvalidOperationException());
        driver = driver.RunGenerators(GeneratorHarness.Compile(Source));
        Assert.Equal(["Model", "Other"], compiled.Order(StringComparer.Ordinal));

        compiled.Clear();
        driver = driver.RunGenerators(GeneratorHarness.Compile("// A remark.\n" + Source + "\npublic class Unrelated;", "public class File;"));
        Assert.Empty(compiled);

        driver = driver.RunGenerators(GeneratorHarness.Compile(Source.Replace("[Mlp(2, 3, 2)]", "[Mlp(2, 4, 2)]", StringComparison.Ordinal)));
        Assert.Equal(["Other"], compiled);
        Assert.Equal(2, driver.GetRunResult().Results[0].GeneratedSources.Length);
    }

    [Fact]
    public void What_a_device_does_not_count_is_the_declarations_fault()
    {
        GeneratorRunResult result = Run((spec, _, _) => spec.Type.Name == "Model" ? throw new DeviceLimitException("attention has 16777216 x 1 blocks of 256 threads") : File(spec), (spec, _, _) => File(spec));
        Diagnostic diagnostic = Assert.Single(result.Diagnostics);
        Assert.Equal((DiagnosticIds.DeviceLimit, DiagnosticSeverity.Error), (diagnostic.Id, diagnostic.Severity));
        Assert.Equal(
            "The model 'Model' was not compiled, because [Cuda] asks for more than a device counts: attention has 16777216 x 1 blocks of 256 threads",
            GeneratorHarness.Message(diagnostic));

        // Without [Cuda] in sight the class itself is the place.
        Assert.Equal("Model", Text(diagnostic));
    }

    /// <summary>What is too much is underlined where it was asked for, wherever the class is; an edit above it moves the place and compiles nothing.</summary>
    [Theory]
    [InlineData("namespace A.@class { public class @event; public partial class Outer { ", " } }")]
    [InlineData("", "")]
    public void What_a_device_does_not_count_is_underlined(string before, string after)
    {
        string source = $"using ModelGen;\n{before}{GeneratorHarness.Tiny} [Cuda(Precision = CudaPrecision.BF16)] public partial class @event;{after}";
        int compiled = 0;
        GeneratorDriver driver = Driver(
            (_, _, _) =>
            {
                compiled++;
                throw new DeviceLimitException("too much");
            },
            (spec, _, _) => File(spec));
        foreach (string text in (string[])[source, "// A remark.\n" + source])
        {
            driver = driver.RunGenerators(GeneratorHarness.Compile(text));
            Diagnostic diagnostic = Assert.Single(driver.GetRunResult().Results[0].Diagnostics);
            Assert.Equal("Cuda(Precision = CudaPrecision.BF16)", Text(diagnostic));
        }

        Assert.Equal(1, compiled);
    }

    private static string Text(Diagnostic diagnostic) => diagnostic.Location.SourceTree!.GetText().ToString(diagnostic.Location.SourceSpan);

    [Fact]
    public void Invalid_declaration_is_never_compiled()
    {
        string? problem = null;
        GeneratorDriver driver = Driver(
            (_, _, _) => throw new InvalidOperationException("compiled"),
            (spec, text, _) =>
            {
                problem = text;
                return File(spec);
            });
        driver = driver.RunGenerators(GeneratorHarness.Compile("using ModelGen;\n[Mlp(2, 0, 2)] public partial class Model;"));
        Assert.Empty(driver.GetRunResult().Diagnostics);
        Assert.Equal("MG0007: sizes[1] must be at least 1, but is 0", problem);
    }

    private static GeneratorRunResult Run(
        Func<ModelSpec, CacheSizes, CancellationToken, CompiledModel> compile,
        Func<ModelSpec, string, CancellationToken, CompiledModel> compileSurface)
        => Driver(compile, compileSurface).RunGenerators(GeneratorHarness.Compile(Source)).GetRunResult().Results[0];

    private static GeneratorDriver Driver(
        Func<ModelSpec, CacheSizes, CancellationToken, CompiledModel> compile,
        Func<ModelSpec, string, CancellationToken, CompiledModel> compileSurface)
        => CSharpGeneratorDriver.Create([new ModelGenerator(compile, compileSurface).AsSourceGenerator()], parseOptions: GeneratorHarness.ParseOptions);

    private static CompiledModel File(ModelSpec spec) => new([new EmittedFile(spec.Type.HintName + ".g.cs", "// nothing\n")], 0, 0, 0);
}
