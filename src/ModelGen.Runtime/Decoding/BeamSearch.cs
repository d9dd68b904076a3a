using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// Looks for the most likely outputs of a model by following several hypotheses of each input at a time, of several inputs in one session. Its conventions stand at <see cref="BeamSearchOptions"/>. It is deterministic, and
/// allocates nothing after construction. The session stays the caller's to dispose. A search may be used by one thread at a time.
/// </summary>
/// <remarks>
/// Input i has the session's sequences from i × beams on. A language model's sequences are emptied before its prompt is fed; of an encoder–decoder, the sources are to be encoded into the first sequence of each input before, and
/// prompts are the tokens that outputs begin with (<c>&lt;bos&gt;</c>).
/// </remarks>
public sealed class BeamSearch
{
    private readonly RunGuard _guard = new("beam search");
    private readonly int[][] _single = new int[1][];
    private readonly ISequenceDecoder _decoder;
    private readonly BeamSearchOptions _options;
    private readonly DecodingInputs _inputs;
    private readonly TokenRules _rules;
    private readonly int _beams;
    private readonly int _length;
    private readonly int _vocabulary;
    private readonly int _sources;
    private readonly double[] _penalties;

    // Of each sequence of the session: what it holds of an output, its log-probability, and what it goes on with.
    private readonly Lines _lines;
    private readonly double[] _sums;
    private readonly double[] _coverage;
    private readonly float[] _aligned;
    private readonly int[] _next;
    private readonly int[] _from;
    private readonly float[] _nextLogProbabilities;

    // Of each input: the log-probability of its forced prefix, as far as it does not count.
    private readonly double[] _forced;

    // Of each input: the sequences of its unfinished hypotheses, best first.
    private readonly int[] _order;
    private readonly int[] _live;

    // Of each input: finished hypotheses, best first.
    private readonly Lines _finished;
    private readonly int[] _places;
    private readonly int[] _counts;
    private readonly int[] _lengths;
    private readonly bool[] _ended;
    private readonly double[] _logProbabilities;
    private readonly double[] _scores;

    // Of one input: what may follow, best first.
    private readonly Candidate[] _candidates;
    private int _candidateCount;

    /// <summary>Makes a search.</summary>
    /// <param name="decoder">The session. It takes as many inputs at a time as its sequences divided by <see cref="BeamSearchOptions.Beams"/>.</param>
    /// <param name="options">How to search.</param>
    /// <exception cref="ArgumentException">An option does not fit the session, or contradicts another one.</exception>
    public BeamSearch(ISequenceDecoder decoder, BeamSearchOptions options)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(options);
        options.Check(decoder);
        _decoder = decoder;
        _options = options;
        _beams = options.Beams;
        _length = options.Length(decoder);
        _vocabulary = decoder.VocabularySize;
        _sources = options.Alignment || options.CoveragePenalty > 0 ? decoder.AlignmentLength : 0;
        _inputs = new DecodingInputs(decoder, _beams, _length);
        _rules = new TokenRules(options, decoder);
        _penalties = new double[_length + 1];
        for (int i = 0; i < _penalties.Length; i++)
        {
            _penalties[i] = options.Penalty(i);
        }

