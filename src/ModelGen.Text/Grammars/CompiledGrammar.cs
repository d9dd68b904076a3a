using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>
/// A grammar as constant data: its rules, the first states of its automaton, and, where the vocabulary is known too, the masks of the tokens that may come next in them. The data is read as anybody's: every number is checked.
/// </summary>
/// <remarks>
/// Numbers are written by seven bits, the lowest first. A mask is the list of the tokens that are in it, of those that are not, or of those in which it differs from one before it, whichever is shortest: states of one grammar differ little.
/// </remarks>
internal sealed class CompiledGrammar
{
    private const int Version = 1;
    private const int LargestKnown = 1 << 20;

    // As many masks before one are tried for a difference.
    private const int Neighbours = 24;

    private readonly byte[] _data;
    private readonly Dictionary<int, int> _maskOf = [];
    private readonly List<MaskPlace> _places = [];
    private readonly ulong[]?[] _masks;

    private CompiledGrammar(byte[] data)
    {
        _data = data;
        int at = 0;
        if (Next("version", Version, Version) != Version)
        {
            throw Wrong("version", at);
        }

        int root = Next("root", 0, LargestKnown);
        int[] symbols = new int[Count("symbols", 1)];
        var sets = new ByteSet[Count("sets", 32)];
        int[][] starts = new int[Count("rules", 1)][];
        for (int i = 0; i < symbols.Length; i++)
        {
            // 0 is the end of a sequence; sets have odd numbers and rules even ones.
            int symbol = Next("symbol", 0, 2 * LargestKnown);
            bool isSet = symbol % 2 == 1;
            symbols[i] = symbol == 0 ? GrammarRules.End : Within("symbol", symbol / 2 - (isSet ? 0 : 1), isSet ? sets.Length : starts.Length) is var number && isSet ? number : -2 - number;
        }

        if (symbols.Length > 0 && symbols[symbols.Length - 1] != GrammarRules.End)
        {
            throw Wrong("the last symbol", at);
        }

        for (int i = 0; i < sets.Length; i++)
        {
            sets[i] = new ByteSet(Word(), Word(), Word(), Word());
        }

        for (int i = 0; i < starts.Length; i++)
        {
            starts[i] = new int[Count("alternatives", 1)];
            for (int j = 0; j < starts[i].Length; j++)
            {
                starts[i][j] = Next("start", 0, symbols.Length - 1);
            }
        }

        Rules = new GrammarRules(symbols, starts, sets, Within("root", root, starts.Length));
        var nodes = new (int Place, int Parent)[Count("nodes", 2)];
        for (int i = 0; i < nodes.Length; i++)
        {
            nodes[i] = (Next("place", 0, symbols.Length - 1), Next("parent", 0, i) - 1);
        }

        var states = new GrammarAutomaton.State[Count("states", 2)];
        for (int i = 0; i < states.Length; i++)
        {
            int head = Next("state", 0, (2 * LargestKnown) + 1);
            int[] own = new int[head / 2 <= nodes.Length ? head / 2 : throw Wrong("state", at)];
            for (int j = 0; j < own.Length; j++)
            {
                own[j] = Within("node", Next("node", 0, LargestKnown) + (j > 0 ? own[j - 1] + 1 : 0), nodes.Length);
                if (symbols[nodes[own[j]].Place] < 0)
                {
                    throw Wrong("node", at);
                }
            }

            var next = new (byte First, byte Last, int Target)[Count("ranges", 3)];
            for (int j = 0; j < next.Length; j++)
            {
                int first = Next("range", j > 0 ? next[j - 1].Last + 1 : 0, 255);
                next[j] = ((byte)first, (byte)Next("range", first, 255), Next("target", 0, states.Length) - 1);
            }

            states[i] = new GrammarAutomaton.State(own, head % 2 == 1, next);
        }

        Automaton = new GrammarAutomaton(nodes, states);
        if (nodes.Distinct().Count() != nodes.Length || states.Select(static state => (string.Join(",", state.Nodes), state.MayEnd)).Distinct().Count() != states.Length)
        {
            throw Wrong("states: two are alike", at);
        }

        int masks = Count("masks", 3);
        if (masks > 0)
        {
            Fingerprint = Word();
            Tokens = Next("tokens", 1, 1 << 24);
        }

        for (int i = 0; i < masks; i++)
        {
            int state = Next("state of a mask", 0, states.Length - 1);
            if (_maskOf.ContainsKey(state))
            {
                throw Wrong("state of a mask", at);
            }

            _maskOf.Add(state, i);
            int kind = Next("mask", 0, i + 1);
            int count = Next("tokens of a mask", 0, Tokens);
            _places.Add(new MaskPlace(kind, count, at));
            int token = -1;
            for (int j = 0; j < count; j++)
            {
                token = Within("token", Next("token", 0, Tokens) + token + 1, Tokens);
            }
        }

        if (at != data.Length)
        {
            throw Wrong("the end", at);
        }

        _masks = new ulong[masks][];

        int Next(string what, int least, int most)
        {
            int number = Number(_data, ref at);
            return number >= least && number <= most ? number : throw Wrong(what, at);
        }

        // What is counted has so many bytes each at the least.
        int Count(string what, int bytes) => Next(what, 0, (_data.Length - at) / bytes);

        int Within(string what, int number, int count) => number >= 0 && number < count ? number : throw Wrong(what, at);

        ulong Word()
        {
            ulong word = 0;
            for (int i = 0; i < 8; i++)
            {
                word |= (ulong)(at < _data.Length ? _data[at++] : throw Wrong("a word", at)) << (8 * i);
            }

            return word;
        }
    }

