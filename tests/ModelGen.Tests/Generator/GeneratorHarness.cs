using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Grammars;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>
/// Runs the generator and the analyzer as the C# compiler would. Every use runs the generator a second time on an equal
/// compilation and requires that nothing is computed again.
/// </summary>
internal static class GeneratorHarness
{
    /// <summary>A declaration with nothing wrong, for tests about something else.</summary>
    public const string Tiny = "[Gpt(Layers = 1, DModel = 8, Heads = 2, Vocab = 11, Context = 6)]";

    private static readonly string[] Steps = [StepNames.Declaration, StepNames.ModelSpec, StepNames.CompiledModel];

    /// <summary>What users' projects refer to: the framework, the runtime, and the package of texts, which has the attributes of grammars.</summary>
    public static ImmutableArray<MetadataReference> References { get; } = [.. InMemoryCompilation.References, MetadataReference.CreateFromFile(typeof(GrammarAttribute).Assembly.Location)];

    /// <summary>As a user's project is parsed that also writes a documentation file.</summary>
    public static CSharpParseOptions ParseOptions { get; } = InMemoryCompilation.ParseOptions.WithDocumentationMode(DocumentationMode.Diagnose);

    /// <summary>As strict as a user's project can be.</summary>
    public static CSharpCompilationOptions Options { get; } = InMemoryCompilation.Options.WithWarningLevel(9999);

    public static CSharpCompilation Compile(params IEnumerable<string> sources) => Compile(ParseOptions, Options, sources);

    public static CSharpCompilation Compile(CSharpParseOptions parseOptions, CSharpCompilationOptions options, params IEnumerable<string> sources)
        => CSharpCompilation.Create(
            "Declarations",
            sources.Select((source, index) => CSharpSyntaxTree.ParseText(SourceText.From(source, Encoding.UTF8), parseOptions, $"File{index}.cs")),
            References,
            options);

    public static GeneratorDriver CreateDriver(Compilation compilation)
        => CSharpGeneratorDriver.Create(
            [new ModelGenerator().AsSourceGenerator(), new GrammarGenerator().AsSourceGenerator()],
            parseOptions: (CSharpParseOptions)compilation.SyntaxTrees.First().Options,
            driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    public static GeneratorRun Run(params IEnumerable<string> sources) => Run(Compile(sources));

    public static GeneratorRun Run(CSharpCompilation compilation)
    {
        GeneratorDriver driver = CreateDriver(compilation).RunGeneratorsAndUpdateCompilation(compilation, out Compilation output, out _);
        GeneratorRun run = new(driver, (CSharpCompilation)output, driver.GetRunResult());
        Assert.Null(run.Result.Results[0].Exception);

        GeneratorRunResult second = driver.RunGenerators(compilation.Clone()).GetRunResult().Results[0];
        foreach ((string step, IncrementalStepRunReason reason) in Reasons(second))
        {
            Assert.True(reason is IncrementalStepRunReason.Cached or IncrementalStepRunReason.Unchanged, $"{step} was {reason} when nothing had changed");
        }

        Assert.Equal(run.Files, TextOf(second));
        return run;
    }

    /// <summary>Why each output of each of the generator's steps, and of the emission itself, is what it is.</summary>
    public static IEnumerable<(string Step, IncrementalStepRunReason Reason)> Reasons(GeneratorRunResult result)
    {
        foreach (string name in Steps)
        {
            foreach (IncrementalGeneratorRunStep step in result.TrackedSteps.GetValueOrDefault(name, []))
            {
                foreach ((_, IncrementalStepRunReason reason) in step.Outputs)
                {
                    yield return (name, reason);
                }
            }
        }

        foreach ((string name, ImmutableArray<IncrementalGeneratorRunStep> steps) in result.TrackedOutputSteps)
        {
            foreach ((_, IncrementalStepRunReason reason) in steps.SelectMany(step => step.Outputs))
            {
                yield return (name, reason);
            }
        }
    }

    public static IReadOnlyDictionary<string, string> TextOf(GeneratorRunResult result)
        => result.GeneratedSources.ToDictionary(file => file.HintName, file => file.SourceText.ToString());

    /// <summary>
    /// Everything that a build would print: the generator's diagnostics, the analyzer's, and the C# compiler's own. Only the
    /// tests' declarations need no documentation.
    /// </summary>
    public static async Task<ImmutableArray<Diagnostic>> DiagnosticsAsync(GeneratorRun run)
    {
        ImmutableArray<Diagnostic> found = await WithWarnings(run.Output).WithAnalyzers([new ModelDeclarationAnalyzer(), new GrammarAnalyzer()]).GetAllDiagnosticsAsync();
        return
        [
            .. run.Result.Diagnostics,
            .. found.Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning && (diagnostic.Id != "CS1591" || IsEmitted(diagnostic))),
        ];
    }

