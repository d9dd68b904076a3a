using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace ModelGen;

/// <summary>The patterns by which byte-level tokenizers cut a text into words before they merge, by GGUF's names for them.</summary>
internal static partial class WordPatterns
{
    private static readonly Dictionary<string, Func<Regex>> s_patterns = new(StringComparer.Ordinal)
    {
        ["gpt-2"] = Gpt2,
        ["roberta-bpe"] = Gpt2,
        ["llama-bpe"] = ThreeDigits,
        ["llama-v3"] = ThreeDigits,
        ["llama3"] = ThreeDigits,
        ["smaug-bpe"] = ThreeDigits,
        ["dbrx"] = ThreeDigits,
        ["qwen2"] = OneDigit,
        ["stablelm2"] = OneDigit,
        ["hunyuan"] = OneDigit,
        ["smollm"] = Gpt2OneDigit,
        ["starcoder"] = Gpt2OneDigit,
        ["refact"] = Gpt2OneDigit,
        ["command-r"] = Gpt2OneDigit,
        ["olmo"] = Gpt2,
        ["mpt"] = Gpt2,
        ["jina-v2-en"] = Gpt2,
        ["default"] = Gpt2,
    };

    /// <summary>The pattern of a name.</summary>
    /// <exception cref="NotSupportedException">There is none of that name here.</exception>
    public static Regex Of(string name) => s_patterns.TryGetValue(name, out Func<Regex>? pattern)
        ? pattern()
        : throw new NotSupportedException($"The tokenizer's words are found by the pattern '{(name.Length > 40 ? name[..40] : name)}', which is not known here: {string.Join(", ", s_patterns.Keys)}.");

    /// <summary>Whether a word that is a token is one at once, whatever merges would make of it: so with Llama 3's vocabularies, whose files say it by the name alone.</summary>
    public static bool TakesWholeWords(string name) => name is "llama-bpe" or "llama-v3" or "llama3";

    /// <summary>The name of a pattern's text; null if it is none of these.</summary>
    /// <param name="pattern">The text.</param>
    /// <param name="takesWholeWords">Whether a word that is a token is one at once.</param>
    public static string? NameOf(string pattern, bool takesWholeWords) => pattern switch
    {
        _ when takesWholeWords && pattern != ThreeDigitsText => null,
        Gpt2Text => "gpt-2",
        ThreeDigitsText => takesWholeWords ? "llama-bpe" : "dbrx",
        OneDigitText or QwenText => "qwen2",
        _ => null,
    };

    /// <summary>The text of a name's pattern; null where it is GPT-2's, or GPT-2's with every digit by itself.</summary>
    public static string? TextOf(string name) => Of(name).ToString() is Gpt2Text or Gpt2OneDigitText ? null : Of(name).ToString();

    /// <summary>Whether a name's pattern is GPT-2's with every digit by itself.</summary>
    public static bool HasSingleDigits(string name) => Of(name).ToString() == Gpt2OneDigitText;

    /// <summary>
    /// The text with letters beyond U+FFFF shown as letters: a pattern sees halves of surrogate pairs, which are none. Places stay what they are.
    /// </summary>
    public static string Shown(string text)
    {
        int first = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        if (first < 0)
        {
            return text;
        }

        char[] shown = text.ToCharArray();
        for (int i = first; i + 1 < shown.Length; i++)
        {
            if (Rune.TryCreate(text[i], text[i + 1], out Rune rune))
            {
                UnicodeCategory category = Rune.GetUnicodeCategory(rune);
                if (category is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter)
                {
                    shown[i] = shown[i + 1] = 'x';
                }

                i++;
            }
        }

        return new string(shown);
    }

    private const string Gpt2Text = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string ThreeDigitsText = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string OneDigitText = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Qwen's own spelling of it.
    private const string QwenText = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+(?=\S)|\s+";

    // GPT-2's, where every digit is a word.
    private const string Gpt2OneDigitText = @"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+";

    [GeneratedRegex(Gpt2Text, RegexOptions.CultureInvariant)]
    private static partial Regex Gpt2();

    [GeneratedRegex(ThreeDigitsText, RegexOptions.CultureInvariant)]
    private static partial Regex ThreeDigits();

    [GeneratedRegex(OneDigitText, RegexOptions.CultureInvariant)]
    private static partial Regex OneDigit();

    [GeneratedRegex(Gpt2OneDigitText, RegexOptions.CultureInvariant)]
    private static partial Regex Gpt2OneDigit();
}