    public GrammarRules Rules { get; }

    public GrammarAutomaton Automaton { get; }

    /// <summary>Of how many states there are masks.</summary>
    public int MaskCount => _masks.Length;

    /// <summary>The vocabulary of the masks (<see cref="TokenTable.Fingerprint"/>).</summary>
    public ulong Fingerprint { get; }

    /// <summary>The tokens of that vocabulary.</summary>
    public int Tokens { get; }

    /// <summary>Whether the masks are of a vocabulary.</summary>
    public bool HasMasksOf(TokenTable table) => MaskCount > 0 && Tokens == table.Bytes.Length && Fingerprint == table.Fingerprint;

    /// <summary>A bit for each token that may come next; null if it is not known.</summary>
    public ulong[]? Mask(int state)
    {
        if (!_maskOf.TryGetValue(state, out int wanted))
        {
            return null;
        }

        // From the nearest one before it that is known already. Another thread finds the same.
        var chain = new Stack<int>();
        int at = wanted;
        while (at >= 0 && Volatile.Read(ref _masks[at]) is null)
        {
            chain.Push(at);
            at = _places[at].Kind - 2;
        }

        while (chain.Count > 0)
        {
            at = chain.Pop();
            (int kind, int count, int start) = _places[at];
            ulong[] mask = kind >= 2 ? (ulong[])_masks[kind - 2]!.Clone() : new ulong[(Tokens + 63) / 64];
            if (kind == 1)
            {
                for (int token = 0; token < Tokens; token++)
                {
                    mask[token >> 6] |= 1UL << token;
                }
            }

            for (int i = 0, token = -1; i < count; i++)
            {
                token += Number(_data, ref start) + 1;
                mask[token >> 6] ^= 1UL << token;
            }

            Volatile.Write(ref _masks[at], mask);
        }

        return _masks[wanted];
    }

    /// <summary>Reads what <see cref="Write"/> has written.</summary>
    /// <exception cref="GrammarException">It has not.</exception>
    public static CompiledGrammar Read(byte[] data) => new(data);

