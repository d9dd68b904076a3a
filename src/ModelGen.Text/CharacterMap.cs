using System.Buffers.Binary;
using System.Text;

namespace ModelGen;

/// <summary>
/// The rules by which SentencePiece makes characters alike, as models carry them (<c>precompiled_charsmap</c>): the length of a trie, the trie as a double array, and the texts that its entries are replaced by, each ended by a zero. At each place the longest
/// entry is taken. Nothing of it is trusted: a place outside the array is no entry.
/// </summary>
/// <remarks>Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array Structure" (1989), in the 32-bit units of darts-clone.</remarks>
internal sealed class CharacterMap
{
    private readonly uint[] _units;
    private readonly byte[] _texts;

    /// <summary>Reads a map.</summary>
    /// <exception cref="ArgumentException">The lengths do not fit.</exception>
    public CharacterMap(ReadOnlySpan<byte> map)
    {
        uint length = map.Length >= sizeof(uint) ? BinaryPrimitives.ReadUInt32LittleEndian(map) : 0;
        if (length == 0 || length % sizeof(uint) != 0 || length > map.Length - sizeof(uint))
        {
            throw new ArgumentException(FormattableString.Invariant($"The map of characters has {map.Length} bytes, and its trie {length}: expected 4 or more, a multiple of 4, within it."), nameof(map));
        }

        _units = new uint[length / sizeof(uint)];
        for (int i = 0; i < _units.Length; i++)
        {
            _units[i] = BinaryPrimitives.ReadUInt32LittleEndian(map[(sizeof(uint) * (i + 1))..]);
        }

        _texts = map[(int)(sizeof(uint) + length)..].ToArray();
    }

    /// <summary>Replaces what has rules.</summary>
    public string Map(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        var mapped = new List<byte>(bytes.Length);
        for (int at = 0; at < bytes.Length;)
        {
            if (Find(bytes.AsSpan(at), out int length) is { } found)
            {
                mapped.AddRange(found);
                at += length;
                continue;
            }

            Rune.DecodeFromUtf8(bytes.AsSpan(at), out _, out int own);
            mapped.AddRange(bytes.AsSpan(at, own));
            at += own;
        }

        // A rule of a damaged map may begin or end within a character: what is none becomes U+FFFD.
        return Encoding.UTF8.GetString(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(mapped));
    }

    private byte[]? Find(ReadOnlySpan<byte> text, out int length)
    {
        length = 0;
        uint place = Offset(_units[0]);
        uint value = 0;
        for (int i = 0; i < text.Length; i++)
        {
            place ^= text[i];
            if (place >= (uint)_units.Length || (_units[place] & 0x8000_00FF) != text[i])
            {
                break;
            }

            uint unit = _units[place];
            place ^= Offset(unit);
            if ((unit >> 8 & 1) != 0 && place < (uint)_units.Length)
            {
                value = _units[place] & 0x7FFF_FFFF;
                length = i + 1;
            }
        }

        if (length == 0 || value >= (uint)_texts.Length)
        {
            return null;
        }

        ReadOnlySpan<byte> rest = _texts.AsSpan((int)value);
        int end = rest.IndexOf((byte)0);
        return (end < 0 ? rest : rest[..end]).ToArray();

        static uint Offset(uint unit) => (unit >> 10) << (int)((unit & (1u << 9)) >> 6);
    }
}
