using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A language model that counts: the probability of a token after the n - 1 before it, from how often they followed each other in a text, smoothed with shorter contexts (<see cref="NGramSmoothing"/>). It is what a neural
/// model has to beat. Immutable: it may be shared between threads. Scoring allocates nothing.
/// </summary>
/// <remarks>
/// What was seen is kept with its probability, every context with the factor for what was not (as in ARPA files): log p(w | h) = log p of the n-gram hw if it was seen, else log backoff(h) + log p(w | h without its first
/// token). An n-gram takes 16 bytes, 8 at the highest order. Every token of the vocabulary has a probability above zero after every context, and they sum to one.
/// </remarks>
public sealed class NGramModel
{
    /// <summary>The longest n-grams.</summary>
    public const int MaximumOrder = 12;

    private const string FormatName = "modelgen.ngram";
    private readonly NGramLevel[] _levels;

    internal NGramModel(NGramOptions options, NGramLevel[] levels)
    {
        Options = options;
        _levels = levels;
    }

    /// <summary>What the model was made with.</summary>
    public NGramOptions Options { get; }

    /// <summary>The length n of the longest n-grams.</summary>
    public int Order => _levels.Length;

    /// <summary>The number of token ids.</summary>
    public int VocabularySize => Options.VocabularySize;

    /// <summary>The number of n-grams of all orders that were seen, the vocabulary's tokens among them.</summary>
    public long NGramCount => _levels.Fold(0L, static (sum, level) => sum + level.Tokens.Length);

    /// <summary>Makes a model of one text.</summary>
    /// <param name="text">The text's tokens.</param>
    /// <param name="options">What the model is made with.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order or the vocabulary's size is out of range.</exception>
    /// <exception cref="InvalidDataException">A token is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">The text has fewer than two tokens.</exception>
    public static NGramModel Train(TokenDataset text, NGramOptions options)
    {
        var counts = new NGramCounts(options);
        counts.Add(text);
        return counts.Build();
    }

    /// <summary>Makes a model of several texts, such as sentences: n-grams do not reach from one into another.</summary>
    /// <param name="texts">The texts' tokens; see <see cref="NGramCounts"/> for how they begin and end.</param>
    /// <param name="options">What the model is made with.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order or the vocabulary's size is out of range, or a token is outside the vocabulary.</exception>
    /// <exception cref="InvalidOperationException">No text has two tokens.</exception>
    public static NGramModel Train(IEnumerable<int[]> texts, NGramOptions options)
    {
        ArgumentNullException.ThrowIfNull(texts);
        var counts = new NGramCounts(options);
        foreach (int[] text in texts)
        {
            counts.Add(text);
        }

        return counts.Build();
    }

    /// <summary>The log-probability of a token after others, in nats.</summary>
    /// <param name="context">What comes before; the last <see cref="Order"/> - 1 tokens count.</param>
    /// <param name="token">The token.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token that counts is outside the vocabulary.</exception>
    public double LogProbability(ReadOnlySpan<int> context, int token)
    {
        RunChecks.TokenIds(new ReadOnlySpan<int>(in token), VocabularySize, nameof(token));
        Span<int> nodes = stackalloc int[Order];
        Read(context, nodes);
        return Follow(nodes, token);
    }

    /// <summary>The log-probabilities of all tokens after others, in nats.</summary>
    /// <param name="context">What comes before; the last <see cref="Order"/> - 1 tokens count.</param>
    /// <param name="logProbabilities">Receives one for each token id.</param>
    /// <exception cref="ArgumentException">There is no room for as many as <see cref="VocabularySize"/>, or for more.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token that counts is outside the vocabulary.</exception>
    public void LogProbabilities(ReadOnlySpan<int> context, Span<float> logProbabilities)
    {
        if (logProbabilities.Length != VocabularySize)
        {
            throw new ArgumentException(FormattableString.Invariant($"There are {VocabularySize} log-probabilities, but there is room for {logProbabilities.Length}."), nameof(logProbabilities));
        }

        Span<int> nodes = stackalloc int[Order];
        Read(context, nodes);
        FollowAll(nodes, logProbabilities);
    }

