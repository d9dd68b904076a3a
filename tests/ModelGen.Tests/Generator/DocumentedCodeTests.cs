using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using ModelGen.Compiler;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Grammars;
using ModelGen.Compiler.Ops;
using ModelGen.Plots;
using ModelGen.TensorBoard;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>The C# in the documents compiles as it stands there. What it takes as given is written here, and what is no program of a reader's is named with the reason.</summary>
public sealed partial class DocumentedCodeTests
{
    private const string Usings = """
        using System; using System.Collections.Generic; using System.Globalization; using System.IO; using System.Linq; using System.Net; using System.Threading.Tasks;
        using ModelGen; using ModelGen.Plots; using ModelGen.Runtime; using ModelGen.TensorBoard;

        """;

    private const string Models = """
        [Gpt(Layers = 1, DModel = 8, Heads = 1, Vocab = 57, Context = 64, MaxBatch = 8, Drafts = 4)] [Trainable(BatchSize = 1, SequenceLength = 8)] public partial class TinyGpt;
        [Transformer(EncoderLayers = 1, DecoderLayers = 1, DModel = 8, Heads = 1, SourceVocab = 60, TargetVocab = 80, Context = 32)] [Trainable(BatchSize = 1, SequenceLength = 8)] public partial class Translation;
        [Bert(Layers = 1, DModel = 8, Heads = 1, FeedForward = 8, Vocab = 57, Context = 8, Head = BertHead.MaskedLm)] [Trainable(BatchSize = 1, SequenceLength = 8)] public partial class Encoder;
        [Bert(Layers = 1, DModel = 8, Heads = 1, FeedForward = 8, Vocab = 57, Context = 8, Head = BertHead.SequenceClassifier, Classes = 2)] public partial class Classifier;

        """;

    private const string Llama = "[Llama(Layers = 1, DModel = 256, Heads = 8, KeyValueHeads = 4, FeedForward = 512, Vocab = 512, Context = 512, ";
    private const string Emitted = "emitted code";
    private const string Alone = "attributes without a class";

