using System.Text;

namespace ModelGen;

/// <summary>Words, characters or bytes as tokens, by the ids of a <see cref="Vocabulary"/>. Immutable, and may be shared between threads.</summary>
/// <remarks>
/// As an <see cref="ITokenizer"/> it takes texts as they are; <see cref="EncodeText"/> makes them alike first. What the vocabulary has not becomes <see cref="Vocabulary.Unknown"/>, or is an error where there is no such token. The bytes of a word end
/// with a space, so that a stream of tokens reads as a text; <see cref="DecodeText"/> joins words by single spaces.
/// </remarks>
public sealed class VocabularyTokenizer : ITokenizer
{
    private static readonly string[] s_bytes = Bytes();
    private readonly byte[][] _bytes;

    /// <summary>Makes a tokenizer.</summary>
    /// <param name="vocabulary">The tokens.</param>
    /// <param name="unit">What texts are cut into: that with which the vocabulary was built.</param>
    /// <param name="normalizer">How texts are made alike by <see cref="EncodeText"/>; null: not at all.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such unit.</exception>
    public VocabularyTokenizer(Vocabulary vocabulary, TextUnit unit, TextNormalizer? normalizer = null)
    {
        ArgumentNullException.ThrowIfNull(vocabulary);
        if (!Enum.IsDefined(unit))
        {
            throw new ArgumentOutOfRangeException(nameof(unit), unit, "There is no such unit.");
        }

        Vocabulary = vocabulary;
        Unit = unit;
        Normalizer = normalizer ?? TextNormalizer.None;
        string end = IsOfWords ? " " : "";
        _bytes = new byte[vocabulary.Count][];
        for (int id = 0; id < _bytes.Length; id++)
        {
            _bytes[id] = unit == TextUnit.Byte && id >= vocabulary.SpecialCount && Array.IndexOf(s_bytes, vocabulary[id]) is >= 0 and int value ? [(byte)value] : Encoding.UTF8.GetBytes(vocabulary[id] + end);
            MaximumTokenBytes = Math.Max(MaximumTokenBytes, _bytes[id].Length);
        }
    }

    private static string[] Bytes()
    {
        var names = new string[256];
        for (int value = 0; value < names.Length; value++)
        {
            names[value] = FormattableString.Invariant($"<0x{value:X2}>");
        }

        return names;
    }

    /// <summary>The tokens.</summary>
    public Vocabulary Vocabulary { get; }

    /// <summary>What texts are cut into.</summary>
    public TextUnit Unit { get; }

    /// <summary>How <see cref="EncodeText"/> makes texts alike.</summary>
    public TextNormalizer Normalizer { get; }

    /// <inheritdoc />
    public int VocabularySize => Vocabulary.Count;

    /// <inheritdoc />
    public int MaximumTokenBytes { get; }

    private bool IsOfWords => Unit is TextUnit.Word or TextUnit.WordAndPunctuation;

    /// <summary>Makes a text alike and encodes it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="beginning">Whether <see cref="Vocabulary.Beginning"/> is put before it.</param>
    /// <param name="end">Whether <see cref="Vocabulary.End"/> is put behind it.</param>
    /// <param name="specials">Whether what looks like a special token, such as <c>&lt;mask&gt;</c>, is one, wherever it stands in the text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate, or a token that is not in a vocabulary without <see cref="Vocabulary.Unknown"/>.</exception>
    /// <exception cref="InvalidOperationException">The vocabulary has no token for the beginning or the end.</exception>
    public int[] EncodeText(string text, bool beginning = false, bool end = false, bool specials = false)
    {
        int first = beginning ? Required(Vocabulary.BeginningId, Vocabulary.Beginning) : -1, last = end ? Required(Vocabulary.EndId, Vocabulary.End) : -1;
        text = Normalizer.Normalize(text);
        int[] tokens = new int[Encode(text, default, isCounted: true, specials) + (beginning ? 1 : 0) + (end ? 1 : 0)];
        if (beginning)
        {
            tokens[0] = first;
        }

        Encode(text, tokens.AsSpan(beginning ? 1 : 0), isCounted: false, specials);
        if (end)
        {
            tokens[^1] = last;
        }

        return tokens;

        static int Required(int id, string token) => id >= 0 ? id : throw new InvalidOperationException($"The vocabulary has no special token {token}.");
    }

