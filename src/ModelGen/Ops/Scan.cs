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

    /// <summary>Back-propagation through time (<see cref="ScanGradient"/>).</summary>
    public override void Gradient(GradientContext context) => new ScanGradient(this, context).Run();

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