    /// <summary>The blocks of each document in their order.</summary>
    private static readonly Dictionary<string, Block[]> Documents = new()
    {
        ["README.md"] = [new()],
        ["docs/architecture.md"] = [new() { Excuse = Emitted }],
        ["docs/cuda.md"] =
        [
            new(),
            new() { Old = "[Llama(…, ", New = Llama },
            new("TinyGpt model; int[] inputs, targets;"),
            new() { Excuse = Emitted },
            new() { Excuse = Alone },
            new() { Excuse = Alone },
            new() { Excuse = Emitted },
            new("TinyGpt model; int rank; int[] inputs, targets;"),
            new() { Excuse = Emitted },
        ],
        ["docs/decoding.md"] =
        [
            new("TinyGpt model; int eos; int[] prompt, otherPrompt;"),
            new("Translation transformer; int bos; int[] source, otherSource; BeamSearch search;"),
            new("TinyGpt.Session session; int eos; int[] prompt, otherPrompt;"),
            new("TinyGpt.Session session, other; int[] longPrompt;"),
            new("TinyGpt.Session session; TinyGpt smallModel; Sampler sampler; int[] prompt;") { Old = "[Llama(…, Drafts = 5)]", New = "" },
        ],
        ["docs/fine-tuning.md"] =
        [
            new(),
            new(),
            new() { Types = "[Llama(Layers = 1, DModel = 8, Heads = 1, FeedForward = 8, Vocab = 57, Context = 8)] [Lora(Rank = 2)] public partial class TunedStories;" },
            new("Adapted model;") { Types = "[Llama(Layers = 1, DModel = 8, Heads = 1, FeedForward = 8, Vocab = 57, Context = 8)] [Lora(Rank = 2)] public partial class Adapted;" },
            new() { Old = "[Llama(…, ", New = Llama },
        ],
        ["docs/models/attention.md"] = [new() { Excuse = Alone }],
        ["docs/models/bert.md"] =
        [
            new(),
            new(),
            new("MiniLm model; int batch, steps; int[] tokens, segments, lengths; float[] embeddings;") { Types = "[Bert(Layers = 1, DModel = 8, Heads = 1, FeedForward = 8, Vocab = 57, Context = 8, Embeddings = Pooling.Mean)] public partial class MiniLm;" },
            new("TokenMasking masking; CounterRandom random; Encoder model; Encoder.Trainer trainer; int[] tokens, inputs, targets, lengths;"),
        ],
        ["docs/models/decoder.md"] = [new()],
        ["docs/models/gpt.md"] = [new()],
        ["docs/models/mlp.md"] = [new(), new("Digits.Trainer trainer; Digits.Session session; float[] inputs, logits; int[] classes;") { Types = "[Mlp(7, 5)] [Trainable(BatchSize = 1)] public partial class Digits;" }],
        ["docs/models/ngram.md"] = [new("TokenDataset trainingTokens, heldOutTokens; int[] tokens, context; float[] logProbabilities, all;")],
        ["docs/models/nnlm.md"] = [new(), new("Words.Trainer trainer; Words.Session session; int[] windows, targets; float[] logits;") { Types = "[Nnlm(Window = 4, Embedding = 4, Hidden = 8, Vocab = 57)] [Trainable(BatchSize = 1)] public partial class Words;" }],
        ["docs/models/recurrentlm.md"] = [new(), new("CharLstm model; int[] prompt; int token;") { Types = "[RecurrentLm(Hidden = 8, Vocab = 57)] public partial class CharLstm;" }],
        ["docs/models/recurrentregressor.md"] = [new(), new("Demand model; float load, temperature, weekday; float[] inputs, outputs;") { Types = "[RecurrentRegressor(Hidden = 8, Inputs = 3)] public partial class Demand;" }],
        ["docs/models/recurrentseq2seq.md"] =
        [
            new(),
            new("Recurrent.Trainer trainer; ScheduledSampling sampling; int step; int[] source, sourceLengths, inputs, targets;") { Types = "[RecurrentSeq2Seq(Hidden = 8, SourceVocab = 57, TargetVocab = 57)] [Trainable(BatchSize = 1, SequenceLength = 8)] public partial class Recurrent;" },
            new("Translation.Session session; int Bos; int[] source;"),
        ],
        ["docs/models/recurrenttagger.md"] = [new()],
        ["docs/models/t5.md"] = [new()],
        ["docs/models/transformer.md"] = [new("int Bos; int[] source, sourceLengths, inputs, targets, word;")],
        ["docs/models/wordautoencoder.md"] = [new(), new("Codes.Trainer trainer; Codes.Session session; int[] context, lengths, targets, words; float[] codes, logits;") { Types = "[WordAutoencoder(Vocab = 57, Code = 8, Window = 4)] [Trainable(BatchSize = 1)] public partial class Codes;" }],
        ["docs/nativeaot.md"] = [new()],
        ["docs/text.md"] =
        [
            new("int[] rows, tokens, lengths, inputs, targets;"),
            new("TinyGpt model;"),
            new(),
            new() { Excuse = "clients are compiled where their package is: ModelGen.ToolTests" },
            new("TextTokenizer tokenizer;"),
            new() { Excuse = "reads files beside it" },
        ],
        ["docs/training.md"] =
        [
            new("int[] inputs, targets, heldOut, follows;"),
            new(),
            new(),
            new("TinyGpt.Trainer trainer; System.Threading.CancellationTokenSource cancellation;"),
        ],
        ["docs/weight-files.md"] = [new(), new(), new("TinyGpt model;")],
        ["src/ModelGen.Extensions.AI/README.md"] = [new() { Excuse = "clients are compiled where their package is: ModelGen.ToolTests" }],
        ["src/ModelGen.Plots/README.md"] = [new("float[] trainingLosses, validationLosses;")],
        ["src/ModelGen.TensorBoard/README.md"] = [new("TrainingLoop loop;")],
        ["src/ModelGen.Text/README.md"] = [new("TinyGpt model;")],
    };

