using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>Reads GBNF, llama.cpp's notation of grammars.</summary>
internal sealed class GrammarReader
{
    public const int LargestSource = 1 << 20;

    private const int LargestDepth = 100;
    private const int LargestRepetition = 2000;

    private static readonly char[] s_lineEnds = ['\n', '\r'];

    private readonly string _text;
    private readonly GrammarBuilder _builder = new();
    private int _at;
    private int _depth;

    private GrammarReader(string text)
    {
        _text = text;
        _builder.Source = text;
    }

    private char Current => _at < _text.Length ? _text[_at] : '\0';

    /// <summary>Reads a grammar that begins with the rule <c>root</c>.</summary>
    /// <exception cref="GrammarException">It is none that is understood here.</exception>
    public static GrammarRules Read(string text)
    {
        if (text.Length > LargestSource)
        {
            throw new GrammarException(FormattableString.Invariant($"The grammar has {text.Length} characters: expected at most {LargestSource}."));
        }

        var reader = new GrammarReader(text);
        reader.Space(withLines: true);
        while (reader._at < text.Length)
        {
            reader.Rule();
            reader.Space(withLines: true);
        }

        return reader._builder.Build("root");
    }

    private void Rule()
    {
        int at = _at;
        string name = Name();
        Space(withLines: false);
        if (string.CompareOrdinal(_text, _at, "::=", 0, 3) != 0)
        {
            throw Wrong("::=");
        }

        if (_builder.IsDefined(name))
        {
            throw GrammarException.At(TextPlace.Of(_text, at), $"the rule '{name}' is defined twice.");
        }

        _at += 3;
        Space(withLines: true);
        _builder.Define(_builder.Named(name, at), Alternatives(isInside: false));
        if (_at < _text.Length && Current is not ('\n' or '\r'))
        {
            throw Wrong("the end of a line");
        }
    }

    private List<List<int>> Alternatives(bool isInside)
    {
        if (++_depth > LargestDepth)
        {
            throw GrammarException.At(Place, FormattableString.Invariant($"brackets stand more than {LargestDepth} deep inside each other."));
        }

        var alternatives = new List<List<int>> { Sequence(isInside) };
        while (Current == '|')
        {
            _at++;
            Space(withLines: true);
            alternatives.Add(Sequence(isInside));
        }

        _depth--;
        return alternatives;
    }

    private List<int> Sequence(bool isInside)
    {
        var sequence = new List<int>();
        List<int>? last = null;
        while (_at < _text.Length)
        {
            char c = Current;
            if (c is '*' or '+' or '?' or '{')
            {
                (int least, int most) = c switch { '*' => (0, -1), '+' => (1, -1), '?' => (0, 1), _ => Count() };
                _at += c == '{' ? 0 : 1;
                if (last is null)
                {
                    throw Wrong("something to repeat");
                }

                sequence.RemoveRange(sequence.Count - last.Count, last.Count);
                last = _builder.Repeat(last, least, most);
            }
            else if (c == '"')
            {
                last = [.. _builder.Text(Literal())];
            }
            else if (c == '[')
            {
                last = [Class()];
            }
            else if (c == '.')
            {
                _at++;
                last = [_builder.Characters([], isNegated: true)];
            }
            else if (c == '(')
            {
                _at++;
                Space(withLines: true);
                List<List<int>> inside = Alternatives(isInside: true);
                if (Current != ')')
                {
                    throw Wrong(")");
                }

                _at++;
                last = [GrammarBuilder.Reference(_builder.Add(inside))];
            }
            else if (IsName(c))
            {
                int at = _at;
                last = [GrammarBuilder.Reference(_builder.Named(Name(), at))];
            }
            else
            {
                return sequence;
            }

            sequence.AddRange(last);
            Space(isInside);
        }

        return sequence;
    }

