using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Moves "the last row of f(x)" to "f of the last row of x" through every row-wise operator that nothing else reads, so
/// that the vocabulary head, and whatever else of the last layer comes after its mixing over time, runs for one row.
/// Guarantees: the same value, from fewer rows.
/// </summary>
internal static class SinkLastRow
{
    public static ModelGraph Run(ModelGraph graph)
    {
        // A value is wanted in its last row alone when every reader is a "last row", or row-wise and itself wanted so.
        ILookup<Value, Node> readers = graph.Nodes.SelectMany(n => n.Inputs.Select(i => (i, n))).ToLookup(p => p.i, p => p.n);
        var results = new HashSet<Value>(graph.Results);
        var single = new HashSet<Value>();
        foreach (Node node in graph.Nodes.Reverse())
        {
            var value = new Value(node, 0);
            if (CanSink(node) && !results.Contains(value) && readers[value].Any()
                && readers[value].All(r => r.Op is LastRow || (single.Contains(new Value(r, 0)) && r.Inputs.Select((input, i) => (input, i)).All(p => p.input != value || TakesLast(r, p.i)))))
            {
                single.Add(value);
            }
        }

        return GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
        {
            if (node.Op is LastRow && single.Contains(node.Inputs[0]))
            {
                return inputs;
            }

            if (!single.Contains(new Value(node, 0)))
            {
                return null;
            }

            Value[] last = node.Inputs.Select((input, i) => single.Contains(input) || !TakesLast(node, i) ? inputs[i] : builder.Add(new LastRow(), node.Name, inputs[i])).ToArray();
            return [builder.Add(node.Op, node.Name, last)];
        });
    }

    // The result must be one row of the same columns, whatever extents of one stand before it.
    private static bool CanSink(Node node)
        => node.Op.IsRowWise && node.Op is not BroadcastTo && node.Outputs.Count == 1 && node.Outputs[0].Element == ElementType.Float32
            && node.Inputs.Select((_, i) => i).Any(i => TakesLast(node, i));

    // Operands with the same rows give their last one; weights, vectors and scalars stay as they are.
    private static bool TakesLast(Node node, int input)
        => node.Inputs[input].Shape.Rank >= 2 && node.Inputs[input].Shape.Rows == node.Outputs[0].Shape.Rows && node.Inputs[input].Type.Element == ElementType.Float32
            && !(node.Op is MatMul && input > 0);
}
