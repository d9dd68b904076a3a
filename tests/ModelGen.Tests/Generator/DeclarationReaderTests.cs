using ModelGen.Compiler;
using ModelGen.Compiler.Declarations;

namespace ModelGen.Tests.Generator;

/// <summary>What attributes say, however it is written, comes out as values.</summary>
public sealed class DeclarationReaderTests
{
    [Fact]
    public void Arguments_are_read_by_value_wherever_it_is_computed()
    {
        Declaration declaration = DeclarationReading.Read(
            """
            using ModelGen;
            using Size = Sizes;
            [Gpt(Layers = Sizes.N, DModel = Sizes.N * Sizes.Heads * 2, Heads = (int)Size.Heads, Vocab = nameof(Sizes) == "Sizes" ? 5 : 6, Context = 'a', FeedForward = 0x10,
                TieEmbeddings = !true, Dropout = 1f / 4, LayerNormEpsilon = 1e-6, Activation = (Activation)3, Layout = ParameterLayout.Linear)]
            [Trainable(SequenceLength = Sizes.N, BatchSize = sizeof(int))]
            [MemoryBudget(InferenceBytes = 3L << 32)]
            public partial class Model;
            """,
            "public static class Sizes { public const int N = Other.Base + 1; public const byte Heads = 2; private static class Other { public const int Base = 2; } }");

        ModelSpec spec = declaration.Spec;
        Assert.Empty(declaration.Problems);
        Assert.Equal("Gpt", spec.Family);
        Assert.Equal(3, spec.Int("Layers", 0));
        Assert.Equal(12, spec.Int("DModel", 0));
        Assert.Equal(2, spec.Int("Heads", 0));
        Assert.Equal(5, spec.Int("Vocab", 0));
        Assert.Equal(97, spec.Int("Context", 0));
        Assert.Equal(16, spec.Int("FeedForward", 0));
        Assert.False(spec.Flag("TieEmbeddings", true));
        Assert.Equal(0.25, spec.Real("Dropout", 0));
        Assert.Equal(1e-6, spec.Real("LayerNormEpsilon", 0));
        Assert.Equal(global::ModelGen.Compiler.Activation.Tanh, spec.Choice("Activation", global::ModelGen.Compiler.Activation.Relu));
        Assert.Equal(global::ModelGen.Compiler.ParameterLayout.Linear, spec.Choice("Layout", global::ModelGen.Compiler.ParameterLayout.Conv1D));
        Assert.Equal(new TrainingSpec(4, 3), spec.Training);
        Assert.Equal(new MemoryBudgetSpec(3L << 32, 0), spec.Budget);
    }

    [Fact]
    public void Arguments_that_are_not_given_are_absent()
    {
        ModelSpec spec = DeclarationReading.Read("[ModelGen.RecurrentLm(Hidden = 3, Vocab = 5)] partial class Model;").Spec;
        Assert.Equal(["Hidden", "Vocab"], spec.Arguments.Select(argument => argument.Name));
        Assert.Null(spec.Training);
        Assert.Null(spec.Budget);
    }

    [Theory]
    [InlineData("784, 500, 10")]
    [InlineData("new int[] { 784, 500, 10 }")]
    [InlineData("new[] { 784, 500, 10 }")]
    [InlineData("[784, 500, 10]")]
    [InlineData("sizes: [784, 500, 10]")]
    [InlineData("784, 500, 10, Bias = true")]
    public void List_of_sizes_is_read_in_every_form(string arguments)
    {
        ModelSpec spec = DeclarationReading.Read($"[ModelGen.Mlp({arguments})] partial class Model;").Spec;
        Assert.Equal([784, 500, 10], spec.Ints("Sizes"));
    }

    [Fact]
    public void Attributes_may_stand_on_different_parts()
    {
        GeneratorRun run = GeneratorHarness.Run(
            "using ModelGen; [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;",
            $"using ModelGen; {GeneratorHarness.Tiny} partial class Model;");
        Assert.Contains("Model.g.cs", run.Files.Keys);
        ModelSpec spec = DeclarationReading.Read(
            "using ModelGen; [Trainable(BatchSize = 2, SequenceLength = 3)] public partial class Model;",
            $"using ModelGen; {GeneratorHarness.Tiny} partial class Model;").Spec;
        Assert.Equal(new TrainingSpec(2, 3), spec.Training);
    }

    [Theory]
    [InlineData(typeof(global::ModelGen.Compiler.Activation), typeof(global::ModelGen.Activation))]
    [InlineData(typeof(global::ModelGen.Compiler.Cell), typeof(global::ModelGen.Cell))]
    [InlineData(typeof(global::ModelGen.Compiler.Loss), typeof(global::ModelGen.Loss))]
    [InlineData(typeof(global::ModelGen.Compiler.ParameterLayout), typeof(global::ModelGen.ParameterLayout))]
    [InlineData(typeof(global::ModelGen.Compiler.CudaLaunches), typeof(global::ModelGen.CudaLaunches))]
    [InlineData(typeof(global::ModelGen.Compiler.CudaProducts), typeof(global::ModelGen.CudaProducts))]
    public void Enumerations_of_the_compiler_are_those_of_the_runtime(Type compiler, Type runtime)
        => Assert.Equal(
            Enum.GetNames(runtime).Select(name => (name, Convert.ToInt64(Enum.Parse(runtime, name)))),
            Enum.GetNames(compiler).Select(name => (name, Convert.ToInt64(Enum.Parse(compiler, name)))));
}
