using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// Back-propagation through time: a scan in the other direction, whose carries are the cotangents of the first one's. What
/// its body needs of the forward pass it reads from the saved sequences (see <see cref="Scan.SaveForBackward"/>), and what
/// flows to an invariant is contracted over all time steps in one operation after it.
/// </summary>
internal sealed class ScanGradient
{
    private readonly Scan _scan;
    private readonly GradientContext _context;

    // The backward body, and what is outside of its leaves.
    private readonly GraphBuilder _body = new();
    private readonly ReverseMode _engine;
    private readonly List<Value> _sequences = [];
    private readonly List<Value> _invariants = [];

    // The forward body's values that the backward one reads, and the number of the output sequence that holds one.
    private readonly Dictionary<Value, Value> _leaves = [];
    private readonly Dictionary<Value, int> _saved = [];

    // What the backward body computes, in the order of its outputs.
    private readonly List<Value> _results = [];
    private readonly Dictionary<Value, int> _resultOf = [];

    public ScanGradient(Scan scan, GradientContext context)
    {
        (_scan, _context) = (scan, context);
        _engine = new ReverseMode(_body, Forward);
        for (int i = 0; i < scan.OutputSequences; i++)
        {
            _saved[scan.Body.Outputs[scan.Carries + i].Value] = i;
        }
    }

    public void Run()
    {
        var needed = new HashSet<(BodyInputKind, int)>(Enumerable.Range(0, _context.Node.Inputs.Count).Where(_context.Needs).Select(_scan.KindOf));
        HashSet<(BodyInputKind Kind, int Number)> flowing = Flowing(needed);
        int[] carries = Enumerable.Range(0, _scan.Carries).Where(i => flowing.Contains((BodyInputKind.Carry, i))).ToArray();
        Seed(carries);
        _engine.Run(_scan.Body, n => n.Op is BodyInput b && flowing.Contains((b.Kind, b.Number)));

        Value[] initial = carries.Select(NextCarry).ToArray();
        (Dictionary<int, int> ofSequences, List<(int Input, Value Contribution)> toInvariants) = Collect(needed);
        foreach ((_, Value contribution) in toInvariants)
        {
            foreach (Value read in ContractsRows(contribution.Op) ? contribution.Node.Inputs : [contribution])
            {
                if (read.Op is not BodyInput)
                {
                    ResultOf(read);
                }
            }
        }

        for (int i = 0; i < _results.Count; i++)
        {
            _body.Output(i < carries.Length ? _scan.Body.Outputs[carries[i]].Name : "y" + i.ToString(CultureInfo.InvariantCulture), _results[i]);
        }

        var backward = new Scan(_body.Build(), _scan.Extent, !_scan.Reverse, carries.Length, _sequences.Count);
        Value[] outputs = _context.AddAll(backward, [.. initial, .. _sequences, .. _invariants]);
        for (int slot = 0; slot < carries.Length; slot++)
        {
            _context.Accumulate(carries[slot], outputs[Scan.Final(slot)]);
        }

        Value SequenceOf(int result) => outputs[backward.Sequence(result - carries.Length)];
        foreach (KeyValuePair<int, int> entry in ofSequences)
        {
            _context.Accumulate(entry.Key, SequenceOf(entry.Value));
        }

        foreach ((int input, Value contribution) in toInvariants)
        {
            Value Outside(Value value) => value.Op switch
            {
                BodyInput { Kind: BodyInputKind.Carry } b => outputs[Scan.Before(b.Number)],
                BodyInput { Kind: BodyInputKind.Sequence } b => _sequences[b.Number],
                BodyInput b => throw new GraphException($"{_context.Node}: the gradient of an invariant contracts the invariant {b.Number} over time"),
                _ => SequenceOf(ResultOf(value)),
            };
            _context.Accumulate(input, () => ContractsRows(contribution.Op)
                ? _context.Add(contribution.Op, contribution.Node.Inputs.Select(Outside).ToArray())
                : _context.Add(new ColumnSum(contribution.Shape), Outside(contribution)));
        }
    }

    // A carry needs a cotangent when its initial value does, or when anything that does flows into it.
    private HashSet<(BodyInputKind Kind, int Number)> Flowing(HashSet<(BodyInputKind, int)> needed)
    {
        var flowing = new HashSet<(BodyInputKind, int)>(needed);
        for (bool changed = true; changed;)
        {
            changed = false;
            HashSet<Node> reached = _scan.Reached(flowing);
            for (int i = 0; i < _scan.Carries; i++)
            {
                changed |= reached.Contains(_scan.Body.Outputs[i].Value.Node) && flowing.Add((BodyInputKind.Carry, i));
            }
        }

        return flowing;
    }