    /// <summary>The log-probability of each token of a text but the first, each after all before it, in nats.</summary>
    /// <param name="tokens">The text, two tokens or more.</param>
    /// <param name="logProbabilities">Receives one less.</param>
    /// <exception cref="ArgumentException">There are fewer than two tokens, or there is not room for exactly one less.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary.</exception>
    public void Score(ReadOnlySpan<int> tokens, Span<float> logProbabilities)
    {
        if (tokens.Length < 2 || logProbabilities.Length != tokens.Length - 1)
        {
            throw new ArgumentException(FormattableString.Invariant($"The log-probabilities of {tokens.Length} tokens are {Math.Max(0, tokens.Length - 1)}, but there is room for {logProbabilities.Length}."), nameof(logProbabilities));
        }

        RunChecks.TokenIds(tokens, VocabularySize, nameof(tokens));
        Span<int> nodes = stackalloc int[Order];
        Begin(nodes);
        Advance(nodes, tokens[0]);
        for (int i = 1; i < tokens.Length; i++)
        {
            logProbabilities[i - 1] = (float)Follow(nodes, tokens[i]);
            Advance(nodes, tokens[i]);
        }
    }

    /// <summary>The mean loss of a text in nats per token: minus the mean log-probability of all its tokens but the first. Its exponential is the perplexity.</summary>
    /// <param name="text">The text, two tokens or more.</param>
    /// <exception cref="ArgumentException">There are fewer than two tokens.</exception>
    /// <exception cref="InvalidDataException">A token is outside the vocabulary.</exception>
    public double Evaluate(TokenDataset text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Length < 2)
        {
            throw new ArgumentException("There must be at least two tokens: a token is scored by what comes before it.", nameof(text));
        }

