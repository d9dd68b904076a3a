using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler.Declarations;

namespace ModelGen.Tests.Generator;

/// <summary>
/// No name of the user's captures one of emitted code's. The names are collected from the emitted files, so that the tests know of
/// every name that emitted code will ever use; each must then compile without a warning and compute the same bits.
/// </summary>
public sealed class UserNamesTests
{
    // The text's own, and what every class has, which it would hide.
    private static readonly string[] Given = ["ModelGen", "System", "Tests", "GptNet", "RnnNet", "LstmNet", "GruNet", "MlpNet", .. typeof(object).GetMembers().Select(m => m.Name)];

    /// <summary>Every identifier in emitted code, but for those that the tests or the language have given a meaning.</summary>
    private static readonly Lazy<string[]> Identifiers = new(() =>
    [
        .. Emitted(ModelProgram.Build(ModelProgram.SourceIn("Tests")))
            .SelectMany(tree => tree.GetRoot().DescendantTokens())
            .Where(token => token.IsKind(SyntaxKind.IdentifierToken))
            .Select(token => token.ValueText)
            .Except(Given)
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal),
    ]);

    /// <summary>What emitted code may mean a type or an attribute by.</summary>
    private static IEnumerable<string> TypeNames => Identifiers.Value.Concat(Identifiers.Value.Select(name => name + "Attribute")).Distinct(StringComparer.Ordinal);

    [Theory]
    [InlineData("Tests")]
    [InlineData("")]
    [InlineData("My.System.ModelGen")]
    public void Types_of_the_global_namespace_capture_nothing(string space)
        => ComputesTheSame(ModelProgram.SourceIn(space), Types(TypeNames));

    [Theory]
    [InlineData("Tests")]
    [InlineData("My.System.ModelGen")]
    [InlineData("ModelGen")]
    [InlineData("ModelGen.Generated")]
    [InlineData("System")]
    [InlineData("System.Runtime")]
    public void Types_of_the_models_namespace_capture_nothing(string space)
    {
        // What is there already is not the user's to declare.
        CSharpCompilation plain = ModelProgram.Build(ModelProgram.SourceIn(space));
        INamespaceSymbol members = space.Split('.').Aggregate(plain.GlobalNamespace, (n, part) => n.GetNamespaceMembers().Single(m => m.Name == part));
        IEnumerable<string> names = TypeNames.Except(members.GetMembers().Select(m => m.Name));
        string[] roots = space.StartsWith("My.", StringComparison.Ordinal) || space == "Tests" ? ["ModelGen", "System"] : [];
        ComputesTheSame(ModelProgram.SourceIn(space), $"namespace {space}\n{{\n{Types(names.Concat(roots.Except(members.GetMembers().Select(m => m.Name))))}}}\n");
    }

    [Fact]
    public void Types_nested_in_the_model_capture_nothing()
        => ComputesTheSame(ModelProgram.SourceIn("Tests"), InEachModel(taken => Types(TypeNames.Concat(["ModelGen", "System"]).Except(taken))));

    [Fact]
    public void Members_of_the_model_capture_nothing()
        => ComputesTheSame(ModelProgram.SourceIn("Tests"), InEachModel(taken => Fields(Identifiers.Value.Concat(["ModelGen", "System"]).Except(taken))));

    /// <summary>The emitted members hide what is inherited, whatever it is.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Members_of_the_models_base_class_capture_nothing(bool types)
    {
        IEnumerable<string> names = Identifiers.Value.Concat(["ModelGen", "System", .. types ? new[] { "GptNet", "MlpNet" } : []]);
        ComputesTheSame(
            ModelProgram.SourceIn("Tests").Replace("Net;", "Net : BaseOfModels;", StringComparison.Ordinal),
            $"namespace Tests\n{{\n/// <summary>Documented.</summary>\npublic class BaseOfModels\n{{\n{(types ? Types(names) : Fields(names))}}}\n}}\n");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Members_of_an_outer_class_capture_nothing(bool types)
    {
        IEnumerable<string> names = Identifiers.Value.Concat(["ModelGen", "System"]);
        ComputesTheSame(
            $"/// <summary>Documented.</summary>\npublic partial class Outer\n{{\n{ModelProgram.Models}}}\n" + ModelProgram.EntryPoint("Outer."),
            $"public partial class Outer\n{{\n{(types ? Types(names) : Fields(names))}}}\n");
    }

    /// <summary>Of the names in the models' own classes; few at a time, since a type's full name has an end.</summary>
    [Fact]
    public void Type_parameters_of_an_outer_class_capture_nothing()
    {
        string[] names =
        [
            .. Emitted(ModelProgram.Build(ModelProgram.SourceIn("Tests")))
                .SelectMany(tree => tree.GetRoot().DescendantNodes().OfType<ClassDeclarationSyntax>().Where(type => Given.Contains(type.Identifier.ValueText)))
                .SelectMany(type => type.DescendantTokens())
                .Where(token => token.IsKind(SyntaxKind.IdentifierToken))
                .Select(token => token.ValueText)
                .Except(Given)
                .Concat(["ModelGen", "System"])
                .Distinct(StringComparer.Ordinal),
        ];
        string source = string.Concat(names.Chunk(20).Select((some, i) => Invariant($$"""
            /// <summary>Documented.</summary>
            public partial class Outer{{i}}<{{string.Join(", ", some.Select(name => $"@{name}"))}}>
            {
                /// <summary>Documented.</summary>
                [global::ModelGen.Gpt(Layers = 1, DModel = 2, Heads = 1, Vocab = 3, Context = 2)] [global::ModelGen.Trainable(BatchSize = 1, SequenceLength = 2)]
                public partial class GptNet;
                /// <summary>Documented.</summary>
                [global::ModelGen.Mlp(2, 3)] [global::ModelGen.Trainable(BatchSize = 1)]
                public partial class MlpNet;
            }

            """)));
        ModelProgram.Emit(ModelProgram.Build("#pragma warning disable CS8981 // lower-case names\n" + source)).Dispose();
    }

    [Theory]
    [InlineData("")]
    [InlineData("Tests")]
    public void Extension_methods_capture_nothing(string space)
    {
        string methods = string.Concat(Identifiers.Value.Select(name => Invariant(
            $"    /// <summary>Documented.</summary>\n    public static int {Escaped(name)}<T>(this T value) => throw new global::System.InvalidOperationException();\n")));
        string type = $"/// <summary>Documented.</summary>\npublic static class ExtensionsOfTheUser\n{{\n{methods}}}\n";
        ComputesTheSame(ModelProgram.SourceIn("Tests"), space.Length == 0 ? type : $"namespace {space}\n{{\n{type}}}\n");
    }

    [Fact]
    public void Global_aliases_capture_nothing()
        => ComputesTheSame(ModelProgram.SourceIn("Tests"), "#pragma warning disable CS8981 // lower-case names\n" + string.Concat(TypeNames.Concat(["ModelGen", "System"]).Select(name => $"global using {Escaped(name)} = global::System.Version;\n")));

    [Fact]
    public void What_is_imported_everywhere_captures_nothing()
        => ComputesTheSame(
            ModelProgram.SourceIn("Tests"),
            $"global using static global::Everywhere.Members;\nglobal using global::Everywhere;\nnamespace Everywhere\n{{\n{Types(TypeNames.Concat(["ModelGen", "System"]))}"
                + $"/// <summary>Documented.</summary>\npublic static class Members\n{{\n{Fields(Identifiers.Value.Except(["Members"]), "static ")}}}\n}}\n");

    /// <summary>What a model's own surface takes is told in one diagnostic for each name.</summary>
    [Fact]
    public async Task Names_of_the_models_own_members_are_refused()
    {
        CSharpCompilation plain = ModelProgram.Build(ModelProgram.SourceIn("Tests"));
        string[] taken = [.. plain.GetTypeByMetadataName("Tests.GptNet")!.GetMembers().Where(m => !m.IsImplicitlyDeclared && m.CanBeReferencedByName).Select(m => m.Name).Distinct()];
        Assert.Contains("Session", taken);
        Assert.Contains("ParameterCount", taken);
        GeneratorRun run = GeneratorHarness.Run(ModelProgram.SourceIn("Tests"), $"namespace Tests;\npublic partial class GptNet\n{{\n{Fields(taken)}}}\n");
        Diagnostic[] collisions = [.. (await GeneratorHarness.ModelDiagnosticsAsync(run)).Where(d => d.Id == "MG0021")];
        Assert.Equal(taken.Order(StringComparer.Ordinal), collisions.Select(d => d.Location.SourceTree!.GetText().ToString(d.Location.SourceSpan)).Order(StringComparer.Ordinal));
    }

    private static void ComputesTheSame(params IEnumerable<string> sources)
        => Assert.Equal(ModelProgram.ExpectedResult, ModelProgram.Run(ModelProgram.Build(sources)));

    private static IEnumerable<SyntaxTree> Emitted(CSharpCompilation compilation) => compilation.SyntaxTrees.Where(tree => tree.FilePath.EndsWith(".g.cs", StringComparison.Ordinal));

    /// <summary>A part of each model with what <paramref name="members"/> makes of the names that the model itself has or is called.</summary>
    private static string InEachModel(Func<IEnumerable<string>, string> members)
    {
        var text = new StringBuilder();
        CSharpCompilation plain = ModelProgram.Build(ModelProgram.SourceIn("Tests"));
        foreach (INamedTypeSymbol model in plain.GlobalNamespace.GetNamespaceMembers().Single(n => n.Name == "Tests").GetTypeMembers())
        {
            text.Append(Invariant($"namespace Tests\n{{\npublic partial class {model.Name}\n{{\n{members(model.GetMembers().Select(m => m.Name).Append(model.Name))}}}\n}}\n"));
        }

        return text.ToString();
    }

    /// <summary>A class of each name, and one with a type parameter.</summary>
    private static string Types(IEnumerable<string> names)
        => "#pragma warning disable CS8981 // lower-case names\n" + string.Concat(names.Select(name => Invariant($"/// <summary>Documented.</summary>\npublic class {Escaped(name)} : global::System.Attribute;\n/// <summary>Documented.</summary>\npublic class {Escaped(name)}<T>;\n")));

    private static string Fields(IEnumerable<string> names, string modifiers = "")
        => string.Concat(names.Select(name => Invariant($"/// <summary>Documented.</summary>\npublic {modifiers}int {Escaped(name)} = 1;\n")));

    private static string Escaped(string name) => TypeIdentityReader.Escape(name);

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
