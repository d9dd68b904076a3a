using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Hidden states and attention weights, of models that are declared to hand them out.</summary>
[Collection(SerialCollection.Name)]
public sealed class ForwardTests
{
    private static readonly ModelSpec s_gpt = Spec("Gpt", ("Layers", 3), ("DModel", 30), ("Heads", 5), ("Vocab", 97), ("Context", 37), ("HiddenStates", 1), ("AttentionWeights", 1));

    private static readonly ModelSpec s_lstm = Spec("RecurrentLm", ("Cell", (int)Cell.Lstm), ("Layers", 2), ("Embedding", 18), ("Hidden", 35), ("Vocab", 41), ("HiddenStates", 1));

    private static readonly ModelSpec s_attention = Spec("Gpt", ("Layers", 2), ("DModel", 40), ("Heads", 4), ("KeyValueHeads", 2), ("Vocab", 50), ("Context", 600), ("TieEmbeddings", 0), ("Bias", 0), ("AttentionWeights", 1));

    private static readonly ModelSpec s_ring = Spec("Gpt", ("Layers", 2), ("DModel", 40), ("Heads", 4), ("KeyValueHeads", 2), ("Vocab", 50), ("Context", 600), ("Attention", 1), ("Window", 6), ("Positions", 1), ("AttentionWeights", 1));

    private static readonly ModelSpec s_window = With(
        Spec("Gpt", ("Layers", 3), ("DModel", 30), ("Heads", 5), ("Vocab", 97), ("Context", 700), ("Attention", 1), ("GlobalTokens", 2), ("Positions", 2), ("AttentionWeights", 1)), DeclaredArgument.Of("LayerWindows", [9, 0, 4]));

    [Theory]
    [InlineData(1, 0)]
    [InlineData(29, 0)]
    [InlineData(9, 4)]
    public void Of_a_transformer_are_those_of_its_graph(int count, int before)
    {
        OpenGpt model = OpenGpt.Create(3);
        using OpenGpt.Session session = model.CreateSession(new SessionOptions { Threads = 2 }), other = model.CreateSession(new SessionOptions { Threads = 3 });
        int[] tokens = Tokens(count + before, 97);
        float[] logits = new float[count * 97], states = new float[4 * count * 30], weights = new float[3 * 5 * count * tokens.Length], statesAlone = new float[states.Length];
        if (before > 0)
        {
            session.Prefill(tokens.AsSpan(0, before));
            other.Prefill(tokens.AsSpan(0, before));
        }

        session.Forward(tokens.AsSpan(before), logits, states, weights);
        other.Forward(tokens.AsSpan(before), [], statesAlone, []);
        Assert.Equal(states, statesAlone);
        Assert.Equal(tokens.Length, session.Position);
        RunResults expected = Expected(s_gpt, OpenGpt.Parameters, model.Parameter, tokens);
        for (int step = 0; step < count; step++)
        {
            Near(expected, "logits", before + step, 97, logits.AsSpan(step * 97, 97));
            for (int layer = 0; layer <= 3; layer++)
            {
                Near(expected, $"hidden_states.{layer}", before + step, 30, states.AsSpan(((layer * count) + step) * 30, 30));
            }
        }

        Weights(expected, weights, layers: 3, heads: 5, count, tokens.Length, context: 37);
    }

    [Theory]
    [InlineData(300)]
    [InlineData(7)]
    public void Of_more_tokens_than_a_run_takes(int count)
    {
        OpenAttentionGpt model = OpenAttentionGpt.Create(4);
        using OpenAttentionGpt.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        int[] tokens = Tokens(count, 50);
        float[] weights = new float[2 * 4 * count * count];
        session.Forward(tokens, [], weights);
        Weights(Expected(s_attention, OpenAttentionGpt.Parameters, model.Parameter, tokens), weights, layers: 2, heads: 4, count, count, context: 600);
    }

