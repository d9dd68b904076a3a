using System.Collections;
using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ModelGen.Compiler;
using ModelGen.Compiler.Declarations;

namespace ModelGen.Tests.Generator;

/// <summary>An edit that does not concern a model must cost nothing, and one that does must not be missed.</summary>
public sealed class IncrementalityTests
{
    private const string Model = $$"""
        using ModelGen;

        namespace Tests;

        {{GeneratorHarness.Tiny}}
        [Trainable(BatchSize = 2, SequenceLength = 4)]
        public partial class First;

        """;

    private const string Other = """
        using ModelGen;

        namespace Tests;

        [RecurrentLm(Cell = Cell.Gru, Hidden = 5, Vocab = 7)]
        public partial class Second;

        public static class Unrelated
        {
            public static int Answer() => 42;
        }

        """;

    [Theory]
    [InlineData("using ModelGen;", "// A remark.\nusing ModelGen;")]
    [InlineData("Layers = 1", "Layers  =  1")]
    [InlineData("Layers = 1", "Layers = /* one */ 1")]
    [InlineData("Layers = 1", "Layers = 3 - 2")]
    [InlineData("First;", "First { public int Extra => 1; }")]
    [InlineData("First;", "First;\n\npublic class Below;")]
    public void Edit_that_changes_no_value_compiles_nothing_again(string what, string with)
    {
        string edited = Model.Replace(what, with, StringComparison.Ordinal);
        Assert.NotEqual(Model, edited);
        GeneratorRun run = GeneratorHarness.Run(Model, Other);
        AssertNothingRecompiled(run, GeneratorHarness.Compile(edited, Other));
    }

    [Theory]
    [InlineData("42", "43")]
    [InlineData("public static class Unrelated", "public static class Renamed")]
    [InlineData("using ModelGen;", "using System;\nusing ModelGen;")]
    public void Edit_of_another_class_compiles_nothing_again(string what, string with)
    {
        GeneratorRun run = GeneratorHarness.Run(Model, Other);
        AssertNothingRecompiled(run, GeneratorHarness.Compile(Model, Other.Replace(what, with, StringComparison.Ordinal)));
    }

    [Fact]
    public void New_file_compiles_nothing_again()
    {
        GeneratorRun run = GeneratorHarness.Run(Model, Other);
        AssertNothingRecompiled(run, GeneratorHarness.Compile(Model, Other, "namespace Tests; public class Added;"));
    }

    [Theory]
    [InlineData("Layers = 1", "Layers = 2")]
    [InlineData("SequenceLength = 4", "SequenceLength = 3")]
    [InlineData("Vocab = 11", "Vocab = 11, Dropout = 0.5")]
    [InlineData("Vocab = 11", "Vocab = 11, Bias = false")]
    public void Edit_of_a_declaration_compiles_that_model_again_and_no_other(string what, string with)
    {
        GeneratorRun run = GeneratorHarness.Run(Model, Other);
        string edited = Model.Replace(what, with, StringComparison.Ordinal);
        Assert.NotEqual(Model, edited);
        GeneratorRunResult result = run.Driver.RunGenerators(GeneratorHarness.Compile(edited, Other)).GetRunResult().Results[0];

        Dictionary<string, IncrementalStepRunReason> reasons = result.TrackedSteps[StepNames.CompiledModel]
            .SelectMany(step => step.Outputs)
            .ToDictionary(output => ((CompileOutcome)output.Value).Type.Name, output => output.Reason);
        Assert.Equal(IncrementalStepRunReason.Modified, reasons["First"]);
        Assert.Equal(IncrementalStepRunReason.Cached, reasons["Second"]);
        Assert.NotEqual(run.Files["Tests.First.g.cs"], GeneratorHarness.TextOf(result)["Tests.First.g.cs"]);
    }

    [Fact]
    public void Removed_declaration_removes_its_files()
    {
        GeneratorRun run = GeneratorHarness.Run(Model, Other);
        GeneratorRunResult result = run.Driver.RunGenerators(GeneratorHarness.Compile("", Other)).GetRunResult().Results[0];
        Assert.Contains(run.Files.Keys, name => name.StartsWith("Tests.First.", StringComparison.Ordinal));
        Assert.DoesNotContain(result.GeneratedSources, file => file.HintName.StartsWith("Tests.First.", StringComparison.Ordinal));
        Assert.Contains(result.GeneratedSources, file => file.HintName.StartsWith("Tests.Second.", StringComparison.Ordinal));
    }

    [Fact]
    public void Corrected_declaration_is_compiled()
    {
        string wrong = Model.Replace("Heads = 2", "Heads = 3", StringComparison.Ordinal);
        GeneratorRun run = GeneratorHarness.Run(wrong);
        GeneratorRunResult result = run.Driver.RunGenerators(GeneratorHarness.Compile(Model)).GetRunResult().Results[0];
        Assert.Equal(GeneratorHarness.Run(Model).Files, GeneratorHarness.TextOf(result));
    }

    /// <summary>A symbol or a tree in the pipeline keeps a whole compilation alive for each model, and defeats caching.</summary>
    [Fact]
    public void Pipeline_holds_values_only()
    {
        GeneratorRun run = GeneratorHarness.Run(Model, Other, $$"""
            using ModelGen;
            public partial class Outer<T>
            {
                [Mlp(3, 4, 2, Loss = Loss.CrossEntropy)]
                [Trainable(BatchSize = 2)]
                [MemoryBudget(TrainingBytes = 1000000)]
                private partial class Inner;

                [Mlp(3, 0)]
                private partial class Wrong;
            }
            """);
        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        int outputs = 0;
        foreach (string step in new[] { StepNames.Declaration, StepNames.ModelSpec, StepNames.CompiledModel })
        {
            foreach ((object value, _) in run.Result.Results[0].TrackedSteps[step].SelectMany(tracked => tracked.Outputs))
            {
                outputs++;
                Walk(value, step, seen);
            }
        }

        Assert.Equal(3 * 4, outputs);
        Assert.Contains(seen, value => value is ModelSpec);
    }

    private static void AssertNothingRecompiled(GeneratorRun run, CSharpCompilation edited)
    {
        GeneratorRunResult result = run.Driver.RunGenerators(edited).GetRunResult().Results[0];
        Assert.NotEmpty(result.TrackedSteps[StepNames.CompiledModel]);
        foreach ((string step, IncrementalStepRunReason reason) in GeneratorHarness.Reasons(result))
        {
            // The attributes are read again and found to say the same; from there on nothing runs at all.
            if (step == StepNames.Declaration)
            {
                Assert.True(reason is IncrementalStepRunReason.Unchanged or IncrementalStepRunReason.Cached, $"{step}: {reason}");
            }
            else
            {
                Assert.Equal((step, IncrementalStepRunReason.Cached), (step, reason));
            }
        }

        Assert.Equal(run.Files, GeneratorHarness.TextOf(result));
    }

    private static void Walk(object? value, string path, HashSet<object> seen)
    {
        if (value is null or string || value.GetType().IsPrimitive || value.GetType().IsEnum || !seen.Add(value))
        {
            return;
        }

        Assert.False(
            value is ISymbol or SyntaxNode or SyntaxTree or Compilation or Location or SemanticModel or SyntaxReference or AttributeData or Diagnostic or Delegate,
            $"{path} holds a {value.GetType()}");
        if (value is IEnumerable items)
        {
            foreach (object? item in items)
            {
                Walk(item, path + "[]", seen);
            }
        }

        for (Type? type = value.GetType(); type is not null; type = type.BaseType)
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                Walk(field.GetValue(value), path + "." + field.Name, seen);
            }
        }
    }
}
