using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>What each pass promises: the same values, and the structure that it is there to make.</summary>
public sealed class PassTests
{
    public static TheoryData<string> Names => Families.Names;

    public static TheoryData<string> LanguageModels => Families.LanguageModels;

    [Theory]
    [MemberData(nameof(Names))]
    public void Binding_leaves_no_symbol_and_keeps_the_values(string name)
    {
        ModelGraph symbolic = GradientCheck.Verified(Families.Build(name, BuildMode.Training), "construction");
        var training = Families.All[name].Training!;
        int time = Math.Max(1, training.SequenceLength);
        ModelGraph bound = GradientCheck.Verified(BindExtents.Run(symbolic, training.BatchSize, time), "binding");
        Assert.All(bound.Nodes.SelectMany(OperatorGradientTests.WithBodies).SelectMany(n => n.Outputs), t => Assert.All(t.Shape.Dims, d => Assert.True(d.IsLiteral)));
        RunArguments run = CaseData.Random(symbolic, 5, training.BatchSize, time);
        GradientCheck.Same(ReferenceInterpreter.Run(symbolic, run), ReferenceInterpreter.Run(bound, run), 0, name);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Expansion_keeps_the_values(string name)
    {
        ModelGraph graph = Families.Training(name);
        RunArguments run = CaseData.Random(graph, 5);
        GradientCheck.Same(ReferenceInterpreter.Run(graph, run), ReferenceInterpreter.Run(GradientCheck.Verified(ExpandComposites.Run(graph), "expansion"), run), 1e-10, name);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Passes_settle(string name)
    {
        ModelGraph graph = GradientCheck.Differentiate(Families.Training(name));
        ModelGraph moved = Simplify.Run(ScanMotion.Run(Simplify.Run(graph)));
        ModelGraph again = Simplify.Run(ScanMotion.Run(moved));
        Assert.Equal(GraphPrinter.Print(moved), GraphPrinter.Print(again));
    }

    /// <summary>As the fast recurrent libraries do it: what a step of the scan still multiplies is the carried state alone.</summary>
    [Theory]
    [InlineData("rnn", 1)]
    [InlineData("lstm", 1)]
    [InlineData("gru", 1)]
    public void Only_the_products_of_the_carried_state_stay_in_a_scan(string name, int products)
    {
        ModelGraph graph = ScanMotion.Run(Simplify.Run(GradientCheck.Differentiate(Families.Training(name))));
        Assert.Equal(4, graph.NodesOf<Scan>().Count());
        foreach (Scan scan in graph.NodesOf<Scan>().Select(n => (Scan)n.Op))
        {
            Node[] inside = scan.Body.NodesOf<MatMul>().ToArray();
            Assert.Equal(products, inside.Length);
            Assert.All(inside, n => Assert.NotEqual(MatMulForm.TN, ((MatMul)n.Op).Form));
        }
    }

    /// <summary>A sequence fed in pieces of any length gives, after each piece, the whole run's last logits of that prefix.</summary>
    [Theory]
    [MemberData(nameof(LanguageModels))]
    public void Streaming_in_pieces_is_the_run_over_the_whole(string name)
    {
        const int Chunk = 4;
        var spec = Families.All[name];
        int context = spec.Int("Context", 9);
        ModelGraph whole = BindExtents.Run(Families.Build(name, BuildMode.Inference), 1, Dim.Time(context));
        ModelGraph streaming = GradientCheck.Verified(
            StreamInference.Run(CarryStates.Run(ExpandComposites.Run(BindExtents.Run(Families.Build(name, BuildMode.Inference), 1, Dim.Time(Math.Min(Chunk, context))))), "logits", new SequenceCaches(context, Chunk)), "streaming");
        ModelGraph sunk = GradientCheck.Verified(SinkLastRow.Run(GradientCheck.Verified(ScanMotion.Run(Simplify.Run(ExpandComposites.Run(streaming))), "motion")), "sinking");
        ModelGraph decode = GradientCheck.Verified(SinkLastRow.Run(Simplify.Run(ExpandComposites.Run(
            StreamInference.Run(CarryStates.Run(ExpandComposites.Run(BindExtents.Run(Families.Build(name, BuildMode.Inference), 1, 1))), "logits", new SequenceCaches(context, Chunk))))), "decoding");

        RunArguments all = CaseData.Random(whole, 9, time: context);
        var states = new Dictionary<string, Tensor>[2];
        states[0] = states[1] = [];
        int position = 0;
        foreach (int piece in Pieces(context, Chunk))
        {
            Tensor tokens = new([1, piece], all.Inputs["tokens"].Data[position..(position + piece)]);
            Tensor prefix = new([1, position + piece], all.Inputs["tokens"].Data[..(position + piece)]);
            Tensor expected = ReferenceInterpreter.Run(whole, all with { State = [], Time = position + piece, Inputs = new() { ["tokens"] = prefix } }).Outputs["logits"];
            Tensor last = new([1, expected.Columns], expected.Data[^expected.Columns..]);
            ModelGraph[] plans = piece == 1 ? [decode, decode] : [streaming, sunk];
            for (int i = 0; i < plans.Length; i++)
            {
                RunResults results = ReferenceInterpreter.Run(plans[i], all with { State = states[i], Time = piece, Position = position, Inputs = new() { ["tokens"] = tokens } });
                GradientCheck.Near(last, results.Outputs["logits"], 1e-10, 1e-10, $"{name}: logits after {position + piece} tokens");
                states[i] = results.State;
            }

            position += piece;
        }

        Assert.Equal(context, position);
    }

    /// <summary>The head, and every other row-wise operator after the last mixing over time, computes one row.</summary>
    [Theory]
    [MemberData(nameof(LanguageModels))]
    public void The_head_computes_one_row_of_logits(string name)
    {
        var spec = Families.All[name];
        int context = spec.Int("Context", 6);
        ModelGraph graph = StreamInference.Run(CarryStates.Run(ExpandComposites.Run(BindExtents.Run(Families.Build(name, BuildMode.Inference), 1, Dim.Time(Math.Min(6, context))))), "logits", new SequenceCaches(context, Math.Min(6, context)));
        ModelGraph sunk = SinkLastRow.Run(ScanMotion.Run(Simplify.Run(ExpandComposites.Run(graph))));
        int vocabulary = spec.Int("Vocab", 0);
        Assert.All(sunk.NodesOf<MatMul>().Where(n => n.Outputs[0].Shape.Columns == vocabulary), n => Assert.Equal(RowExtent.Literal(1), n.Outputs[0].Shape.Rows));

        // What is left of "the last row" reads a value that mixes time steps, a leaf, or a value that others need whole.
        Assert.All(sunk.NodesOf<LastRow>(), n => Assert.True(
            !n.Inputs[0].Op.IsRowWise || sunk.Nodes.Any(reader => reader.Op is not LastRow && reader.Inputs.Contains(n.Inputs[0])), n.ToString()));
    }

    [Fact]
    public void Simplification_removes_what_does_nothing()
    {
        var b = new GraphBuilder();
        Value x = OperatorCases.Parameter(b, "x", 3, 8);
        Value same = b.Add(new Affine(1, 0), "same", b.Add(new Reshape(Shape.Of(3, 8)), "reshape", x));
        Value sum = b.Add(new Add(), "plus zero", same, OperatorCases.Constant(b, 0, Shape.Of(3, 8)));
        Value twice = b.Add(new Affine(4, 0), "twice", b.Add(new Affine(0.5, 0), "half", sum));
        Value there = b.Add(new Reshape(Shape.Of(24)), "there", b.Add(new Reshape(Shape.Of(4, 6)), "between", twice));
        b.Output("y", b.Add(new Reshape(Shape.Of(3, 8)), "back", there));
        Value pair = b.Add(new ConcatColumns(), "pair", x, b.Add(new Tanh(), "t", x));
        b.Output("part", b.Add(new SliceColumns(8, 8), "part", pair));
        b.Output("inner", b.Add(new SliceColumns(1, 2), "inner", b.Add(new SliceColumns(2, 4), "outer", x)));
        ModelGraph graph = b.Build();
        ModelGraph simplified = Simplify.Run(graph);
        Assert.Equal(["affine", "parameter", "reshape", "slice_columns", "tanh"], simplified.Nodes.Select(n => n.Op.Mnemonic).Order());
        RunArguments run = CaseData.Random(graph, 1);
        GradientCheck.Same(ReferenceInterpreter.Run(graph, run), ReferenceInterpreter.Run(simplified, run), 1e-15, "simplified");
    }

    /// <summary>A zero of another shape stretches what it is added to, so it is not nothing.</summary>
    [Fact]
    public void Simplification_keeps_a_sum_that_stretches()
    {
        var b = new GraphBuilder();
        Value x = OperatorCases.Parameter(b, "x", 5);
        b.Output("y", b.Add(new Add(), "stretched", x, OperatorCases.Constant(b, 0, Shape.Of(3, 5))));
        ModelGraph graph = b.Build();
        RunArguments run = CaseData.Random(graph, 1);
        GradientCheck.Same(ReferenceInterpreter.Run(graph, run), ReferenceInterpreter.Run(GradientCheck.Verified(Simplify.Run(graph), "simplification"), run), 0, "stretched");
    }

    /// <summary>The last row of a product with another row-wise value as its weight: the weight's rows are no time steps.</summary>
    [Fact]
    public void Sinking_leaves_a_weight_whole_that_happens_to_have_as_many_rows()
    {
        var b = new GraphBuilder();
        Value x = OperatorCases.Parameter(b, "x", 1, 5, 3);
        Value weight = b.Add(new Tanh(), "squashed", OperatorCases.Parameter(b, "w", 5, 3));
        b.Output("y", b.Add(new LastRow(), "last", b.Add(new MatMul(MatMulForm.NT), "product", x, weight)));
        ModelGraph graph = b.Build();
        RunArguments run = CaseData.Random(graph, 1);
        ModelGraph sunk = GradientCheck.Verified(SinkLastRow.Run(graph), "sinking");
        GradientCheck.Same(ReferenceInterpreter.Run(graph, run), ReferenceInterpreter.Run(sunk, run), 1e-15, "sunk");
    }

    /// <summary>A step's value of lower rank than what it meets in the body cannot be broadcast the same way outside.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Motion_keeps_the_values_where_ranks_differ(bool concatenate)
    {
        var body = new GraphBuilder();
        Value h = body.Add(new BodyInput(BodyInputKind.Carry, 0, TensorType.Float(Shape.Of(2, 5))), "h");
        Value x = body.Add(new BodyInput(BodyInputKind.Sequence, 0, TensorType.Float(concatenate ? Shape.Of(2, 2) : Shape.Of(5))), "x");
        Value m = body.Add(new BodyInput(BodyInputKind.Invariant, 0, TensorType.Float(concatenate ? Shape.Of(2, 3) : Shape.Of(2, 5))), "m");
        Value mixed = concatenate ? body.Add(new ConcatColumns(), "both", x, m) : body.Add(new Multiply(), "both", x, m);
        body.Output("h", body.Add(new Tanh(), "next", body.Add(new Add(), "sum", h, mixed)));
        body.Output("mixed", mixed);
        var b = new GraphBuilder();
        Value[] r = b.AddMany(new Scan(body.Build(), 3, false, 1, 1), "scan",
            [OperatorCases.Parameter(b, "h", 2, 5), OperatorCases.Parameter(b, "x", concatenate ? [3, 2, 2] : [3, 5]), OperatorCases.Parameter(b, "m", concatenate ? [2, 3] : [2, 5])]);
        b.Output("h", r[Scan.After(0)]);
        b.Output("mixed", r[3]);
        ModelGraph graph = GradientCheck.Verified(b.Build(), "construction");
        RunArguments run = CaseData.Random(graph, 1);
        GradientCheck.Same(ReferenceInterpreter.Run(graph, run), ReferenceInterpreter.Run(GradientCheck.Verified(ScanMotion.Run(graph), "motion"), run), 1e-15, "moved");
    }

    private static IEnumerable<int> Pieces(int total, int chunk)
    {
        var random = new Random(total);
        for (int done = 0; done < total;)
        {
            int piece = Math.Min(total - done, 1 + random.Next(chunk));
            done += piece;
            yield return piece;
        }
    }
}
