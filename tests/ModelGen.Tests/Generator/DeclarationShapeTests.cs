using Microsoft.CodeAnalysis;

namespace ModelGen.Tests.Generator;

/// <summary>A model may be declared wherever a partial class may; what is emitted there compiles without a warning.</summary>
public sealed class DeclarationShapeTests
{
    private const string Model = "[Mlp(2, 3, 2)]";

    [Theory]
    [InlineData("Model", $"{Model} public partial class Model;")]
    [InlineData("Model", $"{Model} internal partial class Model;")]
    [InlineData("Model", $"{Model} partial class Model {{ }}")]
    [InlineData("Model", $"{Model} public sealed partial class Model;")]
    [InlineData("Tests.Model", $"namespace Tests; {Model} public partial class Model;")]
    [InlineData("Tests.Deep.Model", $"namespace Tests.Deep {{ {Model} public partial class Model {{ }} }}")]
    [InlineData("Outer+Model", $"public partial class Outer {{ {Model} public partial class Model; }}")]
    [InlineData("Outer+Model", $"public partial class Outer {{ {Model} private partial class Model; public object Use() => Model.Create(); }}")]
    [InlineData("Outer+Model", $"public partial class Outer {{ {Model} protected internal partial class Model; }}")]
    [InlineData("Outer+Model", $"public partial class Outer {{ {Model} private protected partial class Model; }}")]
    [InlineData("A.Outer+Middle+Model", $"namespace A; public static partial class Outer {{ internal partial struct Middle {{ {Model} public partial class Model; }} }}")]
    [InlineData("Outer+Model", $"public partial record Outer {{ {Model} public partial class Model; }}")]
    [InlineData("Outer+Model", $"public partial record struct Outer(int X) {{ {Model} public partial class Model; }}")]
    [InlineData("Outer+Model", $"public readonly ref partial struct Outer {{ {Model} public partial class Model; }}")]
    [InlineData("IOuter+Model", $"public partial interface IOuter {{ {Model} public partial class Model; }}")]
    [InlineData("Outer-1+Model", $"public partial class Outer<T> where T : struct {{ {Model} public partial class Model; }}")]
    [InlineData("A.Outer-2+Middle-1+Model", $"namespace A; public partial class Outer<TKey, @class> {{ public partial struct Middle<T> {{ {Model} public partial class Model; }} }}")]
    [InlineData("IOuter-1+Model", $"public partial interface IOuter<T> {{ {Model} partial class Model; }}")]
    [InlineData("class", $"{Model} public partial class @class;")]
    [InlineData("namespace.event+class", $"namespace @namespace; public partial class @event {{ {Model} public partial class @class; }}")]
    [InlineData("await.yield", $"namespace await {{ {Model} public partial class @yield; }}")]
    [InlineData("Größe.Änderung", $"namespace Größe; {Model} public partial class Änderung;")]
    [InlineData("ModelGen.Inside", $"namespace ModelGen; {Model} public partial class Inside;")]
    [InlineData("A.Outer-1+Model", $"namespace A; public partial class Outer<T> {{ {GeneratorHarness.Tiny} [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model; }}")]
    [InlineData("Mine.ModelGen.System.Model", $"namespace Mine.ModelGen.System; {Model} public partial class Model;")]
    [InlineData("Model", $"public abstract class Base {{ protected Base(int x = 0) => X = x; public int X {{ get; }} }} {Model} public partial class Model : Base;")]
    [InlineData("Model", $"public class Base {{ internal Base(params int[] x) => X = x.Length; public int X {{ get; }} }} {Model} public partial class Model : Base;")]
    [InlineData("Model", $"public class Base<T>; {Model} public partial class Model : Base<int>;")]
    [InlineData("Outer+Model", $"public partial class Outer {{ private Outer() {{ }} {Model} public partial class Model : Outer; public static object Make() => new Outer(); }}")]
    public async Task Emitted_files_are_named_after_the_class_and_compile(string hintName, string declaration)
    {
        GeneratorRun run = GeneratorHarness.Run("using ModelGen;\n" + declaration);
        Assert.Contains(hintName + ".g.cs", run.Files.Keys);
        Assert.All(run.Files.Keys, name => Assert.True(name.StartsWith(hintName + ".", StringComparison.Ordinal) && name.EndsWith(".g.cs", StringComparison.Ordinal), name));

        // CS8981: a type of the declarations is all in lower case, on purpose.
        IEnumerable<Diagnostic> diagnostics = (await GeneratorHarness.DiagnosticsAsync(run)).Where(diagnostic => diagnostic.Id != "CS8981");
        Assert.Empty(diagnostics);
    }

    /// <summary>No generator sees what another one writes.</summary>
    [Fact]
    public void A_base_class_in_parts_may_have_its_constructor_from_another_generator()
        => Assert.Contains("Model.g.cs", GeneratorHarness.Run($"using ModelGen; public partial class Base {{ protected Base(int x) => X = x; public int X {{ get; }} }} {Model} public partial class Model : Base;").Files.Keys);

    [Fact]
    public void Names_that_differ_in_case_only_get_files_of_their_own()
    {
        GeneratorRun run = GeneratorHarness.Run($$"""
            using ModelGen;
            {{Model}} public partial class Model;
            {{Model}} public partial class MODEL;
            namespace Space { {{Model}} public partial class Model; }
            namespace SPACE { {{Model}} public partial class Model; }
            public partial class Outer { {{Model}} public partial class Model; }
            public partial class Outer<T> { {{Model}} public partial class Model; }
            """);
        Assert.Empty(run.Result.Diagnostics);
        string[] surfaces = [.. run.Files.Keys.Where(name => run.Files.Keys.All(other => other == name || !name.StartsWith(other[..^".g.cs".Length] + ".", StringComparison.OrdinalIgnoreCase)))];
        Assert.Equal(6, surfaces.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        Assert.Equal(run.Files.Count, run.Files.Keys.Distinct(StringComparer.OrdinalIgnoreCase).Count());
    }

    [Fact]
    public void Class_declared_twice_is_emitted_once()
    {
        GeneratorRun run = GeneratorHarness.Run(
            $"using ModelGen; {Model} public partial class Model;",
            $"using ModelGen; {Model} public partial class Model;",
            "using ModelGen; [Mlp(2, 3, 2)] public partial class Model;");
        Assert.Empty(run.Result.Diagnostics);
        Assert.Contains("Model.g.cs", run.Files.Keys);
    }

    [Fact]
    public void Project_without_models_gets_nothing()
    {
        GeneratorRun run = GeneratorHarness.Run("public class Plain;");
        Assert.Empty(run.Files);
        Assert.Empty(run.Result.Diagnostics);
    }
}
