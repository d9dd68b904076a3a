using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Local rewrites that never change a value but by rounding: reshapes and broadcasts of themselves, sums with zero, factors of factors, slices of
/// concatenations, reductions of one column, identities. Equal nodes are one already, and unused ones are gone, by construction of the graph.
/// Guarantees: the results' values are those of the input graph, but that two factors are one, rounded once, and a negative zero to which zero is added stays one; so are the gradients of what is differentiated afterwards.
/// </summary>
internal static class Simplify
{
    public static ModelGraph Run(ModelGraph graph)
        => GraphRewriter.Rewrite(graph, (builder, node, inputs) => Replace(builder, node, inputs) is { } value ? [value] : null);

    private static Value? Replace(GraphBuilder builder, Node node, IReadOnlyList<Value> inputs)
    {
        switch (node.Op)
        {
            case Affine { Scale: 1, Shift: 0 }:
                return inputs[0];
            case Affine outer when inputs[0].Op is Affine { Shift: 0 } inner && outer.Shift == 0:
                return builder.Add(new Affine(inner.Scale * outer.Scale, 0), node.Name, inputs[0].Node.Inputs[0]);
            case Add when IsZero(inputs[1]) && inputs[0].Type.Equals(node.Outputs[0]):
                return inputs[0];
            case Add when IsZero(inputs[0]) && inputs[1].Type.Equals(node.Outputs[0]):
                return inputs[1];
            case Reshape when inputs[0].Type.Equals(node.Outputs[0]):
                return inputs[0];
            case Reshape reshape when inputs[0].Op is Reshape:
                return builder.Add(reshape, node.Name, inputs[0].Node.Inputs[0]);
            case Reshape reshape when inputs[0].Op is BroadcastTo && inputs[0].Node.Inputs[0].Shape.MaximumElements == 1:
                Value scalar = inputs[0].Node.Inputs[0];
                return builder.Add(new BroadcastTo(reshape.Shape), node.Name, scalar.Shape.Rank > reshape.Shape.Rank ? builder.Add(new Reshape(Shape.Scalar), node.Name, scalar) : scalar);
            case TransposeIndices when inputs[0].Shape.Dims.Any(d => d == (Dim)1):
                return builder.Add(new Reshape(node.Outputs[0].Shape), node.Name, inputs[0]);
            case BroadcastTo broadcast when inputs[0].Type.Equals(node.Outputs[0]):
                return inputs[0];
            case BroadcastTo broadcast when inputs[0].Op is BroadcastTo:
                return builder.Add(broadcast, node.Name, inputs[0].Node.Inputs[0]);
            case Constant or BroadcastTo when node.Op is BroadcastTo b && inputs[0].Op is Constant c:
                return builder.Add(new Constant(c.Value, b.Shape), node.Name);
            case SliceColumns { Offset: 0 } slice when slice.Length == inputs[0].Shape.Columns:
                return inputs[0];
            case SliceRows { Offset: 0 } rows when inputs[0].Shape[0] == (Graph.Dim)rows.Length:
                return inputs[0];
            case SliceColumns slice when inputs[0].Op is SliceColumns inner:
                return builder.Add(new SliceColumns(inner.Offset + slice.Offset, slice.Length), node.Name, inputs[0].Node.Inputs[0]);
            case SliceColumns slice when inputs[0].Op is ConcatColumns:
                int offset = 0;
                foreach (Value part in inputs[0].Node.Inputs)
                {
                    if (offset == slice.Offset && part.Shape.Columns == slice.Length)
                    {
                        return part;
                    }

                    offset += part.Shape.Columns;
                }

                return null;
            case RowReduction when inputs[0].Shape.Columns == 1:
                return inputs[0];
            case ConcatColumns when inputs.Count == 1:
                return inputs[0];
            default:
                return null;
        }
    }

    private static bool IsZero(Value value) => value.Op is Constant { Value: 0 };
}
