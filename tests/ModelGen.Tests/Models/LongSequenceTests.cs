using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Passes;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>Attention that sees a part of what came before: sequences longer than what is kept of them, against a computation of the whole in double precision.</summary>
[Collection(SerialCollection.Name)]
public sealed class LongSequenceTests
{
    /// <summary>Tokens of a sequence: several times around a ring of a window and a run of 256.</summary>
    private const int Tokens = 640;

    [Fact]
    public void A_window_without_positions() => Check<EndlessGpt>(EndlessGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 3), DeclaredArgument.Of("DModel", 30), DeclaredArgument.Of("Heads", 5), DeclaredArgument.Of("Vocab", 97),
        DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("Window", 7), DeclaredArgument.Of("Positions", 1),
    });

    [Fact]
    public void A_window_with_learned_positions() => Check<WindowGpt>(WindowGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 40), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2), DeclaredArgument.Of("FeedForward", 56),
        DeclaredArgument.Of("Vocab", 50), DeclaredArgument.Of("Context", 700), DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("Window", 24),
    });

    [Fact]
    public void A_window_with_linear_biases() => Check<AlibiGpt>(AlibiGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 3), DeclaredArgument.Of("DModel", 30), DeclaredArgument.Of("Heads", 5), DeclaredArgument.Of("Vocab", 97),
        DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("Window", 7), DeclaredArgument.Of("Positions", 2),
    });

    [Fact]
    public void Relative_biases() => Check<RelativeGpt>(RelativeGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 40), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2), DeclaredArgument.Of("FeedForward", 56),
        DeclaredArgument.Of("Vocab", 50), DeclaredArgument.Of("Context", 700), DeclaredArgument.Of("Positions", 3), DeclaredArgument.Of("RelativeBuckets", 8), DeclaredArgument.Of("RelativeDistance", 20),
    });

    [Fact]
    public void A_stride() => Check<StridedGpt>(StridedGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 36), DeclaredArgument.Of("Heads", 3), DeclaredArgument.Of("Vocab", 61), DeclaredArgument.Of("Context", 700),
        DeclaredArgument.Of("Attention", 2), DeclaredArgument.Of("Stride", 6), DeclaredArgument.Of("Positions", 1),
    });

    [Fact]
    public void Blocks() => Check<FixedGpt>(FixedGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 40), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2), DeclaredArgument.Of("Vocab", 50), DeclaredArgument.Of("Context", 700),
        DeclaredArgument.Of("Attention", 3), DeclaredArgument.Of("Stride", 8), DeclaredArgument.Of("SummaryTokens", 3), DeclaredArgument.Of("Positions", 2),
    });

    [Fact]
    public void Global_tokens() => Check<GlobalGpt>(GlobalGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 2), DeclaredArgument.Of("DModel", 40), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2), DeclaredArgument.Of("Vocab", 50),
        DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("Window", 7), DeclaredArgument.Of("GlobalTokens", 3), DeclaredArgument.Of("Positions", 3), DeclaredArgument.Of("RelativeBuckets", 8), DeclaredArgument.Of("RelativeDistance", 20),
    });

    /// <summary>Layers of two windows, and every third one that sees all.</summary>
    [Fact]
    public void Windows_of_layers() => Check<LayerWindowsGpt>(LayerWindowsGpt.Parameters, new DeclaredArgument[]
    {
        DeclaredArgument.Of("Layers", 5), DeclaredArgument.Of("DModel", 40), DeclaredArgument.Of("Heads", 4), DeclaredArgument.Of("KeyValueHeads", 2), DeclaredArgument.Of("Vocab", 50), DeclaredArgument.Of("Context", 700),
        DeclaredArgument.Of("Attention", 1), DeclaredArgument.Of("LayerWindows", [6, 11, 0]), DeclaredArgument.Of("Positions", 5),
    });

    /// <summary>A ring holds the window and what a run appends, however long the sequence.</summary>
    [Fact]
    public void Caches_follow_the_window()
    {
        long rings = 3 * 2 * (6 + 256) * 30 * sizeof(float);
        Assert.InRange(EndlessGpt.SessionStateBytes, rings, rings + (3 * 2 * 64));
        Assert.Equal(0, EndlessGpt.ContextLength);
        Assert.Equal(700, WindowGpt.ContextLength);

        // Two layers with a window of 6, two with one of 11, and one that keeps all.
        long rows = (2 * (5 + 256)) + (2 * (10 + 256)) + 700;
        Assert.InRange(LayerWindowsGpt.SessionStateBytes, rows * 2 * 20 * sizeof(float), (rows * 2 * 20 * sizeof(float)) + (5 * 2 * 64));
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        EndlessGpt model = EndlessGpt.Create(1);
        using EndlessGpt.Session session = model.CreateSession(new SessionOptions { Threads = 2, Batch = 3 });
        int[] prompt = new int[500], tokens = [3, -1, 5];
        Assert.Equal(0, Allocated.Least(() =>
        {
            session.Prefill(1, prompt);
            session.Decode(tokens);
        }));
    }

    // Token by token, in pieces, beside other sequences, and scored: always what the whole gives.
    private static void Check<TModel>(IReadOnlyList<ParameterInfo> parameters, DeclaredArgument[] arguments)
        where TModel : ICausalLanguageModel<TModel>
    {
        TModel model = TModel.Create(seed: 11);
        var random = new Random(3);
        foreach (ParameterInfo parameter in parameters)
        {
            foreach (ref float weight in model.Parameter(parameter.Name))
            {
                weight = (weight * 3) + (0.1f * (random.NextSingle() - 0.5f));
            }
        }

        ModelSpec spec = Families.Spec("Gpt", 1, Tokens, arguments);
        ModelGraph graph = BindExtents.Run(FamilyRegistry.Get("Gpt").Build(spec, BuildMode.Inference), 1, Tokens);
        int[] tokens = [.. Enumerable.Range(0, Tokens).Select(_ => random.Next(TModel.VocabularySize))];
        RunArguments run = CaseData.Random(graph, 1);
        run.Inputs["tokens"] = new Tensor([1, Tokens], [.. tokens.Select(t => (double)t)]);
        foreach (ParameterInfo parameter in parameters)
        {
            Tensor shape = run.Parameters[parameter.Name];
            run.Parameters[parameter.Name] = new Tensor(shape.Dims, [.. model.Parameter(parameter.Name).ToArray().Select(x => (double)x)]);
        }

        if (run.Parameters.TryGetValue("sinusoids", out Tensor? table))
        {
            // Sines in the first half of the columns, cosines in the second.
            (int width, int half) = (table.Columns, table.Columns / 2);
            run.Parameters["sinusoids"] = new Tensor(table.Dims, [.. Enumerable.Range(0, table.Data.Length).Select(i =>
            {
                double angle = i / width * Math.Pow(10_000, -(i % width % half) / (half - 1.0));
                return i % width < half ? Math.Sin(angle) : Math.Cos(angle);
            })]);
        }

        Tensor expected = ReferenceInterpreter.Run(graph, run).Outputs["logits"];
        int vocabulary = TModel.VocabularySize;
        void Compare(ReadOnlySpan<float> logits, int position, string what)
        {
            for (int i = 0; i < vocabulary; i++)
            {
                Assert.True(Math.Abs(expected.Data[(position * vocabulary) + i] - logits[i]) < 1e-4, $"{what}: logit {i} after token {position}: {expected.Data[(position * vocabulary) + i]} and {logits[i]}");
            }
        }

        using CausalSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        for (int i = 0; i < Tokens; i++)
        {
            Compare(session.Decode(tokens[i]), i, "token by token");
        }

        session.Reset();
        for (int i = 0; i < Tokens;)
        {
            int piece = Math.Min(Tokens - i, 1 + random.Next(299));
            i += piece;
            Compare(session.Prefill(tokens.AsSpan(i - piece, piece)), i - 1, "in pieces");
        }

        using CausalSession several = model.CreateSession(new SessionOptions { Threads = 2, Batch = 2 });
        several.Prefill(1, tokens.AsSpan(0, 280));
        for (int i = 0; i + 280 < Tokens; i++)
        {
            ReadOnlySpan<float> logits = several.Decode([tokens[i], tokens[i + 280]]);
            Compare(logits[..vocabulary], i, "the first of two");
            Compare(logits[vocabulary..], i + 280, "the second of two");
        }
    }
}
