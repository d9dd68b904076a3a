using Microsoft.CodeAnalysis.CSharp.Testing;
using Microsoft.CodeAnalysis.Testing;
using ModelGen.CodeFixes;
using ModelGen.Compiler.Diagnostics;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Generator;

/// <summary>The code fix, applied as an editor applies it: one place after the other, and in a document, a project and a solution at once.</summary>
public sealed class MakePartialTests
{
    private const string Tiny = GeneratorHarness.Tiny;

    [Theory]
    [InlineData($"{Tiny}\npublic class {{|MG0001:Model|}};", $"{Tiny}\npublic partial class Model;")]
    [InlineData($"{Tiny}\nclass {{|MG0001:Model|}} {{ }}", $"{Tiny}\npartial class Model {{ }}")]
    [InlineData($"{Tiny} class {{|MG0001:Model|}};", $"{Tiny} partial class Model;")]
    [InlineData($"{Tiny}\n// why\nclass {{|MG0001:Model|}};", $"{Tiny}\n// why\npartial class Model;")]
    [InlineData($"{Tiny}\npublic sealed /* not derived */ class {{|MG0001:Model|}};", $"{Tiny}\npublic sealed /* not derived */ partial class Model;")]
    [InlineData(
        $"interface {{|MG0002:IOuter|}}\n{{\n    partial record Middle\n    {{\n        {Tiny} partial class Model;\n    }}\n}}",
        $"partial interface IOuter\n{{\n    partial record Middle\n    {{\n        {Tiny} partial class Model;\n    }}\n}}")]
    [InlineData($"class {{|MG0002:Outer|}} {{ {Tiny} partial class Model; }}", $"partial class Outer {{ {Tiny} partial class Model; }}")]
    public Task Class_becomes_partial(string before, string after) => FixAsync(before, after, steps: 1);

    [Fact]
    public Task Class_and_the_types_around_it_become_partial() => FixAsync(
        $"/// <summary>Outer.</summary>\nclass {{|MG0002:Outer|}}\n{{\n    public readonly struct {{|MG0002:Middle|}}\n    {{\n        {Tiny}\n        public class {{|MG0001:Model|}};\n    }}\n}}",
        $"/// <summary>Outer.</summary>\npartial class Outer\n{{\n    public readonly partial struct Middle\n    {{\n        {Tiny}\n        public partial class Model;\n    }}\n}}",
        steps: null);

    [Fact]
    public Task All_are_fixed_at_once() => FixAsync(
        $"class {{|MG0002:Outer|}}\n{{\n    {Tiny}\n    class {{|MG0001:First|}};\n\n    {Tiny}\n    class {{|MG0001:Second|}};\n}}\n\n{Tiny}\ninternal class {{|MG0001:Third|}};\n",
        $"partial class Outer\n{{\n    {Tiny}\n    partial class First;\n\n    {Tiny}\n    partial class Second;\n}}\n\n{Tiny}\ninternal partial class Third;\n",
        steps: null);

    /// <param name="before">The source, with the diagnostics marked.</param>
    /// <param name="after">What it becomes.</param>
    /// <param name="steps">How often the fix is applied where it is applied at one place at a time; null when that does not matter.</param>
    private static async Task FixAsync(string before, string after, int? steps)
    {
        var test = new CSharpCodeFixTest<ModelDeclarationAnalyzer, MakePartialCodeFixProvider, DefaultVerifier>
        {
            TestCode = "using ModelGen;\n" + before,
            FixedCode = "using ModelGen;\n" + after,
            ReferenceAssemblies = new ReferenceAssemblies("the tests' own"),
            NumberOfFixAllIterations = 1,
            CodeActionVerifier = static (action, verify) => verify.Equal("Make it partial", action.Title),
        };
        test.TestState.AdditionalReferences.AddRange(InMemoryCompilation.References);
        test.NumberOfIncrementalIterations = steps ?? test.NumberOfIncrementalIterations;
        await test.RunAsync();
    }
}
