using System.Text;

namespace ModelGen.Runtime;

/// <summary>What <see cref="JsonScanner"/> stands at.</summary>
internal enum JsonToken
{
    None,
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    PropertyName,
    String,
    Number,
    Literal,
}

/// <summary>
/// Reads JSON (RFC 8259) token by token, without comments and trailing commas. Headers of weight files ask for little more than names and integers; the framework's reader, which knows all types and reads from
/// several pieces, is forty kilobytes of a published program.
/// </summary>
internal ref struct JsonScanner
{
    private readonly ReadOnlySpan<byte> _text;
    private readonly int _deepest;
    private int _at;
    private int _depth;

    // Of each container that is open, whether it is an object: the innermost one's bit is the lowest.
    private ulong _objects;
    private bool _isEscaped;

    /// <param name="text">The text, valid UTF-8.</param>
    /// <param name="deepest">How many objects and arrays may be open at a time, 64 at most.</param>
    public JsonScanner(ReadOnlySpan<byte> text, int deepest)
    {
        _text = text;
        _deepest = deepest;
    }

    public JsonToken Token { get; private set; }

    /// <summary>Of a name or a string what is between the quotes, escape sequences included; of a number or a literal, its text.</summary>
    public ReadOnlySpan<byte> Value { readonly get; private set; }

    /// <summary>Bytes up to the end of the token, or to where an error was found.</summary>
    public readonly int Position => _at;

    /// <summary>Goes on to the next token; false at the end.</summary>
    /// <exception cref="FormatException">It is no JSON, or is nested too deeply.</exception>
    public bool Read()
    {
        SkipSpace();
        if (Token is JsonToken.None or JsonToken.PropertyName)
        {
            ReadValue();
            return true;
        }

        if (_depth == 0)
        {
            return _at != _text.Length ? throw Error() : false;
        }

        bool isObject = (_objects & 1) != 0;
        if (Peek() == (isObject ? '}' : ']'))
        {
            _at++;
            _depth--;
            _objects >>= 1;
            Token = isObject ? JsonToken.EndObject : JsonToken.EndArray;
            return true;
        }

        if (Token is not (JsonToken.StartObject or JsonToken.StartArray))
        {
            Take(',');
            SkipSpace();
        }

        if (!isObject)
        {
            ReadValue();
            return true;
        }

        ReadString();
        SkipSpace();
        Take(':');
        Token = JsonToken.PropertyName;
        return true;
    }

    /// <summary>Goes to the end of what begins here.</summary>
    public void Skip()
    {
        if (Token is JsonToken.StartObject or JsonToken.StartArray)
        {
            for (int depth = _depth; _depth >= depth;)
            {
                Read();
            }
        }
    }

    /// <summary>The text of a name or a string.</summary>
    /// <exception cref="InvalidOperationException">An escape sequence is half of a surrogate pair.</exception>
    public readonly string Text()
    {
        if (!_isEscaped)
        {
            return Encoding.UTF8.GetString(Value);
        }

        // No escape sequence is shorter than what it stands for.
        char[] text = new char[Value.Length];
        int length = 0;
        for (int at = 0; at < Value.Length;)
        {
            int plain = Value[at..].IndexOf((byte)'\\');
            plain = plain < 0 ? Value.Length - at : plain;
            length += Encoding.UTF8.GetChars(Value.Slice(at, plain), text.AsSpan(length));
            at += plain;
            if (at == Value.Length)
            {
                break;
            }

            byte kind = Value[at + 1];
            text[length++] = kind switch
            {
                (byte)'b' => '\b',
                (byte)'f' => '\f',
                (byte)'n' => '\n',
                (byte)'r' => '\r',
                (byte)'t' => '\t',
                (byte)'u' => (char)Hexadecimal(Value.Slice(at + 2, 4)),
                _ => (char)kind,
            };
            at += kind == 'u' ? 6 : 2;
        }

        for (int i = 0; i < length; i++)
        {
            if (char.IsSurrogate(text[i]) && (i + 1 == length || !char.IsSurrogatePair(text[i], text[++i])))
            {
                throw new InvalidOperationException("A string has half of a surrogate pair.");
            }
        }

        return new string(text, 0, length);
    }

    /// <summary>Whether a name or a string is this text.</summary>
    public readonly bool Is(string text)
    {
        if (_isEscaped)
        {
            return Text() == text;
        }

        if (Value.Length != text.Length)
        {
            return false;
        }

        for (int i = 0; i < text.Length; i++)
        {
            if (Value[i] != text[i])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Reads an integer; not one with a fraction or an exponent, whatever its value, and none beyond 64 bits.</summary>
    public readonly bool TryInteger(out long value)
    {
        value = 0;
        bool isNegative = Value.Length > 0 && Value[0] == '-';
        foreach (byte digit in Value[(isNegative ? 1 : 0)..])
        {
            if (!char.IsAsciiDigit((char)digit) || value < (long.MinValue + (digit - '0')) / 10)
            {
                return false;
            }

            // Below zero there is one more.
            value = (10 * value) - (digit - '0');
        }

        if (!isNegative && value == long.MinValue)
        {
            return false;
        }

        value = isNegative ? value : -value;
        return Token == JsonToken.Number;
    }

    private static int Hexadecimal(ReadOnlySpan<byte> digits)
    {
        int value = 0;
        foreach (byte digit in digits)
        {
            value = (16 * value) + (char.IsAsciiDigit((char)digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }

        return value;
    }

    private void ReadValue()
    {
        int start = _at;
        switch (Peek())
        {
            case '{':
                Open(isObject: true);
                return;
            case '[':
                Open(isObject: false);
                return;
            case '"':
                ReadString();
                Token = JsonToken.String;
                return;
            case 't':
                TakeAll("true");
                break;
            case 'f':
                TakeAll("false");
                break;
            case 'n':
                TakeAll("null");
                break;
            default:
                TakeNumber();
                Token = JsonToken.Number;
                Value = _text[start.._at];
                return;
        }

        Token = JsonToken.Literal;
        Value = _text[start.._at];
    }

    private void Open(bool isObject)
    {
        if (_depth == _deepest)
        {
            throw new FormatException($"JSON is nested in more than {_deepest} objects and arrays.");
        }

        _at++;
        _depth++;
        _objects = (_objects << 1) | (isObject ? 1UL : 0);
        Token = isObject ? JsonToken.StartObject : JsonToken.StartArray;
        Value = default;
    }

    private void ReadString()
    {
        Take('"');
        int start = _at;
        _isEscaped = false;
        for (; Peek() != '"'; _at++)
        {
            if (_text[_at] < 0x20)
            {
                throw Error();
            }

            if (_text[_at] != '\\')
            {
                continue;
            }

            _isEscaped = true;
            _at++;
            int digits = Peek() == 'u' ? 4 : "\"\\/bfnrt".Contains((char)_text[_at], StringComparison.Ordinal) ? 0 : throw Error();
            for (; digits > 0; digits--)
            {
                _at++;
                if (!char.IsAsciiHexDigit((char)Peek()))
                {
                    throw Error();
                }
            }
        }

        Value = _text[start.._at];
        _at++;
    }

    private void TakeNumber()
    {
        if (Peek() == '-')
        {
            _at++;
        }

        if (Peek() == '0')
        {
            _at++;
        }
        else
        {
            TakeDigits();
        }

        if (_at < _text.Length && _text[_at] == '.')
        {
            _at++;
            TakeDigits();
        }

        if (_at < _text.Length && (_text[_at] | 0x20) == 'e')
        {
            _at++;
            if (Peek() is '+' or '-')
            {
                _at++;
            }

            TakeDigits();
        }
    }

    private void TakeDigits()
    {
        if (!char.IsAsciiDigit((char)Peek()))
        {
            throw Error();
        }

        while (_at < _text.Length && char.IsAsciiDigit((char)_text[_at]))
        {
            _at++;
        }
    }

    private void TakeAll(string literal)
    {
        foreach (char c in literal)
        {
            Take(c);
        }
    }

    private void Take(char c)
    {
        if (Peek() != c)
        {
            throw Error();
        }

        _at++;
    }

    private readonly int Peek() => _at < _text.Length ? _text[_at] : throw Error();

    private void SkipSpace()
    {
        while (_at < _text.Length && _text[_at] is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r')
        {
            _at++;
        }
    }

    private readonly FormatException Error()
        => new(_at < _text.Length ? $"JSON has an unexpected character at byte {_at}." : "JSON ends too early.");
}
