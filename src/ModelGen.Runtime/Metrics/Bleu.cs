using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>How texts are cut into tokens before n-grams are compared.</summary>
public enum BleuTokenization
{
    /// <summary>"13a" of mteval-v13a, the standard of published scores.</summary>
    Mteval13a,

    /// <summary>At white space: for texts that are tokenized already.</summary>
    None,
}

/// <summary>What stands for the precision of an order of which no n-gram agrees.</summary>
public enum BleuSmoothing
{
    /// <summary>1 / (2 n), 1 / (4 n), … for the first such order, the second, …, with n the n-grams of that order ("exp"; Lin, Och, "ORANGE", 2004, as in mteval-v13a).</summary>
    Exponential,

    /// <summary>Zero, and so the score is zero.</summary>
    None,
}

/// <summary>The score of translations and what it is made of.</summary>
/// <param name="Score">0 to 100.</param>
/// <param name="Precisions">Of each order, the part of n-grams that the references have, in percent.</param>
/// <param name="BrevityPenalty">What the precisions are multiplied with, below 1 where translations are shorter than their references.</param>
/// <param name="Length">The translations' tokens.</param>
/// <param name="ReferenceLength">The references' tokens, of each translation those of the reference that is nearest in length.</param>
public sealed record BleuScore(double Score, IReadOnlyList<double> Precisions, double BrevityPenalty, long Length, long ReferenceLength);

/// <summary>
/// BLEU (Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002), computed as sacrebleu does (Post, "A call for clarity in reporting BLEU scores", 2018): add translations with their references, then ask for
/// the score of all. Its signature in sacrebleu's terms is <c>case:mixed|eff:no|tok:13a|smooth:exp</c> with the defaults.
/// </summary>
public sealed class Bleu
{
    /// <summary>The longest n-grams that are compared.</summary>
    public const int Order = 4;

    private readonly BleuTokenization _tokenization;
    private readonly BleuSmoothing _smoothing;
    private readonly bool _lowercase;
    private readonly long[] _right = new long[Order];
    private readonly long[] _all = new long[Order];
    private long _length;
    private long _referenceLength;

    /// <summary>Makes a score of nothing.</summary>
    /// <param name="tokenization">How texts are cut.</param>
    /// <param name="smoothing">What stands for a precision of zero.</param>
    /// <param name="lowercase">Whether upper and lower case are the same.</param>
    public Bleu(BleuTokenization tokenization = BleuTokenization.Mteval13a, BleuSmoothing smoothing = BleuSmoothing.Exponential, bool lowercase = false)
    {
        _tokenization = tokenization;
        _smoothing = smoothing;
        _lowercase = lowercase;
    }

    /// <summary>Adds a translation.</summary>
    /// <param name="hypothesis">The translation.</param>
    /// <param name="references">What would be right: one or more. Where a corpus has several for each sentence, all sentences should.</param>
    /// <exception cref="ArgumentException">There is no reference.</exception>
    public void Add(string hypothesis, params ReadOnlySpan<string> references)
    {
        ArgumentNullException.ThrowIfNull(hypothesis);
        if (references.IsEmpty)
        {
            throw new ArgumentException("A translation needs a reference to be compared with.", nameof(references));
        }

        foreach (string reference in references)
        {
            ArgumentNullException.ThrowIfNull(reference, nameof(references));
        }

        string[] tokens = Tokens(hypothesis);
        Dictionary<string, int>[] most = [.. Enumerable.Range(0, Order).Select(_ => new Dictionary<string, int>(StringComparer.Ordinal))];
        int nearest = -1;
        foreach (string reference in references)
        {
            // An n-gram may be right as often as one of the references has it.
            string[] other = Tokens(reference);
            for (int n = 1; n <= Order; n++)
            {
                foreach ((string ngram, int count) in Count(other, n))
                {
                    ref int kept = ref CollectionsMarshal.GetValueRefOrAddDefault(most[n - 1], ngram, out _);
                    kept = Math.Max(kept, count);
                }
            }

            int difference = Math.Abs(other.Length - tokens.Length), least = Math.Abs(nearest - tokens.Length);
            nearest = nearest < 0 || difference < least || (difference == least && other.Length < nearest) ? other.Length : nearest;
        }

        for (int n = 1; n <= Order; n++)
        {
            foreach ((string ngram, int count) in Count(tokens, n))
            {
                _right[n - 1] += Math.Min(count, most[n - 1].GetValueOrDefault(ngram));
                _all[n - 1] += count;
            }
        }

        _length += tokens.Length;
        _referenceLength += nearest;
    }

    /// <summary>The score of all translations that were added.</summary>
    public BleuScore Score() => Score(effectiveOrder: false);

    /// <summary>The score of one translation by itself, in which orders that are longer than it do not count (<c>eff:yes</c>).</summary>
    /// <param name="hypothesis">The translation.</param>
    /// <param name="references">What would be right.</param>
    /// <exception cref="ArgumentException">There is no reference.</exception>
    public static BleuScore Sentence(string hypothesis, params ReadOnlySpan<string> references)
    {
        var bleu = new Bleu();
        bleu.Add(hypothesis, references);
        return bleu.Score(effectiveOrder: true);
    }

    private BleuScore Score(bool effectiveOrder)
    {
        double penalty = _length >= _referenceLength ? 1 : _length > 0 ? Math.Exp(1 - ((double)_referenceLength / _length)) : 0;
        double[] precisions = new double[Order];
        if (Array.TrueForAll(_right, right => right == 0))
        {
            return new BleuScore(0, precisions, penalty, _length, _referenceLength);
        }

        double smoothed = 1;
        int orders = Order;
        for (int n = 0; n < Order && _all[n] > 0; n++)
        {
            orders = effectiveOrder ? n + 1 : Order;
            if (_right[n] == 0 && _smoothing == BleuSmoothing.Exponential)
            {
                smoothed *= 2;
            }

            precisions[n] = _right[n] > 0 ? 100.0 * _right[n] / _all[n] : _smoothing == BleuSmoothing.Exponential ? 100 / (smoothed * _all[n]) : 0;
        }

        double mean = precisions.Take(orders).Average(Math.Log);
        return new BleuScore(penalty * Math.Exp(mean), precisions, penalty, _length, _referenceLength);
    }

    private string[] Tokens(string text)
    {
        text = _lowercase ? text.ToLowerInvariant() : text;
        return _tokenization == BleuTokenization.Mteval13a ? ReferenceText.Tokenize13a(ReferenceText.TrimEnd(text)) : ReferenceText.Words(text);
    }

    private static Dictionary<string, int> Count(string[] tokens, int n)
    {
        var counts = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int start = 0; start + n <= tokens.Length; start++)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(counts, string.Join(' ', tokens, start, n), out _)++;
        }

        return counts;
    }
}