    /// <summary>Documents of the compiler's own insides: each block is a source file of it, or members of one.</summary>
    private static readonly Dictionary<string, string[]> Insides = new()
    {
        ["docs/adding-a-family.md"] = ["{0}"],
        ["docs/adding-an-operator.md"] = ["{0}", "internal sealed record Product : ElementwiseOperator {{ public override string Mnemonic => \"\"; public override int Arity => 2; public override Expr Express(IReadOnlyList<Expr> inputs) => inputs[0] * inputs[1];\n{0} }}"],
    };

    public static TheoryData<string> Names => [.. Documents.Keys];

    public static TheoryData<string> InsideNames => [.. Insides.Keys];

    [Fact]
    public void Every_document_with_code_is_known()
    {
        string[] found =
        [
            .. new[] { "docs", "src" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(SourceTree.Root, folder), "*.md", SearchOption.AllDirectories))
                .Append(Path.Combine(SourceTree.Root, "README.md"))
                .Select(path => Path.GetRelativePath(SourceTree.Root, path).Replace('\\', '/'))
                .Where(path => !path.StartsWith("docs/diagnostics/", StringComparison.Ordinal) && !path.Contains("/obj/", StringComparison.Ordinal) && !path.Contains("/bin/", StringComparison.Ordinal) && BlocksOf(path).Length > 0)
                .Order(StringComparer.Ordinal),
        ];
        Assert.Equal(Documents.Keys.Concat(Insides.Keys).Order(StringComparer.Ordinal), found);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Code_for_users_compiles(string document)
    {
        string[] texts = BlocksOf(document);
        Block[] blocks = Documents[document];
        Assert.Equal(blocks.Length, texts.Length);
        string[] sources = [.. blocks.Zip(texts).Select((pair, i) => (pair.First, pair.Second, i)).Where(block => block.First.Excuse is null).Select(block => Program(block.First, block.Second, $"Block{block.i}"))];
        if (sources.Length == 0)
        {
            return;
        }

        CSharpCompilation compilation = CSharpCompilation.Create("Documented", [.. sources.Append(Models).Select((source, i) => CSharpSyntaxTree.ParseText(Usings + source, GeneratorHarness.ParseOptions, $"File{i}.cs"))], References, GeneratorHarness.Options);

        // Their surfaces are enough: what the text calls is there or it is not.
        GeneratorDriver driver = CSharpGeneratorDriver.Create(
            [new ModelGenerator((spec, _, cancellation) => ModelCompiler.CompileSurface(spec, "", cancellation), ModelCompiler.CompileSurface).AsSourceGenerator(), new GrammarGenerator().AsSourceGenerator()],
            parseOptions: GeneratorHarness.ParseOptions);
        driver.RunGeneratorsAndUpdateCompilation(compilation, out Compilation output, out ImmutableArray<Diagnostic> generated);
        CompilationWithAnalyzers analysis = output.WithAnalyzers([new ModelDeclarationAnalyzer(), new GrammarAnalyzer()]);
        List<Diagnostic> problems = [.. generated];
        foreach (SyntaxTree tree in compilation.SyntaxTrees)
        {
            SemanticModel model = output.GetSemanticModel(tree);
            problems.AddRange(model.GetDiagnostics());
            problems.AddRange(await analysis.GetAnalyzerSemanticDiagnosticsAsync(model, filterSpan: null, TestContext.Current.CancellationToken));
        }

        Assert.Empty(problems.Where(problem => problem.Severity == DiagnosticSeverity.Error).Select(problem => $"{problem.Id} {problem.GetMessage()}: {problem.Location.SourceTree?.GetText().Lines[problem.Location.GetLineSpan().StartLinePosition.Line]}"));
    }

