using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A recurrence over time: <c>Body</c> runs once for each of <c>Extent</c> steps (backwards when <c>Reverse</c>), and takes the
/// carried values, one step of each sequence, and the invariants, to the next carried values and one step of each output.
/// Sequences are time-major, [T, ..].
/// Inputs: the carries' initial values, the sequences, the invariants. Results, for each carry: the values before each
/// step [T, ..], after each step [T, ..], and the final one; then the output sequences [T, ..].
/// The body's outputs are the next carries, then the steps of the output sequences.
/// </summary>
internal sealed record Scan(ModelGraph Body, Dim Extent, bool Reverse, int Carries, int Sequences) : KernelOperator
{
    public override string Mnemonic => "scan";

    public override string Attributes => string.Format(CultureInfo.InvariantCulture, "{0}{1} carries={2} sequences={3}", Extent, Reverse ? " reverse" : "", Carries, Sequences);

    public override IReadOnlyList<string>? ResultNames
        => [.. Body.Outputs.Take(Carries).SelectMany(o => new[] { o.Name + ".before", o.Name, o.Name + ".final" }), .. Body.Outputs.Skip(Carries).Select(o => o.Value.Name.Length > 0 ? o.Value.Name.Substring(o.Value.Name.LastIndexOf('.') + 1) : o.Name)];

    public int OutputSequences => Body.Outputs.Count - Carries;

    public static int Before(int carry) => 3 * carry;

    public static int After(int carry) => (3 * carry) + 1;

    public static int Final(int carry) => (3 * carry) + 2;

    public int Sequence(int output) => (3 * Carries) + output;

    public override Operator BindExtents(Func<Dim, Dim> bind) => this with { Extent = bind(Extent), Body = Passes.BindExtents.Run(Body, bind) };

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        Require(inputs.Count >= Carries + Sequences, $"takes {Carries} carries and {Sequences} sequences and got {inputs.Count} inputs");
        var leaves = Body.Nodes.Where(n => n.Op is BodyInput).ToDictionary(n => (((BodyInput)n.Op).Kind, ((BodyInput)n.Op).Number), n => n.Outputs[0]);
        var outputs = new List<TensorType>();
        for (int i = 0; i < inputs.Count; i++)
        {
            (BodyInputKind kind, int number) = KindOf(i);
            TensorType step = inputs[i];
            if (kind == BodyInputKind.Sequence)
            {
                Require(step.Shape.Rank > 1 && step.Shape[0] == Extent, $"sequence {number} is {step} and the scan runs over {Extent}");
                step = step with { Shape = step.Shape.DropFirst() };
            }

            if (leaves.TryGetValue((kind, number), out TensorType? leaf))
            {
                Require(leaf.Equals(step), $"{kind} {number} is {step} outside and {leaf} in the body");
            }

            if (kind == BodyInputKind.Carry)
            {
                Require(Body.Outputs[number].Value.Type.Equals(step), $"carry {number} is {step} before a step and {Body.Outputs[number].Value.Type} after it");
                TensorType history = step with { Shape = step.Shape.Prepend(Extent) };
                outputs.AddRange([history, history, step]);
            }
        }

