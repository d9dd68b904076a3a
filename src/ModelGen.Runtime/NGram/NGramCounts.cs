using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Counts the n-grams of texts, from which <see cref="Build"/> makes a model. Not for use by several threads at once.</summary>
/// <remarks>
/// N-grams do not reach from one text into another. The first token of a text is given and never predicted: where sentences are texts of their own, each should begin with <c>&lt;bos&gt;</c> and end with
/// <c>&lt;eos&gt;</c>.
/// </remarks>
public sealed class NGramCounts
{
    private readonly NGramOptions _options;
    private readonly Level[] _levels;

    /// <summary>Makes counts of nothing.</summary>
    /// <param name="options">What the model is made with.</param>
    /// <exception cref="ArgumentOutOfRangeException">The order or the vocabulary's size is out of range.</exception>
    public NGramCounts(NGramOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Order, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Order, NGramModel.MaximumOrder);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.VocabularySize);
        if (!Enum.IsDefined(options.Smoothing))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Smoothing, $"Expected a value of {nameof(NGramSmoothing)} for {nameof(NGramOptions.Smoothing)}.");
        }

        _options = options;
        _levels = new Level[options.Order];
        for (int k = 0; k < _levels.Length; k++)
        {
            _levels[k] = new Level();
        }

        for (int token = 0; token < options.VocabularySize; token++)
        {
            _levels[0].Nodes.Add(new Node(parent: 0, token, suffix: 0));
        }
    }

    /// <summary>The number of tokens that were predicted: those of all texts but for the first of each.</summary>
    public long TokenCount { get; private set; }

    /// <summary>Counts a text.</summary>
    /// <param name="text">The text's tokens.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token is outside the vocabulary. Nothing was counted.</exception>
    public void Add(ReadOnlySpan<int> text)
    {
        RunChecks.TokenIds(text, _options.VocabularySize, nameof(text));
        Span<int> nodes = stackalloc int[_options.Order];
        for (int position = 0; position < text.Length; position++)
        {
            Count(text[position], position, nodes);
        }
    }

    /// <summary>Counts a text that may be longer than memory.</summary>
    /// <param name="text">The text's tokens.</param>
    /// <exception cref="InvalidDataException">A token is outside the vocabulary.</exception>
    public void Add(TokenDataset text)
    {
        ArgumentNullException.ThrowIfNull(text);
        text.RequireVocabulary(_options.VocabularySize);
        Span<int> nodes = stackalloc int[_options.Order], buffer = stackalloc int[512];
        for (long start = 0; start < text.Length; start += buffer.Length)
        {
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, text.Length - start)];
            text.CopyTo(start, chunk);
            for (int i = 0; i < chunk.Length; i++)
            {
                Count(chunk[i], start + i, nodes);
            }
        }
    }

    /// <summary>Makes the model of what was counted.</summary>
    /// <exception cref="InvalidOperationException">There was nothing to predict.</exception>
    public NGramModel Build()
    {
        if (TokenCount == 0)
        {
            throw new InvalidOperationException("An n-gram model needs a text of at least two tokens.");
        }

        int order = _options.Order;
        var levels = new NGramLevel[order];
        int[][] places = new int[order][];
        for (int k = 0; k < order; k++)
        {
            (levels[k], places[k]) = Sort(k, k == 0 ? [] : places[k - 1]);
        }

        double[] lower = [];
        for (int k = 0; k < order; k++)
        {
            lower = Estimate(k, levels, places, lower);
        }

        return new NGramModel(_options, levels);
    }

    /// <summary>Counts the n-grams of all orders that a token ends; nodes are those that the token before it ended.</summary>
    private void Count(int token, long position, Span<int> nodes)
    {
        TokenCount += position > 0 ? 1 : 0;
        int before = 0, suffix = 0;
        for (int k = 0; k < _levels.Length && k <= position; k++)
        {
            // The n-gram of k + 1 tokens is the one of k that the last token ended, and this token.
            int node = token;
            if (k > 0)
            {
                node = _levels[k].Child(before, token, suffix, out bool isNew);
                CollectionsMarshal.AsSpan(_levels[k - 1].Nodes)[suffix].Predecessors += isNew ? 1 : 0;
            }

            ref Node counted = ref CollectionsMarshal.AsSpan(_levels[k].Nodes)[node];
            counted.Count += position > 0 ? 1 : 0;
            counted.Predecessors += k == position && k > 0 ? 1 : 0;
            (before, nodes[k], suffix) = (nodes[k], node, node);
        }
    }

    /// <summary>Puts the n-grams of k + 1 tokens in the order of their contexts, those of one context in the order of their last tokens.</summary>
    private (NGramLevel Level, int[] Places) Sort(int k, int[] contexts)
    {
        List<Node> nodes = _levels[k].Nodes;
        ulong[] keys = new ulong[nodes.Count];
        int[] sorted = new int[nodes.Count], places = new int[nodes.Count];
        for (int i = 0; i < keys.Length; i++)
        {
            keys[i] = ((ulong)(k == 0 ? 0 : contexts[nodes[i].Parent]) << 32) | (uint)nodes[i].Token;
            sorted[i] = i;
        }

        Array.Sort(keys, sorted);
        var level = new NGramLevel(new int[nodes.Count], new int[(k == 0 ? 1 : contexts.Length) + 1], new float[nodes.Count], new float[k < _levels.Length - 1 ? nodes.Count : 0]);
        for (int i = 0; i < sorted.Length; i++)
        {
            places[sorted[i]] = i;
            level.Tokens[i] = (int)(uint)keys[i];
            level.First[(int)(keys[i] >> 32) + 1] = i + 1;
        }

        for (int context = 1; context < level.First.Length; context++)
        {
            level.First[context] = Math.Max(level.First[context], level.First[context - 1]);
        }

        return (level, places);
    }

    /// <summary>Computes the probabilities of the n-grams of k + 1 tokens, in their order, from those of one token less, and what contexts leave to the rest.</summary>
    private double[] Estimate(int k, NGramLevel[] levels, int[][] places, double[] lower)
    {
        List<Node> nodes = _levels[k].Nodes;
        bool katz = _options.Smoothing == NGramSmoothing.Katz, counts = katz || k == _levels.Length - 1;
        long[] seen = new long[nodes.Count];
        int[] suffixes = new int[nodes.Count];
        for (int i = 0; i < nodes.Count; i++)
        {
            // Orders below the highest count in how many contexts an n-gram occurs, and where a text begins with it there is none to count.
            seen[places[k][i]] = counts ? nodes[i].Count : nodes[i].Predecessors;
            suffixes[places[k][i]] = k == 0 ? 0 : places[k - 1][nodes[i].Suffix];
        }

        double[] discounts = Discounts(seen), probabilities = new double[nodes.Count];
        NGramLevel level = levels[k];
        for (int context = 0; context + 1 < level.First.Length; context++)
        {
            (int first, int end) = (level.First[context], level.First[context + 1]);
            double total = 0, taken = 0, below = 0;
            for (int i = first; i < end; i++)
            {
                total += seen[i];
                taken += Discount(discounts, seen[i]);
                below += k == 0 ? 0 : lower[suffixes[i]];
            }

            // A context that nothing follows leaves everything to the shorter one; where everything followed, Katz's back-off has nobody to leave to.
            bool isFull = katz && k > 0 && end - first == _options.VocabularySize;
            double left = total == 0 ? 1 : isFull ? 0 : taken / total;
            for (int i = first; i < end; i++)
            {
                double share = total == 0 ? 0 : (seen[i] - (isFull ? 0 : Discount(discounts, seen[i]))) / total;
                probabilities[i] = share + (k == 0 ? left / _options.VocabularySize : katz ? 0 : left * lower[suffixes[i]]);
                level.LogProbabilities[i] = (float)Math.Log(probabilities[i]);
            }

            if (k > 0)
            {
                levels[k - 1].BackOffs[context] = isFull ? 0 : (float)Math.Log(katz && total > 0 ? left / (1 - below) : left);
            }
        }

        return probabilities;
    }

    /// <summary>What is taken from an n-gram that was seen once, twice, and more often.</summary>
    private double[] Discounts(long[] seen)
    {
        Span<double> n = stackalloc double[5];
        foreach (long count in seen)
        {
            if (count is >= 1 and <= 4)
            {
                n[(int)count]++;
            }
        }

        // A tiny text may have none of either; the discount must stay above 0 and below 1.
        double y = n[1] > 0 && n[2] > 0 ? n[1] / (n[1] + (2 * n[2])) : 0.5;
        double[] one = [y, y, y];
        if (_options.Smoothing != NGramSmoothing.ModifiedKneserNey || n[1] * n[2] * n[3] * n[4] == 0)
        {
            return one;
        }

        // Chen and Goodman 1999, equation 26.
        double[] three = [1 - (2 * y * n[2] / n[1]), 2 - (3 * y * n[3] / n[2]), 3 - (4 * y * n[4] / n[3])];
        return three is [> 0 and < 1, > 0 and < 2, > 0 and < 3] ? three : one;
    }

    private static double Discount(double[] discounts, long seen) => seen == 0 ? 0 : discounts[Math.Min(seen, 3) - 1];

    private sealed class Level
    {
        private readonly Dictionary<ulong, int> _children = [];

        public List<Node> Nodes { get; } = [];

        public int Child(int parent, int token, int suffix, out bool isNew)
        {
            ref int node = ref CollectionsMarshal.GetValueRefOrAddDefault(_children, ((ulong)(uint)parent << 32) | (uint)token, out bool exists);
            isNew = !exists;
            if (isNew)
            {
                node = Nodes.Count;
                Nodes.Add(new Node(parent, token, suffix));
            }

            return node;
        }
    }

    private struct Node(int parent, int token, int suffix)
    {
        /// <summary>The n-gram without its last token.</summary>
        public int Parent = parent;

        public int Token = token;

        /// <summary>The n-gram without its first token.</summary>
        public int Suffix = suffix;

        /// <summary>How often the n-gram's last token followed the others.</summary>
        public long Count;

        /// <summary>How many tokens came before the n-gram, and how many texts began with it.</summary>
        public int Predecessors;
    }
}
