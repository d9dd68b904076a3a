using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>Every diagnostic is documented and tracked, and nothing that is documented does not exist.</summary>
public sealed partial class DiagnosticPageTests
{
    private static IReadOnlyList<DiagnosticDescriptor> Descriptors { get; } =
        [.. DiagnosticDescriptors.OfDeclarations.Union(DiagnosticDescriptors.OfGrammars), DiagnosticDescriptors.UnsafeForbidden, DiagnosticDescriptors.DeviceLimit, DiagnosticDescriptors.InternalError];

    public static TheoryData<string> Ids => [.. Descriptors.Select(descriptor => descriptor.Id)];

    [Theory]
    [MemberData(nameof(Ids))]
    public void Diagnostic_has_a_page_that_its_link_leads_to(string id)
    {
        DiagnosticDescriptor descriptor = Descriptors.Single(descriptor => descriptor.Id == id);
        Assert.Equal($"https://github.com/modelgen/modelgen/blob/main/docs/diagnostics/{id}.md", descriptor.HelpLinkUri);

        string page = File.ReadAllText(Path.Combine(SourceTree.Root, "docs", "diagnostics", id + ".md"));
        Assert.StartsWith($"# {id}: {descriptor.Title.ToString(CultureInfo.InvariantCulture)}\n", page, StringComparison.Ordinal);
        Assert.Contains("\n## Cause\n", page);
        Assert.Contains("\n## Example\n", page);
        Assert.Contains("\n## Fix\n", page);
    }

    /// <summary>The wrong code of a page has its problem and the right code has none.</summary>
    [Theory]
    [MemberData(nameof(Ids))]
    public async Task Examples_of_the_page_are_right_about_the_diagnostic(string id)
    {
        string page = File.ReadAllText(Path.Combine(SourceTree.Root, "docs", "diagnostics", id + ".md"));
        string[] blocks = [.. Block().Matches(page).Select(match => match.Groups[1].Value)];
        if (blocks.Length == 0)
        {
            // The problem is one of the project file, or of ModelGen itself, or of another file, or takes long to get to.
            Assert.Contains(id, new[] { DiagnosticIds.DeviceLimit, DiagnosticIds.UnsafeNotAllowed, DiagnosticIds.UnsafeForbidden, DiagnosticIds.LanguageVersionTooOld, DiagnosticIds.VocabularyWrong, DiagnosticIds.InternalError });
            return;
        }

        // The first is wrong, and whatever a page says instead is right.
        Assert.InRange(blocks.Length, 2, int.MaxValue);
        Assert.Equal([id], await FindAsync(blocks[0]));
        foreach (string right in blocks[1..])
        {
            Assert.Empty(await FindAsync(right));
        }

        static async Task<IEnumerable<string>> FindAsync(string code)
        {
            IEnumerable<Diagnostic> diagnostics = await GeneratorHarness.ModelDiagnosticsAsync(GeneratorHarness.Run("using ModelGen;\n" + code));
            return diagnostics.Select(diagnostic => diagnostic.Id).Distinct();
        }
    }

    [Fact]
    public void Every_identifier_has_one_descriptor()
    {
        IEnumerable<string> identifiers = typeof(DiagnosticIds).GetFields(BindingFlags.Public | BindingFlags.Static).Select(field => (string)field.GetRawConstantValue()!);
        Assert.Equal(identifiers.Order(StringComparer.Ordinal), Descriptors.Select(descriptor => descriptor.Id).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Pages_and_release_notes_name_the_diagnostics_that_exist()
    {
        IEnumerable<string> pages = Directory.EnumerateFiles(Path.Combine(SourceTree.Root, "docs", "diagnostics"), "MG*.md").Select(path => Path.GetFileNameWithoutExtension(path)!);
        IEnumerable<string> tracked = new[] { "Shipped", "Unshipped" }
            .SelectMany(name => File.ReadLines(Path.Combine(SourceTree.Root, "src", "ModelGen", $"AnalyzerReleases.{name}.md")))
            .Where(line => Row().IsMatch(line))
            .Select(line => line[..6]);
        string[] expected = [.. Descriptors.Select(descriptor => descriptor.Id).Order(StringComparer.Ordinal)];
        Assert.Equal(expected, pages.Order(StringComparer.Ordinal));
        Assert.Equal(expected, tracked.Order(StringComparer.Ordinal));

        string index = File.ReadAllText(Path.Combine(SourceTree.Root, "docs", "diagnostics", "README.md"));
        Assert.All(Descriptors, descriptor => Assert.Contains($"| [{descriptor.Id}]({descriptor.Id}.md) | {descriptor.Title.ToString(CultureInfo.InvariantCulture)} |\n", index));
    }

    [GeneratedRegex(@"^```csharp\n(.*?)^```$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();

    [GeneratedRegex(@"^MG\d{4} ")]
    private static partial Regex Row();
}