    /// <summary>
    /// The compilation without the line by which emitted files keep warnings to themselves. That line is for compilers and analyzers that
    /// nobody knows yet; of those that we know, none has anything to say.
    /// </summary>
    public static CSharpCompilation WithWarnings(CSharpCompilation compilation)
    {
        const string Pragma = "#pragma warning disable\n";
        foreach (SyntaxTree tree in compilation.SyntaxTrees.Where(IsEmitted))
        {
            string text = tree.ToString();
            Assert.Contains(Pragma, text, StringComparison.Ordinal);
            compilation = compilation.ReplaceSyntaxTree(tree, CSharpSyntaxTree.ParseText(
                SourceText.From(text.Replace(Pragma, "\n", StringComparison.Ordinal), Encoding.UTF8), (CSharpParseOptions)tree.Options, tree.FilePath));
        }

        return compilation;
    }

    /// <summary>The generator's and the analyzer's diagnostics alone: emitted code is not looked at, which takes its time.</summary>
    public static async Task<ImmutableArray<Diagnostic>> ModelDiagnosticsAsync(GeneratorRun run)
    {
        CompilationWithAnalyzers analysis = run.Output.WithAnalyzers([new ModelDeclarationAnalyzer(), new GrammarAnalyzer()]);
        List<Diagnostic> diagnostics = [.. run.Result.Diagnostics];
        foreach (SyntaxTree tree in run.Output.SyntaxTrees.Where(tree => !IsEmitted(tree)))
        {
            diagnostics.AddRange(await analysis.GetAnalyzerSemanticDiagnosticsAsync(run.Output.GetSemanticModel(tree), filterSpan: null, CancellationToken.None));
        }

        return [.. diagnostics];
    }

    /// <summary>Requires exactly the marked diagnostics, and returns their messages in the order of the source.</summary>
    public static Task<IReadOnlyList<string>> ExpectAsync(string marked) => ExpectAsync(marked, ParseOptions, Options);

    public static async Task<IReadOnlyList<string>> ExpectAsync(string marked, CSharpParseOptions parseOptions, CSharpCompilationOptions options, params IEnumerable<string> others)
    {
        MarkedSource source = MarkedSource.Parse(marked);
        GeneratorRun run = Run(Compile(parseOptions, options, [source.Text, .. others]));
        List<Diagnostic> found = [.. (await DiagnosticsAsync(run)).OrderBy(diagnostic => diagnostic.Location.SourceSpan.Start).ThenBy(diagnostic => diagnostic.Id, StringComparer.Ordinal)];
        string[] expected = [.. source.Expected.OrderBy(mark => mark.Span.Start).ThenBy(mark => mark.Id, StringComparer.Ordinal).Select(mark => Show(mark.Id, "File0.cs", mark.Span, source.Text))];
        string[] actual = [.. found.Select(diagnostic => Show(
            diagnostic.Id,
            diagnostic.Location.SourceTree?.FilePath ?? "nowhere",
            diagnostic.Location.SourceSpan,
            diagnostic.Location.SourceTree?.ToString() ?? ""))];
        Assert.True(
            expected.SequenceEqual(actual),
            $"expected:\n  {string.Join("\n  ", expected)}\nfound:\n  {string.Join("\n  ", found.Zip(actual, (diagnostic, text) => $"{text}  {Message(diagnostic)}"))}");
        return [.. found.Select(Message)];
    }

    private static bool IsEmitted(Diagnostic diagnostic) => diagnostic.Location.SourceTree is { } tree && IsEmitted(tree);

    private static bool IsEmitted(SyntaxTree tree) => tree.FilePath.EndsWith(".g.cs", StringComparison.Ordinal);

    public static string Message(Diagnostic diagnostic) => diagnostic.GetMessage(CultureInfo.InvariantCulture);

    private static string Show(string id, string file, TextSpan span, string text)
        => $"{id} {file} [{span.Start}..{span.End}) {(span.End <= text.Length ? text[span.Start..span.End] : "")}";
}

/// <summary>One run of the generator, with the driver that can be run again on an edited compilation.</summary>
internal sealed record GeneratorRun(GeneratorDriver Driver, CSharpCompilation Output, GeneratorDriverRunResult Result)
{
    /// <summary>The emitted files by hint name.</summary>
    public IReadOnlyDictionary<string, string> Files { get; } = GeneratorHarness.TextOf(Result.Results[0]);
}
