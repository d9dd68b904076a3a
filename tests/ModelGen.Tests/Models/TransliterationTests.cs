using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Runtime;

namespace ModelGen.Tests.Models;

/// <summary>
/// A trained Transformer that others made and run (Arabic to Latin letters, by CTranslate2): its outputs, from its weights under the names that PyTorch has for them.
/// The reference data has no vocabulary. The ids of the letters that its outputs have follow from them: with these alone the probabilities are the known ones.
/// </summary>
public sealed class TransliterationTests
{
    private const int Bos = 1;
    private const int Eos = 2;

    private static readonly Dictionary<string, int> Source = new() { ["ا"] = 4, ["و"] = 5, ["ن"] = 7, ["ت"] = 10, ["م"] = 13, ["ز"] = 19, ["آ"] = 31 };
    private static readonly Dictionary<string, int> Target = new() { ["a"] = 3, ["n"] = 7, ["o"] = 8, ["t"] = 11, ["s"] = 12, ["m"] = 13, ["u"] = 14, ["z"] = 23, ["<unk>"] = 42 };

    [Fact]
    public void Greedy_outputs_and_their_probabilities()
    {
        (Transliterator model, JsonElement expected) = Load();
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 2 });
        foreach (JsonElement example in expected.GetProperty("translate").EnumerateArray())
        {
            int[] wanted = Ids(example.GetProperty("tgt"), Target);
            (int[] tokens, double logProbability) = Greedy(session, Ids(example.GetProperty("src"), Source), []);
            Assert.Equal([.. wanted, Eos], tokens);
            string word = string.Concat(example.GetProperty("tgt").EnumerateArray().Select(t => t.GetString()));
            Assert.Equal(expected.GetProperty("greedy_logprob_numpy").GetProperty(word).GetDouble(), logProbability, 1e-5);
        }
    }

    private sealed record Word(int[] Source, int[] Target);

    /// <summary>The reference data has two words. Two hundred of random letters are written as PyTorch's nn.Transformer writes them with the same weights (make_transliteration.py), greedily and by a search of one beam.</summary>
    [Fact]
    public void Words_of_random_letters_are_those_of_PyTorch()
    {
        (Transliterator model, _) = Load();
        Word[] words = JsonSerializer.Deserialize<Word[]>(File.ReadAllBytes(SourceTree.Fixture("transliteration.json")), new JsonSerializerOptions { PropertyNameCaseInsensitive = true })!;
        Assert.Equal(200, words.Length);
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 1, Batch = 8 });
        using EncoderDecoderSession single = model.CreateSession(new SessionOptions { Threads = 1 });
        var search = new BeamSearch(session, new BeamSearchOptions { Beams = 1, EndTokens = [Eos], MaxLength = 20, Stopping = BeamStopping.WhenFull });
        foreach (Word[] some in words.Chunk(8))
        {
            for (int i = 0; i < some.Length; i++)
            {
                session.Encode(i, some[i].Source);
                Assert.Equal(some[i].Target, Greedy(single, some[i].Source, []).Tokens);
            }

            search.Search([.. some.Select(_ => (int[])[Bos])]);
            for (int i = 0; i < some.Length; i++)
            {
                Assert.Equal(some[i].Target, Tokens(search, i));
            }
        }
    }

    [Fact]
    public void Greedy_outputs_behind_a_prefix()
    {
        (Transliterator model, JsonElement expected) = Load();
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 1 });
        foreach (JsonElement example in expected.GetProperty("with_prefix").EnumerateArray())
        {
            (int[] tokens, _) = Greedy(session, Ids(example.GetProperty("src"), Source), Ids(example.GetProperty("prefix"), Target));
            Assert.Equal([.. Ids(example.GetProperty("tgt"), Target), Eos], tokens);
        }
    }

    /// <summary>One beam, which is greedy decoding, two, which CTranslate2 has by default, and four, as its own tests have; by its rules a forced prefix is as good as certain.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Outputs_of_beam_search(int beams)
    {
        (Transliterator model, JsonElement expected) = Load();
        using EncoderDecoderSession session = model.CreateSession(new SessionOptions { Threads = 2, Batch = 2 * beams });
        var options = new BeamSearchOptions { Beams = beams, EndTokens = [Eos], MaxLength = 20, Stopping = BeamStopping.WhenFull, ScorePrefix = false };
        var search = new BeamSearch(session, options);

        // All examples are at home in one search.
        JsonElement[] examples = [.. expected.GetProperty("translate").EnumerateArray()];
        Assert.Equal(2, examples.Length);
        Encode(session, beams, examples);
        search.Search([[Bos], [Bos]]);
        Check(search, examples);

        JsonElement[] prefixed = [.. expected.GetProperty("with_prefix").EnumerateArray()];
        Encode(session, beams, prefixed);
        search.Search([[Bos], [Bos]], [.. prefixed.Select(e => Ids(e.GetProperty("prefix"), Target))]);
        Check(search, prefixed);

        JsonElement suppressed = expected.GetProperty("suppress_sequences")[0];
        var rules = new BeamSearch(session, options with { Suppressed = [.. suppressed.GetProperty("suppress").EnumerateArray().Select(s => Ids(s, Target))] });
        session.Encode(0, Ids(suppressed.GetProperty("src"), Source));
        rules.Search([Bos]);
        Check(rules, [suppressed]);

        // Another token may end outputs.
        var ended = new BeamSearch(session, options with { EndTokens = [Target["m"]] });
        session.Encode(0, Ids(examples[0].GetProperty("src"), Source));
        ended.Search([Bos]);
        Assert.Equal([.. Ids(expected.GetProperty("end_token_m"), Target), Target["m"]], Tokens(ended, 0));
    }

    private static void Encode(EncoderDecoderSession session, int beams, JsonElement[] examples)
    {
        for (int i = 0; i < examples.Length; i++)
        {
            session.Encode(i * beams, Ids(examples[i].GetProperty("src"), Source));
        }
    }

    private static int[] Tokens(BeamSearch search, int input) => search.Result(input).Tokens.ToArray();

    private static void Check(BeamSearch search, JsonElement[] examples)
    {
        for (int i = 0; i < examples.Length; i++)
        {
            Assert.Equal([.. Ids(examples[i].GetProperty("tgt"), Target), Eos], Tokens(search, i));
        }
    }

    private static (int[] Tokens, double LogProbability) Greedy(EncoderDecoderSession session, int[] source, int[] prefix)
    {
        session.Encode(source);
        var tokens = new List<int>();
        double sum = 0;
        int token = Bos;
        while (token != Eos && tokens.Count < 20)
        {
            ReadOnlySpan<float> logits = session.Decode(token);
            token = 0;
            for (int i = 0; i < logits.Length; i++)
            {
                token = logits[i] > logits[token] ? i : token;
            }

            token = tokens.Count < prefix.Length ? prefix[tokens.Count] : token;
            double total = 0;
            foreach (float logit in logits)
            {
                total += Math.Exp(logit - logits[token]);
            }

            sum -= Math.Log(total);
            tokens.Add(token);
        }

        return ([.. tokens], sum);
    }

    private static int[] Ids(JsonElement letters, Dictionary<string, int> vocabulary) => [.. letters.EnumerateArray().Select(t => vocabulary[t.GetString()!])];

    private static (Transliterator Model, JsonElement Expected) Load()
    {
        string expected = TestData.File("transliteration-transformer", "expected.json");
        return (Convert(TestData.File("transliteration-transformer", "aren-transliteration.safetensors")), JsonDocument.Parse(File.ReadAllText(expected)).RootElement);
    }

    /// <summary>The weights under PyTorch's names; those of queries, keys and values lie below each other in one matrix.</summary>
    private static Transliterator Convert(string path)
    {
        var file = new ReferenceFile(path);
        Transliterator model = Transliterator.Create();
        foreach (ParameterInfo parameter in Transliterator.Parameters)
        {
            string[] sources = Names(parameter.Name);
            float[] values = [.. sources.SelectMany(file.Floats)];
            Assert.Equal(parameter.Length, values.Length);
            values.CopyTo(model.Parameter(parameter.Name));
        }

        return model;
    }

    private static string[] Names(string parameter)
    {
        string[] parts = parameter.Split('.');
        string part = parts[^1].EndsWith("bias", StringComparison.Ordinal) ? "bias" : "weight", norm = part == "bias" ? "beta" : "gamma";
        switch (parts[0])
        {
            case "src_embed":
                return ["encoder/embeddings/weight"];
            case "tgt_embed":
                return ["decoder/embeddings/weight"];
            case "generator":
                return ["decoder/projection/" + part];
        }

        if (parts[2] == "norm")
        {
            return [$"{parts[1]}/layer_norm/{norm}"];
        }

        string layer = $"{parts[1]}/layer_{parts[3]}/";
        bool ofDecoder = parts[1] == "decoder";
        return (parts[4], parts[^1].StartsWith("in_proj", StringComparison.Ordinal)) switch
        {
            ("self_attn", true) => [layer + "self_attention/linear_0/" + part],
            ("self_attn", false) => [layer + "self_attention/linear_1/" + part],
            ("multihead_attn", true) => [layer + "attention/linear_0/" + part, layer + "attention/linear_1/" + part],
            ("multihead_attn", false) => [layer + "attention/linear_2/" + part],
            ("linear1", _) => [layer + "ffn/linear_0/" + part],
            ("linear2", _) => [layer + "ffn/linear_1/" + part],
            ("norm1", _) => [layer + "self_attention/layer_norm/" + norm],
            ("norm2", _) when ofDecoder => [layer + "attention/layer_norm/" + norm],
            _ => [layer + "ffn/layer_norm/" + norm],
        };
    }
}