    /// <summary>Of windows, which lie in rings that have gone around, at the positions of the sequence; of layers with windows of their own, beside global tokens.</summary>
    [Theory]
    [InlineData(7, 0)]
    [InlineData(20, 540)]
    public void Of_windows_are_those_of_their_graph(int count, int before)
    {
        OpenRingGpt ring = OpenRingGpt.Create(4);
        using OpenRingGpt.Session rings = ring.CreateSession(new SessionOptions { Threads = 2 });
        OpenWindowGpt window = OpenWindowGpt.Create(5);
        using OpenWindowGpt.Session windows = window.CreateSession(new SessionOptions { Threads = 2 });
        int[] tokens = Tokens(before + count, 50);
        if (before > 0)
        {
            rings.Prefill(tokens.AsSpan(0, before));
            windows.Prefill(tokens.AsSpan(0, before));
        }

        float[] weights = new float[2 * 4 * count * tokens.Length], others = new float[3 * 5 * count * tokens.Length];
        rings.Forward(tokens.AsSpan(before), [], weights);
        windows.Forward(tokens.AsSpan(before), [], others);
        Weights(Expected(s_ring, OpenRingGpt.Parameters, ring.Parameter, tokens), weights, layers: 2, heads: 4, count, tokens.Length, context: 600);
        Weights(Expected(s_window, OpenWindowGpt.Parameters, window.Parameter, tokens), others, layers: 3, heads: 5, count, tokens.Length, context: 700);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(280)]
    public void Of_a_recurrence_are_those_of_its_graph(int count)
    {
        OpenLstm model = OpenLstm.Create(3);
        using OpenLstm.Session session = model.CreateSession(new SessionOptions { Threads = 2 });
        int[] tokens = Tokens(count, 41);
        float[] logits = new float[count * 41], states = new float[2 * count * 35];
        session.Forward(tokens, logits, states);
        RunResults expected = Expected(s_lstm, OpenLstm.Parameters, model.Parameter, tokens);
        for (int step = 0; step < count; step++)
        {
            Near(expected, "logits", step, 41, logits.AsSpan(step * 41, 41));
            for (int layer = 0; layer < 2; layer++)
            {
                Near(expected, $"hidden_states.{layer}", step, 35, states.AsSpan(((layer * count) + step) * 35, 35));
            }
        }
    }

    [Fact]
    public void Of_a_transformer_are_those_of_PyTorch()
    {
        using OpenGpt.Session tied = OpenGpt.Load(SourceTree.Fixture("gpt-tied.safetensors")).CreateSession();
        CheckReference("gpt-tied", layers: 3, width: 30, heads: 5, steps: 29, (tokens, states, weights) => tied.Forward(tokens, [], states, weights));
        using OpenSharedKeysGpt.Session shared = OpenSharedKeysGpt.Load(SourceTree.Fixture("gpt-shared-keys.safetensors")).CreateSession();
        CheckReference("gpt-shared-keys", layers: 2, width: 66, heads: 6, steps: 17, (tokens, states, weights) => shared.Forward(tokens, [], states, weights));
    }

