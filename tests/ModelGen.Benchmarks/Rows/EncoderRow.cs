using System.Runtime.InteropServices;
using ModelGen.Benchmarks.Measuring;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Rows;

/// <summary>Encoders of BERT's kind: the hidden states of one sentence.</summary>
internal static class EncoderRow
{
    private const int SentenceTokens = 128;
    private const int Vocabulary = 30522;

    private delegate void Predict(ReadOnlySpan<int> tokens, Span<float> hidden);

    private delegate IDisposable Start(SessionOptions options, out Predict predict);

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.2);
        int[] tokens = Sentence();
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            foreach (Case encoder in Cases())
            {
                float[] hidden = new float[SentenceTokens * encoder.Width];
                using IDisposable session = encoder.Session(new SessionOptions { Threads = threads }, out Predict predict);
                yield return new Measurement
                {
                    Row = "encoder",
                    Case = encoder.Name,
                    Threads = threads,
                    Tokens = SentenceTokens,
                    Flops = encoder.Layers * 2.0 * SentenceTokens * encoder.Width * ((12.0 * encoder.Width) + (2 * SentenceTokens)),
                    Seconds = Stopclock.Run(own, count =>
                    {
                        for (int i = 0; i < count; i++)
                        {
                            predict(tokens, hidden);
                        }
                    }),
                };
            }
        }
    }

    /// <summary>Writes what a peer reads, for each encoder: its weights, the tokens, and the hidden states that the peer must find too.</summary>
    public static void Export(string folder)
    {
        Directory.CreateDirectory(folder);
        int[] tokens = Sentence();
        foreach (Case encoder in Cases())
        {
            float[] hidden = new float[SentenceTokens * encoder.Width];
            using IDisposable session = encoder.Session(new SessionOptions(), out Predict predict);
            predict(tokens, hidden);
            string path = Path.Combine(folder, encoder.Name);
            encoder.Save(path + ".safetensors");
            File.WriteAllBytes(path + ".tokens", MemoryMarshal.AsBytes(tokens.AsSpan()));
            File.WriteAllBytes(path + ".hidden", MemoryMarshal.AsBytes(hidden.AsSpan()));
        }
    }

    private static IEnumerable<Case> Cases()
    {
        BertBase bert = BertBase.Create(1);
        yield return new Case("bert-base", 12, 768, bert.Save, Bert);
        MiniLm small = MiniLm.Create(1);
        yield return new Case("minilm", 6, 384, small.Save, Small);

        IDisposable Bert(SessionOptions options, out Predict predict)
        {
            BertBase.Session session = bert.CreateSession(options);
            predict = (tokens, hidden) => session.Predict(1, SentenceTokens, tokens, default, default, hidden);
            return session;
        }

        IDisposable Small(SessionOptions options, out Predict predict)
        {
            MiniLm.Session session = small.CreateSession(options);
            predict = (tokens, hidden) => session.Predict(1, SentenceTokens, tokens, default, default, hidden);
            return session;
        }
    }

    private static int[] Sentence() => [.. Enumerable.Range(0, SentenceTokens).Select(i => i * 7919 % Vocabulary)];

    private sealed record Case(string Name, int Layers, int Width, Action<string> Save, Start Session);
}
