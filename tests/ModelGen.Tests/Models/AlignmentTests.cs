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

/// <summary>What decoders attend to in their sources, of models that are declared to hand it out.</summary>
[Collection(SerialCollection.Name)]
public sealed class AlignmentTests
{
    private const int SourceContext = 19;
    private const int SourceVocabulary = 15;
    private const int TargetVocabulary = 13;

    private static readonly ModelSpec s_transformer = Spec("Transformer", ("EncoderLayers", 1), ("DecoderLayers", 2), ("DModel", 24), ("Heads", 3), ("FeedForward", 40), ("SourceVocab", 15), ("TargetVocab", 13), ("Context", 7),
        ("SourceContext", 19), ("Positions", (int)PositionEncoding.Learned), ("AttentionWeights", 1), ("MaxBatch", 3));

    private static readonly ModelSpec s_dot = Spec("RecurrentSeq2Seq", ("Cell", (int)Cell.Gru), ("Layers", 2), ("Hidden", 9), ("Embedding", 6), ("SourceVocab", 15), ("TargetVocab", 13),
        ("Attention", (int)RecurrentAttention.Dot), ("SourceContext", 19), ("AttentionWeights", 1), ("MaxBatch", 3));

    private static readonly ModelSpec s_additive = Spec("RecurrentSeq2Seq", ("Cell", (int)Cell.Lstm), ("Layers", 2), ("Hidden", 9), ("Embedding", 6), ("SourceVocab", 15), ("TargetVocab", 13),
        ("Attention", (int)RecurrentAttention.Additive), ("SourceContext", 19), ("AttentionWeights", 1), ("MaxBatch", 3));

    private delegate Span<float> ParameterOf(string name);

    [Fact]
    public void Of_a_transformer_are_those_of_its_graph()
    {
        AligningTransformer model = AligningTransformer.Create(3);
        Check(s_transformer, AligningTransformer.Parameters, model.Parameter, options => model.CreateSession(options), layers: 2, heads: 3);
    }

    [Fact]
    public void Of_dot_products_are_those_of_their_graph()
    {
        AligningDotSeq2Seq model = AligningDotSeq2Seq.Create(3);
        Check(s_dot, AligningDotSeq2Seq.Parameters, model.Parameter, options => model.CreateSession(options), layers: 1, heads: 1);
    }

    [Fact]
    public void Of_additive_attention_are_those_of_its_graph()
    {
        AligningAdditiveSeq2Seq model = AligningAdditiveSeq2Seq.Create(3);
        Check(s_additive, AligningAdditiveSeq2Seq.Parameters, model.Parameter, options => model.CreateSession(options), layers: 1, heads: 1);
    }

    [Fact]
    public void Beams_carry_theirs_along()
    {
        AligningTransformer model = AligningTransformer.Create(3);
        using AligningTransformer.Session session = model.CreateSession(new SessionOptions { Batch = 3 }), alone = model.CreateSession();
        int[] source = Ids(11, SourceVocabulary);
        session.Encode(source);
        alone.Encode(source);
        var search = new BeamSearch(session, new BeamSearchOptions { Beams = 3, Results = 3, EndTokens = [2], MaxLength = 6, Alignment = true });
        search.Search([1]);
        for (int i = 0; i < search.Count(0); i++)
        {
            Hypothesis result = search.Result(0, i);
            int token = 1;
            float[] alignment = new float[SourceContext];
            alone.Encode(source);
            for (int t = 0; t < result.Tokens.Length; t++)
            {
                alone.Decode(token);
                token = result.Tokens[t];
                alone.Alignment(0, alignment);
                Assert.Equal(alignment, result.Alignment.Slice(t * SourceContext, SourceContext).ToArray());
            }
        }
    }

