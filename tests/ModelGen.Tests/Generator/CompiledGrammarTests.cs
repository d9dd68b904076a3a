using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.Loader;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Grammars;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>Grammars that are compiled while a project is built are those that are read at run time, with every vocabulary.</summary>
public sealed class CompiledGrammarTests
{
    private const string Json = """{"type":"object","properties":{"größe":{"type":"integer"},"name":{"type":"string","maxLength":8},"tags":{"type":"array","items":{"enum":["a\"b","<c>",3]}}},"required":["name"]}""";

    private const string Nested = "root ::= value\nvalue ::= \"[\" (value (\", \" value)*)? \"]\" | [0-9]{1,3} | \"\\\"\" [^\"\\\\]* \"\\\"\"";

    [Fact]
    public async Task Random_grammars_are_the_same_as_at_run_time()
    {
        string[] texts = [.. Enumerable.Range(0, RandomGrammars.Count).Select(static number => RandomGrammars.Text(RandomGrammars.Rules(number)))];
        GeneratorRun run = GeneratorHarness.Run(string.Join('\n', texts.Select(static (text, number) => $"[ModelGen.Grammar({SymbolDisplay.FormatLiteral(text, true)})] public static partial class G{number};")));
        HashSet<string> refused = [.. (await GeneratorHarness.ModelDiagnosticsAsync(run)).Select(static problem => problem.Id == "MG0030" ? GeneratorHarness.Message(problem).Split('\'')[1] : problem.ToString())];
        Assembly assembly = Load(run.Output);
        int matched = 0;
        for (int number = 0; number < texts.Length; number++)
        {
            Grammar expected;
            try
            {
                expected = Grammar.Parse(texts[number]);
            }
            catch (GrammarException exception)
            {
                Assert.Contains($"G{number}", refused);
                TargetInvocationException thrown = Assert.Throws<TargetInvocationException>(() => GrammarOf(assembly, $"G{number}"));
                Assert.EndsWith(exception.Message, Assert.IsType<InvalidOperationException>(thrown.InnerException).Message, StringComparison.Ordinal);
                continue;
            }

            Assert.DoesNotContain($"G{number}", refused);
            Grammar actual = GrammarOf(assembly, $"G{number}");
            foreach (string text in RandomGrammars.Texts(4))
            {
                byte[] utf8 = Encoding.UTF8.GetBytes(text);
                bool matches = expected.Matches(utf8);
                matched += matches ? 1 : 0;
                Assert.True(matches == actual.Matches(utf8), $"{number}: '{text}'");
            }
        }

        Assert.InRange(refused.Count, 10, 300);
        Assert.True(matched > 100, $"{matched}");
    }

    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    [InlineData("tokenizer.bin")]
    [InlineData("ggml-vocab-bert-bge.gguf")]
    public async Task Masks_are_the_same_as_at_run_time(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", name));
        var vocabulary = new StringWriter();
        tokenizer.WriteVocabulary(vocabulary);
        GrammarRun run = Run($$"""
            using ModelGen;
            [JsonSchema({{SymbolDisplay.FormatLiteral(Json, true)}}, Vocabulary = "some.vocabulary")] public static partial class Schema;
            [Grammar(File = "grammars/nested.gbnf", Vocabulary = "some.vocabulary")] public static partial class Nested;
            public partial struct Outer<T> { [Grammar("root ::= [а-я]+ | \"abc\" .", Vocabulary = "some.vocabulary", MaskBytes = 20000)] internal partial class Words; }
            """, ("/project/grammars/nested.gbnf", Nested), ("/project/some.vocabulary", vocabulary.ToString()));
        Assert.Empty(await DiagnosticsAsync(run));
        Assembly assembly = Load(run.Output);
        foreach ((string type, Grammar expected) in new[] { ("Schema", Grammar.FromJsonSchema(Json)), ("Nested", Grammar.Parse(Nested)), ("Outer`1+Words", Grammar.Parse("root ::= [а-я]+ | \"abc\" .")) })
        {
            Type declared = assembly.GetType(type)!;
            Grammar actual = (Grammar)(declared.IsGenericTypeDefinition ? declared.MakeGenericType(typeof(int)) : declared).GetProperty("Grammar")!.GetValue(null)!;
            Assert.True(actual.HasMasks(tokenizer));
            Assert.False(expected.HasMasks(tokenizer));
            TokenConstraint one = expected.CreateConstraint(tokenizer);
            TokenConstraint other = actual.CreateConstraint(tokenizer);
            float[] first = new float[tokenizer.VocabularySize + 2];
            float[] second = new float[first.Length];
            var random = new Random(5);
            int steps = 0;
            for (int text = 0; text < 4; text++)
            {
                one.Reset();
                other.Reset();
                for (int step = 0; step < 60 && !one.IsComplete; step++, steps++)
                {
                    Array.Fill(first, 1f);
                    Array.Fill(second, 1f);
                    one.Exclude(first);
                    other.Exclude(second);
                    Assert.True(first.AsSpan().SequenceEqual(second), $"{type}, text {text}, step {step}");
                    int[] allowed = [.. Enumerable.Range(0, first.Length).Where(token => first[token] == 1f)];
                    if (allowed.Length == 0)
                    {
                        // No token of the vocabulary goes on from here.
                        break;
                    }

                    int[] normal = [.. allowed.Where(token => !tokenizer.EndTokens.Contains(token))];
                    int chosen = (step < 50 && normal.Length > 0 ? normal : allowed)[random.Next(step < 50 && normal.Length > 0 ? normal.Length : allowed.Length)];
                    one.Accept(chosen);
                    other.Accept(chosen);
                    Assert.Equal(one.IsComplete, other.IsComplete);
                }
            }

            // Where masks are data, no walk over the vocabulary is made for them: none for the first, and few for all.
            TokenConstraint fresh = actual.CreateConstraint(tokenizer);
            fresh.Exclude(second);
            Assert.Equal(0, Walks(fresh));
            Assert.True(Walks(other) < Walks(one), $"{type}: {Walks(other)} of {Walks(one)} in {steps}");
        }
    }

