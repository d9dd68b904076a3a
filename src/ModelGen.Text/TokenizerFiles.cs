using System.Globalization;
using System.Text;
using System.Text.Json;
using ModelGen.Runtime;

namespace ModelGen;

/// <summary>Reads vocabularies from files. Nothing of a file is trusted: counts and lengths are compared with what it can hold.</summary>
public static class TokenizerFiles
{
    // tokenizer.json of the largest vocabularies in use has 33 MB.
    private const long LargestFile = 256L << 20;

    // Far more than any vocabulary in use.
    private const int LargestVocabulary = 1 << 22;

    /// <summary>Reads a vocabulary: from a GGUF file's metadata, from Hugging Face's <c>tokenizer.json</c>, from SentencePiece's <c>tokenizer.model</c>, from a llama2.c vocabulary (<c>tokenizer.bin</c>),
    /// from BERT's <c>vocab.txt</c>, from GPT-2's tokens and merges, whichever of both is named (<c>vocab.json</c> and <c>merges.txt</c>, <c>encoder.json</c> and <c>vocab.bpe</c>), or from tiktoken's ranks, where their number says of which vocabulary they are.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ModelFileException">The file is damaged, or of a kind that is not known.</exception>
    /// <exception cref="NotSupportedException">The file's tokenizer works in a way that is not known here.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static TokenizerVocabulary Read(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (WeightFile.FormatOf(path) == WeightFileFormat.Gguf)
        {
            using GgufFile file = GgufFile.Open(path);
            return Read(file) ?? throw new ModelFileException(path, "metadata 'tokenizer.ggml.model'", "a tokenizer", "none");
        }

