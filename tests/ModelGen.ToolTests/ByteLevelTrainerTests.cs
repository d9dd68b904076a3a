using System.Text;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>Training a byte-level BPE: by definition, and back from the file that it is written to.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ByteLevelTrainerTests : IDisposable
{
    private readonly TemporaryFile _file = new("tokenizer");

    public void Dispose() => _file.Dispose();

    /// <summary>Against counting all pairs of all words again for every merge.</summary>
    [Fact]
    public void The_most_frequent_pair_is_merged_each_time()
    {
        var random = new Random(1);
        string[] alphabets = ["ab ", "abc é", "aab\n漢", "01 x"];
        for (int round = 0; round < 60; round++)
        {
            string alphabet = alphabets[round % alphabets.Length];
            string[] texts = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 60)).Select(_ => alphabet[random.Next(alphabet.Length)])))];
            var options = new ByteLevelTrainingOptions { VocabularySize = 257 + random.Next(60), MinimumCount = random.Next(1, 4), SpecialTokens = round % 3 == 0 ? ["<|endoftext|>", "ab"] : ["<|endoftext|>"] };
            if (options.VocabularySize < 256 + options.SpecialTokens.Count)
            {
                continue;
            }

            TokenizerVocabulary found = ByteLevelTrainer.Train(texts, options);
            (List<string> tokens, List<string> merges) = Reference(texts, options);
            Assert.Equal(merges, found.Merges);
            Assert.Equal(tokens, found.Tokens);
            Assert.Equal(options.SpecialTokens.Count, found.Kinds.Count(static kind => kind == TokenKind.Control));
            TextTokenizer tokenizer = TextTokenizer.Create(found);
            Assert.All(texts, text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))));
        }
    }

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("dbrx")]
    [InlineData("qwen2")]
    [InlineData("smollm")]
    [InlineData("llama-bpe")]
    public void A_trained_vocabulary_comes_back_from_its_file(string pattern)
    {
        string text = File.ReadAllText(TestData.File("text", "tinyshakespeare.txt"))[..200_000];
        TokenizerVocabulary vocabulary = ByteLevelTrainer.Train(text.Split('\n').Select(static line => line + "\n"), new ByteLevelTrainingOptions { VocabularySize = 1000, Pattern = pattern, SpecialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] });
        Assert.Equal(1000, vocabulary.Tokens.Count);
        Assert.Equal("!", vocabulary.Tokens[3]);
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
        int[] ids = tokenizer.Encode(text);
        Assert.Equal(text, tokenizer.Decode(ids));
        Assert.InRange((double)text.Length / ids.Length, 2.2, 5);
        TokenizerFiles.Save(_file.Path, vocabulary);
        TextTokenizer read = TextTokenizer.Load(_file.Path);
        Assert.Equal(vocabulary.Tokens, read.Vocabulary.Tokens);
        Assert.Equal(vocabulary.Kinds, read.Vocabulary.Kinds);
        Assert.Equal(vocabulary.Merges, read.Vocabulary.Merges);
        Assert.Equal(pattern, read.Vocabulary.Pattern);
        Assert.Equal(0, read.Vocabulary.EndToken);
        Assert.Equal(ids, read.Encode(text));
        var random = new Random(2);
        string[] alphabets = ["the king 's ", "aé漢字ㅋ ", "\0\t\n\r \u00A0\u3000", "😀👩‍👩‍👧🏽𝒜𐍈 x", "0123456789.,'sStT'll", "<|endoftext|><|im_start|>"];
        for (int i = 0; i < 2000; i++)
        {
            Rune[] runes = [.. alphabets[random.Next(alphabets.Length)].EnumerateRunes()];
            var fuzzed = new StringBuilder();
            for (int length = random.Next(1, 40); length > 0; length--)
            {
                fuzzed.Append(random.Next(20) == 0 && Rune.TryCreate(random.Next(0x110000), out Rune rune) ? rune : runes[random.Next(runes.Length)]);
            }

            string expected = fuzzed.ToString();
            int[] found = read.Encode(expected);
            Assert.DoesNotContain(found, static id => id < 3);
            Assert.Equal(expected, read.Decode(found));
            Assert.Equal(tokenizer.Encode(expected), found);
        }

        Assert.Equal([1, .. read.Encode("a"), 2], read.EncodeSpecial("<|im_start|>a<|im_end|>"));
    }

    [Fact]
    public void Gpt2s_own_vocabulary_comes_back_from_a_file()
    {
        TokenizerVocabulary vocabulary = TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary;
        TokenizerFiles.Save(_file.Path, vocabulary with { AddsBeginning = true });
        TextTokenizer read = TextTokenizer.Load(_file.Path);
        Assert.Equal(vocabulary.Tokens, read.Vocabulary.Tokens);
        Assert.Equal(vocabulary.Merges, read.Vocabulary.Merges);
        Assert.Equal(50256, read.EncodePrompt("a")[0]);
        Assert.Throws<NotSupportedException>(() => TokenizerFiles.Save(_file.Path, TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-llama-spm.gguf")).Vocabulary));
    }

    [Fact]
    public void The_tool_trains_one()
    {
        string output = _file.Path + ".json";
        try
        {
            JsonElement found = ToolCommand.Json("train-tokenizer", output, "--text", TestData.File("text", "tinyshakespeare.txt"), "--vocab", "600", "--special", "<|endoftext|>", "<|pad|>");
            Assert.Equal(600, found.GetProperty("tokens").GetInt32());
            Assert.InRange(found.GetProperty("characters_per_token").GetDouble(), 2, 4);
            Assert.Equal("king", string.Concat(ToolCommand.Json("tokenize", output, "king").GetProperty("tokens").EnumerateArray().Select(static token => token.GetString())));
            Assert.Equal(2, ToolCommand.Run("train-tokenizer", output, "--text", TestData.File("text", "names.txt"), "--vocab", "100").Code);
            Assert.Equal(2, ToolCommand.Run("train-tokenizer", output, "--text", TestData.File("text", "names.txt"), "--pattern", "none").Code);
            Assert.Equal(1, ToolCommand.Run("train-tokenizer", output, "--text", output + ".missing").Code);
        }
        finally
        {
            File.Delete(output);
        }
    }

    [Fact]
    public void What_cannot_be_trained_is_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new ByteLevelTrainer(new ByteLevelTrainingOptions { VocabularySize = 256 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ByteLevelTrainer(new ByteLevelTrainingOptions { MinimumCount = 0 }));
        Assert.Throws<ArgumentException>(() => new ByteLevelTrainer(new ByteLevelTrainingOptions { SpecialTokens = ["<a>", "<a>"] }));
        Assert.Throws<ArgumentException>(() => new ByteLevelTrainer(new ByteLevelTrainingOptions { SpecialTokens = [""] }));
        Assert.Throws<NotSupportedException>(() => new ByteLevelTrainer(new ByteLevelTrainingOptions { Pattern = "none" }));
        Assert.Throws<ArgumentException>(() => new ByteLevelTrainer().Add("a\uD800"));
    }

    private static (List<string> Tokens, List<string> Merges) Reference(string[] texts, ByteLevelTrainingOptions options)
    {
        // GPT-2's words and spelling, from its own tokenizer's published rules.
        var pattern = new System.Text.RegularExpressions.Regex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");
        int next = 256;
        char[] spelled = [.. Enumerable.Range(0, 256).Select(value => value is (>= 33 and <= 126) or (>= 161 and <= 172) or (>= 174 and <= 255) ? (char)value : (char)next++)];
        var tokens = new List<string>(options.SpecialTokens);
        tokens.AddRange(spelled.Order().Select(static c => c.ToString()));
        List<List<int>> words = [.. texts.SelectMany(text => pattern.Matches(text).Select(match => Encoding.UTF8.GetBytes(match.Value).Select(value => tokens.IndexOf(spelled[value].ToString())).ToList()))];
        var merges = new List<string>();
        var refused = new HashSet<(int, int)>();
        while (tokens.Count < options.VocabularySize)
        {
            var pairs = words.SelectMany(static word => word.Zip(word.Skip(1))).Where(pair => !refused.Contains(pair)).GroupBy(static pair => pair)
                .OrderByDescending(static group => group.Count()).ThenBy(static group => group.Key.First).ThenBy(static group => group.Key.Second).ToList();
            if (pairs.Count == 0 || pairs[0].Count() < options.MinimumCount)
            {
                break;
            }

            (int left, int right) = pairs[0].Key;
            string token = tokens[left] + tokens[right];
            if (options.SpecialTokens.Contains(token))
            {
                refused.Add((left, right));
                continue;
            }

            if (!tokens.Skip(options.SpecialTokens.Count).Contains(token))
            {
                tokens.Add(token);
            }

            int made = tokens.LastIndexOf(token);
            merges.Add($"{tokens[left]} {tokens[right]}");
            foreach (List<int> word in words)
            {
                for (int i = 0; i + 1 < word.Count; i++)
                {
                    if (word[i] == left && word[i + 1] == right)
                    {
                        word[i] = made;
                        word.RemoveAt(i + 1);
                    }
                }
            }
        }

        return (tokens, merges);
    }
}
