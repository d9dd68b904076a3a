using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Passes;

/// <summary>Copies a graph node by node and lets a pass answer for some of them.</summary>
internal static class GraphRewriter
{
    /// <param name="graph">The graph to copy.</param>
    /// <param name="replace">Given a node and its inputs in the copy, the results that take its place, or null to copy it.</param>
    /// <param name="finish">Appends to the copy once all nodes are there.</param>
    /// <param name="keepOutputs">Whether the copy hands out what the graph does, or only what <paramref name="finish"/> adds.</param>
    /// <param name="update">Given a state's update and its value in the copy, the value that takes its place; null for the same.</param>
    public static ModelGraph Rewrite(
        ModelGraph graph,
        Func<GraphBuilder, Node, IReadOnlyList<Value>, IReadOnlyList<Value>?> replace,
        Action<GraphBuilder, ValueMap>? finish = null,
        bool keepOutputs = true,
        Func<GraphBuilder, StateUpdate, Value, Value>? update = null)
    {
        var builder = new GraphBuilder();
        var map = ValueMap.For(graph);
        foreach (Node node in graph.Nodes)
        {
            Value[] inputs = map.Of(node.Inputs);
            builder.Within = node.Within;
            builder.Recomputed = node.Recomputed;
            map.Set(node, replace(builder, node, inputs) ?? builder.AddMany(node.Op, node.Name, inputs));
        }

        builder.Within = null;
        builder.Recomputed = default;
        foreach (GraphOutput output in keepOutputs ? graph.Outputs : [])
        {
            builder.Output(output.Name, map[output.Value]);
        }

        foreach (StateUpdate state in graph.StateUpdates)
        {
            Value value = map[state.Value];
            builder.UpdateState(state.State, update is null ? value : update(builder, state, value));
        }

        foreach (GradientContribution gradient in graph.Gradients)
        {
            builder.AddGradient(gradient.Parameter, map[gradient.Value]);
        }

        finish?.Invoke(builder, map);
        return builder.Build();
    }
}
