using System.Runtime.CompilerServices;

namespace ModelGen;

/// <summary>
/// A counter-based random number generator: Philox4x32 with 10 rounds
/// (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// </summary>
/// <remarks>
/// <para>The whole state is a seed, a stream and a position, so a generator is saved as three numbers, restored
/// exactly, and moved to any position in constant time. Word <c>i</c> of a stream depends on nothing else:
/// streams can be drawn in any order, on any number of threads, with the same result.</para>
/// <para>The key is the seed; the 128-bit counter holds the block number (words 0 and 1) and the stream (words 2 and 3).
/// This is a mutable struct: keep it in a field or a local and pass it by reference. It is not for cryptography.</para>
/// </remarks>
public struct CounterRandom
{
    // Multipliers and Weyl constants of table 2 in the paper.
    private const uint Multiplier0 = 0xD2511F53u;
    private const uint Multiplier1 = 0xCD9E8D57u;
    private const uint Weyl0 = 0x9E3779B9u;
    private const uint Weyl1 = 0xBB67AE85u;

    private ulong _position;
    private ulong _block;
    private Words _words;
    private bool _filled;

    /// <summary>Makes a generator at position 0 of a stream.</summary>
    /// <param name="seed">The seed. Equal seeds and streams give equal sequences.</param>
    /// <param name="stream">The stream. Different streams of one seed are independent.</param>
    public CounterRandom(ulong seed, ulong stream = 0)
    {
        Seed = seed;
        Stream = stream;
    }

    /// <summary>The seed this generator was made with.</summary>
    public ulong Seed { get; }

    /// <summary>The stream this generator was made with.</summary>
    public ulong Stream { get; }

    /// <summary>
    /// How many 32-bit words of the stream have been consumed. Setting it moves the generator there in constant time.
    /// </summary>
    public ulong Position
    {
        readonly get => _position;
        set => _position = value;
    }

    /// <summary>Computes one Philox4x32-10 block in place.</summary>
    /// <param name="counter">Four counter words; replaced by four random words.</param>
    /// <param name="key0">The first key word.</param>
    /// <param name="key1">The second key word.</param>
    /// <exception cref="ArgumentException"><paramref name="counter"/> does not hold exactly four words.</exception>
    public static void Block(Span<uint> counter, uint key0, uint key1)
    {
        if (counter.Length != 4)
            throw new ArgumentException($"A Philox4x32 counter has 4 words, found {counter.Length}.", nameof(counter));
        uint c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
        Rounds(ref c0, ref c1, ref c2, ref c3, key0, key1);
        counter[0] = c0;
        counter[1] = c1;
        counter[2] = c2;
        counter[3] = c3;
    }

    /// <summary>The next 32 random bits.</summary>
    public uint NextUInt32()
    {
        ulong block = _position >> 2;
        if (!_filled || block != _block)
            Fill(block);
        return _words[(int)(_position++ & 3)];
    }

    /// <summary>The next 64 random bits: two words, the first one in the low half.</summary>
    public ulong NextUInt64()
    {
        ulong low = NextUInt32();
        return low | ((ulong)NextUInt32() << 32);
    }

    /// <summary>A number in [0, 1), a multiple of 2^-24. Consumes one word.</summary>
    public float NextSingle() => (NextUInt32() >> 8) * (1.0f / (1u << 24));

    /// <summary>A number in [0, 1), a multiple of 2^-53. Consumes two words.</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1ul << 53));

