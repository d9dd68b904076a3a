using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Emit;

namespace ModelGen.Tests.Generator;

/// <summary>
/// Emitted code computes the same bits, and compiles without a warning, whatever the settings of the project that it is emitted into.
/// What only MSBuild can show stands in the package's tests.
/// </summary>
public sealed class ProjectSettingsTests
{
    private const string ImplicitUsings = """
        global using global::System;
        global using global::System.Collections.Generic;
        global using global::System.IO;
        global using global::System.Linq;
        global using global::System.Net.Http;
        global using global::System.Threading;
        global using global::System.Threading.Tasks;
        """;

    private static readonly Dictionary<string, (CSharpParseOptions Parse, CSharpCompilationOptions Options, string[] Others)> Settings = new()
    {
        ["checked arithmetic"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithOverflowChecks(true), []),
        ["checked arithmetic, debug"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithOverflowChecks(true).WithOptimizationLevel(OptimizationLevel.Debug), []),
        ["debug"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithOptimizationLevel(OptimizationLevel.Debug), []),
        ["C# 12"] = (GeneratorHarness.ParseOptions.WithLanguageVersion(LanguageVersion.CSharp12), GeneratorHarness.Options, []),
        ["C# 13"] = (GeneratorHarness.ParseOptions.WithLanguageVersion(LanguageVersion.CSharp13), GeneratorHarness.Options, []),
        ["preview of C#"] = (GeneratorHarness.ParseOptions.WithLanguageVersion(LanguageVersion.Preview), GeneratorHarness.Options, []),
        ["strict"] = (GeneratorHarness.ParseOptions.WithFeatures([new("strict", "true")]), GeneratorHarness.Options, []),
        ["nullable off"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithNullableContextOptions(NullableContextOptions.Disable), []),
        ["nullable warnings"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithNullableContextOptions(NullableContextOptions.Warnings), []),
        ["nullable annotations"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithNullableContextOptions(NullableContextOptions.Annotations), []),
        ["implicit usings"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options, [ImplicitUsings]),
        ["warnings as errors"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithGeneralDiagnosticOption(ReportDiagnostic.Error), []),
        ["no documentation"] = (GeneratorHarness.ParseOptions.WithDocumentationMode(DocumentationMode.None), GeneratorHarness.Options, []),
        // CS3016: the list of sizes in the user's own attribute.
        ["CLS compliance"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithSpecificDiagnosticOptions([new("CS3016", ReportDiagnostic.Suppress)]), ["[assembly: global::System.CLSCompliant(true)]"]),
        ["no initialization of locals"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options, ["[module: global::System.Runtime.CompilerServices.SkipLocalsInit]"]),
        ["odd names"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithModuleName("9 odd-Näme.class"), []),
        ["strong name"] = (GeneratorHarness.ParseOptions, GeneratorHarness.Options.WithPublicSign(true).WithCryptoPublicKey([.. typeof(ModelGen.Runtime.Worker).Assembly.GetName().GetPublicKey()!]), []),
    };

    public static TheoryData<string> Names => [.. Settings.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Models_compute_the_same(string name)
    {
        (CSharpParseOptions parse, CSharpCompilationOptions options, string[] others) = Settings[name];
        Assert.Equal(ModelProgram.ExpectedResult, ModelProgram.Run(ModelProgram.Build(parse, options, [ModelProgram.SourceIn("Tests"), .. others])));
    }

    /// <summary>Two folders, told to the compiler to be one, make one assembly.</summary>
    [Fact]
    public void A_deterministic_build_does_not_depend_on_its_folder()
    {
        Assert.Equal(ImageIn("/one/project"), ImageIn("/another place/project"));

        static byte[] ImageIn(string folder)
        {
            CSharpCompilationOptions options = GeneratorHarness.Options
                .WithDeterministic(true)
                .WithSourceReferenceResolver(new SourceFileResolver([], folder, [new(folder, "/_")]));
            CSharpCompilation compilation = ModelProgram.Build(GeneratorHarness.ParseOptions, options, ModelProgram.SourceIn("Tests"));

            // As the SDK names them: the user's file by its path, the emitted ones below the folder of intermediate files.
            foreach (SyntaxTree tree in compilation.SyntaxTrees)
            {
                compilation = compilation.ReplaceSyntaxTree(tree, tree.WithFilePath(Path.Combine(folder, "obj", tree.FilePath)));
            }

            using MemoryStream image = new();
            Assert.True(compilation.Emit(image, options: new EmitOptions(debugInformationFormat: DebugInformationFormat.Embedded)).Success);
            return image.ToArray();
        }
    }
}
