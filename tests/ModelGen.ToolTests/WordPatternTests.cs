using System.Globalization;
using System.Text;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>How byte-level tokenizers cut texts into words, by the names that GGUF files have for it: llama.cpp is the reference.</summary>
public sealed class WordPatternTests : IDisposable
{
    private readonly TemporaryFile _file = new("gguf");

    public void Dispose() => _file.Dispose();

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-bpe")]
    [InlineData("lfm2")]
    [InlineData("pixtral")]
    [InlineData("falcon3")]
    [InlineData("smaug-bpe")]
    [InlineData("dbrx")]
    [InlineData("glm4")]
    [InlineData("qwen2")]
    [InlineData("deepseek-r1-qwen")]
    [InlineData("stablelm2")]
    [InlineData("qwen35")]
    [InlineData("gpt-4o", true)]
    [InlineData("llama4", true)]
    [InlineData("tekken", true)]
    [InlineData("bloom")]
    [InlineData("smollm")]
    [InlineData("refact")]
    [InlineData("command-r")]
    [InlineData("codeshell")]
    [InlineData("exaone")]
    [InlineData("olmo")]
    [InlineData("mpt")]
    [InlineData("phi-2")]
    [InlineData("modern-bert")]
    public void Words_are_those_of_llama_cpp(string pattern, bool ofLettersAlone = false)
    {
        // llama.cpp takes letters beyond ASCII for capital and small ones, where the patterns' own text tells them apart.
        Save(TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary with { Pattern = pattern, AddsBeginning = false });
        TextTokenizer tokenizer = TextTokenizer.Load(_file.Path);
        Assert.Equal(pattern, tokenizer.Vocabulary.Pattern);
        var random = new Random(7);
        string[] alphabets = ["ab c", "aBcDE f'S'll 're", "0123456789 a", " \n\r\t a.", ".,!?/(|)-_ x1\n", "aé漢字ㅋ ÄÖ", "កខ្មែរ\u0301e\u0308 .", "'sStT'LL x"];
        IEnumerable<string> texts = File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf.inp")).Split("\n__ggml_vocab_test__\n").Where(static text => text.Length > 0)
            .Concat(Enumerable.Range(0, 400).Select(_ => Text(random, alphabets[random.Next(alphabets.Length)])));
        string[] compared = [.. texts.Where(text => !ofLettersAlone || !text.Any(static c => c > 0x7F))];
        Assert.True(compared.Length > 250);
        int[][] expected = LlamaCpp.Tokenize(_file.Path, compared);
        var failures = new StringBuilder();
        for (int i = 0; i < compared.Length; i++)
        {
            int[] found = tokenizer.EncodePrompt(compared[i]);
            if (!expected[i].SequenceEqual(found))
            {
                failures.Append(CultureInfo.InvariantCulture, $"'{compared[i]}': {string.Join('|', expected[i].Select(id => tokenizer.Decode([id])))} but {string.Join('|', found.Select(id => tokenizer.Decode([id])))}\n");
            }

            Assert.Equal(compared[i], tokenizer.Decode(tokenizer.Encode(compared[i])));
        }

        Assert.Equal("", failures.ToString());
    }

