using System;
using System.Collections.Generic;
using System.Linq;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>
/// A grammar at work: a state is the set of places in the rules where the text so far may stand, each with what comes behind the rules that it is in. States, and where bytes lead from them, are kept as they are found.
/// </summary>
internal sealed class GrammarMachine
{
    public const int Dead = -1;

    public const int Unknown = -2;
    public const int Bottom = -1;

    private const int LargestNodes = 1 << 20;

    private readonly GrammarRules _rules;
    private readonly GrammarAutomaton? _known;
    private readonly List<(int Place, int Parent)> _nodes = [];
    private readonly Dictionary<(int, int), int> _nodeIds = [];
    private readonly List<State> _states = [];
    private readonly Dictionary<State, int> _stateIds = [];
    private readonly List<int[]?> _next = [];
    private readonly HashSet<(int, int)> _seen = [];
    private readonly Stack<(int Place, int Parent)> _open = [];

    /// <param name="rules">The grammar.</param>
    /// <param name="known">States that have been found before, which keep their numbers.</param>
    public GrammarMachine(GrammarRules rules, GrammarAutomaton? known = null)
    {
        _rules = rules;
        _known = known;
        Clear();
    }

    /// <summary>The state before any text.</summary>
    public int Start { get; private set; }

    /// <summary>How many states have been found.</summary>
    public int Count => _states.Count;

    /// <summary>Whether a text may end in a state.</summary>
    public bool MayEnd(int state) => _states[state].MayEnd;

    /// <summary>Whether nothing may follow.</summary>
    public bool MustEnd(int state) => _states[state].Nodes.Length == 0;

    /// <summary>Where a byte leads from a state.</summary>
    public int Next(int state, byte value)
    {
        int[] next = _next[state] ??= Fresh(state);
        if (next[value] == Unknown)
        {
            next[value] = Find(state, value);
        }

        return next[value];

        int[] Fresh(int state)
        {
            int[] made = new int[256];
            for (int i = 0; i < made.Length; i++)
            {
                made[i] = Unknown;
            }

            // What is known of a state that was found before holds here too.
            if (_known is not null && state < _known.States.Length)
            {
                foreach ((byte First, byte Last, int Target) range in _known.States[state].Next)
                {
                    for (int i = range.First; i <= range.Last; i++)
                    {
                        made[i] = range.Target;
                    }
                }
            }

            return made;
        }
    }

    /// <summary>The states found so far up to a number, and where bytes lead among them, as far as that is known.</summary>
    /// <param name="wanted">Which states, the first of which is the start.</param>
    public GrammarAutomaton Describe(IReadOnlyList<int> wanted)
    {
        var states = new Dictionary<int, int>();
        var nodes = new SortedDictionary<int, int>();
        foreach (int state in wanted)
        {
            states.Add(state, states.Count);
            foreach (int node in _states[state].Nodes)
            {
                for (int at = node; at != Bottom && !nodes.ContainsKey(at); at = _nodes[at].Parent)
                {
                    nodes.Add(at, 0);
                }
            }
        }

        // In the order in which they were found, what a node stands on comes before it.
        int count = 0;
        foreach (int node in nodes.Keys.ToArray())
        {
            nodes[node] = count++;
        }

        var described = new List<GrammarAutomaton.State>();
        foreach (int state in wanted)
        {
            var next = new List<(byte First, byte Last, int Target)>();
            for (int value = 0; value < 256 && _next[state] is { } targets; value++)
            {
                int target = targets[value] < 0 ? targets[value] : states.TryGetValue(targets[value], out int renamed) ? renamed : Unknown;
                if (target == Unknown)
                {
                    continue;
                }

                if (next.Count > 0 && next[next.Count - 1] is var last && last.Target == target && last.Last == value - 1)
                {
                    next[next.Count - 1] = (last.First, (byte)value, target);
                }
                else
                {
                    next.Add(((byte)value, (byte)value, target));
                }
            }

            described.Add(new GrammarAutomaton.State([.. _states[state].Nodes.Select(node => nodes[node])], _states[state].MayEnd, [.. next]));
        }

        return new GrammarAutomaton([.. nodes.Keys.Select(node => (_nodes[node].Place, _nodes[node].Parent == Bottom ? Bottom : nodes[_nodes[node].Parent]))], [.. described]);
    }

