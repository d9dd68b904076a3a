using System.Globalization;
using System.Text;

namespace ModelGen.Jinja;

internal enum JinjaTokenKind
{
    Data,
    BlockBegin,
    BlockEnd,
    OutputBegin,
    OutputEnd,
    Name,
    Text,
    Integer,
    Real,
    Operator,
    End,
}

internal readonly record struct JinjaToken(JinjaTokenKind Kind, string Value, int Line);

/// <summary>Cuts a template into tokens, with <c>trim_blocks</c> and <c>lstrip_blocks</c>, which chat templates are written for.</summary>
internal static class JinjaLexer
{
    // Longer ones first.
    private static readonly string[] s_operators = ["**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|"];

    public static List<JinjaToken> Read(string source)
    {
        source = source.ReplaceLineEndings("\n");
        source = source.EndsWith('\n') ? source[..^1] : source;
        var tokens = new List<JinjaToken>();
        int at = 0;
        int line = 1;

        // What the last tag asks of the text behind it.
        bool trimsAll = false;
        bool trimsLine = false;
        while (at < source.Length)
        {
            int open = source.AsSpan(at).IndexOf('{') is >= 0 and int first ? Opening(source, at + first) : -1;
            string data = open < 0 ? source[at..] : source[at..open];
            int dataLine = line;
            line += data.AsSpan().Count('\n');
            char kind = open < 0 ? '\0' : source[open + 1];
            char mark = open >= 0 && open + 2 < source.Length ? source[open + 2] : '\0';
            bool isAtStart = at == 0;
            if (trimsAll)
            {
                data = data.TrimStart();
            }
            else if (trimsLine && data.StartsWith('\n'))
            {
                data = data[1..];
                isAtStart = true;
            }

            if (mark == '-')
            {
                data = data.TrimEnd();
            }
            else if (kind is '%' or '#' && mark != '+')
            {
                // A block that stands alone in its line takes the indentation along.
                int start = data.LastIndexOf('\n') + 1;
                if ((start > 0 || isAtStart) && data.AsSpan(start).IndexOfAnyExcept(" \t\v\f") < 0)
                {
                    data = data[..start];
                }
            }

            if (data.Length > 0)
            {
                tokens.Add(new JinjaToken(JinjaTokenKind.Data, data, dataLine));
            }

            if (open < 0)
            {
                break;
            }

            at = open + (mark is '-' or '+' ? 3 : 2);
            if (kind == '#')
            {
                int end = source.IndexOf("#}", at, StringComparison.Ordinal);
                if (end < 0)
                {
                    throw new JinjaException("A comment has no end.", line);
                }

                line += source.AsSpan(at, end - at).Count('\n');
                trimsAll = end > at && source[end - 1] == '-';
                trimsLine = !trimsAll;
                at = end + 2;
                continue;
            }

            bool isBlock = kind == '%';
            tokens.Add(new JinjaToken(isBlock ? JinjaTokenKind.BlockBegin : JinjaTokenKind.OutputBegin, "", line));
            int begin = tokens.Count;
            at = ReadTag(source, at, isBlock, tokens, ref line, out trimsAll);
            trimsLine = isBlock && !trimsAll && source[at - 3] != '+';
            if (isBlock && tokens.Count == begin + 2 && tokens[begin].Value == "raw")
            {
                at = ReadRaw(source, at, tokens, begin - 1, trimsAll, trimsLine, ref line, out trimsAll);
                trimsLine = !trimsAll;
            }
        }

        tokens.Add(new JinjaToken(JinjaTokenKind.End, "", line));
        return tokens;
    }

    private static int Opening(string source, int from)
    {
        for (int i = from; i + 1 < source.Length; i++)
        {
            if (source[i] == '{' && source[i + 1] is '{' or '%' or '#')
            {
                return i;
            }
        }

        return -1;
    }

    // The text up to the end of a raw block stands in the place of its tag.
    private static int ReadRaw(string source, int at, List<JinjaToken> tokens, int begin, bool trimsAll, bool trimsLine, ref int line, out bool trims)
    {
        for (int end = source.IndexOf("{%", at, StringComparison.Ordinal); end >= 0; end = source.IndexOf("{%", end + 2, StringComparison.Ordinal))
        {
            int close = source.IndexOf("%}", end, StringComparison.Ordinal);
            if (close < 0 || source[(end + 2)..close].Trim('-', '+', ' ', '\t', '\n') != "endraw")
            {
                continue;
            }

            string data = source[at..end];
            line += data.AsSpan().Count('\n');
            data = trimsAll ? data.TrimStart() : trimsLine && data.StartsWith('\n') ? data[1..] : data;
            data = source[end + 2] == '-' ? data.TrimEnd() : data;
            tokens.RemoveRange(begin, tokens.Count - begin);
            tokens.Add(new JinjaToken(JinjaTokenKind.Data, data, line));
            trims = source[close - 1] == '-';
            return close + 2;
        }

        throw new JinjaException("A raw block has no end.", line);
    }

