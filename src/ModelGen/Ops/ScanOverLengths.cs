using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// A <see cref="Scan"/> over a padded batch, whose carries, and steps of sequences and outputs, are [B, ..]: beyond a row's length its carries keep
/// their values, and what is read of sequences and written to results [T, ..] is zero. Backwards in time, a row so begins at its own last step.
/// Inputs: those of the scan, and lengths i32 [B]. Results: those of the scan.
/// </summary>
internal sealed record ScanOverLengths(Scan Of) : CompositeOperator
{
    public override string Mnemonic => "scan_over_lengths";

    public override string Attributes => Of.Attributes;

    public override Operator BindExtents(Func<Dim, Dim> bind) => new ScanOverLengths((Scan)Of.BindExtents(bind));

    public override IReadOnlyList<TensorType> Infer(IReadOnlyList<TensorType> inputs)
    {
        IReadOnlyList<TensorType> scanned = [.. inputs.Take(inputs.Count - 1)];
        IReadOnlyList<TensorType> results = Of.Infer(scanned);
        Require(inputs.Count > 1 && inputs[inputs.Count - 1] is { Element: ElementType.Int32, Shape.Rank: 1 }, $"takes lengths and got {List(inputs)}");
        Dim batch = inputs[inputs.Count - 1].Shape[0];
        bool Has(TensorType type, int axis) => type.Shape.Rank > axis + 1 && type.Shape[axis] == batch;
        Require(scanned.Take(Of.Carries).All(t => Has(t, 0)) && scanned.Skip(Of.Carries).Take(Of.Sequences).All(t => Has(t, 1)) && results.Skip(3 * Of.Carries).All(t => Has(t, 1)), $"steps are not rows of {batch} sequences: {List(inputs)}");
        return results;
    }

    public override int? IndexLimit(Node node, int input) => input == node.Inputs.Count - 1 ? Of.Extent.Maximum + 1 : null;

    public override IReadOnlyList<Value> Expand(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Value lengths = inputs[inputs.Count - 1];
        Require(Of.Extent.IsLiteral, $"{name} runs over {Of.Extent} steps, and lengths are those of a literal number");
        int steps = Of.Extent.Maximum;
        Value mask = b.Add(new Permute([1, 0]), name + ".mask.time_major", b.Add(new LengthMask(steps), name + ".mask", lengths));

        // The mask of sequences and results of so many extents.
        Value MaskOf(Shape shape) => b.Add(new Reshape(new Shape([shape[0], shape[1], .. Enumerable.Repeat((Dim)1, shape.Rank - 2)])), name + ".mask", mask);
        Value Masked(Value value) => b.Add(new Where(), value.Name.Length > 0 ? value.Name + ".masked" : name + ".masked", MaskOf(value.Shape), value, b.Add(new Constant(0, Shape.Scalar), ""));

        // The masks that the body needs are more of its sequences, one for each number of extents.
        int[] ranks = [.. Enumerable.Range(0, Of.Body.Outputs.Count).Select(i => Of.Body.Outputs[i].Value.Shape.Rank).Distinct()];
        var body = new GraphBuilder();
        ValueMap map = body.Import(Of.Body);
        Value StepMask(Shape shape)
        {
            int number = Of.Sequences + Array.IndexOf(ranks, shape.Rank);
            return body.Add(new BodyInput(BodyInputKind.Sequence, number, TensorType.Float(new Shape([shape[0], .. Enumerable.Repeat((Dim)1, shape.Rank - 1)]))), name + ".mask");
        }

        for (int i = 0; i < Of.Body.Outputs.Count; i++)
        {
            GraphOutput output = Of.Body.Outputs[i];
            Value next = map[output.Value];
            Value otherwise = i < Of.Carries ? body.Add(new BodyInput(BodyInputKind.Carry, i, next.Type), output.Name) : body.Add(new Constant(0, Shape.Scalar), "");
            body.Output(output.Name, body.Add(new Where(), (next.Name.Length > 0 ? next.Name : output.Name) + ".kept", StepMask(next.Shape), next, otherwise));
        }

        var scan = new Scan(body.Build(), Of.Extent, Of.Reverse, Of.Carries, Of.Sequences + ranks.Length);
        Value[] results = b.AddMany(scan, name,
        [
            .. inputs.Take(Of.Carries),
            .. inputs.Skip(Of.Carries).Take(Of.Sequences).Select(Masked),
            .. ranks.Select(rank => MaskOf(new Shape([Of.Extent, lengths.Shape[0], .. Enumerable.Repeat((Dim)1, rank - 1)]))),
            .. inputs.Skip(Of.Carries + Of.Sequences).Take(inputs.Count - 1 - Of.Carries - Of.Sequences),
        ]);

        // The history of a carry holds what it kept.
        for (int i = 0; i < Of.Carries; i++)
        {
            results[Scan.Before(i)] = Masked(results[Scan.Before(i)]);
            results[Scan.After(i)] = Masked(results[Scan.After(i)]);
        }

        return results;
    }
}
