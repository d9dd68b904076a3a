using System.Text;
using System.Text.RegularExpressions;

namespace ModelGen.Runtime;

/// <summary>Texts as sacrebleu takes them apart, so that scores can be compared with published ones.</summary>
internal static partial class ReferenceText
{
    /// <summary>
    /// The tokens of the tokenization "13a", that of the mteval-v13a script of the workshops on machine translation: entities are resolved, punctuation stands alone, but for periods and commas between digits and hyphens that follow no digit.
    /// </summary>
    public static string[] Tokenize13a(string text)
    {
        text = text.Replace("<skipped>", "", StringComparison.Ordinal).Replace("-\n", "", StringComparison.Ordinal).Replace('\n', ' ')
            .Replace("&quot;", "\"", StringComparison.Ordinal).Replace("&amp;", "&", StringComparison.Ordinal).Replace("&lt;", "<", StringComparison.Ordinal).Replace("&gt;", ">", StringComparison.Ordinal);
        text = Symbols().Replace($" {text} ", " $1 ");
        text = AfterNonDigit().Replace(text, "$1 $2 ");
        text = BeforeNonDigit().Replace(text, " $1 $2");
        return Words(HyphenAfterDigit().Replace(text, "$1 $2 "));
    }

    /// <summary>A text without the white space at its end.</summary>
    public static string TrimEnd(string text)
    {
        int length = text.Length;
        while (length > 0 && IsSpace(text[length - 1]))
        {
            length--;
        }

        return text[..length];
    }

    /// <summary>The words between white space.</summary>
    public static string[] Words(string text)
    {
        List<string> words = [];
        int start = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            if (i == text.Length || IsSpace(text[i]))
            {
                if (i > start)
                {
                    words.Add(text[start..i]);
                }

                start = i + 1;
            }
        }

        return [.. words];
    }

    /// <summary>The characters that are no white space.</summary>
    public static int[] Characters(string text) => [.. text.EnumerateRunes().Where(rune => !(rune.IsBmp && IsSpace((char)rune.Value))).Select(rune => rune.Value)];

    // White space of texts includes the separators of files, groups, records and units.
    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001c' and <= '\u001f';

    [GeneratedRegex(@"([{-~[-` -&(-+:-@/])", RegexOptions.CultureInvariant)]
    private static partial Regex Symbols();

    [GeneratedRegex(@"([^0-9])([.,])", RegexOptions.CultureInvariant)]
    private static partial Regex AfterNonDigit();

    [GeneratedRegex(@"([.,])([^0-9])", RegexOptions.CultureInvariant)]
    private static partial Regex BeforeNonDigit();

    [GeneratedRegex(@"([0-9])(-)", RegexOptions.CultureInvariant)]
    private static partial Regex HyphenAfterDigit();
}
