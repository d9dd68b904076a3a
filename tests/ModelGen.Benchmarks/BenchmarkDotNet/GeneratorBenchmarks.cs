using BenchmarkDotNet.Attributes;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using ModelGen.Compiler;

namespace ModelGen.Benchmarks;

/// <summary>What an edit costs a user of a 12-layer GPT-2 declaration (124 million parameters) in the compiler.</summary>
[InProcess]
[WarmupCount(8)]
[IterationCount(12)]
public class GeneratorBenchmarks
{
    private const string Declaration = """
        [ModelGen.Gpt(Layers = 12, DModel = 768, Heads = 12, Vocab = 50257, Context = 1024)]
        [ModelGen.Trainable(BatchSize = 4, SequenceLength = SEQUENCE)]
        public partial class Gpt2;
        """;

    private readonly SyntaxTree[] _declarations = [.. new[] { "64", "65" }.Select(s => CSharpSyntaxTree.ParseText(Declaration.Replace("SEQUENCE", s, StringComparison.Ordinal)))];
    private Microsoft.CodeAnalysis.CSharp.CSharpCompilation _compilation = null!;
    private GeneratorDriver _driver = null!;
    private int _edit;

    /// <summary>Runs the generator once, as opening the project does.</summary>
    [GlobalSetup]
    public void Setup()
    {
        string framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        MetadataReference[] references =
        [
            .. Directory.EnumerateFiles(framework, "System.*.dll").Where(IsManaged).Select(p => MetadataReference.CreateFromFile(p)),
            MetadataReference.CreateFromFile(typeof(GptAttribute).Assembly.Location),
        ];
        _compilation = CSharpCompilation.Create("Benchmark", [_declarations[0]], references, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true));
        _driver = CSharpGeneratorDriver.Create(new ModelGenerator()).RunGenerators(_compilation);
        GeneratorRunResult result = _driver.GetRunResult().Results[0];
        if (result.Exception is not null || result.GeneratedSources.Length == 0)
        {
            throw new InvalidOperationException("The generator emitted nothing.", result.Exception);
        }

        Console.WriteLine($"emitted: {result.GeneratedSources.Sum(s => s.SourceText.Length):N0} characters");
    }

    /// <summary>The declaration changes: everything is compiled again.</summary>
    [Benchmark]
    public GeneratorDriver Declaration_edit()
    {
        SyntaxTree next = _declarations[++_edit % 2];
        CSharpCompilation edited = _compilation.ReplaceSyntaxTree(_compilation.SyntaxTrees[0], next);
        _compilation = edited;
        return _driver = _driver.RunGenerators(edited);
    }

    /// <summary>Another file changes: nothing is compiled again.</summary>
    [Benchmark]
    public GeneratorDriver Unrelated_edit()
    {
        CSharpCompilation edited = _compilation.AddSyntaxTrees(CSharpSyntaxTree.ParseText($"// {++_edit}"));
        return _driver = _driver.RunGenerators(edited);
    }

    private static bool IsManaged(string path)
    {
        try
        {
            System.Reflection.AssemblyName.GetAssemblyName(path);
            return true;
        }
        catch (BadImageFormatException)
        {
            return false;
        }
    }
}
