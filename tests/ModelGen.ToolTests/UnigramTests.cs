using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>SentencePiece's unigram models: by definition, beside llama.cpp, and from every format.</summary>
public sealed class UnigramTests : IDisposable
{
    private static readonly string[] s_alphabet = ["a", "b", "c", "▁", "é", "漢", "😀"];

    private readonly TemporaryFile _file = new("tokenizer");

    public void Dispose() => _file.Dispose();

    /// <summary>Of all ways to cut a text, those of the highest sum; of these, the one whose last piece is longest, then the one before it.</summary>
    [Fact]
    public void Texts_are_cut_as_the_definition_says()
    {
        var random = new Random(1);
        int ties = 0, unknowns = 0;
        for (int round = 0; round < 400; round++)
        {
            // Quarters are summed without rounding: equal is equal.
            TokenizerVocabulary vocabulary = Random(random, random.Next(3, 70), static random => -random.Next(1, 5) / 4f) with { AddsSpace = random.Next(2) == 0 };
            TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
            var ids = vocabulary.Tokens.Select(static (token, id) => (token, id)).Skip(3).ToDictionary(static pair => pair.token, static pair => pair.id);
            for (int i = 0; i < 10; i++)
            {
                string text = Text(random, random.Next(1, 8)).Replace('▁', ' ');
                string spelled = ((vocabulary.AddsSpace ? " " : "") + text).Replace(' ', '▁');
                (List<int> expected, int ways) = BestOf(spelled, ids, vocabulary);
                ties += ways > 1 ? 1 : 0;
                unknowns += expected.Contains(0) ? 1 : 0;
                Assert.Equal(expected, tokenizer.Encode(text));
            }
        }

        Assert.True(ties > 100 && unknowns > 100, $"{ties} ties, {unknowns} with unknown characters");
    }

