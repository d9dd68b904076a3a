using System.Text;
using System.Text.Json;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.ToolTests;

/// <summary>GPT-2's tokens and merges, and tiktoken's ranks.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ByteLevelFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("modelgen-ranks").FullName;

    private static TokenizerVocabulary Gpt2 => TextTokenizer.Load(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf")).Vocabulary;

    private static IEnumerable<(string Text, int[] Ids)> Cases => File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf.inp")).Split("\n__ggml_vocab_test__\n")
        .Zip(File.ReadAllText(TestData.File("tokenizers", "ggml-vocab-gpt-2.gguf.out")).Split('\n').Select(static line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToArray())).Take(46);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("encoder.json")]
    [InlineData("vocab.bpe")]
    public void Gpt2s_own_files_give_the_published_ids(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(TestData.File("tokenizers", name));
        Assert.Equal(50_257, tokenizer.VocabularySize);
        Assert.Equal(50_256, tokenizer.Vocabulary.EndToken);
        Assert.Equal(Gpt2.Tokens, tokenizer.Vocabulary.Tokens);
        Assert.Equal(Gpt2.Merges, tokenizer.Vocabulary.Merges);
        Assert.All(Cases, one => Assert.Equal(one.Ids, tokenizer.Encode(one.Text)));
        Assert.DoesNotContain(50_256, tokenizer.Encode("a<|endoftext|>"));
    }

    [Fact]
    public void Hugging_Faces_spelling_of_them_is_found_beside_a_model()
    {
        File.Copy(TestData.File("tokenizers", "encoder.json"), Path.Combine(_folder, "vocab.json"));
        File.Copy(TestData.File("tokenizers", "vocab.bpe"), Path.Combine(_folder, "merges.txt"));
        Assert.All(["vocab.json", "merges.txt"], name => Assert.Equal(Gpt2.Merges, TextTokenizer.Load(Path.Combine(_folder, name)).Vocabulary.Merges));
        foreach (string name in (string[])["model.safetensors", "config.json"])
        {
            File.Copy(TestData.File("tiny-random-gpt2", name), Path.Combine(_folder, name));
        }

        Assert.Equal(0, ToolCommand.Run("convert", _folder, Path.Combine(_folder, "tiny.gguf"), "--json").Code);
        Assert.Equal(Gpt2.Tokens, TextTokenizer.Load(Path.Combine(_folder, "tiny.gguf")).Vocabulary.Tokens);
    }

    [Fact]
    public void Ranks_make_the_merges_that_they_came_from()
    {
        string path = Path.Combine(_folder, "r50k_base.tiktoken");
        File.WriteAllLines(path, Ranks(Gpt2));
        TextTokenizer tokenizer = TextTokenizer.Load(path);
        Assert.Equal(Gpt2.Merges, tokenizer.Vocabulary.Merges);
        Assert.Equal(Gpt2.Tokens, tokenizer.Vocabulary.Tokens);
        Assert.Equal(50_256, tokenizer.Vocabulary.EndToken);
        Assert.All(Cases, one => Assert.Equal(one.Ids, tokenizer.Encode(one.Text)));

        // Of another number of tokens, with what the file does not say.
        File.WriteAllLines(path, Ranks(Gpt2).Take(40_000));
        Assert.Contains("40000", Assert.Throws<NotSupportedException>(() => TextTokenizer.Load(path)).Message, StringComparison.Ordinal);
        TokenizerVocabulary read = TokenizerFiles.ReadTiktoken(path, "gpt-2", new Dictionary<string, int> { ["<|end|>"] = 40_005 });
        Assert.Equal(Gpt2.Merges.Take(40_000 - 256), read.Merges);
        Assert.Equal(TokenKind.Unused, read.Kinds[40_001]);
        Assert.Equal(TokenKind.Control, read.Kinds[40_005]);
        Assert.Equal("a b", TextTokenizer.Create(read).Decode(TextTokenizer.Create(read).Encode("a b")));
        Assert.Throws<NotSupportedException>(() => TokenizerFiles.ReadTiktoken(path, "unheard-of"));
        Assert.Throws<ModelFileException>(() => TokenizerFiles.ReadTiktoken(path, "gpt-2", new Dictionary<string, int> { ["<|end|>"] = 5 }));
    }

    [Fact]
    public void Nothing_of_ranks_is_trusted()
    {
        string path = Path.Combine(_folder, "x.tiktoken");
        string[] lines = [.. Ranks(Gpt2).Take(400)];
        byte[] whole = Encoding.ASCII.GetBytes(string.Join('\n', lines));
        for (int length = 0; length < whole.Length; length += 64)
        {
            Try(whole[..length]);
        }

        foreach (string odd in (string[])["", " ", "IQ==", "IQ== -1", "IQ== 99999999", "IQ== 1 2", "I!== 3", "IQ== 0x5", " 5", lines[7], "QUJDREVGRw== 500", $"{Convert.ToBase64String(new byte[1025])} 600", $"{Convert.ToBase64String(new byte[1020])} 600", "IQ== 2000000000000"])
        {
            foreach (int place in (int[])[0, 1, 399])
            {
                string[] changed = [.. lines];
                changed[place] = odd;
                Try(Encoding.ASCII.GetBytes(string.Join("\r\n", changed)));
            }
        }

        var random = new Random(2);
        for (int round = 0; round < 300; round++)
        {
            byte[] changed = [.. whole];
            for (int i = random.Next(1, 5); i > 0; i--)
            {
                changed[random.Next(changed.Length)] = (byte)random.Next(256);
            }

            Try(changed);
        }

        // The same of tokens and merges.
        string tokens = Path.Combine(_folder, "vocab.json");
        Assert.Throws<ModelFileException>(() => Load(tokens, "{ \"a\": 0 }"));
        string merges = Path.Combine(_folder, "merges.txt");
        foreach (string line in (string[])["a", "a b c", " a", "a ", "q zz"])
        {
            File.WriteAllText(merges, "#version: 0.2\n" + line + "\n");
            Assert.Throws<ModelFileException>(() => Load(tokens, JsonSerializer.Serialize(Gpt2.Tokens.Take(256).Select(static (token, id) => (token, id)).ToDictionary(static one => one.token, static one => one.id))));
        }

        File.WriteAllText(merges, "");
        foreach (string json in (string[])["{ \"a\": 1e9 }", "{ \"a\": -1 }", "{ \"a\": 0.5 }", "{ \"a\": 0, \"b\": 0 }", "{ \"a\": 0, \"b\": \"c\" }", "{ \"a\": 4000000 }", "{ \"a\": 0 }", "{ \"a\": 0, \"model\": 1 }"])
        {
            Assert.Throws<ModelFileException>(() => Load(tokens, json));
        }

        static TextTokenizer Load(string path, string text)
        {
            File.WriteAllText(path, text);
            return TextTokenizer.Load(path);
        }

        void Try(byte[] bytes)
        {
            File.WriteAllBytes(path, bytes);
            try
            {
                TextTokenizer.Create(TokenizerFiles.ReadTiktoken(path, "gpt-2"));
            }
            catch (Exception exception) when (exception is ModelFileException or ArgumentException { ParamName: "vocabulary" })
            {
            }

            try
            {
                TextTokenizer.Load(path);
                Assert.Fail("The file was read.");
            }
            catch (Exception exception) when (exception is ModelFileException or NotSupportedException)
            {
            }
        }
    }

    private static IEnumerable<string> Ranks(TokenizerVocabulary vocabulary)
    {
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
        byte[] bytes = new byte[512];
        for (int id = 0; id < 50_256; id++)
        {
            yield return $"{Convert.ToBase64String(bytes, 0, tokenizer.GetBytes(id, bytes))} {id}";
        }
    }
}
