using System.Runtime.InteropServices;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>
/// Unicode's normalization form C (UAX #15): canonical decomposition, marks in canonical order, composition. The framework's own needs ICU, which programs with invariant globalization do not have, and leaves texts as they are there.
/// </summary>
internal static class CanonicalComposition
{
    // Hangul syllables: The Unicode Standard, section 3.12.
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TrailBase = 0x11A7;
    private const int VowelCount = 21, TrailCount = 28, LeadCount = 19, SyllableCount = LeadCount * VowelCount * TrailCount;

    // The first mark: what lies before is composed, and stays as it is.
    private const int FirstMark = 0x300;

    private static readonly Dictionary<int, (int First, int Second)> s_decompositions = [];
    private static readonly Dictionary<(int First, int Second), int> s_compositions = [];
    private static readonly Dictionary<int, int> s_classes = [];

    static CanonicalComposition()
    {
        ReadOnlySpan<uint> pairs = CanonicalData.Pairs, singles = CanonicalData.Singles, classes = CanonicalData.Classes;
        for (int i = 0; i < pairs.Length; i += 3)
        {
            int composed = (int)(pairs[i] & 0x7FFF_FFFF);
            (int, int) parts = ((int)pairs[i + 1], (int)pairs[i + 2]);
            s_decompositions.Add(composed, parts);
            if (composed == pairs[i])
            {
                s_compositions.Add(parts, composed);
            }
        }

        for (int i = 0; i < singles.Length; i += 2)
        {
            s_decompositions.Add((int)singles[i], ((int)singles[i + 1], -1));
        }

        for (int i = 0; i < classes.Length; i += 3)
        {
            for (uint character = classes[i]; character <= classes[i + 1]; character++)
            {
                s_classes.Add((int)character, (int)classes[i + 2]);
            }
        }
    }

    /// <summary>A text in normalization form C; it has no lone surrogates.</summary>
    public static string Compose(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange((char)FirstMark, '\uffff') < 0)
        {
            return text;
        }

        var characters = new List<int>(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, characters);
        }

        Sort(characters);
        Compose(characters);
        return Text(characters);
    }

    /// <summary>A text in normalization form D; it has no lone surrogates.</summary>
    public static string Decompose(string text)
    {
        // Below are ASCII and signs of Latin-1 that are decomposed into nothing.
        if (text.AsSpan().IndexOfAnyInRange('\u00C0', '\uffff') < 0)
        {
            return text;
        }

        var characters = new List<int>(text.Length + 16);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, characters);
        }

        Sort(characters);
        return Text(characters);
    }

    private static string Text(List<int> characters)
    {
        var text = new StringBuilder(characters.Count);
        Span<char> units = stackalloc char[2];
        foreach (int character in characters)
        {
            text.Append(units[..new Rune(character).EncodeToUtf16(units)]);
        }

        return text.ToString();
    }

    private static void Decompose(int character, List<int> characters)
    {
        int syllable = character - SyllableBase;
        if (syllable is >= 0 and < SyllableCount)
        {
            characters.Add(LeadBase + (syllable / (VowelCount * TrailCount)));
            characters.Add(VowelBase + (syllable / TrailCount % VowelCount));
            if (syllable % TrailCount != 0)
            {
                characters.Add(TrailBase + (syllable % TrailCount));
            }
        }
        else if (s_decompositions.TryGetValue(character, out (int First, int Second) parts))
        {
            Decompose(parts.First, characters);
            if (parts.Second >= 0)
            {
                Decompose(parts.Second, characters);
            }
        }
        else
        {
            characters.Add(character);
        }
    }

    /// <summary>Sorts marks that follow each other by their classes; those of one class keep their order.</summary>
    private static void Sort(List<int> characters)
    {
        for (int start = 0; start < characters.Count; start++)
        {
            int end = start;
            while (end < characters.Count && Class(characters[end]) > 0)
            {
                end++;
            }

            if (end - start > 1)
            {
                // Not by insertion, whose time is the square of their number: a hostile text may be nothing but marks.
                Span<int> marks = CollectionsMarshal.AsSpan(characters)[start..end];
                long[] keys = new long[marks.Length];
                for (int i = 0; i < keys.Length; i++)
                {
                    keys[i] = ((long)Class(marks[i]) << 32) | (uint)i;
                }

                keys.AsSpan().Sort(marks);
            }

            start = end;
        }
    }

    /// <summary>Composes each character with the last one of class 0 before it, unless one of its class or above (or of class 0) lies between.</summary>
    private static void Compose(List<int> characters)
    {
        int starter = -1, count = 0, last = -1;
        for (int i = 0; i < characters.Count; i++)
        {
            int character = characters[i], own = Class(character);
            if (starter >= 0 && last < own && Composed(characters[starter], character) is { } composed)
            {
                characters[starter] = composed;
                continue;
            }

            if (own == 0)
            {
                (starter, last) = (count, -1);
            }
            else
            {
                last = own;
            }

            characters[count++] = character;
        }

        characters.RemoveRange(count, characters.Count - count);
    }

    private static int? Composed(int first, int second)
    {
        (int lead, int vowel, int syllable, int trail) = (first - LeadBase, second - VowelBase, first - SyllableBase, second - TrailBase);
        if (lead is >= 0 and < LeadCount && vowel is >= 0 and < VowelCount)
        {
            return SyllableBase + (((lead * VowelCount) + vowel) * TrailCount);
        }

        if (syllable is >= 0 and < SyllableCount && syllable % TrailCount == 0 && trail is > 0 and < TrailCount)
        {
            return first + trail;
        }

        return s_compositions.TryGetValue((first, second), out int composed) ? composed : null;
    }

    private static int Class(int character) => character < FirstMark ? 0 : s_classes.GetValueOrDefault(character);
}
