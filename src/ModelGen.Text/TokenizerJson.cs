using System.Text.Json;

namespace ModelGen;

/// <summary>Reads Hugging Face's <c>tokenizer.json</c>: byte-pair encoding of bytes, and of SentencePiece's pieces; pieces of words; and unigram models.</summary>
internal static class TokenizerJson
{
    private const int LargestVocabulary = 1 << 22;

    public static TokenizerVocabulary Read(string path, JsonElement root)
    {
        JsonElement model = root.GetProperty("model");
        string kind = model.TryGetProperty("type", out JsonElement type) ? type.GetString() ?? "" : "BPE";
        if (kind is not ("BPE" or "WordPiece" or "Unigram"))
        {
            throw new NotSupportedException($"{path}: the model of the tokenizer is {(kind.Length > 40 ? kind[..40] : kind)}, but BPE, WordPiece and Unigram alone are known here.");
        }

        var byId = new SortedDictionary<int, (string Token, TokenKind Kind)>();
        bool isBytes = HasByteLevel(root);
        var scores = new List<float>();
        if (kind == "Unigram")
        {
            // Each with its score, in the order of ids.
            foreach (JsonElement piece in model.GetProperty("vocab").EnumerateArray())
            {
                float score = piece.GetArrayLength() == 2 ? piece[1].GetSingle() : throw Problem("model, vocab", "pairs of a token and its score", FormattableString.Invariant($"{piece.GetArrayLength()} in one"));
                Add(scores.Count, Text(piece[0], "model, vocab"), TokenKind.Normal);
                scores.Add(float.IsFinite(score) ? score : throw Problem("model, vocab", "finite scores", FormattableString.Invariant($"{score} of the token {scores.Count}")));
            }
        }
        else
        {
            foreach (JsonProperty entry in model.GetProperty("vocab").EnumerateObject())
            {
                Add(entry.Value.GetInt32(), entry.Name, TokenKind.Normal);
            }
        }

        if (root.TryGetProperty("added_tokens", out JsonElement added) && added.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement token in added.EnumerateArray())
            {
                bool isSpecial = token.TryGetProperty("special", out JsonElement special) && special.ValueKind == JsonValueKind.True;
                byId.Remove(token.GetProperty("id").GetInt32());
                Add(token.GetProperty("id").GetInt32(), Text(token.GetProperty("content"), "added_tokens, content"), isSpecial ? TokenKind.Control : TokenKind.UserDefined);
            }
        }

        // Ids that nothing has stand for nothing.
        int count = byId.Count == 0 ? throw Problem("model, vocab", "tokens", "none") : byId.Keys.Last() + 1;
        if (count > LargestVocabulary || count > (4 * byId.Count) + 1024)
        {
            throw Problem("model, vocab", "ids without large gaps", FormattableString.Invariant($"{byId.Count} tokens with ids up to {count - 1}"));
        }

        var tokens = new string[count];
        var kinds = new TokenKind[count];
        for (int id = 0; id < count; id++)
        {
            (tokens[id], kinds[id]) = byId.TryGetValue(id, out (string, TokenKind) entry) ? entry : ("", TokenKind.Unused);
        }

        if (kind == "Unigram")
        {
            return Unigram(path, root, model, tokens, kinds, scores);
        }

        if (kind == "WordPiece")
        {
            return Pieces(root, tokens, kinds);
        }

