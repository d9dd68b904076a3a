using ModelGen.Tests.Cuda;

namespace ModelGen.GpuCheck;

/// <summary>What a device computes against what the processor's code in the same program does.</summary>
internal static class Checks
{
    // Of single precision whose sums have other trees; of steps, whose updates divide by roots of small numbers; of factors that are rounded.
    private const double Exact = 1e-4;
    public const double Steps = 1e-3;
    private const double Tf32 = 1e-2;
    private const double Bf16 = 6e-2;

    // Of quantized weights, whose inputs the processor rounds to 8 bits and a device does not.
    private const double Quantized = 5e-2;

    private static Device s_device = Device.Cpu;

    /// <summary>An optimizer that does not make much of gradients that are as good as zero.</summary>
    public static AdamW Optimizer => new() { LearningRate = 0.01f, Epsilon = 1e-3f, GradientClip = 0.5f, WeightDecay = 0.1f };

    public static void Run(Report report, Device device)
    {
        s_device = device;
        report.Check("DeviceGpt: prefill and decode", Exact, LanguageModel<DeviceGpt>);
        report.Check("SeparateGpt: prefill and decode", Exact, LanguageModel<SeparateGpt>);
        report.Check("DeviceWindowGpt: prefill and decode", Exact, LanguageModel<DeviceWindowGpt>);
        report.Check("DeviceDecoder: prefill and decode", Exact, LanguageModel<DeviceDecoder>);
        report.Check("DeviceLstm: prefill and decode", Exact, LanguageModel<DeviceLstm>);
        report.Check("SeparateLstm: prefill and decode", Exact, LanguageModel<SeparateLstm>);
        report.Check("RoundedGpt: prefill and decode, bf16", Bf16, LanguageModel<RoundedGpt>);
        report.Check("RoundedLstm: prefill and decode, tf32", Tf32, LanguageModel<RoundedLstm>);
        report.Check("DeviceHalf: prefill and decode, weights in F16", Exact, LanguageModel<DeviceHalf>);
        report.Check("DeviceBrain: prefill and decode, weights in BF16", Exact, LanguageModel<DeviceBrain>);
        report.Check("DeviceEight: prefill and decode, weights in Q8_0", Quantized, LanguageModel<DeviceEight>);
        report.Check("DeviceFour: prefill and decode, weights in Q4_0, tf32", Quantized, LanguageModel<DeviceFour>);
        report.Check("DeviceWindowGpt: several sequences", Exact, Batch<DeviceWindowGpt>);
        report.Check("DeviceLstm: several sequences", Exact, Batch<DeviceLstm>);
        report.Check("DeviceTransformer: encode and decode", Exact, Pairs<DeviceTransformer>);
        report.Check("DeviceSeq2Seq: encode and decode", Exact, Pairs<DeviceSeq2Seq>);
        report.Check("DeviceT5: encode and decode", Exact, Pairs<DeviceT5>);
        report.Check("DeviceStateSpace: prefill and decode", Exact, LanguageModel<DeviceStateSpace>);
        report.Check("DeviceDelta: prefill and decode", Exact, LanguageModel<DeviceDelta>);
        report.Check("DeviceHalfExperts: prefill and decode, experts' weights in F16", Exact, LanguageModel<DeviceHalfExperts>);
        report.Check("DeviceMixed: prefill and decode, weights in four formats, bf16", Bf16, LanguageModel<DeviceMixed>);
        report.Check("DeviceHalfCache: prefill and decode, caches in F16", 1e-3, LanguageModel<DeviceHalfCache>);
        report.Check("DeviceByteCache: prefill and decode, caches in Q8_0", Tf32, LanguageModel<DeviceByteCache>);
        report.Check("WarpgroupGpt: prefill and decode, bf16, by groups of four warps where those are", Bf16, LanguageModel<WarpgroupGpt>);
        report.Check("DeviceDecoder: several sequences", Exact, Batch<DeviceDecoder>);
        report.Check("DeviceStateSpace: several sequences", Exact, Batch<DeviceStateSpace>);
        report.Check("DeviceDelta: several sequences", Exact, Batch<DeviceDelta>);
        report.Check("DeviceHalfCache: several sequences", 1e-3, Batch<DeviceHalfCache>);
        report.Check("DeviceMlp: predict", Exact, Predict);
        report.Check("DeviceBert: embed and predict", Exact, Embeddings);
        report.Check("DeviceNnlm and DeviceWords: predict and encode", Exact, Words);
        report.Check("DeviceRegressor: one step after the other", Exact, Regressor);
        report.Check("DeviceTagger: predict", Exact, Tagger);
        Trainers(report);
        report.Check("the same bits twice, and in one launch or many", 0, SameBits);
    }

