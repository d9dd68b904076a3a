using System.Runtime.InteropServices;

namespace ModelGen;

/// <summary>
/// How far two bags of tokens agree: the measure of extracted answers (Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", 2016). A token counts as often as both have it.
/// </summary>
/// <param name="Precision">The part of the predicted tokens that are expected.</param>
/// <param name="Recall">The part of the expected tokens that were predicted.</param>
public readonly record struct TokenOverlap(double Precision, double Recall)
{
    /// <summary>The harmonic mean of precision and recall; 0 where both are.</summary>
    public double F1 => Precision + Recall > 0 ? 2 * Precision * Recall / (Precision + Recall) : 0;

    /// <summary>Compares two bags of tokens. Two empty ones agree.</summary>
    /// <param name="expected">What is right.</param>
    /// <param name="predicted">What was predicted.</param>
    /// <typeparam name="T">The tokens' type: ids, words.</typeparam>
    public static TokenOverlap Of<T>(ReadOnlySpan<T> expected, ReadOnlySpan<T> predicted)
        where T : notnull
    {
        if (expected.IsEmpty || predicted.IsEmpty)
        {
            double value = expected.IsEmpty && predicted.IsEmpty ? 1 : 0;
            return new TokenOverlap(value, value);
        }

        var counts = new Dictionary<T, int>();
        foreach (T token in expected)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(counts, token, out _)++;
        }

        int common = 0;
        foreach (T token in predicted)
        {
            if (counts.TryGetValue(token, out int left) && left > 0)
            {
                counts[token] = left - 1;
                common++;
            }
        }

        return new TokenOverlap((double)common / predicted.Length, (double)common / expected.Length);
    }
}
