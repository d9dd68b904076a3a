using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>Every operator's gradient against central differences, and every operator's definition.</summary>
public sealed class OperatorGradientTests
{
    public static TheoryData<string> Differentiable => [.. OperatorCases.All.Values.Where(c => c.HasGradient).Select(c => c.Name)];

    public static TheoryData<string> Everything => [.. OperatorCases.All.Keys];

    /// <summary>Operators that no gradient is asked of, and why.</summary>
    private static readonly Dictionary<Type, string> WithoutGradient = new()
    {
        [typeof(Derivative)] = "part of a gradient; second derivatives are not supported",
        [typeof(RowMax)] = "only ever a shift that cancels, behind stop_gradient",
        [typeof(StopGradient)] = "that is what it is for",
        [typeof(EmbeddingGradient)] = "part of a gradient",
        [typeof(AttentionGradient)] = "part of a gradient",
        [typeof(PadColumns)] = "part of a gradient",
        [typeof(ExpertWeightGradient)] = "part of a gradient",
        [typeof(PadRows)] = "part of a gradient",
        [typeof(LastRow)] = "inference only",
        [typeof(AppendState)] = "inference only",
        [typeof(SequenceStates)] = "inference only",
        [typeof(ScatterRows)] = "inference only",
        [typeof(LengthMask)] = "its input is an integer",
        [typeof(AttentionWeights)] = "inference only",
        [typeof(ChunkedRecurrence)] = "inference only: where there is a gradient, LinearRecurrence",
        [typeof(IsTarget)] = "its input is an integer",
        [typeof(TransposeIndices)] = "its input is an integer",
    };

    [Fact]
    public void Every_operator_has_a_case()
    {
        HashSet<Type> covered = [.. OperatorCases.All.Values.SelectMany(c => c.Graph.Nodes).SelectMany(WithBodies).Select(n => n.Op.GetType())];
        Assert.Equal([], OperatorCases.OperatorTypes.Where(t => !covered.Contains(t)).Select(t => t.Name));
    }

    [Fact]
    public void Every_operator_is_differentiated_or_has_a_reason_not_to_be()
    {
        // Covered means: a gradient case needs a cotangent to flow through it.
        var covered = new HashSet<Type>();
        foreach (OperatorCase c in OperatorCases.All.Values.Where(c => c.HasGradient))
        {
            foreach (Node node in c.Graph.Nodes.SelectMany(WithBodies).Where(n => n.Op is LeafOperator || n.Inputs.Any(i => i.Type.Element == ElementType.Float32)))
            {
                covered.Add(node.Op.GetType());
            }
        }

        Assert.Equal([], OperatorCases.OperatorTypes.Where(t => !covered.Contains(t) && !WithoutGradient.ContainsKey(t)).Select(t => t.Name));
    }

    [Theory]
    [MemberData(nameof(Differentiable))]
    public void Gradient_is_that_of_central_differences(string name)
    {
        ModelGraph graph = GradientCheck.WithLoss(OperatorCases.All[name].Graph);
        GradientCheck.Verified(graph, "construction");
        for (int seed = 1; seed <= 2; seed++)
        {
            GradientCheck.Run(graph, CaseData.Random(graph, seed), $"{name}, seed {seed}");
        }
    }

    /// <summary>Composites against their expansion: two definitions of each, written independently.</summary>
    [Theory]
    [MemberData(nameof(Everything))]
    public void Passes_keep_the_values(string name)
    {
        ModelGraph graph = OperatorCases.All[name].Graph;
        GradientCheck.Verified(graph, "construction");
        RunArguments run = CaseData.Random(graph, 3, position: graph.NodesOf<AppendState>().Any() ? 4 : 0);
        RunResults expected = ReferenceInterpreter.Run(graph, run);
        ModelGraph expanded = GradientCheck.Verified(ExpandComposites.Run(graph), "expansion");
        Assert.DoesNotContain(expanded.Nodes.SelectMany(WithBodies), n => n.Op is CompositeOperator);
        GradientCheck.Same(expected, ReferenceInterpreter.Run(expanded, run), 1e-9, name + ", expanded");
        GradientCheck.Same(expected, ReferenceInterpreter.Run(GradientCheck.Verified(Simplify.Run(expanded), "simplification"), run), 1e-9, name + ", simplified");
        GradientCheck.Same(expected, ReferenceInterpreter.Run(GradientCheck.Verified(ScanMotion.Run(expanded), "motion"), run), 1e-9, name + ", moved");
    }

