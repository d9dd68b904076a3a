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

                // Operands with the same rows give their last one; weights, vectors and scalars stay as they are.
                RowExtent rows = inputs[0].Shape.Rows;
                Value[] last = producer.Inputs.Select((input, i) => input.Shape.Rank >= 2 && input.Shape.Rows == rows && !(producer.Op is MatMul && i > 0)
                    ? builder.Add(new LastRow(), producer.Name, input)
                    : input).ToArray();
                Value result = builder.Add(producer.Op, producer.Name, last);
                if (!result.Type.Equals(node.Outputs[0]))
                {
                    return null;
                }

                moved = true;
                return [result];
            });
            if (!moved)
            {
                return current;
            }
        }
    }
}
