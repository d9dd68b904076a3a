using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using System.Runtime.Loader;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace ModelGen.Tests.Infrastructure;

/// <summary>Compiles C# text, as emitted, and loads it: kernels are tested as the machine runs them, not as text.</summary>
public static class InMemoryCompilation
{
    private static readonly Lazy<ImmutableArray<MetadataReference>> PlatformAndRuntime = new(FindReferences);

    // The compiler shares what it has read of references among compilations as long as one of them is there.
    private static readonly Lazy<CSharpCompilation> Reader = new(static () =>
    {
        var reader = CSharpCompilation.Create("Reader", [], References, Options);
        _ = reader.GetSpecialType(SpecialType.System_Object);
        return reader;
    });

    /// <summary>The framework this test runs on and the ModelGen runtime assembly.</summary>
    public static ImmutableArray<MetadataReference> References => PlatformAndRuntime.Value;

    public static CSharpParseOptions ParseOptions { get; } = new(LanguageVersion.Latest);

    /// <summary>Optimised, unsafe code allowed, nullable enabled: as a user's release build compiles emitted code.</summary>
    public static CSharpCompilationOptions Options { get; } = new(
        OutputKind.DynamicallyLinkedLibrary,
        optimizationLevel: OptimizationLevel.Release,
        allowUnsafe: true,
        nullableContextOptions: NullableContextOptions.Enable);

    public static CSharpCompilation Create(string assemblyName, params IEnumerable<(string Name, string Text)> files)
        => Reader.Value
            .WithAssemblyName(assemblyName)
            .AddSyntaxTrees(files.Select(file => CSharpSyntaxTree.ParseText(SourceText.From(file.Text, Encoding.UTF8), ParseOptions, file.Name)));

    /// <summary>Compiles one file and loads the assembly.</summary>
    /// <exception cref="InvalidOperationException">The text does not compile, or only with warnings; the message quotes each line.</exception>
    public static Assembly Load(string text, string assemblyName = "Emitted") => Load([(assemblyName + ".cs", text)], assemblyName);

    /// <summary>Compiles some files together and loads the assembly into a context of its own, which is collected when nothing refers to it.</summary>
    /// <exception cref="InvalidOperationException">The text does not compile, or only with warnings; the message quotes each line.</exception>
    public static Assembly Load(IEnumerable<(string Name, string Text)> files, string assemblyName = "Emitted") => LoadImage(Compile(files, assemblyName), assemblyName);

    /// <summary>Compiles some files together to an assembly's bytes.</summary>
    /// <exception cref="InvalidOperationException">The text does not compile, or only with warnings; the message quotes each line.</exception>
    public static byte[] Compile(IEnumerable<(string Name, string Text)> files, string assemblyName)
    {
        using MemoryStream image = new();
        Microsoft.CodeAnalysis.Emit.EmitResult result = Create(assemblyName, files).Emit(image);
        List<Diagnostic> problems = [.. result.Diagnostics.Where(d => d.Severity is DiagnosticSeverity.Warning or DiagnosticSeverity.Error)];
        return problems.Count == 0 ? image.ToArray() : throw new InvalidOperationException(Describe(problems));
    }

    /// <summary>Loads an assembly's bytes into a context of their own: collectible, so that thousands of generated kernels do not stay in the test process.</summary>
    public static Assembly LoadImage(byte[] image, string assemblyName) => new AssemblyLoadContext(assemblyName, isCollectible: true).LoadFromStream(new MemoryStream(image));

    /// <summary>Each diagnostic with the source line it points at.</summary>
    public static string Describe(IEnumerable<Diagnostic> diagnostics)
    {
        StringBuilder text = new();
        int count = 0;
        foreach (Diagnostic diagnostic in diagnostics)
        {
            if (++count > 20)
            {
                text.Append("… and more\n");
                break;
            }

            FileLinePositionSpan span = diagnostic.Location.GetLineSpan();
            text.Append(CultureInfo.InvariantCulture, $"{span.Path}({span.StartLinePosition.Line + 1},{span.StartLinePosition.Character + 1}): {diagnostic.Severity} {diagnostic.Id}: {diagnostic.GetMessage(CultureInfo.InvariantCulture)}\n");
            if (diagnostic.Location.SourceTree is { } tree)
            {
                text.Append("    ").Append(tree.GetText().Lines[span.StartLinePosition.Line].ToString().Trim()).Append('\n');
            }
        }

        return text.ToString();
    }

    private static ImmutableArray<MetadataReference> FindReferences()
    {
        // The framework's own assemblies, and of what else this process loads only the runtime: emitted code may refer to nothing more.
        string trusted = (string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!;
        string framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        IEnumerable<string> paths = trusted
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Where(path => Path.GetDirectoryName(path) == framework)
            .Append(Path.Combine(AppContext.BaseDirectory, "ModelGen.dll"));
        return [.. paths.Select(path => (MetadataReference)MetadataReference.CreateFromFile(path))];
    }
}