    // What flows into a step's results: from the step behind it, and from whoever reads the values after it or an output sequence.
    private void Seed(int[] carries)
    {
        for (int slot = 0; slot < carries.Length; slot++)
        {
            Value next = _scan.Body.Outputs[carries[slot]].Value;
            _engine.Accumulate(next, _body.Add(new BodyInput(BodyInputKind.Carry, slot, next.Type), "d " + next.Name));
            if (_context.HasCotangent(Scan.After(carries[slot])))
            {
                _engine.Accumulate(next, SequenceLeaf(_context.OutputCotangent(Scan.After(carries[slot]))));
            }
        }

        for (int i = 0; i < _scan.OutputSequences; i++)
        {
            if (_context.HasCotangent(_scan.Sequence(i)))
            {
                _engine.Accumulate(_scan.Body.Outputs[_scan.Carries + i].Value, SequenceLeaf(_context.OutputCotangent(_scan.Sequence(i))));
            }
        }
    }

    // Makes a carry's cotangent before a step a result of the body, and gives the one that the last step begins with.
    private Value NextCarry(int carry)
    {
        IEnumerable<Value> parts = Leaf(BodyInputKind.Carry, carry) is { } leaf && _engine.HasCotangent(leaf) ? [_engine.Cotangent(leaf)] : [];
        if (_context.HasCotangent(Scan.Before(carry)))
        {
            parts = parts.Append(SequenceLeaf(_context.OutputCotangent(Scan.Before(carry))));
        }

        Value next = _scan.Body.Outputs[carry].Value;
        Value[] terms = parts.ToArray();
        _results.Add(terms.Length == 0 ? _body.Add(new Constant(0, next.Type.Shape), "")
            : terms.Skip(1).Aggregate(terms[0], (a, b) => _body.Add(new Add(), "d " + next.Name, a, b)));
        return _context.OutputCotangent(Scan.Final(carry));
    }

    // Sequences get theirs step by step, each a result of the body; invariants get a sequence of what each contraction over rows reads.
    private (Dictionary<int, int> OfSequences, List<(int Input, Value Contribution)> ToInvariants) Collect(HashSet<(BodyInputKind, int)> needed)
    {
        var ofSequences = new Dictionary<int, int>();
        var toInvariants = new List<(int Input, Value Contribution)>();
        for (int i = _scan.Carries; i < _context.Node.Inputs.Count; i++)
        {
            (BodyInputKind kind, int number) = _scan.KindOf(i);
            if (!needed.Contains((kind, number)) || Leaf(kind, number) is not { } leaf || !_engine.HasCotangent(leaf))
            {
                continue;
            }

            if (kind == BodyInputKind.Sequence)
            {
                ofSequences.Add(i, _results.Count);
                _results.Add(_engine.Cotangent(leaf));
            }
            else
            {
                int input = i;
                toInvariants.AddRange(_engine.Contributions(leaf).Select(c => (input, c)));
            }
        }

        return (ofSequences, toInvariants);
    }

    // A forward value is read from its sequence when a gradient rule first asks for it.
    private Value Forward(Value value)
    {
        if (!_leaves.TryGetValue(value, out Value leaf))
        {
            leaf = value.Op switch
            {
                BodyInput { Kind: BodyInputKind.Carry } b => SequenceLeaf(_context.Output(Scan.Before(b.Number))),
                BodyInput { Kind: BodyInputKind.Sequence } b => SequenceLeaf(_context.Input(_scan.Carries + b.Number)),
                BodyInput b => InvariantLeaf(_context.Input(_scan.Carries + _scan.Sequences + b.Number)),
                _ when CarryThatBecomes(value) is { } carry => SequenceLeaf(_context.Output(Scan.After(carry))),
                _ when _saved.TryGetValue(value, out int output) => SequenceLeaf(_context.Output(_scan.Sequence(output))),
                _ => _body.AddMany(value.Op, value.Name, value.Node.Inputs.Select(Forward).ToArray())[value.Index],
            };
            _leaves.Add(value, leaf);
        }

        return leaf;
    }

    private Value SequenceLeaf(Value outer)
        => _body.Add(new BodyInput(BodyInputKind.Sequence, NumberOf(outer, _sequences), outer.Type with { Shape = outer.Shape.DropFirst() }), outer.Name);

    private Value InvariantLeaf(Value outer) => _body.Add(new BodyInput(BodyInputKind.Invariant, NumberOf(outer, _invariants), outer.Type), outer.Name);

    private static int NumberOf(Value outer, List<Value> values)
    {
        int number = values.IndexOf(outer);
        if (number < 0)
        {
            number = values.Count;
            values.Add(outer);
        }

        return number;
    }

    private int ResultOf(Value value)
    {
        if (!_resultOf.TryGetValue(value, out int result))
        {
            _resultOf.Add(value, result = _results.Count);
            _results.Add(value);
        }

        return result;
    }

    private int? CarryThatBecomes(Value value)
        => Enumerable.Range(0, _scan.Carries).Where(c => _scan.Body.Outputs[c].Value == value).Select(c => (int?)c).FirstOrDefault();

    private Value? Leaf(BodyInputKind kind, int number)
        => _scan.Body.Nodes.FirstOrDefault(n => n.Op is BodyInput b && b.Kind == kind && b.Number == number) is { } n ? new Value(n, 0) : null;

    private static bool ContractsRows(Operator op) => op is MatMul { Form: MatMulForm.TN } || op is ColumnSum { Shape.Rank: 1 };
}
