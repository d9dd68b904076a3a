using System.Diagnostics;
using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>
/// The generator runs in whatever compiler a user has: in the oldest it supports, in the one these tests run it in, and in
/// that of the installed SDK, with the same result.
/// </summary>
public sealed class RoslynVersionTests
{
    private const string Source = """
        using ModelGen;

        namespace Tests;

        /// <summary>Documented.</summary>
        [Gpt(Layers = 1, DModel = 12, Heads = 3, Vocab = 17, Context = 9, Dropout = 0.1)]
        [Trainable(BatchSize = 2, SequenceLength = 5)]
        public partial class Title;

        /// <summary>Documented.</summary>
        public partial interface IOuter<T>
        {
            /// <summary>Documented.</summary>
            [RecurrentLm(Cell = Cell.Lstm, Hidden = 7, Embedding = 5, Vocab = 11)]
            public partial class @event { }
        }

        /// <summary>Documented.</summary>
        [Mlp([5, 7, 3], Activation = Activation.Tanh)]
        public partial class Init;

        /// <summary>Documented.</summary>
        [Gpt(Layers = 0, DModel = 10, Heads = 3, Vocab = 17, LayerNormEpsilon = 0.5e-46)]
        public partial class Wrong;

        """;

    /// <summary>.NET has no cultures on a machine without the ICU library.</summary>
    private const string NoCultures = "no cultures";

    private static readonly string Matrix = FindMatrix();

    /// <summary>What the others are compared with: the compiler of the tests, without cultures.</summary>
    private static readonly Lazy<Task<string[]>> OfTheTests = new(() => RunAsync(FolderOf(typeof(CSharpCompilation)), ""));

    [Theory]
    [InlineData("de-DE")]
    [InlineData("tr-TR")]
    public async Task Oldest_compiler_gives_the_same_result(string culture)
    {
        string[] lines = await RunAsync(".", culture);
        if (lines is [NoCultures])
        {
            return;
        }

        Assert.StartsWith($"compiler 4.8.0.0 culture {culture}", lines[0], StringComparison.Ordinal);
        Assert.Equal((await OfTheTests.Value)[1..], lines[1..]);
    }

    [Fact]
    public async Task Compiler_of_the_sdk_gives_the_same_result()
    {
        // …/shared/Microsoft.NETCore.App/10.0.x/ and …/sdk/10.0.x/ have the same root.
        string root = Path.GetFullPath(Path.Combine(FolderOf(typeof(object)), "..", "..", ".."));
        string sdk = Directory.EnumerateDirectories(Path.Combine(root, "sdk"), "*.*.*")
            .Where(folder => File.Exists(Path.Combine(folder, "Roslyn", "bincore", "Microsoft.CodeAnalysis.CSharp.dll")))
            .MaxBy(folder => File.GetLastWriteTimeUtc(Path.Combine(folder, "Roslyn", "bincore", "Microsoft.CodeAnalysis.CSharp.dll")))!;
        string[] lines = await RunAsync(Path.Combine(sdk, "Roslyn", "bincore"), "");
        Version version = Version.Parse(lines[0].Split(' ')[1]);
        Assert.True(version >= new Version(5, 0), lines[0]);
        Assert.Equal((await OfTheTests.Value)[1..], lines[1..]);
    }

    [Fact]
    public async Task Compiler_of_the_tests_gives_what_they_saw()
    {
        string[] lines = await OfTheTests.Value;
        Assert.StartsWith("compiler 4.14.0.0 ", lines[0], StringComparison.Ordinal);
        Assert.Equal(["second run Cached"], lines.Where(line => line.StartsWith("second", StringComparison.Ordinal)));

        string[] files = [.. lines.Where(line => line.StartsWith("file ", StringComparison.Ordinal)).Select(line => line.Split(' ')[1])];
        Assert.Equal(GeneratorHarness.Run(Source).Files.Keys.Order(StringComparer.Ordinal), files);
        string[] diagnostics = [.. lines.Where(line => line.StartsWith("diagnostic ", StringComparison.Ordinal)).Select(line => line.Split(' ')[1])];
        Assert.Equal(["MG0006", "MG0007", "MG0008", "MG0010"], diagnostics);
    }

    private static string FolderOf(Type type) => Path.GetDirectoryName(type.Assembly.Location)!;

    private static string FindMatrix()
    {
        // This assembly lies in tests/ModelGen.Tests/bin/CONFIGURATION/FRAMEWORK.
        string configuration = typeof(RoslynVersionTests).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration;
        string path = Path.Combine(SourceTree.Root, "tests", "ModelGen.RoslynMatrix", "bin", configuration, "net10.0", "ModelGen.RoslynMatrix.dll");
        return File.Exists(path) ? path : throw new FileNotFoundException($"'{path}' is built with the tests and is missing.");
    }

    private static async Task<string[]> RunAsync(string compilerFolder, string culture)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("modelgen-roslyn-");
        try
        {
            string references = Path.Combine(folder.FullName, "references.txt");
            string source = Path.Combine(folder.FullName, "source.cs");
            await File.WriteAllLinesAsync(references, InMemoryCompilation.References.OfType<PortableExecutableReference>().Select(reference => reference.FilePath!));
            await File.WriteAllTextAsync(source, Source);

            var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                ArgumentList = { "exec", Matrix, compilerFolder, references, source },
                Environment = { ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = culture.Length == 0 ? "1" : "0" },
            };
            if (culture.Length > 0)
            {
                start.ArgumentList.Add(culture);
            }

            using Process process = Process.Start(start)!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            if (culture.Length > 0 && (await errors).Contains("ICU package", StringComparison.Ordinal))
            {
                return [NoCultures];
            }

            Assert.True(process.ExitCode == 0, await errors);
            return output.ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
