using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Says what a kernel computes in the declaration's operations. What a composite was written in, and what a gradient was written in, is one
/// term, which reads whatever its nodes read of others: every operand that the kernel reads is an input of a term.
/// </summary>
internal sealed class Derivations
{
    private readonly Lowering _lowering;
    private readonly IReadOnlyDictionary<Value, int> _stored;
    private readonly IReadOnlyDictionary<Value, int> _reads;
    private readonly Node? _product;
    private readonly List<Node> _nodes;
    private readonly Dictionary<Node, object> _groups = [];

    private Derivations(Lowering lowering, IReadOnlyDictionary<Value, int> stored, IReadOnlyDictionary<Value, int> reads, Node? product)
    {
        (_lowering, _stored, _reads, _product) = (lowering, stored, reads, product);
        _nodes = [.. Computed().OrderBy(lowering.PositionOf)];
    }

    /// <summary>What a kernel of fused nodes computes.</summary>
    /// <param name="lowering">The graph that is lowered.</param>
    /// <param name="stored">The values that the kernel stores, and the operands that it stores them in.</param>
    /// <param name="reads">The values that it reads from memory, and the operands that they are.</param>
    /// <param name="product">The product that it computes of its first two operands; null for none.</param>
    public static Derivation Of(Lowering lowering, IReadOnlyDictionary<Value, int> stored, IReadOnlyDictionary<Value, int> reads, Node? product = null)
    {
        var derivations = new Derivations(lowering, stored, reads, product);
        derivations.Group();
        return new Derivation(lowering.OriginsOf(stored.Keys.Select(v => v.Node)), derivations.Terms());
    }

    /// <summary>What a kernel computes that is one node's own.</summary>
    public static Derivation Of(Node node, IReadOnlyList<KernelOperand> operands)
    {
        Origin origin = node.Origin;
        string mnemonic = origin.IsGradient ? origin.Mnemonic + "'" : node.Op.Mnemonic;
        bool hasRoles = operands.Count(o => !o.IsWritten && o.Access.Element == ElementType.Float32) > 1;
        IEnumerable<TermInput> inputs = Indices(operands, written: false).Select(i => TermInput.OfOperand(i, hasRoles ? operands[i].Name : null));
        return new Derivation([origin], [new Term(TermKind.Function, node.Name, mnemonic, null, [.. inputs], [.. Indices(operands, written: true)])]);
    }

    /// <summary>What a kernel computes that puts what it reads, or a number, somewhere else.</summary>
    public static Derivation OfCopy(string name, Value? source, double constant)
        => new([], [new Term(TermKind.Copy, name, "", null, [source is { } value ? TermInput.OfOperand(0, LabelOf(value)) : TermInput.OfNumber(TextOf(constant))], [source is null ? 0 : 1])]);

    /// <summary>What a view is called, without the scope; null for what is none, and for parts of gradients, which are called after their wholes.</summary>
    public static string? LabelOf(Value value) => value.Op is ViewOperator && !value.Name.StartsWith("d ", StringComparison.Ordinal) ? value.Name.Substring(value.Name.LastIndexOf('.') + 1) : null;

    private static IEnumerable<int> Indices(IReadOnlyList<KernelOperand> operands, bool written) => Enumerable.Range(0, operands.Count).Where(i => operands[i].IsWritten == written);

