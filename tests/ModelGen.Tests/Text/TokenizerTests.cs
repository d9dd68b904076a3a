using System.Text;
using Xunit;

namespace ModelGen.Tests.Text;

public class TokenizerTests
{
    private const string Mixed = "Once upon a time…\tnaïve café 北京 🐉🐲 e\u0301 \0 end\r\n";

    public static TheoryData<string> Texts => new()
    {
        "", "a", "The king.", Mixed, string.Concat(Enumerable.Repeat(Mixed, 100)), new string('é', 5000), new string('a', 169) + "🐉" + new string('b', 200),
    };

    [Theory]
    [MemberData(nameof(Texts))]
    public void BytesAreTheUtf8Encoding(string text)
    {
        byte[] expected = Encoding.UTF8.GetBytes(text);
        int[] tokens = ByteTokenizer.Instance.Encode(text);
        Assert.Equal(expected.Select(b => (int)b), tokens);
        Assert.Equal(text, ByteTokenizer.Instance.Decode(tokens));
    }

    [Fact]
    public void EveryChunkBoundaryKeepsSurrogatePairsWhole()
    {
        for (int padding = 0; padding < 200; padding++)
        {
            string text = new string('x', padding) + "🐉🐉🐉" + new string('y', 200 - padding);
            Assert.Equal(Encoding.UTF8.GetBytes(text).Select(b => (int)b), ByteTokenizer.Instance.Encode(text));
        }
    }

    [Theory]
    [MemberData(nameof(Texts))]
    public void CharactersRoundTrip(string text)
    {
        var tokenizer = CharacterTokenizer.FromText(Mixed + "abTheking.bybé");
        if (text.Any(c => !Mixed.Contains(c, StringComparison.Ordinal) && !"abTheking.bybé".Contains(c, StringComparison.Ordinal)))
            Assert.Fail("the test's alphabet is too small");
        int[] tokens = tokenizer.Encode(text);
        Assert.Equal(text.EnumerateRunes().Count(), tokens.Length);
        Assert.Equal(text, tokenizer.Decode(tokens));
    }

    [Fact]
    public void CharacterIdsFollowTheCodePoints()
    {
        var tokenizer = CharacterTokenizer.FromText("cab🐉é");
        Assert.Equal(5, tokenizer.VocabularySize);
        Assert.Equal([2, 0, 1, 4, 3], tokenizer.Encode("cab🐉é"));
        Assert.Equal(4, tokenizer.MaximumTokenBytes);
        Assert.Equal(new Rune(0x1F409), tokenizer.Character(4));
    }

