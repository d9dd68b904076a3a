using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Decides which nodes share a kernel and which values are stored.
/// <para>
/// Element-wise operators and row reductions over the same rows form clusters; a cluster may contain one matrix product,
/// whose epilogue the others then are, and no reduction beside it. A node joins a producer's cluster only if no path from
/// the cluster leads to it through the outside, so that the clusters can be put in order.
/// </para>
/// <para>
/// A value that another kernel needs is stored, unless it is cheaper to compute again from what is stored anyway: the
/// normalized input of a layer norm costs two operations, so the backward pass does not read it from memory. A sum of two
/// matrices is not cheaper, since two are read in the place of one: residual streams would grow into the sums of all layers.
/// </para>
/// </summary>
internal sealed class Fusion
{
    /// <summary>Above this many operations an element is worth storing rather than computing again.</summary>
    private const int RecomputeLimit = 6;

    private readonly ModelGraph _graph;

    /// <summary>Each node's place in the graph, by its identifier.</summary>
    private readonly int[] _places;
    private readonly Cluster?[] _clusters;

    // Of each node in no cluster, as a cluster's: above those of all that it needs.
    private readonly int[] _levels;
    private readonly HashSet<Value> _stored = [];

    // Whether a value is stored once another kernel needs it.
    private readonly Dictionary<Value, bool> _storedForOthers = [];
    private readonly ILookup<Node, Node> _consumers;
    private readonly Dictionary<Scan, Fusion> _bodies = [];
    private readonly IComparer<Node> _lowestLast;

    // The place of the node that is being given a cluster: those behind it have none yet.
    private int _current;

    private Fusion(ModelGraph graph)
    {
        _graph = graph;
        _consumers = graph.Nodes.SelectMany(n => n.Inputs.Select(i => (From: i.Node, To: n))).ToLookup(p => p.From, p => p.To);
        _clusters = new Cluster?[graph.Nodes.Count];
        _levels = new int[graph.Nodes.Count];
        _lowestLast = Comparer<Node>.Create((a, b) => LevelOf(b).CompareTo(LevelOf(a)));
        _places = new int[graph.Nodes.Count == 0 ? 0 : graph.Nodes[graph.Nodes.Count - 1].Id + 1];
        for (int i = 0; i < graph.Nodes.Count; i++)
        {
            _places[graph.Nodes[i].Id] = i;
        }
    }

    /// <param name="graph">A simple graph.</param>
    /// <param name="required">The values that are wanted in memory.</param>
    public static Fusion Run(ModelGraph graph, IEnumerable<Value> required)
    {
        var fusion = new Fusion(graph);
        fusion.FormClusters();
        fusion.ChooseStored(required);
        foreach (Node node in graph.NodesOf<Scan>())
        {
            var scan = (Scan)node.Op;
            if (!fusion._bodies.ContainsKey(scan))
            {
                fusion._bodies.Add(scan, Run(scan.Body, scan.Body.Results));
            }
        }

        return fusion;
    }

    /// <summary>What is decided for the body of one of the graph's scans.</summary>
    public Fusion OfBody(Scan scan) => _bodies[scan];

    public bool IsStored(Value value) => _stored.Contains(value);

    public Cluster? ClusterOf(Node node) => _clusters[IndexOf(node)];

    public int IndexOf(Node node) => _places[node.Id];

    public IEnumerable<Cluster> Clusters => _clusters.Where(c => c is not null).Select(c => c!).Distinct();

    /// <summary>Whether an operator's value is an expression that a row kernel or an epilogue can hold.</summary>
    public static bool IsRowDomain(Node node) => node.Op is ElementwiseOperator or RowReduction or MatMul;

    /// <summary>The base of a chain of views.</summary>
    public static Value Root(Value value)
    {
        while (value.Op is ViewOperator)
        {
            value = value.Node.Inputs[0];
        }

        return value;
    }

    private static (RowExtent Rows, int Columns) Domain(Node node)
    {
        Shape shape = node.Op is RowReduction ? node.Inputs[0].Shape : node.Outputs[0].Shape;
        return (shape.Rows, shape.Columns);
    }

