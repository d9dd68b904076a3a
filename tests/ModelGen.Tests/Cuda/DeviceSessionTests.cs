namespace ModelGen.Tests.Cuda;

/// <summary>Sessions on a device, through the runtime's loader and launches, against the same sessions on the processor.</summary>
public sealed class DeviceSessionTests
{
    private const float Tolerance = 2e-5f;

    [Fact]
    public void A_gpt_prefills_and_decodes()
    {
        using var driver = new StandInDriver();
        DeviceGpt model = DeviceGpt.Create(seed: 7);
        using (DeviceGpt.Session expected = model.CreateSession())
        using (DeviceGpt.Session actual = model.CreateSession(On(driver)))
        {
            Assert.Equal("Stand-in (CUDA device 0)", actual.Device.ToString());
            Near(driver, expected.Prefill([3, 1, 16]), actual.Prefill([3, 1, 16]));
            for (int token = 0; token < 6; token++)
            {
                Near(driver, expected.Decode(token), actual.Decode(token));
            }

            Assert.Equal(9, actual.Position);
            expected.Reset();
            actual.Reset();
            Near(driver, expected.Prefill([2]), actual.Prefill([2]));
        }

        Assert.Equal((0, 0, 0, 0), (driver.LiveMemory, driver.LiveHostMemory, driver.LiveStreams, driver.LiveGraphs));
    }

    [Fact]
    public void An_mlp_predicts_any_number_of_rows()
    {
        using var driver = new StandInDriver();
        DeviceMlp model = DeviceMlp.Create(seed: 7);
        using DeviceMlp.Session expected = model.CreateSession(), actual = model.CreateSession(On(driver));
        foreach (int rows in new[] { 1, 3, 300 })
        {
            float[] inputs = [.. Enumerable.Range(0, rows * 5).Select(i => MathF.Sin(i))], outputs = new float[rows * 3], wanted = new float[rows * 3];
            expected.Predict(inputs, wanted);
            actual.Predict(inputs, outputs);
            Near(driver, wanted, outputs);
        }
    }

    private static SessionOptions On(StandInDriver driver, int batch = 1)
    {
        ModelGen.Runtime.CudaDriver loaded = driver.Load();
        return new SessionOptions { Device = Device.On(() => loaded), Batch = batch };
    }

    private static void Near(StandInDriver driver, ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Null(driver.Fault);
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(Math.Abs(expected[i] - actual[i]) <= Tolerance * Math.Max(1, Math.Abs(expected[i])), FormattableString.Invariant($"element {i} is {actual[i]}, expected {expected[i]}"));
        }
    }
}
