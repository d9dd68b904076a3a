using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>Replaces every composite operator by the operators it is written in. Guarantees: none is left, in scan bodies neither.</summary>
internal static class ExpandComposites
{
    public static ModelGraph Run(ModelGraph graph)
    {
        ModelGraph current = graph;
        while (current.Contains<CompositeOperator>())
        {
            current = GraphRewriter.Rewrite(current, (builder, node, inputs) =>
            {
                if (node.Op is CompositeOperator composite)
                {
                    builder.Within = node.Origin;
                    return composite.Expand(builder, node.Name, inputs);
                }

                return node.Op is Scan scan ? builder.AddMany(scan with { Body = Run(scan.Body) }, node.Name, inputs) : null;
            });
        }

        return current;
    }
}
