using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>What a value of JSON is.</summary>
internal enum SchemaJsonKind
{
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// <summary>
/// A value of a JSON text (RFC 8259) that knows where it stands. A schema is read while a project is compiled too, where the framework's reader is not at hand.
/// </summary>
internal sealed class SchemaJson
{
    private const int LargestDepth = 64;

    private static readonly List<(string Name, SchemaJson Value)> s_noMembers = [];
    private static readonly List<SchemaJson> s_noItems = [];

    private readonly string _source;
    private readonly int _start;
    private int _end;

    private SchemaJson(string source, int start) => (_source, _start) = (source, start);

    public SchemaJsonKind Kind { get; private set; }

    /// <summary>An object's members in the order of the text.</summary>
    public IReadOnlyList<(string Name, SchemaJson Value)> Members { get; private set; } = s_noMembers;

    /// <summary>A list's elements.</summary>
    public IReadOnlyList<SchemaJson> Items { get; private set; } = s_noItems;

    /// <summary>A string's text.</summary>
    public string Text { get; private set; } = "";

    /// <summary>The value as it is written.</summary>
    public string Raw => _source.Substring(_start, _end - _start);

    public TextPlace Place => TextPlace.Of(_source, _start);

    /// <summary>Reads a text.</summary>
    /// <exception cref="GrammarException">It is no JSON.</exception>
    public static SchemaJson Parse(string text) => Parse(text, GrammarReader.LargestSource);

    /// <summary>Reads a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">How many characters it may have.</param>
    /// <exception cref="GrammarException">It is no JSON, or longer.</exception>
    public static SchemaJson Parse(string text, int most)
    {
        if (text.Length > most)
        {
            throw new GrammarException(FormattableString.Invariant($"The schema has {text.Length} characters: expected at most {most}."));
        }

        var reader = new Reader(text);
        return reader.Document();
    }

    /// <summary>The member of a name, the last if there are several; null if there is none.</summary>
    public SchemaJson? Find(string name)
    {
        for (int i = Members.Count - 1; i >= 0; i--)
        {
            if (Members[i].Name == name)
            {
                return Members[i].Value;
            }
        }

        return null;
    }

