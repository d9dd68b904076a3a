using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>Rules as they are read: alternatives of sequences of symbols. Characters have become bytes of UTF-8, so that a token may end within one.</summary>
internal sealed class GrammarBuilder
{
    private const int LargestSymbols = 1 << 20;

    private readonly List<List<List<int>>?> _rules = [];
    private readonly Dictionary<string, (int Rule, int At)> _names = new(StringComparer.Ordinal);
    private readonly List<ByteSet> _sets = [];
    private readonly Dictionary<ByteSet, int> _setIds = [];
    private int _count;

    /// <summary>What is read, for messages that tell a place.</summary>
    public string Source { get; set; } = "";

    /// <summary>A rule of a name; it is defined now or later. Of where it is named the first place is kept, for messages.</summary>
    public int Named(string name, int at = -1)
    {
        if (_names.TryGetValue(name, out (int Rule, int At) known))
        {
            return known.Rule;
        }

        int rule = Add(null);
        _names.Add(name, (rule, at));

        return rule;
    }

    public bool IsDefined(string name) => _names.TryGetValue(name, out (int Rule, int At) known) && _rules[known.Rule] is not null;

    /// <summary>A rule without a name.</summary>
    public int Add(List<List<int>>? alternatives)
    {
        _rules.Add(alternatives);
        Count(1 + (alternatives?.Sum(static sequence => sequence.Count + 1) ?? 0));
        return _rules.Count - 1;
    }

    public void Define(int rule, List<List<int>> alternatives)
    {
        _rules[rule] = alternatives;
        Count(alternatives.Sum(static sequence => sequence.Count + 1));
    }

    /// <summary>The symbol of a rule. Symbols of 0 and more are sets of bytes.</summary>
    public static int Reference(int rule) => -2 - rule;

    /// <summary>A text, byte by byte.</summary>
    public IEnumerable<int> Text(string text) => Encoding.UTF8.GetBytes(text).Select(value => Set(value, value));

    /// <summary>One character of some ranges, or any other.</summary>
    public int Characters(IEnumerable<(int First, int Last)> ranges, bool isNegated)
    {
        // In order and without overlaps; then what lies between.
        var merged = new List<(int First, int Last)>();
        foreach ((int first, int last) in ranges.OrderBy(static range => range.First))
        {
            if (merged.Count > 0 && first <= merged[merged.Count - 1].Last + 1)
            {
                merged[merged.Count - 1] = (merged[merged.Count - 1].First, Math.Max(merged[merged.Count - 1].Last, last));
            }
            else
            {
                merged.Add((first, last));
            }
        }

        if (isNegated)
        {
            var others = new List<(int, int)>();
            int next = 0;
            foreach ((int first, int last) in merged)
            {
                if (first > next)
                {
                    others.Add((next, first - 1));
                }

                next = last + 1;
            }

            if (next <= 0x10FFFF)
            {
                others.Add((next, 0x10FFFF));
            }

            merged = others;
        }

        var ascii = default(ByteSet);
        var alternatives = new List<List<int>>();
        foreach ((int first, int last) in merged)
        {
            // Halves of surrogate pairs are no characters.
            Split(first, Math.Min(last, 0xD7FF));
            Split(Math.Max(first, 0xE000), last);
        }

        if (ascii != default)
        {
            alternatives.Add([SetOf(ascii)]);
        }

        return alternatives.Count == 1 && alternatives[0].Count == 1 ? alternatives[0][0] : Reference(Add(alternatives));

        // Into ranges whose bytes vary independently.
        void Split(int first, int last)
        {
            if (first > last)
            {
                return;
            }

            foreach (int largest in new[] { 0x7F, 0x7FF, 0xFFFF })
            {
                if (first <= largest && last > largest)
                {
                    Split(first, largest);
                    Split(largest + 1, last);
                    return;
                }
            }

            if (last <= 0x7F)
            {
                ascii = ascii.With(first, last);
                return;
            }

            int length = last <= 0x7FF ? 2 : last <= 0xFFFF ? 3 : 4;
            for (int i = 1; i < length; i++)
            {
                int mask = (1 << (6 * i)) - 1;
                if ((first & ~mask) != (last & ~mask))
                {
                    if ((first & mask) != 0)
                    {
                        Split(first, first | mask);
                        Split((first | mask) + 1, last);
                        return;
                    }

                    if ((last & mask) != mask)
                    {
                        Split(first, (last & ~mask) - 1);
                        Split(last & ~mask, last);
                        return;
                    }
                }
            }

            byte[] from = Encoding.UTF8.GetBytes(char.ConvertFromUtf32(first));
            byte[] to = Encoding.UTF8.GetBytes(char.ConvertFromUtf32(last));
            alternatives.Add([.. from.Select((value, i) => Set(value, to[i]))]);
        }
    }

