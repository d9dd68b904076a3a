using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>
/// Weights that lie packed in a device's memory. A device reads inputs in single precision and the processor rounds those of quantized weights to 8 bits: so a device is compared with a model of the same weights in single precision
/// that both files hold alike, closely, and with the same model on the processor within what its rounding makes.
/// </summary>
public sealed class DevicePackedTests
{
    [Fact]
    public void F16() => Check<DeviceHalf, PlainDecoder>(Tolerance, 1e-4f);

    [Fact]
    public void BF16_each_kernel_a_launch() => Check<DeviceBrain, PlainDecoder>(Tolerance, 1e-4f);

    [Fact]
    public void Experts_in_F16()
    {
        using var driver = new StandInDriver();
        DeviceHalfExperts model = DeviceHalfExperts.Create(seed: 7);
        using DeviceHalfExperts.Session expected = model.CreateSession(), actual = model.CreateSession(Session(driver));
        int[] ids = Ids(23, 53);
        Near(driver, expected.Prefill(ids.AsSpan(0, 19)), actual.Prefill(ids.AsSpan(0, 19)), 1e-4f);
        foreach (int token in ids[19..])
        {
            Near(driver, expected.Decode(token), actual.Decode(token), 1e-4f);
        }
    }

    [Fact]
    public void Q8_0() => Check<DeviceEight, PlainDecoder>(Tolerance, 5e-2f);

    [Fact]
    public void Q4_0_in_tf32() => Check<DeviceFour, PlainTiedDecoder>(2e-3f, 5e-2f);

    [Fact]
    public void Several_formats_in_bf16() => Check<DeviceMixed, PlainWideDecoder>(2e-2f, 5e-2f);

    [Fact]
    public void Several_sequences()
    {
        Batch<DeviceHalf>(1e-4f);
        Batch<DeviceEight>(5e-2f);
        Batch<DeviceFour>(5e-2f);
    }

    /// <summary>What lies packed on the device takes no more than on the processor, and what is widened is what the card says.</summary>
    [Fact]
    public void Packed_weights_take_their_bytes()
    {
        Assert.Equal(DeviceEight.WeightBytes, DeviceEight.CudaWeightBytes);
        Assert.Equal(DeviceFour.WeightBytes, DeviceFour.CudaWeightBytes);
        Assert.Equal(DeviceHalfExperts.WeightBytes, DeviceHalfExperts.CudaWeightBytes);
        Assert.InRange(DeviceEight.CudaWeightBytes, 1, PlainDecoder.WeightBytes * 35 / 100);

        // What is widened has a copy in bfloat16 too, as single precision has where products round to that.
        Assert.InRange(DeviceMixed.CudaWeightBytes, DeviceMixed.WeightBytes + 1, PlainWideDecoder.WeightBytes * 3 / 2);
        foreach ((Func<SessionOptions, CausalSession> create, long bytes) in new (Func<SessionOptions, CausalSession>, long)[] { (o => DeviceEight.Create(1).CreateSession(o), DeviceEight.CudaWeightBytes), (o => DeviceMixed.Create(1).CreateSession(o), DeviceMixed.CudaWeightBytes) })
        {
            using var driver = new StandInDriver();
            using CausalSession session = create(Session(driver));
            Assert.Contains((bytes + 255) / 256 * 256, driver.Allocations);
        }
    }

    /// <summary>Caches that are rounded, on the device as on the processor: of one sequence and of several.</summary>
    [Fact]
    public void Rounded_caches()
    {
        Tokens<DeviceHalfCache>(1e-3f);
        Tokens<DeviceByteCache>(1e-2f);
        Batch<DeviceHalfCache>(1e-3f);
        Batch<DeviceByteCache>(1e-2f);
    }

    private static void Tokens<TModel>(float tolerance)
        where TModel : ICausalLanguageModel<TModel>
    {
        using var driver = new StandInDriver();
        TModel model = TModel.Create(seed: 7);
        using CausalSession here = model.CreateSession(null), there = model.CreateSession(Session(driver));
        int[] ids = Ids(23, TModel.VocabularySize, 1);
        Near(driver, here.Prefill(ids.AsSpan(0, 19)), there.Prefill(ids.AsSpan(0, 19)), tolerance);
        foreach (int token in ids[19..])
        {
            Near(driver, here.Decode(token), there.Decode(token), tolerance);
        }
    }