    private void FormClusters()
    {
        foreach (Node node in _graph.Nodes)
        {
            _current = IndexOf(node);
            if (!IsRowDomain(node))
            {
                _levels[IndexOf(node)] = LevelAbove(node, null);
                continue;
            }

            (RowExtent rows, int columns) = Domain(node);
            Cluster? home = null;
            if (node.Op is not MatMul)
            {
                foreach (Cluster candidate in node.Inputs.Where(i => IsRowDomain(i.Node)).Select(i => _clusters[IndexOf(i.Node)]!)
                    .Distinct().OrderByDescending(c => c.LastIndex).ToArray())
                {
                    if (home is null)
                    {
                        home = Accepts(candidate, node, rows, columns) ? candidate : null;
                    }
                    else if (CanMerge(home, candidate) && node.Inputs.All(i => home.Nodes.Contains(i.Node) || candidate.Nodes.Contains(i.Node) || !DependsOn(i.Node, candidate)))
                    {
                        Merge(home, candidate, IndexOf(node) - 1);
                    }
                }
            }

            home ??= new Cluster(rows, columns);
            home.Add(node, IndexOf(node), columns);
            _clusters[IndexOf(node)] = home;
            Raise(home, LevelAbove(node, home), IndexOf(node));
        }
    }

    private int LevelOf(Node node) => _clusters[IndexOf(node)]?.Level ?? _levels[IndexOf(node)];

    /// <summary>One above the levels of all that a node needs outside a cluster.</summary>
    private int LevelAbove(Node node, Cluster? home)
    {
        int level = 0;
        foreach (Value input in node.Inputs)
        {
            if (home is null || !home.Nodes.Contains(input.Node))
            {
                level = Math.Max(level, LevelOf(input.Node) + 1);
            }
        }

        return level;
    }

    /// <summary>Raises a cluster to a level, and above it what needs the cluster, as far as the graph has been gone through.</summary>
    private void Raise(Cluster cluster, int level, int lastIndex)
    {
        if (level <= cluster.Level)
        {
            return;
        }

        cluster.Level = level;
        var raised = new Stack<Node>(cluster.Nodes);
        while (raised.Count > 0)
        {
            Node node = raised.Pop();
            Cluster? home = _clusters[IndexOf(node)];
            int above = LevelOf(node) + 1;
            foreach (Node consumer in _consumers[node])
            {
                int index = IndexOf(consumer);
                if (index > lastIndex || LevelOf(consumer) >= above || (home is not null && _clusters[index] == home))
                {
                    continue;
                }

                if (_clusters[index] is not { } other)
                {
                    _levels[index] = above;
                    raised.Push(consumer);
                    continue;
                }

                other.Level = above;
                foreach (Node member in other.Nodes)
                {
                    raised.Push(member);
                }
            }
        }
    }

    private bool Accepts(Cluster cluster, Node node, RowExtent rows, int columns)
    {
        if (node.Recomputed.Copy != 0 && node.Recomputed.Copy != cluster.Copy)
        {
            // What is computed again is so that nothing has to be kept until then.
            return false;
        }

        if (cluster.Rows != rows || (cluster.Columns != columns && columns != 1 && cluster.Columns != 1))
        {
            return false;
        }

        if ((node.Op is Dropout || cluster.HasDropout) && columns != cluster.Columns)
        {
            // A mask is a function of the element's position in its own matrix.
            return false;
        }

        if (cluster.MatMul is not null && (node.Op is RowReduction || columns != cluster.Columns))
        {
            return false;
        }

        if (cluster.MatMul is not null && !_consumers[node].Any(IsKernel)
            && node.Inputs.All(i => !cluster.Nodes.Contains(i.Node) || _consumers[i.Node].Any(c => c.Op is RowReduction || IsKernel(c))))
        {
            // What the node reads is stored in any case, and nobody needs the node itself in memory: its reader computes it.
            return false;
        }

        return node.Inputs.All(i => cluster.Nodes.Contains(i.Node) || !DependsOn(i.Node, cluster));

        static bool IsKernel(Node consumer) => !IsRowDomain(consumer) || consumer.Op is MatMul;
    }

    private bool CanMerge(Cluster a, Cluster b)
        => a.Copy == b.Copy && a.MatMul is null && b.MatMul is null && a.Rows == b.Rows && (a.Columns == b.Columns || !(a.HasDropout || b.HasDropout)) && (a.Columns == b.Columns || a.Columns == 1 || b.Columns == 1)
            && NoPathThroughOutside(a, b) && NoPathThroughOutside(b, a);

