using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Scheduled sampling (Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015): a decoder that was only ever shown right
/// targets has never seen its own mistakes, so some of its inputs become what it would have written there itself, more of them as training goes on. Nothing is
/// allocated once it is created, and the same seed gives the same choices. It may be used by one thread at a time.
/// </summary>
/// <example>
/// <code>
/// var sampling = new ScheduledSampling(model.CreateSession(new SessionOptions { Batch = 32 }), seed: 1);
/// sampling.Mix(source, sourceLengths, inputs, ScheduledSampling.InverseSigmoid(step, 500));
/// float loss = trainer.Step(source, sourceLengths, inputs, targets);
/// </code>
/// </example>
public sealed class ScheduledSampling
{
    private readonly RunGuard _guard = new("scheduled sampling");
    private readonly EncoderDecoderSession _session;
    private readonly int[] _tokens;
    private CounterRandom _random;

    /// <summary>Prepares it.</summary>
    /// <param name="session">A session of the model that is trained, with as many sequences as a batch has. It is used by <see cref="Mix"/> alone, and is not disposed.</param>
    /// <param name="seed">The seed of the choices.</param>
    /// <exception cref="ArgumentNullException">There is no session.</exception>
    public ScheduledSampling(EncoderDecoderSession session, int seed = 0)
    {
        ArgumentNullException.ThrowIfNull(session);
        _session = session;
        _tokens = new int[session.Batch];
        _random = new CounterRandom((ulong)seed, 0x5343);
    }

    /// <summary>The probability of a right token after some steps, falling in a straight line: max(<paramref name="least"/>, 1 − step ÷ steps).</summary>
    /// <param name="step">The steps that were taken.</param>
    /// <param name="steps">After how many steps it would be 0.</param>
    /// <param name="least">What it does not fall below, 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative, the number of steps is not positive, or <paramref name="least"/> is not from 0 to 1.</exception>
    public static double Linear(long step, long steps, double least = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(steps);
        return Math.Max(Probability(least, nameof(least)), 1 - ((double)step / steps));
    }

    /// <summary>The probability of a right token after some steps, falling by a factor with each: rate^step.</summary>
    /// <param name="step">The steps that were taken.</param>
    /// <param name="rate">The factor, 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative, or the factor is not from 0 to 1.</exception>
    public static double Exponential(long step, double rate)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        return Math.Pow(Probability(rate, nameof(rate)), step);
    }

    /// <summary>The probability of a right token after some steps, as an inverse sigmoid: k ÷ (k + exp(step ÷ k)).</summary>
    /// <param name="step">The steps that were taken.</param>
    /// <param name="k">How late it falls, 1 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The step is negative, or <paramref name="k"/> is not a finite number of 1 or more.</exception>
    public static double InverseSigmoid(long step, double k)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        return k >= 1 && double.IsFinite(k) ? k / (k + Math.Exp(step / k)) : throw new ArgumentOutOfRangeException(nameof(k), k, "Expected a finite number, 1 or more.");
    }

    /// <summary>
    /// Replaces some of a batch's inputs, but for the first of each target, by the most probable token that the model gives after the inputs before it, those replaced
    /// included.
    /// </summary>
    /// <param name="source">The sources' token ids, batch × source length, row-major.</param>
    /// <param name="sourceLengths">How many tokens of each source count, 1 or more.</param>
    /// <param name="inputs">The targets' token ids, shifted right behind the one that every target begins with: batch × sequence length, row-major. They are changed in place.</param>
    /// <param name="right">The probability that a token stays as it is, 0 to 1.</param>
    /// <exception cref="ArgumentException">The lengths are not those of as many pairs as the session has sequences, a source is empty, or targets are longer than the session's context. The inputs are unchanged.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The probability is not between 0 and 1, or an id is outside its vocabulary. The inputs are unchanged.</exception>
    /// <exception cref="InvalidOperationException">Another thread is using this or the session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Mix(ReadOnlySpan<int> source, ReadOnlySpan<int> sourceLengths, Span<int> inputs, double right)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Mix), this);
        int batch = _session.Batch;
        Probability(right, nameof(right));

        if (sourceLengths.Length != batch || source.Length % batch != 0 || inputs.Length % batch != 0)
        {
            throw new ArgumentException(FormattableString.Invariant($"The session has {batch} sequences, and there are {sourceLengths.Length} lengths, {source.Length} tokens of sources and {inputs.Length} of targets."), nameof(sourceLengths));
        }

        // An id of -1 would leave a sequence where it is.
        RunChecks.TokenIds(inputs, _session.VocabularySize, nameof(inputs));
        (int sourceLength, int steps) = (source.Length / batch, inputs.Length / batch);
        if (_session.ContextLength > 0 && steps - 1 > _session.ContextLength)
        {
            throw new ArgumentException(FormattableString.Invariant($"Targets of {steps} tokens do not fit: the context length is {_session.ContextLength}."), nameof(inputs));
        }

        if (right == 1)
        {
            return;
        }

        for (int row = 0; row < batch; row++)
        {
            if ((uint)sourceLengths[row] > (uint)sourceLength)
            {
                throw new ArgumentException(FormattableString.Invariant($"Source {row} has {sourceLengths[row]} tokens, of {sourceLength}."), nameof(sourceLengths));
            }

            _session.Encode(row, source.Slice(row * sourceLength, sourceLengths[row]));
        }

        int vocabulary = _session.VocabularySize;
        for (int t = 0; t + 1 < steps; t++)
        {
            for (int row = 0; row < batch; row++)
            {
                _tokens[row] = inputs[(row * steps) + t];
            }

            ReadOnlySpan<float> logits = batch == 1 ? _session.Decode(_tokens[0]) : _session.Decode(_tokens);
            for (int row = 0; row < batch; row++)
            {
                if (_random.NextDouble() >= right)
                {
                    inputs[(row * steps) + t + 1] = Sampler.ArgMax(logits.Slice(row * vocabulary, vocabulary));
                }
            }
        }
    }

    private static double Probability(double value, string name)
        => value is >= 0 and <= 1 ? value : throw new ArgumentOutOfRangeException(name, value, "A probability is between 0 and 1.");
}
