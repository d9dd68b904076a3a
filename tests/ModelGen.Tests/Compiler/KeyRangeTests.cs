using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>What holds of key ranges beyond that they compute what they say: sequences of a batch do not know of each other, and work follows the window.</summary>
public sealed class KeyRangeTests
{
    private const int Rows = 40;

    public static TheoryData<int, int, int, int, bool> Caches
    {
        get
        {
            var data = new TheoryData<int, int, int, int, bool>();
            foreach ((int heads, int keyHeads, int headDim) in new[] { (2, 1, 19), (4, 4, 4), (3, 3, 8), (8, 4, 8), (2, 2, 64) })
            {
                foreach (int window in new[] { -1, 0, 3, 17 })
                {
                    data.Add(heads, keyHeads, headDim, window, false);
                    if (window >= 0)
                    {
                        data.Add(heads, keyHeads, headDim, window, true);
                    }
                }
            }

            return data;
        }
    }

    /// <summary>Sequences at positions of their own over a cache each, in one kernel: bit for bit what one after the other gives.</summary>
    [Theory]
    [MemberData(nameof(Caches))]
    public void Sequences_of_a_batch_are_bit_for_bit_those_sequences_alone(int heads, int keyHeads, int headDim, int window, bool isRing)
    {
        var range = new KeyRange { IsCausal = true, IsCached = true, Window = window < 0 ? null : window, IsRing = isRing };
        var op = new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), range);
        Attention ofBatch = op with { Range = range with { HasPositions = true, HasQueryLengths = true } }, ofToken = op with { Range = range with { HasPositions = true } };
        Dim batch = Dim.Batch(7), time = Dim.Time(13);
        ModelGraph[] graphs =
        [
            Graph(ofBatch, batch, time), Graph(op, 1, time),
            Graph(ofToken, batch, 1), Graph(op, 1, 1),
            Graph(ofBatch, 5, time),
        ];
        GraphFunction[] functions = GraphFunction.Compile(graphs, BufferPlacement.RedZones);
        var random = new Random(heads + headDim + window);
        double[] positions = [0, 1, isRing ? 103 : 23, 16, 27], lengths = [13, 0, 1, 12, 7];
        Compare(functions[0], graphs[0], functions[1], graphs[1], 13, lengths);
        Compare(functions[4], graphs[4], functions[1], graphs[1], 13, lengths);
        Compare(functions[2], graphs[2], functions[3], graphs[3], 1, [1, 1, 1, 1, 1]);

        void Compare(GraphFunction together, ModelGraph togetherGraph, GraphFunction alone, ModelGraph aloneGraph, int steps, double[] lengthOf)
        {
            RunArguments run = CaseData.Random(togetherGraph, random.Next(1000), batch: 5, time: steps);
            run.Inputs["positions"] = new Tensor([5], positions);
            run.Inputs["queryLengths"] = new Tensor([5], lengthOf);
            RunResults all = together.Run(run, threads: 2);
            for (int b = 0; b < 5; b++)
            {
                int length = (int)lengthOf[b];
                if (length == 0)
                {
                    Assert.All(Part(all.Outputs["y0"], b, 5, steps).Data, y => Assert.Equal(0, y));
                    continue;
                }

                RunArguments one = CaseData.Random(aloneGraph, 1, batch: 1, time: length, position: (int)positions[b]);
                foreach (string name in new[] { "q", "new_k", "new_v" })
                {
                    one.Inputs[name] = Part(run.Inputs[name], b, 5, length);
                }

                foreach (string name in new[] { "k", "v" })
                {
                    one.State[name] = Part(run.State[name], b, 5, Rows).As([Rows, run.State[name].Columns]);
                }

                RunResults expected = alone.Run(one);
                GradientCheck.Near(expected.Outputs["y0"], Part(all.Outputs["y0"], b, 5, length), 0, 0, $"sequence {b}");
                Assert.All(Part(all.Outputs["y0"], b, 5, steps).Data[expected.Outputs["y0"].Data.Length..], y => Assert.Equal(0, y));
                foreach (string name in new[] { "k", "v" })
                {
                    GradientCheck.Near(expected.State[name].As([1, Rows, expected.State[name].Columns]), Part(all.State[name], b, 5, Rows), 0, 0, $"cache of sequence {b}");
                }
            }
        }
    }

    /// <summary>What lies outside of the window is not even looked at: numbers that would spoil every sum that they enter leave what is far from them as it is.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Keys_outside_of_the_window_are_not_looked_at(bool causal)
    {
        const int Steps = 400, Spoilt = 150, Near = 5, Reach = 110;
        var op = new Attention(2, 2, 8, 0.3, new KeyRange { IsCausal = causal, Window = Near });
        ModelGraph forward = OperatorCases.Case("window", b => [OperatorCases.Attend(b, op, 1, Steps, Steps)]).Graph;
        ModelGraph graph = KernelCases.PrepareTraining(GradientCheck.WithLoss(forward));
        ModelGraph[] graphs = [KernelCases.Prepare(forward), graph];
        GraphFunction[] functions = GraphFunction.Compile(graphs, BufferPlacement.Planned);
        RunArguments run = CaseData.Random(graph, 3);
        RunResults output = functions[0].Run(run), clean = functions[1].Run(run);
        foreach (string name in new[] { "q", "k", "v" })
        {
            Array.Fill(run.Parameters[name].Data, double.NaN, 0, Spoilt * 16);
        }

        RunResults spoiltOutput = functions[0].Run(run), spoilt = functions[1].Run(run);
        int from = (Spoilt + Reach) * 16;
        Assert.Equal(output.Outputs["y0"].Data[from..], spoiltOutput.Outputs["y0"].Data[from..]);
        Assert.Contains(spoiltOutput.Outputs["y0"].Data, double.IsNaN);
        foreach (string name in new[] { "q", "k", "v" })
        {
            Assert.Equal(clean.Gradients[name].Data[from..], spoilt.Gradients[name].Data[from..]);
            Assert.DoesNotContain(double.NaN, clean.Gradients[name].Data);
        }
    }

    /// <summary>A worker's memory for a run over a cache is that of the window, however long the cache.</summary>
    [Fact]
    public void Memory_and_work_follow_the_window()
    {
        (long Scratch, long Flops) Of(KeyRange range, int rows, Dim time)
        {
            ModelGraph graph = KernelCases.Prepare(Graph(new Attention(2, 2, 8, 0.3, range), 1, time, rows));
            AttentionKernel kernel = Assert.Single(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default).Kernels.OfType<AttentionKernel>());
            return (new AttentionPlan(kernel).Scratch(8).Elements, kernel.Flops);
        }

        foreach (Dim time in new[] { 1, Dim.Time(16) })
        {
            var window = new KeyRange { IsCausal = true, IsCached = true, Window = 31 };
            Assert.Equal(Of(window, 64, time), Of(window, 4096, time));
            Assert.True(Of(window with { Window = null }, 4096, time).Scratch > 20 * Of(window, 4096, time).Scratch);
        }
    }

    /// <summary>Backwards, what a window's scores take does not grow with the sequence: only the copies of keys and values do, by a row for each.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Scratch_of_a_windows_gradient_holds_the_window(bool causal)
    {
        var op = new Attention(4, 4, 16, 0.25, new KeyRange { IsCausal = causal, Window = 63 });
        AttentionScheme Of(Attention attention, int keys) => new AttentionPlan(new AttentionGradientKernel("gradient", [], attention, 1, keys, keys, 0, 0), CacheSizes.Default).Scheme(8);
        (AttentionScheme less, AttentionScheme more) = (Of(op, 2048), Of(op, 8192));
        Assert.Equal((less.ScoreStride, less.QueryBlock), (more.ScoreStride, more.QueryBlock));
        Assert.Equal((long)(8192 - 2048) * (16 + 16 + less.PaddedHead), more.Scratch.Elements - less.Scratch.Elements);
        Assert.True(Of(op with { Range = op.Range with { Window = null } }, 8192).Scratch.Elements > 3 * more.Scratch.Elements);
    }

    private static (string Problem, Action<GraphBuilder> Build)[] Broken { get; } =
    [
        ("is not one integer for each of 3 sequences", b => Attend(b, KeyRange.All with { HasKeyLengths = true }, 3, 5, 5, TensorType.Int(Shape.Of(2)), 6)),
        ("is not one integer for each of 3 sequences", b => Attend(b, KeyRange.All with { HasKeyLengths = true }, 3, 5, 5, TensorType.Float(Shape.Of(3)), 6)),
        ("its integers are below 6, and those of the input lengths are 0 to 6", b => Attend(b, KeyRange.All with { HasKeyLengths = true }, 3, 5, 5, TensorType.Int(Shape.Of(3)), 7)),
        ("its integers are below 6, and those of the input lengths are -1 to 5", b => Attend(b, KeyRange.All with { HasQueryLengths = true }, 3, 5, 5, TensorType.Int(Shape.Of(3)), 6, ignored: true)),
        ("rings and positions are those of caches", b => Attend(b, KeyRange.Causal with { HasPositions = true }, 3, 5, 5, TensorType.Int(Shape.Of(3)), 5)),
        ("queries and keys of one sequence are as many", b => Attend(b, KeyRange.All with { Window = 2, HasKeyLengths = true }, 3, 5, 6, TensorType.Int(Shape.Of(3)), 6)),
        ("a window of less than the query's own position", b => Attend(b, KeyRange.Causal with { Window = -1, HasKeyLengths = true }, 3, 5, 5, TensorType.Int(Shape.Of(3)), 6)),
        ("a ring holds the window of every query of a run", b => OperatorCases.Attend(b, new Attention(1, 1, 4, 1, new KeyRange { IsCausal = true, IsCached = true, IsRing = true, Window = 4 }), 1, 5, 8)),
        ("its integers are below 9, and those of the input positions are 0 to 9", b =>
            b.Add(new AppendState { HasPositions = true }, "append", b.Add(new StateRead("s", Shape.Of(2, 9, 4)), "s"), OperatorCases.Parameter(b, "x", 2, 3, 4), b.Add(new Input("positions", TensorType.Int(Shape.Of(2)), 10), "positions"))),
        ("a window beyond 536870912", b => Attend(b, KeyRange.All with { Window = int.MaxValue - 1, HasKeyLengths = true }, 3, 5, 5, TensorType.Int(Shape.Of(3)), 6)),
        ("its integers are below 5, and those of the input ids are 0 to 5", b =>
            b.Add(new Embedding(), "embedding", OperatorCases.Parameter(b, "table", 5, 4), b.Add(new Input("ids", TensorType.Int(Shape.Of(2)), 6), "ids"))),
    ];

    public static TheoryData<int> BrokenOnes => [.. Enumerable.Range(0, Broken.Length)];

    [Theory]
    [MemberData(nameof(BrokenOnes))]
    public void A_range_that_makes_no_sense_is_refused(int number)
    {
        (string problem, Action<GraphBuilder> build) = Broken[number];
        string message = Assert.Throws<GraphException>(() =>
        {
            var b = new GraphBuilder();
            build(b);
            b.Output("y", new Value(b.Nodes[^1], 0));
            GraphVerifier.Verify(b.Build(), "construction");
        }).Message;
        Assert.Contains(problem, message, StringComparison.Ordinal);
    }

    private static void Attend(GraphBuilder b, KeyRange range, int batch, int queries, int keys, TensorType lengths, int classes, bool ignored = false)
        => b.Add(new Attention(1, 1, 4, 1, range), "y", OperatorCases.Parameter(b, "q", batch, queries, 4), OperatorCases.Parameter(b, "k", batch, keys, 4), OperatorCases.Parameter(b, "v", batch, keys, 4),
            b.Add(new Input("lengths", lengths, classes) { MayBeIgnored = ignored }, "lengths"));

    // Queries, keys and values are inputs, since their extents are symbolic.
    private static ModelGraph Graph(Attention op, Dim batch, Dim time, int rows = Rows)
    {
        var b = new GraphBuilder();
        Value Given(string name, TensorType type, int classes = 0) => b.Add(new Input(name, type, classes), name);
        Value[] numbers = [.. op.Range.InputNames.Select(n => Given(n, TensorType.Int(Shape.Of(batch)), op.Range.LimitOf(n, time.Maximum, rows, 0) ?? 1000))];
        Value Cache(string name)
        {
            int columns = op.KeyValueHeads * op.HeadDim;
            var append = new AppendState { IsRing = op.Range.IsRing, HasPositions = op.Range.HasPositions, HasLengths = op.Range.HasQueryLengths };
            Value state = b.Add(new StateRead(name, batch == (Dim)1 ? Shape.Of(rows, columns) : Shape.Of(batch, rows, columns)), name);
            return b.Add(append, name, [state, Given("new_" + name, TensorType.Float(Shape.Of(batch, time, columns))), .. numbers]);
        }

        b.Output("y0", b.Add(op, "y", [Given("q", TensorType.Float(Shape.Of(batch, time, op.Heads * op.HeadDim))), Cache("k"), Cache("v"), .. numbers]));
        return b.Build();
    }

    /// <summary>The first steps of one of some sequences.</summary>
    private static Tensor Part(Tensor x, int sequence, int sequences, int steps)
    {
        int each = x.Data.Length / sequences;
        return new Tensor([1, steps, x.Columns], x.Data[(sequence * each)..((sequence * each) + (steps * x.Columns))]);
    }
}
