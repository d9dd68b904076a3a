using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Chooses tokens from logits: greedy, by temperature, top-k and top-p, or by a chain of steps (<see cref="SamplingOptions.Chain"/>). The same options, logits and text give the same tokens.
/// Nothing is allocated after construction. Not for use by several threads at once.
/// </summary>
public sealed class Sampler
{
    private readonly SamplingOptions _options;
    private readonly double[] _weights;
    private readonly ulong[] _heap;
    private readonly int[] _kept;
    private readonly SamplingState[] _steps = [];
    private readonly SamplingCandidates? _candidates;
    private readonly CudaChain? _onDevice;
    private readonly bool _canChooseOnDevice;
    private float[] _constrained = [];
    private TokenConstraint? _constraint;
    private CounterRandom _random;

    /// <summary>Makes a sampler.</summary>
    /// <param name="options">How to choose.</param>
    /// <param name="vocabularySize">The length of the logits.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="vocabularySize"/> is not positive.</exception>
    /// <exception cref="ArgumentException">A chain stands beside a temperature, top-k or top-p; a step of it is for other tokens than there are; or something comes behind a step that must be the last.</exception>
    public Sampler(SamplingOptions options, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        _options = options;
        VocabularySize = vocabularySize;
        _random = new CounterRandom(options.Seed);
        if (options.Chain is { } chain)
        {
            if (options.Temperature != 1f || options.TopK != 0 || options.TopP != 1f)
                throw new ArgumentException("A chain stands in the place of Temperature, TopK and TopP: expected their defaults beside it.", nameof(options));
            _steps = chain.Map(step => step.CreateState(vocabularySize));
            if (Array.FindIndex(_steps, static step => step.IsLast) is >= 0 and int last && last != _steps.Length - 1)
                throw new ArgumentException($"Expected nothing behind the step '{chain[last]}', found '{chain[last + 1]}'.", nameof(options));
            _candidates = new SamplingCandidates(vocabularySize);
            (_weights, _heap, _kept) = ([], [], []);
            _onDevice = OnDevice(chain, vocabularySize, drawsAlways: false);
            _canChooseOnDevice = _onDevice is not null;
            return;
        }
        bool greedy = options.Temperature == 0f;
        _weights = greedy ? [] : new double[vocabularySize];
        bool ordered = !greedy && (KeepsSome(options.TopK, vocabularySize) || options.TopP < 1f);
        _heap = ordered ? new ulong[vocabularySize] : [];
        _kept = ordered ? new int[vocabularySize] : [];
        _onDevice = greedy ? null : OnDevice([SamplingStep.Temperature(options.Temperature), SamplingStep.TopK(options.TopK), SamplingStep.TopP(options.TopP)], vocabularySize, drawsAlways: true);
        _canChooseOnDevice = greedy || _onDevice is not null;
    }

    // The steps that change something; null if a device does not know one.
    private static CudaChain? OnDevice(IReadOnlyList<SamplingStep> steps, int vocabularySize, bool drawsAlways)
    {
        List<CudaDrawingStep> known = [];
        foreach (SamplingStep step in steps)
        {
            if (!step.IsKnownToDevices(out CudaDrawingStep? each))
                return null;
            if (each is { } one && !(one.Kind == CudaDrawingKind.TopK && one.Count >= vocabularySize))
                known.Add(one);
        }
        return known.Count <= CudaChain.MaximumSteps ? new CudaChain([.. known], drawsAlways) : null;
    }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Options => _options;

    /// <summary>The length of the logits.</summary>
    public int VocabularySize { get; }

    /// <summary>Whether a device can choose as this sampler does, which then remembers nothing of the text: no constraint, and steps that keep the likeliest.</summary>
    /// <param name="chain">What the device does; null for the likeliest token, for which nothing is drawn.</param>
    internal bool CanChooseOnDevice(out CudaChain? chain)
    {
        chain = _onDevice;
        return _canChooseOnDevice && _constraint is null;
    }

    /// <summary>How many random words have been drawn; setting it continues a saved sequence of draws exactly.</summary>
    public ulong Position
    {
        get => _random.Position;
        set => _random.Position = value;
    }

