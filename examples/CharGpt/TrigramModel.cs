using ModelGen;

namespace CharGpt;

/// <summary>
/// A back-off trigram model over bytes: what a model that sees two bytes can know. Katz's back-off (1987) with absolute discounting
/// (Ney, Essen, Kneser, 1994): a seen continuation gets (n - d) / N; what is left goes to the unseen ones in proportion to the
/// model of one order less. Probabilities of all 256 bytes sum to 1 in every context.
/// </summary>
internal sealed class TrigramModel
{
    private const int Bytes = 256;
    private readonly double[] _unigram = new double[Bytes];
    private readonly Context?[] _bigrams = new Context?[Bytes];
    private readonly Context?[] _trigrams = new Context?[Bytes * Bytes];

    private TrigramModel(TokenDataset data)
    {
        var counts = new long[Bytes];
        Span<int> buffer = stackalloc int[512];
        int first = -1, second = -1;
        for (long start = 0; start < data.Length; start += buffer.Length)
        {
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, data.Length - start)];
            data.CopyTo(start, chunk);
            foreach (int token in chunk)
            {
                counts[token]++;
                if (second >= 0)
                    (_bigrams[second] ??= new Context()).Counts[token]++;
                if (first >= 0)
                    (_trigrams[first * Bytes + second] ??= new Context()).Counts[token]++;
                first = second;
                second = token;
            }
        }

        // Add-one smoothing at the lowest order, so that no byte is impossible.
        for (int i = 0; i < Bytes; i++)
            _unigram[i] = (counts[i] + 1.0) / (data.Length + Bytes);
        double bigramDiscount = Discount(_bigrams);
        double trigramDiscount = Discount(_trigrams);
        foreach (Context? context in _bigrams)
            context?.Prepare(bigramDiscount, static (model, _, token) => model._unigram[token], this, 0);
        for (int i = 0; i < _trigrams.Length; i++)
            _trigrams[i]?.Prepare(trigramDiscount, static (model, second, token) => model.Bigram(second, token), this, i % Bytes);
    }

    /// <summary>Counts a text of byte tokens.</summary>
    public static TrigramModel Train(TokenDataset data) => new(data);

    /// <summary>The probability of a byte after two others; -1 stands for no byte at the start of a text.</summary>
    public double Probability(int first, int second, int token)
    {
        if (second < 0)
            return _unigram[token];
        if (first < 0 || _trigrams[first * Bytes + second] is not { } context)
            return Bigram(second, token);
        return context.Counts[token] > 0
            ? (context.Counts[token] - context.Discount) / context.Total
            : context.BackOff * Bigram(second, token);
    }

    /// <summary>The mean loss in nats per byte over all bytes of a text but the first: the same bytes that a language model predicts.</summary>
    public double Evaluate(TokenDataset data)
    {
        double sum = 0;
        Span<int> buffer = stackalloc int[512];
        int first = -1, second = -1;
        for (long start = 0; start < data.Length; start += buffer.Length)
        {
            Span<int> chunk = buffer[..(int)Math.Min(buffer.Length, data.Length - start)];
            data.CopyTo(start, chunk);
            foreach (int token in chunk)
            {
                if (second >= 0)
                    sum -= Math.Log(Probability(first, second, token));
                first = second;
                second = token;
            }
        }
        return sum / (data.Length - 1);
    }

    private double Bigram(int second, int token)
    {
        if (_bigrams[second] is not { } context)
            return _unigram[token];
        return context.Counts[token] > 0
            ? (context.Counts[token] - context.Discount) / context.Total
            : context.BackOff * _unigram[token];
    }

    /// <summary>Ney's estimate n1 / (n1 + 2 n2) from how many continuations were seen once and twice.</summary>
    private static double Discount(Context?[] contexts)
    {
        long once = 0, twice = 0;
        foreach (Context? context in contexts)
        {
            if (context is null)
                continue;
            foreach (int count in context.Counts)
            {
                once += count == 1 ? 1 : 0;
                twice += count == 2 ? 1 : 0;
            }
        }

        // A tiny text may have neither; the discount must stay strictly between 0 and 1.
        return once > 0 && twice > 0 ? once / (once + 2.0 * twice) : 0.5;
    }

    private sealed class Context
    {
        public int[] Counts { get; } = new int[Bytes];

        public double Total { get; private set; }

        public double Discount { get; private set; }

        /// <summary>What an unseen byte's lower-order probability is multiplied with.</summary>
        public double BackOff { get; private set; }

        public void Prepare(double discount, Func<TrigramModel, int, int, double> lower, TrigramModel model, int second)
        {
            long total = 0;
            int seen = 0;
            double lowerOfUnseen = 0;
            for (int token = 0; token < Bytes; token++)
            {
                total += Counts[token];
                if (Counts[token] > 0)
                    seen++;
                else
                    lowerOfUnseen += lower(model, second, token);
            }
            Total = total;

            // Where every byte was seen there is nothing to give to, so nothing is taken.
            Discount = seen < Bytes ? discount : 0;
            BackOff = seen < Bytes ? discount * seen / total / lowerOfUnseen : 0;
        }
    }
}
