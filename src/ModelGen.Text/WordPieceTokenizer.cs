using System.Text;
using FastBertTokenizer;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// BERT's WordPiece: words, in small letters and without accents where the vocabulary is so, are cut into the longest pieces that the vocabulary has, from the left on; a word that cannot be cut becomes one unknown token.
/// Unlike the other kinds it loses what it makes alike: accents, white space, and characters without a piece.
/// </summary>
/// <remarks>Devlin et al., "BERT: Pre-training of deep bidirectional Transformers for language understanding" (2019).</remarks>
internal sealed class WordPieceTokenizer : TextTokenizer
{
    // What GGUF files write before a piece that begins a word, U+2581.
    private const char WordStart = '▁';

    // What the library fills up with and finds in no text: a name of its own, lest it be a word's.
    private const string Padding = "[PAD]";

    private readonly BertTokenizer _library = new();

    public WordPieceTokenizer(TokenizerVocabulary vocabulary)
        : base(vocabulary, BytesOf)
    {
        // One token a line, as vocab.txt has them: pieces within words begin with ##.
        var lines = new StringBuilder();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string token in vocabulary.Tokens)
        {
            if (!seen.Add(token))
            {
                throw new ArgumentException($"The token '{token}' occurs twice.", nameof(vocabulary));
            }

            if (token.AsSpan().ContainsAny('\n', '\r'))
            {
                throw new ArgumentException("A token has a line break, which no piece of a word has.", nameof(vocabulary));
            }

            lines.Append(IsName(token) ? token : token.StartsWith(WordStart) ? token[1..] : "##" + token).Append('\n');
        }

        if (!seen.Contains(Padding))
        {
            lines.Append(Padding).Append('\n');
        }

        string Name(int? id, string role) => id is { } token ? vocabulary.Tokens[token] : throw new ArgumentException($"The vocabulary has no token for {role}.", nameof(vocabulary));
        try
        {
            using var reader = new StringReader(lines.ToString());
            _library.LoadVocabulary(reader, vocabulary.Lowercases, Name(vocabulary.UnknownToken, "what has none"), Name(vocabulary.BeginningToken, "the beginning"), Name(vocabulary.EndToken, "the end"), Padding);
        }
        catch (Exception exception) when (exception is InvalidOperationException or KeyNotFoundException or ArgumentException)
        {
            throw new ArgumentException("The vocabulary is none of pieces of words: " + exception.Message, nameof(vocabulary), exception);
        }
    }

    private protected override IReadOnlyList<int> EncodeText(string text)
    {
        // Accents are marks of their own before they are taken off. The library decomposes letters by the globalization data of the system, which programs may run without.
        text = Vocabulary.Lowercases ? CanonicalComposition.Decompose(text) : text;

        // A piece has a character at least; with the beginning and the end, which are left out again.
        long[] ids = new long[(4L * text.Length) + 2];
        long[] mask = new long[ids.Length];
        int count = _library.Encode(text, ids, mask);
        return [.. ids.AsSpan(1, Math.Max(0, count - 2)).ToArray().Select(static id => (int)id)];
    }

    private static bool IsName(string token) => token.Length > 2 && token[0] == '[' && token[^1] == ']';

    private static byte[] BytesOf(string token) => Encoding.UTF8.GetBytes(IsName(token) || !token.StartsWith(WordStart) ? token : " " + token[1..]);
}
