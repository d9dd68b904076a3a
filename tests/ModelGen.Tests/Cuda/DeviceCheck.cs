using ModelGen.Runtime;

namespace ModelGen.Tests.Cuda;

/// <summary>What tests of devices share.</summary>
internal static class DeviceCheck
{
    /// <summary>How far results may be from the processor's, of their size where that is above one.</summary>
    public const float Tolerance = 2e-5f;

    public static Device DeviceOf(StandInDriver driver, bool mayFallBack = false)
    {
        CudaDriver? loaded = null;
        return Device.On(() => loaded ??= driver.Load(), 0, mayFallBack);
    }

    public static SessionOptions Session(StandInDriver driver, int batch = 1) => new() { Device = DeviceOf(driver), Batch = batch };

    /// <summary>Results that are the processor's, of kernels that did nothing that no kernel may.</summary>
    public static void Near(StandInDriver driver, ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, float tolerance = Tolerance)
    {
        Assert.Null(driver.Fault);
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(
                Math.Abs(expected[i] - actual[i]) <= tolerance * Math.Max(1, Math.Abs(expected[i])) || expected[i] == actual[i],
                FormattableString.Invariant($"element {i} is {actual[i]}, expected {expected[i]}"));
        }
    }

    /// <summary>Nothing is left on the device, and what there was went when nobody used it any more.</summary>
    public static void Empty(StandInDriver driver)
    {
        Assert.Null(driver.Fault);
        Assert.Equal((0, 0, 0, 0), (driver.LiveMemory, driver.LiveHostMemory, driver.LiveStreams, driver.LiveGraphs));
    }

    public static float[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(i => MathF.Sin(1.3f * i))];

    public static int[] Ids(int count, int classes, int seed = 1) => [.. Enumerable.Range(0, count).Select(i => (((i + seed) * 7919) + (i * i)) % classes)];
}
