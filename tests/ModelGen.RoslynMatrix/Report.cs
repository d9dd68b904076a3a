using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.RoslynMatrix;

/// <summary>What the generator emits and what a build would say, as lines that can be compared.</summary>
internal static class Report
{
    public static void Write(string referencesFile, string sourceFile, string culture, TextWriter output)
    {
        if (culture.Length > 0)
        {
            CultureInfo.CurrentCulture = CultureInfo.GetCultureInfo(culture, predefinedOnly: true);
            CultureInfo.CurrentUICulture = CultureInfo.CurrentCulture;
            CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture;
        }

        // The first line is about the run and not for comparison.
        output.WriteLine($"compiler {typeof(CSharpCompilation).Assembly.GetName().Version} culture {CultureInfo.CurrentCulture.Name} {1.5.ToString(CultureInfo.CurrentCulture)}");

        var parseOptions = new CSharpParseOptions(LanguageVersion.CSharp12, DocumentationMode.Diagnose);
        CSharpCompilation compilation = CSharpCompilation.Create(
            "Declarations",
            [CSharpSyntaxTree.ParseText(SourceText.From(File.ReadAllText(sourceFile), Encoding.UTF8), parseOptions, "File0.cs")],
            File.ReadLines(referencesFile).Select(path => MetadataReference.CreateFromFile(path)),
            new CSharpCompilationOptions(
                OutputKind.DynamicallyLinkedLibrary,
                optimizationLevel: OptimizationLevel.Release,
                allowUnsafe: true,
                warningLevel: 9999,
                nullableContextOptions: NullableContextOptions.Enable));

        GeneratorDriver driver = CSharpGeneratorDriver.Create(
            [new ModelGenerator().AsSourceGenerator()],
            parseOptions: parseOptions,
            driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));
        driver = driver.RunGeneratorsAndUpdateCompilation(compilation, out Compilation whole, out ImmutableArray<Diagnostic> generated);
        GeneratorRunResult result = driver.GetRunResult().Results[0];
        if (result.Exception is { } exception)
        {
            output.WriteLine($"exception {exception}");
        }

        foreach (GeneratedSourceResult file in result.GeneratedSources.OrderBy(file => file.HintName, StringComparer.Ordinal))
        {
            output.WriteLine($"file {file.HintName} {Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(file.SourceText.ToString())))}");
        }

        ImmutableArray<Diagnostic> found = whole
            .WithAnalyzers([new ModelDeclarationAnalyzer()])
            .GetAllDiagnosticsAsync()
            .GetAwaiter()
            .GetResult();
        IEnumerable<string> lines = generated.Concat(found.Where(diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning))
            .Select(diagnostic => $"diagnostic {diagnostic.Id} {diagnostic.Location.SourceTree?.FilePath} {diagnostic.Location.SourceSpan} {diagnostic.GetMessage(CultureInfo.InvariantCulture)}");
        foreach (string line in lines.Order(StringComparer.Ordinal))
        {
            output.WriteLine(line);
        }

        GeneratorRunResult again = driver.RunGenerators(compilation.Clone()).GetRunResult().Results[0];
        foreach (IncrementalStepRunReason reason in again.TrackedOutputSteps.SelectMany(step => step.Value).SelectMany(step => step.Outputs).Select(step => step.Reason).Distinct())
        {
            output.WriteLine($"second run {reason}");
        }
    }
}
