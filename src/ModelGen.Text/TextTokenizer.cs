using System.Globalization;
using System.Text;
using ModelGen.Grammars;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>
/// A published model's tokenizer. A text is only text: the names of special tokens in it are encoded as the characters that they are, unless <see cref="EncodeSpecial(string)"/> is asked. Encoding allocates; decoding does not.
/// </summary>
public abstract class TextTokenizer : ITokenizer
{
    private readonly byte[][] _bytes;
    private readonly Dictionary<string, int> _special;
    private readonly Lazy<TokenTable> _table;
    private NameMatcher? _names;

    private protected TextTokenizer(TokenizerVocabulary vocabulary, Func<string, byte[]> bytesOf)
    {
        Vocabulary = vocabulary;
        _bytes = new byte[vocabulary.Tokens.Count][];
        _special = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < _bytes.Length; id++)
        {
            string token = vocabulary.Tokens[id];
            TokenKind kind = vocabulary.Kinds[id];
            _bytes[id] = kind switch
            {
                TokenKind.Control or TokenKind.Unused or TokenKind.Unknown => [],
                TokenKind.UserDefined => Encoding.UTF8.GetBytes(token),
                _ => bytesOf(token),
            };
            MaximumTokenBytes = Math.Max(MaximumTokenBytes, _bytes[id].Length);
            if (kind is TokenKind.Control or TokenKind.UserDefined && token.Length > 0)
            {
                _special.TryAdd(token, id);
            }
        }

