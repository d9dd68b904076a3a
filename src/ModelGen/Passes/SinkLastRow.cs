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
        for (ModelGraph current = graph; ;)
        {
            ILookup<Value, Node> readers = current.Nodes.SelectMany(n => n.Inputs.Select(i => (i, n))).ToLookup(p => p.i, p => p.n);
            bool moved = false;
            current = GraphRewriter.Rewrite(current, (builder, node, inputs) =>
            {
                Node? producer = node.Op is LastRow ? inputs[0].Node : null;
                if (producer is null || producer.Op is BroadcastTo || !producer.Op.IsRowWise || readers[node.Inputs[0]].Any(r => r.Op is not LastRow))
                {
                    return null;
                }

                moved = true;
                RowExtent rows = inputs[0].Shape.Rows;
                Value[] last = producer.Inputs.Select(i => Last(builder, i, rows, producer.Name)).ToArray();
                return [builder.Add(producer.Op, producer.Name, last)];
            });
            if (!moved)
            {
                return current;
            }
        }
    }

    // Operands with the same rows give their last one; parameters and scalars stay as they are.
    private static Value Last(GraphBuilder builder, Value input, RowExtent rows, string name)
        => input.Shape.Rank >= 2 && input.Op is not Parameter && input.Shape.Rows == rows ? builder.Add(new LastRow(), name, input) : input;
}
