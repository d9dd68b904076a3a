using System.Diagnostics;
using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Rows;

/// <summary>Prompts of few tokens, where reading and unpacking the weights is most of the work, in turn with decoding one token.</summary>
internal static class ShortPromptRow
{
    private static readonly int[] Lengths = [1, 2, 4, 8, 16, 32, 64];

    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
        => Of<LlamaLayersF32>("F32", settings).Concat(Of<LlamaLayersF16>("F16", settings)).Concat(Of<LlamaLayersBF16>("BF16", settings)).Concat(Of<LlamaLayersQ80>("Q8_0", settings))
            .Concat(Of<LlamaLayersQ40>("Q4_0", settings)).Concat(Of<LlamaLayersQ4K>("Q4_K", settings)).Concat(Of<LlamaLayersQ6K>("Q6_K", settings));

    private static IEnumerable<Measurement> Of<TModel>(string format, MeasureSettings settings)
        where TModel : class, ICausalLanguageModel<TModel>
    {
        MeasureSettings own = settings.Default(repeats: 15, seconds: 0.1);
        TModel model = TModel.Create(1);
        foreach (int threads in settings.ThreadCounts(1, 2))
        {
            using CausalSession session = model.CreateSession(new SessionOptions { Threads = threads });
            int[] prompt = [.. Enumerable.Range(0, Lengths[^1]).Select(i => i * 191 % session.VocabularySize)];

            // Length 0 is the token that is decoded. Rounds take turns, so that a disturbance falls on all.
            double[][] seconds = [.. Lengths.Select(_ => new double[own.Repeats]).Prepend(new double[own.Repeats])];
            for (int round = -1; round < own.Repeats; round++)
            {
                for (int i = 0; i < seconds.Length; i++)
                {
                    session.Reset();
                    long start = Stopwatch.GetTimestamp();
                    if (i == 0)
                    {
                        session.Decode(prompt[0]);
                    }
                    else
                    {
                        session.Prefill(prompt.AsSpan(0, Lengths[i - 1]));
                    }

                    if (round >= 0)
                    {
                        seconds[i][round] = Stopwatch.GetElapsedTime(start).TotalSeconds;
                    }
                }
            }

            for (int i = 0; i < seconds.Length; i++)
            {
                yield return new Measurement
                {
                    Row = "short-prompt",
                    Case = i == 0 ? $"{format}, one token decoded" : FormattableString.Invariant($"{format}, {Lengths[i - 1]} tokens"),
                    Threads = threads,
                    Tokens = i == 0 ? 1 : Lengths[i - 1],
                    Seconds = seconds[i],
                };
            }
        }
    }
}
