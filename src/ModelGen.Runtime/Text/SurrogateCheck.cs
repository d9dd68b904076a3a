using System.Globalization;

namespace ModelGen;

internal static class SurrogateCheck
{
    /// <summary>Throws if the text is not well-formed UTF-16, naming the place.</summary>
    public static void Require(ReadOnlySpan<char> text)
    {
        for (int index = 0; index < text.Length; index++)
        {
            char unit = text[index];
            if (!char.IsSurrogate(unit))
                continue;
            if (char.IsHighSurrogate(unit) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]))
            {
                index++;
                continue;
            }
            string code = ((int)unit).ToString("X4", CultureInfo.InvariantCulture);
            throw new ArgumentException($"The text has a lone surrogate U+{code} at index {index}.", nameof(text));
        }
    }
}
