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
        report.Check("DeviceMlp: predict", Exact, Predict);
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
        Train(report, "DeviceTransformer", Steps, DeviceTransformer.Parameters, o => DeviceTransformer.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)));
        Train(report, "DeviceSeq2Seq", Steps, DeviceSeq2Seq.Parameters, o => DeviceSeq2Seq.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), [6, 4], Ids(10, 11, i), Ids(10, 11, i + 5)));
        Train(report, "DeviceBert", Steps, DeviceBert.Parameters, o => DeviceBert.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(12, 13, i), Ids(12, 2, i), [6, 4], Ids(12, 13, i + 5), [1, 0]));
        Train(report, "DeviceMlp", Steps, DeviceMlp.Parameters, o => DeviceMlp.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Numbers(20), Ids(4, 3, i)));
        Train(report, "DeviceNnlm", Steps, DeviceNnlm.Parameters, o => DeviceNnlm.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(9, 11, i), Ids(3, 11, i + 5)));
        Train(report, "DeviceWords", Steps, DeviceWords.Parameters, o => DeviceWords.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(6, 9, i), [1, 2, 2], Ids(3, 9, i + 5)));
        Train(report, "DeviceRegressor", Steps, DeviceRegressor.Parameters, o => DeviceRegressor.Create(3).CreateTrainer(Optimizer, o), (t, _) => t.Step(Numbers(16), Numbers(24)));
        Train(report, "DeviceTagger", Steps, DeviceTagger.Parameters, o => DeviceTagger.Create(3).CreateTrainer(Optimizer, o), (t, i) => t.Step(Ids(10, 11, i), [5, 3], Ids(10, 4, i + 5)));
    }

    /// <summary>Three steps: losses, norms, and the gradients of the last.</summary>
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
            }

            foreach (ParameterInfo parameter in parameters.Where(p => !p.IsFrozen && !p.IsTable))
            {
                error = Math.Max(error, Error(here.Gradient(parameter.Name), there.Gradient(parameter.Name)));
            }

            return error;
        });

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
