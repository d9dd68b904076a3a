using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Vocabularies in every format, and that nothing of their files is trusted.</summary>
public sealed class TokenizerFileTests : IDisposable
{
    private readonly TemporaryFile _file = new("tokenizer");

    public void Dispose() => _file.Dispose();

    [Fact]
    public void Llama2c_and_gguf_hold_the_same_vocabulary_of_Llama()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", "tokenizer.bin"));
        TextTokenizer gguf = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        Assert.Equal(gguf.Vocabulary.Tokens, tokenizer.Vocabulary.Tokens);
        Assert.Equal(gguf.Vocabulary.Kinds, tokenizer.Vocabulary.Kinds);
        string[] texts = File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf.inp")).Split("\n__ggml_vocab_test__\n");
        Assert.All(texts, text => Assert.Equal(gguf.Encode(text), tokenizer.Encode(text)));
    }

    [Fact]
    public void Tokenizer_json_of_bytes_and_of_pieces()
    {
        // Hugging Face's spelling of both vocabularies, from their files.
        TextTokenizer gpt2 = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf"));
        Write(gpt2.Vocabulary, """{ "type": "ByteLevel", "add_prefix_space": false }""", "null", "\"byte_fallback\": false", gpt2.Vocabulary.Merges);
        Same(gpt2, TextTokenizer.Load(_file.Path), "ggml-vocab-gpt-2.gguf.inp");
        TextTokenizer llama = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));

        // A piece's best parts, in the order of the scores: as Hugging Face's converter writes merges.
        TokenizerVocabulary pieces = llama.Vocabulary;
        var scores = pieces.Tokens.Select((token, id) => (token, id)).Where(piece => pieces.Kinds[piece.id] == TokenKind.Normal).ToDictionary(static piece => piece.token, piece => pieces.Scores[piece.id]);
        IEnumerable<string> merges = scores.Where(static piece => piece.Key.Length > 1).OrderByDescending(static piece => piece.Value)
            .SelectMany(piece => Enumerable.Range(1, piece.Key.Length - 1).Where(cut => scores.ContainsKey(piece.Key[..cut]) && scores.ContainsKey(piece.Key[cut..])).Select(cut => $"{piece.Key[..cut]} {piece.Key[cut..]}"));
        Write(pieces, "null", """{ "type": "Sequence", "normalizers": [ { "type": "Prepend", "prepend": "▁" }, { "type": "Replace", "pattern": { "String": " " }, "content": "▁" } ] }""", "\"byte_fallback\": true", merges);
        Same(llama, TextTokenizer.Load(_file.Path), "ggml-vocab-llama-spm.gguf.inp");

        static void Same(TextTokenizer expected, TextTokenizer found, string name)
            => Assert.All(File.ReadAllText(TestData.File("tokenizers", name)).Split("\n__ggml_vocab_test__\n"), text => Assert.Equal(expected.Encode(text), found.Encode(text)));
    }

    [Fact]
    public void Texts_are_composed_where_tokenizer_json_says_so()
    {
        TextTokenizer gpt2 = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf"));
        foreach (string normalizer in (string[])["""{ "type": "NFC" }""", """{ "type": "Sequence", "normalizers": [ { "type": "NFC" } ] }"""])
        {
            Write(gpt2.Vocabulary, """{ "type": "ByteLevel", "add_prefix_space": false }""", normalizer, "\"byte_fallback\": false", gpt2.Vocabulary.Merges);
            TextTokenizer composing = TextTokenizer.Load(_file.Path);
            Assert.Equal(gpt2.Encode("caf\u00E9 \uAC00"), composing.Encode("cafe\u0301 \u1100\u1161"));
            Assert.Equal(gpt2.Encode("caf\u00E9"), composing.EncodePrompt("cafe\u0301"));
            Assert.NotEqual(gpt2.Encode("cafe\u0301"), composing.Encode("cafe\u0301"));
        }

        foreach (string step in (string[])["NFKC", "NFD", "Lowercase"])
        {
            Write(gpt2.Vocabulary, """{ "type": "ByteLevel", "add_prefix_space": false }""", $"{{ \"type\": \"{step}\" }}", "\"byte_fallback\": false", gpt2.Vocabulary.Merges);
            Assert.Contains(step, Assert.Throws<NotSupportedException>(() => TextTokenizer.Load(_file.Path)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Pieces_of_words_from_every_format()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-bert-bge.gguf"));
        Assert.Equal([101, 7592, 2088, 999, 102], tokenizer.EncodePrompt("Hello  WÖRLD!".Replace('Ö', 'o')));
        Assert.Equal(tokenizer.Encode("cafe naive"), tokenizer.Encode("Café naïve"));
        Assert.Equal(" hello world !", tokenizer.Decode(tokenizer.Encode("Hello World!")));
        Assert.DoesNotContain(102, tokenizer.Encode("a [SEP] b"));
        TokenizerVocabulary vocabulary = tokenizer.Vocabulary;
        var text = new StringBuilder("{ \"added_tokens\": [], \"normalizer\": { \"type\": \"BertNormalizer\", \"lowercase\": true }, \"pre_tokenizer\": { \"type\": \"BertPreTokenizer\" }, \"model\": { \"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"vocab\": {");
        text.AppendJoin(", ", vocabulary.Tokens.Select(static (token, id) => $"{System.Text.Json.JsonSerializer.Serialize(token.Length > 2 && token[0] == '[' && token[^1] == ']' ? token : token[0] == '▁' ? token[1..] : "##" + token)}: {id}"));
        File.WriteAllText(_file.Path, text.Append("} } }").ToString());
        TextTokenizer json = TextTokenizer.Load(_file.Path);
        Assert.Equal(vocabulary.Tokens, json.Vocabulary.Tokens);
        var writer = new GgufWriter();
        TokenizerFiles.Write(writer, vocabulary);
        writer.Add("x", [1], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
        TextTokenizer again = TextTokenizer.Load(_file.Path);
        Assert.All(File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-bert-bge.gguf.inp")).Split("\n__ggml_vocab_test__\n"), one =>
        {
            Assert.Equal(tokenizer.EncodePrompt(one), json.EncodePrompt(one));
            Assert.Equal(tokenizer.EncodePrompt(one), again.EncodePrompt(one));
        });

        // Whatever comes first.
        File.WriteAllText(_file.Path, """{ "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "BertPreTokenizer" }, "model": { "type": "WordPiece", "vocab": { "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "ab": 3, "##c": 4 } } }""");
        Assert.Equal([1, 3, 4, 0, 2], TextTokenizer.Load(_file.Path).EncodePrompt("abc x"));

        // Without what they need.
        Assert.Throws<ArgumentException>(() => TextTokenizer.Create(vocabulary with { UnknownToken = null }));
        Assert.Throws<ArgumentException>(() => TextTokenizer.Create(vocabulary with { Tokens = [.. vocabulary.Tokens.Take(30521), "a\nb"] }));
        Assert.ThrowsAny<ArgumentException>(() => TextTokenizer.Create(vocabulary with { Tokens = [.. vocabulary.Tokens.Take(30521), "▁the"] }));
    }

    [Fact]
    public void Special_tokens_stand_for_themselves_only_where_asked()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        Assert.DoesNotContain(2, tokenizer.Encode("a</s>b"));
        Assert.Equal([1, .. tokenizer.Encode("a")], tokenizer.EncodePrompt("a"));
        int[] special = tokenizer.EncodeSpecial("<s>a</s>");
        Assert.Equal(1, special[0]);
        Assert.Equal(2, special[^1]);
        TextTokenizer bytes = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf"));
        Assert.Throws<ArgumentException>(() => bytes.Encode("\uD800"));
        Assert.Throws<ArgumentOutOfRangeException>(() => bytes.GetBytes(50257, new byte[100]));
    }

    // Llama 3's files say by the pattern's name alone that words which are tokens are not merged, and that texts begin with a token.
    [Theory]
    [InlineData("llama-bpe", true)]
    [InlineData("llama-v3", true)]
    [InlineData("dbrx", false)]
    [InlineData("gpt-2", false)]
    public void Llama3_takes_words_that_are_tokens(string pattern, bool takesWholeWords)
    {
        // Merges make "ab" of "abc", and never the whole.
        string[] letters = [.. TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary.Tokens.Take(256)];
        string[] tokens = [.. letters, "ab", "abc", "Ġabc", "<|begin_of_text|>"];
        var writer = new GgufWriter();
        writer.Set("tokenizer.ggml.model", "gpt2");
        writer.Set("tokenizer.ggml.pre", pattern);
        writer.Set("tokenizer.ggml.tokens", tokens);
        writer.Set("tokenizer.ggml.merges", ["a b"]);
        writer.Set("tokenizer.ggml.token_type", [.. tokens.Select(static token => token.StartsWith("<|", StringComparison.Ordinal) ? 3 : 1)]);
        writer.Set("tokenizer.ggml.bos_token_id", (uint)tokens.Length - 1);
        writer.Add("x", [1], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
        TextTokenizer tokenizer = TextTokenizer.Load(_file.Path);
        int c = Array.IndexOf(letters, "c");
        int space = Array.IndexOf(letters, "Ġ");
        Assert.Equal(takesWholeWords ? [257, 258, 256] : [256, c, space, 256, c, 256], takesWholeWords ? tokenizer.Encode("abc abc\nab").Where(id => id >= 256) : tokenizer.Encode("abc abcab"));
        Assert.Equal(takesWholeWords ? [259, 256] : [256], tokenizer.EncodePrompt("ab"));
        Assert.All(["abc abc\nab 漢", "  ab  漢 \r\n é\t😀 ", " "], text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))));

        // Hugging Face's files say it outright.
        if (pattern is "llama-bpe" or "dbrx")
        {
            const string Words = """{ "type": "Sequence", "pretokenizers": [ { "type": "Split", "pattern": { "Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } }, { "type": "ByteLevel", "use_regex": false } ] }""";
            Write(tokenizer.Vocabulary, Words, "null", takesWholeWords ? "\"ignore_merges\": true" : "\"byte_fallback\": false", tokenizer.Vocabulary.Merges);
            TextTokenizer json = TextTokenizer.Load(_file.Path);
            Assert.Equal(pattern, json.Vocabulary.Pattern);
            Assert.Equal(tokenizer.Encode("abc abc ab"), json.Encode("abc abc ab"));
        }
    }

    [Fact]
    public void Characters_are_whole_as_they_come()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        var decoder = new TextDecoder(tokenizer);
        var text = new StringBuilder();
        char[] characters = new char[decoder.MaximumCharactersPerToken];
        foreach (int token in tokenizer.Encode("日本 𐍈😀é"))
        {
            ReadOnlySpan<char> added = characters.AsSpan(0, decoder.Append(token, characters));
            Assert.DoesNotContain('\uFFFD', added.ToString());
            Assert.False(added.Length > 0 && char.IsHighSurrogate(added[^1]));
            text.Append(added);
        }

        Assert.Equal(" 日本 𐍈😀é", text.ToString());
    }

    [Fact]
    public void Nothing_of_a_llama2c_vocabulary_is_trusted()
    {
        byte[] whole = File.ReadAllBytes(TestData.File("stories260K", "tok512.bin"));
        for (int length = 0; length < whole.Length; length += length < 64 ? 1 : 64)
        {
            // A file that ends between two tokens is one of fewer tokens.
            Try(whole[..length], mayBeRead: length > 3500);
        }

        int at = 4;
        for (int token = 0; token < 512; token += token < 8 ? 1 : 63)
        {
            for (int i = at, seen = 0; seen <= token; seen++)
            {
                at = i;
                i += 8 + BinaryPrimitives.ReadInt32LittleEndian(whole.AsSpan(i + 4));
            }

            foreach (int value in (int[])[-1, int.MinValue, int.MaxValue, whole.Length, 1 << 20])
            {
                byte[] changed = [.. whole];
                BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(at + 4), value);
                Try(changed, mayBeRead: false);
            }

            byte[] odd = [.. whole];
            BinaryPrimitives.WriteSingleLittleEndian(odd.AsSpan(at), float.NaN);
            Try(odd, mayBeRead: false);
            at = 4;
        }
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("{ \"model\": 1 }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": {}, \"merges\": [] } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": -1 }, \"merges\": [] } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": 2000000000 }, \"merges\": [] } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": 0, \"b\": 0 }, \"merges\": [] } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": \"b\" }, \"merges\": [] } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": 0 }, \"merges\": [ \"a\" ] }, \"pre_tokenizer\": { \"type\": \"ByteLevel\" } }")]
    [InlineData("{ \"model\": { \"type\": \"BPE\", \"vocab\": { \"a\": 0 }, \"merges\": [ [ \"a\" ] ] }, \"pre_tokenizer\": { \"type\": \"ByteLevel\" } }")]
    [InlineData("{ \"model\": ")]
    public void Nothing_of_tokenizer_json_is_trusted(string json) => Try(Encoding.UTF8.GetBytes(json), mayBeRead: false);

    [Fact]
    public void No_value_of_tokenizer_json_is_taken_for_what_it_is_not()
    {
        static string Quoted(string value) => System.Text.Json.JsonSerializer.Serialize(value);
        string letters = string.Join(", ", TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary.Tokens.Take(256).Select(static (token, id) => $"{Quoted(token)}: {id}"));
        string[] documents =
        [
            $$"""
            { "added_tokens": [ { "id": 258, "content": "<s>", "special": true }, { "id": 259, "content": "--", "special": false } ], "normalizer": { "type": "Sequence", "normalizers": [ { "type": "NFC" } ] },
              "pre_tokenizer": { "type": "Sequence", "pretokenizers": [ { "type": "Digits", "individual_digits": true }, { "type": "ByteLevel", "add_prefix_space": false } ] },
              "post_processor": { "type": "TemplateProcessing", "single": [ { "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } } ] },
              "model": { "type": "BPE", "ignore_merges": false, "vocab": { {{letters}}, "ab": 256, "abc": 257 }, "merges": [ "a b", [ "ab", "c" ] ] } }
            """,
            """
            { "added_tokens": [ { "id": 0, "content": "<unk>", "special": true } ], "normalizer": { "type": "Sequence", "normalizers": [ { "type": "Precompiled", "precompiled_charsmap": "" }, { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " } ] },
              "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always" }, "post_processor": { "type": "RobertaProcessing", "cls": [ "<unk>", 0 ], "sep": [ "<unk>", 0 ] },
              "model": { "type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [ [ "<unk>", 0 ], [ "▁", -1.5 ], [ "a", -2 ], [ "<0x41>", -3 ] ] } }
            """,
            """
            { "added_tokens": [ { "id": 2, "content": "[CLS]", "special": true } ], "normalizer": { "type": "BertNormalizer", "lowercase": true }, "pre_tokenizer": { "type": "BertPreTokenizer" },
              "model": { "type": "WordPiece", "unk_token": "[UNK]", "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5 } } }
            """,
        ];
        string[] odd = ["null", "-1", "3", "1e99", "\"\"", "\"x y\"", "true", "[]", "[null]", "[[]]", "{}"];
        int refused = 0;
        foreach (string document in documents)
        {
            File.WriteAllText(_file.Path, document);
            TextTokenizer.Load(_file.Path);
            int places = Places(JsonNode.Parse(document)).Count();
            for (int place = 0; place < places; place++)
            {
                foreach (string value in odd)
                {
                    JsonNode changed = JsonNode.Parse(document)!;
                    Places(changed).ElementAt(place)(JsonNode.Parse(value));
                    File.WriteAllText(_file.Path, changed.ToJsonString());
                    try
                    {
                        Encode(TextTokenizer.Load(_file.Path));
                    }
                    catch (Exception exception) when (exception is ModelFileException or NotSupportedException)
                    {
                        refused++;
                    }
                    catch (Exception exception)
                    {
                        Assert.Fail($"{exception}\n{changed["model"]?["type"]}: {changed.ToJsonString()[..Math.Min(400, changed.ToJsonString().Length)]}");
                    }
                }
            }
        }

        Assert.True(refused > 300, $"{refused}");

        // A vocabulary may lack what a text needs.
        static void Encode(TextTokenizer tokenizer)
        {
            try
            {
                tokenizer.Encode("abc ab 12");
            }
            catch (ArgumentException)
            {
            }
        }

        // What sets each value of a document to another one; of the letters, which are alike, one.
        static IEnumerable<Action<JsonNode?>> Places(JsonNode? node) => node switch
        {
            JsonObject members => members.Select(static member => member.Key).Where(static key => key.Length > 1 || key == "a").ToArray()
                .SelectMany(key => Places(members[key]).Prepend(value => members[key] = value)),
            JsonArray items => Enumerable.Range(0, items.Count).SelectMany(i => Places(items[i]).Prepend(value => items[i] = value)),
            _ => [],
        };
    }

    [Fact]
    public void What_lies_beside_a_file_that_is_saved_stays()
    {
        string beside = _file.Path + ".tmp";
        File.WriteAllText(beside, "somebody's");
        try
        {
            TokenizerVocabulary vocabulary = ByteLevelTrainer.Train(["ab ab ab"], new ByteLevelTrainingOptions { VocabularySize = 260 });
            TokenizerFiles.Save(_file.Path, vocabulary);
            Assert.Equal(vocabulary.Tokens, TextTokenizer.Load(_file.Path).Vocabulary.Tokens);
            Assert.Equal("somebody's", File.ReadAllText(beside));
        }
        finally
        {
            File.Delete(beside);
        }
    }

    [Fact]
    public void Deep_nesting_is_refused() => Try(Encoding.UTF8.GetBytes("{ \"a\": " + new string('[', 100_000)), mayBeRead: false);

    private void Try(byte[] bytes, bool mayBeRead)
    {
        File.WriteAllBytes(_file.Path, bytes);
        try
        {
            TextTokenizer.Load(_file.Path);
            Assert.True(mayBeRead, "The file was read.");
        }
        catch (ModelFileException exception)
        {
            Assert.NotEqual("", exception.Field);
        }
    }

    private void Write(TokenizerVocabulary vocabulary, string words, string normalizer, string fallback, IEnumerable<string> merges)
    {
        var text = new StringBuilder();
        text.Append("{ \"added_tokens\": [");
        text.AppendJoin(", ", vocabulary.Tokens.Select((token, id) => (token, id)).Where(token => vocabulary.Kinds[token.id] is TokenKind.Control or TokenKind.Unknown).Select(static token => $"{{ \"id\": {token.id}, \"content\": {Json(token.token)}, \"special\": true }}"));
        text.Append($"], \"normalizer\": {normalizer}, \"pre_tokenizer\": {words}, \"model\": {{ \"type\": \"BPE\", {fallback}, \"vocab\": {{");
        text.AppendJoin(", ", vocabulary.Tokens.Select(static (token, id) => $"{Json(token)}: {id}"));
        text.Append("}, \"merges\": [").AppendJoin(", ", merges.Select(Json)).Append("] } }");
        File.WriteAllText(_file.Path, text.ToString());

        static string Json(string value) => System.Text.Json.JsonSerializer.Serialize(value);
    }
}