        outputs.AddRange(Body.Outputs.Skip(Carries).Select(o => o.Value.Type with { Shape = o.Value.Shape.Prepend(Extent) }));
        return outputs;
    }

    public override long Flops(Node node) => Extent.Maximum * Body.Nodes.Sum(n => n.Op.Flops(n));

    public (BodyInputKind Kind, int Number) KindOf(int input)
        => input < Carries ? (BodyInputKind.Carry, input)
            : input < Carries + Sequences ? (BodyInputKind.Sequence, input - Carries)
            : (BodyInputKind.Invariant, input - Carries - Sequences);

    /// <summary>
    /// Back-propagation through time: a scan in the other direction, whose carries are the cotangents of this one's. What
    /// its body needs of the forward pass it reads from the saved sequences (see <see cref="SaveForBackward"/>), and what
    /// flows to an invariant is contracted over all time steps in one operation after it.
    /// </summary>
    public override void Gradient(GradientContext context)
    {
        Node node = context.Node;
        var body = new GraphBuilder();
        var sequences = new List<Value>();
        var invariants = new List<Value>();
        var leaves = new Dictionary<Value, Value>();
        Value SequenceLeaf(Value outer)
        {
            int index = sequences.IndexOf(outer);
            if (index < 0)
            {
                index = sequences.Count;
                sequences.Add(outer);
            }

            return body.Add(new BodyInput(BodyInputKind.Sequence, index, outer.Type with { Shape = outer.Shape.DropFirst() }), outer.Name);
        }

        Value InvariantLeaf(Value outer)
        {
            int index = invariants.IndexOf(outer);
            if (index < 0)
            {
                index = invariants.Count;
                invariants.Add(outer);
            }

            return body.Add(new BodyInput(BodyInputKind.Invariant, index, outer.Type), outer.Name);
        }

        var saved = new Dictionary<Value, int>();
        for (int i = 0; i < OutputSequences; i++)
        {
            saved[Body.Outputs[Carries + i].Value] = i;
        }

        // A forward value is read from its sequence when a gradient rule first asks for it.
        Value Forward(Value value)
        {
            if (!leaves.TryGetValue(value, out Value leaf))
            {
                leaf = value.Op switch
                {
                    BodyInput { Kind: BodyInputKind.Carry } b => SequenceLeaf(context.Output(Before(b.Number))),
                    BodyInput { Kind: BodyInputKind.Sequence } b => SequenceLeaf(context.Input(Carries + b.Number)),
                    BodyInput b => InvariantLeaf(context.Input(Carries + Sequences + b.Number)),
                    _ when CarryThatBecomes(value) is { } carry => SequenceLeaf(context.Output(After(carry))),
                    _ when saved.TryGetValue(value, out int output) => SequenceLeaf(context.Output(Sequence(output))),
                    _ => body.AddMany(value.Op, value.Name, value.Node.Inputs.Select(Forward).ToArray())[value.Index],
                };
                leaves.Add(value, leaf);
            }

            return leaf;
        }

        var needed = new HashSet<(BodyInputKind, int)>(Enumerable.Range(0, node.Inputs.Count).Where(context.Needs).Select(KindOf));

        // A carry needs a cotangent when its initial value does, or when anything that does flows into it.
        var flowing = new HashSet<(BodyInputKind, int)>(needed);
        for (bool changed = true; changed;)
        {
            changed = false;
            HashSet<Node> reached = Reached(flowing);
            for (int i = 0; i < Carries; i++)
            {
                changed |= reached.Contains(Body.Outputs[i].Value.Node) && flowing.Add((BodyInputKind.Carry, i));
            }
        }

        int[] carries = Enumerable.Range(0, Carries).Where(i => flowing.Contains((BodyInputKind.Carry, i))).ToArray();
        var engine = new ReverseMode(body, Forward);
        for (int slot = 0; slot < carries.Length; slot++)
        {
            Value next = Body.Outputs[carries[slot]].Value;
            engine.Accumulate(next, body.Add(new BodyInput(BodyInputKind.Carry, slot, next.Type), "d " + next.Name));
            if (context.HasCotangent(After(carries[slot])))
            {
                engine.Accumulate(next, SequenceLeaf(context.OutputCotangent(After(carries[slot]))));
            }
        }

        for (int i = 0; i < OutputSequences; i++)
        {
            if (context.HasCotangent(Sequence(i)))
            {
                engine.Accumulate(Body.Outputs[Carries + i].Value, SequenceLeaf(context.OutputCotangent(Sequence(i))));
            }
        }

        engine.Run(Body, n => n.Op is BodyInput b && flowing.Contains((b.Kind, b.Number)));

        var results = new List<Value>();
        var inputs = new List<Value>();
        foreach (int carry in carries)
        {
            Value? leaf = Leaf(BodyInputKind.Carry, carry);
            IEnumerable<Value> parts = leaf is { } l && engine.HasCotangent(l) ? [engine.Cotangent(l)] : [];
            if (context.HasCotangent(Before(carry)))
            {
                parts = parts.Append(SequenceLeaf(context.OutputCotangent(Before(carry))));
            }

            TensorType type = Body.Outputs[carry].Value.Type;
            Value[] terms = parts.ToArray();
            results.Add(terms.Length == 0 ? body.Add(new Constant(0, type.Shape), "")
                : terms.Skip(1).Aggregate(terms[0], (a, b) => body.Add(new Add(), "d " + Body.Outputs[carry].Value.Name, a, b)));
            inputs.Add(context.OutputCotangent(Final(carry)));
        }

        // Sequences get theirs step by step; invariants get a sequence of what each contraction over rows reads.
        var sequenceOutputs = new Dictionary<int, int>();
        var invariantOutputs = new List<(int Input, Value Contribution)>();
        for (int i = Carries; i < node.Inputs.Count; i++)
        {
            (BodyInputKind kind, int number) = KindOf(i);
            if (!needed.Contains((kind, number)) || Leaf(kind, number) is not { } leaf || !engine.HasCotangent(leaf))
            {
                continue;
            }

            if (kind == BodyInputKind.Sequence)
            {
                sequenceOutputs.Add(i, results.Count);
                results.Add(engine.Cotangent(leaf));
            }
            else
            {
                invariantOutputs.AddRange(engine.Contributions(leaf).Select(c => (i, c)));
            }
        }

        var outputOf = new Dictionary<Value, int>();
        int OutputOf(Value value)
        {
            if (!outputOf.TryGetValue(value, out int output))
            {
                outputOf.Add(value, output = results.Count);
                results.Add(value);
            }

            return output;
        }

        foreach ((_, Value contribution) in invariantOutputs)
        {
            foreach (Value read in ContractsRows(contribution.Op) ? contribution.Node.Inputs : [contribution])
            {
                if (read.Op is not BodyInput)
                {
                    OutputOf(read);
                }
            }
        }

        for (int i = 0; i < results.Count; i++)
        {
            body.Output(i < carries.Length ? Body.Outputs[carries[i]].Name : "y" + i.ToString(CultureInfo.InvariantCulture), results[i]);
        }

        var scan = new Scan(body.Build(), Extent, !Reverse, carries.Length, sequences.Count);
        Value[] outputs = context.AddAll(scan, [.. inputs, .. sequences, .. invariants]);
        for (int slot = 0; slot < carries.Length; slot++)
        {
            context.Accumulate(carries[slot], outputs[Final(slot)]);
        }

        foreach (KeyValuePair<int, int> entry in sequenceOutputs)
        {
            context.Accumulate(entry.Key, outputs[scan.Sequence(entry.Value - carries.Length)]);
        }

        foreach ((int input, Value contribution) in invariantOutputs)
        {
            Value Outside(Value value) => value.Op switch
            {
                BodyInput { Kind: BodyInputKind.Carry } b => outputs[Before(b.Number)],
                BodyInput { Kind: BodyInputKind.Sequence } b => sequences[b.Number],
                BodyInput b => throw new GraphException($"{node}: the gradient of an invariant contracts the invariant {b.Number} over time"),
                _ => outputs[scan.Sequence(OutputOf(value) - carries.Length)],
            };
            context.Accumulate(input, () => ContractsRows(contribution.Op)
                ? context.Add(contribution.Op, contribution.Node.Inputs.Select(Outside).ToArray())
                : context.Add(new ColumnSum(contribution.Shape), Outside(contribution)));
        }

        int? CarryThatBecomes(Value value)
            => Enumerable.Range(0, Carries).Where(c => Body.Outputs[c].Value == value).Select(c => (int?)c).FirstOrDefault();

        Value? Leaf(BodyInputKind kind, int number)
            => Body.Nodes.FirstOrDefault(n => n.Op is BodyInput b && b.Kind == kind && b.Number == number) is { } n ? new Value(n, 0) : null;

        static bool ContractsRows(Operator op) => op is MatMul { Form: MatMulForm.TN } || op is ColumnSum { Shape.Rank: 1 };
    }

    /// <summary>
    /// The same scan with every value of its body as an output sequence, so that a backward pass may read any of them; what
    /// none reads is pruned afterwards.
    /// </summary>
    public Scan SaveForBackward()
    {
        var builder = new GraphBuilder();
        ValueMap map = builder.Import(Body);
        foreach (GraphOutput output in Body.Outputs)
        {
            builder.Output(output.Name, map[output.Value]);
        }

        var present = new HashSet<Value>(Body.Outputs.Skip(Carries).Select(o => o.Value));
        foreach (Node node in Body.Nodes)
        {
            for (int i = 0; i < node.Outputs.Count; i++)
            {
                var value = new Value(node, i);
                if (node.Op is not (LeafOperator or ViewOperator) && present.Add(value))
                {
                    builder.Output("saved" + node.Id.ToString(CultureInfo.InvariantCulture) + "." + i.ToString(CultureInfo.InvariantCulture), map[value]);
                }
            }
        }

        return this with { Body = builder.Build() };
    }

    /// <summary>The body's nodes that depend on one of the given leaves.</summary>
    public HashSet<Node> Reached(ICollection<(BodyInputKind Kind, int Number)> leaves)
    {
        var reached = new HashSet<Node>();
        foreach (Node node in Body.Nodes)
        {
            if (node.Op is BodyInput b ? leaves.Contains((b.Kind, b.Number)) : node.Inputs.Any(i => reached.Contains(i.Node)))
            {
                reached.Add(node);
            }
        }

        return reached;
    }
}
