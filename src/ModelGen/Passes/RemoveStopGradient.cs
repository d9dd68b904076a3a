using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Puts the input of every <see cref="StopGradient"/> in its place: for graphs that are differentiated no more, which are the only ones in
/// which it does nothing.
/// Guarantees: the same values; no such operator in the result or in the bodies of its scans.
/// </summary>
internal static class RemoveStopGradient
{
    public static ModelGraph Run(ModelGraph graph)
        => !graph.Contains<StopGradient>() ? graph : GraphRewriter.Rewrite(graph, (builder, node, inputs) => node.Op switch
        {
            StopGradient => [inputs[0]],
            Scan scan => builder.AddMany(scan with { Body = Run(scan.Body) }, node.Name, inputs),
            _ => null,
        });
}
