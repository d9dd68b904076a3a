using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Puts literals (or, for time, a symbol with another maximum) in the place of the symbolic extents: the three
/// execution plans of a model are three bindings of one graph.
/// Guarantees: no extent of the result is symbolic but time, and that only where it was bound to a symbol.
/// </summary>
internal static class BindExtents
{
    public static ModelGraph Run(ModelGraph graph, Dim batch, Dim time)
    {
        return GraphRewriter.Rewrite(graph, (builder, node, inputs) => builder.AddMany(Bind(node.Op), node.Name, inputs));

        Operator Bind(Operator op) => op switch
        {
            Input input => input with { Type = BindType(input.Type) },
            StateRead state => state with { Shape = BindShape(state.Shape) },
            Constant constant => constant with { Shape = BindShape(constant.Shape) },
            Reshape reshape => reshape with { Shape = BindShape(reshape.Shape) },
            BroadcastTo broadcast => broadcast with { Shape = BindShape(broadcast.Shape) },
            ColumnSum sum => sum with { Shape = BindShape(sum.Shape) },
            RowsAtPosition rows => rows with { Time = BindDim(rows.Time) },
            BodyInput leaf => leaf with { Type = BindType(leaf.Type) },
            Scan scan => scan with { Extent = BindDim(scan.Extent), Body = Run(scan.Body, batch, time) },
            _ => op,
        };

        TensorType BindType(TensorType type) => type with { Shape = BindShape(type.Shape) };

        Shape BindShape(Shape shape) => shape.Select(BindDim);

        Dim BindDim(Dim dim) => dim.Symbol switch
        {
            ExtentSymbol.Batch => batch + dim.Plus,
            ExtentSymbol.Time => time + dim.Plus,
            _ => dim,
        };
    }
}
