using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>Replaces dropout by the identity, for evaluation. Guarantees: no dropout is left, in scan bodies neither.</summary>
internal static class RemoveDropout
{
    public static ModelGraph Run(ModelGraph graph)
        => !graph.Contains<Dropout>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs) => node.Op switch
        {
            Dropout => inputs,
            Scan scan => builder.AddMany(scan with { Body = Run(scan.Body) }, node.Name, inputs),
            _ => null,
        });
}
