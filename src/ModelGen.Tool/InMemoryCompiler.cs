using System.Collections.Immutable;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Emit;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler;
using ModelGen.Compiler.Diagnostics;

namespace ModelGen.Tool;

/// <summary>Runs the compiler of models and the C# compiler, as a build does, without one.</summary>
internal static class InMemoryCompiler
{
    private static readonly CSharpParseOptions s_parse = new(LanguageVersion.Latest, DocumentationMode.None);

    /// <summary>Compiles a declaration into an assembly.</summary>
    /// <param name="source">The declaration's source file.</param>
    /// <param name="name">The assembly's name.</param>
    /// <param name="code">The declaration, for messages.</param>
    /// <exception cref="ToolException">The declaration has problems, which the message tells.</exception>
    public static byte[] Compile(string source, string name, ModelCode code)
    {
        var compilation = CSharpCompilation.Create(
            name,
            [CSharpSyntaxTree.ParseText(SourceText.From(source, Encoding.UTF8), s_parse, path: "FileModel.cs")],
            References(),
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, optimizationLevel: OptimizationLevel.Release, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable, deterministic: true));

        // What is wrong with the declaration itself is the analyzer's to say.
        ImmutableArray<Diagnostic> problems = compilation
            .WithAnalyzers([new ModelDeclarationAnalyzer()], options: (AnalyzerOptions?)null)
            .GetAnalyzerDiagnosticsAsync().GetAwaiter().GetResult();
        Require(problems, code);

        CSharpGeneratorDriver.Create([new ModelGenerator().AsSourceGenerator()], parseOptions: s_parse)
            .RunGeneratorsAndUpdateCompilation(compilation, out Compilation generated, out ImmutableArray<Diagnostic> defects);
        Require(defects, code);

        using var image = new MemoryStream();
        EmitResult result = generated.Emit(image, options: new EmitOptions(debugInformationFormat: DebugInformationFormat.Embedded));
        Require(result.Diagnostics, code);
        return image.ToArray();
    }

    /// <summary>Compiles the files of a program with models in it, which must have no errors: what <c>import</c> writes is tested by it.</summary>
    internal static void CompileFiles(IEnumerable<string> sources, IEnumerable<string> references)
    {
        var compilation = CSharpCompilation.Create(
            "Program",
            sources.Select(static source => CSharpSyntaxTree.ParseText(SourceText.From(source, Encoding.UTF8), s_parse)),
            References().Concat(references.Select(static path => MetadataReference.CreateFromFile(path))),
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));
        CSharpGeneratorDriver.Create([new ModelGenerator().AsSourceGenerator()], parseOptions: s_parse)
            .RunGeneratorsAndUpdateCompilation(compilation, out Compilation generated, out _);
        Require([.. generated.GetDiagnostics().Where(static diagnostic => diagnostic.Severity >= DiagnosticSeverity.Warning)], new ModelCode("", []));
    }

    private static void Require(ImmutableArray<Diagnostic> diagnostics, ModelCode code)
    {
        Diagnostic[] errors = [.. diagnostics.Where(static diagnostic => diagnostic.Severity == DiagnosticSeverity.Error)];
        if (errors.Length > 0)
        {
            throw new ToolException($"{code.Shown}: {string.Join(' ', errors.Take(3).Select(static error => $"{error.Id}: {error.GetMessage(System.Globalization.CultureInfo.InvariantCulture)}"))}");
        }
    }

    /// <summary>What the model is compiled against: the framework that runs it, and the runtime that this program has loaded.</summary>
    private static IEnumerable<MetadataReference> References()
    {
        string framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        string trusted = (string?)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") ?? "";
        return trusted.Split(Path.PathSeparator)
            .Where(path => Path.GetDirectoryName(path) == framework && Path.GetFileName(path).StartsWith("System.", StringComparison.Ordinal))
            .Append(typeof(CausalSession).Assembly.Location)
            .Select(static path => MetadataReference.CreateFromFile(path));
    }
}