    /// <summary>A number in 0 .. <paramref name="exclusiveMaximum"/> - 1, each with exactly the same probability.</summary>
    /// <remarks>
    /// Multiply and reject (Lemire, "Fast random integer generation in an interval", 2019). Consumes one word, rarely more.
    /// </remarks>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="exclusiveMaximum"/> is not positive.</exception>
    public int NextInt32(int exclusiveMaximum)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(exclusiveMaximum);
        uint range = (uint)exclusiveMaximum;
        ulong product = (ulong)NextUInt32() * range;
        if ((uint)product < range)
        {
            uint threshold = (0u - range) % range;
            while ((uint)product < threshold)
                product = (ulong)NextUInt32() * range;
        }
        return (int)(product >> 32);
    }

    /// <summary>Puts items into a random order, each with the same probability (Durstenfeld, "Algorithm 235: Random permutation", 1964).</summary>
    /// <param name="items">The items, which are moved in place. Consumes one word for each but the first, rarely more.</param>
    public void Shuffle<T>(Span<T> items)
    {
        for (int i = items.Length - 1; i > 0; i--)
        {
            int j = NextInt32(i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }

    /// <summary>A number from the standard normal distribution: the cosine half of <see cref="NextNormalPair"/>. Consumes two words.</summary>
    public float NextNormal()
    {
        NextNormalPair(out float first, out _);
        return first;
    }

    /// <summary>Two independent numbers from the standard normal distribution. Consumes two words.</summary>
    /// <remarks>
    /// Box and Muller (1958): r = sqrt(-2 ln u), (r cos 2πv, r sin 2πv), with u from the first word in (0, 1] and v from the
    /// second in [0, 1). Computed in double precision and rounded once. |x| is at most sqrt(64 ln 2) = 6.66.
    /// </remarks>
    public void NextNormalPair(out float first, out float second)
    {
        double u = (NextUInt32() + 1.0) * (1.0 / 4294967296.0);
        double v = NextUInt32() * (1.0 / 4294967296.0);
        double radius = Math.Sqrt(-2.0 * Math.Log(u));
        double angle = 2.0 * Math.PI * v;
        first = (float)(radius * Math.Cos(angle));
        second = (float)(radius * Math.Sin(angle));
    }

    /// <summary>
    /// Fills a span from a normal distribution, pair by pair in order; an odd last element takes the cosine half.
    /// </summary>
    /// <param name="destination">Receives the numbers.</param>
    /// <param name="mean">The distribution's mean.</param>
    /// <param name="standardDeviation">The distribution's standard deviation.</param>
    public void FillNormal(Span<float> destination, float mean = 0f, float standardDeviation = 1f)
    {
        int i = 0;
        for (; i + 1 < destination.Length; i += 2)
        {
            NextNormalPair(out float first, out float second);
            destination[i] = mean + standardDeviation * first;
            destination[i + 1] = mean + standardDeviation * second;
        }
        if (i < destination.Length)
            destination[i] = mean + standardDeviation * NextNormal();
    }

    /// <summary>Fills a span with numbers in [<paramref name="minimum"/>, <paramref name="maximum"/>), one word each, in order.</summary>
    /// <param name="destination">Receives the numbers.</param>
    /// <param name="minimum">The lower bound.</param>
    /// <param name="maximum">The upper bound; reached only through rounding.</param>
    public void FillUniform(Span<float> destination, float minimum, float maximum)
    {
        float range = maximum - minimum;
        for (int i = 0; i < destination.Length; i++)
            destination[i] = minimum + range * NextSingle();
    }

    private void Fill(ulong block)
    {
        uint c0 = (uint)block, c1 = (uint)(block >> 32), c2 = (uint)Stream, c3 = (uint)(Stream >> 32);
        Rounds(ref c0, ref c1, ref c2, ref c3, (uint)Seed, (uint)(Seed >> 32));
        _words[0] = c0;
        _words[1] = c1;
        _words[2] = c2;
        _words[3] = c3;
        _block = block;
        _filled = true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rounds(ref uint c0, ref uint c1, ref uint c2, ref uint c3, uint key0, uint key1)
    {
        for (int round = 0; round < 10; round++)
        {
            ulong product0 = (ulong)Multiplier0 * c0;
            ulong product1 = (ulong)Multiplier1 * c2;
            uint next0 = (uint)(product1 >> 32) ^ c1 ^ key0;
            uint next2 = (uint)(product0 >> 32) ^ c3 ^ key1;
            c0 = next0;
            c1 = (uint)product1;
            c2 = next2;
            c3 = (uint)product0;
            key0 += Weyl0;
            key1 += Weyl1;
        }
    }

    [InlineArray(4)]
    private struct Words
    {
        private uint _first;
    }
}
