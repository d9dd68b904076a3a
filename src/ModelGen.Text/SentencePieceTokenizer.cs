using System.Globalization;
using System.Text;

namespace ModelGen;

/// <summary>
/// SentencePiece's byte-pair encoding with byte fallback, of a vocabulary with scores. Two neighbours whose piece has the highest score become one, the first two where several are
/// equal; Microsoft.ML.Tokenizers 2.0.1 takes the last of equal ones, which gives other tokens for a row of one character.
/// </summary>
/// <remarks>Kudo and Richardson, "SentencePiece: A simple and language independent subword tokenizer and detokenizer for Neural Text Processing" (2018).</remarks>
internal sealed class SentencePieceTokenizer : TextTokenizer
{
    // What SentencePiece writes for a space, U+2581.
    private const char Space = '▁';

    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _pieces;
    private readonly NameMatcher _userDefined;
    private readonly int[] _byteTokens;

    public SentencePieceTokenizer(TokenizerVocabulary vocabulary)
        : base(vocabulary, BytesOf)
    {
        var pieces = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        _byteTokens = new int[256];
        Array.Fill(_byteTokens, -1);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            string token = vocabulary.Tokens[id];
            switch (vocabulary.Kinds[id])
            {
                // Control tokens are in no text, and a byte's name in one is no byte.
                case TokenKind.Normal when token.Length > 0:
                    pieces.TryAdd(token, id);
                    break;
                case TokenKind.Byte:
                    byte[] bytes = BytesOf(token);
                    _byteTokens[bytes.Length == 1 ? bytes[0] : throw new ArgumentException($"The byte token {id} is '{token}', but should be <0x00> to <0xFF>.", nameof(vocabulary))] = id;
                    break;
            }
        }

        _pieces = pieces.GetAlternateLookup<ReadOnlySpan<char>>();
        _userDefined = new NameMatcher(SpecialTokens.Where(token => vocabulary.Kinds[token.Value] == TokenKind.UserDefined));
    }

    private protected override List<int> EncodeText(string text) => Encode(text, Vocabulary.AddsSpace);

    private static byte[] BytesOf(string token)
        => token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? [value]
            : Encoding.UTF8.GetBytes(token.Replace(Space, ' '));

    private List<int> Encode(string text, bool addsSpace)
    {
        var ids = new List<int>();
        if (text.Length == 0)
        {
            return ids;
        }

        string spelled = (addsSpace ? " " + text : text).Replace(' ', Space);
        if (_userDefined.IsEmpty)
        {
            Merge(spelled, ids);
            return ids;
        }

        foreach ((int start, int length, int id) in _userDefined.Cut(spelled))
        {
            if (id >= 0)
            {
                ids.Add(id);
            }
            else
            {
                Merge(spelled.AsSpan(start, length), ids);
            }
        }

        return ids;
    }

    private void Merge(ReadOnlySpan<char> text, List<int> ids)
    {
        // Symbols are a list of parts of the text: characters at first. A symbol of no length has become part of the one before it.
        var symbols = new Symbol[text.Length];
        int count = 0;
        for (int at = 0; at < text.Length; count++)
        {
            int length = char.IsHighSurrogate(text[at]) && at + 1 < text.Length ? 2 : 1;
            symbols[count] = new Symbol(at, length, count - 1, count + 1);
            at += length;
        }

        symbols[count - 1].Next = -1;
        var queue = new PriorityQueue<(int Left, int Right, int Length), (float Loss, int Left)>();
        for (int i = 0; i + 1 < count; i++)
        {
            Offer(text, i, i + 1);
        }

        while (queue.TryDequeue(out (int Left, int Right, int Length) pair, out _))
        {
            ref Symbol left = ref symbols[pair.Left];
            ref Symbol right = ref symbols[pair.Right];

            // Either has been merged with another one since.
            if (left.Length == 0 || right.Length == 0 || left.Length + right.Length != pair.Length)
            {
                continue;
            }

            left.Length = pair.Length;
            left.Next = right.Next;
            right.Length = 0;
            if (left.Next >= 0)
            {
                symbols[left.Next].Previous = pair.Left;
                Offer(text, pair.Left, left.Next);
            }

            if (left.Previous >= 0)
            {
                Offer(text, left.Previous, pair.Left);
            }
        }

        Span<byte> bytes = stackalloc byte[4];
        for (int i = 0; i >= 0; i = symbols[i].Next)
        {
            ReadOnlySpan<char> symbol = text.Slice(symbols[i].Start, symbols[i].Length);
            if (_pieces.TryGetValue(symbol, out int id))
            {
                ids.Add(id);
                continue;
            }

            // A character without a piece: a merged symbol has one.
            int length = Encoding.UTF8.GetBytes(symbol, bytes);
            foreach (byte value in bytes[..length])
            {
                ids.Add(_byteTokens[value] >= 0 ? _byteTokens[value]
                    : throw new ArgumentException($"The character '{symbol}' has no token, and the vocabulary has none for its bytes.", nameof(text)));
            }
        }

        void Offer(ReadOnlySpan<char> whole, int left, int right)
        {
            int length = symbols[left].Length + symbols[right].Length;
            if (_pieces.TryGetValue(whole.Slice(symbols[left].Start, length), out int id))
            {
                queue.Enqueue((left, right, length), (-Vocabulary.Scores[id], left));
            }
        }
    }

    private record struct Symbol(int Start, int Length, int Previous, int Next);
}
