using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Divides logits by one temperature, or by one between two as the entropy has it.</summary>
internal sealed class TemperatureStep(double minimum, double maximum, double exponent) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(minimum, maximum, exponent);

    internal override bool IsKnownToDevices(out CudaDrawingStep? step)
    {
        step = minimum == 0 ? new CudaDrawingStep(CudaDrawingKind.TopK, 1, 0) : minimum == 1 ? null : new CudaDrawingStep(CudaDrawingKind.Temperature, 0, minimum);
        return minimum == maximum;
    }

    private protected override string Describe() => minimum == maximum
        ? string.Create(CultureInfo.InvariantCulture, $"temperature {minimum}")
        : string.Create(CultureInfo.InvariantCulture, $"dynamic temperature {minimum} to {maximum}, exponent {exponent}");

    private sealed class State(double minimum, double maximum, double exponent) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            double temperature = minimum;
            if (maximum > minimum && candidates.Count > 1)
            {
                double entropy = Entropy(candidates);
                temperature = minimum + ((maximum - minimum) * Math.Pow(Math.Clamp(entropy / Math.Log(candidates.Count), 0, 1), exponent));
            }

            if (temperature == 0)
            {
                candidates.Order(1);
                candidates.Truncate(1);
                return;
            }

            foreach (ref double logit in candidates.Logits)
            {
                logit /= temperature;
            }
        }
    }

    /// <summary>The entropy of p, in nats; leaves the weights computed.</summary>
    internal static double Entropy(SamplingCandidates candidates)
    {
        double total = candidates.Weigh();
        double entropy = 0;
        foreach (double weight in candidates.Weights)
        {
            double probability = weight / total;
            entropy -= probability > 0 ? probability * Math.Log(probability) : 0;
        }

        return entropy;
    }
}

internal sealed class TopKStep(int count) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(count);

    internal override bool IsKnownToDevices(out CudaDrawingStep? step)
    {
        step = count == 0 ? null : new CudaDrawingStep(CudaDrawingKind.TopK, count, 0);
        return true;
    }

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"top-k {count}");

    private sealed class State(int count) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            if (count > 0 && count < candidates.Count)
            {
                candidates.Order(count);
                candidates.Truncate(count);
            }
        }
    }
}

internal sealed class TopPStep(double mass, int minimum) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(mass, minimum);

    internal override bool IsKnownToDevices(out CudaDrawingStep? step)
    {
        step = mass == 1 ? null : new CudaDrawingStep(CudaDrawingKind.TopP, 0, mass);
        return minimum == 1 || mass == 1;
    }

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"top-p {mass}, at least {minimum}");

    private sealed class State(double mass, int minimum) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            if (mass < 1)
            {
                candidates.KeepMass(mass * candidates.Weigh(), minimum);
            }
        }
    }
}

internal sealed class MinPStep(double ratio) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(Math.Log(ratio));

    internal override bool IsKnownToDevices(out CudaDrawingStep? step)
    {
        step = ratio == 0 ? null : new CudaDrawingStep(CudaDrawingKind.MinP, 0, Math.Log(ratio));
        return true;
    }

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"min-p {ratio}");

    private sealed class State(double difference) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random) => candidates.KeepFrom(candidates.Largest() + difference);
    }
}

internal sealed class TypicalStep(double mass) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(mass);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"typical {mass}");

    private sealed class State(double mass) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            if (mass == 1 || candidates.Count < 2)
            {
                return;
            }

            double entropy = TemperatureStep.Entropy(candidates);
            double total = 0;
            foreach (double weight in candidates.Weights)
            {
                total += weight;
            }

            Span<double> keys = candidates.Keys;
            for (int i = 0; i < keys.Length; i++)
            {
                // The nearest has the largest key; what has no probability comes last.
                keys[i] = -Math.Abs(-Math.Log(candidates.Weights[i] / total) - entropy);
            }

            candidates.KeepMassByKeys(mass * total);
        }
    }
}