        List<string> merges = [];
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            merges.Add(merge.ValueKind == JsonValueKind.Array ? merge.GetArrayLength() != 2 ? throw Problem("model, merges", "pairs of tokens", $"{merge.GetArrayLength()} in one") : $"{Text(merge[0], "model, merges")} {Text(merge[1], "model, merges")}" : Text(merge, "model, merges"));
        }

        int? Find(params string[] names) => names.Select(name => (int?)Array.IndexOf(tokens, name)).FirstOrDefault(static id => id >= 0);

        (string? first, string? last) = Ends(root);
        bool composes = Composes(path, root);
        if (isBytes)
        {
            return new TokenizerVocabulary
            {
                Kind = TokenizerKind.ByteLevel,
                Tokens = tokens,
                Kinds = kinds,
                Merges = merges,
                Pattern = Pattern(path, root),
                BeginningToken = (first is null ? null : Find(first)) ?? Find("<|begin_of_text|>", "<|endoftext|>", "<s>"),
                EndToken = (last is null ? null : Find(last)) ?? Find("<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "</s>"),
                AddsBeginning = first is not null,
                AddsEnd = last is not null,
                Composes = composes,
            };
        }

        if (!(model.TryGetProperty("byte_fallback", out JsonElement fallback) && fallback.ValueKind == JsonValueKind.True))
        {
            throw new NotSupportedException($"{path}: the tokenizer works neither on bytes (ByteLevel) nor with bytes to fall back on (byte_fallback).");
        }

        for (int id = 0; id < count; id++)
        {
            kinds[id] = kinds[id] == TokenKind.Normal && tokens[id].Length == 6 && tokens[id].StartsWith("<0x", StringComparison.Ordinal) ? TokenKind.Byte : kinds[id];
        }

        int? unknown = Find("<unk>");
        if (unknown is { } known)
        {
            kinds[known] = TokenKind.Unknown;
        }

        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.SentencePiece,
            Tokens = tokens,
            Kinds = kinds,
            Scores = Scores(tokens, merges),
            BeginningToken = Find("<s>", "<bos>"),
            EndToken = Find("</s>", "<eos>"),
            UnknownToken = unknown,
            AddsBeginning = first is not null,
            AddsEnd = last is not null,
            Composes = composes,
            AddsSpace = root.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind == JsonValueKind.Object && Mentions(normalizer, "Prepend"),
        };

        void Add(int id, string token, TokenKind kind)
        {
            if (id < 0 || id >= LargestVocabulary || !byId.TryAdd(id, (token, kind)))
            {
                throw Problem("model, vocab", FormattableString.Invariant($"ids from 0 to below {LargestVocabulary}, each once"), FormattableString.Invariant($"{id}"));
            }
        }

        string Text(JsonElement element, string field) => element.ValueKind == JsonValueKind.String ? element.GetString()! : throw Problem(field, "texts", element.ValueKind.ToString());

        ModelFileException Problem(string field, string expected, string found) => new(path, field, expected, found);
    }

    /// <summary>Scores of pieces by the merges that they are made by, which are in the order of the scores that they were made from, the highest first.</summary>
    public static float[] Scores(IEnumerable<string> tokens, IReadOnlyList<string> merges)
    {
        var rank = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int i = 0; i < merges.Count; i++)
        {
            rank.TryAdd(merges[i].Replace(" ", "", StringComparison.Ordinal), i);
        }

        return [.. tokens.Select(token => rank.TryGetValue(token, out int place) ? -1f - place : -1e9f)];
    }

    // What changes characters otherwise would give other tokens than the model was trained with.
    private static bool Composes(string path, JsonElement root)
    {
        bool composes = false;
        foreach (JsonElement step in root.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind == JsonValueKind.Object ? Steps(normalizer) : [])
        {
            string? type = step.TryGetProperty("type", out JsonElement name) && name.ValueKind == JsonValueKind.String ? name.GetString() : null;
            composes |= type == "NFC";
            if (type is "NFD" or "NFKC" or "NFKD" or "Lowercase" or "StripAccents")
            {
                throw new NotSupportedException($"{path}: the tokenizer changes texts by a step {type}, which is not done here.");
            }
        }

        return composes;
    }

    private static TokenizerVocabulary Unigram(string path, JsonElement root, JsonElement model, string[] tokens, TokenKind[] kinds, List<float> scores)
    {
        int? Find(params string?[] names) => names.Select(name => name is null ? -1 : Array.IndexOf(tokens, name)).Where(static id => id >= 0).Select(static id => (int?)id).FirstOrDefault();

        int? unknown = model.TryGetProperty("unk_id", out JsonElement id) && id.ValueKind == JsonValueKind.Number ? id.GetInt32() : null;
        if (unknown is { } known)
        {
            kinds[known >= 0 && known < tokens.Length ? known : throw new ModelFileException(path, "model, unk_id", FormattableString.Invariant($"a token id below {tokens.Length}"), FormattableString.Invariant($"{known}"))] = TokenKind.Unknown;
        }

        if (model.TryGetProperty("byte_fallback", out JsonElement fallback) && fallback.ValueKind == JsonValueKind.True)
        {
            for (int token = 0; token < tokens.Length; token++)
            {
                kinds[token] = kinds[token] == TokenKind.Normal && tokens[token].Length == 6 && tokens[token].StartsWith("<0x", StringComparison.Ordinal) ? TokenKind.Byte : kinds[token];
            }
        }

        (string? first, string? last) = Ends(root);
        (bool addsSpace, bool removesExtraSpaces, byte[] map) = (false, false, []);
        foreach (JsonElement step in Named(root, "normalizer").Concat(Named(root, "pre_tokenizer")))
        {
            switch (Text(step, "type"))
            {
                case "Sequence":
                case "NFC":
                    break;
                case "Precompiled":
                    map = step.GetProperty("precompiled_charsmap").GetBytesFromBase64();
                    break;
                case "Replace" when step.GetProperty("pattern").TryGetProperty("Regex", out JsonElement regex) && regex.GetString() == " {2,}" && Text(step, "content") is " " or "▁":
                case "WhitespaceSplit":
                    removesExtraSpaces = true;
                    break;
                case "Replace" when step.GetProperty("pattern").TryGetProperty("String", out JsonElement space) && space.GetString() == " " && Text(step, "content") == "▁":
                case "Strip":
                    break;
                case "Prepend" when Text(step, "prepend") == "▁":
                    addsSpace = true;
                    break;
                case "Metaspace" when Text(step, "replacement") is null or "▁":
                    addsSpace |= Text(step, "prepend_scheme") is { } scheme ? scheme != "never" : !step.TryGetProperty("add_prefix_space", out JsonElement prefix) || prefix.ValueKind != JsonValueKind.False;
                    break;
                case var other:
                    throw new NotSupportedException($"{path}: the tokenizer changes texts by a step {(other is { Length: > 40 } ? other[..40] : other)}, which is not done here.");
            }
        }

        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.Unigram,
            Tokens = tokens,
            Kinds = kinds,
            Scores = [.. scores, .. Enumerable.Repeat(0f, tokens.Length - scores.Count)],
            CharacterMap = map,
            Composes = Named(root, "normalizer").Any(static step => Text(step, "type") == "NFC"),
            RemovesExtraSpaces = removesExtraSpaces,
            BeginningToken = Find(first, "<s>"),
            EndToken = Find(last, "</s>"),
            UnknownToken = unknown,
            AddsBeginning = first is not null,
            AddsEnd = last is not null,
            AddsSpace = addsSpace,
        };

        static IEnumerable<JsonElement> Named(JsonElement root, string name) => root.TryGetProperty(name, out JsonElement step) && step.ValueKind == JsonValueKind.Object ? Steps(step) : [];

        static string? Text(JsonElement step, string name) => step.TryGetProperty(name, out JsonElement text) && text.ValueKind == JsonValueKind.String ? text.GetString() : null;
    }

    // Pieces within words have ## before them there, those that begin one ▁ here.
    private static TokenizerVocabulary Pieces(JsonElement root, string[] tokens, TokenKind[] kinds)
    {
        int? Find(string name) => Array.IndexOf(tokens, name) is >= 0 and int id ? id : null;

        (int? unknown, int? beginning, int? end) = (Find("[UNK]"), Find("[CLS]"), Find("[SEP]"));
        bool lowercases = !(root.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind == JsonValueKind.Object && normalizer.TryGetProperty("lowercase", out JsonElement lowercase) && lowercase.ValueKind == JsonValueKind.False);
        return WordPieces(tokens, kinds, unknown, beginning, end, lowercases);
    }

    /// <summary>The vocabulary of pieces of words, spelled as BERT's files do, with ## before those within words.</summary>
    public static TokenizerVocabulary WordPieces(string[] tokens, TokenKind[] kinds, int? unknown, int? beginning, int? end, bool lowercases)
        => new()
        {
            Kind = TokenizerKind.WordPiece,
            Tokens = [.. tokens.Select(static token => token.Length > 2 && token[0] == '[' && token[^1] == ']' ? token : token.StartsWith("##", StringComparison.Ordinal) ? token[2..] : "▁" + token)],
            Kinds = kinds,
            BeginningToken = beginning,
            EndToken = end,
            UnknownToken = unknown,
            AddsBeginning = true,
            AddsEnd = true,
            Lowercases = lowercases,
        };

    /// <summary>Writes a byte-level vocabulary.</summary>
    public static void Write(Stream stream, TokenizerVocabulary vocabulary)
    {
        using var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteString("version", "1.0");
        writer.WriteNull("truncation");
        writer.WriteNull("padding");
        WriteAddedTokens(writer, vocabulary);
        WriteNormalizer(writer, vocabulary);
        WritePreTokenizer(writer, vocabulary.Pattern);
        WritePostProcessor(writer, vocabulary);
        writer.WritePropertyName("decoder");
        WriteByteLevel(writer, splits: true);
        WriteModel(writer, vocabulary);
        writer.WriteEndObject();
    }

    private static void WriteAddedTokens(Utf8JsonWriter writer, TokenizerVocabulary vocabulary)
    {
        writer.WriteStartArray("added_tokens");
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            if (vocabulary.Kinds[id] is TokenKind.Control or TokenKind.UserDefined)
            {
                writer.WriteStartObject();
                writer.WriteNumber("id", id);
                writer.WriteString("content", vocabulary.Tokens[id]);
                foreach (string flag in (string[])["single_word", "lstrip", "rstrip", "normalized"])
                {
                    writer.WriteBoolean(flag, false);
                }

                writer.WriteBoolean("special", vocabulary.Kinds[id] == TokenKind.Control);
                writer.WriteEndObject();
            }
        }

        writer.WriteEndArray();
    }

    private static void WriteNormalizer(Utf8JsonWriter writer, TokenizerVocabulary vocabulary)
    {
        if (!vocabulary.Composes)
        {
            writer.WriteNull("normalizer");
            return;
        }

        writer.WriteStartObject("normalizer");
        writer.WriteString("type", "NFC");
        writer.WriteEndObject();
    }

    // What cuts a text into words: a pattern or digits before the bytes, or GPT-2's pattern, which the bytes bring along.
    private static void WritePreTokenizer(Utf8JsonWriter writer, string pattern)
    {
        string? text = WordPatterns.TextOf(pattern);
        writer.WritePropertyName("pre_tokenizer");
        if (text is null && !WordPatterns.HasSingleDigits(pattern))
        {
            WriteByteLevel(writer, splits: true);
            return;
        }

        writer.WriteStartObject();
        writer.WriteString("type", "Sequence");
        writer.WriteStartArray("pretokenizers");
        writer.WriteStartObject();
        writer.WriteString("type", text is null ? "Digits" : "Split");
        if (text is null)
        {
            writer.WriteBoolean("individual_digits", true);
        }
        else
        {
            writer.WriteStartObject("pattern");
            writer.WriteString("Regex", text);
            writer.WriteEndObject();
            writer.WriteString("behavior", "Isolated");
            writer.WriteBoolean("invert", false);
        }

        writer.WriteEndObject();
        WriteByteLevel(writer, splits: text is null);
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    // The tokens that are put before and behind a text.
    private static void WritePostProcessor(Utf8JsonWriter writer, TokenizerVocabulary vocabulary)
    {
        string? first = vocabulary is { AddsBeginning: true, BeginningToken: { } beginning } ? vocabulary.Tokens[beginning] : null;
        string? last = vocabulary is { AddsEnd: true, EndToken: { } end } ? vocabulary.Tokens[end] : null;
        writer.WritePropertyName("post_processor");
        if (first is null && last is null)
        {
            WriteByteLevel(writer, splits: true);
            return;
        }

        writer.WriteStartObject();
        writer.WriteString("type", "TemplateProcessing");
        writer.WriteStartArray("single");
        WriteTemplatePiece(writer, "SpecialToken", first);
        WriteTemplatePiece(writer, "Sequence", "A");
        WriteTemplatePiece(writer, "SpecialToken", last);
        writer.WriteEndArray();
        writer.WriteStartArray("pair");
        writer.WriteEndArray();
        writer.WriteStartObject("special_tokens");
        foreach (string name in new[] { first, last }.OfType<string>().Distinct())
        {
            writer.WriteStartObject(name);
            writer.WriteString("id", name);
            writer.WriteStartArray("ids");
            writer.WriteNumberValue((name == first ? vocabulary.BeginningToken : vocabulary.EndToken)!.Value);
            writer.WriteEndArray();
            writer.WriteStartArray("tokens");
            writer.WriteStringValue(name);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private static void WriteTemplatePiece(Utf8JsonWriter writer, string kind, string? id)
    {
        if (id is not null)
        {
            writer.WriteStartObject();
            writer.WriteStartObject(kind);
            writer.WriteString("id", id);
            writer.WriteNumber("type_id", 0);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }
    }

    private static void WriteByteLevel(Utf8JsonWriter writer, bool splits)
    {
        writer.WriteStartObject();
        writer.WriteString("type", "ByteLevel");
        writer.WriteBoolean("add_prefix_space", false);
        writer.WriteBoolean("trim_offsets", true);
        writer.WriteBoolean("use_regex", splits);
        writer.WriteEndObject();
    }

    private static void WriteModel(Utf8JsonWriter writer, TokenizerVocabulary vocabulary)
    {
        writer.WriteStartObject("model");
        writer.WriteString("type", "BPE");
        foreach (string none in (string[])["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
        {
            writer.WriteNull(none);
        }

        writer.WriteBoolean("fuse_unk", false);
        writer.WriteBoolean("byte_fallback", false);
        writer.WriteBoolean("ignore_merges", WordPatterns.TakesWholeWords(vocabulary.Pattern));
        writer.WriteStartObject("vocab");
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            if (vocabulary.Kinds[id] != TokenKind.Unused)
            {
                writer.WriteNumber(vocabulary.Tokens[id], id);
            }
        }

        writer.WriteEndObject();
        writer.WriteStartArray("merges");
        foreach (string merge in vocabulary.Merges)
        {
            writer.WriteStringValue(merge);
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    private static bool HasByteLevel(JsonElement root)
        => root.TryGetProperty("pre_tokenizer", out JsonElement words) && words.ValueKind == JsonValueKind.Object && Mentions(words, "ByteLevel");

    /// <summary>The tokens that are put before and behind a text; null where there is none.</summary>
    private static (string? First, string? Last) Ends(JsonElement root)
    {
        if (!root.TryGetProperty("post_processor", out JsonElement processor) || processor.ValueKind != JsonValueKind.Object)
        {
            return default;
        }

        foreach (JsonElement step in Steps(processor))
        {
            if (step.TryGetProperty("type", out JsonElement type) && type.GetString() == "TemplateProcessing" && step.TryGetProperty("single", out JsonElement single) && single.ValueKind == JsonValueKind.Array && single.GetArrayLength() > 0)
            {
                return (Special(single[0]), Special(single[single.GetArrayLength() - 1]));
            }

            // BERT's and RoBERTa's, each a text and its id.
            if (step.TryGetProperty("type", out type) && type.GetString() is "RobertaProcessing" or "BertProcessing" && Token(step, "cls") is { } first && Token(step, "sep") is { } last)
            {
                return (first, last);
            }
        }

        return default;

        static string? Token(JsonElement step, string name) => step.TryGetProperty(name, out JsonElement pair) && pair.ValueKind == JsonValueKind.Array && pair.GetArrayLength() == 2 && pair[0].ValueKind == JsonValueKind.String ? pair[0].GetString() : null;

        static string? Special(JsonElement piece) => piece.ValueKind == JsonValueKind.Object && piece.TryGetProperty("SpecialToken", out JsonElement token) ? token.GetProperty("id").GetString() : null;
    }

    /// <summary>Whether a step, or one of a sequence of them, is of a type.</summary>
    private static bool Mentions(JsonElement step, string type) => Steps(step).Any(part => part.TryGetProperty("type", out JsonElement found) && found.GetString() == type);

    private static IEnumerable<JsonElement> Steps(JsonElement step)
    {
        yield return step;
        foreach (string name in (string[])["pretokenizers", "normalizers", "processors"])
        {
            if (step.TryGetProperty(name, out JsonElement parts) && parts.ValueKind == JsonValueKind.Array)
            {
                foreach (JsonElement part in parts.EnumerateArray())
                {
                    foreach (JsonElement inner in Steps(part))
                    {
                        yield return inner;
                    }
                }
            }
        }
    }

    // A pattern of its own, GPT-2's where there is none, or GPT-2's with every digit by itself.
    private static string Pattern(string path, JsonElement root)
    {
        JsonElement words = root.GetProperty("pre_tokenizer");
        bool takesWholeWords = root.GetProperty("model").TryGetProperty("ignore_merges", out JsonElement ignores) && ignores.ValueKind == JsonValueKind.True;
        foreach (JsonElement step in Steps(words))
        {
            if (step.TryGetProperty("pattern", out JsonElement pattern) && pattern.TryGetProperty("Regex", out JsonElement text))
            {
                return WordPatterns.NameOf(text.GetString()!, takesWholeWords) ?? throw new NotSupportedException($"{path}: the tokenizer's words are found by a pattern that is not known here.");
            }
        }

        return takesWholeWords ? throw new NotSupportedException($"{path}: the tokenizer takes whole words (ignore_merges), but finds them by another pattern than Llama 3's.")
            : Mentions(words, "Digits") ? "smollm" : "gpt-2";
    }
}