    /// <summary>Adapters are trained over weights that stay packed: losses and gradients are the processor's but for its rounding of inputs, and what comes back is what was trained.</summary>
    [Fact]
    public void Adapters_over_packed_weights()
    {
        using var driver = new StandInDriver();
        using TemporaryFile file = new(), other = new();
        DeviceQlora model = DeviceQlora.Create(seed: 3);
        var options = new TrainerOptions { Seed = 5 };
        using DeviceQlora.Trainer here = DeviceQlora.Create(seed: 3).CreateTrainer(new AdamW { LearningRate = 0.02f, Epsilon = 1e-3f }, options), there = model.CreateTrainer(new AdamW { LearningRate = 0.02f, Epsilon = 1e-3f }, options with { Device = DeviceOf(driver) });
        float first = 0, last = 0;
        for (int i = 0; i < 6; i++)
        {
            float expected = here.Step(Ids(18, 53, i % 2), Ids(18, 53, (i % 2) + 3));
            last = there.Step(Ids(18, 53, i % 2), Ids(18, 53, (i % 2) + 3));
            Near(driver, [expected], [last], 1e-2f);
            first = i == 0 ? last : first;
        }

        Assert.True(last < first, FormattableString.Invariant($"{first} became {last}"));
        there.SaveCheckpoint(file.Path);
        using DeviceQlora.Trainer resumed = DeviceQlora.Create(seed: 3).CreateTrainer(new AdamW { LearningRate = 0.02f, Epsilon = 1e-3f }, options);
        resumed.LoadCheckpoint(file.Path);
        resumed.SaveCheckpoint(other.Path);
        Assert.Equal(File.ReadAllBytes(file.Path), File.ReadAllBytes(other.Path));
        Near(driver, [resumed.Step(Ids(18, 53, 7), Ids(18, 53, 8))], [there.Step(Ids(18, 53, 7), Ids(18, 53, 8))], 1e-2f);
    }

    private static void Check<TPacked, TPlain>(float tolerance, float rounding)
        where TPacked : ICausalLanguageModel<TPacked>
        where TPlain : ICausalLanguageModel<TPlain>
    {
        using var driver = new StandInDriver();
        using var file = new TemporaryFile("packed.gguf");
        TPacked model = TPacked.Create(seed: 7);
        model.Save(file.Path);
        using CausalSession expected = TPlain.Load(file.Path).CreateSession(null), rounded = model.CreateSession(null), actual = model.CreateSession(Session(driver));
        int[] ids = Ids(23, TPacked.VocabularySize, 1);
        float[] logits = actual.Prefill(ids.AsSpan(0, 19)).ToArray();
        Near(driver, expected.Prefill(ids.AsSpan(0, 19)), logits, tolerance);
        Near(driver, rounded.Prefill(ids.AsSpan(0, 19)), logits, rounding);
        foreach (int token in ids[19..])
        {
            logits = actual.Decode(token).ToArray();
            Near(driver, expected.Decode(token), logits, tolerance);
            Near(driver, rounded.Decode(token), logits, rounding);
        }
    }

    private static void Batch<TModel>(float tolerance)
        where TModel : ICausalLanguageModel<TModel>
    {
        using var driver = new StandInDriver();
        TModel model = TModel.Create(seed: 7);
        using CausalSession here = model.CreateSession(new SessionOptions { Batch = 3 }), there = model.CreateSession(Session(driver, 3)), alone = model.CreateSession(Session(driver));
        for (int row = 0; row < 3; row++)
        {
            int[] ids = Ids(2 + row, TModel.VocabularySize, row);
            Near(driver, here.Prefill(row, ids), there.Prefill(row, ids), tolerance);
        }

        Near(driver, here.Decode([1, 2, 3]), there.Decode([1, 2, 3]), tolerance);

        // A row is summed as if it were alone.
        alone.Prefill(Ids(3, TModel.VocabularySize, 1));
        alone.Decode(2);
        Assert.Equal(alone.Decode(4).ToArray(), there.Decode([-1, 4, -1])[TModel.VocabularySize..(2 * TModel.VocabularySize)].ToArray());
    }
}
