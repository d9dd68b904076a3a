using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Puts literals, or symbols with other maxima, in the place of named extents: the execution plans of a model are bindings of one graph.
/// Guarantees: no extent of the result has a name that was bound to a literal; extents that were not named stay as they are.
/// </summary>
internal static class BindExtents
{
    public static ModelGraph Run(ModelGraph graph, Dim batch, Dim time)
        => Run(graph, new Dictionary<string, Dim> { [ExtentNames.Batch] = batch, [ExtentNames.Time] = time });

    public static ModelGraph Run(ModelGraph graph, IReadOnlyDictionary<string, Dim> bindings)
        => Run(graph, dim => dim.Symbol is { } symbol && bindings.TryGetValue(symbol, out Dim bound) ? bound + dim.Plus : dim);

    /// <summary>Binds the extents of every operator, as the operator says itself.</summary>
    public static ModelGraph Run(ModelGraph graph, Func<Dim, Dim> bind)
        => GraphRewriter.Rewrite(graph, (builder, node, inputs) => builder.AddMany(node.Op.BindExtents(bind), node.Name, inputs));
}