    private bool NoPathThroughOutside(Cluster from, Cluster to)
        => to.Nodes.All(n => n.Inputs.All(i => to.Nodes.Contains(i.Node) || from.Nodes.Contains(i.Node) || !DependsOn(i.Node, from)));

    /// <summary>
    /// Whether computing a node needs the cluster. The node's own cluster is computed as a whole, and so is every cluster on
    /// the way, so the question is asked of clusters and not of nodes. What lies nearest to the cluster is looked at first: from a backward pass, the way to a layer through that layer is short, and the one through the loss is as long as the model is deep.
    /// </summary>
    private bool DependsOn(Node node, Cluster cluster)
    {
        if (!IsReadByEarlier(cluster))
        {
            // What parameters alone make is low in the graph, so that looking for it would lead through all layers before.
            return false;
        }

        var pending = new List<Node>();
        var seen = new HashSet<object>();
        pending.Add(node);
        while (pending.Count > 0)
        {
            Node next = pending[pending.Count - 1];
            pending.RemoveAt(pending.Count - 1);
            Cluster? group = _clusters[IndexOf(next)];

            // A cluster's nodes lie far apart in the graph, so that what comes before another in it may still need it; levels know.
            if (LevelOf(next) <= cluster.Level || !seen.Add((object?)group ?? next))
            {
                continue;
            }

            int first = pending.Count;
            foreach (Node member in group is null ? [next] : (IEnumerable<Node>)group.Nodes)
            {
                foreach (Value input in member.Inputs)
                {
                    if (cluster.Nodes.Contains(input.Node))
                    {
                        return true;
                    }

                    pending.Add(input.Node);
                }
            }

            pending.Sort(first, pending.Count - first, _lowestLast);
        }

        return false;
    }