        text.RequireVocabulary(VocabularySize);
        Span<int> nodes = stackalloc int[Order], buffer = stackalloc int[512];
        Begin(nodes);
        double sum = 0;
        for (long start = 0; start < text.Length; start += buffer.Length)
        {
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, text.Length - start)];
            text.CopyTo(start, chunk);
            for (int i = 0; i < chunk.Length; i++)
            {
                sum -= start + i > 0 ? Follow(nodes, chunk[i]) : 0;
                Advance(nodes, chunk[i]);
            }
        }

        return sum / (text.Length - 1);
    }

    /// <summary>The mean loss of several texts in nats per token, over all their tokens but the first of each.</summary>
    /// <param name="texts">The texts.</param>
    /// <exception cref="ArgumentException">No text has two tokens.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary.</exception>
    public double Evaluate(IEnumerable<int[]> texts)
    {
        ArgumentNullException.ThrowIfNull(texts);
        Span<int> nodes = stackalloc int[Order];
        double sum = 0;
        long count = 0;
        foreach (int[] text in texts)
        {
            RunChecks.TokenIds(text, VocabularySize, nameof(texts));
            Begin(nodes);
            for (int i = 0; i < text.Length; i++)
            {
                sum -= i > 0 ? Follow(nodes, text[i]) : 0;
                Advance(nodes, text[i]);
            }

            count += Math.Max(0, text.Length - 1);
        }

        return count > 0 ? sum / count : throw new ArgumentException("There must be a text of at least two tokens: a token is scored by what comes before it.", nameof(texts));
    }

    /// <summary>Several sequences to decode with this model, greedily, by beam search or by sampling.</summary>
    /// <param name="batch">The number of sequences.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="batch"/> is not positive.</exception>
    public ISequenceDecoder CreateDecoder(int batch = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        return new NGramDecoder(this, batch);
    }

    /// <summary>Writes the model as a safetensors file, beside an existing one and renamed.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written; an existing one is untouched.</exception>
    public void Save(string path)
    {
        var writer = new SafetensorsWriter();
        writer.Metadata["format"] = FormatName;
        writer.Metadata["order"] = Order.ToString(CultureInfo.InvariantCulture);
        writer.Metadata["vocabulary_size"] = VocabularySize.ToString(CultureInfo.InvariantCulture);
        writer.Metadata["smoothing"] = Options.Smoothing.ToString();
        for (int k = 0; k < _levels.Length; k++)
        {
            (NGramLevel level, string name) = (_levels[k], Name(k));
            Add(name + ".tokens", level.Tokens);
            Add(name + ".first", level.First);
            writer.Add(name + ".log_probabilities", [level.LogProbabilities.Length], level.LogProbabilities);
            if (k < _levels.Length - 1)
            {
                writer.Add(name + ".back_offs", [level.BackOffs.Length], level.BackOffs);
            }
        }

        writer.Save(path);

        void Add(string name, int[] values)
            => writer.Add(name, [values.Length], SafetensorsType.I32, values.Length, stream =>
            {
                // The bytes of many n-grams are more than a span counts.
                for (int start = 0; start < values.Length; start += 1 << 28)
                {
                    stream.Write(MemoryMarshal.AsBytes(values.AsSpan(start, Math.Min(values.Length - start, 1 << 28))));
                }
            });
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or no such file.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static NGramModel Load(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        string format = Value("format");
        if (format != FormatName)
        {
            throw new ModelFileException(path, "format", FormatName, Quoted.Text(format));
        }

        int order = Number("order", MaximumOrder), vocabulary = Number("vocabulary_size", int.MaxValue);
        if (!Enum.TryParse(Value("smoothing"), out NGramSmoothing smoothing) || !Enum.IsDefined(smoothing))
        {
            throw new ModelFileException(path, "smoothing", string.Join(", ", Enum.GetNames<NGramSmoothing>()), Quoted.Text(Value("smoothing")));
        }

        var levels = new NGramLevel[order];
        int contexts = 1;
        for (int k = 0; k < order; k++)
        {
            // Lengths are those of tensors that lie in the file, so that nothing is made longer than it.
            string name = Name(k);
            int[] tokens = Integers(name + ".tokens", -1), first = Integers(name + ".first", contexts + 1L);
            levels[k] = new NGramLevel(
                tokens,
                first,
                Floats(name + ".log_probabilities", tokens.Length, 0),
                k < order - 1 ? Floats(name + ".back_offs", tokens.Length, float.MaxValue) : []);
            Check(name, levels[k], k == 0, vocabulary);
            contexts = tokens.Length;
        }

        return new NGramModel(new NGramOptions { Order = order, VocabularySize = vocabulary, Smoothing = smoothing }, levels);

        string Value(string key) => file.Metadata.TryGetValue(key, out string? value) ? value : throw new ModelFileException(path, key, "what an n-gram model was made with", "nothing");

        int Number(string key, int maximum) => int.TryParse(Value(key), NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= 1 && value <= maximum
            ? value
            : throw new ModelFileException(path, key, FormattableString.Invariant($"an integer from 1 to {maximum}"), Quoted.Text(Value(key)));

        SafetensorsTensor Tensor(string name, SafetensorsType type, long length)
        {
            SafetensorsTensor tensor = file.Get(name);
            return tensor.Type == type && tensor.Shape.Length == 1 && (length < 0 ? tensor.Length <= Array.MaxLength : tensor.Length == length)
                ? tensor
                : throw new ModelFileException(
                    path, name, FormattableString.Invariant($"{type} [{(length < 0 ? "n-grams" : length)}]"), FormattableString.Invariant($"{tensor.Type} [{string.Join(", ", tensor.Shape)}]"));
        }

        int[] Integers(string name, long length)
        {
            SafetensorsTensor tensor = Tensor(name, SafetensorsType.I32, length);
            int[] values = new int[tensor.Length];
            for (int start = 0; start < values.Length; start += 1 << 28)
            {
                file.ReadBytes(tensor, start * (long)sizeof(int), MemoryMarshal.AsBytes(values.AsSpan(start, Math.Min(values.Length - start, 1 << 28))));
            }

            return values;
        }

        float[] Floats(string name, long length, float maximum)
        {
            float[] values = new float[length];
            file.ReadFloats(Tensor(name, SafetensorsType.F32, length), 0, values);
            int wrong = Array.FindIndex(values, value => !(float.IsFinite(value) && value <= maximum));
            return wrong < 0 ? values : throw new ModelFileException(path, FormattableString.Invariant($"{name}[{wrong}]"), maximum == 0 ? "a finite number, 0 or less" : "a finite number", FormattableString.Invariant($"{values[wrong]}"));
        }

        void Check(string name, NGramLevel level, bool isVocabulary, int vocabulary)
        {
            if (isVocabulary && level.Tokens.Length != vocabulary)
            {
                throw new ModelFileException(path, name + ".tokens", FormattableString.Invariant($"all {vocabulary} tokens"), FormattableString.Invariant($"{level.Tokens.Length}"));
            }

            int end = 0;
            for (int context = 0; context < level.First.Length; context++)
            {
                if (level.First[context] < end || level.First[context] > level.Tokens.Length || (context == 0 && level.First[0] != 0) || (context == level.First.Length - 1 && level.First[context] != level.Tokens.Length))
                {
                    throw new ModelFileException(path, FormattableString.Invariant($"{name}.first[{context}]"), FormattableString.Invariant($"places from 0 to {level.Tokens.Length}, ascending"), FormattableString.Invariant($"{level.First[context]}"));
                }

                for (int i = end; i < level.First[context]; i++)
                {
                    if ((uint)level.Tokens[i] >= (uint)vocabulary || (i > end && level.Tokens[i] <= level.Tokens[i - 1]))
                    {
                        throw new ModelFileException(path, FormattableString.Invariant($"{name}.tokens[{i}]"), FormattableString.Invariant($"tokens from 0 to {vocabulary - 1}, ascending in each context"), FormattableString.Invariant($"{level.Tokens[i]}"));
                    }
                }

                end = level.First[context];
            }
        }
    }

    /// <summary>No context: the beginning of a text.</summary>
    internal static void Begin(Span<int> nodes) => nodes.Fill(-1);

    /// <summary>Appends a token to a context. Of the n-grams of 1, 2, … tokens that it ends, the places are kept, -1 where one was not seen.</summary>
    internal void Advance(Span<int> nodes, int token)
    {
        for (int k = Order - 2; k > 0; k--)
        {
            nodes[k] = nodes[k - 1] < 0 ? -1 : _levels[k].Find(nodes[k - 1], token);
        }

        nodes[0] = token;
    }

    /// <summary>The log-probabilities of all tokens after a context: shorter n-grams first, which longer ones take the place of.</summary>
    internal void FollowAll(ReadOnlySpan<int> nodes, Span<float> logProbabilities)
    {
        _levels[0].LogProbabilities.CopyTo(logProbabilities);
        for (int k = 1; k < Order; k++)
        {
            int context = nodes[k - 1];
            if (context < 0)
            {
                continue;
            }

            float backOff = _levels[k - 1].BackOffs[context];
            foreach (ref float value in logProbabilities)
            {
                value += backOff;
            }

            NGramLevel level = _levels[k];
            for (int i = level.First[context]; i < level.First[context + 1]; i++)
            {
                logProbabilities[level.Tokens[i]] = level.LogProbabilities[i];
            }
        }
    }

    private double Follow(ReadOnlySpan<int> nodes, int token)
    {
        double backOff = 0;
        for (int k = Order - 1; k > 0; k--)
        {
            int context = nodes[k - 1];
            if (context >= 0)
            {
                int place = _levels[k].Find(context, token);
                if (place >= 0)
                {
                    return backOff + _levels[k].LogProbabilities[place];
                }

                backOff += _levels[k - 1].BackOffs[context];
            }
        }

        return backOff + _levels[0].LogProbabilities[token];
    }

    private void Read(ReadOnlySpan<int> context, Span<int> nodes)
    {
        context = context[Math.Max(0, context.Length - (Order - 1))..];
        RunChecks.TokenIds(context, VocabularySize, nameof(context));
        Begin(nodes);
        foreach (int token in context)
        {
            Advance(nodes, token);
        }
    }

    private static string Name(int k) => FormattableString.Invariant($"{k + 1}_grams");
}
