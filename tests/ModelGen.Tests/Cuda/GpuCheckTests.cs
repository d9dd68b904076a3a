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
}
