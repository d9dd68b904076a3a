using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeActions;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using ModelGen.CodeFixes;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.Tests.Generator;

/// <summary>The code fix, applied as an editor applies it.</summary>
public sealed class MakePartialTests
{
    private const string Tiny = GeneratorHarness.Tiny;

    private const string Using = "using ModelGen;\n";

    [Theory]
    [InlineData($"{Tiny}\npublic class Model;", $"{Tiny}\npublic partial class Model;")]
    [InlineData($"{Tiny}\nclass Model {{ }}", $"{Tiny}\npartial class Model {{ }}")]
    [InlineData($"{Tiny} class Model;", $"{Tiny} partial class Model;")]
    [InlineData($"{Tiny}\n// why\nclass Model;", $"{Tiny}\n// why\npartial class Model;")]
    [InlineData($"{Tiny}\npublic sealed /* not derived */ class Model;", $"{Tiny}\npublic sealed /* not derived */ partial class Model;")]
    [InlineData(
        $"/// <summary>Outer.</summary>\nclass Outer\n{{\n    public readonly struct Middle\n    {{\n        {Tiny}\n        public class Model;\n    }}\n}}",
        $"/// <summary>Outer.</summary>\npartial class Outer\n{{\n    public readonly partial struct Middle\n    {{\n        {Tiny}\n        public partial class Model;\n    }}\n}}")]
    [InlineData(
        $"interface IOuter\n{{\n    partial record Middle\n    {{\n        {Tiny} class Model;\n    }}\n}}",
        $"partial interface IOuter\n{{\n    partial record Middle\n    {{\n        {Tiny} partial class Model;\n    }}\n}}")]
    public async Task Class_and_the_types_around_it_become_partial(string before, string after)
    {
        using AdhocWorkspace workspace = CreateWorkspace(before);
        Document document = workspace.CurrentSolution.Projects.Single().Documents.Single();
        Diagnostic diagnostic = (await AnalyzeAsync(document)).First(found => found.Id == DiagnosticIds.NotPartial);

        Document changed = await ApplyAsync(document, await RegisterAsync(document, diagnostic));
        Assert.Equal(Using + after, (await changed.GetTextAsync()).ToString());
        Assert.Empty(await AnalyzeAsync(changed));
    }

    [Fact]
    public async Task Container_alone_becomes_partial()
    {
        using AdhocWorkspace workspace = CreateWorkspace($"class Outer {{ {Tiny} partial class Model; }}");
        Document document = workspace.CurrentSolution.Projects.Single().Documents.Single();
        Diagnostic diagnostic = Assert.Single(await AnalyzeAsync(document));
        Assert.Equal(DiagnosticIds.ContainerNotPartial, diagnostic.Id);

        Document changed = await ApplyAsync(document, await RegisterAsync(document, diagnostic));
        Assert.Equal(Using + $"partial class Outer {{ {Tiny} partial class Model; }}", (await changed.GetTextAsync()).ToString());
    }

    [Theory]
    [InlineData(FixAllScope.Document)]
    [InlineData(FixAllScope.Project)]
    [InlineData(FixAllScope.Solution)]
    public async Task All_are_fixed_at_once(FixAllScope scope)
    {
        const string Before = $"class Outer\n{{\n    {Tiny}\n    class First;\n\n    {Tiny}\n    class Second;\n}}\n\n{Tiny}\ninternal class Third;\n";
        const string After = $"partial class Outer\n{{\n    {Tiny}\n    partial class First;\n\n    {Tiny}\n    partial class Second;\n}}\n\n{Tiny}\ninternal partial class Third;\n";
        using AdhocWorkspace workspace = CreateWorkspace(Before);
        Document document = workspace.CurrentSolution.Projects.Single().Documents.Single();
        CodeAction single = await RegisterAsync(document, (await AnalyzeAsync(document))[0]);
        var provider = new MakePartialCodeFixProvider();
        var context = new FixAllContext(
            document,
            provider,
            scope,
            single.EquivalenceKey!,
            provider.FixableDiagnosticIds,
            new Analyzed(),
            CancellationToken.None);

        CodeAction all = (await provider.GetFixAllProvider().GetFixAsync(context))!;
        Document changed = await ApplyAsync(document, all);
        Assert.Equal(Using + After, (await changed.GetTextAsync()).ToString());
        Assert.Empty(await AnalyzeAsync(changed));
    }

    private static AdhocWorkspace CreateWorkspace(string source)
    {
        var workspace = new AdhocWorkspace();
        ProjectId project = ProjectId.CreateNewId();
        workspace.AddProject(ProjectInfo.Create(
            project,
            VersionStamp.Default,
            "Project",
            "Project",
            LanguageNames.CSharp,
            compilationOptions: GeneratorHarness.Options,
            parseOptions: GeneratorHarness.ParseOptions,
            metadataReferences: Infrastructure.InMemoryCompilation.References));
        workspace.AddDocument(project, "File.cs", SourceText.From(Using + source));
        return workspace;
    }

    private static async Task<ImmutableArray<Diagnostic>> AnalyzeAsync(Document document)
        => await (await document.Project.GetCompilationAsync())!.WithAnalyzers([new ModelDeclarationAnalyzer()]).GetAnalyzerDiagnosticsAsync();

    private static async Task<CodeAction> RegisterAsync(Document document, Diagnostic diagnostic)
    {
        List<CodeAction> actions = [];
        await new MakePartialCodeFixProvider().RegisterCodeFixesAsync(
            new CodeFixContext(document, diagnostic, (action, _) => actions.Add(action), CancellationToken.None));
        CodeAction fix = Assert.Single(actions);
        Assert.Equal("Make it partial", fix.Title);
        return fix;
    }

    private static async Task<Document> ApplyAsync(Document document, CodeAction action)
    {
        ApplyChangesOperation change = Assert.IsType<ApplyChangesOperation>(Assert.Single(await action.GetOperationsAsync(CancellationToken.None)));
        return change.ChangedSolution.GetDocument(document.Id)!;
    }

    /// <summary>Finds the diagnostics for "fix all" as the editor does: by running the analyzer.</summary>
    private sealed class Analyzed : FixAllContext.DiagnosticProvider
    {
        public override async Task<IEnumerable<Diagnostic>> GetAllDiagnosticsAsync(Project project, CancellationToken cancellationToken)
            => await AnalyzeAsync(project.Documents.Single());

        public override async Task<IEnumerable<Diagnostic>> GetDocumentDiagnosticsAsync(Document document, CancellationToken cancellationToken)
            => await AnalyzeAsync(document);

        public override Task<IEnumerable<Diagnostic>> GetProjectDiagnosticsAsync(Project project, CancellationToken cancellationToken)
            => Task.FromResult<IEnumerable<Diagnostic>>([]);
    }
}