    /// <summary>A sequence so many times; −1 for without end.</summary>
    public List<int> Repeat(List<int> sequence, int least, int most)
    {
        Count((long)sequence.Count * Math.Max(1, Math.Max(least, most)));
        var repeated = new List<int>();
        for (int i = 0; i < least; i++)
        {
            repeated.AddRange(sequence);
        }

        if (most < 0)
        {
            int rule = Add(null);
            Define(rule, [[.. sequence, Reference(rule)], []]);
            repeated.Add(Reference(rule));
        }
        else if (most > least)
        {
            int rule = Add([[.. sequence], []]);
            for (int i = most - least; i > 1; i--)
            {
                rule = Add([[.. sequence, Reference(rule)], []]);
            }

            repeated.Add(Reference(rule));
        }

        return repeated;
    }

    /// <summary>The grammar that begins with a rule.</summary>
    /// <exception cref="GrammarException">A rule is not defined, begins with itself, or has no text that comes to an end.</exception>
    public GrammarRules Build(string root)
    {
        foreach (KeyValuePair<string, (int Rule, int At)> name in _names)
        {
            if (_rules[name.Value.Rule] is null)
            {
                throw GrammarException.At(PlaceOf(name.Value.At), $"the rule '{name.Key}' is nowhere defined.");
            }
        }

        if (!_names.TryGetValue(root, out (int Rule, int At) start))
        {
            throw new GrammarException($"The grammar has no rule '{root}', with which everything begins.");
        }

        List<List<List<int>>> rules = _rules.ConvertAll(static rule => rule!);
        CheckRecursion(rules);
        CheckEnds(rules, start.Rule);
        var symbols = new List<int>();
        int[][] starts = new int[rules.Count][];
        for (int rule = 0; rule < rules.Count; rule++)
        {
            starts[rule] = new int[rules[rule].Count];
            for (int i = 0; i < starts[rule].Length; i++)
            {
                starts[rule][i] = symbols.Count;
                symbols.AddRange(rules[rule][i]);
                symbols.Add(GrammarRules.End);
            }
        }

        return new GrammarRules([.. symbols], starts, [.. _sets], start.Rule);
    }

    private TextPlace? PlaceOf(int at) => at < 0 ? null : TextPlace.Of(Source, at);

    private int Set(int first, int last) => SetOf(default(ByteSet).With(first, last));

    private int SetOf(ByteSet set)
    {
        if (!_setIds.TryGetValue(set, out int id))
        {
            id = _sets.Count;
            _sets.Add(set);
            _setIds.Add(set, id);
        }

        return id;
    }

    private void Count(long symbols)
    {
        _count = (int)Math.Min(int.MaxValue, _count + symbols);
        if (_count > LargestSymbols)
        {
            throw new GrammarException(FormattableString.Invariant($"The grammar has more than {LargestSymbols} symbols."));
        }
    }

