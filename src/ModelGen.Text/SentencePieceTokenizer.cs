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
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _pieces;
    private readonly SentencePieceText _text;
    private readonly int[] _byteTokens;

    public SentencePieceTokenizer(TokenizerVocabulary vocabulary)
        : base(vocabulary, SentencePieceText.BytesOf)
    {
        var pieces = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            // Control tokens are in no text, and a byte's name in one is no byte.
            if (vocabulary.Kinds[id] == TokenKind.Normal && vocabulary.Tokens[id].Length > 0)
            {
                pieces.TryAdd(vocabulary.Tokens[id], id);
            }
        }

        _byteTokens = SentencePieceText.ByteTokens(vocabulary);
        _text = new SentencePieceText(vocabulary, SpecialTokens);
        _pieces = pieces.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    private protected override List<int> EncodeText(string text)
    {
        var ids = new List<int>();
        foreach ((string part, int token) in _text.Parts(text))
        {
            if (token >= 0)
            {
                ids.Add(token);
            }
            else
            {
                Merge(part, ids);
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