    /// <summary>The text of tokens, without padding, beginning and end; other special tokens are written as they are.</summary>
    /// <param name="tokens">The tokens' ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">A token id is not in the vocabulary.</exception>
    public string DecodeText(ReadOnlySpan<int> tokens)
    {
        var bytes = new List<byte>();
        foreach (int token in tokens)
        {
            // A vocabulary that has no such token has -1 for its id.
            if (Check(token) != Vocabulary.PaddingId && token != Vocabulary.BeginningId && token != Vocabulary.EndId)
            {
                bytes.AddRange(_bytes[token]);
            }
        }

        string text = Encoding.UTF8.GetString([.. bytes]);
        return IsOfWords && text.Length > 0 ? text[..^1] : text;
    }

    /// <inheritdoc />
    public int CountTokens(ReadOnlySpan<char> text) => Encode(text, default, isCounted: true);

    /// <inheritdoc />
    public int Encode(ReadOnlySpan<char> text, Span<int> destination)
    {
        int required = CountTokens(text);
        return destination.Length >= required
            ? Encode(text, destination, isCounted: false)
            : throw new ArgumentException(FormattableString.Invariant($"The destination must hold at least {required} tokens, found {destination.Length}."), nameof(destination));
    }

    /// <inheritdoc />
    public int GetBytes(int token, Span<byte> destination)
    {
        byte[] bytes = _bytes[Check(token)];
        if (destination.Length < bytes.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"The destination must hold at least {bytes.Length} bytes, found {destination.Length}."), nameof(destination));
        }

        bytes.CopyTo(destination);
        return bytes.Length;
    }

    internal static string ByteToken(byte value) => s_bytes[value];

    private int Encode(ReadOnlySpan<char> text, Span<int> destination, bool isCounted, bool specials = false)
    {
        SurrogateCheck.Require(text);
        int count = 0;

        // Special tokens are no units of a text (some would be cut into several): what lies between them is cut.
        while (specials && FirstSpecial(text) is { Id: >= 0 } found)
        {
            count += EncodeUnits(text[..found.Start], isCounted ? default : destination[count..], isCounted);
            if (!isCounted)
            {
                destination[count] = found.Id;
            }

            count++;
            text = text[(found.Start + Vocabulary[found.Id].Length)..];
        }

        return count + EncodeUnits(text, isCounted ? default : destination[count..], isCounted);
    }

    /// <summary>The special token that a text has first, the longest of those that begin there; -1 for none.</summary>
    private (int Id, int Start) FirstSpecial(ReadOnlySpan<char> text)
    {
        (int id, int start) = (-1, text.Length);
        for (int special = 0; special < Vocabulary.SpecialCount; special++)
        {
            int place = text.IndexOf(Vocabulary[special], StringComparison.Ordinal);
            if (place >= 0 && (place < start || (place == start && Vocabulary[special].Length > Vocabulary[id].Length)))
            {
                (id, start) = (special, place);
            }
        }

        return (id, start);
    }

    private int EncodeUnits(ReadOnlySpan<char> text, Span<int> destination, bool isCounted)
    {
        var units = new TextUnits(text, Unit);
        int count = 0;
        while (units.MoveNext())
        {
            ReadOnlySpan<char> token = Unit == TextUnit.Byte ? ByteToken(units.Byte) : units.Current;
            int id = Vocabulary.IdOf(token);

            // What looks like a special token in a text is none.
            id = id < Vocabulary.SpecialCount ? Vocabulary.UnknownId : id;
            if (id < 0)
            {
                throw new ArgumentException($"{ModelGen.Runtime.Quoted.Printable(token.ToString(), 60)} is not in the vocabulary, which has no token for what is unknown.", nameof(text));
            }

            if (!isCounted)
            {
                destination[count] = id;
            }

            count++;
        }

        return count;
    }

    private int Check(int token)
        => (uint)token < (uint)_bytes.Length ? token : throw new ArgumentOutOfRangeException(nameof(token), token, FormattableString.Invariant($"A token is in 0 .. {_bytes.Length - 1}."));
}
