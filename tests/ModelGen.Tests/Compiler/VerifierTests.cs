using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>The verifier accepts what is built by the rules, and names the node and the rule of what is not.</summary>
public sealed class VerifierTests
{
    private static readonly TensorType Matrix = TensorType.Float(Shape.Of(3, 5));
    private static readonly Parameter X = new("x", Shape.Of(3, 5), Initializer.Zeros, false, false);

    [Fact]
    public void Accepts_every_operator_case()
        => Assert.All(OperatorCases.All.Values, c => GraphVerifier.Verify(c.Graph, "construction"));

    [Fact]
    public void Rejects_an_input_that_is_defined_below()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(x, 0)], [Matrix], "y");
        Rejected("is not defined above it", [y, x], y);
    }

    [Fact]
    public void Rejects_an_input_of_another_graph()
    {
        var elsewhere = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(elsewhere, 0)], [Matrix], "y");
        Rejected("is not defined above it", [y], y);
    }

    [Fact]
    public void Rejects_a_result_that_the_input_does_not_have()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(x, 1)], [Matrix], "y");
        Rejected("does not exist", [x, y], y);
    }

    [Fact]
    public void Rejects_an_identifier_that_is_taken()
    {
        var x = new Node(7, X, [], [Matrix], "x");
        var y = new Node(7, new Tanh(), [new Value(x, 0)], [Matrix], "y");
        Rejected("identifier is taken", [x, y], y);
    }

    [Fact]
    public void Rejects_a_type_that_the_shape_rule_does_not_give()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(x, 0)], [TensorType.Float(Shape.Of(5, 3))], "y");
        Rejected("its shape rule gives f32[3, 5]", [x, y], y);
    }

    [Fact]
    public void Rejects_inputs_that_the_operator_does_not_take()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new MatMul(MatMulForm.NN), [new Value(x, 0), new Value(x, 0)], [Matrix], "y");
        Rejected("contracted extents differ", [x, y], y);
    }

    [Fact]
    public void Rejects_a_symbolic_innermost_extent()
    {
        TensorType type = TensorType.Float(Shape.Of(3, Dim.Time(5)));
        var x = new Node(0, new Input("x", type, 0), [], [type], "x");
        Rejected("innermost extent is symbolic", [x], x);
    }

    [Fact]
    public void Rejects_a_result_that_is_not_in_the_graph()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(x, 0)], [Matrix], "y");
        Rejected("is not in the graph", [x], y);
    }

    [Fact]
    public void Rejects_two_parameters_of_one_name()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, X with { Shape = Shape.Of(5) }, [], [TensorType.Float(Shape.Of(5))], "y");
        Rejected("another leaf has its name", [x, y], y);
    }

    [Fact]
    public void Rejects_two_outputs_of_one_name()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var value = new Value(x, 0);
        Rejected("a second output is called y", new ModelGraph([x], [new GraphOutput("y", value), new GraphOutput("y", value)], [], []));
    }

    [Fact]
    public void Rejects_a_state_update_of_another_shape_or_a_second_one()
    {
        var state = new Node(0, new StateRead("s", Shape.Of(3, 5)), [], [Matrix], "s");
        var other = new Node(1, X with { Shape = Shape.Of(5) }, [], [TensorType.Float(Shape.Of(5))], "x");
        var right = new StateUpdate("s", new Value(state, 0));
        Rejected("updates the state s of shape [3, 5]", new ModelGraph([state, other], [], [new StateUpdate("s", new Value(other, 0))], []));
        Rejected("a second time", new ModelGraph([state, other], [], [right, right], []));
        GraphVerifier.Verify(new ModelGraph([state, other], [], [right], []), "construction");
    }

    [Fact]
    public void Rejects_a_gradient_of_another_shape_or_of_nothing()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var flat = new Node(1, new Reshape(Shape.Of(15)), [new Value(x, 0)], [TensorType.Float(Shape.Of(15))], "flat");
        Rejected("the gradient of x, which is [3, 5]", new ModelGraph([x, flat], [], [], [new GradientContribution("x", new Value(flat, 0))]));
        Rejected("which is not in the graph", new ModelGraph([x], [], [], [new GradientContribution("w", new Value(x, 0))]));
        GraphVerifier.Verify(new ModelGraph([x], [], [], [new GradientContribution("x", new Value(x, 0))]), "construction");
    }

    [Fact]
    public void Looks_into_the_bodies_of_scans()
    {
        var body = new GraphBuilder();
        Value h = body.Add(new BodyInput(BodyInputKind.Carry, 0, Matrix), "h");
        Value t = body.Add(new Tanh(), "t", h);
        body.Output("h", t);
        ModelGraph good = body.Build();
        var scan = new Scan(good, 4, false, 1, 0);
        var x = new Node(0, X, [], [Matrix], "x");
        Node Over(Scan op) => new(1, op, [new Value(x, 0)], scan.Infer([Matrix]), "scan");
        GraphVerifier.Verify(new ModelGraph([x, Over(scan)], [], [], []), "construction");
        var broken = new ModelGraph([good.Nodes[1], good.Nodes[0]], good.Outputs, [], []);
        Rejected("in the body of scan", new ModelGraph([x, Over(scan with { Body = broken })], [], [], []));
    }

    /// <summary>A step's indices are those of the sequence that the scan is given.</summary>
    [Fact]
    public void Holds_integers_in_bodies_of_scans_against_what_they_point_into()
    {
        ModelGraph Looking(int classes)
        {
            var body = new GraphBuilder();
            Value step = body.Add(new BodyInput(BodyInputKind.Sequence, 0, TensorType.Int(Shape.Of(2))), "step");
            Value table = body.Add(new BodyInput(BodyInputKind.Invariant, 0, TensorType.Float(Shape.Of(10, 3))), "table");
            body.Output("row", body.Add(new Embedding(), "row", table, step));
            var b = new GraphBuilder();
            Value ids = b.Add(new Input("ids", TensorType.Int(Shape.Of(4, 2)), classes), "ids");
            b.Output("rows", b.Add(new Scan(body.Build(), 4, false, 0, 1), "scan", ids, OperatorCases.Parameter(b, "weights", 10, 3)));
            return b.Build();
        }

        GraphVerifier.Verify(Looking(10), "construction");
        Rejected("its integers are below 10, and those of the input ids are 0 to 10", Looking(11));
    }

    [Fact]
    public void Says_after_which_pass_the_graph_is_broken()
    {
        var x = new Node(0, X, [], [Matrix], "x");
        var y = new Node(1, new Tanh(), [new Value(x, 0)], [Matrix], "y");
        GraphException e = Assert.Throws<GraphException>(() => GraphVerifier.Verify(new ModelGraph([y, x], [], [], []), "the pass"));
        Assert.StartsWith("after the pass: %1 tanh y: ", e.Message, StringComparison.Ordinal);
    }

    private static void Rejected(string problem, Node[] nodes, Node result)
        => Rejected(problem, new ModelGraph(nodes, [new GraphOutput("y", new Value(result, 0))], [], []));

    private static void Rejected(string problem, ModelGraph graph)
        => Assert.Contains(problem, Assert.Throws<GraphException>(() => GraphVerifier.Verify(graph, "construction")).Message, StringComparison.Ordinal);
}
