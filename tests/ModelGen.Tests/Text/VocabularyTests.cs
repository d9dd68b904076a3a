using System.Text;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Text;

[Collection(SerialCollection.Name)]
public sealed class VocabularyTests
{
    [Fact]
    public void Texts_are_made_alike()
    {
        var normalizer = new TextNormalizer { Lowercase = true, CollapseWhiteSpace = true };
        Assert.Equal("\u00e9 l'\u00e9t\u00e9 a 2", normalizer.Normalize("  E\u0301 \t L'\u00c9TE\u0301\n\na   2 "));
        Assert.Equal(" A\u0301 ", TextNormalizer.None.Normalize(" A\u0301 "));
        Assert.Equal("", normalizer.Normalize(" \n"));
        Assert.Throws<ArgumentException>(() => normalizer.Normalize("\ud800"));
    }

    /// <summary>Random strings of letters, marks, syllables and what has a decomposition, with their normalization form C by Unicode's data (tests/fixtures/make_unicode.py).</summary>
    [Fact]
    public void Characters_are_composed_as_Unicode_says()
    {
        string[][] cases = JsonSerializer.Deserialize<string[][]>(File.ReadAllBytes(SourceTree.Fixture("unicode-nfc.json")))!;
        Assert.Equal(400, cases.Length);
        foreach (string[] known in cases)
        {
            Assert.Equal(known[1], new TextNormalizer().Normalize(known[0]));
            Assert.Equal(known[1], new TextNormalizer().Normalize(known[1]));
        }
    }

    [Fact]
    public void The_most_frequent_words_have_the_first_ids()
    {
        var builder = new VocabularyBuilder(TextUnit.Word);
        builder.Add(["the king saw the queen", "the queen <unk> saw", "a king"]);
        Assert.Equal(11, builder.TotalCount);
        Vocabulary vocabulary = builder.Build(minimumCount: 2);
        Assert.Equal(["<pad>", "<bos>", "<eos>", "<unk>", "<mask>", "the", "king", "queen", "saw"], Enumerable.Range(0, vocabulary.Count).Select(id => vocabulary[id]));
        Assert.Equal([0, 0, 0, 0, 0, 3, 2, 2, 2], Enumerable.Range(0, vocabulary.Count).Select(vocabulary.CountOf));
        Assert.Equal((0, 1, 2, 3, 4, 5), (vocabulary.PaddingId, vocabulary.BeginningId, vocabulary.EndId, vocabulary.UnknownId, vocabulary.MaskId, vocabulary.SpecialCount));
        Assert.Equal(6, vocabulary.IdOf("king"));
        Assert.Equal(3, vocabulary.IdOf("armadillo"));
        Assert.False(vocabulary.Contains("a"));
        Assert.Equal(7, builder.Build(maximumSize: 7).Count);

        Vocabulary plain = builder.Build(specials: []);
        Assert.Equal(-1, plain.IdOf("armadillo"));
        Assert.Equal((-1, 0), (plain.EndId, plain.SpecialCount));
        Assert.Contains("armadillo", Assert.Throws<ArgumentException>(() => new VocabularyTokenizer(plain, TextUnit.Word).EncodeText("the armadillo")).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => new VocabularyTokenizer(plain, TextUnit.Word).EncodeText("the", end: true));
        Assert.Throws<ArgumentException>(() => builder.Build(specials: ["<x>", "<x>"]));
        Assert.Throws<ArgumentOutOfRangeException>(() => builder.Build(minimumCount: 9, specials: []));
    }

