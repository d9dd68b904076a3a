namespace ModelGen;

/// <summary>
/// Scheduled sampling (Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015): a decoder that was only ever shown right
/// targets has never seen its own mistakes, so some of its inputs become what it would have written there itself, more of them as training goes on. Nothing is
/// allocated once it is created, and the same seed gives the same choices.
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
    public static double Linear(long step, long steps, double least = 0) => Math.Max(least, 1 - ((double)step / steps));

    /// <summary>The probability of a right token after some steps, falling by a factor with each: rate^step.</summary>
    /// <param name="step">The steps that were taken.</param>
    /// <param name="rate">The factor, below 1.</param>
    public static double Exponential(long step, double rate) => Math.Pow(rate, step);

    /// <summary>The probability of a right token after some steps, as an inverse sigmoid: k ÷ (k + exp(step ÷ k)).</summary>
    /// <param name="step">The steps that were taken.</param>
    /// <param name="k">How late it falls, 1 or more.</param>
    public static double InverseSigmoid(long step, double k) => k / (k + Math.Exp(step / k));

    /// <summary>
    /// Replaces some of a batch's inputs, but for the first of each target, by the most probable token that the model gives after the inputs before it, those replaced
    /// included.
    /// </summary>
    /// <param name="source">The sources' token ids, batch × source length, row-major.</param>
    /// <param name="sourceLengths">How many tokens of each source count, 1 or more.</param>
    /// <param name="inputs">The targets' token ids, shifted right behind the one that every target begins with: batch × sequence length, row-major. They are changed in place.</param>
    /// <param name="right">The probability that a token stays as it is, 0 to 1.</param>
    /// <exception cref="ArgumentException">The lengths are not those of as many pairs as the session has sequences, or a source is empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The probability is not between 0 and 1, or an id is outside its vocabulary.</exception>
    public void Mix(ReadOnlySpan<int> source, ReadOnlySpan<int> sourceLengths, Span<int> inputs, double right)
    {
        int batch = _session.Batch;
        if (!(right is >= 0 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(right), right, "A probability is between 0 and 1.");
        }

        if (sourceLengths.Length != batch || source.Length % batch != 0 || inputs.Length % batch != 0)
        {
            throw new ArgumentException(FormattableString.Invariant($"The session has {batch} sequences, and there are {sourceLengths.Length} lengths, {source.Length} tokens of sources and {inputs.Length} of targets."), nameof(sourceLengths));
        }

        if (right == 1)
        {
            return;
        }

        (int sourceLength, int steps) = (source.Length / batch, inputs.Length / batch);
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
}