    /// <summary>Compiles a grammar to data.</summary>
    /// <param name="rules">The grammar.</param>
    /// <param name="tokens">The vocabulary of which masks are wanted; null for none.</param>
    /// <param name="largestStates">Of how many states at the most.</param>
    /// <param name="largestBytes">How many bytes masks may have together.</param>
    /// <param name="cancellation">Ends it.</param>
    public static byte[] Write(GrammarRules rules, TokenTable? tokens, int largestStates, int largestBytes, CancellationToken cancellation)
    {
        var machine = new GrammarMachine(rules);
        var wanted = new List<int> { machine.Start };
        var found = new HashSet<int> { machine.Start };
        for (int i = 0; i < wanted.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            for (int value = 0; value < 256; value++)
            {
                Find(machine.Next(wanted[i], (byte)value));
            }
        }

        // Where texts stand between tokens, those that are reached by fewest tokens first.
        var masks = new List<(int State, ulong[] Mask, byte[] Data)>();
        int bytes = 0;
        var between = new Queue<int>();
        var seen = new HashSet<int> { machine.Start };
        for (between.Enqueue(machine.Start); tokens is not null && between.Count > 0 && masks.Count < largestStates && machine.Count < 1 << 15;)
        {
            cancellation.ThrowIfCancellationRequested();
            int state = between.Dequeue();
            ulong[] mask = tokens.Mask(machine, state, reached =>
            {
                if (seen.Add(reached))
                {
                    between.Enqueue(reached);
                }
            });
            byte[] encoded = Encode(mask, tokens.Bytes.Length, masks);
            bytes += encoded.Length;
            if (bytes > largestBytes)
            {
                break;
            }

            masks.Add((state, mask, encoded));
            if (found.Add(state))
            {
                wanted.Add(state);
            }
        }

        var data = new List<byte>();
        Number(Version);
        Number(rules.Root);
        Number(rules.Symbols.Length);
        Number(rules.Sets.Length);
        Number(rules.Starts.Length);
        foreach (int symbol in rules.Symbols)
        {
            Number(symbol == GrammarRules.End ? 0 : symbol >= 0 ? (2 * symbol) + 1 : 2 * (-2 - symbol + 1));
        }

        foreach (ByteSet set in rules.Sets)
        {
            for (int word = 0; word < 4; word++)
            {
                Word(set.Word(word));
            }
        }

        foreach (int[] starts in rules.Starts)
        {
            Number(starts.Length);
            foreach (int start in starts)
            {
                Number(start);
            }
        }

        GrammarAutomaton automaton = machine.Describe(wanted);
        Number(automaton.Nodes.Length);
        foreach ((int place, int parent) in automaton.Nodes)
        {
            Number(place);
            Number(parent + 1);
        }

        Number(automaton.States.Length);
        foreach (GrammarAutomaton.State state in automaton.States)
        {
            Number((2 * state.Nodes.Length) + (state.MayEnd ? 1 : 0));
            for (int i = 0; i < state.Nodes.Length; i++)
            {
                Number(state.Nodes[i] - (i > 0 ? state.Nodes[i - 1] + 1 : 0));
            }

            Number(state.Next.Length);
            foreach ((byte first, byte last, int target) in state.Next)
            {
                Number(first);
                Number(last);
                Number(target + 1);
            }
        }

        Number(masks.Count);
        if (masks.Count > 0)
        {
            Word(tokens!.Fingerprint);
            Number(tokens.Bytes.Length);
        }

        foreach ((int state, _, byte[] encoded) in masks)
        {
            Number(wanted.IndexOf(state));
            data.AddRange(encoded);
        }

        return [.. data];

        void Find(int state)
        {
            if (state >= 0 && wanted.Count < largestStates && found.Add(state))
            {
                wanted.Add(state);
            }
        }

        void Number(int number) => Append(data, number);

        void Word(ulong word)
        {
            for (int shift = 0; shift < 64; shift += 8)
            {
                data.Add((byte)(word >> shift));
            }
        }
    }

    private static byte[] Encode(ulong[] mask, int tokens, List<(int State, ulong[] Mask, byte[] Data)> before)
    {
        int kind = 0;
        int best = Differences(mask, null);
        if (tokens - best < best)
        {
            (kind, best) = (1, tokens - best);
        }

        for (int i = before.Count - 1; i >= Math.Max(0, before.Count - Neighbours) && best > 0; i--)
        {
            int differences = Differences(mask, before[i].Mask);
            if (differences < best)
            {
                (kind, best) = (i + 2, differences);
            }
        }

        var data = new List<byte>();
        Append(data, kind);
        Append(data, best);
        ulong[]? other = kind >= 2 ? before[kind - 2].Mask : null;
        int last = -1;
        for (int token = 0; token < tokens; token++)
        {
            bool differs = (((mask[token >> 6] ^ (other?[token >> 6] ?? 0)) >> token) & 1) != 0;
            if (differs != (kind == 1))
            {
                Append(data, token - last - 1);
                last = token;
            }
        }

        return [.. data];
    }

    private static int Differences(ulong[] mask, ulong[]? other)
    {
        int count = 0;
        for (int i = 0; i < mask.Length; i++)
        {
            for (ulong bits = mask[i] ^ (other?[i] ?? 0); bits != 0; bits &= bits - 1)
            {
                count++;
            }
        }

        return count;
    }

    private static void Append(List<byte> data, int number)
    {
        uint rest = (uint)number;
        for (; rest >= 128; rest >>= 7)
        {
            data.Add((byte)(rest | 128));
        }

        data.Add((byte)rest);
    }

    private static int Number(byte[] data, ref int at)
    {
        uint number = 0;
        for (int shift = 0; shift < 28; shift += 7)
        {
            byte value = at < data.Length ? data[at++] : throw Wrong("a number", at);
            number |= (uint)(value & 127) << shift;
            if (value < 128)
            {
                return (int)number;
            }
        }

        throw Wrong("a number", at);
    }

    private static GrammarException Wrong(string what, int at) => new(FormattableString.Invariant($"A compiled grammar is damaged at byte {at}: {what}."));

    /// <param name="Kind">0: tokens that are in it; 1: tokens that are not; 2 and more: tokens in which it differs from the mask of that number less two.</param>
    /// <param name="Count">How many tokens are listed.</param>
    /// <param name="Start">Where the list begins.</param>
    private readonly record struct MaskPlace(int Kind, int Count, int Start);
}