    /// <summary>Forgets all states but one, and gives its new number.</summary>
    public int Forget(int kept)
    {
        State state = _states[kept];
        (int Place, int Parent)[] nodes = [.. _nodes];
        Clear();

        // Of every node first what it stands on, which is older.
        var moved = new Dictionary<int, int> { [Bottom] = Bottom };
        var needed = new SortedSet<int>();
        foreach (int node in state.Nodes)
        {
            for (int at = node; at != Bottom && needed.Add(at); at = nodes[at].Parent)
            {
            }
        }

        foreach (int node in needed)
        {
            moved[node] = Node(nodes[node].Place, moved[nodes[node].Parent]);
        }

        return Add([.. state.Nodes.Select(node => moved[node])], state.MayEnd);
    }

    private void Clear()
    {
        _nodes.Clear();
        _nodeIds.Clear();
        _states.Clear();
        _stateIds.Clear();
        _next.Clear();
        if (_known is not null)
        {
            _nodes.AddRange(_known.Nodes);
            for (int node = 0; node < _nodes.Count; node++)
            {
                _nodeIds.Add(_nodes[node], node);
            }

            foreach (GrammarAutomaton.State state in _known.States)
            {
                Add(state.Nodes, state.MayEnd);
            }
        }

        foreach (int start in _rules.Starts[_rules.Root])
        {
            _open.Push((start, Bottom));
        }

        Start = Close();
    }

    private int Find(int state, byte value)
    {
        foreach (int node in _states[state].Nodes)
        {
            (int place, int parent) = _nodes[node];
            if (_rules.Has(_rules.Symbols[place], value))
            {
                _open.Push((place + 1, parent));
            }
        }

        return _open.Count == 0 ? Dead : Close();
    }

    // From open places to the bytes that may come next.
    private int Close()
    {
        _seen.Clear();
        var nodes = new List<int>();
        bool mayEnd = false;
        while (_open.Count > 0)
        {
            (int Place, int Parent) at = _open.Pop();
            if (!_seen.Add(at))
            {
                continue;
            }

            int symbol = _rules.Symbols[at.Place];
            if (symbol >= 0)
            {
                nodes.Add(Node(at.Place, at.Parent));
            }
            else if (symbol == GrammarRules.End)
            {
                if (at.Parent == Bottom)
                {
                    mayEnd = true;
                }
                else
                {
                    _open.Push(_nodes[at.Parent]);
                }
            }
            else
            {
                // What stands last in a rule needs nothing to come back to.
                int parent = _rules.Symbols[at.Place + 1] == GrammarRules.End ? at.Parent : Node(at.Place + 1, at.Parent);
                foreach (int start in _rules.Starts[-2 - symbol])
                {
                    _open.Push((start, parent));
                }
            }
        }

        return Add([.. nodes], mayEnd);
    }

    private int Add(int[] nodes, bool mayEnd)
    {
        Array.Sort(nodes);
        var state = new State(nodes, mayEnd);
        if (!_stateIds.TryGetValue(state, out int id))
        {
            id = _states.Count;
            _states.Add(state);
            _next.Add(null);
            _stateIds.Add(state, id);
        }

        return id;
    }

    private int Node(int place, int parent)
    {
        if (!_nodeIds.TryGetValue((place, parent), out int id))
        {
            id = _nodes.Count < LargestNodes ? _nodes.Count : throw new GrammarException("The text has more open rules of the grammar than are kept.");
            _nodes.Add((place, parent));
            _nodeIds.Add((place, parent), id);
        }

        return id;
    }

    private sealed class State : IEquatable<State>
    {
        private readonly int _hash;

        public State(int[] nodes, bool mayEnd)
        {
            Nodes = nodes;
            MayEnd = mayEnd;
            int hash = mayEnd ? 1 : 0;
            foreach (int node in nodes)
            {
                hash = unchecked((hash * 31) + node);
            }

            _hash = hash;
        }

        public int[] Nodes { get; }

        public bool MayEnd { get; }

        public bool Equals(State? other) => other is not null && MayEnd == other.MayEnd && Nodes.AsSpan().SequenceEqual(other.Nodes);

        public override bool Equals(object? obj) => Equals(obj as State);

        public override int GetHashCode() => _hash;
    }
}