    // A rule that every one of whose texts goes on within another is a trap: no text that enters it comes to an end.
    private void CheckEnds(List<List<List<int>>> rules, int root)
    {
        bool[] hasEnd = Derive(rules, withBytes: true);
        bool[] isReached = new bool[rules.Count];
        var open = new Stack<int>();
        open.Push(root);
        while (open.Count > 0)
        {
            int rule = open.Pop();
            if (isReached[rule])
            {
                continue;
            }

            isReached[rule] = true;
            if (!hasEnd[rule])
            {
                KeyValuePair<string, (int Rule, int At)> named = _names.FirstOrDefault(entry => entry.Value.Rule == rule);
                throw named.Key is not null
                    ? GrammarException.At(PlaceOf(named.Value.At), $"the rule '{named.Key}' has no text: each goes on without end, or needs a character of an empty class.")
                    : new GrammarException("A part of the grammar has no text: each goes on without end, or needs a character of an empty class.");
            }

            foreach (int symbol in rules[rule].SelectMany(static sequence => sequence).Where(static symbol => symbol < 0))
            {
                open.Push(-2 - symbol);
            }
        }
    }

    // The rules that have a text: of no bytes, or of any number of them. In time that is linear in the symbols, since a grammar may be anybody's.
    private static bool[] Derive(List<List<List<int>>> rules, bool withBytes)
    {
        bool[] derives = new bool[rules.Count];
        int[][] missing = new int[rules.Count][];
        var readers = new List<(int Rule, int Sequence)>?[rules.Count];
        var found = new Stack<int>();
        for (int rule = 0; rule < rules.Count; rule++)
        {
            missing[rule] = new int[rules[rule].Count];
            for (int i = 0; i < missing[rule].Length; i++)
            {
                foreach (int symbol in rules[rule][i])
                {
                    if (symbol < 0)
                    {
                        (readers[-2 - symbol] ??= []).Add((rule, i));
                    }

                    missing[rule][i] += symbol < 0 || !withBytes ? 1 : 0;
                }

                Settle(rule, i);
            }
        }

        while (found.Count > 0)
        {
            foreach ((int rule, int sequence) in readers[found.Pop()] ?? [])
            {
                missing[rule][sequence]--;
                Settle(rule, sequence);
            }
        }

        return derives;

        void Settle(int rule, int sequence)
        {
            if (missing[rule][sequence] == 0 && !derives[rule])
            {
                derives[rule] = true;
                found.Push(rule);
            }
        }
    }

    // A rule that begins with itself would be entered without end.
    private void CheckRecursion(List<List<List<int>>> rules)
    {
        bool[] mayBeEmpty = Derive(rules, withBytes: false);

        // 1: being looked at, 2: done.
        byte[] state = new byte[rules.Count];
        for (int first = 0; first < rules.Count; first++)
        {
            var path = new Stack<(int Rule, IEnumerator<int> Next)>();
            Enter(first);
            while (path.Count > 0)
            {
                (int Rule, IEnumerator<int> Next) top = path.Peek();
                if (!top.Next.MoveNext())
                {
                    state[top.Rule] = 2;
                    path.Pop();
                }
                else if (state[top.Next.Current] == 1)
                {
                    // The rule that a name stands for, or else the one around what is repeated.
                    KeyValuePair<string, (int Rule, int At)> named = _names.FirstOrDefault(entry => entry.Value.Rule == top.Next.Current);
                    throw named.Key is not null
                        ? GrammarException.At(PlaceOf(named.Value.At), $"the rule '{named.Key}' begins with itself.")
                        : new GrammarException("A rule of the grammar begins with itself: one without a name, since what is repeated may be empty.");
                }
                else
                {
                    Enter(top.Next.Current);
                }
            }

            void Enter(int rule)
            {
                if (state[rule] == 0)
                {
                    state[rule] = 1;
                    path.Push((rule, Beginnings(rule).GetEnumerator()));
                }
            }
        }

        IEnumerable<int> Beginnings(int rule)
        {
            foreach (List<int> sequence in rules[rule])
            {
                foreach (int symbol in sequence)
                {
                    if (symbol >= 0)
                    {
                        break;
                    }

                    yield return -2 - symbol;
                    if (!mayBeEmpty[-2 - symbol])
                    {
                        break;
                    }
                }
            }
        }
    }
}