    [Fact]
    public void Words_are_encoded_with_beginning_and_end_and_decoded_without()
    {
        var builder = new VocabularyBuilder(TextUnit.WordAndPunctuation, new TextNormalizer { Lowercase = true });
        builder.Add("I'm not a student, I am a king.");
        var tokenizer = new VocabularyTokenizer(builder.Build(), TextUnit.WordAndPunctuation, new TextNormalizer { Lowercase = true });
        Vocabulary vocabulary = tokenizer.Vocabulary;
        int[] tokens = tokenizer.EncodeText("I am not <mask> queen.", beginning: true, end: true);
        Assert.Equal(["<bos>", "i", "am", "not", "<unk>", "<unk>", "<unk>", "<unk>", ".", "<eos>"], tokens.Select(id => vocabulary[id]));
        Assert.Equal("i am not <unk> <unk> <unk> <unk> .", tokenizer.DecodeText(tokens));
        Assert.Equal("i am a king .", tokenizer.DecodeText(tokenizer.EncodeText("I AM a king.")));
        Assert.Equal("i am a king . ", tokenizer.Decode(tokenizer.EncodeText("I am a king.")));

        var masked = new VocabularyTokenizer(vocabulary, TextUnit.Word);
        Assert.Equal([vocabulary.IdOf("i"), vocabulary.MaskId, vocabulary.IdOf("king")], masked.EncodeText("i <mask> king", specials: true));
        Assert.Equal(["<bos>", "i", "am", "<mask>", "a", "<unk>", "<mask>", ".", "<eos>"], tokenizer.EncodeText("I am <mask>a queen<mask>.", beginning: true, end: true, specials: true).Select(id => vocabulary[id]));
        Assert.Equal([vocabulary.MaskId, vocabulary.UnknownId], masked.EncodeText("<mask>< mask>", specials: true)[..2]);
        Assert.Equal("", masked.DecodeText([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => masked.DecodeText([99]));
        Assert.Throws<ArgumentException>(() => masked.Encode("i am", new int[1]));
    }

    [Fact]
    public void Characters_and_bytes_come_back_as_they_were()
    {
        const string Alphabet = "aé日😀 \n<>.";
        foreach (TextUnit unit in new[] { TextUnit.Character, TextUnit.Byte })
        {
            var builder = new VocabularyBuilder(unit);
            builder.Add(Alphabet);
            var tokenizer = new VocabularyTokenizer(builder.Build(), unit);
            for (int seed = 0; seed < 50; seed++)
            {
                RandomCase.Run(seed, random =>
                {
                    Rune[] runes = [.. Alphabet.EnumerateRunes()];
                    string text = string.Concat(Enumerable.Range(0, random.Next(20)).Select(_ => runes[random.Next(runes.Length)].ToString()));
                    int[] tokens = tokenizer.EncodeText(text, beginning: true, end: true);
                    Assert.Equal(2 + (unit == TextUnit.Byte ? Encoding.UTF8.GetByteCount(text) : text.EnumerateRunes().Count()), tokens.Length);
                    Assert.Equal(text, tokenizer.DecodeText(tokens));
                    Assert.Equal(text, tokenizer.Decode(tokens.AsSpan(1, tokens.Length - 2)));
                });
            }
        }
    }

    [Fact]
    public void Encoding_allocates_nothing()
    {
        var builder = new VocabularyBuilder(TextUnit.WordAndPunctuation);
        builder.Add("the king saw the queen.");
        var tokenizer = new VocabularyTokenizer(builder.Build(), TextUnit.WordAndPunctuation);
        int[] tokens = new int[10];
        Assert.Equal(0, Runtime.Allocated.Least(() => tokenizer.Encode("the queen saw the armadillo.", tokens)));
    }

    [Fact]
    public void What_was_saved_is_loaded()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("vocabulary.json");
        var builder = new VocabularyBuilder(TextUnit.Word);
        builder.Add("the king \"saw\" the 日本 😀 \\ queen");
        Vocabulary vocabulary = builder.Build();
        vocabulary.Save(path);
        Vocabulary loaded = Vocabulary.Load(path);
        Assert.Equal(vocabulary.SpecialCount, loaded.SpecialCount);
        Assert.Equal(Enumerable.Range(0, vocabulary.Count).Select(id => (vocabulary[id], vocabulary.CountOf(id))), Enumerable.Range(0, loaded.Count).Select(id => (loaded[id], loaded.CountOf(id))));

        string text = File.ReadAllText(path);
        foreach ((string part, string other) in new[]
        {
            ("modelgen.vocabulary", "modelgen.character"), ("\"version\":1", "\"version\":2"), ("\"special\":5", "\"special\":99"), ("\"special\":5", "\"special\":-1"), ("\"special\":5,", ""),
            ("\"king\"", "\"the\""), ("\"king\"", "\"\""), ("\"king\"", "7"), ("\"king\"", "\"\\ud800\""), ("\"king\",", ""), ("\"counts\":[0,", "\"counts\":[-1,"), ("\"counts\":[0,", "\"counts\":[0.5,"), ("\"counts\":", "\"count\":"), ("{", "[{"),
        })
        {
            Assert.Contains(part, text, StringComparison.Ordinal);
            File.WriteAllText(path, text.Replace(part, other, StringComparison.Ordinal));
            Assert.Throws<ModelFileException>(() => Vocabulary.Load(path));
        }

        File.WriteAllText(path, "");
        Assert.Throws<ModelFileException>(() => Vocabulary.Load(path));
    }

    [Fact]
    public void White_space_of_one_character_becomes_a_space_too()
    {
        var normalizer = new TextNormalizer { CollapseWhiteSpace = true };
        Assert.Equal("a b c", normalizer.Normalize("a\tb\nc"));
        Assert.Equal("a b", normalizer.Normalize("a\u00a0b"));
    }

    [Fact]
    public void Sizes_orders_and_ids_are_what_was_asked_for()
    {
        var builder = new VocabularyBuilder(TextUnit.Word);
        builder.Add("\U0001f600 \uff01 \U0001f600a z za");
        Vocabulary vocabulary = builder.Build(specials: []);
        Assert.Equal(["z", "za", "\uff01", "\U0001f600", "\U0001f600a"], Enumerable.Range(0, vocabulary.Count).Select(id => vocabulary[id]));
        Assert.Equal(5, builder.Build(maximumSize: 5).Count);
        Assert.Equal("maximumSize", Assert.Throws<ArgumentOutOfRangeException>(() => builder.Build(maximumSize: 4)).ParamName);
        var tokenizer = new VocabularyTokenizer(vocabulary, TextUnit.Word);
        Assert.Equal("z", tokenizer.DecodeText([0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.DecodeText([-1, 0]));
    }

    [Theory]
    [InlineData(""" {"format":"modelgen.vocabulary","version":1,"special":0,"tokens":["a"],"counts":[1],"\ud800xxxxxxxxxxxxxxxxxxxx":1} """)]
    [InlineData(""" {"format":"\ud800modelgen.vocabulary","version":1,"special":0,"tokens":["a"],"counts":[1]} """)]
    [InlineData(""" {"format":"modelgen.vocabulary","version":1,"special":0,"tokens":["a\udc00"],"counts":[1]} """)]
    public void Half_a_surrogate_pair_is_a_damaged_file(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("vocabulary.json"), json);
        Assert.Throws<ModelFileException>(() => Vocabulary.Load(folder.File("vocabulary.json")));
    }

    /// <summary>Marks are sorted by class, those of one class as they were, in less than the square of the time; the first of each class is composed.</summary>
    [Fact]
    public void A_text_of_nothing_but_marks_does_not_take_forever()
    {
        const int Count = 400_000;
        string above = new('\u0301', Count), below = new('\u0327', Count);
        string composed = new TextNormalizer().Normalize("c" + above + below + "\u0302\u0301.");
        Assert.Equal("\u1e09" + below[1..] + above[1..] + "\u0302\u0301.", composed);
    }
}
