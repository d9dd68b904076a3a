using ModelGen.Compiler;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Which recurrences are taken in chunks, and by what.</summary>
public sealed class ChunkedRecurrenceTests
{
    /// <summary>A prompt's recurrences are kernels where heads are wide enough, a step's are not, and both have the same states.</summary>
    [Theory]
    [InlineData(2, 32, 32, true)]
    [InlineData(2, 24, 24, true)]
    [InlineData(2, 16, 16, false)]
    [InlineData(3, 16, 16, true)]
    [InlineData(3, 8, 16, false)]
    public void Prompts_are_taken_in_chunks_where_heads_are_wide_enough(int mixer, int keys, int values, bool inChunks)
    {
        ModelSpec spec = Declare(mixer, keys, values, 8);
        ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
        ModelGraph Graph(string name, bool asked = true)
        {
            EntryPoint entry = program.Entries.Single(e => e.Name == name);
            return ModelCompiler.InferenceGraph(entry, entry.Build(), program.Caches, default, asked);
        }

        ModelGraph prompt = Graph("Prefill"), step = Graph("Decode"), stepwise = Graph("Prefill", asked: false);
        Assert.Equal(inChunks, prompt.Contains<ChunkedRecurrence>());
        Assert.Equal(!inChunks, prompt.Contains<Scan>());
        Assert.False(step.Contains<ChunkedRecurrence>() || step.Contains<Scan>());
        Assert.True(stepwise.Contains<Scan>() && !stepwise.Contains<ChunkedRecurrence>());
        Assert.Equal(States(step), States(prompt));
        Assert.Equal(States(step), States(stepwise));

        static string[] States(ModelGraph graph) => [.. graph.StateUpdates.Select(u => $"{u.State} {u.Value.Shape}").Order(StringComparer.Ordinal)];
    }

    /// <summary>Chunks that are longer than heads are wide, shorter, and just as long: what kernels of a chunk make for each other is in its place.</summary>
    [Theory]
    [InlineData(2, 32, 33, 33)]
    [InlineData(2, 40, 32, 32)]
    [InlineData(2, 70, 64, 16)]
    [InlineData(3, 64, 16, 16)]
    [InlineData(3, 100, 8, 32)]
    public void Declarations_of_any_widths_are_compiled(int mixer, int steps, int keys, int values)
        => Assert.NotEmpty(ModelCompiler.Compile(Declare(mixer, keys, values, steps), CacheSizes.Default, TestContext.Current.CancellationToken).Files);

    /// <summary>The same, of chunks that training would not take, since steps are quicker: in a plan, kernels that one worker runs after each other hand on what they make in memory that the step before has used for something else.</summary>
    [Theory]
    [InlineData(8, 32)]
    [InlineData(3, 16)]
    [InlineData(16, 32)]
    public void Chunks_longer_than_heads_are_wide_are_planned(int width, int chunk)
    {
        ModelSpec spec = Declare(2, width, width, 2 * chunk);
        ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
        EntryPoint entry = program.Entries.Single(e => e.Name == "Step");
        ModelGraph bound = ModelGen.Compiler.Passes.BindExtents.Run(entry.Build().WithOutputs("loss"), entry.Batch, entry.Time);
        ModelGraph chunked = ModelGen.Compiler.Passes.GraphRewriter.Rewrite(bound, (builder, node, inputs) => node.Op is LinearRecurrence op ? builder.AddMany(op with { Chunk = chunk }, node.Name, [.. inputs]) : null);
        ModelGraph training = ModelCompiler.TrainingGraph(ModelGen.Compiler.Passes.ExpandComposites.BeforeDifferentiation(chunked), "loss", _ => true, default);
        Assert.True(ModelCompiler.Lower("Step", training, ModelLayout.Of([training]), CacheSizes.Default, default).ArenaBytes > 0);
    }

    private static ModelSpec Declare(int mixer, int keys, int values, int steps)
    {
        (string, int)[] sizes = [("Layers", 2), ("DModel", 32), ("Heads", 4), ("FeedForward", 64), ("Vocab", 50), ("Context", 128), .. mixer == 2 ? [("LinearKeyHeads", 2), ("LinearValueHeads", 4), ("LinearKeyWidth", keys), ("LinearValueWidth", values)] : new[] { ("StateHeads", 4), ("StateSize", keys), ("StateHeadWidth", values) }];
        return Families.Spec("Decoder", 2, steps, [.. sizes.Select(s => DeclaredArgument.Of(s.Item1, (long)s.Item2)), DeclaredArgument.Of("Mixers", [mixer])]);
    }
}
