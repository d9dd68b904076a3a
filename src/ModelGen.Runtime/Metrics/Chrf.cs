using System.Runtime.InteropServices;
using System.Text;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// chrF (Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015), computed as sacrebleu does: add translations with their references, then ask for the score of all. Character n-grams of one to six, without white space; with
/// words of one and two it is chrF++ (Popović 2017).
/// </summary>
public sealed class Chrf
{
    private const int CharacterOrder = 6;

    // The weight of recall: twice that of precision.
    private const double Beta = 2;

    private readonly int _wordOrder;
    private readonly bool _lowercase;
    private readonly Statistics[] _sums;

    /// <summary>Makes a score of nothing.</summary>
    /// <param name="wordOrder">The longest n-grams of words: 0 for chrF, 2 for chrF++.</param>
    /// <param name="lowercase">Whether upper and lower case are the same.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="wordOrder"/> is negative or above 6.</exception>
    public Chrf(int wordOrder = 0, bool lowercase = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(wordOrder);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(wordOrder, 6);
        _wordOrder = wordOrder;
        _lowercase = lowercase;
        _sums = new Statistics[CharacterOrder + wordOrder];
    }

    /// <summary>The score of all translations that were added, 0 to 100.</summary>
    public double Score => FScore(_sums);

    /// <summary>Adds a translation.</summary>
    /// <param name="hypothesis">The translation.</param>
    /// <param name="references">What would be right: one or more, of which the one that gives the best score counts.</param>
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

        Dictionary<string, int>[] own = NGrams(hypothesis);
        Statistics[] best = [];
        foreach (string reference in references)
        {
            Statistics[] statistics = [.. own.Zip(NGrams(reference), Compare)];
            best = best.Length == 0 || FScore(statistics) > FScore(best) ? statistics : best;
        }

        for (int order = 0; order < _sums.Length; order++)
        {
            _sums[order] = new Statistics(_sums[order].Own + best[order].Own, _sums[order].Reference + best[order].Reference, _sums[order].Common + best[order].Common);
        }
    }

    private static Statistics Compare(Dictionary<string, int> own, Dictionary<string, int> reference) => new(
        reference.Count > 0 ? own.Values.Sum() : 0,
        reference.Values.Sum(),
        own.Sum(ngram => Math.Min(ngram.Value, reference.GetValueOrDefault(ngram.Key))));

    /// <summary>F of the mean precision and the mean recall, over the orders of which both have n-grams.</summary>
    private static double FScore(Statistics[] statistics)
    {
        Statistics[] orders = [.. statistics.Where(s => s.Own > 0 && s.Reference > 0)];
        if (orders.Length == 0)
        {
            return 0;
        }

        double precision = orders.Average(s => (double)s.Common / s.Own), recall = orders.Average(s => (double)s.Common / s.Reference);
        return precision + recall > 0 ? 100 * (1 + (Beta * Beta)) * precision * recall / ((Beta * Beta * precision) + recall) : 0;
    }

    private Dictionary<string, int>[] NGrams(string text)
    {
        text = _lowercase ? text.ToLowerInvariant() : text;
        string[] characters = [.. ReferenceText.Characters(text).Select(c => new Rune(c).ToString())], words = _wordOrder > 0 ? Words(text) : [];
        return [.. Enumerable.Range(1, CharacterOrder).Select(n => Count(characters, n, "")), .. Enumerable.Range(1, _wordOrder).Select(n => Count(words, n, " "))];
    }

    /// <summary>Words, with punctuation at the end, or else at the beginning, apart.</summary>
    private static string[] Words(string text) =>
    [
        .. ReferenceText.Words(text).SelectMany(word => word.Length == 1 ? [word]
            : IsPunctuation(word[^1]) ? [word[..^1], word[^1..]]
            : IsPunctuation(word[0]) ? [word[..1], word[1..]]
            : new[] { word }),
    ];

    private static bool IsPunctuation(char c) => char.IsAscii(c) && (char.IsPunctuation(c) || char.IsSymbol(c));

    private static Dictionary<string, int> Count(string[] tokens, int n, string separator)
    {
        var counts = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int start = 0; start + n <= tokens.Length; start++)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(counts, string.Join(separator, tokens, start, n), out _)++;
        }

        return counts;
    }

    /// <summary>The n-grams of one order.</summary>
    private readonly record struct Statistics(long Own, long Reference, long Common);
}
