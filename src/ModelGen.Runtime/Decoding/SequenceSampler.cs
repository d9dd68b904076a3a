using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Samples outputs, or decodes greedily (<see cref="SamplingOptions.Temperature"/> 0), for several inputs in one session, one or several samples for each. Nothing is allocated after construction. What is drawn for
/// a sequence does not depend on the others. The session stays the caller's to dispose. A sampler may be used by one thread at a time.
/// </summary>
/// <remarks>Sequences, prompts and encoder–decoders are as with <see cref="BeamSearch"/>; <see cref="TokenGenerator"/> gives a single text token by token, without an end.</remarks>
public sealed class SequenceSampler
{
    private readonly RunGuard _guard = new("sequence sampler");
    private readonly int[][] _single = new int[1][];
    private readonly ISequenceDecoder _decoder;
    private readonly DecodingOptions _options;
    private readonly DecodingInputs _inputs;
    private readonly TokenRules _rules;
    private readonly Sampler _sampler;
    private readonly CounterRandom[] _random;
    private readonly Lines _lines;
    private readonly int[] _next;
    private readonly int[] _from;
    private readonly int[] _lengths;
    private readonly bool[] _ended;
    private readonly double[] _sums;
    private readonly float[] _aligned;
    private readonly int _samples;

    /// <summary>Makes a sampler.</summary>
    /// <param name="decoder">The session. It takes as many inputs at a time as its sequences divided by <paramref name="samples"/>.</param>
    /// <param name="options">How long outputs get, how they end and what may not follow.</param>
    /// <param name="sampling">How tokens are chosen.</param>
    /// <param name="samples">The number of outputs of each input.</param>
    /// <exception cref="ArgumentException">An option does not fit the session.</exception>
    public SequenceSampler(ISequenceDecoder decoder, DecodingOptions options, SamplingOptions sampling, int samples = 1)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(sampling);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(samples);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(samples, decoder.Batch);
        options.Check(decoder);
        _decoder = decoder;
        _options = options;
        _samples = samples;
        int length = options.Length(decoder);
        _inputs = new DecodingInputs(decoder, samples, length);
        _rules = new TokenRules(options, decoder);
        if (sampling.Chain is not null)
        {
            throw new ArgumentException("A chain remembers one text, and this sampler draws for several in turns: expected Temperature, TopK and TopP alone.", nameof(sampling));
        }

        _sampler = new Sampler(sampling, decoder.VocabularySize);
        int rows = decoder.Batch, sources = options.Alignment ? decoder.AlignmentLength : 0;
        _random = new CounterRandom[rows];
        for (int row = 0; row < rows; row++)
        {
            _random[row] = new CounterRandom(sampling.Seed, (ulong)row);
        }

        _lines = new Lines(rows, length, sources);
        _next = new int[rows];
        _from = new int[rows];
        _lengths = new int[rows];
        _ended = new bool[rows];
        _sums = new double[rows];
        _aligned = new float[sources];
    }

    /// <summary>The most inputs of a call.</summary>
    public int Capacity => _inputs.Capacity;

    /// <summary>The number of inputs of the last call; 0 if it failed.</summary>
    public int InputCount { get; private set; }

    /// <summary>Samples outputs that continue one prompt.</summary>
    /// <inheritdoc cref="Sample(IReadOnlyList{int[]}, IReadOnlyList{int[]}?, bool)"/>
    /// <param name="prompt">What comes before the output, at least one token.</param>
    public void Sample(int[] prompt)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Sample), this);
        _single[0] = prompt;
        Run(_single, null, continues: false);
    }

    /// <summary>Samples outputs that continue prompts. Each call draws anew: a sampler that was just made repeats the first.</summary>
    /// <param name="prompts">Of each input, what comes before its outputs: at least one token. They must stay as they are during the call.</param>
    /// <param name="prefixes">Of each input, the tokens that every output begins with; null: none.</param>
    /// <param name="continues">Whether a language model's sequences are continued as they are, instead of emptied.</param>
    /// <exception cref="ArgumentException">There are no inputs, or more than <see cref="Capacity"/>; a prompt is empty; a prefix is too long, or there are not as many as prompts; or no token may follow.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary.</exception>
    /// <exception cref="ArithmeticException">The model's logits are not finite.</exception>
    /// <exception cref="InvalidOperationException">A prompt does not fit into the context, an encoder–decoder has no source that was encoded since its last output, or another thread is using the sampler or its session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Sample(IReadOnlyList<int[]> prompts, IReadOnlyList<int[]>? prefixes = null, bool continues = false)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Sample), this);
        Run(prompts, prefixes, continues);
    }

    private void Run(IReadOnlyList<int[]> prompts, IReadOnlyList<int[]>? prefixes, bool continues)
    {
        InputCount = 0;
        _inputs.Take(prompts, prefixes);
        _inputs.Feed(continues, _next);
        int vocabulary = _decoder.VocabularySize, active = _inputs.Count * _samples;
        for (int row = 0; row < _from.Length; row++)
        {
            _from[row] = row < active ? row / _samples * _samples : row;
            (_lengths[row], _ended[row], _sums[row]) = (0, false, 0);
        }

        // A prompt is computed once for all samples, whose first tokens follow from the same logits.
        ReadOnlySpan<float> logits = _decoder.Decode(_next);
        _next.AsSpan(0, active).Clear();
        for (int length = 1; active > 0; length++)
        {
            for (int row = 0; row < _inputs.Count * _samples; row++)
            {
                if (_next[row] >= 0)
                {
                    int source = length == 1 ? _from[row] : row;
                    Choose(row, source, length, logits.Slice(source * vocabulary, vocabulary));
                    active -= _next[row] < 0 ? 1 : 0;
                }
            }

            if (active > 0)
            {
                if (length == 1)
                {
                    _decoder.Reorder(_from);
                }

                logits = _decoder.Decode(_next);
            }
        }

        InputCount = _inputs.Count;
    }

    /// <summary>An output.</summary>
    /// <param name="input">The number of the input.</param>
    /// <param name="sample">The number of the sample.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such output.</exception>
    public Hypothesis Result(int input, int sample = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(input);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(input, InputCount);
        ArgumentOutOfRangeException.ThrowIfNegative(sample);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(sample, _samples);
        int row = (input * _samples) + sample;
        return _lines.Hypothesis(row, _lengths[row], _ended[row], _sums[row], _sums[row]);
    }

    private void Choose(int row, int source, int length, ReadOnlySpan<float> logits)
    {
        int input = row / _samples, token;
        ReadOnlySpan<int> prefix = _inputs.Prefix(input);
        if (length <= prefix.Length)
        {
            token = prefix[length - 1];
        }
        else
        {
            ReadOnlySpan<float> allowed = _rules.Apply(input, _inputs.Prompt(input), _lines.Tokens(row, length - 1), logits);
            _sampler.Random = _random[row];
            token = _sampler.Sample(allowed);
            _random[row] = _sampler.Random;
        }

        double logProbability = logits[token] - LogSumExp.Of(logits);
        if (_aligned.Length > 0)
        {
            _decoder.Alignment(source, _aligned);
        }

        _lines.Set(row, length - 1, token, (float)logProbability, _aligned);
        _sums[row] += logProbability;
        _lengths[row] = length;
        _ended[row] = _rules.Ends(token);
        _next[row] = _ended[row] || length == _inputs.Limit(input) ? -1 : token;
    }
}
