using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Puts the body of a scan over one step, which is what decoding a recurrence is, in the scan's place: there is no history to
/// keep, and what follows can be fused with it.
/// Guarantees: the same values; no scan of the result has the literal extent 1.
/// </summary>
internal static class InlineSingleStep
{
    public static ModelGraph Run(ModelGraph graph)
        => !graph.Contains<Scan>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs) => node.Op is Scan { Extent: { IsLiteral: true, Maximum: 1 } } scan ? Inline(builder, node, scan, inputs) : null);

    private static Value[] Inline(GraphBuilder builder, Node node, Scan scan, IReadOnlyList<Value> inputs)
    {
        // Each operation of a step is one of its own, as it is in a loop: the recurrence that was written as this scan is none of them.
        Origin? recurrence = builder.Within;
        var map = ValueMap.For(scan.Body);
        foreach (Node inner in scan.Body.Nodes)
        {
            builder.Within = inner.Op is BodyInput ? recurrence : inner.Within;
            map.Set(inner, inner.Op is BodyInput leaf ? [Leaf(leaf)] : builder.AddMany(inner.Op, inner.Name, map.Of(inner.Inputs)));
        }

        builder.Within = recurrence;
        Value[] outputs = scan.Body.Outputs.Select(o => map[o.Value]).ToArray();
        var all = new Value[node.Outputs.Count];
        for (int i = 0; i < scan.Carries; i++)
        {
            all[Scan.Before(i)] = Prepended(inputs[i]);
            all[Scan.After(i)] = Prepended(outputs[i]);
            all[Scan.Final(i)] = outputs[i];
        }

        for (int i = 0; i < scan.OutputSequences; i++)
        {
            all[scan.Sequence(i)] = Prepended(outputs[scan.Carries + i]);
        }

        return all;

        Value Leaf(BodyInput leaf) => leaf.Kind switch
        {
            BodyInputKind.Carry => inputs[leaf.Number],
            BodyInputKind.Invariant => inputs[scan.Carries + scan.Sequences + leaf.Number],
            _ => builder.Add(new Reshape(inputs[scan.Carries + leaf.Number].Shape.DropFirst()), inputs[scan.Carries + leaf.Number].Name, inputs[scan.Carries + leaf.Number]),
        };

        Value Prepended(Value step) => builder.Add(new Reshape(step.Shape.Prepend(scan.Extent)), step.Name, step);
    }
}
