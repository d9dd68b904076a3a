using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace ModelGen.Tests.Infrastructure;

/// <summary>Directives stand in the order that <c>dotnet format</c> gives them, which continuous integration does not ask for: to see a file's references it compiles everything once more.</summary>
public sealed class UsingOrderTests
{
    [Fact]
    public void Directives_are_in_order()
    {
        List<string> found = [];
        int files = 0;
        foreach (string file in new[] { "src", "examples", "tests" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(SourceTree.Root, folder), "*.cs", SearchOption.AllDirectories)))
        {
            string path = Path.GetRelativePath(SourceTree.Root, file);
            if (path.Split(Path.DirectorySeparatorChar).Any(part => part is "obj" or "bin"))
            {
                continue;
            }

            files++;
            if (Misplaced(File.ReadAllText(file)) is { } directive)
            {
                found.Add($"{path}: {directive}");
            }
        }

        Assert.InRange(files, 500, int.MaxValue);
        Assert.Empty(found);
    }

    [Theory]
    [InlineData("using System;\nusing System.Text;\nusing Alpha;\nusing Alpha.Beta;\nusing static System.Math;\nusing A = System.Int32;\n", null)]
    [InlineData("using System.Text;\nusing System;\n", "using System;")]
    [InlineData("using Alpha;\nusing System;\n", "using System;")]
    [InlineData("using A = System.Int32;\nusing static System.Math;\n", "using static System.Math;")]
    [InlineData("global using System;\nusing System.Text;\nusing System.IO;\n", "using System.IO;")]
    public void One_that_is_out_of_order_is_found(string source, string? expected) => Assert.Equal(expected, Misplaced(source));

    private static string? Misplaced(string source)
    {
        UsingDirectiveSyntax? before = null;
        foreach (UsingDirectiveSyntax directive in CSharpSyntaxTree.ParseText(source).GetCompilationUnitRoot().Usings)
        {
            if (before is not null && Compare(before, directive) > 0)
            {
                return directive.ToString();
            }

            before = directive;
        }

        return null;
    }

    // Global ones, namespaces, static classes, aliases; those of System before others; then by name.
    private static int Compare(UsingDirectiveSyntax a, UsingDirectiveSyntax b)
    {
        int kind = Kind(a).CompareTo(Kind(b));
        return kind != 0 ? kind : StringComparer.OrdinalIgnoreCase.Compare(Name(a), Name(b));

        static int Kind(UsingDirectiveSyntax directive)
        {
            bool isSystem = directive.Alias is null && (Name(directive).Split((char)1)[0] == "System");
            return (directive.GlobalKeyword.Text.Length > 0 ? 0 : 8) + (directive.Alias is not null ? 4 : directive.StaticKeyword.Text.Length > 0 ? 2 : 0) + (isSystem ? 0 : 1);
        }

        // Names of one level are compared level by level: a full stop is before any letter.
        static string Name(UsingDirectiveSyntax directive) => (directive.Alias?.Name.ToString() ?? directive.NamespaceOrType.ToString()).Replace('.', '\u0001');
    }
}
