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

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.2);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            var options = new SessionOptions { Threads = threads };
            using (BertBase.Session session = BertBase.Create(1).CreateSession(options))
            {
                yield return Measured("bert-base", 12, 768, (tokens, hidden) => session.Predict(1, SentenceTokens, tokens, default, default, hidden));
            }

            using (MiniLm.Session session = MiniLm.Create(1).CreateSession(options))
            {
                yield return Measured("minilm", 6, 384, (tokens, hidden) => session.Predict(1, SentenceTokens, tokens, default, default, hidden));
            }

            Measurement Measured(string name, double layers, int width, Predict predict)
            {
                int[] tokens = Sentence();
                float[] hidden = new float[SentenceTokens * width];
                return new Measurement
                {
                    Row = "encoder",
                    Case = name,
                    Threads = threads,
                    Tokens = SentenceTokens,
                    Flops = layers * 2 * SentenceTokens * width * ((12.0 * width) + (2 * SentenceTokens)),
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

    private static int[] Sentence() => [.. Enumerable.Range(0, SentenceTokens).Select(i => i * 7919 % Vocabulary)];
}
