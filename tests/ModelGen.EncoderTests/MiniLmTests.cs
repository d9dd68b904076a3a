using System.Text.Json;
using FastBertTokenizer;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.EncoderTests;

/// <summary>A real, trained encoder: all-MiniLM-L6-v2 against ONNX Runtime's numbers.</summary>
public sealed class MiniLmTests
{
    private const double Tolerance = 1e-5;

    private sealed record Case(string Text, int[] Ids, float[] First, float[] Embedding);

    private static readonly Lazy<Case[]> s_cases = new(() =>
    {
        using JsonDocument file = JsonDocument.Parse(File.ReadAllText(TestData.File("minilm", "cases.json")));
        return [.. file.RootElement.GetProperty("cases").EnumerateArray().Select(c => c.Deserialize<Case>(new JsonSerializerOptions { PropertyNameCaseInsensitive = true })!)];
    });

    [Fact]
    public void Tokens_are_those_of_the_reference()
    {
        BertTokenizer tokenizer = MiniLm.Trained.Tokenizer;
        foreach (Case c in s_cases.Value)
        {
            Assert.Equal(c.Ids, Ids(tokenizer, c.Text));
        }
    }

    [Fact]
    public void A_sentence_alone_has_the_reference_vector()
    {
        using MiniLm.Session session = MiniLm.Trained.Model.CreateSession();
        foreach (Case c in s_cases.Value)
        {
            (float[] hidden, float[] embedding) = (new float[c.Ids.Length * 384], new float[384]);
            session.Predict(1, c.Ids.Length, c.Ids, default, default, hidden, default);
            session.Embed(1, c.Ids.Length, c.Ids, default, default, embedding);
            Near(c.First, hidden.AsSpan(0, c.First.Length), c.Text);
            Near(c.Embedding, embedding, c.Text);
        }
    }

    /// <summary>Padding changes no bit of a sentence's own, whatever it holds.</summary>
    [Fact]
    public void A_padded_batch_has_the_reference_vectors()
    {
        Case[] cases = s_cases.Value;
        int steps = cases.Max(c => c.Ids.Length) + 3;
        using MiniLm.Session session = MiniLm.Trained.Model.CreateSession();
        float[]? before = null;
        foreach (int padding in new[] { 0, 7 })
        {
            int[] tokens = [.. cases.SelectMany(c => c.Ids.Concat(Enumerable.Repeat(padding, steps - c.Ids.Length)))], lengths = [.. cases.Select(c => c.Ids.Length)];
            (float[] hidden, float[] embeddings) = (new float[tokens.Length * 384], new float[cases.Length * 384]);
            session.Predict(cases.Length, steps, tokens, default, lengths, hidden, default);
            session.Embed(cases.Length, steps, tokens, default, lengths, embeddings);
            for (int i = 0; i < cases.Length; i++)
            {
                Near(cases[i].First, hidden.AsSpan(i * steps * 384, cases[i].First.Length), cases[i].Text);
                Near(cases[i].Embedding, embeddings.AsSpan(i * 384, 384), cases[i].Text);
            }

            Assert.Equal(before ?? embeddings, embeddings);
            before = embeddings;
        }
    }

    /// <summary>Of a dozen pairs that people would call the same, each sentence is nearer to its other half than to any other sentence.</summary>
    [Fact]
    public void Sentences_are_ranked_as_people_would()
    {
        (string Text, string Same)[] pairs =
        [
            ("A man is eating food.", "A man is eating a piece of bread."),
            ("How do I reset my password?", "I forgot my login and need a new one."),
            ("The girl is carrying a baby.", "A young woman holds an infant in her arms."),
            ("The stock market fell sharply today.", "Share prices dropped a lot this afternoon."),
            ("Where can I buy train tickets?", "How do I get a ticket for the railway?"),
            ("She plays the violin in an orchestra.", "She is a musician."),
            ("The cat sat on the mat.", "A kitten was resting on a rug."),
            ("It is raining heavily.", "There is a downpour outside."),
            ("He was the king of France.", "He ruled France as its monarch."),
            ("The bank raised its interest rate.", "The lender now charges more for loans."),
            ("My phone's battery is empty.", "I need to charge my mobile."),
            ("The recipe needs two eggs.", "You have to add a couple of eggs."),
        ];
        (MiniLm model, BertTokenizer tokenizer) = MiniLm.Trained;
        using MiniLm.Session session = model.CreateSession();
        float[] Embedded(string text)
        {
            int[] ids = Ids(tokenizer, text);
            float[] embedding = new float[384];
            session.Embed(1, ids.Length, ids, default, default, embedding);
            return embedding;
        }

        string[] all = [.. pairs.Select(p => p.Text), .. pairs.Select(p => p.Same)];
        float[][] embeddings = [.. all.Select(Embedded)];
        for (int i = 0; i < pairs.Length; i++)
        {
            double Cosine(int to) => embeddings[i].Zip(embeddings[to], (a, b) => (double)a * b).Sum();
            int nearest = Enumerable.Range(0, all.Length).Where(j => j != i).MaxBy(Cosine);
            Assert.True(nearest == pairs.Length + i, $"{all[i]} is nearer to {all[nearest]} ({Cosine(nearest):F3}) than to {pairs[i].Same} ({Cosine(pairs.Length + i):F3})");
        }
    }

    [Fact]
    public void A_call_allocates_nothing()
    {
        Case c = s_cases.Value[0];
        float[] embedding = new float[384];
        using MiniLm.Session session = MiniLm.Trained.Model.CreateSession();
        session.Embed(1, c.Ids.Length, c.Ids, default, default, embedding);
        long least = long.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            session.Embed(1, c.Ids.Length, c.Ids, default, default, embedding);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private static int[] Ids(BertTokenizer tokenizer, string text)
    {
        (Memory<long> ids, _, _) = tokenizer.Encode(text, 512);
        return [.. ids.ToArray().Select(i => (int)i)];
    }

    private static void Near(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= Tolerance, $"{what}: {actual[i]} at {i}, and {expected[i]} is expected");
        }
    }
}
