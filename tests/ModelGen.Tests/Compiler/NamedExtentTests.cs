using System.Reflection;
using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Extents with names of their own, of which a graph and a shape may have several.</summary>
public sealed class NamedExtentTests
{
    private static readonly Dim B = Dim.Batch(3);
    private static readonly Dim S = Dim.Named("S", 4);

    /// <summary>A new operator that holds an extent and forgets to bind it would keep a symbol that no run knows.</summary>
    [Fact]
    public void Every_operator_that_holds_an_extent_binds_it()
    {
        Type[] extents = [typeof(Dim), typeof(Shape), typeof(TensorType), typeof(ModelGraph)];
        Type[] holders = [.. OperatorCases.OperatorTypes.Where(t => t.GetProperties(BindingFlags.Instance | BindingFlags.Public).Any(p => extents.Contains(p.PropertyType)))];
        Assert.True(holders.Length > 8);
        Assert.Equal([], holders.Where(t => t.GetMethod(nameof(Operator.BindExtents))!.DeclaringType != t).Select(t => t.Name));

        // And binds all of it.
        Operator[] operators = [.. OperatorCases.All.Values.SelectMany(c => c.Graph.Nodes).Select(n => n.Op).Where(o => holders.Contains(o.GetType()) && o is not Scan)];
        Assert.All(operators, op => Assert.All(
            op.GetType().GetProperties().Where(p => extents.Contains(p.PropertyType)),
            p => Assert.True(!HasRank(p.GetValue(op)!) || !Equals(p.GetValue(op), p.GetValue(op.BindExtents(d => d + 1))), $"{op}: {p.Name}")));

        static bool HasRank(object held) => held switch { Shape shape => shape.Rank > 0, TensorType type => type.Shape.Rank > 0, _ => true };
    }

    [Fact]
    public void A_number_of_rows_is_a_product_of_extents_in_any_order()
    {
        RowExtent rows = RowExtent.Product([B, 5, S, 2]);
        Assert.Equal(rows, RowExtent.Product([2, S, B, 5]));
        Assert.Equal(120, rows.Maximum);
        Assert.Equal("10·B·S", rows.ToString());
        Assert.Equal(RowExtent.Product([B, 5]), rows.DividedBy(RowExtent.Product([2, S])));
        Assert.Null(rows.DividedBy(RowExtent.Literal(3)));
        Assert.Null(rows.DividedBy(RowExtent.Of(Dim.Time(4))));
    }

