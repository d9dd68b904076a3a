using System;
using System.Collections.Generic;
using System.Globalization;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>Reads vocabularies as <c>TextTokenizer.WriteVocabulary</c> writes them.</summary>
internal static class TokenTableText
{
    private const string Header = "modelgen-vocabulary 1 ";
    private const int LargestTokens = 1 << 22;

    /// <exception cref="GrammarException">It is none.</exception>
    public static TokenTable Read(string text)
    {
        int at = 0;
        int number = 1;
        string head = Line();
        if (!head.StartsWith(Header, StringComparison.Ordinal)
            || !int.TryParse(head.Substring(Header.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            || count is < 1 or > LargestTokens || count > text.Length)
        {
            throw Wrong(1, $"expected '{Header}' and the number of tokens; 'modelgen vocabulary' writes it");
        }

        byte[][] bytes = new byte[count][];
        var ends = new List<int>();
        var token = new List<byte>();
        for (int id = 0; id < count; id++)
        {
            number = id + 2;
            string line = at < text.Length ? Line() : throw Wrong(1, FormattableString.Invariant($"expected {count} tokens, found {id}"));
            if (line.Length == 0 || line[0] is not ('-' or '!'))
            {
                throw Wrong(1, "expected '-' or '!' before the token");
            }

            if (line[0] == '!')
            {
                ends.Add(id);
            }

            token.Clear();
            for (int i = 1; i < line.Length; i++)
            {
                if (line[i] is > ' ' and < (char)127 and not '\\')
                {
                    token.Add((byte)line[i]);
                }
                else if (line[i] == '\\' && i + 3 < line.Length && line[i + 1] == 'x' && byte.TryParse(line.Substring(i + 2, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
                {
                    token.Add(value);
                    i += 3;
                }
                else
                {
                    throw Wrong(i + 1, "expected printable ASCII, or \\x and two hexadecimal digits");
                }
            }

            bytes[id] = [.. token];
        }

        if (at < text.Length)
        {
            number++;
            throw Wrong(1, FormattableString.Invariant($"expected the end behind {count} tokens"));
        }

        return new TokenTable(bytes, ends);

        string Line()
        {
            int end = text.IndexOf('\n', at);
            end = end < 0 ? text.Length : end;
            int length = end - at - (end > at && text[end - 1] == '\r' ? 1 : 0);
            string line = text.Substring(at, length);
            at = Math.Min(text.Length, end + 1);
            return line;
        }

        GrammarException Wrong(int column, string what) => GrammarException.At(new TextPlace(number, column), what + ".");
    }
}
