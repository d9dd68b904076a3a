using System.Globalization;
using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Rows;

/// <summary>Whole training steps: forward, backward and update.</summary>
internal static class StepRows
{
    public static IEnumerable<Measurement> Gpt2(MeasureSettings settings)
        => Language<Gpt2>(settings.Default(repeats: 3, seconds: 0.01), "gpt2-step", GptFlops(12, 768, 4 * 768, 50257, 4, 64), settings.ThreadCounts(2));

    public static IEnumerable<Measurement> CharGpt(MeasureSettings settings)
        => Language<CharGpt>(settings.Default(repeats: 9, seconds: 0.2), "chargpt-step", GptFlops(4, 128, 4 * 128, 256, 12, 64), settings.ThreadCounts(2));

    public static IEnumerable<Measurement> WordLstm(MeasureSettings settings)
        => Language<WordLstm>(settings.Default(repeats: 5, seconds: 0.2), "lstm-step", 6.0 * 32 * 35 * ((2 * 4 * 512 * 1024) + (512 * 10000)), settings.ThreadCounts(2));

    public static IEnumerable<Measurement> Seq2Seq(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.2);
        foreach (int threads in settings.ThreadCounts(2))
        {
            var options = new TrainerOptions { Threads = threads };
            AdamW optimizer = new() { LearningRate = 1e-4f };
            foreach ((string kind, Func<SequencePairTrainer> create) in new (string, Func<SequencePairTrainer>)[]
            {
                ("none", () => Seq2SeqNone.Create(1).CreateTrainer(optimizer, options)),
                ("dot", () => Seq2SeqDot.Create(1).CreateTrainer(optimizer, options)),
                ("additive", () => Seq2SeqAdditive.Create(1).CreateTrainer(optimizer, options)),
            })
            {
                yield return SequencePairs(own, "seq2seq-step", kind, threads, create, vocabulary: 2000);
            }
        }
    }

    public static IEnumerable<Measurement> Transformer(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 5, seconds: 0.2);
        foreach (int threads in settings.ThreadCounts(2))
        {
            yield return SequencePairs(own, "transformer-step", "", threads, () => TransformerBaseLayers.Create(1).CreateTrainer(new AdamW { LearningRate = 1e-4f }, new TrainerOptions { Threads = threads }), vocabulary: 1000);
        }
    }

    public static IEnumerable<Measurement> TinyMlp(MeasureSettings settings)
    {
        MeasureSettings own = settings.Default(repeats: 9, seconds: 0.1);
        foreach (int threads in settings.ThreadCounts(1))
        {
            TinyMlp model = ModelGen.Benchmarks.TinyMlp.Create(1);
            using RegressionTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-3f, WeightDecay = 0 }, new TrainerOptions { Threads = threads });
            float[] inputs = [0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, -0.1f, -0.2f, -0.3f, -0.4f, 0.4f, 0.3f, 0.2f, 0.1f];
            float[] targets = [0.5f, 1f, -0.5f, 0.25f];
            yield return new Measurement
            {
                Row = "mlp-step",
                Threads = threads,
                Seconds = Stopclock.Run(own, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        trainer.Step(inputs, targets);
                    }
                }),
            };
        }
    }

    /// <summary>The peak of a process that has done nothing but this, beside what the emitted constants promise and what llm.c takes.</summary>
    public static IEnumerable<Measurement> Memory(MeasureSettings settings)
    {
        foreach (int threads in settings.ThreadCounts(2))
        {
            double runtimeAlone = PeakResidentBytes();
            Gpt2 model = ModelGen.Benchmarks.Gpt2.Create(1);
            using TokenTrainer trainer = model.CreateTrainer(new AdamW(), new TrainerOptions { Threads = threads });
            (int[] inputs, int[] targets) = Tokens(trainer);
            for (int step = 0; step < 2; step++)
            {
                trainer.Step(inputs, targets);
            }

            yield return new Measurement
            {
                Row = "memory",
                Threads = threads,
                Values =
                {
                    ["peak resident"] = PeakResidentBytes(),
                    ["runtime alone"] = runtimeAlone,
                    ["training arena"] = ModelGen.Benchmarks.Gpt2.TrainingArenaBytes,
                    ["training"] = ModelGen.Benchmarks.Gpt2.AdamWTrainingBytes,
                    ["scratch"] = (double)ModelGen.Benchmarks.Gpt2.WorkerScratchBytes * threads,
                    ["llm.c activations"] = LlmcActivationBytes(12, 768, 12, 50257, 4, 64),
                    ["llm.c parameters"] = 16.0 * ModelGen.Benchmarks.Gpt2.ParameterCount,
                },
            };
        }
    }

    /// <summary>Times the steps of one language model, always on the same tokens.</summary>
    public static IEnumerable<Measurement> Language<TModel>(MeasureSettings settings, string row, double flops, IEnumerable<int> threadCounts, string name = "")
        where TModel : ITrainableLanguageModel<TModel>
    {
        TModel model = TModel.Create(1);
        foreach (int threads in threadCounts)
        {
            using TokenTrainer trainer = model.CreateTrainer(new AdamW { LearningRate = 1e-4f }, new TrainerOptions { Threads = threads });
            (int[] inputs, int[] targets) = Tokens(trainer);
            yield return new Measurement
            {
                Row = row,
                Case = name,
                Threads = threads,
                Flops = flops,
                Tokens = inputs.Length,
                Seconds = Stopclock.Run(settings, count =>
                {
                    for (int i = 0; i < count; i++)
                    {
                        trainer.Step(inputs, targets);
                    }
                }),
            };
        }
    }

    /// <summary>Times the steps of one encoder–decoder, always on the same sequences, all of full length.</summary>
    private static Measurement SequencePairs(MeasureSettings settings, string row, string name, int threads, Func<SequencePairTrainer> create, int vocabulary)
    {
        using SequencePairTrainer trainer = create();
        int count = trainer.BatchSize * trainer.SequenceLength;
        int[] source = [.. Enumerable.Range(0, count).Select(i => i * 7919 % vocabulary)], targets = [.. Enumerable.Range(1, count).Select(i => i * 7919 % vocabulary)];
        int[] lengths = [.. Enumerable.Repeat(trainer.SequenceLength, trainer.BatchSize)];
        return new Measurement
        {
            Row = row,
            Case = name,
            Threads = threads,
            Tokens = count,
            Seconds = Stopclock.Run(settings, operations =>
            {
                for (int i = 0; i < operations; i++)
                {
                    trainer.Step(source, lengths, source, targets);
                }
            }),
        };
    }

    /// <summary>
    /// The floating-point operations of a GPT's training step that are in its matrix products and its attention; a multiply-add counts
    /// as two. Backward costs twice what forward does, but attention, which forms its scores again, takes five products for two.
    /// </summary>
    public static double GptFlops(double layers, double width, double feedForward, double vocabulary, double batch, double length)
    {
        double weights = (layers * ((4 * width * width) + (2 * width * feedForward))) + (width * vocabulary);
        return (6 * weights * batch * length) + (layers * AttentionRow.Flops(batch, length, width));
    }

    private static (int[] Inputs, int[] Targets) Tokens(TokenTrainer trainer)
    {
        int count = trainer.BatchSize * trainer.SequenceLength;
        var inputs = new int[count];
        var targets = new int[count];
        for (int i = 0; i < count; i++)
        {
            inputs[i] = (int)(i * 7919L % trainer.VocabularySize);
            targets[i] = (int)((i + 1) * 7919L % trainer.VocabularySize);
        }

        return (inputs, targets);
    }

    /// <summary>
    /// What llm.c's train_gpt2.c allocates for activations, tensor by tensor. It allocates as much again for their gradients, which the
    /// comparison does not count.
    /// </summary>
    private static double LlmcActivationBytes(double layers, double width, double heads, double vocabulary, double batch, double length)
    {
        double positions = batch * length;
        double perLayer = (18 * positions * width) + (4 * positions) + (2 * batch * heads * length * length);
        double aroundThem = (2 * positions * width) + (3 * positions) + (2 * positions * vocabulary);
        return 4 * ((layers * perLayer) + aroundThem);
    }

    private static double PeakResidentBytes()
    {
        const string status = "/proc/self/status";
        if (!File.Exists(status))
        {
            return double.NaN;
        }

        string line = File.ReadLines(status).First(static l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        return 1024.0 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
