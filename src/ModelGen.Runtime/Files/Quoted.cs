using System.Globalization;
using System.Text;

namespace ModelGen.Runtime;

/// <summary>
/// What comes from a file, fit to stand in a message: printable, so that no terminal obeys it, and short. Every message that repeats
/// something of a file goes through here.
/// </summary>
internal static class Quoted
{
    // UTF-16 units of one quoted value.
    private const int Limit = 120;

    // Numbers of one quoted list.
    private const int ListLimit = 8;

    /// <summary>A text in quotes.</summary>
    public static string Text(ReadOnlySpan<char> text) => $"'{Printable(text, Limit)}'";

    /// <summary>A UTF-8 text in quotes, as it stands in the file: escape sequences stay.</summary>
    public static string Utf8(ReadOnlySpan<byte> text) => $"'{Raw(text)}'";

    /// <summary>A UTF-8 text as it stands in the file, without quotes: for numbers and keywords.</summary>
    public static string Raw(ReadOnlySpan<byte> text)
    {
        // No more is decoded than could be shown: four bytes are at least one unit.
        ReadOnlySpan<byte> head = text.Length > 4 * (Limit + 1) ? text[..(4 * (Limit + 1))] : text;
        return Printable(Encoding.UTF8.GetString(head), Limit);
    }

    /// <summary>Numbers in brackets, the first few where there are many.</summary>
    public static string List(ReadOnlySpan<long> values)
    {
        var text = new StringBuilder("[");
        for (int i = 0; i < Math.Min(values.Length, ListLimit); i++)
        {
            text.Append(i == 0 ? "" : ", ").Append(values[i].ToString(CultureInfo.InvariantCulture));
        }

        return values.Length > ListLimit
            ? text.Append(CultureInfo.InvariantCulture, $", … ({values.Length} numbers)]").ToString()
            : text.Append(']').ToString();
    }

    /// <summary>A text without control, formatting and unassigned characters, cut off after so many UTF-16 units.</summary>
    public static string Printable(ReadOnlySpan<char> text, int limit)
    {
        bool isCut = text.Length > limit;
        var shown = new StringBuilder(Math.Min(text.Length, limit) + 1);
        foreach (Rune rune in (isCut ? text[..limit] : text).EnumerateRunes())
        {
            shown.Append((IsPrintable(rune) ? rune : Rune.ReplacementChar).ToString());
        }

        return (isCut ? shown.Append('…') : shown).ToString();
    }

    /// <summary>Whether a character shows as itself. Formatting characters turn the direction of what follows; separators break the line.</summary>
    public static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned);
}