        EndTokens = [.. new[] { vocabulary.EndToken }.OfType<int>().Concat(vocabulary.TurnEndTokens).Concat(EndTokenNames.All.Where(_special.ContainsKey).Select(name => _special[name])).Distinct()];
        _table = new Lazy<TokenTable>(() => new TokenTable(_bytes, EndTokens));
    }

    /// <summary>The tokens as grammars see them.</summary>
    internal TokenTable Table => _table.Value;

    /// <summary>The tokens that an answer ends with: of the vocabulary, and those whose names say so in published models.</summary>
    public IReadOnlyList<int> EndTokens { get; }

    /// <summary>The names of special tokens under what templates call them: <c>bos_token</c>, <c>eos_token</c>, <c>unk_token</c>.</summary>
    public IReadOnlyDictionary<string, string> TemplateTokens
        => new (string Name, int? Id)[] { ("bos_token", Vocabulary.BeginningToken), ("eos_token", Vocabulary.EndToken), ("unk_token", Vocabulary.UnknownToken) }
            .Where(static token => token.Id is not null).ToDictionary(static token => token.Name, token => Vocabulary.Tokens[token.Id!.Value], StringComparer.Ordinal);

    /// <summary>The tokens.</summary>
    public TokenizerVocabulary Vocabulary { get; }

    /// <inheritdoc/>
    public int VocabularySize => _bytes.Length;

    /// <inheritdoc/>
    public int MaximumTokenBytes { get; } = 1;

    /// <summary>The special tokens by their names: control tokens, and texts that are always tokens of their own.</summary>
    public IReadOnlyDictionary<string, int> SpecialTokens => _special;

    /// <summary>Makes the tokenizer of a vocabulary.</summary>
    /// <param name="vocabulary">The vocabulary.</param>
    /// <exception cref="ArgumentException">The vocabulary is empty, or its parts have not one length; a special token is outside it; or a merge is none of two tokens.</exception>
    /// <exception cref="NotSupportedException">Words are found by a pattern that is not known here.</exception>
    public static TextTokenizer Create(TokenizerVocabulary vocabulary)
    {
        ArgumentNullException.ThrowIfNull(vocabulary);
        int count = vocabulary.Tokens.Count;
        if (count == 0 || vocabulary.Kinds.Count != count || (vocabulary.Kind is TokenizerKind.SentencePiece or TokenizerKind.Unigram && vocabulary.Scores.Count != count))
        {
            throw new ArgumentException(FormattableString.Invariant($"A vocabulary needs tokens, and a kind and (for SentencePiece) a score for each: it has {count}, {vocabulary.Kinds.Count} and {vocabulary.Scores.Count}."), nameof(vocabulary));
        }

        foreach (int? special in (int?[])[vocabulary.BeginningToken, vocabulary.EndToken, vocabulary.UnknownToken])
        {
            if (special is { } id && (id < 0 || id >= count))
            {
                throw new ArgumentException(FormattableString.Invariant($"A special token is {id}, but there are {count}."), nameof(vocabulary));
            }
        }

        return vocabulary.Kind switch
        {
            TokenizerKind.SentencePiece => new SentencePieceTokenizer(vocabulary),
            TokenizerKind.Unigram => new UnigramTokenizer(vocabulary),
            TokenizerKind.WordPiece => new WordPieceTokenizer(vocabulary),
            _ => new ByteLevelTokenizer(vocabulary),
        };
    }

    /// <summary>Reads the tokenizer of a file: a GGUF file's metadata, Hugging Face's <c>tokenizer.json</c>, SentencePiece's <c>tokenizer.model</c>, a llama2.c vocabulary (<c>tokenizer.bin</c>), BERT's <c>vocab.txt</c>, GPT-2's tokens and merges, or tiktoken's ranks: what <see cref="TokenizerFiles.Read(string)"/> reads.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or of a kind that is not known.</exception>
    /// <exception cref="NotSupportedException">The file's tokenizer works in a way that is not known here.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static TextTokenizer Load(string path)
    {
        TokenizerVocabulary vocabulary = TokenizerFiles.Read(path);
        try
        {
            return Create(vocabulary);
        }
        catch (ArgumentException exception)
        {
            throw new ModelFileException(path, "tokenizer", "a vocabulary that fits together", exception.Message, exception);
        }
    }

    /// <inheritdoc/>
    public int CountTokens(ReadOnlySpan<char> text) => EncodeText(Prepared(text)).Count;

    /// <inheritdoc/>
    public int Encode(ReadOnlySpan<char> text, Span<int> destination)
    {
        IReadOnlyList<int> ids = EncodeText(Prepared(text));
        if (ids.Count > destination.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"The text has {ids.Count} tokens, but the destination holds {destination.Length}."), nameof(destination));
        }

        for (int i = 0; i < ids.Count; i++)
        {
            destination[i] = ids[i];
        }

        return ids.Count;
    }

    /// <summary>Encodes a prompt: the token that texts begin with, if prompts have it, the text, and the token that texts end with, if prompts have that.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public int[] EncodePrompt(string text)
    {
        IReadOnlyList<int> ids = EncodeText(Prepared(text));
        int[] first = Vocabulary is { AddsBeginning: true, BeginningToken: { } beginning } ? [beginning] : [];
        int[] last = Vocabulary is { AddsEnd: true, EndToken: { } end } ? [end] : [];
        return [.. first, .. ids, .. last];
    }

    /// <summary>Encodes a text in which the names of special tokens stand for them: a filled-in template, never what a user wrote.</summary>
    /// <param name="text">The text.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public int[] EncodeSpecial(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return EncodeSpecial(text, null);
    }

    /// <summary>Encodes what a chat template has made. Names of special tokens stand for them where the template wrote them; in what came from messages they are the characters that they are.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <exception cref="ArgumentException">The text has a lone surrogate.</exception>
    public int[] Encode(ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return EncodeSpecial(prompt.Text, prompt.AreOwn);
    }

    /// <summary>
    /// Writes the bytes of the tokens as text, for a project that compiles grammars with the masks of this vocabulary (<see cref="GrammarSourceAttribute.Vocabulary"/>): a line with <c>modelgen-vocabulary 1</c> and their number, and a line for each token:
    /// <c>-</c>, or <c>!</c> for one that ends a text, and its bytes, of which those that are no printable ASCII, and the backslash, are written <c>\xNN</c>.
    /// </summary>
    /// <param name="writer">Takes the text.</param>
    public void WriteVocabulary(TextWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        TokenTable table = Table;
        writer.Write(FormattableString.Invariant($"modelgen-vocabulary 1 {table.Bytes.Length}\n"));
        var line = new StringBuilder();
        for (int token = 0; token < table.Bytes.Length; token++)
        {
            line.Clear().Append(table.IsEnd(token) ? '!' : '-');
            foreach (byte value in table.Bytes[token])
            {
                if (value is > (byte)' ' and < 127 and not (byte)'\\')
                {
                    line.Append((char)value);
                }
                else
                {
                    line.Append("\\x").Append(value.ToString("X2", CultureInfo.InvariantCulture));
                }
            }

            writer.Write(line.Append('\n'));
        }
    }

    private int[] EncodeSpecial(string text, Func<int, int, bool>? isName)
    {
        var ids = new List<int>();
        foreach ((int start, int length, int id) in (_names ??= new NameMatcher(_special)).Cut(text, isName))
        {
            if (id >= 0)
            {
                ids.Add(id);
            }
            else
            {
                // Behind a special token a text begins as at the start of everything: with the space that SentencePiece puts before it.
                ids.AddRange(EncodeText(Prepared(text.AsSpan(start, length))));
            }
        }

        return [.. ids];
    }

    /// <inheritdoc/>
    public int GetBytes(int token, Span<byte> destination)
    {
        if ((uint)token >= (uint)_bytes.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(token), token, FormattableString.Invariant($"The token id must be below {_bytes.Length}."));
        }

        byte[] bytes = _bytes[token];
        if (bytes.Length > destination.Length)
        {
            throw new ArgumentException(FormattableString.Invariant($"The token has {bytes.Length} bytes, but the destination holds {destination.Length}."), nameof(destination));
        }

        bytes.CopyTo(destination);
        return bytes.Length;
    }

    private protected abstract IReadOnlyList<int> EncodeText(string text);

    private string Prepared(ReadOnlySpan<char> text) => Vocabulary.Composes ? CanonicalComposition.Compose(Checked(text)) : Checked(text);

    /// <summary>The text, which has no lone surrogate.</summary>
    internal static string Checked(ReadOnlySpan<char> text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsSurrogate(text[i]))
            {
                if (!char.IsHighSurrogate(text[i]) || i + 1 == text.Length || !char.IsLowSurrogate(text[i + 1]))
                {
                    throw new ArgumentException(FormattableString.Invariant($"The text has half a surrogate pair at {i}."), nameof(text));
                }

                i++;
            }
        }

        return text.ToString();
    }
}
