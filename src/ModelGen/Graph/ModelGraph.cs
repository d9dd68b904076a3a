using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Graph;

/// <summary>One operation of a graph. Nodes are immutable; a pass that changes one makes a new graph.</summary>
internal sealed class Node(int id, Operator op, IReadOnlyList<Value> inputs, IReadOnlyList<TensorType> outputs, string name, Origin? within = null, Recomputed recomputed = default)
{
    public int Id { get; } = id;

    public Operator Op { get; } = op;

    public IReadOnlyList<Value> Inputs { get; } = inputs;

    public IReadOnlyList<TensorType> Outputs { get; } = outputs;

    /// <summary>Where the value comes from in the declaration's terms: <c>transformer.h.3.attn.c_attn</c>.</summary>
    public string Name { get; } = name;

    /// <summary>The operation that this node was written for, where it is not its own.</summary>
    public Origin? Within { get; } = within;

    /// <summary>The operation of the declaration that this node belongs to.</summary>
    public Origin Origin => Within ?? new Origin(Op.Mnemonic, Name, Inputs.Select(i => i.Name).ToArray());

    /// <summary>The node's results, in their order.</summary>
    public Value[] Results()
    {
        var results = new Value[Outputs.Count];
        for (int i = 0; i < results.Length; i++)
        {
            results[i] = new Value(this, i);
        }

        return results;
    }

    /// <summary>Whether and how the backward pass computes it again.</summary>
    public Recomputed Recomputed { get; } = recomputed;

    /// <summary>Nodes are one only if they are the same object; those of one graph differ in their identifier.</summary>
    public override int GetHashCode() => Id;

    public override string ToString() => $"%{Id} {Op.Mnemonic} {Name}";
}

/// <summary>
/// Recomputation (Chen et al. 2016): the values of a region are not kept for the backward pass but computed again in it, from what enters
/// the region. <paramref name="Region"/> names the region that a node is in, null for none; <paramref name="Copy"/> numbers the second
/// computation of a region, 0 for the first, which equal operators on equal inputs do not become one with.
/// </summary>
internal readonly record struct Recomputed(string? Region, int Copy);

/// <summary>One result of a node.</summary>
internal readonly record struct Value(Node Node, int Index)
{
    public bool Equals(Value other) => Node == other.Node && Index == other.Index;

    public override int GetHashCode() => (Node.Id * 4) + Index;

    public TensorType Type => Node.Outputs[Index];

    public Shape Shape => Type.Shape;

    public Operator Op => Node.Op;

    public string Name => Node.Name;

    /// <summary>The node's name and, where it has several results, which of them it is.</summary>
    public string OwnName => Op.ResultNames is { } names && names[Index].Length > 0 ? $"{Name}.{names[Index]}" : Name;

    public override string ToString() => Index == 0 ? $"%{Node.Id}" : $"%{Node.Id}.{Index}";
}

/// <summary>What a graph hands out under a name.</summary>
internal sealed record GraphOutput(string Name, Value Value);

/// <summary>A value that replaces a state's contents when the graph has run.</summary>
internal sealed record StateUpdate(string State, Value Value);

/// <summary>One contribution to a parameter's gradient; a tied parameter has several.</summary>
internal sealed record GradientContribution(string Parameter, Value Value);