    [Fact]
    public void Bytes_stand_for_what_has_no_piece_and_nothing_is_lost()
    {
        var random = new Random(2);
        string[] tokens = ["<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(static value => $"<0x{value:X2}>"), "▁", "▁the", "▁a", "he", "t", "<sep>"];
        TokenizerVocabulary vocabulary = new()
        {
            Kind = TokenizerKind.Unigram,
            Tokens = tokens,
            Kinds = [TokenKind.Unknown, TokenKind.Control, TokenKind.Control, .. Enumerable.Repeat(TokenKind.Byte, 256), .. Enumerable.Repeat(TokenKind.Normal, 5), TokenKind.UserDefined],
            Scores = [.. tokens.Select(static (_, id) => -id / 64f)],
            BeginningToken = 1,
            EndToken = 2,
            UnknownToken = 0,
            AddsEnd = true,
        };
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
        Assert.Equal([.. Encoding.UTF8.GetBytes("é").Select(static value => value + 3), 264, 260], tokenizer.Encode("é<sep> the"));
        Assert.Equal(2, tokenizer.EncodePrompt("a")[^1]);
        string[] alphabets = ["the a", "aé漢字ㅋ ", "\0\t\n\r \u00A0\u3000", "😀👩‍👩‍👧🏽𝒜𐍈 x", "<s></s><sep><0x41>"];
        for (int i = 0; i < 2000; i++)
        {
            Rune[] runes = [.. alphabets[random.Next(alphabets.Length)].EnumerateRunes()];
            var text = new StringBuilder();
            for (int length = random.Next(1, 40); length > 0; length--)
            {
                text.Append(random.Next(20) == 0 && Rune.TryCreate(random.Next(0x110000), out Rune rune) ? rune : runes[random.Next(runes.Length)]);
            }

            string expected = text.Replace("▁", "").ToString();
            int[] ids = tokenizer.Encode(expected);
            Assert.DoesNotContain(ids, static id => id < 3);
            Assert.Equal(expected, tokenizer.Decode(ids));
        }
    }

    [Fact]
    public void Llama_cpp_cuts_texts_in_the_same_way()
    {
        var random = new Random(3);
        for (int round = 0; round < 8; round++)
        {
            // Scores that are no round numbers: no two ways are equal.
            TokenizerVocabulary vocabulary = Random(random, 40, static random => (float)(-random.NextDouble() * 8)) with
            {
                AddsSpace = true,
                RemovesExtraSpaces = true,
                AddsEnd = true,
                CharacterMap = round % 2 == 0 ? [] : Map(("A", "a"), ("É", "é"), ("ﬁ", "ab"), ("\u200B", ""), ("\t", " "), ("Aé", "c"), ("B", "b")),
            };
            Save(vocabulary);
            TextTokenizer read = TextTokenizer.Load(_file.Path);
            string[] texts = [.. Enumerable.Range(0, 60).Select(_ => Text(random, random.Next(1, 30)).Replace('▁', ' ')), "A B", "  a   b ", "ﬁAéAb É\tb", "a\u200Bb", " ", "Aéﬁ  B"];
            foreach (string text in texts)
            {
                int[] expected = LlamaCpp.Tokenize(_file.Path, text);
                int[] found = read.EncodePrompt(text);
                Assert.True(expected.SequenceEqual(found), $"'{text}': {string.Join(' ', expected)} but {string.Join(' ', found)}");
            }
        }
    }

    [Fact]
    public void Characters_are_made_alike_by_the_longest_rule()
    {
        TokenizerVocabulary vocabulary = Random(new Random(4), 10, static _ => -1) with
        {
            Tokens = ["<unk>", "<s>", "</s>", "a", "b", "c", "▁", "▁a"],
            Kinds = [TokenKind.Unknown, TokenKind.Control, TokenKind.Control, .. Enumerable.Repeat(TokenKind.Normal, 5)],
            Scores = [0, 0, 0, -1, -1, -1, -1, -1],
            CharacterMap = Map(("A", "a"), ("AB", "c"), ("\t", " "), ("\u200B", "")),
            AddsSpace = true,
            RemovesExtraSpaces = true,
        };
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
        Assert.Equal([7, 5], tokenizer.Encode("AAB"));
        Assert.Equal([7, 6, 4], tokenizer.Encode(" \t a \u200B \t b  "));
        Assert.Equal([], tokenizer.Encode(" \t "));
        Assert.Equal([6, 0, 4], tokenizer.Encode("xyzb"));
    }

    [Fact]
    public void Every_format_holds_the_same_vocabulary()
    {
        var random = new Random(5);
        TokenizerVocabulary vocabulary = Random(random, 30, static random => (float)(-random.NextDouble() * 8)) with
        {
            AddsSpace = true,
            RemovesExtraSpaces = true,
            AddsEnd = true,
            CharacterMap = Map(("A", "a"), ("É", "é"), ("\t", " ")),
        };
        TextTokenizer expected = TextTokenizer.Create(vocabulary);
        string[] texts = [.. Enumerable.Range(0, 200).Select(_ => Text(random, random.Next(1, 30)).Replace('▁', ' ')), "A É\t  b"];
        Save(vocabulary);
        Same(TextTokenizer.Load(_file.Path));

        string model = _file.Path + ".model";
        File.WriteAllBytes(model, Model(vocabulary, type: 1));
        try
        {
            Same(TextTokenizer.Load(model));
            Truncated(model);
        }
        finally
        {
            File.Delete(model);
        }

        File.WriteAllText(_file.Path, $$"""
            { "added_tokens": [ { "id": 1, "content": "<s>", "special": true }, { "id": 2, "content": "</s>", "special": true } ],
              "normalizer": { "type": "Sequence", "normalizers": [ { "type": "Precompiled", "precompiled_charsmap": "{{Convert.ToBase64String([.. vocabulary.CharacterMap])}}" } ] },
              "pre_tokenizer": { "type": "Sequence", "pretokenizers": [ { "type": "WhitespaceSplit" }, { "type": "Metaspace", "replacement": "▁", "add_prefix_space": true } ] },
              "post_processor": { "type": "TemplateProcessing", "single": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "</s>", "type_id": 0 } } ] },
              "model": { "type": "Unigram", "unk_id": 0, "vocab": [ {{string.Join(", ", vocabulary.Tokens.Select((token, id) => FormattableString.Invariant($"[{JsonSerializer.Serialize(token)}, {vocabulary.Scores[id]:R}]")))}} ] } }
            """);
        Same(TextTokenizer.Load(_file.Path));

        void Same(TextTokenizer found)
        {
            Assert.Equal(vocabulary.Tokens, found.Vocabulary.Tokens);
            Assert.Equal(vocabulary.Kinds, found.Vocabulary.Kinds);
            Assert.Equal(vocabulary.Scores, found.Vocabulary.Scores);
            Assert.Equal(vocabulary.CharacterMap, found.Vocabulary.CharacterMap);
            Assert.All(texts, text => Assert.Equal(expected.EncodePrompt(text), found.EncodePrompt(text)));
        }
    }

    /// <summary>The real vocabulary of Llama in SentencePiece's own format.</summary>
    [Fact]
    public void Byte_pair_models_are_read_from_sentencepiece_files()
    {
        TextTokenizer expected = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf"));
        string model = _file.Path + ".model";
        File.WriteAllBytes(model, Model(expected.Vocabulary, type: 2));
        try
        {
            TextTokenizer found = TextTokenizer.Load(model);
            Assert.Equal(TokenizerKind.SentencePiece, found.Vocabulary.Kind);
            Assert.All(File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf.inp")).Split("\n__ggml_vocab_test__\n"), text => Assert.Equal(expected.EncodePrompt(text), found.EncodePrompt(text)));
        }
        finally
        {
            File.Delete(model);
        }
    }

    [Fact]
    public void Nothing_of_a_map_of_characters_is_trusted()
    {
        var random = new Random(6);
        TokenizerVocabulary vocabulary = Random(random, 20, static random => -random.Next(9)) with { AddsSpace = true };
        byte[] map = Map(("A", "a"), ("É", "é"), ("ﬁ", "ab"));
        for (int i = 0; i < 2000; i++)
        {
            byte[] changed = [.. map];
            for (int change = random.Next(1, 5); change > 0; change--)
            {
                changed[random.Next(i % 2 == 0 ? 64 : changed.Length)] = (byte)random.Next(256);
            }

            changed = random.Next(4) == 0 ? changed[..random.Next(changed.Length)] : changed;
            try
            {
                TextTokenizer.Create(vocabulary with { CharacterMap = changed }).Encode("AÉ ﬁ ab \0 漢😀");
            }
            catch (ArgumentException)
            {
                // Refused.
            }
        }

        Save(vocabulary with { CharacterMap = [1, 0, 0] });
        Assert.Throws<ModelFileException>(() => TextTokenizer.Load(_file.Path));
    }

    private static void Truncated(string path)
    {
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            try
            {
                TextTokenizer.Load(path);
            }
            catch (Exception exception) when (exception is ModelFileException or NotSupportedException)
            {
                Assert.Contains(path, exception.Message, StringComparison.Ordinal);
            }
        }

        var random = new Random(7);
        for (int i = 0; i < 2000; i++)
        {
            byte[] changed = [.. whole];
            changed[random.Next(changed.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, changed);
            try
            {
                TextTokenizer.Load(path).Encode("a b é");
            }
            catch (Exception exception) when (exception is ModelFileException or NotSupportedException or ArgumentException)
            {
                // Refused.
            }
        }
    }

    private static TokenizerVocabulary Random(Random random, int pieces, Func<Random, float> score)
    {
        var tokens = new List<string> { "<unk>", "<s>", "</s>" };
        while (pieces-- > 0)
        {
            string piece = Text(random, random.Next(1, 5));
            if (!tokens.Contains(piece))
            {
                tokens.Add(piece);
            }
        }

        return new TokenizerVocabulary
        {
            Kind = TokenizerKind.Unigram,
            Tokens = tokens,
            Kinds = [TokenKind.Unknown, TokenKind.Control, TokenKind.Control, .. Enumerable.Repeat(TokenKind.Normal, tokens.Count - 3)],
            Scores = [0, 0, 0, .. tokens.Skip(3).Select(_ => score(random))],
            BeginningToken = 1,
            EndToken = 2,
            UnknownToken = 0,
        };
    }

    private static string Text(Random random, int length) => string.Concat(Enumerable.Range(0, length).Select(_ => s_alphabet[random.Next(s_alphabet.Length)]));

    private static (List<int> Ids, int Ways) BestOf(string text, Dictionary<string, int> ids, TokenizerVocabulary vocabulary)
    {
        double unknown = ids.Values.Min(id => vocabulary.Scores[id]) - 10;
        var ways = new List<(double Score, int[] Lengths, int[] Ids)>();
        Cut(0, 0, [], []);
        double best = ways.Max(static way => way.Score);
        (double Score, int[] Lengths, int[] Ids)[] equal = [.. ways.Where(way => way.Score == best)];

        // Read from the end, the longest piece first.
        int[] chosen = equal.OrderByDescending(static way => way.Lengths.Reverse().ToArray(), Comparer<int[]>.Create(static (one, other) => one.AsSpan().SequenceCompareTo(other))).First().Ids;
        return ([.. chosen.Where((id, i) => id != 0 || i == 0 || chosen[i - 1] != 0)], equal.Length);

        void Cut(int start, double score, List<int> lengths, List<int> found)
        {
            if (start == text.Length)
            {
                ways.Add((score, [.. lengths], [.. found]));
                return;
            }

            for (int length = 1; start + length <= text.Length; length++)
            {
                string piece = text.Substring(start, length);
                bool isCharacter = length == (char.IsHighSurrogate(text[start]) ? 2 : 1);
                if (ids.TryGetValue(piece, out int id))
                {
                    Cut(start + length, score + vocabulary.Scores[id], [.. lengths, length], [.. found, id]);
                }
                else if (isCharacter)
                {
                    Cut(start + length, score + unknown, [.. lengths, length], [.. found, 0]);
                }
            }
        }
    }

    private void Save(TokenizerVocabulary vocabulary)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", "t5");
        TokenizerFiles.Write(writer, vocabulary);
        writer.Add("x", [1], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
    }

    // sentencepiece_model.proto: ModelProto.
    private static byte[] Model(TokenizerVocabulary vocabulary, int type)
    {
        using var file = new MemoryStream();
        using var output = new CodedOutputStream(file);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            Message(output, 1, piece =>
            {
                piece.WriteTag(1, WireFormat.WireType.LengthDelimited);
                piece.WriteString(vocabulary.Tokens[id]);
                piece.WriteTag(2, WireFormat.WireType.Fixed32);
                piece.WriteFloat(vocabulary.Scores[id]);
                piece.WriteTag(3, WireFormat.WireType.Varint);
                piece.WriteInt32((int)vocabulary.Kinds[id]);
            });
        }

        Message(output, 2, trainer =>
        {
            foreach ((int field, int value) in ((int, int)[])[(3, type), (40, vocabulary.UnknownToken ?? -1), (41, vocabulary.BeginningToken ?? -1), (42, vocabulary.EndToken ?? -1), (43, -1)])
            {
                trainer.WriteTag(field, WireFormat.WireType.Varint);
                trainer.WriteInt32(value);
            }
        });
        Message(output, 3, normalizer =>
        {
            normalizer.WriteTag(1, WireFormat.WireType.LengthDelimited);
            normalizer.WriteString("own");
            normalizer.WriteTag(2, WireFormat.WireType.LengthDelimited);
            normalizer.WriteBytes(ByteString.CopyFrom([.. vocabulary.CharacterMap]));
            normalizer.WriteTag(3, WireFormat.WireType.Varint);
            normalizer.WriteBool(vocabulary.AddsSpace);
            normalizer.WriteTag(4, WireFormat.WireType.Varint);
            normalizer.WriteBool(vocabulary.RemovesExtraSpaces);
        });
        output.Flush();
        return file.ToArray();

        static void Message(CodedOutputStream output, int field, Action<CodedOutputStream> write)
        {
            using var inner = new MemoryStream();
            using var stream = new CodedOutputStream(inner);
            write(stream);
            stream.Flush();
            output.WriteTag(field, WireFormat.WireType.LengthDelimited);
            output.WriteBytes(ByteString.CopyFrom(inner.ToArray()));
        }
    }

    /// <summary>A map of characters: a trie of UTF-8 bytes as a double array in darts-clone's units.</summary>
    private static byte[] Map(params (string From, string To)[] rules)
    {
        var texts = new MemoryStream();
        var root = new Node();
        foreach ((string from, string to) in rules)
        {
            Node node = root;
            foreach (byte value in Encoding.UTF8.GetBytes(from))
            {
                node = node.Children.TryGetValue(value, out Node? child) ? child : node.Children[value] = new Node();
            }

            node.Value = (int)texts.Length;
            texts.Write(Encoding.UTF8.GetBytes(to));
            texts.WriteByte(0);
        }

        // Free units have a label that no byte is looked for at.
        var units = new List<uint?>();
        uint At(int place)
        {
            while (units.Count <= place)
            {
                units.AddRange(Enumerable.Repeat<uint?>(null, 256));
            }

            return units[place] ?? 0;
        }

        Place(root, 0, 0);
        byte[] map = new byte[4 + (4 * units.Count) + texts.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(map, (uint)(4 * units.Count));
        for (int i = 0; i < units.Count; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(map.AsSpan(4 + (4 * i)), units[i] ?? 0x8000_0000);
        }

        texts.ToArray().CopyTo(map, 4 + (4 * units.Count));
        return map;

        void Place(Node node, int place, uint label)
        {
            At(place);
            units[place] = label;
            int[] labels = [.. node.Children.Keys.Select(static key => (int)key), .. node.Value >= 0 ? new[] { 0 } : []];
            int start = Enumerable.Range(1, 1 << 16).First(start => labels.All(label =>
            {
                At(start ^ label);
                return units[start ^ label] is null;
            }));
            units[place] = label | (node.Value >= 0 ? 1u << 8 : 0) | ((uint)(place ^ start) << 10);
            foreach (int one in labels)
            {
                units[start ^ one] = 0x8000_0000;
            }

            if (node.Value >= 0)
            {
                units[start] = 0x8000_0000 | (uint)node.Value;
            }

            foreach ((byte key, Node child) in node.Children)
            {
                Place(child, start ^ key, key);
            }
        }
    }

    private sealed class Node
    {
        public SortedDictionary<byte, Node> Children { get; } = [];

        public int Value { get; set; } = -1;
    }
}