internal sealed class TopNSigmaStep(double deviations) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(deviations);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"top-n-sigma {deviations}");

    private sealed class State(double deviations) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            double largest = candidates.Largest();
            double mean = 0;
            int count = 0;
            foreach (double logit in candidates.Logits)
            {
                if (double.IsFinite(logit))
                {
                    mean += logit;
                    count++;
                }
            }

            mean /= count;
            double variance = 0;
            foreach (double logit in candidates.Logits)
            {
                variance += double.IsFinite(logit) ? (logit - mean) * (logit - mean) : 0;
            }

            candidates.KeepFrom(largest - (deviations * Math.Sqrt(variance / count)));
        }
    }
}

internal sealed class ExcludeTopChoicesStep(double probability, double threshold) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(probability, threshold);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"excluding top choices of {threshold} with probability {probability}");

    private sealed class State(double probability, double threshold) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            bool isDue = random.NextDouble() < probability;
            if (!isDue || candidates.Count < 2)
            {
                return;
            }

            // At most 1 / threshold tokens reach it.
            double least = threshold * candidates.Weigh();
            candidates.Order((int)Math.Min(candidates.Count, Math.Floor(1 / threshold) + 2));
            int reaching = 0;
            while (reaching < candidates.Count && candidates.Weights[reaching] >= least)
            {
                reaching++;
            }

            if (reaching >= 2)
            {
                candidates.RemoveFirst(reaching - 1);
            }
        }
    }
}

internal sealed class MirostatStep(double surprise, double rate) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(surprise, rate);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"mirostat 2, surprise {surprise}, rate {rate}");

    private sealed class State(double surprise, double rate) : SamplingState
    {
        private double _limit = 2 * surprise;

        public override bool IsLast => true;

        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            // −log2 p ≤ μ, so p ≥ 2^−μ: the likeliest always stays.
            double total = candidates.Weigh();
            double largest = candidates.Largest();
            candidates.KeepFrom(Math.Min(largest, largest + Math.Log(total) - (_limit * Math.Log(2))));
        }

        public override void Drawn(double probability) => _limit -= rate * (-Math.Log2(probability) - surprise);

        public override void Reset() => _limit = 2 * surprise;
    }
}

internal sealed class PenaltiesStep(int last, double repetition, double frequency, double presence) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(vocabularySize, last, repetition, frequency, presence);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"penalties over {last} tokens: repetition {repetition}, frequency {frequency}, presence {presence}");

    private sealed class State(int vocabularySize, int last, double repetition, double frequency, double presence) : SamplingState
    {
        private readonly LastTokens _tokens = new(last);
        private readonly int[] _counts = new int[last > 0 ? vocabularySize : 0];

        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            bool changed = false;
            for (int age = 0; age < _tokens.Count; age++)
            {
                int token = _tokens[age];
                int count = _counts[token];

                // A token that is there several times is met once: its count is negative then.
                if (count > 0)
                {
                    _counts[token] = -count;
                    int index = candidates.IndexOf(token);
                    if (index >= 0)
                    {
                        ref double logit = ref candidates.Logits[index];
                        logit = (logit > 0 ? logit / repetition : logit * repetition) - (count * frequency) - presence;
                        changed = true;
                    }
                }
            }

            for (int age = 0; age < _tokens.Count; age++)
            {
                int token = _tokens[age];
                _counts[token] = Math.Abs(_counts[token]);
            }

            if (changed)
            {
                candidates.Changed();
            }
        }

        public override void Accept(int token)
        {
            if (last == 0)
            {
                return;
            }

            if (_tokens.Count == last)
            {
                _counts[_tokens[last - 1]]--;
            }

            _tokens.Add(token);
            _counts[token]++;
        }

        public override void Reset()
        {
            _tokens.Clear();
            Array.Clear(_counts);
        }
    }
}