    // The vocabulary as a project has it beside a checkpoint: what the compiler reads of it is what a program does.
    [Theory]
    [InlineData("gpt-2")]
    [InlineData("roberta")]
    [InlineData("pieces")]
    [InlineData("unigram")]
    [InlineData("words")]
    public async Task Vocabularies_of_tokenizer_json_are_those_of_run_time(string kind)
    {
        const string Added = """ "added_tokens": [ { "id": 3, "content": "<s>", "special": true }, { "id": 4, "content": "</s>", "special": true }, { "id": 7, "content": "<|im_end|>", "special": true }, { "id": 9, "content": "<tool ü>", "special": false } ] """;
        const string Ends = """ "post_processor": { "type": "TemplateProcessing", "single": [ { "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "</s>", "type_id": 0 } } ] } """;
        string json = kind switch
        {
            "gpt-2" => $$"""{ "added_tokens": [ { "id": 50256, "content": "<|endoftext|>", "special": true } ], "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false }, "model": { "type": "BPE", "vocab": {{File.ReadAllText(TestData.File("tokenizers", "encoder.json"))}}, "merges": [{{string.Join(',', File.ReadLines(TestData.File("tokenizers", "vocab.bpe")).Skip(1).Where(static line => line.Length > 0).Select(static line => System.Text.Json.JsonSerializer.Serialize(line)))}}] } }""",
            "roberta" => $$"""{ "added_tokens": [ { "id": 50256, "content": "<|endoftext|>", "special": true } ], "pre_tokenizer": { "type": "ByteLevel" }, "post_processor": { "type": "RobertaProcessing", "sep": ["<|endoftext|>", 50256], "cls": ["!", 0] }, "model": { "vocab": {{File.ReadAllText(TestData.File("tokenizers", "encoder.json")).Replace("\"!\": 0, ", "\"!\": 0, \"!x\": 50300, ", StringComparison.Ordinal)}}, "merges": ["! x"] } }""",
            "pieces" => $$"""{ {{Added}}, {{Ends}}, "normalizer": { "type": "Prepend", "prepend": "▁" }, "model": { "type": "BPE", "byte_fallback": true, "vocab": { "<unk>": 0, "<0x41>": 1, "<0xFF>": 2, "<s>": 3, "</s>": 4, "▁": 5, "a": 6, "▁a": 8, "é": 12 }, "merges": [["▁", "a"]] } }""",
            "unigram" => $$"""{ {{Added}}, {{Ends}}, "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [ ["<unk>", 0], ["<0x41>", -1.5], ["▁a", -2], ["<s>", 0], ["</s>", 0], ["b", -3e0], ["漢▁字", -4] ] } }""",
            _ => """{ "added_tokens": [ { "id": 0, "content": "[PAD]", "special": true }, { "id": 1, "content": "[UNK]", "special": true }, { "id": 2, "content": "[CLS]", "special": true }, { "id": 3, "content": "[SEP]", "special": true }, { "id": 7, "content": "mail", "special": false } ], "model": { "type": "WordPiece", "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cat": 4, "##s": 5, "[x]": 6, "é": 8 } } }""",
        };
        using var file = new TemporaryFile("tokenizer.json");
        File.WriteAllText(file.Path, json);
        TextTokenizer tokenizer = TextTokenizer.Load(file.Path);
        var written = new StringWriter();
        tokenizer.WriteVocabulary(written);
        TokenTable expected = TokenTableText.Read(written.ToString()), found = TokenTableJson.Read(json);
        Assert.Equal(expected.Bytes.Select(Convert.ToHexString), found.Bytes.Select(Convert.ToHexString));
        Assert.Equal(tokenizer.EndTokens.Order(), Enumerable.Range(0, found.Bytes.Length).Where(found.IsEnd));
        Assert.Equal(expected.Fingerprint, found.Fingerprint);
        GrammarRun run = Run("""[ModelGen.Grammar("root ::= [a-z]+", Vocabulary = "model/tokenizer.json")] public static partial class G;""", ("/project/model/tokenizer.json", json));
        Assert.Empty(await DiagnosticsAsync(run));
        Assert.True(GrammarOf(Load(run.Output), "G").HasMasks(tokenizer));
    }