        int rows = decoder.Batch, hypotheses = Capacity * _beams;
        _lines = new Lines(hypotheses, _length, options.Alignment ? _sources : 0);
        _sums = new double[hypotheses];
        _coverage = new double[checked(options.CoveragePenalty > 0 ? hypotheses * _sources : 0)];
        _aligned = new float[checked(hypotheses * _sources)];
        _next = new int[rows];
        _from = new int[rows];
        _nextLogProbabilities = new float[hypotheses];
        _forced = new double[Capacity];
        _order = new int[hypotheses];
        _live = new int[Capacity];
        _finished = new Lines(hypotheses, _length, options.Alignment ? _sources : 0);
        _places = new int[hypotheses];
        _counts = new int[Capacity];
        _lengths = new int[hypotheses];
        _ended = new bool[hypotheses];
        _logProbabilities = new double[hypotheses];
        _scores = new double[hypotheses];
        _candidates = new Candidate[checked((1 + Math.Max(1, options.EndTokens.Count)) * _beams)];
    }

    /// <summary>How the search ranks and stops.</summary>
    public BeamSearchOptions Options => _options;

    /// <summary>The most inputs of a search.</summary>
    public int Capacity => _inputs.Capacity;

    /// <summary>The number of inputs of the last search; 0 if it failed.</summary>
    public int InputCount { get; private set; }

    /// <summary>Searches the outputs that continue one prompt.</summary>
    /// <inheritdoc cref="Search(IReadOnlyList{int[]}, IReadOnlyList{int[]}?, bool)"/>
    /// <param name="prompt">What comes before the output, at least one token.</param>
    public void Search(int[] prompt)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Search), this);
        _single[0] = prompt;
        Run(_single, null, continues: false);
    }

    /// <summary>Searches the outputs that continue prompts.</summary>
    /// <param name="prompts">Of each input, what comes before its output: at least one token. They must stay as they are during the call.</param>
    /// <param name="prefixes">Of each input, the tokens that every output begins with, scored as the rest is; null: none.</param>
    /// <param name="continues">Whether a language model's sequences are continued as they are, instead of emptied.</param>
    /// <exception cref="ArgumentException">There are no inputs, or more than <see cref="Capacity"/>; a prompt is empty; a prefix is too long, or there are not as many as prompts.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary.</exception>
    /// <exception cref="ArithmeticException">The model's logits are not finite.</exception>
    /// <exception cref="InvalidOperationException">A prompt does not fit into the context, an encoder–decoder has no source that was encoded since its last output, or another thread is using the search or its session.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed.</exception>
    public void Search(IReadOnlyList<int[]> prompts, IReadOnlyList<int[]>? prefixes = null, bool continues = false)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Search), this);
        Run(prompts, prefixes, continues);
    }

    private void Run(IReadOnlyList<int[]> prompts, IReadOnlyList<int[]>? prefixes, bool continues)
    {
        InputCount = 0;
        _inputs.Take(prompts, prefixes);
        _inputs.Feed(continues, _next);
        for (int row = 0; row < _from.Length; row++)
        {
            _from[row] = row;
        }

        int active = _inputs.Count;
        for (int input = 0; input < active; input++)
        {
            int first = input * _beams;
            (_live[input], _order[first], _counts[input], _sums[first], _forced[input]) = (1, first, 0, 0, 0);
            if (_coverage.Length > 0)
            {
                _coverage.AsSpan(first * _sources, _sources).Clear();
            }
        }

        for (int length = 1; active > 0; length++)
        {
            ReadOnlySpan<float> logits = _decoder.Decode(_next);
            for (int input = 0; input < _inputs.Count; input++)
            {
                if (_live[input] > 0)
                {
                    Step(input, length, logits);
                    active -= _live[input] == 0 ? 1 : 0;
                }
            }

            if (active > 0)
            {
                _decoder.Reorder(_from);
                Follow(length);
            }
        }

        InputCount = _inputs.Count;
    }

    /// <summary>The number of hypotheses that were found for an input: as many as were asked for, unless there are fewer allowed ones.</summary>
    /// <param name="input">The number of the input.</param>
    /// <exception cref="ArgumentOutOfRangeException">The last search had no such input.</exception>
    public int Count(int input)
    {
        CheckInput(input);
        return Math.Min(_counts[input], _options.Results);
    }

    /// <summary>A hypothesis that was found.</summary>
    /// <param name="input">The number of the input.</param>
    /// <param name="rank">0 for the best, 1 for the next, to below <see cref="Count"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such hypothesis.</exception>
    public Hypothesis Result(int input, int rank = 0)
    {
        int count = Count(input);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, count);
        int place = _places[(input * _beams) + rank];
        return _finished.Hypothesis(place, _lengths[place], _ended[place], _logProbabilities[place], _scores[place]);
    }

    private void CheckInput(int input)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(input);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(input, InputCount);
    }

    /// <summary>Chooses how an input's hypotheses, of one token less than the length, go on.</summary>
    private void Step(int input, int length, ReadOnlySpan<float> logits)
    {
        int first = input * _beams;
        ReadOnlySpan<int> order = _order.AsSpan(first, _live[input]), prefix = _inputs.Prefix(input);
        _candidateCount = 0;
        foreach (int row in order)
        {
            ReadOnlySpan<float> own = logits.Slice(row * _vocabulary, _vocabulary);
            double normalizer = LogSumExp.Of(own);
            if (length <= prefix.Length)
            {
                int token = prefix[length - 1];
                Add(new Candidate(_sums[row] + ((double)own[token] - normalizer), (float)(own[token] - normalizer), row, token));
                _forced[input] = _options.ScorePrefix ? 0 : _candidates[0].Sum;
            }
            else
            {
                Gather(row, _rules.Apply(input, _inputs.Prompt(input), _lines.Tokens(row, length - 1), own), normalizer);
            }

            if (_sources > 0)
            {
                _decoder.Alignment(row, _aligned.AsSpan(row * _sources, _sources));
            }
        }

        // End tokens among the first finish a hypothesis, the best others go on.
        int live = 0;
        for (int i = 0; i < _candidateCount && live < _beams; i++)
        {
            ref readonly Candidate candidate = ref _candidates[i];
            if (!_rules.Ends(candidate.Token))
            {
                _candidates[live++] = candidate;
            }
            else if (i < _beams)
            {
                Finish(input, length, candidate, ended: true);
            }
        }

        ReadOnlySpan<Candidate> next = _candidates.AsSpan(0, live);
        if (length == _inputs.Limit(input))
        {
            foreach (ref readonly Candidate candidate in next)
            {
                Finish(input, length, candidate, ended: false);
            }

            live = 0;
        }
        else if (live > 0 && IsThrough(input, length, next[0].Sum - _forced[input]))
        {
            live = 0;
        }

        Place(input, next[..live]);
    }

    /// <summary>Puts what may follow a hypothesis among the candidates.</summary>
    private void Gather(int row, ReadOnlySpan<float> logits, double normalizer)
    {
        double sum = _sums[row];
        ref float first = ref MemoryMarshal.GetReference(logits);
        float least = Least();
        for (int start = 0; start < logits.Length; start += 8)
        {
            int end = Math.Min(start + 8, logits.Length);
            if (end - start == 8 && !Vector256.GreaterThanAny(Vector256.LoadUnsafe(ref first, (nuint)start), Vector256.Create(least)))
            {
                continue;
            }

            for (int token = start; token < end; token++)
            {
                if (logits[token] > least)
                {
                    double logProbability = logits[token] - normalizer;
                    Add(new Candidate(sum + logProbability, (float)logProbability, row, token));
                    least = Least();
                }
            }
        }

        // A logit that is not above this one cannot make a candidate: rounded down, so that it is no limit by itself.
        float Least() => _candidateCount < _candidates.Length ? float.NegativeInfinity : MathF.BitDecrement(MathF.BitDecrement((float)(_candidates[^1].Sum - sum + normalizer)));
    }

    /// <summary>Puts a candidate where it belongs; what came first stays first among equals.</summary>
    private void Add(in Candidate candidate)
    {
        if (_candidateCount == _candidates.Length)
        {
            if (!(candidate.Sum > _candidates[^1].Sum))
            {
                return;
            }

            _candidateCount--;
        }

        int place = _candidateCount++;
        while (place > 0 && candidate.Sum > _candidates[place - 1].Sum)
        {
            _candidates[place] = _candidates[place - 1];
            place--;
        }

        _candidates[place] = candidate;
    }

    /// <summary>Whether an input needs no more steps, the best of what goes on being of this log-probability, as far as it counts.</summary>
    private bool IsThrough(int input, int length, double sum)
    {
        int needed = _options.Stopping == BeamStopping.Exact ? _options.Results : _beams;
        if (_counts[input] < needed)
        {
            return false;
        }

        double last = _scores[_places[(input * _beams) + needed - 1]];
        return _options.Stopping switch
        {
            BeamStopping.Exact => last >= sum / Math.Max(_penalties[_inputs.Limit(input)], _penalties[length + 1]),
            BeamStopping.Estimate => last >= sum / _penalties[length],
            _ => true,
        };
    }

    /// <summary>Keeps a finished hypothesis if it is among the best.</summary>
    private void Finish(int input, int length, in Candidate candidate, bool ended)
    {
        int row = candidate.Row, first = input * _beams, count = _counts[input];
        Span<int> places = _places.AsSpan(first, _beams);
        double score = ((candidate.Sum - _forced[input]) / _penalties[length]) + Coverage(row);
        if (count == _beams && !(score > _scores[places[^1]]))
        {
            return;
        }

        int place = count < _beams ? first + count : places[^1], rank = count < _beams ? count : count - 1;
        for (; rank > 0 && score > _scores[places[rank - 1]]; rank--)
        {
            places[rank] = places[rank - 1];
        }

        places[rank] = place;
        _counts[input] = Math.Min(count + 1, _beams);
        _finished.Copy(_lines, row, place, length - 1);
        _finished.Set(place, length - 1, candidate.Token, candidate.LogProbability, Aligned(row));
        (_lengths[place], _ended[place], _logProbabilities[place], _scores[place]) = (length, ended, candidate.Sum, score);
    }

    /// <summary>The coverage penalty of a hypothesis with the token that it is about to get.</summary>
    private double Coverage(int row)
    {
        if (_coverage.Length == 0)
        {
            return 0;
        }

        double sum = 0;
        for (int source = 0; source < _decoder.SourceLength(row); source++)
        {
            // A weight that single precision rounds to zero was not zero.
            double covered = _coverage[(row * _sources) + source] + _aligned[(row * _sources) + source];
            sum += Math.Log(Math.Clamp(covered, float.Epsilon, 1));
        }

        return _options.CoveragePenalty * sum;
    }

    private ReadOnlySpan<float> Aligned(int row) => _aligned.AsSpan(row * _sources, _sources);

    /// <summary>Gives each hypothesis that goes on a sequence: the first that continues another one has that one's, and only the others need copies.</summary>
    private void Place(int input, ReadOnlySpan<Candidate> next)
    {
        int first = input * _beams;
        for (int row = first; row < first + _beams; row++)
        {
            (_from[row], _next[row]) = (row, -1);
        }

        Span<int> order = _order.AsSpan(first, _beams);
        order.Fill(-1);
        for (int rank = 0; rank < next.Length; rank++)
        {
            if (_next[next[rank].Row] < 0)
            {
                Take(next[rank].Row, next[rank], order, rank);
            }
        }

        int free = first;
        for (int rank = 0; rank < next.Length; rank++)
        {
            if (order[rank] < 0)
            {
                while (_next[free] >= 0)
                {
                    free++;
                }

                Take(free, next[rank], order, rank);
            }
        }

        _live[input] = next.Length;

        void Take(int row, in Candidate candidate, Span<int> order, int rank)
        {
            order[rank] = row;
            (_from[row], _next[row], _nextLogProbabilities[row], _sums[row]) = (candidate.Row, candidate.Token, candidate.LogProbability, candidate.Sum);
        }
    }

    /// <summary>Lets what is kept of the hypotheses follow the session's sequences, and appends their tokens.</summary>
    private void Follow(int length)
    {
        // A sequence that others are copied from keeps its own.
        for (int row = 0; row < _sums.Length; row++)
        {
            if (_from[row] != row)
            {
                _lines.Copy(_lines, _from[row], row, length - 1);
                if (_coverage.Length > 0)
                {
                    _coverage.AsSpan(_from[row] * _sources, _sources).CopyTo(_coverage.AsSpan(row * _sources, _sources));
                }
            }
        }

        for (int row = 0; row < _sums.Length; row++)
        {
            if (_next[row] >= 0)
            {
                ReadOnlySpan<float> aligned = Aligned(_from[row]);
                _lines.Set(row, length - 1, _next[row], _nextLogProbabilities[row], aligned);
                for (int source = 0; source < (_coverage.Length > 0 ? _sources : 0); source++)
                {
                    _coverage[(row * _sources) + source] += aligned[source];
                }
            }
        }
    }

    private readonly record struct Candidate(double Sum, float LogProbability, int Row, int Token);
}