    [Theory]
    [MemberData(nameof(InsideNames))]
    public void Code_for_the_compilers_authors_compiles(string document)
    {
        const string CompilersUsings = """
            using System; using System.Collections.Generic; using System.Linq; using ModelGen.Compiler; using ModelGen.Compiler.Autodiff; using ModelGen.Compiler.Declarations; using ModelGen.Compiler.Diagnostics;
            using ModelGen.Compiler.Families; using ModelGen.Compiler.Graph; using ModelGen.Compiler.Kernels; using ModelGen.Compiler.Ops; using ModelGen.Compiler.Programs;

            """;
        string[] texts = BlocksOf(document);
        Assert.Equal(Insides[document].Length, texts.Length);

        // As this assembly, it sees the compiler's insides. It is in a namespace of its own, where what it declares anew hides nothing.
        string[] sources = [.. texts.Zip(Insides[document]).Select((pair, i) =>
        {
            string text = NamespaceOrUsing().Replace(pair.First, "");
            return $"{CompilersUsings}namespace Documented{i}\n{{\n{string.Format(System.Globalization.CultureInfo.InvariantCulture, pair.Second, text)}\n}}\n";
        })];
        CSharpCompilation compilation = CSharpCompilation.Create(
            "ModelGen.Tests",
            sources.Select(source => CSharpSyntaxTree.ParseText(source, GeneratorHarness.ParseOptions)),
            [.. References, MetadataReference.CreateFromFile(typeof(Operator).Assembly.Location)],
            GeneratorHarness.Options);
        Assert.Empty(compilation.GetDiagnostics(TestContext.Current.CancellationToken).Where(problem => problem.Severity == DiagnosticSeverity.Error).Select(problem => problem.ToString()));
    }

    private static IEnumerable<MetadataReference> References
        => [.. GeneratorHarness.References, .. new[] { typeof(EventFileWriter), typeof(Pictures) }.Select(type => MetadataReference.CreateFromFile(type.Assembly.Location))];

    /// <summary>A block in a namespace of its own: the types that it declares, and its statements in a method.</summary>
    private static string Program(Block block, string text, string space)
    {
        if (block.Old is { } old)
        {
            Assert.Contains(old, text);
            text = text.Replace(old, block.New, StringComparison.Ordinal);
        }

        CompilationUnitSyntax unit = SyntaxFactory.ParseCompilationUnit(text, options: GeneratorHarness.ParseOptions);
        string types = string.Concat(unit.Members.Where(member => member is not GlobalStatementSyntax).Select(member => member.ToFullString()));
        string statements = string.Concat(unit.Members.OfType<GlobalStatementSyntax>().Select(statement => statement.ToFullString()));
        string fields = string.Concat(block.Given.Split(';', StringSplitOptions.RemoveEmptyEntries).Select(given => $"    public static {given.Trim()};\n"));
        return $"#pragma warning disable CS0649, CS8618 // Given by nobody.\nnamespace {space}\n{{\n{block.Types}\n{types}\npublic static class Given\n{{\n{fields}    public static async Task Run()\n    {{\n        await Task.Yield();\n{statements}\n    }}\n}}\n}}\n";
    }

    private static string[] BlocksOf(string document)
        => [.. CSharpBlock().Matches(File.ReadAllText(Path.Combine(SourceTree.Root, document)).ReplaceLineEndings("\n")).Select(match => match.Groups[1].Value)];

    [GeneratedRegex("^```csharp\n(.*?)^```", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex CSharpBlock();

    [GeneratedRegex("^(using|namespace) [^;=(]*;\n", RegexOptions.Multiline)]
    private static partial Regex NamespaceOrUsing();

    /// <param name="Given">What stands before it in the text: fields.</param>
    private sealed record Block(string Given = "")
    {
        /// <summary>Models that stand before it in the text.</summary>
        public string Types { get; init; } = "";

        /// <summary>What is left out in it, and what it stands for.</summary>
        public string? Old { get; init; }

        public string New { get; init; } = "";

        /// <summary>Why it is no program.</summary>
        public string? Excuse { get; init; }
    }
}
