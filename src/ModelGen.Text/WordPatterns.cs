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
        ["falcon3"] = ThreeDigits,
        ["falcon-h1"] = ThreeDigits,
        ["pixtral"] = ThreeDigits,
        ["midm-2.0"] = ThreeDigits,
        ["lfm2"] = ThreeDigits,
        ["smaug-bpe"] = ThreeDigits,
        ["dbrx"] = ThreeDigits,
        ["glm4"] = ThreeDigits,
        ["chatglm-bpe"] = ThreeDigits,
        ["qwen2"] = OneDigit,
        ["deepseek-r1-qwen"] = OneDigit,
        ["megrez"] = OneDigit,
        ["stablelm2"] = OneDigit,
        ["hunyuan"] = OneDigit,
        ["qwen35"] = OneDigitWithMarks,
        ["gpt-4o"] = CasedWords,
        ["llama4"] = CasedWords,
        ["tekken"] = CasedWordsOneDigit,
        ["bloom"] = BetweenSigns,
        ["gpt3-finnish"] = BetweenSigns,
        ["smollm"] = Gpt2OneDigit,
        ["starcoder"] = Gpt2OneDigit,
        ["refact"] = Gpt2OneDigit,
        ["command-r"] = Gpt2OneDigit,
        ["codeshell"] = Gpt2OneDigit,
        ["exaone"] = Gpt2OneDigit,
        ["minerva-7b"] = Gpt2OneDigit,
        ["olmo"] = Gpt2,
        ["mpt"] = Gpt2,
        ["phi-2"] = Gpt2,
        ["jais"] = Gpt2,
        ["trillion"] = Gpt2,
        ["granite-docling"] = Gpt2,
        ["exaone4"] = Gpt2,
        ["modern-bert"] = Gpt2,
        ["jina-v1-en"] = Gpt2,
        ["jina-v2-en"] = Gpt2,
        ["jina-v2-es"] = Gpt2,
        ["jina-v2-de"] = Gpt2,
        ["jina-v2-code"] = Gpt2,
        ["jina-es"] = Gpt2,
        ["jina-de"] = Gpt2,
        ["default"] = Gpt2,
    };

    /// <summary>The pattern of a name.</summary>
    /// <exception cref="NotSupportedException">There is none of that name here.</exception>
    public static Regex Of(string name) => s_patterns.TryGetValue(name, out Func<Regex>? pattern)
        ? pattern()
        : throw new NotSupportedException($"The tokenizer's words are found by the pattern '{(name.Length > 40 ? name[..40] : name)}', which is not known here: {string.Join(", ", s_patterns.Keys)}.");

    /// <summary>Whether a word that is a token is one at once, whatever merges would make of it: so with Llama 3's vocabularies and others like it, whose files say it by the name alone.</summary>
    public static bool TakesWholeWords(string name) => name is "llama-bpe" or "llama-v3" or "llama3" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2" or "tekken";

    /// <summary>The name of a pattern's text; null if it is none of these.</summary>
    /// <param name="pattern">The text.</param>
    /// <param name="takesWholeWords">Whether a word that is a token is one at once.</param>
    public static string? NameOf(string pattern, bool takesWholeWords) => pattern switch
    {
        CasedWordsOneDigitText => takesWholeWords ? "tekken" : null,
        _ when takesWholeWords && pattern != ThreeDigitsText => null,
        Gpt2Text => "gpt-2",
        ThreeDigitsText => takesWholeWords ? "llama-bpe" : "dbrx",
        OneDigitText or QwenText => "qwen2",
        OneDigitWithMarksText => "qwen35",
        CasedWordsText => "gpt-4o",
        BetweenSignsText or BloomText => "bloom",
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
                // ª is a letter that is neither capital nor small.
                shown[i] = shown[i + 1] = Rune.GetUnicodeCategory(rune) switch
                {
                    UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => 'X',
                    UnicodeCategory.LowercaseLetter => 'x',
                    UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => 'ª',
                    _ => '\uD800',
                };

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

    // Qwen 3.5's, where marks of letters are part of words.
    private const string OneDigitWithMarksText = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Words begin anew at a capital letter behind a small one.
    private const string CasedText = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+", CapitalText = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*";

    private const string BehindWordsText = @"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string ShortFormsText = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";

    private const string CasedWordsText = CasedText + ShortFormsText + "|" + CapitalText + ShortFormsText + @"|\p{N}{1,3}" + BehindWordsText;

    private const string CasedWordsOneDigitText = CasedText + "|" + CapitalText + @"|\p{N}" + BehindWordsText;

    // BLOOM's, whose own spelling has a class in a class.
    private const string BetweenSignsText = @" ?[^(\s|.,!?…。，、।۔،)]+";

    private const string BloomText = @" ?[^(\s|[.,!?…。，、।۔،])]+";

    // GPT-2's, where every digit is a word.
    private const string Gpt2OneDigitText = @"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+";

    [GeneratedRegex(Gpt2Text, RegexOptions.CultureInvariant)]
    private static partial Regex Gpt2();

    [GeneratedRegex(ThreeDigitsText, RegexOptions.CultureInvariant)]
    private static partial Regex ThreeDigits();

    [GeneratedRegex(OneDigitText, RegexOptions.CultureInvariant)]
    private static partial Regex OneDigit();

    [GeneratedRegex(OneDigitWithMarksText, RegexOptions.CultureInvariant)]
    private static partial Regex OneDigitWithMarks();

    [GeneratedRegex(CasedWordsText, RegexOptions.CultureInvariant)]
    private static partial Regex CasedWords();

    [GeneratedRegex(CasedWordsOneDigitText, RegexOptions.CultureInvariant)]
    private static partial Regex CasedWordsOneDigit();

    [GeneratedRegex(BetweenSignsText, RegexOptions.CultureInvariant)]
    private static partial Regex BetweenSigns();

    [GeneratedRegex(Gpt2OneDigitText, RegexOptions.CultureInvariant)]
    private static partial Regex Gpt2OneDigit();
}