    [Fact]
    public void What_does_not_fit_is_refused_and_nothing_is_allocated()
    {
        using OpenGpt.Session session = OpenGpt.Create(3).CreateSession(new SessionOptions { Threads = 2 });
        Assert.Throws<ArgumentException>(() => session.Forward([], [], [], []));
        Assert.Throws<ArgumentException>(() => session.Forward([1, 2], new float[97], [], []));
        Assert.Throws<ArgumentException>(() => session.Forward([1, 2], [], new float[5], []));
        Assert.Throws<ArgumentException>(() => session.Forward([1, 2], [], [], new float[5]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Forward([1, 97], [], [], []));
        Assert.Throws<InvalidOperationException>(() => session.Forward(new int[38], [], [], []));
        Assert.Equal(0, session.Position);
        int[] tokens = new int[11];
        float[] logits = new float[11 * 97], states = new float[4 * 11 * 30], weights = new float[3 * 5 * 11 * 11];
        Assert.Equal(0, Allocated.Least(() =>
        {
            session.Reset();
            session.Forward(tokens, logits, states, weights);
        }));
    }

    [Fact]
    public void What_is_not_asked_for_costs_nothing()
    {
        // Beside the plan of its own, asking changes no other plan; not asking leaves no trace of it.
        Dictionary<string, string> Files(ModelSpec spec) => ModelCompiler.Compile(spec, CacheSizes.Default, default).Files.ToDictionary(f => f.HintName, f => f.Text);
        Dictionary<string, string> asked = Files(s_gpt), plain = Files(Without(s_gpt));
        Assert.Equal(["Tests.Model.Forward.g.cs"], asked.Keys.Except(plain.Keys));
        foreach (string plan in new[] { "Prefill", "Decode" })
        {
            Assert.Equal(plain[$"Tests.Model.{plan}.g.cs"], asked[$"Tests.Model.{plan}.g.cs"]);
        }

        Assert.DoesNotContain("AttentionWeights", string.Concat(plain.Values), StringComparison.Ordinal);
        Assert.Contains("AttentionWeights", asked["Tests.Model.Kernels.g.cs"], StringComparison.Ordinal);
        CompiledPlans of = ModelCompiler.Plan(Without(s_gpt), CacheSizes.Default, default), with = ModelCompiler.Plan(s_gpt, CacheSizes.Default, default);
        Assert.Equal(of.InferenceStateBytes, with.InferenceStateBytes);
        Assert.True(of.InferenceArenaBytes < with.InferenceArenaBytes);
    }

    private static void CheckReference(string fixture, int layers, int width, int heads, int steps, Action<int[], float[], float[]> forward)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".inside");
        float[] states = new float[(layers + 1) * steps * width], weights = new float[layers * heads * steps * steps];
        forward(ReferenceFile.OfFixture(fixture + ".reference").Ints("inputs")[..steps], states, weights);
        Compare.Absolute(reference.Floats("hidden_states"), states, 1e-5, $"{fixture} hidden states");
        Compare.Absolute(reference.Floats("attentions"), weights, 1e-6, $"{fixture} attention weights");
    }

    private static ModelSpec With(ModelSpec spec, DeclaredArgument argument) => spec with { Arguments = [.. spec.Arguments, argument] };

    private static ModelSpec Without(ModelSpec spec) => spec with { Arguments = [.. spec.Arguments.Where(a => a.Name is not ("HiddenStates" or "AttentionWeights"))] };

    private static ModelSpec Spec(string family, params (string Name, int Value)[] arguments)
        => new(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), family, [.. arguments.Select(a => DeclaredArgument.Of(a.Name, (long)a.Value))], null, null);

    private static int[] Tokens(int count, int vocabulary) => [.. Enumerable.Range(0, count).Select(i => ((i * i) + (i / 3)) % vocabulary)];

    private static RunResults Expected(ModelSpec spec, IReadOnlyList<ParameterInfo> parameters, ParameterOf parameter, int[] tokens)
    {
        EntryPoint entry = FamilyRegistry.Get(spec.Family).Describe(spec).Entry("Forward");
        ModelGraph graph = ExpandComposites.Run(BindExtents.Run(entry.Build().WithOutputs([.. entry.Outputs]), 1, tokens.Length));
        return ReferenceInterpreter.Run(graph, new RunArguments
        {
            Parameters = parameters.ToDictionary(p => p.Name, p => new Tensor([.. p.Shape], [.. parameter(p.Name).ToArray().Select(x => (double)x)])),
            Inputs = new() { ["tokens"] = new Tensor([1, tokens.Length], [.. tokens.Select(t => (double)t)]) },
        });
    }

    private delegate Span<float> ParameterOf(string name);

    private static void Near(RunResults expected, string output, int step, int columns, ReadOnlySpan<float> actual)
    {
        Tensor tensor = expected.Outputs[output];
        Assert.Equal(columns, tensor.Columns);
        for (int i = 0; i < columns; i++)
        {
            Assert.Equal(tensor[step, i], actual[i], 2e-5);
        }
    }

    private static void Weights(RunResults expected, float[] weights, int layers, int heads, int count, int keys, int context)
    {
        for (int layer = 0; layer < layers; layer++)
        {
            Tensor tensor = expected.Outputs[$"attentions.{layer}"];
            for (int head = 0; head < heads; head++)
            {
                for (int step = 0; step < count; step++)
                {
                    // In the graph, all tokens are one run's.
                    int position = keys - count + step;
                    ReadOnlySpan<float> row = weights.AsSpan(((((layer * heads) + head) * count) + step) * keys, keys);
                    double sum = 0;
                    for (int key = 0; key < keys; key++)
                    {
                        Assert.Equal(tensor[(head * keys) + position, key], row[key], 2e-6);
                        Assert.True(key <= position || row[key] == 0);
                        sum += row[key];
                    }

                    Assert.Equal(1, sum, 1e-5);
                }
            }
        }

        Assert.Equal(context, expected.Outputs["attentions.0"].Columns);
    }
}
