using System;
using System.Collections.Generic;

namespace ModelGen.Compiler.Graph;

/// <summary>
/// For the values of one graph, those of another that stand for them. Nodes are found by their identifiers, which keeps the maps of large
/// graphs small: every pass makes one, and a table beyond 85,000 bytes would be collected only with everything else.
/// </summary>
/// <param name="capacity">The number of identifiers that are expected.</param>
internal sealed class ValueMap(int capacity)
{
    private Node?[] _nodes = new Node?[capacity];
    private IReadOnlyList<Value>?[] _results = new IReadOnlyList<Value>?[capacity];

    /// <exception cref="KeyNotFoundException">Nothing stands for the value.</exception>
    public Value this[Value value]
    {
        get
        {
            int id = value.Node.Id;
            return id < _nodes.Length && _nodes[id] == value.Node ? _results[id]![value.Index] : throw new KeyNotFoundException($"nothing stands for {value.Node}");
        }
    }

    /// <summary>An empty map for the values of a graph.</summary>
    public static ValueMap For(ModelGraph graph) => new(graph.Nodes.Count == 0 ? 0 : graph.Nodes[graph.Nodes.Count - 1].Id + 1);

    /// <summary>Says what stands for a node's results.</summary>
    public void Set(Node node, IReadOnlyList<Value> results)
    {
        if (node.Id >= _nodes.Length)
        {
            int length = Math.Max(node.Id + 1, 2 * _nodes.Length);
            Array.Resize(ref _nodes, length);
            Array.Resize(ref _results, length);
        }

        (_nodes[node.Id], _results[node.Id]) = (node, results);
    }

    /// <summary>What stands for each of some values.</summary>
    public Value[] Of(IReadOnlyList<Value> values)
    {
        var mapped = new Value[values.Count];
        for (int i = 0; i < mapped.Length; i++)
        {
            mapped[i] = this[values[i]];
        }

        return mapped;
    }
}
