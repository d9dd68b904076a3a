using System;
using System.Collections.Generic;
using System.Linq;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>The bytes of a vocabulary's tokens, in an order in which a grammar's masks are quickly found.</summary>
internal sealed class TokenTable
{
    private readonly int[] _ends;
    private readonly Lazy<ulong> _fingerprint;
    private int[]? _order;
    private int[]? _shared;

    /// <param name="bytes">The bytes of each token; none of those that spell nothing.</param>
    /// <param name="ends">The tokens that end a text.</param>
    public TokenTable(byte[][] bytes, IEnumerable<int> ends)
    {
        Bytes = bytes;
        _ends = [.. ends.Distinct().OrderBy(static end => end)];
        _fingerprint = new Lazy<ulong>(Hash);
        Longest = bytes.Length == 0 ? 0 : bytes.Max(static token => token.Length);
    }

    public byte[][] Bytes { get; }

    public int Longest { get; }

    public bool IsEnd(int token) => Array.BinarySearch(_ends, token) >= 0;

    /// <summary>A number that tells vocabularies apart: what ends a text, and every token's bytes (FNV-1a with 64 bits).</summary>
    public ulong Fingerprint => _fingerprint.Value;

    /// <summary>A bit for each token: those that may come next in a state.</summary>
    /// <param name="machine">The grammar.</param>
    /// <param name="state">The state; <see cref="GrammarMachine.Dead"/> where only an end may come.</param>
    /// <param name="reached">Takes the states that tokens lead to; null for none.</param>
    public ulong[] Mask(GrammarMachine machine, int state, Action<int>? reached = null)
    {
        ulong[] mask = new ulong[(Bytes.Length + 63) / 64];
        if (state == GrammarMachine.Dead || machine.MayEnd(state))
        {
            foreach (int end in _ends)
            {
                mask[end >> 6] |= 1UL << end;
            }
        }

        if (state != GrammarMachine.Dead)
        {
            Walk(machine, state, mask, reached);
        }

        return mask;
    }

    // Of tokens that begin alike, the beginning is walked once; where it leads nowhere, none of them is looked at.
    private void Walk(GrammarMachine machine, int state, ulong[] mask, Action<int>? reached)
    {
        int[] order = System.Threading.Volatile.Read(ref _order) ?? Sort();
        int[] shared = _shared!;
        int[] path = new int[Longest + 1];
        path[0] = state;
        int known = 0;
        bool isDead = false;
        for (int i = 0; i < order.Length; i++)
        {
            byte[] bytes = Bytes[order[i]];
            if (isDead && shared[i] > known)
            {
                continue;
            }

            known = Math.Min(known, shared[i]);
            isDead = false;
            while (known < bytes.Length)
            {
                int next = machine.Next(path[known], bytes[known]);
                if (next == GrammarMachine.Dead)
                {
                    isDead = true;
                    break;
                }

                path[++known] = next;
            }

            if (!isDead)
            {
                mask[order[i] >> 6] |= 1UL << order[i];
                reached?.Invoke(path[known]);
            }
        }
    }

    private ulong Hash()
    {
        ulong hash = 14695981039346656037;
        Number(Bytes.Length);
        Number(_ends.Length);
        foreach (int end in _ends)
        {
            Number(end);
        }

        foreach (byte[] token in Bytes)
        {
            Number(token.Length);
            foreach (byte value in token)
            {
                hash = unchecked((hash ^ value) * 1099511628211);
            }
        }

        return hash;

        void Number(int number)
        {
            for (int shift = 0; shift < 32; shift += 8)
            {
                hash = unchecked((hash ^ (byte)(number >> shift)) * 1099511628211);
            }
        }
    }

    // In the order of their bytes, tokens that begin alike stand together. What spells nothing would go on without end.
    private int[] Sort()
    {
        int[] order = [.. Enumerable.Range(0, Bytes.Length).Where(token => Bytes[token].Length > 0 && !IsEnd(token))];
        Array.Sort(order, (one, other) => Bytes[one].AsSpan().SequenceCompareTo(Bytes[other]) is var difference && difference != 0 ? difference : one.CompareTo(other));
        int[] shared = new int[order.Length];
        for (int i = 1; i < order.Length; i++)
        {
            byte[] before = Bytes[order[i - 1]];
            byte[] bytes = Bytes[order[i]];
            int length = Math.Min(before.Length, bytes.Length);
            while (shared[i] < length && before[shared[i]] == bytes[shared[i]])
            {
                shared[i]++;
            }
        }

        // Another thread may have been quicker: both find the same.
        _shared = shared;
        System.Threading.Volatile.Write(ref _order, order);
        return order;
    }
}
