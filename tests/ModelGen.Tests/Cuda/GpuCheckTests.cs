using ModelGen.GpuCheck;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>What a machine with a GPU is to run passes where kernels are run by the machine for PTX, and fails where they do nothing.</summary>
public sealed class GpuCheckTests
{
    [Fact]
    public void The_checks_of_a_gpu_pass_here()
    {
        using var driver = new StandInDriver();
        var report = new Report();
        Checks.Run(report, DeviceOf(driver));
        Assert.Null(driver.Fault);
        Assert.Equal([], report.Failed);
    }

    /// <summary>200 greedy and 200 drawn tokens and 50 steps, of a model that is small enough for the machine.</summary>
    [Fact]
    public void The_long_checks_of_a_gpu_pass_here()
    {
        using var driver = new StandInDriver();
        var report = new Report();
        LongChecks.Run<LongGpt>(report, DeviceOf(driver));
        Assert.Null(driver.Fault);
        Assert.Equal([], report.Failed);
    }

    /// <summary>What hangs or takes too long does not keep the others' results from being written, and what has not begun is said to have failed.</summary>
    [Fact]
    public void Checks_end_when_their_time_is_over()
    {
        var report = new Report { Limit = TimeSpan.FromMilliseconds(50) };
        report.Check("slow", 1, () =>
        {
            Thread.Sleep(100);
            return 0;
        });
        report.Check("late", 1, () => 0);
        report.Figure("never", "ms", 1, false, () => throw new InvalidOperationException("it was begun"));
        Assert.Equal(["late: TimeoutException: no time was left of 0.05 s"], report.Failed);
    }
}