    private static string TextOf(double number) => number.ToString("G6", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>The nodes that the kernel computes, those among them that it computes again.</summary>
    private HashSet<Node> Computed()
    {
        var found = new HashSet<Node>();
        var pending = new Stack<Node>(_stored.Keys.Select(v => v.Node));
        while (pending.Count > 0)
        {
            Node node = pending.Pop();
            if (found.Add(node))
            {
                foreach (Value input in InputsOf(node).Where(i => !IsLeaf(i)))
                {
                    pending.Push(input.Node);
                }
            }
        }

        return found;
    }

    // What only says how a value is looked at goes without saying.
    private Value Seen(Value value)
    {
        while (!_reads.ContainsKey(value) && !_stored.ContainsKey(value) && value.Op is ViewOperator or BroadcastTo)
        {
            value = value.Node.Inputs[0];
        }

        return value;
    }

    private IEnumerable<Value> InputsOf(Node node) => node == _product ? [] : node.Inputs.Select(Seen);

    private bool IsLeaf(Value value) => _reads.ContainsKey(value) || value.Op is LeafOperator;

    private void Group()
    {
        foreach (Node node in _nodes)
        {
            _groups[node] = node == _product || node.Within is null ? node : node.Within;
        }

        // A term is one value to those that read it, or the sum of all those that one sum reads.
        foreach (IGrouping<object, Node> group in _nodes.GroupBy(n => _groups[n]).ToArray())
        {
            Node[] read = [.. group.Where(n => !IsStored(n) && ReadersOf([n]).Any(r => IsOther(r, group.Key)))];
            if (read.Length > 1 && !(ReadersOf(read).Where(r => IsOther(r, group.Key)).Select(r => _groups[r]).Distinct().ToArray() is { Length: 1 } readers && IsSum([.. _nodes.Where(n => _groups[n].Equals(readers[0]))])))
            {
                Regroup(group, n => n);
            }
        }

        if (!TryOrder(out _))
        {
            Regroup(_nodes, n => n);
        }
    }

    private static bool IsSum(IReadOnlyList<Node> nodes) => nodes.All(n => n.Op is Add);

    /// <summary>Whether a node is of another operation than a group, and not of its gradient, which says what the operation is computed from instead.</summary>
    private bool IsOther(Node node, object group) => !_groups[node].Equals(group) && !IsGradientOf(_groups[node], group);

    private bool IsGradientOf(object gradient, object group)
        => gradient is Origin { IsGradient: true } own && (group as Origin ?? (group as Node)?.Origin) is { IsGradient: false } forward && !(group is Node node && node == _product)
            && (own.Mnemonic, own.Name) == (forward.Mnemonic, forward.Name);

    private void Regroup(IEnumerable<Node> nodes, Func<Node, object> group)
    {
        foreach (Node node in nodes)
        {
            _groups[node] = group(node);
        }
    }

    private bool IsStored(Node node) => _stored.Keys.Any(v => v.Node == node);

    /// <summary>The nodes outside of some that read them.</summary>
    private IEnumerable<Node> ReadersOf(IEnumerable<Node> nodes)
    {
        var members = new HashSet<Node>(nodes);
        return _nodes.Where(n => !members.Contains(n) && InputsOf(n).Any(i => !IsLeaf(i) && members.Contains(i.Node)));
    }

    /// <summary>The groups, each behind those that it reads; false where two read each other.</summary>
    private bool TryOrder(out List<object> order)
    {
        var done = new List<object>();
        var state = new Dictionary<object, bool>();
        bool acyclic = true;
        ILookup<object, Node> members = _nodes.ToLookup(n => _groups[n]);
        void Visit(object group)
        {
            if (state.TryGetValue(group, out bool isDone))
            {
                acyclic &= isDone;
                return;
            }

            state[group] = false;
            foreach (object input in members[group].SelectMany(InputsOf).Where(i => !IsLeaf(i)).Select(i => _groups[i.Node]).Where(g => !g.Equals(group)).Distinct())
            {
                Visit(input);
            }

            state[group] = true;
            done.Add(group);
        }

        foreach (IGrouping<object, Node> group in members)
        {
            Visit(group.Key);
        }

        order = done;
        return acyclic;
    }

    private Term[] Terms()
    {
        TryOrder(out List<object> order);
        ILookup<object, Node> members = _nodes.ToLookup(n => _groups[n]);
        return [.. order.Select(group => TermOf([.. members[group]], group, order))];
    }

    private Term TermOf(IReadOnlyList<Node> nodes, object group, List<object> order)
    {
        int[] stored = [.. _stored.Where(s => nodes.Contains(s.Key.Node)).Select(s => s.Value).OrderBy(o => o)];
        Node last = nodes[nodes.Count - 1];
        if (last == _product)
        {
            return new Term(TermKind.Product, last.Name, last.Op.Mnemonic, null, [TermInput.OfOperand(0), TermInput.OfOperand(1)], [.. stored]);
        }

        IReadOnlyList<Node> all = Expanded(nodes, group);
        TermKind kind = all.Count == 1 ? TermKind.Operator : IsSum(all) ? TermKind.Sum : TermKind.Function;
        IEnumerable<Value> inputs = all.SelectMany(InputsOf).Where(i => IsLeaf(i) || !all.Contains(i.Node));
        if (kind == TermKind.Function)
        {
            inputs = inputs.Where(i => i.Op is not Constant).Distinct();
        }

        var seen = new HashSet<int>();
        TermInput[] read = [.. inputs.Select(i => (Value: i, Input: InputOf(i, order))).Where(i => i.Input.Term < 0 || seen.Add(i.Input.Term) || kind == TermKind.Operator || !IsSeveral(order[i.Input.Term])).Select(i => i.Input)];
        string mnemonic = group is Origin origin ? origin.Mnemonic + (origin.IsGradient ? "'" : "") : last.Op.Mnemonic;
        return new Term(kind, last.Name, mnemonic, kind == TermKind.Operator ? last.Op : null, [.. kind == TermKind.Function ? read.Distinct() : read], [.. stored]);
    }

    /// <summary>The nodes of a group, with those of the operation whose gradient they are that they read.</summary>
    private IReadOnlyList<Node> Expanded(IReadOnlyList<Node> nodes, object group)
    {
        var all = new HashSet<Node>(nodes);
        var pending = new Stack<Node>(nodes);
        while (pending.Count > 0)
        {
            foreach (Value input in InputsOf(pending.Pop()))
            {
                if (!IsLeaf(input) && !_stored.ContainsKey(input) && IsGradientOf(group, _groups[input.Node]) && all.Add(input.Node))
                {
                    pending.Push(input.Node);
                }
            }
        }

        return [.. all.OrderBy(_lowering.PositionOf)];
    }

    private bool IsSeveral(object group) => _nodes.Count(n => _groups[n].Equals(group) && !IsStored(n) && ReadersOf([n]).Any(r => IsOther(r, group))) > 1;

    private TermInput InputOf(Value value, List<object> order)
        => _reads.TryGetValue(value, out int operand) ? TermInput.OfOperand(operand, LabelOf(value))
            : _stored.TryGetValue(value, out int written) ? TermInput.OfOperand(written)
            : value.Op switch
            {
                Constant constant => TermInput.OfNumber(TextOf(constant.Value)),
                RuntimeScalar { Kind: RuntimeScalarKind.LossNormalizer } => TermInput.OfNumber("loss_normalizer"),
                RuntimeScalar => TermInput.OfNumber("gradient_scale"),
                _ => TermInput.OfTerm(order.IndexOf(_groups[value.Node])),
            };
}