    /// <summary>Whether the value is of a schema's type. A number without a fraction is an integer, however it is written.</summary>
    public bool Is(string type) => type switch
    {
        "object" => Kind == SchemaJsonKind.Object,
        "array" => Kind == SchemaJsonKind.Array,
        "string" => Kind == SchemaJsonKind.String,
        "number" => Kind == SchemaJsonKind.Number,
        "integer" => Kind == SchemaJsonKind.Number && double.TryParse(Raw, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && Math.Floor(number).Equals(number),
        "boolean" => Kind is SchemaJsonKind.True or SchemaJsonKind.False,
        "null" => Kind == SchemaJsonKind.Null,
        _ => false,
    };

    /// <summary>A text as JSON writes it.</summary>
    public static string Quoted(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (char c in text)
        {
            switch (c)
            {
                case '"' or '\\':
                    quoted.Append('\\').Append(c);
                    break;
                case '\n':
                    quoted.Append("\\n");
                    break;
                case '\t':
                    quoted.Append("\\t");
                    break;
                case '\r':
                    quoted.Append("\\r");
                    break;
                case < ' ' or '\u007F':
                    quoted.Append("\\u").Append(((int)c).ToString("X4", CultureInfo.InvariantCulture));
                    break;
                default:
                    quoted.Append(c);
                    break;
            }
        }

        return quoted.Append('"').ToString();
    }

    /// <summary>The value without space between its parts.</summary>
    public string Compact()
    {
        var text = new StringBuilder();
        Append(this);
        return text.ToString();

        void Append(SchemaJson value)
        {
            if (value.Kind is not (SchemaJsonKind.Object or SchemaJsonKind.Array))
            {
                text.Append(value._source, value._start, value._end - value._start);
                return;
            }

            bool isObject = value.Kind == SchemaJsonKind.Object;
            text.Append(isObject ? '{' : '[');
            for (int i = 0; i < (isObject ? value.Members.Count : value.Items.Count); i++)
            {
                text.Append(i > 0 ? "," : "");
                if (isObject)
                {
                    text.Append(Quoted(value.Members[i].Name)).Append(':');
                }

                Append(isObject ? value.Members[i].Value : value.Items[i]);
            }

            text.Append(isObject ? '}' : ']');
        }
    }

    private sealed class Reader(string text)
    {
        private int _at;

        private char Current => _at < text.Length ? text[_at] : '\0';

        public SchemaJson Document()
        {
            SchemaJson value = Value(0);
            Space();
            return _at == text.Length ? value : throw Wrong("the end");
        }

        private SchemaJson Value(int depth)
        {
            if (depth > LargestDepth)
            {
                throw GrammarException.At(TextPlace.Of(text, _at), FormattableString.Invariant($"values stand more than {LargestDepth} deep inside each other."));
            }

            Space();
            var value = new SchemaJson(text, _at);
            switch (Current)
            {
                case '{':
                    value.Kind = SchemaJsonKind.Object;
                    var members = new List<(string, SchemaJson)>();
                    Elements('}', () =>
                    {
                        string name = Text();
                        Space();
                        Take(':');
                        members.Add((name, Value(depth + 1)));
                    });
                    value.Members = members;
                    break;
                case '[':
                    value.Kind = SchemaJsonKind.Array;
                    var items = new List<SchemaJson>();
                    Elements(']', () => items.Add(Value(depth + 1)));
                    value.Items = items;
                    break;
                case '"':
                    value.Kind = SchemaJsonKind.String;
                    value.Text = Text();
                    break;
                case 't':
                    value.Kind = Word("true", SchemaJsonKind.True);
                    break;
                case 'f':
                    value.Kind = Word("false", SchemaJsonKind.False);
                    break;
                case 'n':
                    value.Kind = Word("null", SchemaJsonKind.Null);
                    break;
                default:
                    value.Kind = SchemaJsonKind.Number;
                    Number();
                    break;
            }

            value._end = _at;
            return value;
        }

        private void Elements(char end, Action element)
        {
            _at++;
            Space();
            if (Current == end && _at < text.Length)
            {
                _at++;
                return;
            }

            while (true)
            {
                Space();
                element();
                Space();
                if (Current == end)
                {
                    _at++;
                    return;
                }

                Take(',');
            }
        }

        private string Text()
        {
            Take('"');
            var read = new StringBuilder();
            while (Current != '"')
            {
                char c = Current;
                if (c < ' ')
                {
                    throw Wrong("a character or \"");
                }

                _at++;
                if (c != '\\')
                {
                    read.Append(c);
                    continue;
                }

                char escaped = Current;
                int meant = "\"\\/bfnrt".IndexOf(escaped);
                if (meant >= 0)
                {
                    read.Append("\"\\/\b\f\n\r\t"[meant]);
                    _at++;
                }
                else if (escaped == 'u' && text.Length - _at > 4 && IsHexadecimal(_at + 1, 4))
                {
                    read.Append((char)int.Parse(text.Substring(_at + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
                    _at += 5;
                }
                else
                {
                    throw Wrong("an escape");
                }
            }

            for (int i = 0; i < read.Length; i++)
            {
                if (char.IsSurrogate(read[i]) && !(char.IsHighSurrogate(read[i]) && i + 1 < read.Length && char.IsLowSurrogate(read[++i])))
                {
                    throw GrammarException.At(TextPlace.Of(text, _at), "a text has half a surrogate pair.");
                }
            }

            _at++;
            return read.ToString();
        }

        private bool IsHexadecimal(int at, int count)
        {
            for (int i = at; i < at + count; i++)
            {
                if (text[i] is not ((>= '0' and <= '9') or (>= 'a' and <= 'f') or (>= 'A' and <= 'F')))
                {
                    return false;
                }
            }

            return true;
        }

        private void Number()
        {
            _at += Current == '-' ? 1 : 0;
            if (Current == '0')
            {
                _at++;
            }
            else
            {
                Digits();
            }

            if (Current == '.')
            {
                _at++;
                Digits();
            }

            if (Current is 'e' or 'E')
            {
                _at++;
                _at += Current is '+' or '-' ? 1 : 0;
                Digits();
            }

            void Digits()
            {
                int start = _at;
                while (Current is >= '0' and <= '9')
                {
                    _at++;
                }

                if (_at == start)
                {
                    throw Wrong("a value");
                }
            }
        }

        private SchemaJsonKind Word(string word, SchemaJsonKind kind)
        {
            if (string.CompareOrdinal(text, _at, word, 0, word.Length) != 0)
            {
                throw Wrong("a value");
            }

            _at += word.Length;
            return kind;
        }

        private void Take(char c)
        {
            if (_at >= text.Length || Current != c)
            {
                throw Wrong(c.ToString());
            }

            _at++;
        }

        private void Space()
        {
            while (Current is ' ' or '\t' or '\n' or '\r')
            {
                _at++;
            }
        }

        private GrammarException Wrong(string expected) => GrammarException.At(TextPlace.Of(text, _at), $"expected {expected}, found {(_at < text.Length ? $"'{text[_at]}'" : "the end")}: it is no JSON.");
    }
}