    [Fact]
    public void AnUnknownCharacterIsAnErrorThatNamesIt()
    {
        var tokenizer = CharacterTokenizer.FromText("abc 🐉");
        var exception = Assert.Throws<ArgumentException>(() => tokenizer.Encode("a🐉 ébc"));
        Assert.Contains("'é' (U+00E9) at index 4", exception.Message, StringComparison.Ordinal);
        exception = Assert.Throws<ArgumentException>(() => tokenizer.CountTokens("ab\n"));
        Assert.Contains("U+000A at index 2", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AReplacementStandsForUnknownCharacters()
    {
        var tokenizer = CharacterTokenizer.FromText("abc", new Rune('?'));
        Assert.Equal(4, tokenizer.VocabularySize);
        Assert.Equal("a??c", tokenizer.Decode(tokenizer.Encode("aé🐉c")));
        Assert.True(tokenizer.Contains(new Rune('?')));
        Assert.False(tokenizer.Contains(new Rune('é')));
    }

    [Fact]
    public void ALoneSurrogateIsReported()
    {
        // Not theory data: the runner would pass such strings through UTF-8.
        foreach ((string text, int index) in new[] { ("ab\uD83Dcd", 2), ("\uDC09", 0), ("🐉\uD83D", 2), ("\uDC09\uD83D", 0) })
        {
            string expected = $"at index {index}";
            Assert.Contains(expected, Assert.Throws<ArgumentException>(() => ByteTokenizer.Instance.Encode(text)).Message, StringComparison.Ordinal);
            Assert.Contains(expected, Assert.Throws<ArgumentException>(() => CharacterTokenizer.FromText(text)).Message, StringComparison.Ordinal);
            Assert.Contains(
                expected,
                Assert.Throws<ArgumentException>(() => CharacterTokenizer.FromText("ab", new Rune('a')).CountTokens(text)).Message,
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public void AShortDestinationIsReportedBeforeAnythingIsWritten()
    {
        var destination = new int[3];
        Assert.Throws<ArgumentException>(() => ByteTokenizer.Instance.Encode("four", destination));
        Assert.Throws<ArgumentException>(() => ByteTokenizer.Encode("four"u8, destination));
        Assert.Throws<ArgumentException>(() => CharacterTokenizer.FromText("four").Encode("four", destination));
        Assert.Equal([0, 0, 0], destination);
        Assert.Throws<ArgumentException>(() => ByteTokenizer.Instance.GetBytes(1, []));
        Assert.Throws<ArgumentException>(() => CharacterTokenizer.FromText("é").GetBytes(0, new byte[1]));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(256)]
    [InlineData(int.MinValue)]
    public void ATokenOutsideTheVocabularyIsReported(int token)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => ByteTokenizer.Instance.Decode([token]));
        Assert.Throws<ArgumentOutOfRangeException>(() => CharacterTokenizer.FromText("abc").Decode([token]));
    }

    [Fact]
    public void TheDecoderHoldsBackIncompleteCharacters()
    {
        var decoder = new TextDecoder(ByteTokenizer.Instance);
        var characters = new char[decoder.MaximumCharactersPerToken];
        var pieces = new List<string>();
        foreach (byte b in "aé北🐉"u8)
            pieces.Add(new string(characters, 0, decoder.Append(b, characters)));
        Assert.Equal(["a", "", "é", "", "", "北", "", "", "", "🐉"], pieces);
        Assert.Equal(0, decoder.Flush(characters));
    }

    [Fact]
    public void InvalidBytesBecomeReplacementCharacters()
    {
        Assert.Equal("a\uFFFDb", ByteTokenizer.Instance.Decode(['a', 0xC3, 'b']));
        Assert.Equal("\uFFFD", ByteTokenizer.Instance.Decode([0xF0, 0x9F, 0x90]));

        var random = new CounterRandom(1);
        var decoder = new TextDecoder(ByteTokenizer.Instance);
        var characters = new char[decoder.MaximumCharactersPerToken];
        var bytes = new byte[4000];
        var incremental = new StringBuilder();
        for (int i = 0; i < bytes.Length; i++)
        {
            bytes[i] = (byte)(random.NextInt32(4) == 0 ? random.NextInt32(128) : 128 + random.NextInt32(128));
            incremental.Append(characters, 0, decoder.Append(bytes[i], characters));
        }
        incremental.Append(characters, 0, decoder.Flush(characters));
        Assert.Equal(Encoding.UTF8.GetString(bytes), incremental.ToString());
    }

    [Fact]
    public void ResetForgetsAnIncompleteCharacter()
    {
        var decoder = new TextDecoder(ByteTokenizer.Instance);
        var characters = new char[decoder.MaximumCharactersPerToken];
        Assert.Equal(0, decoder.Append(0xC3, characters));
        decoder.Reset();
        Assert.Equal(1, decoder.Append('x', characters));
        Assert.Equal('x', characters[0]);
        Assert.Throws<ArgumentException>(() => decoder.Append('x', new char[1]));
    }

    [Fact]
    public void EncodingIntoASpanAndDecodingAllocateNothing()
    {
        var tokenizer = CharacterTokenizer.FromText(Mixed);
        var decoder = new TextDecoder(ByteTokenizer.Instance);
        var characters = new char[decoder.MaximumCharactersPerToken];
        var tokens = new int[500];
        long before = 0;
        for (int i = 0; i < 600; i++)
        {
            if (i == 300)
                before = GC.GetAllocatedBytesForCurrentThread();
            tokenizer.Encode(Mixed, tokens);
            int count = ByteTokenizer.Instance.Encode(Mixed, tokens);
            for (int t = 0; t < count; t++)
                decoder.Append(tokens[t], characters);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void AnAlphabetIsSavedAndLoaded()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("alphabet.json");
        var saved = CharacterTokenizer.FromText(Mixed + "\"\\\u2028", new Rune('\uFFFD'));
        saved.Save(path);
        saved.Save(path);
        var loaded = CharacterTokenizer.Load(path);
        Assert.Equal(saved.VocabularySize, loaded.VocabularySize);
        Assert.Equal(saved.Replacement, loaded.Replacement);
        for (int i = 0; i < saved.VocabularySize; i++)
            Assert.Equal(saved.Character(i), loaded.Character(i));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("", "JSON: expected a valid document")]
    [InlineData("[]", "the document: expected StartObject")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"]", "JSON: expected a valid document")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"]} x", "JSON: expected a valid document")]
    [InlineData("{\"format\":\"other\",\"version\":1,\"characters\":[\"a\"]}", "format: expected \"modelgen.character\", found \"other\"")]
    [InlineData("{\"version\":1,\"characters\":[\"a\"]}", "format: expected \"modelgen.character\", found nothing")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":2,\"characters\":[\"a\"]}", "version: expected 1, found 2")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1}", "characters: expected at least one character")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[]}", "characters: expected at least one character")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"ab\"]}", "characters[0]: expected exactly one character")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"\"]}", "characters[0]: expected exactly one character")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\",\"a\"]}", "characters[1]: expected a code point above")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\",1]}", "characters[1]: expected a string")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"\\uD800\"]}", "alphabet.json")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"],\"characters\":[\"a\"]}", "characters: expected format, version")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"],\"more\":1}", "more: expected format, version")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"],\"replacement\":\"b\"}", "replacement: expected one of the characters")]
    [InlineData("{\"format\":\"modelgen.character\",\"version\":1,\"characters\":[\"a\"],\"replacement\":null}", "replacement: expected String")]
    public void ABadAlphabetFileIsReported(string json, string expected)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("alphabet.json");
        File.WriteAllText(path, json);
        var exception = Assert.Throws<ModelFileException>(() => CharacterTokenizer.Load(path));
        Assert.Contains(path, exception.Message, StringComparison.Ordinal);
        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnEmptyAlphabetIsReported() =>
        Assert.Throws<ArgumentException>(() => CharacterTokenizer.FromText(""));
}
