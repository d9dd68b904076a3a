using System.Text;
using System.Text.RegularExpressions;
using Library = Microsoft.ML.Tokenizers;

namespace ModelGen;

/// <summary>GPT-2's byte-pair encoding of bytes, each of which is spelled as a character.</summary>
internal sealed class ByteLevelTokenizer : TextTokenizer
{
    private static readonly Dictionary<char, byte> s_bytes = Spelling();

    private static readonly char[] s_spelled = Reverse();

    private readonly Library.BpeTokenizer _library;
    private readonly Dictionary<string, int>? _wholeWords;
    private readonly WordPattern _words;
    private readonly NameMatcher _userDefined;

    public ByteLevelTokenizer(TokenizerVocabulary vocabulary)
        : base(vocabulary, token => BytesOf(token))
    {
        var ids = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            // No text may become a control token, and none does whose spelling has a character that no byte has.
            if (vocabulary.Kinds[id] is TokenKind.Normal or TokenKind.Byte && !ids.TryAdd(vocabulary.Tokens[id], id))
            {
                throw new ArgumentException($"The token '{vocabulary.Tokens[id]}' occurs twice.", nameof(vocabulary));
            }
        }

        // Every byte has a token, or a text could not be encoded.
        if (s_bytes.Keys.FirstOrDefault(spelled => !ids.ContainsKey(spelled.ToString())) is not '\0' and char missing)
        {
            throw new ArgumentException(FormattableString.Invariant($"The byte {s_bytes[missing]} has no token."), nameof(vocabulary));
        }

        foreach (string merge in vocabulary.Merges)
        {
            int space = merge.IndexOf(' ', StringComparison.Ordinal);
            if (space <= 0 || space == merge.Length - 1 || merge.IndexOf(' ', space + 1) >= 0)
            {
                throw new ArgumentException($"The merge '{merge}' is none of two tokens.", nameof(vocabulary));
            }
        }

        _userDefined = new NameMatcher(SpecialTokens.Where(token => vocabulary.Kinds[token.Value] == TokenKind.UserDefined));
        _words = new WordPattern(WordPatterns.Of(vocabulary.Pattern));
        _wholeWords = WordPatterns.TakesWholeWords(vocabulary.Pattern) ? ids : null;
        try
        {
            _library = Library.BpeTokenizer.Create(new Library.BpeOptions(ids)
            {
                Merges = vocabulary.Merges,
                ByteLevel = true,

                // Where words may be tokens at once, they are cut before.
                PreTokenizer = _wholeWords is null ? _words : new OneWord(),
            });
        }
        catch (InvalidOperationException exception)
        {
            // Of a merge, what is merged or what becomes of it is no token.
            throw new ArgumentException("The merges are not of tokens: " + exception.Message, nameof(vocabulary), exception);
        }
    }

    private protected override IReadOnlyList<int> EncodeText(string text)
    {
        if (text.Length == 0)
        {
            return [];
        }

        if (_userDefined.IsEmpty)
        {
            return EncodeWords(text);
        }

        var ids = new List<int>();
        foreach ((int start, int length, int id) in _userDefined.Cut(text))
        {
            if (id >= 0)
            {
                ids.Add(id);
            }
            else
            {
                ids.AddRange(EncodeWords(text.Substring(start, length)));
            }
        }

        return ids;
    }

    private IReadOnlyList<int> EncodeWords(string text)
    {
        if (_wholeWords is null)
        {
            return _library.EncodeToIds(text);
        }

        var ids = new List<int>();
        foreach ((int start, int length) in _words.PreTokenize(text))
        {
            string word = text.Substring(start, length);
            if (_wholeWords.TryGetValue(Spelled(word), out int id))
            {
                ids.Add(id);
            }
            else
            {
                ids.AddRange(_library.EncodeToIds(word));
            }
        }

        return ids;
    }

    /// <summary>The character that a byte is spelled as.</summary>
    internal static char Spelled(byte value) => s_spelled[value];

    /// <summary>A word, with a character for each byte.</summary>
    internal static string Spelled(string word) => string.Create(Encoding.UTF8.GetByteCount(word), word, static (spelled, text) =>
    {
        Span<byte> bytes = spelled.Length <= 256 ? stackalloc byte[spelled.Length] : new byte[spelled.Length];
        Encoding.UTF8.GetBytes(text, bytes);
        for (int i = 0; i < spelled.Length; i++)
        {
            spelled[i] = s_spelled[bytes[i]];
        }
    });

    private static char[] Reverse()
    {
        char[] spelled = new char[256];
        foreach ((char character, byte value) in s_bytes)
        {
            spelled[value] = character;
        }

        return spelled;
    }

    // A token that spells no bytes stands for its characters.
    private static byte[] BytesOf(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < bytes.Length; i++)
        {
            if (!s_bytes.TryGetValue(token[i], out bytes[i]))
            {
                return Encoding.UTF8.GetBytes(token);
            }
        }

        return bytes;
    }

    // Printable bytes of Latin-1 are spelled as themselves; the others as the characters from U+0100 on.
    private static Dictionary<char, byte> Spelling()
    {
        var spelling = new Dictionary<char, byte>(256);
        char next = (char)256;
        for (int value = 0; value < 256; value++)
        {
            bool isPrintable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            spelling.Add(isPrintable ? (char)value : next++, (byte)value);
        }

        return spelling;
    }

    /// <summary>Leaves a text whole.</summary>
    private sealed class OneWord : Library.PreTokenizer
    {
        public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => [(0, text.Length)];

        public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text) => [(0, text.Length)];
    }

    /// <summary>Cuts a text where a pattern's matches begin and end: everything is in one of them or between two.</summary>
    internal sealed class WordPattern(Regex pattern) : Library.PreTokenizer
    {
        public override IEnumerable<(int Offset, int Length)> PreTokenize(string text) => Cut(text);

        public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text) => Cut(text.ToString());

        private IEnumerable<(int Offset, int Length)> Cut(string text)
        {
            int end = 0;
            foreach (Match match in pattern.Matches(WordPatterns.Shown(text)))
            {
                if (match.Index > end)
                {
                    yield return (end, match.Index - end);
                }

                if (match.Length > 0)
                {
                    yield return (match.Index, match.Length);
                }

                end = match.Index + match.Length;
            }

            if (end < text.Length)
            {
                yield return (end, text.Length - end);
            }
        }
    }
}