    /// <summary>Whether anything outside a cluster needs it, as far as the graph has been gone through.</summary>
    private bool IsReadByEarlier(Cluster cluster)
    {
        foreach (Node member in cluster.Nodes)
        {
            foreach (Node consumer in _consumers[member])
            {
                if (IndexOf(consumer) < _current && !cluster.Nodes.Contains(consumer))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private void Merge(Cluster into, Cluster from, int lastIndex)
    {
        foreach (Node node in from.Nodes)
        {
            into.Add(node, IndexOf(node), Domain(node).Columns);
            _clusters[IndexOf(node)] = into;
        }

        // Whichever was lower is raised to the other, and what needs it above it.
        int level = Math.Max(into.Level, from.Level);
        into.Level = -1;
        Raise(into, level, lastIndex);
    }

    private void ChooseStored(IEnumerable<Value> required)
    {
        // Which kernels use a value: a cluster, or a kernel of its own that takes expressions (a column sum).
        var users = new Dictionary<Value, HashSet<object>>();
        foreach (Value value in required)
        {
            _stored.Add(Root(value));
        }

        HashSet<object> UsersOf(Value value)
        {
            if (!users.TryGetValue(value, out HashSet<object>? set))
            {
                users.Add(value, set = []);
            }

            return set;
        }

        foreach (Node node in _graph.Nodes.Reverse())
        {
            Cluster? home = _clusters[IndexOf(node)];
            if (home is not null && node.Op is not MatMul)
            {
                var value = new Value(node, 0);
                HashSet<object> uses = UsersOf(value);
                bool elsewhere = uses.Any(u => !ReferenceEquals(u, home));
                if (elsewhere && !_stored.Contains(value) && MustStore(value, home))
                {
                    _stored.Add(value);
                }

                var computing = new HashSet<object>();
                if (_stored.Contains(value) || uses.Contains(home) || node.Op is RowReduction)
                {
                    computing.Add(home);
                }

                if (!_stored.Contains(value))
                {
                    computing.UnionWith(uses);
                }

                foreach (Value input in node.Inputs)
                {
                    Use(input, computing, node);
                }
            }
            else if (node.Op is ColumnSum)
            {
                Use(node.Inputs[0], [node], node);
            }
            else
            {
                // The operands of every other kernel, and whatever is looked at through a view, are in memory.
                foreach (Value input in node.Inputs)
                {
                    _stored.Add(Root(input));
                }
            }
        }

        foreach (Cluster cluster in Clusters)
        {
            foreach (Node node in cluster.Nodes)
            {
                var value = new Value(node, 0);
                if (node.Op is MatMul && users.TryGetValue(value, out HashSet<object>? uses) && uses.Any(u => !ReferenceEquals(u, cluster)))
                {
                    _stored.Add(value);
                }
            }
        }

        void Use(Value input, IEnumerable<object> by, Node node)
        {
            if (input.Op is ViewOperator || !(IsRowDomain(input.Node) && SameRows(input, node)))
            {
                if (input.Op is not (Constant or RuntimeScalar))
                {
                    _stored.Add(Root(input));
                }
            }
            else
            {
                UsersOf(input).UnionWith(by);
            }
        }
    }

    // A value of other rows (or one that stretches over columns from another matrix) is read from memory.
    private static bool SameRows(Value input, Node node)
    {
        Shape domain = node.Op is RowReduction or ColumnSum ? node.Inputs[0].Shape : node.Outputs[0].Shape;
        return input.Shape.Rows == domain.Rows && (input.Shape.Columns == domain.Columns || input.Shape.Columns == 1);
    }

    private bool MustStore(Value value, Cluster home)
    {
        if (!_storedForOthers.TryGetValue(value, out bool stored))
        {
            stored = value.Op is RowReduction || value.Shape.Columns == 1 || home.MatMul is not null || Cost(value, home, []) > RecomputeLimit || !IsOfOneStored(value, home);
            _storedForOthers.Add(value, stored);
        }

        return stored;
    }

    /// <summary>Whether a value is computed from one matrix at the most, which is in memory, besides columns and what all rows share.</summary>
    private bool IsOfOneStored(Value value, Cluster home)
    {
        var read = new HashSet<Value>();
        var pending = new Stack<Node>();
        pending.Push(value.Node);
        while (pending.Count > 0)
        {
            Node node = pending.Pop();
            foreach (Value input in node.Inputs)
            {
                if (input.Shape.Columns == 1 || !SameRows(input, node))
                {
                    continue;
                }

                if (input.Op is ElementwiseOperator && home.Nodes.Contains(input.Node) && !_stored.Contains(input))
                {
                    pending.Push(input.Node);
                    continue;
                }

                read.Add(Root(input));
                if (read.Count > 1 || (_clusters[IndexOf(input.Node)] is { } other && other != home && !_stored.Contains(input) && !MustStore(input, other)))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private int Cost(Value value, Cluster home, HashSet<Value> seen)
    {
        if (_stored.Contains(value) && seen.Count > 0 || !home.Nodes.Contains(value.Node) || value.Op is not ElementwiseOperator op || !seen.Add(value))
        {
            return 0;
        }

        int own = ExprTransforms.Cost(op.Express(Enumerable.Range(0, op.Arity).Select(i => (Expr)new OperandExpr(i)).ToArray()));
        return own + value.Node.Inputs.Where(i => i.Shape.Columns > 1).Sum(i => Cost(i, home, seen));
    }
}

/// <summary>Nodes that one kernel computes.</summary>
internal sealed class Cluster(RowExtent rows, int columns)
{
    private readonly List<int> _indices = [];

    public RowExtent Rows { get; } = rows;

    /// <summary>The columns of the widest member; one while all are row scalars.</summary>
    public int Columns { get; private set; } = columns;

    public HashSet<Node> Nodes { get; } = [];

    public IReadOnlyList<int> Indices => _indices;

    /// <summary>Above those of all clusters and nodes that it needs, so that nothing needs what is not below it.</summary>
    public int Level { get; set; }

    public int LastIndex { get; private set; }

    public Node? MatMul { get; private set; }

    public bool HasDropout { get; private set; }

    /// <summary>Which computation of its first member it is, where that is computed again.</summary>
    public int Copy { get; private set; }

    public void Add(Node node, int index, int columns)
    {
        Copy = _indices.Count == 0 ? node.Recomputed.Copy : Copy;
        Nodes.Add(node);
        _indices.Add(index);
        LastIndex = Math.Max(LastIndex, index);
        Columns = Math.Max(Columns, columns);
        HasDropout |= node.Op is Dropout;
        if (node.Op is MatMul)
        {
            MatMul = node;
        }
    }
}
