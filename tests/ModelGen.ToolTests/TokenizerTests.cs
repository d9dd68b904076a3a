using System.Globalization;
using System.Text;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Published vocabularies, against llama.cpp's own expectations.</summary>
public sealed class TokenizerTests
{
    private const string Separator = "\n__ggml_vocab_test__\n";

    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    [InlineData("ggml-vocab-bert-bge.gguf")]
    public void Vocabularies_give_the_published_ids(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", name));
        string[] texts = File.ReadAllText(TestData.File("tokenizers", name + ".inp")).Split(Separator);
        string[] ids = File.ReadAllText(TestData.File("tokenizers", name + ".out")).Split('\n');

        // The last of each is what stands behind the last separator.
        Assert.Equal(47, texts.Length);
        Assert.Equal(47, ids.Length);
        var failures = new StringBuilder();
        for (int i = 0; i < 46; i++)
        {
            string found = string.Join(' ', tokenizer.Encode(texts[i]).Select(static id => id.ToString(CultureInfo.InvariantCulture)));
            if (found != ids[i].Trim())
            {
                failures.Append(CultureInfo.InvariantCulture, $"{i} '{texts[i]}': {ids[i].Trim()} but {found}\n");
            }

            // What WordPiece makes alike is lost.
            if (tokenizer.Vocabulary.Kind == TokenizerKind.WordPiece)
            {
                continue;
            }

            string decoded = tokenizer.Decode(tokenizer.Encode(texts[i]));
            Assert.Equal(tokenizer.Vocabulary.AddsSpace && texts[i].Length > 0 ? " " + texts[i] : texts[i], decoded);
        }

        Assert.Equal("", failures.ToString());
    }

    [Theory]
    [InlineData("ggml-vocab-llama-spm.gguf")]
    [InlineData("ggml-vocab-gpt-2.gguf")]
    public void Nothing_of_a_text_is_lost(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", name));
        var random = new Random(1);
        string[] alphabets = ["ab c", "aé漢字ㅋ ", "\0\t\n\r \u00A0\u3000\u2581", "😀👩‍👩‍👧🏽𝒜𐍈 x", "0123456789.,'sStT'll", "<s></s>[INST]<|endoftext|>"];
        for (int i = 0; i < 2000; i++)
        {
            string alphabet = alphabets[random.Next(alphabets.Length)];
            Rune[] runes = [.. alphabet.EnumerateRunes()];
            var text = new StringBuilder();
            for (int length = random.Next(1, 40); length > 0; length--)
            {
                text.Append(random.Next(20) == 0 ? RandomRune(random) : runes[random.Next(runes.Length)]);
            }

            string expected = text.ToString();
            int[] ids = tokenizer.Encode(expected);
            Assert.DoesNotContain(ids, id => tokenizer.Vocabulary.Kinds[id] is TokenKind.Control or TokenKind.Unknown);
            string decoded = tokenizer.Decode(ids);

            // SentencePiece cannot tell its own sign for a space from one.
            Assert.Equal((tokenizer.Vocabulary.AddsSpace ? " " + expected : expected).Replace(tokenizer.Vocabulary.AddsSpace ? "▁" : "\0\0", tokenizer.Vocabulary.AddsSpace ? " " : "\0\0", StringComparison.Ordinal), decoded);
        }
    }

    private static Rune RandomRune(Random random)
    {
        while (true)
        {
            if (Rune.TryCreate(random.Next(0x110000), out Rune rune))
            {
                return rune;
            }
        }
    }
}
