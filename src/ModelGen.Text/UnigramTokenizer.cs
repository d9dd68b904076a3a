using System.Text;

namespace ModelGen;

/// <summary>
/// SentencePiece's unigram language model: of all ways to cut a text into pieces the one of the highest sum of scores, which are logarithms of probabilities. A character without a piece counts as the lowest score less 10; it becomes its bytes' tokens where the
/// vocabulary has them, and otherwise the unknown token, once for several that follow each other. Of ways that are equal the one whose last piece is longest is taken, as SentencePiece does.
/// </summary>
/// <remarks>Kudo, "Subword Regularization: Improving Neural Network Translation Models with Multiple Subword Candidates" (2018), section 3.2.</remarks>
internal sealed class UnigramTokenizer : TextTokenizer
{
    // SentencePiece's kUnkPenalty.
    private const double UnknownPenalty = 10;

    private readonly SentencePieceText _text;
    private readonly int[] _byteTokens;
    private readonly string[] _pieces;
    private readonly int[] _ids;
    private readonly double _unknownScore;

    public UnigramTokenizer(TokenizerVocabulary vocabulary)
        : base(vocabulary, SentencePieceText.BytesOf)
    {
        _text = new SentencePieceText(vocabulary, SpecialTokens);
        _byteTokens = SentencePieceText.ByteTokens(vocabulary);

        // In the order of their characters, so that those that begin as a text does are a range that gets narrower with each character.
        _ids = [.. Enumerable.Range(0, vocabulary.Tokens.Count).Where(id => vocabulary.Kinds[id] == TokenKind.Normal && vocabulary.Tokens[id].Length > 0)];
        _pieces = [.. _ids.Select(id => vocabulary.Tokens[id])];
        Array.Sort(_pieces, _ids, StringComparer.Ordinal);
        double lowest = _ids.Length == 0 ? 0 : _ids.Min(id => vocabulary.Scores[id]);
        _unknownScore = lowest - UnknownPenalty;
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
                Cut(part, ids);
            }
        }

        return ids;
    }

    private void Cut(string text, List<int> ids)
    {
        // The best way to every place: its score, where its last piece begins, and that piece; -1 for a character without one.
        var best = new (double Score, int Start, int Id)[text.Length + 1];
        Array.Fill(best, (double.NegativeInfinity, -1, -1));
        best[0].Score = 0;
        for (int start = 0; start < text.Length;)
        {
            int character = char.IsHighSurrogate(text[start]) && start + 1 < text.Length ? 2 : 1;
            bool hasPiece = false;
            (int low, int high) = (0, _pieces.Length);
            for (int length = 1; start + length <= text.Length; length++)
            {
                (low, high) = Narrow(low, high, length - 1, text[start + length - 1]);
                if (low == high)
                {
                    break;
                }

                // The shortest of a range comes first: it is the range's beginning itself, or there is none. A piece must not end within a character.
                if (_pieces[low].Length == length && !(char.IsHighSurrogate(text[start + length - 1]) && start + length < text.Length))
                {
                    hasPiece |= length == character;
                    Offer(start, length, best[start].Score + Vocabulary.Scores[_ids[low]], _ids[low]);
                }
            }

            if (!hasPiece)
            {
                Offer(start, character, best[start].Score + _unknownScore, -1);
            }

            start += character;
        }

        int first = ids.Count;
        bool isBehindUnknown = false;
        Span<byte> bytes = stackalloc byte[4];
        for (int end = text.Length; end > 0; end = best[end].Start)
        {
            (_, int start, int id) = best[end];
            if (id >= 0)
            {
                ids.Add(id);
                isBehindUnknown = false;
                continue;
            }

            int count = Encoding.UTF8.GetBytes(text.AsSpan(start, end - start), bytes);
            if (HasAll(bytes[..count]))
            {
                for (int i = count - 1; i >= 0; i--)
                {
                    ids.Add(_byteTokens[bytes[i]]);
                }

                isBehindUnknown = false;
            }
            else if (!isBehindUnknown)
            {
                ids.Add(Vocabulary.UnknownToken ?? throw new ArgumentException($"The character '{text[start..end]}' has no token, and the vocabulary has none for what is unknown.", nameof(text)));
                isBehindUnknown = true;
            }
        }

        ids.Reverse(first, ids.Count - first);

        void Offer(int start, int length, double score, int id)
        {
            if (score > best[start + length].Score)
            {
                best[start + length] = (score, start, id);
            }
        }
    }

    private bool HasAll(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            if (_byteTokens[value] < 0)
            {
                return false;
            }
        }

        return true;
    }

    // Of a range of pieces that are alike before a place, those that have a character there.
    private (int Low, int High) Narrow(int low, int high, int place, char character)
    {
        int end = high;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_pieces[middle].Length > place && _pieces[middle][place] >= character)
            {
                high = middle;
            }
            else
            {
                low = middle + 1;
            }
        }

        int first = low;
        high = end;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_pieces[middle][place] > character)
            {
                high = middle;
            }
            else
            {
                low = middle + 1;
            }
        }

        return (first, low);
    }
}