    [Fact]
    public async Task Damaged_tokenizer_json_is_a_diagnostic_in_that_file()
    {
        string[] wrong =
        [
            "{", "{}", """{ "model": 3 }""", """{ "model": { "type": "WordLevel", "vocab": {} } }""", """{ "model": { "type": "BPE", "vocab": {} } }""", """{ "model": { "vocab": { "a": -1 }, "byte_fallback": true } }""",
            """{ "model": { "vocab": { "a": 99999999 }, "byte_fallback": true } }""", """{ "model": { "vocab": { "a": 0, "b": 0 }, "byte_fallback": true } }""", """{ "model": { "vocab": { "a": 0, "b": 4000000 }, "byte_fallback": true } }""",
            """{ "model": { "vocab": { "a": 0 } } }""", """{ "model": { "type": "Unigram", "vocab": [ ["a"] ] } }""", """{ "model": { "type": "Unigram", "vocab": [ ["a", 1] ] }, "added_tokens": [ { "id": 0 } ] }""", new string('[', 100_000),
            "{\"model\":" + new string('{', 1000),
        ];
        foreach (string json in wrong)
        {
            Diagnostic[] found = [.. await DiagnosticsAsync(Run("""[ModelGen.Grammar("root ::= [a-z]+", Vocabulary = "t.json")] public static partial class G;""", ("/p/t.json", json)))];
            Diagnostic problem = Assert.Single(found);
            Assert.Equal("MG0033", problem.Id);
        }

        // Truncated anywhere, it is no JSON.
        const string Whole = """{ "added_tokens": [ { "id": 1, "content": "</s>", "special": true } ], "model": { "type": "Unigram", "unk_id": 0, "vocab": [ ["<unk>", 0], ["</s>", 0], ["a\u00e9", -1] ] } }""";
        Assert.Equal(3, TokenTableJson.Read(Whole).Bytes.Length);
        for (int length = 0; length < Whole.Length; length++)
        {
            Assert.Throws<global::ModelGen.Compiler.Grammars.GrammarException>(() => TokenTableJson.Read(Whole[..length]));
        }
    }

