using System.Text;

namespace ModelGen;

/// <summary>What a text is cut into.</summary>
public enum TextUnit
{
    /// <summary>Words: what stands between white space.</summary>
    Word,

    /// <summary>Words as above, with every character of punctuation and every symbol by itself.</summary>
    WordAndPunctuation,

    /// <summary>Characters: Unicode scalar values.</summary>
    Character,

    /// <summary>Bytes of UTF-8, each written as &lt;0x41&gt;.</summary>
    Byte,
}

/// <summary>Cuts a text into its units, one after the other, without allocating.</summary>
internal ref struct TextUnits(ReadOnlySpan<char> text, TextUnit unit)
{
    private ReadOnlySpan<char> _rest = text;
    private int _byte;

    /// <summary>The unit at hand; of a byte, the character that it is of.</summary>
    public ReadOnlySpan<char> Current { get; private set; }

    /// <summary>The byte at hand, where units are bytes.</summary>
    public byte Byte { get; private set; }

    public bool MoveNext()
    {
        if (unit == TextUnit.Byte && _byte > 0)
        {
            return NextByte();
        }

        if (unit is TextUnit.Word or TextUnit.WordAndPunctuation)
        {
            _rest = _rest.TrimStart();
        }

        if (_rest.IsEmpty)
        {
            return false;
        }

        int length = LengthOfFirst();
        Current = _rest[..length];
        _rest = _rest[length..];
        return unit != TextUnit.Byte || NextByte();
    }

    private bool NextByte()
    {
        Span<byte> bytes = stackalloc byte[4];
        Rune.DecodeFromUtf16(Current, out Rune rune, out _);
        int count = rune.EncodeToUtf8(bytes);
        Byte = bytes[_byte];
        _byte = (_byte + 1) % count;
        return true;
    }

    private readonly int LengthOfFirst()
    {
        Rune.DecodeFromUtf16(_rest, out Rune first, out int length);
        if (unit is TextUnit.Character or TextUnit.Byte || (unit == TextUnit.WordAndPunctuation && StandsAlone(first)))
        {
            return length;
        }

        while (length < _rest.Length)
        {
            Rune.DecodeFromUtf16(_rest[length..], out Rune next, out int consumed);
            if (Rune.IsWhiteSpace(next) || (unit == TextUnit.WordAndPunctuation && StandsAlone(next)))
            {
                break;
            }

            length += consumed;
        }

        return length;
    }

    private static bool StandsAlone(Rune rune) => Rune.IsPunctuation(rune) || Rune.IsSymbol(rune);
}