/// <summary>A static single-assignment tensor program, in execution order.</summary>
internal sealed class ModelGraph(
    IReadOnlyList<Node> nodes,
    IReadOnlyList<GraphOutput> outputs,
    IReadOnlyList<StateUpdate> stateUpdates,
    IReadOnlyList<GradientContribution> gradients)
{
    public IReadOnlyList<Node> Nodes { get; } = nodes;

    public IReadOnlyList<GraphOutput> Outputs { get; } = outputs;

    public IReadOnlyList<StateUpdate> StateUpdates { get; } = stateUpdates;

    public IReadOnlyList<GradientContribution> Gradients { get; } = gradients;

    /// <summary>The graph of some nodes, in their order, which is that of their identifiers, without those that nothing needs.</summary>
    public static ModelGraph OfLive(IReadOnlyList<Node> nodes, IReadOnlyList<GraphOutput> outputs, IReadOnlyList<StateUpdate> stateUpdates, IReadOnlyList<GradientContribution> gradients)
    {
        var live = new bool[nodes.Count == 0 ? 0 : nodes[nodes.Count - 1].Id + 1];
        var pending = new Stack<Node>(outputs.Select(o => o.Value.Node).Concat(stateUpdates.Select(s => s.Value.Node)).Concat(gradients.Select(g => g.Value.Node)));
        while (pending.Count > 0)
        {
            Node node = pending.Pop();
            if (!live[node.Id])
            {
                live[node.Id] = true;
                foreach (Value input in node.Inputs)
                {
                    pending.Push(input.Node);
                }
            }
        }

        return new ModelGraph(nodes.Where(n => live[n.Id]).ToArray(), outputs, stateUpdates, gradients);
    }

    /// <summary>The graph with only some of its outputs; what only the others needed is gone.</summary>
    public ModelGraph WithOutputs(params string[] names)
        => OfLive(Nodes, [.. names.Select(name => new GraphOutput(name, Output(name)))], StateUpdates, Gradients);

    /// <summary>Whether an operator of a kind is in the graph or in the bodies of its scans.</summary>
    public bool Contains<TOperator>()
        where TOperator : Operator
        => Nodes.Any(n => n.Op is TOperator || (n.Op is Scan scan && scan.Body.Contains<TOperator>()));

    public Value Output(string name) => Outputs.First(o => o.Name == name).Value;

    public IEnumerable<Node> NodesOf<TOperator>()
        where TOperator : Operator
        => Nodes.Where(n => n.Op is TOperator);

    /// <summary>Everything that must be computed: outputs, state updates and gradients.</summary>
    public IEnumerable<Value> Results
        => Outputs.Select(o => o.Value).Concat(StateUpdates.Select(s => s.Value)).Concat(Gradients.Select(g => g.Value));
}

/// <summary>
/// Appends nodes to a graph under construction. Equal operators on equal inputs become one node, unless one is computed again, and names nest:
/// inside <c>using (b.Scope("h.0"))</c> a node called <c>ln_1</c> is <c>h.0.ln_1</c>.
/// </summary>
internal sealed class GraphBuilder
{
    private readonly List<Node> _nodes = [];
    private readonly EqualNodes _equal = new();
    private readonly List<GraphOutput> _outputs = [];
    private readonly List<StateUpdate> _stateUpdates = [];
    private readonly List<GradientContribution> _gradients = [];
    private string _scope = "";

    public IReadOnlyList<Node> Nodes => _nodes;

    /// <summary>The operation that the nodes added from now on belong to; null where each is one of its own.</summary>
    public Origin? Within { get; set; }

    /// <summary>What nodes that are added now carry; leaves carry nothing.</summary>
    public Recomputed Recomputed { get; set; }

    public IDisposable Scope(string name)
    {
        string outer = _scope;
        _scope = Qualify(name);
        return new Scoped(() => _scope = outer);
    }

    public string Qualify(string name) => _scope.Length == 0 ? name : name.Length == 0 ? _scope : _scope + "." + name;

    public Value Add(Operator op, string name, params Value[] inputs) => AddMany(op, name, inputs)[0];

    public Value[] AddMany(Operator op, string name, IReadOnlyList<Value> inputs)
    {
        Recomputed recomputed = op is LeafOperator ? default : Recomputed;
        int hash = EqualNodes.Hash(op, inputs, recomputed.Copy);
        if (_equal.Find(hash, op, inputs, recomputed.Copy) is not { } node)
        {
            node = new Node(_nodes.Count, op, inputs, op.Infer(TypesOf(inputs)), Qualify(name), Within, recomputed);
            _nodes.Add(node);
            _equal.Add(hash, node);
        }

        return node.Results();
    }