    private static int ReadTag(string source, int at, bool isBlock, List<JinjaToken> tokens, ref int line, out bool trims)
    {
        string close = isBlock ? "%}" : "}}";
        int depth = 0;
        while (at < source.Length)
        {
            char c = source[at];
            if (char.IsWhiteSpace(c))
            {
                line += c == '\n' ? 1 : 0;
                at++;
                continue;
            }

            if (depth == 0)
            {
                bool isTrimming = c is '-' or '+' && string.CompareOrdinal(source, at + 1, close, 0, 2) == 0;
                if (isTrimming || string.CompareOrdinal(source, at, close, 0, 2) == 0)
                {
                    trims = c == '-';
                    tokens.Add(new JinjaToken(isBlock ? JinjaTokenKind.BlockEnd : JinjaTokenKind.OutputEnd, "", line));
                    return at + (isTrimming ? 3 : 2);
                }
            }

            if (char.IsAsciiLetter(c) || c == '_')
            {
                int end = at;
                while (end < source.Length && (char.IsAsciiLetterOrDigit(source[end]) || source[end] == '_'))
                {
                    end++;
                }

                tokens.Add(new JinjaToken(JinjaTokenKind.Name, source[at..end], line));
                at = end;
            }
            else if (char.IsAsciiDigit(c))
            {
                at = ReadNumber(source, at, tokens, line);
            }
            else if (c is '\'' or '"')
            {
                at = ReadText(source, at, tokens, ref line);
            }
            else
            {
                string? found = Array.Find(s_operators, text => string.CompareOrdinal(source, at, text, 0, text.Length) == 0);
                if (found is null)
                {
                    throw new JinjaException($"Expected an expression, found '{c}'.", line);
                }

                depth += found is "(" or "[" or "{" ? 1 : found is ")" or "]" or "}" ? -1 : 0;
                if (depth < 0)
                {
                    throw new JinjaException($"'{found}' closes nothing.", line);
                }

                tokens.Add(new JinjaToken(JinjaTokenKind.Operator, found, line));
                at += found.Length;
            }
        }

        throw new JinjaException($"A tag has no end: expected '{close}'.", line);
    }

    private static int ReadNumber(string source, int at, List<JinjaToken> tokens, int line)
    {
        int end = at;
        while (end < source.Length && (char.IsAsciiDigit(source[end]) || source[end] == '_'))
        {
            end++;
        }

        bool isReal = false;
        if (end + 1 < source.Length && source[end] == '.' && char.IsAsciiDigit(source[end + 1]))
        {
            isReal = true;
            for (end++; end < source.Length && char.IsAsciiDigit(source[end]); end++)
            {
            }
        }

        if (end + 1 < source.Length && source[end] is 'e' or 'E' && (char.IsAsciiDigit(source[end + 1]) || (source[end + 1] is '-' or '+' && end + 2 < source.Length && char.IsAsciiDigit(source[end + 2]))))
        {
            isReal = true;
            for (end += 2; end < source.Length && char.IsAsciiDigit(source[end]); end++)
            {
            }
        }

        tokens.Add(new JinjaToken(isReal ? JinjaTokenKind.Real : JinjaTokenKind.Integer, source[at..end].Replace("_", "", StringComparison.Ordinal), line));
        return end;
    }

    private static int ReadText(string source, int at, List<JinjaToken> tokens, ref int line)
    {
        char quote = source[at++];
        int first = line;
        var text = new StringBuilder();
        while (at < source.Length && source[at] != quote)
        {
            char c = source[at++];
            line += c == '\n' ? 1 : 0;
            if (c != '\\' || at == source.Length)
            {
                text.Append(c);
                continue;
            }

            char escaped = source[at++];
            switch (escaped)
            {
                case 'n': text.Append('\n'); break;
                case 't': text.Append('\t'); break;
                case 'r': text.Append('\r'); break;
                case 'b': text.Append('\b'); break;
                case 'f': text.Append('\f'); break;
                case 'v': text.Append('\v'); break;
                case 'a': text.Append('\a'); break;
                case '0': text.Append('\0'); break;
                case '\n': break;
                case '\\' or '\'' or '"': text.Append(escaped); break;
                case 'x' or 'u' or 'U':
                    int digits = escaped == 'x' ? 2 : escaped == 'u' ? 4 : 8;
                    if (digits > source.Length - at || !int.TryParse(source.AsSpan(at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code) || !(Rune.IsValid(code) || (digits == 4 && code < 0x10000)))
                    {
                        throw new JinjaException($"Expected {digits} hexadecimal digits of a character behind '\\{escaped}'.", line);
                    }

                    text.Append(Rune.IsValid(code) ? new Rune(code).ToString() : ((char)code).ToString());
                    at += digits;
                    break;
                default: text.Append('\\').Append(escaped); break;
            }
        }

        if (at == source.Length)
        {
            throw new JinjaException("A text has no end.", first);
        }

        tokens.Add(new JinjaToken(JinjaTokenKind.Text, text.ToString(), first));
        return at + 1;
    }
}
