using System.Collections.Immutable;
using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Emit;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>
/// A user's program with a model of every family, compiled as a project of the user's would be: under any settings, and beside any
/// other code. It runs, since code that means something else may well compile.
/// </summary>
internal static class ModelProgram
{
    /// <summary>The declarations; each class has a name of its own, and the text stands in any namespace or class.</summary>
    public const string Models = """
        /// <summary>Documented.</summary>
        [global::ModelGen.Gpt(Layers = 2, DModel = 20, Heads = 4, Vocab = 7, Context = 12, Dropout = 0.3)]
        [global::ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
        public partial class GptNet;

        /// <summary>Documented.</summary>
        [global::ModelGen.RecurrentLm(Cell = global::ModelGen.Cell.Rnn, Layers = 1, Hidden = 9, Embedding = 5, Vocab = 7)]
        [global::ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
        public partial class RnnNet;

        /// <summary>Documented.</summary>
        [global::ModelGen.RecurrentLm(Cell = global::ModelGen.Cell.Lstm, Layers = 1, Hidden = 9, Vocab = 7, TieEmbeddings = true)]
        [global::ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
        public partial class LstmNet;

        /// <summary>Documented.</summary>
        [global::ModelGen.RecurrentLm(Cell = global::ModelGen.Cell.Gru, Layers = 2, Hidden = 9, Embedding = 5, Vocab = 7, Dropout = 0.3)]
        [global::ModelGen.Trainable(BatchSize = 2, SequenceLength = 12)]
        public partial class GruNet;

        /// <summary>Documented.</summary>
        [global::ModelGen.Mlp(3, 5, 4)]
        [global::ModelGen.Trainable(BatchSize = 8)]
        public partial class MlpNet;

        """;

    private static readonly string[] Names = ["GptNet", "RnnNet", "LstmNet", "GruNet", "MlpNet"];

    private static readonly Lazy<string> Expected = new(() => Run(Build(SourceIn("Tests"))));

    /// <summary>What the program computes in an ordinary project, bit for bit.</summary>
    public static string ExpectedResult => Expected.Value;

    /// <summary>The program with its models in a namespace, or in none.</summary>
    public static string SourceIn(string space)
        => (space.Length == 0 ? Models : $"namespace {space}\n{{\n{Models}}}\n") + EntryPoint(space.Length == 0 ? "" : space + ".");

    /// <summary>A method that trains each of the models and asks it, and prints every number it gets as bits.</summary>
    /// <param name="prefix">What stands before the models' names: a namespace or a class, and a dot.</param>
    public static string EntryPoint(string prefix)
    {
        string languageModels = string.Concat(Names[..^1].Select(name => $$"""
                        using (var trainer = global::{{prefix}}{{name}}.Create(1).CreateTrainer(new global::ModelGen.AdamW()))
                        {
                            for (int i = 0; i < 2; i++) lines.Add("{{name}} step " + global::System.BitConverter.SingleToInt32Bits(trainer.Step(inputs, targets)));
                            lines.Add("{{name}} evaluate " + global::System.BitConverter.SingleToInt32Bits(trainer.Evaluate(inputs, targets)));
                        }
                        using (var session = global::{{prefix}}{{name}}.Create(2).CreateSession())
                        {
                            foreach (float logit in session.Prefill(new[] { 1, 2, 3 }).ToArray()) lines.Add("{{name}} prefill " + global::System.BitConverter.SingleToInt32Bits(logit));
                            foreach (float logit in session.Decode(4).ToArray()) lines.Add("{{name}} decode " + global::System.BitConverter.SingleToInt32Bits(logit));
                        }

            """));
        return $$"""
            /// <summary>Documented.</summary>
            public static class ModelProgramMain
            {
                /// <summary>Documented.</summary>
                public static string Run()
                {
                    var lines = new global::System.Collections.Generic.List<string>();
                    int[] inputs = new int[24], targets = new int[24];
                    for (int i = 0; i < 24; i++) { inputs[i] = i * i % 7; targets[i] = (i + 1) * (i + 1) % 7; }
                    float[] features = new float[24];
                    for (int i = 0; i < 24; i++) { features[i] = i / 10f; }
            {{languageModels}}
                    using (var trainer = global::{{prefix}}MlpNet.Create(1).CreateTrainer(new global::ModelGen.Sgd()))
                    {
                        for (int i = 0; i < 2; i++) lines.Add("MlpNet step " + global::System.BitConverter.SingleToInt32Bits(trainer.Step(features, new[] { 0, 1, 2, 3, 0, 1, 2, 3 })));
                    }
                    using (var session = global::{{prefix}}MlpNet.Create(2).CreateSession())
                    {
                        float[] outputs = new float[4];
                        session.Predict(new[] { 1f, 2f, 3f }, outputs);
                        foreach (float output in outputs) lines.Add("MlpNet predict " + global::System.BitConverter.SingleToInt32Bits(output));
                    }
                    return string.Join("\n", lines);
                }
            }

            """;
    }

    /// <summary>Compiles sources with what the generator adds, and requires that nothing at all is reported.</summary>
    public static CSharpCompilation Build(params IEnumerable<string> sources) => Build(GeneratorHarness.ParseOptions, GeneratorHarness.Options, sources);

    public static CSharpCompilation Build(CSharpParseOptions parseOptions, CSharpCompilationOptions options, params IEnumerable<string> sources)
    {
        CSharpCompilation compilation = GeneratorHarness.Compile(parseOptions, options, sources).WithAssemblyName("ModelProgram");
        GeneratorHarness.CreateDriver(compilation).RunGeneratorsAndUpdateCompilation(compilation, out Compilation output, out ImmutableArray<Diagnostic> diagnostics);
        Assert.Empty(diagnostics);
        return (CSharpCompilation)output;
    }

    /// <summary>Runs the program.</summary>
    /// <returns>Every number that its models compute.</returns>
    public static string Run(CSharpCompilation compilation)
    {
        using MemoryStream image = Emit(compilation);
        AssemblyLoadContext context = new("ModelProgram", isCollectible: true);
        try
        {
            return (string)context.LoadFromStream(image).GetType("ModelProgramMain")!.GetMethod("Run")!.Invoke(null, [])!;
        }
        finally
        {
            context.Unload();
        }
    }

    /// <summary>The assembly's bytes; the compilation must give neither an error nor a warning.</summary>
    public static MemoryStream Emit(CSharpCompilation compilation)
    {
        MemoryStream image = new();
        EmitResult result = compilation.Emit(image);
        Diagnostic[] problems = [.. result.Diagnostics.Where(d => d.Severity >= DiagnosticSeverity.Warning)];
        Assert.True(result.Success && problems.Length == 0, InMemoryCompilation.Describe(problems));
        image.Position = 0;
        return image;
    }
}