    [Fact]
    public void Nothing_is_allocated_and_what_does_not_exist_is_refused()
    {
        using AligningTransformer.Session session = AligningTransformer.Create(3).CreateSession(new SessionOptions { Threads = 2, Batch = 3 });
        int[] source = Ids(5, SourceVocabulary), tokens = [1, 2, -1], order = [1, 0, 0];
        float[] alignment = new float[SourceContext];
        Assert.Equal(0, Allocated.Least(() =>
        {
            for (int row = 0; row < 3; row++)
            {
                session.Encode(row, source);
            }

            session.Decode(tokens);
            session.Reorder(order);
            session.Decode(tokens);
            session.Alignment(1, alignment);
        }));
        Assert.Equal(1, alignment.Sum(), 1e-5);
        Assert.Throws<ArgumentOutOfRangeException>(() => session.Alignment(3, alignment));
        Assert.Throws<ArgumentException>(() => session.Alignment(0, new float[SourceContext - 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => session.AttentionWeights(0, 2, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => session.AttentionWeights(0, 0, 3).Length);
        session.Encode(1, source);
        session.Alignment(1, alignment);
        Assert.Equal(0, alignment.Sum());
        using EncoderDecoderSession plain = PreNormTransformer.Create(1).CreateSession();
        Assert.Equal((0, 0, 0), (plain.AlignmentLength, plain.AttentionLayers, plain.AttentionHeads));
        Assert.Throws<NotSupportedException>(() => plain.Alignment(0, alignment));
    }

    [Fact]
    public void What_is_not_asked_for_costs_nothing()
    {
        foreach (ModelSpec spec in new[] { s_transformer, s_dot, s_additive })
        {
            ModelSpec without = spec with { Arguments = [.. spec.Arguments.Where(a => a.Name != "AttentionWeights")] };
            Dictionary<string, string> Files(ModelSpec of) => ModelCompiler.Compile(of, CacheSizes.Default, default).Files.ToDictionary(f => f.HintName, f => f.Text);
            Dictionary<string, string> asked = Files(spec), plain = Files(without);
            Assert.Equal(plain["Tests.Model.Encode.g.cs"], asked["Tests.Model.Encode.g.cs"]);
            Assert.DoesNotContain("attentions", string.Concat(plain.Values), StringComparison.Ordinal);
            Assert.Contains("attentions.0", string.Concat(asked.Values), StringComparison.Ordinal);
        }
    }

    /// <summary>Sequences of a batch, one begun later than the others, against teacher forcing in the interpreter; and bit for bit those of sessions of one.</summary>
    private static void Check(ModelSpec spec, IReadOnlyList<ParameterInfo> parameters, ParameterOf parameter, Func<SessionOptions, EncoderDecoderSession> create, int layers, int heads)
    {
        using EncoderDecoderSession several = create(new SessionOptions { Threads = 2, Batch = 3 }), alone = create(new SessionOptions { Threads = 1 });
        Assert.Equal((layers, heads, SourceContext), (several.AttentionLayers, several.AttentionHeads, several.AlignmentLength));
        int[][] sources = [Ids(SourceContext, SourceVocabulary), Ids(1, SourceVocabulary), Ids(8, SourceVocabulary)];
        int[] target = Ids(6, TargetVocabulary);
        float[][][] kept = [[], [], []];
        for (int t = 0; t < target.Length; t++)
        {
            int[] tokens = [t < 2 ? -1 : target[t - 2], target[t], target[t]];
            if (t == 0)
            {
                several.Encode(1, sources[1]);
                several.Encode(2, sources[2]);
            }
            else if (t == 2)
            {
                several.Encode(0, sources[0]);
            }

            several.Decode(tokens);
            for (int row = t < 2 ? 1 : 0; row < 3; row++)
            {
                kept[row] = [.. kept[row], .. Enumerable.Range(0, layers * heads).Select(i => several.AttentionWeights(row, i / heads, i % heads).ToArray())];
            }

            several.Reorder([0, 2, 1]);
            (sources[1], sources[2], kept[1], kept[2]) = (sources[2], sources[1], kept[2], kept[1]);
            Assert.Equal(kept[1][^1], several.AttentionWeights(1, layers - 1, heads - 1).ToArray());
        }

        for (int row = 0; row < 3; row++)
        {
            int count = kept[row].Length / layers / heads;
            RunResults expected = Expected(spec, parameters, parameter, sources[row], target[..count]);
            alone.Encode(sources[row]);
            float[] alignment = new float[SourceContext];
            for (int t = 0; t < count; t++)
            {
                alone.Decode(target[t]);
                alone.Alignment(0, alignment);
                float[] mean = new float[SourceContext];
                for (int i = 0; i < layers * heads; i++)
                {
                    float[] weights = kept[row][(t * layers * heads) + i];
                    Assert.Equal(weights, alone.AttentionWeights(0, i / heads, i % heads).ToArray());
                    Tensor of = expected.Outputs[$"attentions.{i / heads}"];
                    for (int s = 0; s < SourceContext; s++)
                    {
                        double wanted = of.Data[((((i % heads) * count) + t) * SourceContext) + s];
                        Assert.Equal(wanted, s < weights.Length ? weights[s] : 0, 1e-5);
                        mean[s] += (s < weights.Length ? weights[s] : 0) / (layers * heads);
                    }
                }

                Compare.Absolute(mean, alignment, 1e-6, $"sequence {row}, step {t}");
                Assert.Equal(1, alignment.Sum(), 1e-5);
            }
        }
    }

    private static RunResults Expected(ModelSpec spec, IReadOnlyList<ParameterInfo> parameters, ParameterOf parameter, int[] source, int[] tokens)
    {
        ModelProgram program = FamilyRegistry.Get(spec.Family).Describe(spec);
        (EntryPoint encode, EntryPoint decode) = (program.Entry("Encode"), program.Entry("Decode"));
        Dictionary<string, Tensor> values = parameters.ToDictionary(p => p.Name, p => new Tensor([.. p.Shape], [.. parameter(p.Name).ToArray().Select(x => (double)x)]));
        Tensor Of(int[] ids, params int[] dims) => new(dims, [.. ids.Select(id => (double)id)]);
        bool padded = encode.Inputs.Count > 1;
        int[] given = padded ? [.. source, .. new int[SourceContext - source.Length]] : source;
        RunResults encoded = ReferenceInterpreter.Run(encode.Build(), new RunArguments
        {
            Parameters = values,
            Inputs = new() { ["source"] = Of(given, 1, given.Length), ["sourceLengths"] = Of([source.Length], 1) },
            Batch = 1,
            Counts = new Dictionary<string, int> { ["S"] = source.Length },
        });
        ModelGraph graph = ExpandComposites.Run(BindExtents.Run(decode.Build(), 1, tokens.Length));
        return ReferenceInterpreter.Run(graph, new RunArguments
        {
            Parameters = values,
            Inputs = new() { ["tokens"] = Of(tokens, 1, tokens.Length), ["sourceLengths"] = Of([source.Length], 1) },
            State = encoded.State,
            Batch = 1,
            Time = tokens.Length,
        });
    }

    private static int[] Ids(int count, int vocabulary) => [.. Enumerable.Range(0, count).Select(i => ((i * i) + (i / 3) + 3) % vocabulary)];

    private static ModelSpec Spec(string family, params (string Name, int Value)[] arguments)
        => new(new TypeIdentity("Tests", [], "Model", "public", "Tests.Model"), family, [.. arguments.Select(a => DeclaredArgument.Of(a.Name, (long)a.Value))], null, null);
}
