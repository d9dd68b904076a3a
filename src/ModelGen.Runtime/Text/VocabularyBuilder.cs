using System.Runtime.InteropServices;

namespace ModelGen;

/// <summary>Counts the units of texts, one text at a time, and makes a vocabulary of the most frequent ones. Not for use by several threads at once.</summary>
public sealed class VocabularyBuilder
{
    private readonly TextUnit _unit;
    private readonly TextNormalizer _normalizer;
    private readonly Dictionary<string, long> _counts = new(StringComparer.Ordinal);

    /// <summary>Makes counts of nothing.</summary>
    /// <param name="unit">What texts are cut into.</param>
    /// <param name="normalizer">How they are made alike before; null: not at all.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such unit.</exception>
    public VocabularyBuilder(TextUnit unit, TextNormalizer? normalizer = null)
    {
        if (!Enum.IsDefined(unit))
        {
            throw new ArgumentOutOfRangeException(nameof(unit), unit, "There is no such unit.");
        }

        _unit = unit;
        _normalizer = normalizer ?? TextNormalizer.None;
    }

    /// <summary>The number of units, each counted as often as it occurred.</summary>
    public long TotalCount { get; private set; }

    /// <summary>Counts a text.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public void Add(string text)
    {
        var units = new TextUnits(_normalizer.Normalize(text), _unit);
        Dictionary<string, long>.AlternateLookup<ReadOnlySpan<char>> counts = _counts.GetAlternateLookup<ReadOnlySpan<char>>();
        while (units.MoveNext())
        {
            ReadOnlySpan<char> token = _unit == TextUnit.Byte ? VocabularyTokenizer.ByteToken(units.Byte) : units.Current;
            CollectionsMarshal.GetValueRefOrAddDefault(counts, token, out _)++;
            TotalCount++;
        }
    }

    /// <summary>Counts texts, such as the lines of <see cref="File.ReadLines(string)"/>, which no memory need hold at once.</summary>
    /// <param name="texts">The texts.</param>
    /// <exception cref="ArgumentException">A text has a lone surrogate.</exception>
    public void Add(IEnumerable<string> texts)
    {
        ArgumentNullException.ThrowIfNull(texts);
        foreach (string text in texts)
        {
            Add(text);
        }
    }

    /// <summary>Makes the vocabulary: special tokens first, then what occurred, most frequent first, in the order of code points among equals.</summary>
    /// <param name="minimumCount">How often a token must have occurred.</param>
    /// <param name="maximumSize">The most tokens, special ones among them, which must have room; 0 for no limit.</param>
    /// <param name="specials">The special tokens; null for <see cref="Vocabulary.StandardSpecials"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is negative, there are more special tokens than the most, or no tokens would be left.</exception>
    /// <exception cref="ArgumentException">A special token is empty or there twice.</exception>
    public Vocabulary Build(long minimumCount = 1, int maximumSize = 0, IReadOnlyList<string>? specials = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(minimumCount);
        ArgumentOutOfRangeException.ThrowIfNegative(maximumSize);
        specials ??= Vocabulary.StandardSpecials;
        var special = new HashSet<string>(specials, StringComparer.Ordinal);
        if (specials.Has(string.IsNullOrEmpty) || special.Count != specials.Count)
        {
            throw new ArgumentException("Special tokens must not be empty, nor be there twice.", nameof(specials));
        }

        if (maximumSize > 0 && maximumSize < specials.Count)
        {
            throw new ArgumentOutOfRangeException(nameof(maximumSize), maximumSize, FormattableString.Invariant($"There are {specials.Count} special tokens alone."));
        }

        // A text may have what looks like a special token: it is none.
        var kept = new List<string>();
        foreach ((string token, long count) in _counts)
        {
            if (count >= minimumCount && !special.Contains(token))
            {
                kept.Add(token);
            }
        }

        kept.Sort((a, b) => _counts[b].CompareTo(_counts[a]) is not 0 and int order ? order : CompareCodePoints(a, b));
        if (maximumSize > 0 && kept.Count > maximumSize - specials.Count)
        {
            kept.RemoveRange(maximumSize - specials.Count, kept.Count - (maximumSize - specials.Count));
        }

        ArgumentOutOfRangeException.ThrowIfZero(specials.Count + kept.Count, nameof(maximumSize));
        long[] counts = new long[specials.Count + kept.Count];
        for (int i = 0; i < kept.Count; i++)
        {
            counts[specials.Count + i] = _counts[kept[i]];
        }

        return new Vocabulary([.. specials, .. kept], counts, specials.Count);
    }

    /// <summary>Compares texts by code points. UTF-16 writes those above U+FFFF with surrogates, which are no letters by themselves but stand before U+E000.</summary>
    private static int CompareCodePoints(string a, string b)
    {
        int same = a.AsSpan().CommonPrefixLength(b);
        if (same == a.Length || same == b.Length)
        {
            return a.Length - b.Length;
        }

        (char x, char y) = (a[same], b[same]);
        return char.IsSurrogate(x) == char.IsSurrogate(y) ? x - y : char.IsSurrogate(x) ? 1 : -1;
    }
}