    // Every part of the text is a token, and what begins first is merged first: a word becomes one token. No two neighbours occur twice.
    [Theory]
    [InlineData("gpt-4o", "AbcDef ÉgÈh'T 1234567/\n", "Abc|Def| Ég|Èh'T| |123|456|7|/\n")]
    [InlineData("tekken", "AbcDef ÉgÈh'T 12/\n", "Abc|Def| Ég|Èh|'T| |1|2|/\n")]
    [InlineData("qwen35", "e\u0301a. \u0300x 12", "e\u0301a|.| \u0300x| |1|2")]
    [InlineData("qwen2", "e\u0301a. 12", "e|\u0301a|.| |1|2")]
    [InlineData("lfm2", "I'm 12345  ok", "I|'m| |123|45| | ok")]
    [InlineData("bloom", "ab cd. ef,g", "ab| cd|.| ef|,|g")]
    public void Texts_are_cut_as_the_pattern_says(string pattern, string text, string words)
    {
        string[] letters = [.. TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary.Tokens.Take(256)];

        // Tokens of GPT-2 by their byte: printable ones first, in its order.
        byte[] bytes = [.. Enumerable.Range(0, 256).Where(IsPrintable).Concat(Enumerable.Range(0, 256).Where(static value => !IsPrintable(value))).Select(static value => (byte)value)];
        string spelled = string.Concat(Encoding.UTF8.GetBytes(text).Select(value => letters[Array.IndexOf(bytes, value)]));
        var tokens = new List<string>(letters);
        var merges = new List<string>();
        for (int start = 0; start < spelled.Length; start++)
        {
            for (int length = 2; start + length <= spelled.Length; length++)
            {
                string token = spelled.Substring(start, length);
                tokens.Add(token);
                merges.Add($"{token[..^1]} {token[^1..]}");
            }
        }

        TextTokenizer tokenizer = TextTokenizer.Create(new TokenizerVocabulary { Kind = TokenizerKind.ByteLevel, Tokens = tokens, Kinds = [.. tokens.Select(static _ => TokenKind.Normal)], Merges = merges, Pattern = pattern });
        Assert.Equal(words, string.Join('|', tokenizer.Encode(text).Select(id => tokenizer.Decode([id]))));

        static bool IsPrintable(int value) => value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
    }

    // Gemma 4's files have merges where others have scores.
    [Fact]
    public void Pieces_with_merges_are_those_of_llama_cpp()
    {
        string[] bytes = [.. Enumerable.Range(0, 256).Select(static value => $"<0x{value:X2}>")];
        string[] tokens = ["<pad>", "<eos>", "<bos>", "<unk>", .. bytes, "▁", "a", "b", "c", "d", "\n", "1", "ab", "▁a", "▁ab", "cd", "abcd", "▁▁", "bc", "\n\n"];
        var writer = new GgufWriter();
        writer.Set("general.architecture", "gemma4");
        writer.Set("tokenizer.ggml.model", "gemma4");
        writer.Set("tokenizer.ggml.tokens", tokens);
        writer.Set("tokenizer.ggml.merges", ["a b", "▁ a", "▁ ab", "c d", "▁ ▁", "b c", "ab cd", "\n \n"]);
        writer.Set("tokenizer.ggml.token_type", [.. tokens.Select(static (_, id) => id < 3 ? 3 : id == 3 ? 2 : id < 260 ? 6 : 1)]);
        writer.Set("tokenizer.ggml.bos_token_id", 2u);
        writer.Set("tokenizer.ggml.eos_token_id", 1u);
        writer.Set("tokenizer.ggml.unknown_token_id", 3u);
        writer.Set("tokenizer.ggml.padding_token_id", 0u);
        writer.Set("tokenizer.ggml.add_bos_token", true);
        writer.Add("x", [1], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
        TextTokenizer tokenizer = TextTokenizer.Load(_file.Path);
        var random = new Random(9);
        string[] texts = ["abcd", " abcd ab  a", "a\n\nb", "é 漢", .. Enumerable.Range(0, 200).Select(_ => Text(random, "abcd \n1é"))];
        int[][] expected = LlamaCpp.Tokenize(_file.Path, texts);
        Assert.All(texts.Select(static (text, i) => (text, i)), one => Assert.Equal(expected[one.i], tokenizer.EncodePrompt(one.text)));
        Assert.All(texts, text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))));
    }

    private static string Text(Random random, string alphabet)
    {
        Rune[] runes = [.. alphabet.EnumerateRunes()];
        return string.Concat(Enumerable.Range(0, random.Next(1, 30)).Select(_ => runes[random.Next(runes.Length)].ToString()));
    }

    private void Save(TokenizerVocabulary vocabulary)
    {
        var writer = new GgufWriter();
        writer.Set("general.architecture", "gpt2");
        TokenizerFiles.Write(writer, vocabulary);
        writer.Add("x", [1], GgmlType.F32, static (_, _) => { });
        writer.Save(_file.Path);
    }
}
