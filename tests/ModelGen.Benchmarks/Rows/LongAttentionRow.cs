using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Rows;

/// <summary>One layer over sequences of up to 16,384 tokens: a training step and a prefill, with a window, with sparse patterns and with full attention.</summary>
internal static class LongAttentionRow
{
    public static IEnumerable<Measurement> Measure(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 3, seconds: 0.1);
        foreach (int threads in settings.ThreadCounts(2))
        {
            yield return Step<Window1K>(own, threads, "window 256", Window1K.TrainingArenaBytes + (threads * Window1K.WorkerScratchBytes));
            yield return Step<Window4K>(own, threads, "window 256", Window4K.TrainingArenaBytes + (threads * Window4K.WorkerScratchBytes));
            yield return Step<Window16K>(own, threads, "window 256", Window16K.TrainingArenaBytes + (threads * Window16K.WorkerScratchBytes));
            yield return Step<Strided1K>(own, threads, "strided 128", Strided1K.TrainingArenaBytes + (threads * Strided1K.WorkerScratchBytes));
            yield return Step<Strided4K>(own, threads, "strided 128", Strided4K.TrainingArenaBytes + (threads * Strided4K.WorkerScratchBytes));
            yield return Step<Strided16K>(own, threads, "strided 128", Strided16K.TrainingArenaBytes + (threads * Strided16K.WorkerScratchBytes));
            yield return Step<Full1K>(own, threads, "full", Full1K.TrainingArenaBytes + (threads * Full1K.WorkerScratchBytes));
            yield return Step<Full4K>(own, threads, "full", Full4K.TrainingArenaBytes + (threads * Full4K.WorkerScratchBytes));
            yield return Step<Full16K>(own, threads, "full", Full16K.TrainingArenaBytes + (threads * Full16K.WorkerScratchBytes));
            foreach (int length in new[] { 1024, 4096, 16384 })
            {
                yield return Prefill<Window16K>(own, threads, "window 256", length, Window16K.InferenceArenaBytes + Window16K.SessionStateBytes);
                yield return Prefill<Full16K>(own, threads, "full", length, Full16K.InferenceArenaBytes + Full16K.SessionStateBytes);
            }
        }
    }

    private static Measurement Step<TModel>(MeasureSettings settings, int threads, string pattern, long bytes)
        where TModel : ITrainableLanguageModel<TModel>
    {
        using TokenTrainer trainer = TModel.Create(seed: 1).CreateTrainer(new Sgd(), new TrainerOptions { Threads = threads });
        int[] tokens = Tokens(TModel.TrainingSequenceLength, TModel.VocabularySize);
        return Of(pattern, "step", threads, tokens.Length, bytes, Stopclock.Run(settings, count =>
        {
            for (int i = 0; i < count; i++)
            {
                trainer.Step(tokens, tokens);
            }
        }));
    }

    private static Measurement Prefill<TModel>(MeasureSettings settings, int threads, string pattern, int length, long bytes)
        where TModel : ICausalLanguageModel<TModel>
    {
        using CausalSession session = TModel.Create(seed: 1).CreateSession(new SessionOptions { Threads = threads });
        int[] tokens = Tokens(length, TModel.VocabularySize);
        return Of(pattern, "prefill", threads, length, bytes, Stopclock.Run(settings, count =>
        {
            for (int i = 0; i < count; i++)
            {
                session.Reset();
                session.Prefill(tokens);
            }
        }));
    }

    private static Measurement Of(string pattern, string what, int threads, int length, long bytes, double[] seconds) => new()
    {
        Row = "long-attention",
        Case = FormattableString.Invariant($"{pattern}, {what}, T {length}"),
        Threads = threads,
        Seconds = seconds,
        Values = { ["bytes a token"] = (double)bytes / length },
    };

    private static int[] Tokens(int count, int vocabulary) => [.. Enumerable.Range(0, count).Select(i => i * 7 % vocabulary)];
}