    /// <summary>Two extents that vary by themselves, in one shape: middle broadcasts, sums, transposes and products over them.</summary>
    [Fact]
    public void Emitted_code_takes_a_count_for_each_extent()
    {
        var b = new GraphBuilder();
        Value x = Floats(b, "x", B, S, 5);
        Value perSequence = Floats(b, "per_sequence", B, 1, 5);
        Value perStep = Floats(b, "per_step", S, 1);
        Value sum = b.Add(new Add(), "sum", b.Add(new Multiply(), "product", x, perSequence), perStep);
        b.Output("sum", sum);
        b.Output("linear", b.Add(new Add(), "biased", b.Add(new MatMul(MatMulForm.NT), "linear", sum, OperatorCases.Parameter(b, "w", 7, 5)), b.Add(new MatMul(MatMulForm.NT), "projected", perSequence, OperatorCases.Parameter(b, "v", 7, 5))));
        b.Output("over steps", b.Add(new ColumnSum(Shape.Of(B, 1, 5)), "over_steps", sum));
        b.Output("over sequences", b.Add(new ColumnSum(Shape.Of(S, 5)), "over_sequences", sum));
        b.Output("turned", b.Add(new Tanh(), "turned", b.Add(new Permute(new([1, 0, 2])), "view", sum)));
        ModelGraph graph = GradientCheck.Verified(b.Build(), "construction");
        GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.RedZones)[0];
        Assert.Equal(["B", "S"], function.Program.Counts.Select(c => c.Symbol).Order());
        for (int batch = 1; batch <= 3; batch++)
        {
            for (int steps = 1; steps <= 4; steps++)
            {
                RunArguments run = CaseData.Random(graph, (10 * batch) + steps, batch: batch, counts: new Dictionary<string, int> { ["S"] = steps });
                KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run, threads: 2), 2e-5, $"{batch} sequences of {steps}");
            }
        }
    }

    /// <summary>Attention among the steps of a run, and of one query of each sequence over them, in every algorithm; lengths beyond the run's steps are the run's.</summary>
    [Theory]
    [InlineData(2, 1, 19)]
    [InlineData(4, 4, 4)]
    [InlineData(3, 3, 8)]
    [InlineData(8, 4, 8)]
    [InlineData(2, 2, 64)]
    public void Attention_takes_as_many_keys_as_a_run_has(int heads, int keyHeads, int headDim)
    {
        const int Most = 21;
        Dim steps = Dim.Named("S", Most);
        foreach (KeyRange range in new[] { KeyRange.All, KeyRange.Causal, KeyRange.All with { HasKeyLengths = true }, KeyRange.All with { Window = 3, HasKeyLengths = true }, KeyRange.All with { HasQueryLengths = true, HasKeyLengths = true },
            KeyRange.All with { Window = 2, Pattern = new GlobalKeys(3), HasKeyLengths = true }, KeyRange.All with { Pattern = new StridedKeys(4) }, KeyRange.All with { Pattern = new FixedKeys(5, 2), HasKeyLengths = true }, KeyRange.Causal with { Pattern = new FixedKeys(5, 2) } })
        {
            foreach (bool single in range.IsCausal || range.Window is not null || range.Pattern is not null ? [false] : new[] { false, true })
            {
                var b = new GraphBuilder();
                Value[] lengths = [.. range.InputNames.Select(n => b.Add(new Input(n, TensorType.Int(Shape.Of(B)), single && n == "queryLengths" ? 2 : Most + 1), n))];
                var op = new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), range);
                (Value q, Value k) = (Floats(b, "q", B, single ? 1 : steps, heads * headDim), Floats(b, "k", B, steps, keyHeads * headDim));
                Value[] results = b.AddMany(op, "y", [q, k, Floats(b, "v", B, steps, keyHeads * headDim), .. lengths]);
                b.Output("y", results[0]);
                if (!range.HasQueryLengths)
                {
                    b.Output("weights", b.Add(new AttentionWeights(op, Most + 2), "weights", [q, k, results[1], .. lengths]));
                }

                ModelGraph graph = GradientCheck.Verified(b.Build(), "construction");
                GraphFunction function = GraphFunction.Compile([graph], BufferPlacement.RedZones)[0];
                foreach ((int batch, int count) in new[] { (1, 1), (3, Most), (2, 5), (3, 8) })
                {
                    RunArguments run = CaseData.Random(graph, (100 * batch) + count, batch: batch, counts: new Dictionary<string, int> { ["S"] = count });
                    KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run, threads: 2), 2e-5, $"{range.Attributes}: {batch} sequences of {count}");
                }
            }
        }
    }

    /// <summary>Rows of a feed-forward model are examples, not time steps.</summary>
    [Fact]
    public void A_feed_forward_plan_counts_its_batch()
    {
        CompiledPlan predict = Assert.Single(ModelCompiler.Plan(Families.All["mlp squared error"], CacheSizes.Default, default).Inference);
        Assert.Equal(ExtentNames.Batch, Assert.Single(predict.Cpu.Program.Counts).Symbol);
    }

    [Fact]
    public void An_extent_has_one_maximum()
    {
        var b = new GraphBuilder();
        b.Output("y", b.Add(new Tanh(), "y", Floats(b, "x", B, 5)));
        b.Output("z", b.Add(new Tanh(), "z", Floats(b, "w", Dim.Batch(4), 5)));
        ModelGraph graph = b.Build();
        Assert.Contains("one maximum", Assert.Throws<GraphException>(() => ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default)).Message, StringComparison.Ordinal);
    }

    private static Value Floats(GraphBuilder b, string name, params Dim[] dims) => b.Add(new Input(name, TensorType.Float(Shape.Of(dims)), 0), name);
}