    private static void Trainers(Report report)
    {
        Train(report, "DeviceGpt", Steps, DeviceGpt.Parameters, o => DeviceGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        Train(report, "SeparateGpt", Steps, SeparateGpt.Parameters, o => SeparateGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        Train(report, "RoundedGpt, bf16", Bf16, RoundedGpt.Parameters, o => RoundedGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)));
        Train(report, "DeviceWindowGpt", Steps, DeviceWindowGpt.Parameters, o => DeviceWindowGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        Train(report, "DeviceDecoder", Steps, DeviceDecoder.Parameters, o => DeviceDecoder.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        Train(report, "DeviceLstm", Steps, DeviceLstm.Parameters, o => DeviceLstm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)));
        Train(report, "SeparateLstm", Steps, SeparateLstm.Parameters, o => SeparateLstm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)));
        Train(report, "RoundedLstm, tf32", Tf32, RoundedLstm.Parameters, o => RoundedLstm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)));
        Train(report, "LibraryGpt, by cuBLASLt where it is installed", Steps, LibraryGpt.Parameters, o => LibraryGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        Train(report, "RoundedLibraryGpt, bf16, by cuBLASLt where it is installed", Bf16, RoundedLibraryGpt.Parameters, o => RoundedLibraryGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)));
        Train(report, "LibraryMlp, by cuBLASLt where it is installed", Steps, LibraryMlp.Parameters, o => LibraryMlp.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Numbers(42), Ids(6, 3, i)));
        Train(report, "LibraryLstm, tf32, by cuBLASLt where it is installed", Tf32, LibraryLstm.Parameters, o => LibraryLstm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 13, i + 5)));
        Train(report, "WarpgroupGpt, bf16, by groups of four warps where those are", Bf16, WarpgroupGpt.Parameters, o => WarpgroupGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)));
        Train(report, "StochasticGpt, bf16, drawn", Bf16, StochasticGpt.Parameters, o => StochasticGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)));
        Train(report, "StochasticWarpgroupGpt, bf16, drawn", Bf16, StochasticWarpgroupGpt.Parameters, o => StochasticWarpgroupGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(36, 17, i), Ids(36, 17, i + 5)));
        Train(report, "RoundedMlp, bf16", Bf16, RoundedMlp.Parameters, o => RoundedMlp.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Numbers(20), Ids(4, 3, i)));
        Train(report, "DeviceQlora, adapters over packed weights", Quantized, DeviceQlora.Parameters, o => DeviceQlora.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(18, 53, i), Ids(18, 53, i + 5)));
        Train(report, "SeparateTransformer", Steps, SeparateTransformer.Parameters, o => SeparateTransformer.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)));
        Train(report, "SeparateBert", Steps, SeparateBert.Parameters, o => SeparateBert.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ids(12, 13, i + 5), [1, 0]));
        Train(report, "DeviceT5", Steps, DeviceT5.Parameters, o => DeviceT5.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 13, i), Ids(10, 13, i + 5)));
        Train(report, "DeviceTransformer", Steps, DeviceTransformer.Parameters, o => DeviceTransformer.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)));
        Train(report, "DeviceSeq2Seq", Steps, DeviceSeq2Seq.Parameters, o => DeviceSeq2Seq.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)));
        Train(report, "DeviceBert", Steps, DeviceBert.Parameters, o => DeviceBert.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ids(12, 13, i + 5), [1, 0]));
        Train(report, "DeviceMlp", Steps, DeviceMlp.Parameters, o => DeviceMlp.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Numbers(20), Ids(4, 3, i)));
        Train(report, "DeviceNnlm", Steps, DeviceNnlm.Parameters, o => DeviceNnlm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(9, 11, i), Ids(3, 11, i + 5)));
        Train(report, "DeviceWords", Steps, DeviceWords.Parameters, o => DeviceWords.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(6, 9, i), [1, 2, 2], Ids(3, 9, i + 5)));
        Train(report, "DeviceRegressor", Steps, DeviceRegressor.Parameters, o => DeviceRegressor.Create(3).CreateTrainer(Optimizer, o), (t, _) => t.Step(Numbers(16), Numbers(24)));
        Train(report, "DeviceTagger", Steps, DeviceTagger.Parameters, o => DeviceTagger.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 11, i), [5, 3], Ids(10, 4, i + 5)));
    }

    /// <summary>Three steps: losses, norms, the gradients of the first, where weights are equal, each by its size, and those of the last.</summary>
    private static void Train<TTrainer>(Report report, string name, double tolerance, IReadOnlyList<ParameterInfo> parameters, Func<TrainerOptions, TTrainer> create, Func<TTrainer, int, float> step)
        where TTrainer : Trainer
        => report.Check($"{name}: three steps", tolerance, () =>
        {
            using TTrainer here = create(new TrainerOptions { Seed = 5 }), there = create(new TrainerOptions { Seed = 5, Device = s_device });
            double error = 0;
            for (int i = 0; i < 3; i++)
            {
                error = Math.Max(error, Error([step(here, i)], [step(there, i)]));
                error = Math.Max(error, Error([here.GradientNorm], [there.GradientNorm]));
                error = i == 0 ? Math.Max(error, OfGradients(here, there, parameters)) : error;
            }

            foreach (ParameterInfo parameter in parameters.Where(p => !p.IsFrozen && !p.IsTable))
            {
                error = Math.Max(error, Error(here.Gradient(parameter.Name), there.Gradient(parameter.Name)));
            }

            return error;
        });

    /// <summary>The largest distance between gradients of a parameter, in parts of their norm; of one that has next to none, in parts of a hundredth of the norm of all.</summary>
    public static double OfGradients(Trainer here, Trainer there, IReadOnlyList<ParameterInfo> parameters)
    {
        double least = Math.Max(1e-2 * here.GradientNorm, 1e-30), error = 0;
        foreach (ParameterInfo parameter in parameters.Where(p => !p.IsFrozen && !p.IsTable))
        {
            ReadOnlySpan<float> expected = here.Gradient(parameter.Name), actual = there.Gradient(parameter.Name);
            error = Larger(error, Distance(expected, actual) / Math.Max(least, Norm(expected)));
        }

        return error;
    }

    /// <summary>The distance of results from what is expected, in parts of its norm.</summary>
    public static double Relative(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual) => Larger(0, Distance(expected, actual) / Math.Max(Norm(expected), 1e-30));

    private static double Norm(ReadOnlySpan<float> numbers) => Distance(numbers, new float[numbers.Length]);

    private static double Distance(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        double sum = expected.Length == actual.Length ? 0 : double.PositiveInfinity;
        for (int i = 0; i < Math.Min(expected.Length, actual.Length); i++)
        {
            sum += ((double)expected[i] - actual[i]) * ((double)expected[i] - actual[i]);
        }

        return Math.Sqrt(sum);
    }

    // What is no number is as far away as can be.
    private static double Larger(double error, double other) => double.IsNaN(other) ? double.PositiveInfinity : Math.Max(error, other);

    private static double LanguageModel<TModel>()
        where TModel : ICausalLanguageModel<TModel>
    {
        var model = TModel.Create(seed: 7);
        using CausalSession here = model.CreateSession(null), there = model.CreateSession(new SessionOptions { Device = s_device });
        int[] ids = Ids(9, TModel.VocabularySize, 1);
        double error = Error(here.Prefill(ids.AsSpan(0, 3)), there.Prefill(ids.AsSpan(0, 3)));
        foreach (int token in ids[3..])
        {
            error = Math.Max(error, Error(here.Decode(token), there.Decode(token)));
        }

        return error;
    }

    private static double Batch<TModel>()
        where TModel : ICausalLanguageModel<TModel>
    {
        var model = TModel.Create(seed: 7);
        using CausalSession here = model.CreateSession(new SessionOptions { Batch = 3 }), there = model.CreateSession(new SessionOptions { Batch = 3, Device = s_device });
        double error = 0;
        for (int row = 0; row < 3; row++)
        {
            int[] ids = Ids(2 + row, TModel.VocabularySize, row);
            error = Math.Max(error, Error(here.Prefill(row, ids), there.Prefill(row, ids)));
        }

        foreach (int[] tokens in new int[][] { [1, 2, 3], [-1, 4, -1], [5, 6, 7] })
        {
            error = Math.Max(error, Error(here.Decode(tokens), there.Decode(tokens)));
        }

        return error;
    }

    private static double Pairs<TModel>()
        where TModel : IEncoderDecoderModel<TModel>
    {
        var model = TModel.Create(seed: 7);
        using EncoderDecoderSession here = model.CreateSession(new SessionOptions { Batch = 3 }), there = model.CreateSession(new SessionOptions { Batch = 3, Device = s_device });
        for (int row = 0; row < 3; row++)
        {
            int[] ids = Ids(2 + (2 * row), TModel.SourceVocabularySize, row);
            here.Encode(row, ids);
            there.Encode(row, ids);
        }

        double error = Error(here.Decode([1, 2, 3]), there.Decode([1, 2, 3]));
        here.Reorder([0, 0, 2]);
        there.Reorder([0, 0, 2]);
        return Math.Max(error, Error(here.Decode([5, 6, 7]), there.Decode([5, 6, 7])));
    }

    private static double Predict()
    {
        DeviceMlp model = DeviceMlp.Create(seed: 7);
        using DeviceMlp.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = s_device });
        double error = 0;
        foreach (int rows in new[] { 1, 3, 300 })
        {
            float[] expected = new float[rows * 3], actual = new float[rows * 3];
            here.Predict(Numbers(rows * 5), expected);
            there.Predict(Numbers(rows * 5), actual);
            error = Math.Max(error, Error(expected, actual));
        }

        return error;
    }

    private static double Embeddings()
    {
        DeviceBert model = DeviceBert.Create(seed: 7);
        using DeviceBert.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = s_device });
        double error = 0;
        foreach ((int batch, int steps) in new[] { (1, 3), (3, 7), (2, 5) })
        {
            int[] tokens = Ids(batch * steps, 13, 1), segments = Ids(batch * steps, 2, 1), lengths = [.. Enumerable.Range(0, batch).Select(b => steps - b)];
            float[][] expected = [new float[batch * 12], new float[batch * steps * 13], new float[batch * 2]], actual = [new float[batch * 12], new float[batch * steps * 13], new float[batch * 2]];
            here.Embed(batch, steps, tokens, segments, lengths, expected[0]);
            there.Embed(batch, steps, tokens, segments, lengths, actual[0]);
            here.Predict(batch, steps, tokens, [], lengths, expected[1], expected[2]);
            there.Predict(batch, steps, tokens, [], lengths, actual[1], actual[2]);
            error = Math.Max(error, expected.Zip(actual, (e, a) => Error(e, a)).Max());
        }

        return error;
    }

    private static double Words()
    {
        DeviceNnlm words = DeviceNnlm.Create(seed: 7);
        DeviceWords codes = DeviceWords.Create(seed: 7);
        using DeviceNnlm.Session here = words.CreateSession(), there = words.CreateSession(new SessionOptions { Device = s_device });
        using DeviceWords.Session hereCodes = codes.CreateSession(), thereCodes = codes.CreateSession(new SessionOptions { Device = s_device });
        float[][] expected = [new float[4 * 11], new float[5 * 4]], actual = [new float[4 * 11], new float[5 * 4]];
        here.Predict(Ids(12, 11, 1), expected[0]);
        there.Predict(Ids(12, 11, 1), actual[0]);
        hereCodes.Encode(Ids(5, 9, 1), expected[1]);
        thereCodes.Encode(Ids(5, 9, 1), actual[1]);
        return expected.Zip(actual, (e, a) => Error(e, a)).Max();
    }

    private static double Regressor()
    {
        DeviceRegressor model = DeviceRegressor.Create(seed: 7);
        using DeviceRegressor.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = s_device });
        double error = 0;
        for (int i = 0; i < 5; i++)
        {
            error = Math.Max(error, Error(here.Next(Numbers(2)), there.Next(Numbers(2))));
        }

        return error;
    }

    private static double Tagger()
    {
        DeviceTagger model = DeviceTagger.Create(seed: 7);
        using DeviceTagger.Session here = model.CreateSession(), there = model.CreateSession(new SessionOptions { Device = s_device });
        float[] expected = new float[5 * 4], actual = new float[5 * 4];
        here.Predict(Ids(5, 11, 1), expected);
        there.Predict(Ids(5, 11, 1), actual);
        return Math.Max(Error(expected, actual), Error(here.PredictBatch(Ids(21, 11, 1), [7, 2, 5]), there.PredictBatch(Ids(21, 11, 1), [7, 2, 5])));
    }

    /// <summary>How many of five losses differ between two runs, or between one launch and a launch for each kernel.</summary>
    private static double SameBits()
    {
        float[] Losses<TTrainer>(Func<TrainerOptions, TTrainer> create, Func<TTrainer, int, float> step)
            where TTrainer : Trainer
        {
            using TTrainer trainer = create(new TrainerOptions { Seed = 5, Device = s_device });
            return [.. Enumerable.Range(0, 5).Select(i => step(trainer, i))];
        }

        float[] Together() => Losses(o => DeviceGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        float[] first = Together(), second = Together(), separate = Losses(o => SeparateGpt.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 17, i), Ids(10, 17, i + 5)));
        return first.Zip(second, separate).Count(x => x.First != x.Second || x.First != x.Third);
    }

    /// <summary>The largest difference, of a number's size where that is above one.</summary>
    public static double Error(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        double largest = expected.Length == actual.Length ? 0 : double.PositiveInfinity;
        for (int i = 0; i < Math.Min(expected.Length, actual.Length); i++)
        {
            double error = Math.Abs((double)expected[i] - actual[i]) / Math.Max(1, Math.Abs(expected[i]));
            largest = error <= largest ? largest : double.IsNaN(error) ? double.PositiveInfinity : error;
        }

        return largest;
    }

    private static float[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(i => MathF.Sin(1.3f * i))];

    public static int[] Ids(int count, int classes, int seed) => [.. Enumerable.Range(0, count).Select(i => (((i + seed) * 7919) + (i * i)) % classes)];
}
