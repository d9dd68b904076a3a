using System.Globalization;
using System.Text;

namespace ModelGen;

/// <summary>
/// What SentencePiece does to a text before it is cut into pieces: characters are made alike by the vocabulary's map, runs of spaces become one and go at the ends where the vocabulary says so, a space is put before the text, and spaces are
/// spelled ▁. Texts that are always tokens of their own are found before and are left as they are.
/// </summary>
internal sealed class SentencePieceText
{
    /// <summary>What SentencePiece writes for a space, U+2581.</summary>
    public const char Space = '▁';

    private readonly TokenizerVocabulary _vocabulary;
    private readonly CharacterMap? _map;
    private readonly NameMatcher _userDefined;

    public SentencePieceText(TokenizerVocabulary vocabulary, IEnumerable<KeyValuePair<string, int>> specialTokens)
    {
        _vocabulary = vocabulary;
        _map = vocabulary.CharacterMap.Count > 0 ? new CharacterMap([.. vocabulary.CharacterMap]) : null;
        _userDefined = new NameMatcher(specialTokens.Where(token => vocabulary.Kinds[token.Value] == TokenKind.UserDefined));
    }

    /// <summary>The bytes that a token stands for.</summary>
    public static byte[] BytesOf(string token)
        => token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? [value]
            : Encoding.UTF8.GetBytes(token.Replace(Space, ' '));

    /// <summary>The tokens of single bytes; -1 where there is none.</summary>
    public static int[] ByteTokens(TokenizerVocabulary vocabulary)
    {
        int[] tokens = new int[256];
        Array.Fill(tokens, -1);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            if (vocabulary.Kinds[id] == TokenKind.Byte)
            {
                byte[] bytes = BytesOf(vocabulary.Tokens[id]);
                tokens[bytes.Length == 1 ? bytes[0] : throw new ArgumentException($"The byte token {id} is '{vocabulary.Tokens[id]}', but should be <0x00> to <0xFF>.", nameof(vocabulary))] = id;
            }
        }

        return tokens;
    }

    /// <summary>The parts of a text that are cut into pieces, and between them the tokens that are found as they are, whose part is empty.</summary>
    public IEnumerable<(string Part, int Token)> Parts(string text)
    {
        bool merges = _vocabulary.RemovesExtraSpaces;
        bool isBehindSpace = merges;
        bool isBegun = false;
        var part = new StringBuilder(text.Length + 1);

        // Names are spelled as tokens are, and have as many characters so: places stay what they are.
        foreach ((int start, int length, int id) in _userDefined.IsEmpty ? [(0, text.Length, -1)] : _userDefined.Cut(text.Replace(' ', Space)))
        {
            if (id >= 0)
            {
                Begin();
                if (part.Length > 0)
                {
                    yield return (part.ToString(), -1);
                    part.Clear();
                }

                yield return ("", id);
                isBehindSpace = false;
                continue;
            }

            string raw = text.Substring(start, length);
            foreach (char c in _map?.Map(raw) ?? raw)
            {
                if (c != ' ')
                {
                    Begin();
                    part.Append(c);
                    isBehindSpace = false;
                }
                else if (!isBehindSpace)
                {
                    Begin();
                    part.Append(Space);
                    isBehindSpace = merges;
                }
            }
        }

        int end = part.Length;
        while (merges && end > 0 && part[end - 1] == Space)
        {
            end--;
        }

        if (end > 0)
        {
            yield return (part.ToString(0, end), -1);
        }

        void Begin()
        {
            if (!isBegun && _vocabulary.AddsSpace)
            {
                part.Append(Space);
            }

            isBegun = true;
        }
    }
}
