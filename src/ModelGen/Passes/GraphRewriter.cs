using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

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
        Action<GraphBuilder, Dictionary<Value, Value>>? finish = null,
        bool keepOutputs = true,
        Func<GraphBuilder, StateUpdate, Value, Value>? update = null)
    {
        var builder = new GraphBuilder();
        var map = new Dictionary<Value, Value>(graph.Nodes.Count);
        foreach (Node node in graph.Nodes)
        {
            var inputs = new Value[node.Inputs.Count];
            for (int i = 0; i < inputs.Length; i++)
            {
                inputs[i] = map[node.Inputs[i]];
            }

            builder.Within = node.Within;
            builder.Recomputed = node.Recomputed;
            IReadOnlyList<Value> results = replace(builder, node, inputs) ?? builder.AddMany(node.Op, node.Name, inputs);
            for (int i = 0; i < results.Count; i++)
            {
                map[new Value(node, i)] = results[i];
            }
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