    [Fact]
    public void Masks_of_another_vocabulary_are_not_used()
    {
        string path = TestData.File("stories260K", "tok512.bin");
        TextTokenizer tokenizer = TextTokenizer.Load(path);
        var writer = new StringWriter();
        tokenizer.WriteVocabulary(writer);
        string vocabulary = writer.ToString();

        // A token of another spelling: the masks would be wrong.
        int at = vocabulary.IndexOf("\n-e\n", StringComparison.Ordinal);
        Assert.True(at > 0);
        GrammarRun run = Run("""[ModelGen.Grammar("root ::= [a-z]+", Vocabulary = "v")] public static partial class G;""", ("v", vocabulary[..at] + "\n-0\n" + vocabulary[(at + 4)..]));
        Grammar actual = GrammarOf(Load(run.Output), "G");
        Assert.False(actual.HasMasks(tokenizer));
        float[] first = new float[tokenizer.VocabularySize];
        float[] second = new float[tokenizer.VocabularySize];
        Grammar.Parse("root ::= [a-z]+").CreateConstraint(tokenizer).Exclude(first);
        actual.CreateConstraint(tokenizer).Exclude(second);
        Assert.Equal(first, second);
    }

    [Theory]
    [InlineData("root ::= \"a", "Line 1, column 12: expected \", found the end.")]
    [InlineData("root ::= a |\n  b\na ::= [z-a]\nb ::= \"\"", "Line 3, column 11: expected a range that goes up, found ']'.")]
    [InlineData("root ::= x\n\ny ::= \"é\"", "Line 1, column 10: the rule 'x' is nowhere defined.")]
    [InlineData("root ::= \"a\"\nroot ::= \"b\"", "Line 2, column 1: the rule 'root' is defined twice.")]
    [InlineData("root ::= \"x\" a\na ::= \"\" a", "Line 1, column 14: the rule 'a' begins with itself.")]
    public async Task Wrong_grammar_is_a_diagnostic_with_its_place(string text, string message)
    {
        Assert.Equal([$"The grammar of 'G' was not compiled: {message}"], await GeneratorHarness.ExpectAsync($"[ModelGen.Grammar({{|MG0030:{SymbolDisplay.FormatLiteral(text, true)}|}})] public static partial class G;"));
        Assert.EndsWith(message, Assert.Throws<GrammarException>(() => Grammar.Parse(text)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\n  \"type\": \"colour\"\n}", "Line 1, column 1: JSON schema, #: the type 'colour' is not known.")]
    [InlineData("{\"type\":\"object\",\n \"properties\":{\"a\":\n {\"type\":\"string\",\"pattern\":\"x\"}}}", "Line 3, column 2: JSON schema, #/properties/a: 'pattern' is not known here beside type, minLength, maxLength.")]
    [InlineData("{\n\"type\" 3}", "Line 2, column 8: expected :, found '3': it is no JSON.")]
    public async Task Wrong_schema_is_a_diagnostic_with_its_place(string text, string message)
    {
        Assert.Equal([$"The grammar of 'G' was not compiled: {message}"], await GeneratorHarness.ExpectAsync($"[ModelGen.JsonSchema(schema: {{|MG0030:{SymbolDisplay.FormatLiteral(text, true)}|}})] public static partial class G;"));
        GrammarException thrown = Assert.Throws<GrammarException>(() => Grammar.FromJsonSchema(text));
        Assert.EndsWith(message, thrown.Message, StringComparison.Ordinal);
        Assert.StartsWith($"Line {thrown.Line}, column {thrown.Column}:", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wrong_file_is_a_diagnostic_in_that_file()
    {
        GrammarRun run = Run("""
            using ModelGen;
            [Grammar(File = "x.gbnf", Vocabulary = "v.txt")] public static partial class First;
            [JsonSchema(File = "y.json")] public static partial class Second;
            [Grammar(File = "z.gbnf")] public static partial class Third;
            [Grammar("root ::= \"a\"", File = "x.gbnf")] public static partial class Fourth;
            [Grammar] public static partial class Fifth;
            [Grammar("root ::= \"a\"", MaskBytes = -1)] public static partial class Sixth;
            [Grammar("root ::= \"a\""), JsonSchema("{}")] public static partial class Seventh;
            """, ("/a/x.gbnf", "root ::= a\na ::= (\"b\"\n"), ("/a/v.txt", "modelgen-vocabulary 1 2\n-a\n-\\x0\n"), ("/a/y.json", "{}"), ("/b/y.json", "{}"));
        string[] found = [.. (await DiagnosticsAsync(run)).Select(static problem => $"{problem.Id} {problem.Location.GetLineSpan().Path} {problem.Location.GetLineSpan().StartLinePosition} {GeneratorHarness.Message(problem)}").Order(StringComparer.Ordinal)];
        Assert.Equal(
            [
                "MG0010 File0.cs 6,39 MaskBytes must be 0 to 16777216, but is -1",
                "MG0030 /a/x.gbnf 2,0 The grammar of 'First' was not compiled: Line 3, column 1: expected ), found the end.",
                "MG0031 File0.cs 2,19 The grammar of 'Second' was not compiled: several of the project's AdditionalFiles end in 'y.json'",
                "MG0031 File0.cs 3,16 The grammar of 'Third' was not compiled: none of the project's AdditionalFiles ends in 'z.gbnf'",
                "MG0031 File0.cs 4,34 The grammar of 'Fourth' was not compiled: both Gbnf and File are given",
                "MG0031 File0.cs 5,1 The grammar of 'Fifth' was not compiled: neither Gbnf nor File is given",
                "MG0032 File0.cs 7,1 'Seventh' cannot have a grammar, because it declares two; declare it on a partial class of its own",
                "MG0032 File0.cs 7,28 'Seventh' cannot have a grammar, because it declares two; declare it on a partial class of its own",
                "MG0033 /a/v.txt 2,1 The vocabulary 'v.txt' was not read: Line 3, column 2: expected printable ASCII, or \\x and two hexadecimal digits.",
            ],
            found);
    }

    [Fact]
    public void Only_what_changed_is_compiled_again()
    {
        const string Source = """
            using ModelGen;
            [Grammar(File = "x.gbnf")] public static partial class First;
            [JsonSchema("{}")] public static partial class Second;
            """;
        var other = new Text("/o.txt", "a");
        var file = new Text("/x.gbnf", "root ::= \"a\"");
        GrammarRun run = Run(Source, [file, other]);
        Assert.Equal(["First Cached", "Second Cached"], Reasons(run.Driver.RunGenerators(GeneratorHarness.Compile(Source))));
        Assert.Equal(["First Cached", "Second Cached"], Reasons(run.Driver.RunGenerators(GeneratorHarness.Compile("// A remark.\n" + Source + "\npublic class Third;"))));
        Assert.Equal(["First Cached", "Second Cached"], Reasons(run.Driver.ReplaceAdditionalText(other, new Text("/o.txt", "b")).RunGenerators(GeneratorHarness.Compile(Source))));
        Assert.Equal(["First Modified", "Second Cached"], Reasons(run.Driver.ReplaceAdditionalText(file, new Text("/x.gbnf", "root ::= \"b\"")).RunGenerators(GeneratorHarness.Compile(Source))));
        Assert.Equal(["First Cached", "Second Modified"], Reasons(run.Driver.RunGenerators(GeneratorHarness.Compile(Source.Replace("{}", "true", StringComparison.Ordinal)))));

        static IEnumerable<string> Reasons(GeneratorDriver driver)
            => driver.GetRunResult().Results[0].TrackedSteps[StepNames.CompiledGrammar].SelectMany(static step => step.Outputs)
                .Select(static output => $"{((global::ModelGen.Compiler.EmittedFile)output.Value).HintName.Split('.')[0]} {(output.Reason == IncrementalStepRunReason.Unchanged ? IncrementalStepRunReason.Cached : output.Reason)}").Order(StringComparer.Ordinal);
    }

    [Fact]
    public void Damaged_data_is_refused_or_harmless()
    {
        string vocabulary = "modelgen-vocabulary 1 6\n!\n-a\n-ab\n-[\n-]\n-\\xC3\n";
        byte[] data = CompiledGrammar.Write(GrammarReader.Read("root ::= \"[\" root \"]\" | [a-zé]+"), TokenTableText.Read(vocabulary), 20, 1000, CancellationToken.None);
        Assert.Equal(20, CompiledGrammar.Read(data).MaskCount);
        for (int length = 0; length < data.Length; length++)
        {
            Assert.Throws<GrammarException>(() => Grammar.FromCompiled(data.AsSpan(0, length)));
        }

        var random = new Random(4);
        int read = 0;
        for (int i = 0; i < 1500; i++)
        {
            byte[] damaged = [.. data];
            for (int change = random.Next(1, 3); change > 0; change--)
            {
                damaged[random.Next(damaged.Length)] = (byte)(random.Next(3) == 0 ? 255 : random.Next(256));
            }

            try
            {
                Grammar.FromCompiled(damaged).Matches("[[ab]]"u8);
                var compiled = CompiledGrammar.Read(damaged);
                for (int state = 0; state < 20; state++)
                {
                    compiled.Mask(state);
                }

                read++;
            }
            catch (Exception exception) when (exception is GrammarException or global::ModelGen.Compiler.Grammars.GrammarException)
            {
            }
        }

        Assert.InRange(read, 20, 1400);
    }

    private static int Walks(TokenConstraint constraint) => (int)constraint.GetType().GetProperty("Walks", BindingFlags.Instance | BindingFlags.NonPublic)!.GetValue(constraint)!;

    private static Grammar GrammarOf(Assembly assembly, string type) => (Grammar)assembly.GetType(type)!.GetProperty("Grammar")!.GetValue(null)!;

    private static Assembly Load(CSharpCompilation compilation)
    {
        using var image = new MemoryStream();
        Microsoft.CodeAnalysis.Emit.EmitResult result = compilation.Emit(image);
        Assert.True(result.Success, InMemoryCompilation.Describe(result.Diagnostics.Where(static problem => problem.Severity == DiagnosticSeverity.Error)));
        image.Position = 0;
        return new AssemblyLoadContext(null, isCollectible: true).LoadFromStream(image);
    }

    private static GrammarRun Run(string source, params (string Path, string Text)[] files) => Run(source, [.. files.Select(static file => new Text(file.Path, file.Text))]);

    private static GrammarRun Run(string source, IReadOnlyList<Text> files)
    {
        CSharpCompilation compilation = GeneratorHarness.Compile(source);
        GeneratorDriver driver = CSharpGeneratorDriver.Create(
            [new GrammarGenerator().AsSourceGenerator()],
            files,
            GeneratorHarness.ParseOptions,
            driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));
        driver = driver.RunGeneratorsAndUpdateCompilation(compilation, out Compilation output, out _);
        Assert.Null(driver.GetRunResult().Results[0].Exception);
        return new GrammarRun(driver, (CSharpCompilation)output, [.. files]);
    }

    private static async Task<IEnumerable<Diagnostic>> DiagnosticsAsync(GrammarRun run)
    {
        ImmutableArray<Diagnostic> found = await run.Output.WithAnalyzers([new GrammarAnalyzer()], new AnalyzerOptions(run.Files)).GetAllDiagnosticsAsync();
        return found.Where(static problem => problem.Severity >= DiagnosticSeverity.Warning && problem.Id != "CS1591");
    }

    private sealed record GrammarRun(GeneratorDriver Driver, CSharpCompilation Output, ImmutableArray<AdditionalText> Files);

    private sealed class Text(string path, string text) : AdditionalText
    {
        public override string Path => path;

        public override SourceText GetText(CancellationToken cancellationToken = default) => SourceText.From(text, Encoding.UTF8);
    }
}
