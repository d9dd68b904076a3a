using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Replaces every composite operator by the operators it is written in. Guarantees: none is left, in scan bodies neither; before differentiation, none but those that state their gradient.
/// </summary>
internal static class ExpandComposites
{
    public static ModelGraph Run(ModelGraph graph) => Run(graph, _ => true);

    /// <summary>For a graph that is differentiated next.</summary>
    public static ModelGraph BeforeDifferentiation(ModelGraph graph) => Run(graph, composite => !composite.HasGradient);

    private static ModelGraph Run(ModelGraph graph, Func<CompositeOperator, bool> expands)
    {
        ModelGraph current = graph;
        while (HasAny(current))
        {
            current = GraphRewriter.Rewrite(current, (builder, node, inputs) =>
            {
                if (node.Op is CompositeOperator composite && expands(composite))
                {
                    builder.Within = node.Origin;
                    return composite.Expand(builder, node.Name, inputs);
                }

                return node.Op is Scan scan ? builder.AddMany(scan with { Body = Run(scan.Body, expands) }, node.Name, inputs) : null;
            });
        }

        return current;

        bool HasAny(ModelGraph of) => of.Nodes.Any(node => (node.Op is CompositeOperator composite && expands(composite)) || (node.Op is Scan scan && HasAny(scan.Body)));
    }
}