    private (int Least, int Most) Count()
    {
        int end = _text.IndexOf('}', _at);
        string[] parts = end < 0 ? [] : _text.Substring(_at + 1, end - _at - 1).Split(',');
        int most = -1;
        if (parts.Length is 0 or > 2 || !Number(parts[0], 0, out int least) || (parts.Length == 2 && parts[1].Trim().Length > 0 && !Number(parts[1], least, out most)))
        {
            throw Wrong(FormattableString.Invariant($"{{m}}, {{m,}} or {{m,n}} with numbers up to {LargestRepetition}"));
        }

        _at = end + 1;
        return (least, parts.Length == 1 ? least : most);

        static bool Number(string text, int from, out int value)
            => int.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= from && value <= LargestRepetition;
    }

    private string Literal()
    {
        var text = new StringBuilder();
        _at++;
        while (Current != '"')
        {
            text.Append(char.ConvertFromUtf32(Character('"')));
        }

        _at++;
        return text.ToString();
    }

    private int Class()
    {
        _at++;
        bool isNegated = Current == '^';
        _at += isNegated ? 1 : 0;
        var ranges = new List<(int, int)>();
        while (Current != ']')
        {
            int first = Character(']');
            int last = first;
            if (Current == '-' && _at + 1 < _text.Length && _text[_at + 1] != ']')
            {
                _at++;
                last = Character(']');
            }

            ranges.Add(last >= first ? (first, last) : throw Wrong("a range that goes up"));
        }

        _at++;
        return _builder.Characters(ranges, isNegated);
    }

    private int Character(char end)
    {
        if (_at >= _text.Length || Current is '\n' or '\r')
        {
            throw Wrong(end.ToString());
        }

        if (Current != '\\')
        {
            if (!char.IsSurrogate(Current))
            {
                return _text[_at++];
            }

            if (_at + 1 == _text.Length || !char.IsSurrogatePair(_text, _at))
            {
                throw Wrong("a whole character");
            }

            _at += 2;
            return char.ConvertToUtf32(_text, _at - 2);
        }

        _at++;
        char escaped = Current;
        _at++;
        switch (escaped)
        {
            case 'n': return '\n';
            case 't': return '\t';
            case 'r': return '\r';
            case '\\' or '"' or '[' or ']' or '-' or '^' or '\'' or '/': return escaped;
            case 'x' or 'u' or 'U':
                int digits = escaped == 'x' ? 2 : escaped == 'u' ? 4 : 8;
                if (digits > _text.Length - _at || !int.TryParse(_text.Substring(_at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || value is < 0 or > 0x10FFFF or (>= 0xD800 and <= 0xDFFF))
                {
                    throw Wrong(FormattableString.Invariant($"{digits} hexadecimal digits of a character"));
                }

                _at += digits;
                return value;
            default:
                _at--;
                throw Wrong("an escape: n, t, r, x, u, U, \\, \", [, ], - or ^");
        }
    }

    private string Name()
    {
        int start = _at;
        while (IsName(Current))
        {
            _at++;
        }

        return _at > start ? _text.Substring(start, _at - start) : throw Wrong("the name of a rule");
    }

    private static bool IsName(char c) => c is (>= 'a' and <= 'z') or (>= 'A' and <= 'Z') or (>= '0' and <= '9') or '-' or '_';

    private void Space(bool withLines)
    {
        while (_at < _text.Length && (Current is ' ' or '\t' or '#' || (withLines && Current is '\n' or '\r')))
        {
            if (Current == '#')
            {
                int end = _text.IndexOfAny(s_lineEnds, _at);
                _at = end < 0 ? _text.Length : end;
            }
            else
            {
                _at++;
            }
        }
    }

    private TextPlace Place => TextPlace.Of(_text, Math.Min(_at, _text.Length));

    private GrammarException Wrong(string expected) => GrammarException.At(Place, $"expected {expected}, found {(_at < _text.Length ? $"'{_text[_at]}'" : "the end")}.");
}
