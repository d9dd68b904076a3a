using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>Recurrences that between them use every way a body, its inputs and its results can be connected.</summary>
internal static class ScanCases
{
    public static IEnumerable<OperatorCase> Build()
    {
        foreach (bool reverse in new[] { false, true })
        {
            string direction = reverse ? " reverse" : "";
            foreach ((int steps, int batch, int inputs, int hidden) in new[] { (1, 1, 1, 1), (3, 2, 5, 4), (7, 3, 2, 9), (4, 1, 3, 17) })
            {
                yield return OperatorCases.Case($"scan plain cell {steps}x{batch}x{inputs}x{hidden}{direction}", b =>
                {
                    Value[] r = Cell(b, steps, batch, inputs, hidden, reverse);
                    return [r[Scan.After(0)]];
                });
            }

            yield return OperatorCases.Case($"scan final carry alone{direction}", b => [Cell(b, 4, 2, 3, 5, reverse)[Scan.Final(0)]]);
            yield return OperatorCases.Case($"scan carry before each step{direction}", b => [Cell(b, 4, 2, 3, 5, reverse)[Scan.Before(0)]]);
            yield return OperatorCases.Case($"scan every result{direction}", b =>
            {
                Value[] r = Cell(b, 4, 2, 3, 5, reverse);
                return r.Take(3);
            });

            yield return OperatorCases.Case($"scan output sequences{direction}", b => Scan2(b, reverse, step =>
            {
                Value mixed = step.Body.Add(new Tanh(), "mixed", step.Body.Add(new Add(), "sum", step.Product(step.Carry), step.Sequence));
                Value output = step.Body.Add(new MatMul(MatMulForm.NT), "out", mixed, step.Weight);
                return (mixed, [output, mixed, step.Body.Add(new Sigmoid(), "free", step.Sequence), step.Carry]);
            }));

            yield return OperatorCases.Case($"scan invariant matrix of elements{direction}", b => Scan2(b, reverse, step =>
            {
                // The invariant meets the carried value element by element: its gradient is no contraction over rows.
                Value gated = step.Body.Add(new Multiply(), "gated", step.Carry, step.Elements);
                return (step.Body.Add(new Tanh(), "next", step.Body.Add(new Add(), "sum", gated, step.Sequence)), []);
            }));

            yield return OperatorCases.Case($"scan bias used twice{direction}", b => Scan2(b, reverse, step =>
            {
                Value first = step.Body.Add(new Add(), "first", step.Product(step.Carry), step.Bias);
                Value second = step.Body.Add(new Multiply(), "second", step.Body.Add(new Tanh(), "t", first), step.Bias);
                return (step.Body.Add(new Add(), "next", second, step.Sequence), [first]);
            }));

            yield return OperatorCases.Case($"scan weight used twice{direction}", b => Scan2(b, reverse, step =>
            {
                Value first = step.Body.Add(new Tanh(), "first", step.Product(step.Carry));
                Value second = step.Body.Add(new Sigmoid(), "second", step.Product(first));
                return (step.Body.Add(new Add(), "next", second, step.Sequence), []);
            }));

            yield return OperatorCases.Case($"scan normalized{direction}", b => Scan2(b, reverse, step =>
            {
                Value normal = step.Body.Add(new LayerNorm(1e-3), "norm", step.Body.Add(new Add(), "sum", step.Carry, step.Sequence), step.Bias);
                return (step.Body.Add(new Tanh(), "next", step.Product(normal)), []);
            }));

            yield return OperatorCases.Case($"scan hoistable layers{direction}", b => Scan2(b, reverse, step =>
            {
                // Everything on the way from the sequence to the sum is the same work for all time steps at once.
                Value deep = step.Body.Add(new Tanh(), "deep", step.Body.Add(new Add(), "biased", step.Product(step.Sequence), step.Bias));
                Value part = step.Body.Add(new ConcatColumns(), "swapped", step.Body.Add(new SliceColumns(2, 3), "right", deep), step.Body.Add(new SliceColumns(0, 2), "left", deep));
                return (step.Body.Add(new Tanh(), "next", step.Body.Add(new Add(), "sum", step.Body.Add(new Multiply(), "decayed", step.Carry, step.Elements), part)), [part]);
            }));

            yield return OperatorCases.Case($"scan slices with a gap{direction}", b => Scan2(b, reverse, step =>
            {
                Value slice = step.Body.Add(new SliceColumns(1, 2), "slice", step.Sequence);
                Value gate = step.Body.Add(new RowSum(), "gate", slice);
                return (step.Body.Add(new Tanh(), "next", step.Body.Add(new Multiply(), "scaled", step.Carry, gate)), [gate]);
            }));

            yield return OperatorCases.Case($"scan carry that stays{direction}", b => Scan2(b, reverse, step => (step.Carry, [step.Body.Add(new Multiply(), "y", step.Carry, step.Sequence)])));
            yield return OperatorCases.Case($"scan carry that is forgotten{direction}", b => Scan2(b, reverse, step => (step.Body.Add(new Tanh(), "next", step.Sequence), [step.Body.Add(new Multiply(), "y", step.Carry, step.Sequence)])));
            yield return OperatorCases.Case($"scan carry of constants{direction}", b => Scan2(b, reverse, step =>
                (step.Body.Add(new Affine(0.5, 0.25), "next", step.Carry), [step.Product(step.Body.Add(new Multiply(), "y", step.Carry, step.Sequence))]), constantCarry: true));

            yield return OperatorCases.Case($"scan two carries that swap{direction}", b =>
            {
                var body = new GraphBuilder();
                Value p = Leaf(body, BodyInputKind.Carry, 0, 2, 3);
                Value q = Leaf(body, BodyInputKind.Carry, 1, 2, 3);
                Value x = Leaf(body, BodyInputKind.Sequence, 0, 2, 3);
                body.Output("p", q);
                body.Output("q", body.Add(new Tanh(), "next", body.Add(new Multiply(), "m", p, x)));
                return b.AddMany(
                    new Scan(body.Build(), 5, reverse, 2, 1),
                    "scan",
                    [OperatorCases.Parameter(b, "p", 2, 3), OperatorCases.Parameter(b, "q", 2, 3), OperatorCases.Parameter(b, "x", 5, 2, 3)]);
            });

            yield return OperatorCases.Case($"scan of a scan's results{direction}", b =>
            {
                Value[] first = Cell(b, 4, 2, 3, 5, reverse);
                var body = new GraphBuilder();
                Value h = Leaf(body, BodyInputKind.Carry, 0, 2, 5);
                Value x = Leaf(body, BodyInputKind.Sequence, 0, 2, 5);
                body.Output("h", body.Add(new Tanh(), "next", body.Add(new Multiply(), "m", h, x)));
                Value[] second = b.AddMany(new Scan(body.Build(), 4, !reverse, 1, 1), "second", [first[Scan.Final(0)], first[Scan.After(0)]]);
                return [second[Scan.After(0)]];
            });
        }
    }

