using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A recurrence that is linear in its state, a matrix S [K, V] of each head, which begins at zero: S forgets, S ← eᵍS, takes something in at a key, S ← S + k ⊗ u, and is read at a query, o = Sᵀq.
/// What it takes in is the value, u = v (a state space of scalar decay: Dao and Gu 2024, equation 16, with keys B, queries C and values Δx), or, with strengths β, what corrects it towards the value,
/// u = β(v − Sᵀk) of what was kept (the gated delta rule: Yang et al. 2024, equation 10), which needs keys whose length is 1 at the most.
/// Inputs: q and k [B, T, G, K], v [B, T, H, V], the logarithms g of decays [B, T, H] and, optionally, β [B, T, H]. H is a multiple of G: a group's keys and queries serve consecutive heads. Result: [B, T, H, V].
/// </summary>
internal sealed partial record LinearRecurrence : CompositeOperator
{
    /// <summary>What the state is called behind the name of the recurrence.</summary>
    public const string State = "state";

    public override string Mnemonic => "linear_recurrence";

    public override string Attributes => Chunk > 0 ? $"chunks of {Chunk.ToString(CultureInfo.InvariantCulture)}" : "";

    /// <summary>The steps that are taken at once, in products of matrices; 0 for one by one. A number of steps that is no multiple of it is filled up.</summary>
    public int Chunk { get; init; }

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count is 4 or 5 && inputs.All(i => i.Element == ElementType.Float32) && inputs.Take(3).All(i => i.Shape.Rank == 4), $"the inputs do not fit: {List(inputs)}");
        Shape keys = inputs[1].Shape, values = inputs[2].Shape;
        Require(inputs[0].Equals(inputs[1]) && values[0] == keys[0] && values[1] == keys[1] && values[2].Maximum % keys[2].Maximum == 0
            && inputs.Skip(3).All(i => i.Shape.Equals(Shape.Of(values[0], values[1], values[2]))), $"the inputs do not fit: {List(inputs)}");
        return Single(inputs[2]);
    }

    public override long Flops(Node node)
        => (node.Inputs.Count == 5 ? 7 : 5) * node.Inputs[2].Shape.MaximumElements * node.Inputs[1].Shape.Columns;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs) => [Chunk > 0 ? InChunks(b, name, inputs) : StepByStep(b, name, inputs)];

    private static Value StepByStep(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Shape keys = inputs[1].Shape, values = inputs[2].Shape;
        (Dim batch, Dim time, Dim groups, Dim share) = (keys[0], keys[1], keys[2], values[2].Maximum / keys[2].Maximum);

        // Of a step, keys go down a matrix and values across.
        Value Steps(string of, Value value, params Dim[] each)
        {
            Value rows = b.Add(new Permute([1, 0, .. Enumerable.Range(2, value.Shape.Rank - 2)]), $"{name}.{of}.time_major", value);
            return b.Add(new Reshape(Shape.Of([time, batch, groups, .. each])), $"{name}.{of}.steps", rows);
        }

        List<Value> sequences = [Steps("q", inputs[0], 1, keys[3], 1), Steps("k", inputs[1], 1, keys[3], 1), Steps("v", inputs[2], share, 1, values[3]), Steps("decay", b.Add(new Exp(), name + ".decay", inputs[3]), share, 1, 1)];
        if (inputs.Count == 5)
        {
            sequences.Add(Steps("beta", inputs[4], share, 1, 1));
        }

        Shape state = Shape.Of(batch, groups, share, keys[3], values[3]);
        Value start = b.Add(new Constant(0, state), name + ".start");
        var scan = new Scan(Step(name, state, sequences), time, Reverse: false, Carries: 1, sequences.Count);
        Value read = b.AddMany(scan, name, [start, .. sequences])[scan.Sequence(0)];
        return b.Add(new Permute([1, 0, 2, 3]), name + ".read.heads", b.Add(new Reshape(Shape.Of(time, batch, values[2], values[3])), name + ".read", read));
    }

    private static ModelGraph Step(string name, Shape state, IReadOnlyList<Value> sequences)
    {
        var b = new GraphBuilder();
        Value[] step = [.. sequences.Select((s, i) => b.Add(new BodyInput(BodyInputKind.Sequence, i, TensorType.Float(s.Shape.DropFirst())), s.Name))];
        (Value q, Value k, Value v, Value decay) = (step[0], step[1], step[2], step[3]);
        Value Read(string what, Value of, Value at)
            => b.Add(new ColumnSum(Shape.Of(state[0], state[1], state[2], 1, state[4])), $"{name}.{what}", b.Add(new Multiply(), $"{name}.{what}.product", of, at));
        Value kept = b.Add(new Multiply(), name + ".kept", b.Add(new BodyInput(BodyInputKind.Carry, 0, TensorType.Float(state)), name + ".state"), decay);
        Value taken = step.Length == 4 ? v : b.Add(new Multiply(), name + ".correction", b.Add(new Subtract(), name + ".error", v, Read("known", kept, k)), step[4]);
        Value next = b.Add(new Add(), name + ".state.next", kept, b.Add(new Multiply(), name + ".added", k, taken));
        b.Output(State, next);
        b.Output("read", Read("read", next, q));
        return b.Build();
    }
}
