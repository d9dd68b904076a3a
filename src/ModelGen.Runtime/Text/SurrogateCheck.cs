using System.Globalization;
using System.Text;

namespace ModelGen;

internal static class SurrogateCheck
{
    /// <summary>Throws if the text is not well-formed UTF-16, naming the place.</summary>
    public static void Require(ReadOnlySpan<char> text)
    {
        int index = 0;
        while (true)
        {
            int next = text[index..].IndexOfAnyInRange('\uD800', '\uDFFF');
            if (next < 0)
                return;
            index += next;
            if (Rune.DecodeFromUtf16(text[index..], out _, out int consumed) != System.Buffers.OperationStatus.Done)
            {
                string unit = ((int)text[index]).ToString("X4", CultureInfo.InvariantCulture);
                throw new ArgumentException($"The text has a lone surrogate U+{unit} at index {index}.", nameof(text));
            }
            index += consumed;
        }
    }
}