    [Theory]
    [InlineData("row_max [3,7]")]
    [InlineData("pad_columns")]
    [InlineData("pad_rows")]
    [InlineData("last_row")]
    [InlineData("append_state")]
    [InlineData("derivative of tanh")]
    [InlineData("embedding_gradient 7x5 [3]")]
    [InlineData("attention_gradient b=2 q=3 k=3 heads=2/2 d=5 scale=0.4472135954999579 causal")]
    [InlineData("attention cached causal")]
    public void An_operator_without_a_gradient_says_so(string name)
    {
        ModelGraph graph = GradientCheck.WithLoss(OperatorCases.All[name].Graph);
        Assert.Throws<GraphException>(() => ReverseMode.Differentiate(graph, "loss"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nothing_flows_through_stop_gradient(bool simplified)
    {
        ModelGraph graph = GradientCheck.WithLoss(OperatorCases.Case("stop", b =>
        {
            Value x = OperatorCases.Parameter(b, "x", 3, 7);
            return [b.Add(new Multiply(), "y", x, b.Add(new StopGradient(), "stopped", b.Add(new Tanh(), "t", x)))];
        }).Graph);
        RunArguments run = CaseData.Random(graph, 1);
        graph = simplified ? Simplify.Run(graph) : graph;
        ModelGraph differentiated = GradientCheck.Differentiate(graph);
        Tensor gradient = ReferenceInterpreter.Run(differentiated, run).Gradients["x"];
        Assert.DoesNotContain(RemoveStopGradient.Run(differentiated).Nodes, n => n.Op is StopGradient);
        for (int i = 0; i < gradient.Data.Length; i++)
        {
            double expected = run.GradientScale * run.Inputs["weights.y0"].Data[i] * Math.Tanh(run.Parameters["x"].Data[i]);
            Assert.Equal(expected, gradient.Data[i], 12);
        }
    }

    /// <summary>The gradient of a tied parameter has a contribution from each use.</summary>
    [Fact]
    public void A_parameter_used_twice_gets_both_contributions()
    {
        ModelGraph graph = GradientCheck.WithLoss(OperatorCases.Case("tied", b =>
        {
            Value table = OperatorCases.Parameter(b, "table", 7, 5);
            Value rows = b.Add(new Embedding(), "rows", table, OperatorCases.Indices(b, "indices", 7, 3));
            return [b.Add(new MatMul(MatMulForm.NT), "logits", b.Add(new Tanh(), "t", rows), table)];
        }).Graph);
        Assert.Equal(2, GradientCheck.Differentiate(graph).Gradients.Count);
        GradientCheck.Run(graph, CaseData.Random(graph, 5), "tied");
    }

    /// <summary>Element-wise operators against closed forms, and derivatives against differences, over a range of inputs with both tails.</summary>
    [Fact]
    public void Element_wise_operators_are_the_functions_they_are_named_after()
    {
        Dictionary<string, Func<double, double>> definitions = new()
        {
            ["affine"] = x => (1.75 * x) - 0.25,
            ["exp"] = Math.Exp,
            ["log"] = Math.Log,
            ["tanh"] = Math.Tanh,
            ["sigmoid"] = x => 1 / (1 + Math.Exp(-x)),
            ["relu"] = x => x > 0 ? x : 0,
            ["gelu"] = x => 0.5 * x * (1 + ScalarFunctions.Erf(x / Math.Sqrt(2))),
            ["gelu_tanh"] = x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
            ["silu"] = x => x / (1 + Math.Exp(-x)),
            ["clamp"] = x => Math.Clamp(x, -0.3, 0.6),
            ["quick_gelu"] = x => x / (1 + Math.Exp(-1.702 * x)),
            ["softplus"] = x => Math.Log(1 + Math.Exp(x)),
            ["elu"] = x => x > 0 ? x : Math.Exp(x) - 1,
            ["rsqrt"] = x => Math.Pow(x + 0.01, -0.5),
        };
        foreach ((UnaryOperator op, string domain) in OperatorCases.Unary.Where(u => u.Op is not Dropout))
        {
            Func<double[], int, int, double> f = ScalarFunctions.Compile(op.Express(new OperandExpr(0)), new RunArguments());
            Func<double[], int, int, double> derivative = ScalarFunctions.Compile(new Derivative(op).Express(new OperandExpr(0)), new RunArguments());
            for (double x = domain == "positive" ? 0.05 : -12.03; x < 12; x += 0.0625)
            {
                double expected = definitions[op.Mnemonic](x);
                Assert.Equal(expected, f([x], 0, 0), 1e-11 * Math.Max(1, Math.Abs(expected)));
                double slope = (definitions[op.Mnemonic](x + 1e-5) - definitions[op.Mnemonic](x - 1e-5)) / 2e-5;
                Assert.Equal(slope, derivative([x], 0, 0), 1e-6 * Math.Max(1, Math.Abs(slope)));
            }
        }
    }

    [Theory]
    [InlineData(0.1, 0.1124629160182849)]
    [InlineData(0.5, 0.5204998778130465)]
    [InlineData(1.0, 0.8427007929497149)]
    [InlineData(-1.5, -0.9661051464753108)]
    [InlineData(2.5, 0.9995930479825550)]
    [InlineData(4.0, 0.9999999845827421)]
    public void The_interpreters_error_function_has_the_tabulated_values(double x, double erf)
        => Assert.Equal(erf, ScalarFunctions.Erf(x), 1e-15);

    [Fact]
    public void Dropout_drops_its_share_and_keeps_the_mean()
    {
        const int Elements = 40_000;
        ModelGraph graph = OperatorCases.Case("dropout", b => [b.Add(new Dropout(0.3, 5), "y", OperatorCases.Constant(b, 1, Shape.Of(Elements / 100, 100)))]).Graph;
        double[] y = ReferenceInterpreter.Run(graph, new RunArguments { Seed = 12345 }).Outputs["y0"].Data;
        Assert.All(y, v => Assert.True(v == 0 || Math.Abs(v - (1 / 0.7)) < 1e-12));

        // Four standard deviations of a binomial distribution.
        Assert.InRange(y.Count(v => v == 0), (0.3 * Elements) - (4 * Math.Sqrt(0.21 * Elements)), (0.3 * Elements) + (4 * Math.Sqrt(0.21 * Elements)));
    }

    internal static IEnumerable<Node> WithBodies(Node node)
        => node.Op is Scan scan ? scan.Body.Nodes.SelectMany(WithBodies).Prepend(node) : [node];
}