    /// <summary>Makes the nodes of a finished graph this builder's own, so that a pass can continue it.</summary>
    public ValueMap Import(ModelGraph graph)
    {
        var map = ValueMap.For(graph);
        foreach (Node node in graph.Nodes)
        {
            Copy(node, map);
        }

        return map;
    }

    /// <summary>Appends a copy of a node of another graph and notes its results in <paramref name="map"/>.</summary>
    public Value[] Copy(Node node, ValueMap map, Operator? op = null)
    {
        Within = node.Within;
        Recomputed = node.Recomputed;
        Value[] results = AddMany(op ?? node.Op, node.Name, map.Of(node.Inputs));
        Within = null;
        Recomputed = default;
        map.Set(node, results);
        return results;
    }

    public void Output(string name, Value value) => _outputs.Add(new GraphOutput(name, value));

    public void UpdateState(string state, Value value) => _stateUpdates.Add(new StateUpdate(state, value));

    public void AddGradient(string parameter, Value value) => _gradients.Add(new GradientContribution(parameter, value));

    /// <summary>The finished graph, without what no result needs.</summary>
    public ModelGraph Build() => ModelGraph.OfLive(_nodes, _outputs.ToArray(), _stateUpdates.ToArray(), _gradients.ToArray());

    private static TensorType[] TypesOf(IReadOnlyList<Value> values)
    {
        var types = new TensorType[values.Count];
        for (int i = 0; i < types.Length; i++)
        {
            types[i] = values[i].Type;
        }

        return types;
    }

    private sealed class Scoped(Action end) : IDisposable
    {
        public void Dispose() => end();
    }

    /// <summary>
    /// The builder's nodes by operator, inputs and computation. A dictionary with keys of three parts would be so large that every pass
    /// over a deep model left one for a full collection.
    /// </summary>
    private sealed class EqualNodes
    {
        private readonly List<(Node Node, int Hash, int Next)> _entries = [];
        private int[] _buckets = new int[64];

        public static int Hash(Operator op, IReadOnlyList<Value> inputs, int copy)
        {
            int hash = unchecked((op.GetHashCode() * 31) + copy);
            for (int i = 0; i < inputs.Count; i++)
            {
                hash = unchecked((hash * 31) + inputs[i].GetHashCode());
            }

            return hash;
        }

        public Node? Find(int hash, Operator op, IReadOnlyList<Value> inputs, int copy)
        {
            for (int i = _buckets[Bucket(hash)] - 1; i >= 0; i = _entries[i].Next)
            {
                if (_entries[i].Hash == hash && _entries[i].Node is { } node && node.Recomputed.Copy == copy && SameInputs(node.Inputs, inputs) && node.Op.Equals(op))
                {
                    return node;
                }
            }

            return null;
        }

        public void Add(int hash, Node node)
        {
            if (_entries.Count == _buckets.Length)
            {
                _buckets = new int[2 * _buckets.Length];
                for (int i = 0; i < _entries.Count; i++)
                {
                    _entries[i] = Link(_entries[i].Node, _entries[i].Hash, i);
                }
            }

            _entries.Add(Link(node, hash, _entries.Count));
        }

        private (Node Node, int Hash, int Next) Link(Node node, int hash, int index)
        {
            int bucket = Bucket(hash);
            (Node, int, int) entry = (node, hash, _buckets[bucket] - 1);
            _buckets[bucket] = index + 1;
            return entry;
        }

        // The multiplication spreads hashes that differ in their upper bits alone.
        private int Bucket(int hash) => (int)(unchecked((uint)hash * 2654435769u) >> 8) & (_buckets.Length - 1);

        private static bool SameInputs(IReadOnlyList<Value> a, IReadOnlyList<Value> b)
        {
            if (a.Count != b.Count)
            {
                return false;
            }

            for (int i = 0; i < a.Count; i++)
            {
                if (!a[i].Equals(b[i]))
                {
                    return false;
                }
            }

            return true;
        }
    }
}