        path = ByteLevelFiles.IsMerges(path) ? ByteLevelFiles.TokensBeside(path) : path;
        byte[] bytes = Bytes(path);
        return bytes.AsSpan().TrimStart(" \t\r\n\uFEFF"u8) is [(byte)'{', ..] ? ReadJson(path, bytes)
            : ByteLevelFiles.LooksLikeRanks(bytes) ? ByteLevelFiles.OfRanks(path, bytes)
            : path.EndsWith(".model", StringComparison.OrdinalIgnoreCase) ? SentencePieceModel.Read(path, bytes)
            : path.EndsWith(".txt", StringComparison.OrdinalIgnoreCase) ? ReadWordPieces(path, bytes)
            : ReadLlama2c(path, bytes);
    }

    /// <summary>Reads a vocabulary from tiktoken's ranks: lines of a token's bytes in base 64 and its rank.</summary>
    /// <param name="path">The file.</param>
    /// <param name="pattern">What finds words, by GGUF's name: <c>gpt-2</c>, <c>dbrx</c> (cl100k's), <c>gpt-4o</c> (o200k's), <c>llama-bpe</c>, <c>qwen2</c>, ….</param>
    /// <param name="specialTokens">The names of special tokens and their ids; null for none.</param>
    /// <exception cref="ModelFileException">The file is damaged, or an id of a special token is taken.</exception>
    /// <exception cref="NotSupportedException">The pattern is not known here.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static TokenizerVocabulary ReadTiktoken(string path, string pattern, IReadOnlyDictionary<string, int>? specialTokens = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentException.ThrowIfNullOrEmpty(pattern);
        _ = WordPatterns.Of(pattern);
        return ByteLevelFiles.OfRanks(path, Bytes(path), pattern, specialTokens?.Select(static token => (token.Key, token.Value)) ?? []);
    }

    /// <summary>All bytes of a file that is no larger than vocabularies are.</summary>
    internal static byte[] Bytes(string path)
    {
        long length = new FileInfo(path).Length;
        return length <= LargestFile ? File.ReadAllBytes(path)
            : throw new ModelFileException(path, "length", FormattableString.Invariant($"at most {LargestFile} bytes"), FormattableString.Invariant($"{length}"));
    }

    /// <summary>The vocabulary in a GGUF file's metadata; null if there is none.</summary>
    /// <param name="file">The file.</param>
    /// <exception cref="ModelFileException">The metadata do not fit together.</exception>
    /// <exception cref="NotSupportedException">The file's tokenizer works in a way that is not known here.</exception>
    public static TokenizerVocabulary? Read(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (file.Values.GetValueOrDefault("tokenizer.ggml.model")?.AsText() is not { } model || model is "none" or "no_vocab")
        {
            return null;
        }

        TokenizerKind kind = model switch
        {
            "llama" or "gemma4" => TokenizerKind.SentencePiece,
            "gpt2" => TokenizerKind.ByteLevel,
            "bert" => TokenizerKind.WordPiece,
            "t5" => TokenizerKind.Unigram,
            _ => throw new NotSupportedException($"{file.Path}: the tokenizer '{(model.Length > 40 ? model[..40] : model)}' is not known here: llama and gemma4 (SentencePiece), t5 (Unigram), gpt2 (byte level) and bert (WordPiece) are."),
        };
        bool isScored = kind is TokenizerKind.SentencePiece or TokenizerKind.Unigram;

        // Gemma 4's pieces have merges in the place of scores.
        bool isMerged = model is "gpt2" or "gemma4";
        if (Find("tokens") is not { IsArray: true, ElementType: GgufValueType.String } tokens || tokens.Count is 0 or > LargestVocabulary)
        {
            throw Problem("tokens", FormattableString.Invariant($"1 to {LargestVocabulary} texts"), Find("tokens")?.ToString() ?? "nothing");
        }

        int count = (int)tokens.Count;
        string[] texts = tokens.Texts();
        TokenKind[] kinds = [.. Enumerable.Repeat(TokenKind.Normal, count)];
        if (Find("token_type") is { } types)
        {
            if (!types.IsArray || !types.IsInteger || types.Count != count)
            {
                throw Problem("token_type", FormattableString.Invariant($"{count} integers"), types.ToString());
            }

            long[] numbers = types.Integers();
            for (int id = 0; id < count; id++)
            {
                kinds[id] = numbers[id] is >= 1 and <= 6 ? (TokenKind)numbers[id] : throw Problem("token_type", "kinds of 1 to 6", FormattableString.Invariant($"{numbers[id]} of the token {id}"));
            }
        }

        float[] scores = [];
        byte[] characterMap = [];
        if (isScored)
        {
            if (Find("precompiled_charsmap") is { } map)
            {
                // Of bytes with or without a sign.
                characterMap = map is { IsArray: true, ElementType: GgufValueType.UInt8 or GgufValueType.Int8 } ? [.. map.Integers().Select(static value => unchecked((byte)value))]
                    : throw Problem("precompiled_charsmap", "bytes", map.ToString());
            }

            if (!isMerged)
            {
                scores = Find("scores") is { IsArray: true, ElementType: GgufValueType.Float32 } found && found.Count == count ? [.. found.Reals().Select(static score => (float)score)]
                    : throw Problem("scores", FormattableString.Invariant($"{count} floats"), Find("scores")?.ToString() ?? "nothing");
            }

            if (Array.FindIndex(scores, static score => !float.IsFinite(score)) is >= 0 and int id)
            {
                throw Problem("scores", "finite numbers", FormattableString.Invariant($"{scores[id]} of the token {id}"));
            }
        }

        string[] merges = [];
        if (isMerged)
        {
            if (Find("merges") is not { IsArray: true, ElementType: GgufValueType.String } found || found.Count > LargestVocabulary)
            {
                throw Problem("merges", FormattableString.Invariant($"texts, at most {LargestVocabulary}"), Find("merges")?.ToString() ?? "nothing");
            }

            merges = found.Texts();
        }

        if (isScored && isMerged)
        {
            scores = TokenizerJson.Scores(texts, merges);
            merges = [];
        }

        string pattern = Find("pre")?.AsText() ?? "gpt-2";
        bool isPieces = kind == TokenizerKind.WordPiece;
        return new TokenizerVocabulary
        {
            Kind = kind,
            Tokens = texts,
            Kinds = kinds,
            Scores = scores,
            Merges = merges,
            Pattern = pattern,
            BeginningToken = Id("bos_token_id") ?? (isPieces ? Id("cls_token_id") : null),
            EndToken = Id("eos_token_id") ?? (isPieces ? Id("seperator_token_id") : null),
            UnknownToken = Id("unknown_token_id"),
            TurnEndTokens = [.. new[] { Id("eot_token_id"), Id("eom_token_id") }.OfType<int>()],
            AddsBeginning = Find("add_bos_token")?.AsFlag() ?? (kind == TokenizerKind.SentencePiece || isPieces || WordPatterns.TakesWholeWords(pattern)),
            AddsEnd = Find("add_eos_token")?.AsFlag() ?? (isPieces || kind == TokenizerKind.Unigram),
            AddsSpace = isScored && (Find("add_space_prefix")?.AsFlag() ?? !isMerged),
            RemovesExtraSpaces = isScored && Find("remove_extra_whitespaces")?.AsFlag() == true,
            CharacterMap = characterMap,
        };

        GgufValue? Find(string key) => file.Values.GetValueOrDefault("tokenizer.ggml." + key);

        ModelFileException Problem(string key, string expected, string found) => new(file.Path, $"metadata 'tokenizer.ggml.{key}'", expected, found);

        int? Id(string key)
        {
            if (Find(key) is not { } value)
            {
                return null;
            }

            // Files without such a token have been seen to say 2^32 - 1.
            long? id = value.AsInteger();
            return id == uint.MaxValue ? null
                : id is >= 0 && id < count ? (int)id
                : throw Problem(key, FormattableString.Invariant($"a token id below {count}"), value.ToString());
        }
    }

    /// <summary>Writes a byte-level vocabulary as Hugging Face's <c>tokenizer.json</c>, which replaces the file as a whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="vocabulary">The vocabulary.</param>
    /// <exception cref="NotSupportedException">The vocabulary is of another kind.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(string path, TokenizerVocabulary vocabulary)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(vocabulary);
        if (vocabulary.Kind != TokenizerKind.ByteLevel)
        {
            throw new NotSupportedException($"A tokenizer.json is written of a byte-level vocabulary alone, and not of {vocabulary.Kind}.");
        }

        AtomicFile.Write(path, stream => TokenizerJson.Write(stream, vocabulary));
    }

    /// <summary>Adds a vocabulary to a GGUF file's metadata.</summary>
    /// <param name="writer">The file that is being written.</param>
    /// <param name="vocabulary">The vocabulary.</param>
    public static void Write(GgufWriter writer, TokenizerVocabulary vocabulary)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(vocabulary);
        bool isUnigram = vocabulary.Kind == TokenizerKind.Unigram;
        bool isPieces = vocabulary.Kind == TokenizerKind.SentencePiece || isUnigram;
        bool isWords = vocabulary.Kind == TokenizerKind.WordPiece;
        writer.Set("tokenizer.ggml.model", isUnigram ? "t5" : isPieces ? "llama" : isWords ? "bert" : "gpt2");
        writer.Set("tokenizer.ggml.pre", isPieces || isWords ? "default" : vocabulary.Pattern);
        writer.Set("tokenizer.ggml.tokens", vocabulary.Tokens);
        if (isPieces)
        {
            writer.Set("tokenizer.ggml.scores", vocabulary.Scores);
        }
        else if (!isWords)
        {
            writer.Set("tokenizer.ggml.merges", vocabulary.Merges);
        }

        writer.Set("tokenizer.ggml.token_type", [.. vocabulary.Kinds.Select(static kind => (int)kind)]);
        Id("bos_token_id", vocabulary.BeginningToken);
        Id("eos_token_id", vocabulary.EndToken);
        Id("unknown_token_id", vocabulary.UnknownToken);
        Id("eot_token_id", vocabulary.TurnEndTokens.Count > 0 ? vocabulary.TurnEndTokens[0] : null);
        Id("eom_token_id", vocabulary.TurnEndTokens.Count > 1 ? vocabulary.TurnEndTokens[1] : null);
        writer.Set("tokenizer.ggml.add_bos_token", vocabulary.AddsBeginning);
        writer.Set("tokenizer.ggml.add_eos_token", vocabulary.AddsEnd);
        if (isPieces)
        {
            writer.Set("tokenizer.ggml.add_space_prefix", vocabulary.AddsSpace);
            if (isUnigram || vocabulary.RemovesExtraSpaces)
            {
                writer.Set("tokenizer.ggml.remove_extra_whitespaces", vocabulary.RemovesExtraSpaces);
            }

            if (vocabulary.CharacterMap.Count > 0)
            {
                writer.SetBytes("tokenizer.ggml.precompiled_charsmap", vocabulary.CharacterMap);
            }
        }

        void Id(string key, int? id)
        {
            if (id is { } token)
            {
                writer.Set("tokenizer.ggml." + key, (uint)token);
            }
        }
    }

    // The length of the longest token; then of each token its score, its length and its bytes, with a space for what SentencePiece spells ▁.
    private static TokenizerVocabulary ReadLlama2c(string path, byte[] bytes)
    {
        const int EntryHeader = sizeof(float) + sizeof(int);
        var tokens = new List<string>();
        var scores = new List<float>();
        int longest = bytes.Length >= sizeof(int) ? BitConverter.ToInt32(bytes, 0) : throw new ModelFileException(path, "max_token_length", "4 bytes", FormattableString.Invariant($"a file of {bytes.Length} bytes"));
        if (longest <= 0 || longest > bytes.Length)
        {
            throw new ModelFileException(path, "max_token_length", FormattableString.Invariant($"1 to {bytes.Length}, the file's length (or a GGUF file, or tokenizer.json)"), FormattableString.Invariant($"{longest}"));
        }

        for (int at = sizeof(int); at < bytes.Length;)
        {
            string field = FormattableString.Invariant($"token {tokens.Count}");
            if (bytes.Length - at < EntryHeader)
            {
                throw new ModelFileException(path, field, FormattableString.Invariant($"{EntryHeader} bytes at {at}"), FormattableString.Invariant($"the end of the file at {bytes.Length}: it is truncated"));
            }

            float score = BitConverter.ToSingle(bytes, at);
            int length = BitConverter.ToInt32(bytes, at + sizeof(float));
            at += EntryHeader;
            if (!float.IsFinite(score))
            {
                throw new ModelFileException(path, field + ", score", "a finite number", score.ToString(CultureInfo.InvariantCulture));
            }

            if (length < 0 || length > bytes.Length - at)
            {
                throw new ModelFileException(path, field + ", length", FormattableString.Invariant($"0 to {bytes.Length - at}, the bytes that follow"), FormattableString.Invariant($"{length}: the file is truncated or damaged"));
            }

            tokens.Add(Encoding.UTF8.GetString(bytes, at, length));
            scores.Add(score);
            at += length;
        }

        // As all Llama vocabularies begin: unknown, beginning, end, and a token for each byte.
        const int FirstByte = 3;
        if (tokens.Count < FirstByte + 256)
        {
            throw new ModelFileException(path, "tokens", FormattableString.Invariant($"at least {FirstByte + 256}: three special ones and one for each byte"), FormattableString.Invariant($"{tokens.Count}"));
        }

        (tokens[0], tokens[1], tokens[2]) = ("<unk>", "<s>", "</s>");
        TokenKind[] kinds = [.. tokens.Select(static (_, id) => id == 0 ? TokenKind.Unknown : id < FirstByte ? TokenKind.Control : id < FirstByte + 256 ? TokenKind.Byte : TokenKind.Normal)];
        for (int value = 0; value < 256; value++)
        {
            string spelled = FormattableString.Invariant($"<0x{value:X2}>");
            if (tokens[FirstByte + value] != spelled)
            {
                throw new ModelFileException(path, FormattableString.Invariant($"token {FirstByte + value}"), spelled, "another");
            }
        }

        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.SentencePiece,
            Tokens = [.. tokens.Select((token, id) => id < FirstByte + 256 ? token : token.Replace(' ', '▁'))],
            Kinds = kinds,
            Scores = scores,
            BeginningToken = 1,
            EndToken = 2,
            UnknownToken = 0,
            AddsBeginning = true,
            AddsSpace = true,
        };
    }

    // BERT's: a token in each line, whose number is its id.
    private static TokenizerVocabulary ReadWordPieces(string path, byte[] bytes)
    {
        string[] lines = Encoding.UTF8.GetString(bytes).TrimStart('\uFEFF').Split('\n');
        int count = lines[^1].Length == 0 ? lines.Length - 1 : lines.Length;
        if (count is 0 or > LargestVocabulary)
        {
            throw new ModelFileException(path, "lines", FormattableString.Invariant($"1 to {LargestVocabulary} tokens, one in each"), FormattableString.Invariant($"{count}"));
        }

        string[] tokens = [.. lines.Take(count).Select(static line => line.TrimEnd('\r'))];
        int Required(string name) => Array.IndexOf(tokens, name) is >= 0 and int id ? id : throw new ModelFileException(path, "lines", $"a token {name}", "none");
        bool IsName(string token) => token.Length > 2 && token[0] == '[' && token[^1] == ']';

        // Nothing in the file says it: in small letters are those vocabularies that have no others.
        bool lowercases = !tokens.Any(token => !IsName(token) && token.AsSpan().ContainsAnyInRange('A', 'Z'));
        return TokenizerJson.WordPieces(
            tokens, [.. tokens.Select(token => IsName(token) ? TokenKind.Control : TokenKind.Normal)], Required("[UNK]"), Required("[CLS]"), Required("[SEP]"), lowercases);
    }

    private static TokenizerVocabulary ReadJson(string path, byte[] bytes)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 32 });
            return ByteLevelFiles.IsVocabulary(document.RootElement) ? ByteLevelFiles.OfMerges(path, document.RootElement) : TokenizerJson.Read(path, document.RootElement);
        }
        catch (JsonException exception)
        {
            throw new ModelFileException(path, "file", "well-formed JSON", FormattableString.Invariant($"an error in line {exception.LineNumber + 1}"), exception);
        }
        catch (Exception exception) when (exception is InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new ModelFileException(path, "file", "the entries of tokenizer.json", exception.Message, exception);
        }
    }
}
