using System.Numerics;

namespace ModelGen;

/// <summary>
/// A keyed permutation of 0 .. count - 1 that is computed, not stored: a balanced Feistel network on the smallest even
/// number of bits that holds count, repeated until the result is in range (cycle walking: at most 4 rounds of it on average).
/// </summary>
internal static class Permutation
{
    private const int Rounds = 8;

    public static long Apply(long index, long count, ulong seed, ulong tweak)
    {
        if (count == 1)
            return 0;
        int bits = 64 - BitOperations.LeadingZeroCount((ulong)(count - 1));
        int half = Math.Max(1, (bits + 1) / 2);
        ulong mask = (1ul << half) - 1;
        Span<uint> block = stackalloc uint[4];
        ulong value = (ulong)index;
        do
        {
            ulong left = value >> half;
            ulong right = value & mask;
            for (uint round = 0; round < Rounds; round++)
            {
                // Half a value has at most 32 bits, which leaves its own counter word to it, to the round and to the tweak.
                block[0] = (uint)right;
                block[1] = round | 0x5045_5200u;
                block[2] = (uint)tweak;
                block[3] = (uint)(tweak >> 32);
                CounterRandom.Block(block, (uint)seed, (uint)(seed >> 32));
                (left, right) = (right, left ^ (block[0] & mask));
            }
            value = (left << half) | right;
        }
        while (value >= (ulong)count);
        return (long)value;
    }
}