internal sealed class DontRepeatStep(double multiplier, double growth, int allowedLength, int last, int[] breakers) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize) => new State(vocabularySize, multiplier, growth, allowedLength, last, breakers);

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"don't repeat: multiplier {multiplier}, growth {growth}, from {allowedLength} of {last} tokens on, {breakers.Length} breakers");

    private sealed class State : SamplingState
    {
        // Beyond any difference of logits, and finite: what is penalized stays choosable where there is nothing else.
        private const double LargestPenalty = 1e30;

        private readonly double _multiplier;
        private readonly double _growth;
        private readonly int _allowedLength;
        private readonly LastTokens _tokens;
        private readonly int[] _lengths;
        private readonly int[] _longest;
        private readonly bool[] _isBreaker;

        public State(int vocabularySize, double multiplier, double growth, int allowedLength, int last, int[] breakers)
        {
            _multiplier = multiplier;
            _growth = growth;
            _allowedLength = allowedLength;
            _tokens = new LastTokens(last);
            _lengths = new int[last];
            _longest = new int[vocabularySize];
            _isBreaker = new bool[vocabularySize];
            foreach (int token in breakers)
            {
                _isBreaker[(uint)token < (uint)vocabularySize ? token : throw new ArgumentException(FormattableString.Invariant($"A breaker is the token {token}, but there are {vocabularySize}."))] = true;
            }
        }

        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            int count = _tokens.Count;

            // No repetition is longer than what stands behind the last breaker.
            int limit = 0;
            while (limit < count && !_isBreaker[_tokens[limit]])
            {
                limit++;
            }

            if (_multiplier == 0 || limit < _allowedLength)
            {
                return;
            }

            FindLengths(count);
            for (int age = 1; age < count; age++)
            {
                int length = Math.Min(_lengths[age], limit);
                int behind = _tokens[age - 1];
                if (length >= _allowedLength && !_isBreaker[behind])
                {
                    _longest[behind] = Math.Max(_longest[behind], length);
                }
            }

            for (int age = 1; age < count; age++)
            {
                int behind = _tokens[age - 1];
                if (_longest[behind] > 0)
                {
                    double penalty = Math.Min(_multiplier * Math.Pow(_growth, _longest[behind] - _allowedLength), LargestPenalty);
                    _longest[behind] = 0;
                    int index = candidates.IndexOf(behind);
                    if (index >= 0)
                    {
                        candidates.Logits[index] -= penalty;
                    }
                }
            }

            candidates.Changed();
        }

        public override void Accept(int token) => _tokens.Add(token);

        public override void Reset() => _tokens.Clear();

        // Of each place, from the newest on, how many tokens before it are those at the end: Gusfield's Z over the text backwards.
        private void FindLengths(int count)
        {
            int left = 0;
            int right = 0;
            for (int age = 1; age < count; age++)
            {
                int length = age < right ? Math.Min(right - age, _lengths[age - left]) : 0;
                while (age + length < count && _tokens[length] == _tokens[age + length])
                {
                    length++;
                }

                _lengths[age] = length;
                if (age + length > right)
                {
                    (left, right) = (age, age + length);
                }
            }
        }
    }
}

internal sealed class LogitBiasStep(KeyValuePair<int, float>[] biases) : SamplingStep
{
    internal override SamplingState CreateState(int vocabularySize)
    {
        foreach ((int token, _) in biases)
        {
            if (token >= vocabularySize)
            {
                throw new ArgumentException(FormattableString.Invariant($"A bias is of the token {token}, but there are {vocabularySize}."));
            }
        }

        return new State(biases);
    }

    private protected override string Describe() => string.Create(CultureInfo.InvariantCulture, $"biases of {biases.Length} logits");

    private sealed class State(KeyValuePair<int, float>[] biases) : SamplingState
    {
        public override void Apply(SamplingCandidates candidates, ref CounterRandom random)
        {
            foreach ((int token, float bias) in biases)
            {
                int index = candidates.IndexOf(token);
                if (index >= 0)
                {
                    candidates.Logits[index] += bias;
                }
            }

            candidates.Changed();
        }
    }
}