    /// <summary>The same recurrences, each row of the batch over steps of its own.</summary>
    public static IEnumerable<OperatorCase> OverLengths()
        => Build().Select(c => c with
        {
            Name = c.Name.Replace("scan", "scan over lengths", StringComparison.Ordinal),
            Graph = GraphRewriter.Rewrite(c.Graph, (b, node, inputs) => node.Op is Scan scan
                ? b.AddMany(new ScanOverLengths(scan), node.Name, [.. inputs, b.Add(new Input("lengths", TensorType.Int(Shape.Of(inputs[scan.Carries].Shape[1])), scan.Extent.Maximum + 1), "lengths")])
                : null),
        });

    private static Value Leaf(GraphBuilder body, BodyInputKind kind, int number, params Dim[] dims)
        => body.Add(new BodyInput(kind, number, TensorType.Float(Shape.Of(dims))), kind + " " + number);

    /// <summary>h = tanh(xWᵀ + hUᵀ + b), with the initial h a parameter like the others.</summary>
    private static Value[] Cell(GraphBuilder b, int steps, int batch, int inputs, int hidden, bool reverse)
    {
        var body = new GraphBuilder();
        Value h = Leaf(body, BodyInputKind.Carry, 0, batch, hidden);
        Value x = Leaf(body, BodyInputKind.Sequence, 0, batch, inputs);
        Value w = Leaf(body, BodyInputKind.Invariant, 0, hidden, inputs);
        Value u = Leaf(body, BodyInputKind.Invariant, 1, hidden, hidden);
        Value bias = Leaf(body, BodyInputKind.Invariant, 2, hidden);
        Value fromInput = body.Add(new Add(), "biased", body.Add(new MatMul(MatMulForm.NT), "wx", x, w), bias);
        body.Output("h", body.Add(new Tanh(), "next", body.Add(new Add(), "sum", fromInput, body.Add(new MatMul(MatMulForm.NT), "uh", h, u))));
        return b.AddMany(
            new Scan(body.Build(), steps, reverse, 1, 1),
            "scan",
            [
                OperatorCases.Parameter(b, "h0", batch, hidden), OperatorCases.Parameter(b, "x", steps, batch, inputs),
                OperatorCases.Parameter(b, "w", hidden, inputs), OperatorCases.Parameter(b, "u", hidden, hidden), OperatorCases.Parameter(b, "bias", hidden),
            ]);
    }

    private sealed record StepValues(GraphBuilder Body, Value Carry, Value Sequence, Value Weight, Value Bias, Value Elements)
    {
        public Value Product(Value x) => Body.Add(new MatMul(MatMulForm.NT), "product", x, Weight);
    }

    /// <summary>A scan over 3 steps of [2, 5] with one carry, one sequence, a weight [5, 5], a bias [5] and elements [2, 5]; every result.</summary>
    private static Value[] Scan2(GraphBuilder b, bool reverse, Func<StepValues, (Value Next, Value[] Outputs)> build, bool constantCarry = false)
    {
        const int Steps = 3;
        const int Batch = 2;
        const int Hidden = 5;
        var body = new GraphBuilder();
        var step = new StepValues(
            body,
            Leaf(body, BodyInputKind.Carry, 0, Batch, Hidden),
            Leaf(body, BodyInputKind.Sequence, 0, Batch, Hidden),
            Leaf(body, BodyInputKind.Invariant, 0, Hidden, Hidden),
            Leaf(body, BodyInputKind.Invariant, 1, Hidden),
            Leaf(body, BodyInputKind.Invariant, 2, Batch, Hidden));
        (Value next, Value[] outputs) = build(step);
        body.Output("next", next);
        for (int i = 0; i < outputs.Length; i++)
        {
            body.Output("y" + i, outputs[i]);
        }

        Value initial = constantCarry ? OperatorCases.Constant(b, 0.75, Shape.Of(Batch, Hidden)) : OperatorCases.Parameter(b, "h0", Batch, Hidden);
        return b.AddMany(
            new Scan(body.Build(), Steps, reverse, 1, 1),
            "scan",
            [
                initial, OperatorCases.Parameter(b, "x", Steps, Batch, Hidden), OperatorCases.Parameter(b, "w", Hidden, Hidden),
                OperatorCases.Parameter(b, "bias", Hidden), OperatorCases.Parameter(b, "elements", Batch, Hidden),
            ]);
    }
}
