using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;

namespace ModelGen;

/// <summary>
/// Chooses tokens from logits: greedy, by temperature, top-k and top-p. The same options and logits give the same tokens.
/// Nothing is allocated after construction. Not for use by several threads at once.
/// </summary>
public sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly double[] _weights;
    private readonly ulong[] _heap;
    private readonly int[] _kept;
    private CounterRandom _random;

    /// <summary>Makes a sampler.</summary>
    /// <param name="options">How to choose.</param>
    /// <param name="vocabularySize">The length of the logits.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="vocabularySize"/> is not positive.</exception>
    public Sampler(SamplingOptions options, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        _options = options;
        VocabularySize = vocabularySize;
        _random = new CounterRandom(options.Seed);
        bool greedy = options.Temperature == 0f;
        _weights = greedy ? [] : new double[vocabularySize];
        bool ordered = !greedy && (KeepsSome(options.TopK, vocabularySize) || options.TopP < 1f);
        _heap = ordered ? new ulong[vocabularySize] : [];
        _kept = ordered ? new int[vocabularySize] : [];
    }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Options => _options;

    /// <summary>The length of the logits.</summary>
    public int VocabularySize { get; }

    /// <summary>How many random words have been drawn; setting it continues a saved sequence of draws exactly.</summary>
    public ulong Position
    {
        get => _random.Position;
        set => _random.Position = value;
    }

    /// <summary>Where the draws come from, for what draws for several sequences in turns.</summary>
    internal CounterRandom Random
    {
        get => _random;
        set => _random = value;
    }

    /// <summary>Chooses a token.</summary>
    /// <param name="logits">One finite logit, or negative infinity for a token that must not be chosen, for every token id.</param>
    /// <returns>The token id.</returns>
    /// <exception cref="ArgumentException">
    /// The number of logits is not <see cref="VocabularySize"/>, a logit is NaN or positive infinity, or every logit is negative infinity.
    /// </exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        if (logits.Length != VocabularySize)
        {
            throw new ArgumentException(
                $"Expected {VocabularySize} logits, found {logits.Length}.", nameof(logits));
        }
        int best = ArgMax(logits);
        if (_options.Temperature == 0f)
            return best;

        float maximum = logits[best];
        if (_heap.Length == 0)
            return Draw(Weigh(logits, maximum));

        int kept = Keep(logits, maximum, out double total);
        return DrawKept(kept, total);
    }

    /// <summary>The index of the largest logit, the lowest one among equals.</summary>
    /// <param name="logits">The logits.</param>
    /// <exception cref="ArgumentException">There are no logits, one is NaN or positive infinity, or all are negative infinity.</exception>
    public static int ArgMax(ReadOnlySpan<float> logits)
    {
        if (logits.IsEmpty)
            throw new ArgumentException("There are no logits.", nameof(logits));

        // A NaN stays one in a maximum, whichever operand it is.
        int i = 0;
        float maximum = float.NegativeInfinity;
        ref float first = ref MemoryMarshal.GetReference(logits);
        if (logits.Length >= Vector<float>.Count)
        {
            Vector<float> maxima = Vector.LoadUnsafe(ref first);
            for (i = Vector<float>.Count; i <= logits.Length - Vector<float>.Count; i += Vector<float>.Count)
                maxima = Vector.Max(maxima, Vector.LoadUnsafe(ref first, (nuint)i));
            for (int lane = 0; lane < Vector<float>.Count; lane++)
                maximum = MathF.Max(maximum, maxima[lane]);
        }
        for (; i < logits.Length; i++)
            maximum = MathF.Max(maximum, logits[i]);

        int best = IndexOf(logits, maximum);
        if (!float.IsFinite(maximum))
            throw float.IsNegativeInfinity(maximum) ? new ArgumentException("Every logit is negative infinity.", nameof(logits)) : NotFinite(best, maximum);
        return best;
    }

    // The first element equal to a value that is there; a NaN equals every other.
    private static int IndexOf(ReadOnlySpan<float> logits, float value)
    {
        int i = 0;
        ref float first = ref MemoryMarshal.GetReference(logits);
        Vector<float> values = new(value);
        while (i <= logits.Length - Vector<float>.Count && !Vector.EqualsAny(Vector.LoadUnsafe(ref first, (nuint)i), values) && !float.IsNaN(value))
            i += Vector<float>.Count;
        while (!logits[i].Equals(value))
            i++;
        return i;
    }

    private static bool KeepsSome(int topK, int vocabularySize) => topK > 0 && topK < vocabularySize;

    private static ArgumentException NotFinite(int index, float logit) =>
        new(string.Create(CultureInfo.InvariantCulture, $"Logit {index} is {logit}."), "logits");

    private double Weigh(ReadOnlySpan<float> logits, float maximum)
    {
        double total = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            double weight = Weight(logits[i], maximum);
            _weights[i] = weight;
            total += weight;
        }
        return total;
    }

    private double Weight(float logit, float maximum)
    {
        double difference = (double)logit - maximum;
        return difference == 0 ? 1.0 : Math.Exp(difference / _options.Temperature);
    }

    private int Draw(double total)
    {
        double target = _random.NextDouble() * total;
        int last = 0;
        for (int i = 0; i < _weights.Length; i++)
        {
            double weight = _weights[i];
            if (weight <= 0)
                continue;
            last = i;
            target -= weight;
            if (target < 0)
                return i;
        }

        // Rounding can leave a remainder after the last token.
        return last;
    }

    private int DrawKept(int count, double total)
    {
        double target = _random.NextDouble() * total;
        for (int i = 0; i < count - 1; i++)
        {
            target -= _weights[i];
            if (target < 0)
                return _kept[i];
        }
        return _kept[count - 1];
    }

    /// <summary>
    /// Puts what top-k and top-p leave into <c>_kept</c> and its weights into <c>_weights</c>, most likely first.
    /// </summary>
    /// <returns>How many tokens are kept.</returns>
    private int Keep(ReadOnlySpan<float> logits, float maximum, out double total)
    {
        // A heap gives the most likely tokens one by one: linear to build, and only what is kept is ever put in order.
        int size = logits.Length;
        for (int i = 0; i < size; i++)
            _heap[i] = Key(logits[i], i);
        for (int i = size / 2 - 1; i >= 0; i--)
            SiftDown(i, size);

        bool limited = KeepsSome(_options.TopK, size);
        int count = limited ? _options.TopK : size;
        if (limited)
        {
            total = 0;
            for (int i = 0; i < count; i++)
                total += Next(logits, maximum, i, ref size);
            if (_options.TopP == 1f)
                return DropImpossible(count);
        }
        else
        {
            total = Weigh(logits, maximum);
        }

        double threshold = _options.TopP * total;
        double sum = 0;
        for (int i = 0; i < count; i++)
        {
            sum += limited ? _weights[i] : Next(logits, maximum, i, ref size);
            if (sum >= threshold)
            {
                count = i + 1;
                break;
            }
        }
        total = sum;
        return DropImpossible(count);
    }

    /// <summary>Tokens of weight 0 come last; a remainder of rounding must not fall on one.</summary>
    private int DropImpossible(int count)
    {
        while (count > 1 && _weights[count - 1] == 0)
            count--;
        return count;
    }

    private double Next(ReadOnlySpan<float> logits, float maximum, int index, ref int size)
    {
        int token = Pop(ref size);
        _kept[index] = token;
        return _weights[index] = Weight(logits[token], maximum);
    }

    /// <summary>An integer that orders by descending logit, then by ascending id, when the largest comes first.</summary>
    private static ulong Key(float logit, int id)
    {
        // -0 and +0 are equal logits; adding +0 makes them one bit pattern.
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f);
        bits = (bits & 0x8000_0000u) != 0 ? ~bits : bits | 0x8000_0000u;
        return ((ulong)bits << 32) | ~(uint)id;
    }

    private int Pop(ref int size)
    {
        ulong top = _heap[0];
        _heap[0] = _heap[--size];
        SiftDown(0, size);
        return (int)~(uint)top;
    }

    private void SiftDown(int index, int size)
    {
        if (index >= size)
            return;
        ulong key = _heap[index];
        while (true)
        {
            int child = 2 * index + 1;
            if (child >= size)
                break;
            if (child + 1 < size && _heap[child + 1] > _heap[child])
                child++;
            if (_heap[child] <= key)
                break;
            _heap[index] = _heap[child];
            index = child;
        }
        _heap[index] = key;
    }
}