    /// <summary>What tokens may come next, by a grammar; null for all. It is told of every token that is chosen or accepted.</summary>
    public TokenConstraint? Constraint
    {
        get => _constraint;
        set
        {
            _constraint = value;
            if (value is not null && _constrained.Length == 0)
                _constrained = new float[VocabularySize];
        }
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
    /// <exception cref="InvalidOperationException">The chain's biases or the constraint exclude every token.</exception>
    public int Sample(ReadOnlySpan<float> logits)
    {
        if (logits.Length != VocabularySize)
        {
            throw new ArgumentException(
                $"Expected {VocabularySize} logits, found {logits.Length}.", nameof(logits));
        }
        int best = ArgMax(Constrain(ref logits));
        int token = Choose(logits, best, out double probability);
        Accept(token);
        foreach (SamplingState step in _steps)
            step.Drawn(probability);
        return token;
    }

    /// <summary>The distribution that <see cref="Sample"/> would draw from now: nothing is drawn, and nothing remembered.</summary>
    /// <param name="logits">The logits.</param>
    /// <param name="destination">Receives the probability of every token.</param>
    /// <exception cref="ArgumentException">As of <see cref="Sample"/>, or <paramref name="destination"/> is not <see cref="VocabularySize"/> long.</exception>
    /// <exception cref="InvalidOperationException">The chain's biases or the constraint exclude every token.</exception>
    public void GetProbabilities(ReadOnlySpan<float> logits, Span<double> destination)
    {
        if (logits.Length != VocabularySize || destination.Length != VocabularySize)
            throw new ArgumentException($"Expected {VocabularySize} logits and room for as many probabilities, found {logits.Length} and {destination.Length}.", nameof(destination));
        int best = ArgMax(Constrain(ref logits));
        destination.Clear();
        if (_candidates is not null)
        {
            _candidates.Fill(logits);
            CounterRandom random = _random;
            foreach (SamplingState step in _steps)
                step.Apply(_candidates, ref random);
            double sum = _candidates.Weigh();
            for (int i = 0; i < _candidates.Count; i++)
                destination[_candidates.Ids[i]] = _candidates.Weights[i] / sum;
        }
        else if (_options.Temperature == 0f)
        {
            destination[best] = 1;
        }
        else if (_heap.Length == 0)
        {
            double sum = Weigh(logits, logits[best]);
            for (int i = 0; i < destination.Length; i++)
                destination[i] = _weights[i] / sum;
        }
        else
        {
            int kept = Keep(logits, logits[best], out double sum);
            for (int i = 0; i < kept; i++)
                destination[_kept[i]] = _weights[i] / sum;
        }
    }

    /// <summary>Tells the steps and the constraint of a token that has become part of the text by another way than <see cref="Sample"/>: of a prompt whose tokens count as repeated.</summary>
    /// <param name="token">The token.</param>
    /// <exception cref="ArgumentOutOfRangeException">The token is outside the vocabulary.</exception>
    public void Accept(int token)
    {
        if ((uint)token >= (uint)VocabularySize)
            throw new ArgumentOutOfRangeException(nameof(token), token, $"Expected a token below {VocabularySize}.");
        foreach (SamplingState step in _steps)
            step.Accept(token);
        _constraint?.Accept(token);
    }

    /// <summary>Begins another text: what the steps and the constraint remember is forgotten. The draws go on where they are.</summary>
    public void Reset()
    {
        foreach (SamplingState step in _steps)
            step.Reset();
        _constraint?.Reset();
    }

    /// <summary>ln p of a token under the model's own distribution, the softmax of all logits.</summary>
    /// <param name="logits">The logits.</param>
    /// <param name="token">The token.</param>
    /// <exception cref="ArgumentOutOfRangeException">The token is outside the logits.</exception>
    /// <exception cref="ArgumentException">There are no logits, one is NaN or positive infinity, or all are negative infinity.</exception>
    public static double LogProbability(ReadOnlySpan<float> logits, int token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(token);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(token, logits.Length);
        return logits[token] - LogSum(logits);
    }

    /// <summary>The likeliest tokens under the model's own distribution and their ln p, the likeliest first, lower ids first among equals.</summary>
    /// <param name="logits">The logits.</param>
    /// <param name="destination">Receives as many as it holds; a few, since the time is that many times the logits' number at the most.</param>
    /// <returns>How many were written: the length of <paramref name="destination"/>, or the number of logits where there are fewer.</returns>
    /// <exception cref="ArgumentException">There are no logits, one is NaN or positive infinity, or all are negative infinity.</exception>
    public static int LogProbabilities(ReadOnlySpan<float> logits, Span<TokenLogProbability> destination)
    {
        double sum = LogSum(logits);
        int count = 0;
        if (destination.IsEmpty)
            return 0;
        for (int token = 0; token < logits.Length; token++)
        {
            double value = logits[token] - sum;
            if (count == destination.Length && value <= destination[count - 1].LogProbability)
                continue;
            int place = count < destination.Length ? count++ : count - 1;
            for (; place > 0 && destination[place - 1].LogProbability < value; place--)
                destination[place] = destination[place - 1];
            destination[place] = new TokenLogProbability(token, value);
        }
        return count;
    }

    private static double LogSum(ReadOnlySpan<float> logits)
    {
        double maximum = logits[ArgMax(logits)];
        double sum = 0;
        foreach (float logit in logits)
            sum += Math.Exp(logit - maximum);
        return maximum + Math.Log(sum);
    }

    // The logits of what may come next.
    private ReadOnlySpan<float> Constrain(ref ReadOnlySpan<float> logits)
    {
        if (_constraint is not null)
        {
            // What is no number is found before it is hidden.
            ArgMax(logits);
            logits.CopyTo(_constrained);
            _constraint.Exclude(_constrained);
            logits = _constrained;
            if (!logits.ContainsAnyExcept(float.NegativeInfinity))
                throw new InvalidOperationException("The constraint excludes every token that the model can choose.");
        }
        return logits;
    }

    private int Choose(ReadOnlySpan<float> logits, int best, out double probability)
    {
        if (_candidates is not null)
        {
            _candidates.Fill(logits);
            foreach (SamplingState step in _steps)
                step.Apply(_candidates, ref _random);
            return _candidates.Draw(ref _random, out probability);
        }
        probability = 1;
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
