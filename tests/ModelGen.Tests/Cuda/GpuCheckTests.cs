using System.Reflection;
using System.Text.RegularExpressions;
using ModelGen.GpuCheck;
using static ModelGen.Tests.Cuda.DeviceCheck;

namespace ModelGen.Tests.Cuda;

/// <summary>What a machine with a GPU is to run passes where kernels are run by the machine for PTX, and fails where they do nothing.</summary>
public sealed class GpuCheckTests
{
    /// <summary>On a device of compute capability 9.0, which multiplies by groups of four warps; and no model for devices that tests have is left out.</summary>
    [Fact]
    public void The_checks_of_a_gpu_pass_here()
    {
        using var driver = new StandInDriver { Capability = (9, 0) };
        var report = new Report();
        Checks.Run(report, DeviceOf(driver));
        Assert.Null(driver.Fault);
        Assert.Equal([], report.Failed);
        IEnumerable<string> models = typeof(DeviceGpt).Assembly.GetTypes().Where(type => type.Namespace == typeof(DeviceGpt).Namespace && type.GetCustomAttribute<CudaAttribute>() is not null).Select(type => type.Name).Where(name => name != nameof(LongGpt));
        Assert.Equal([], models.Where(model => !report.Rows.Any(row => Regex.IsMatch(row.Name, $@"\b{model}\b"))));
    }

    /// <summary>Sums over rows (gradients of biases, and what a decoder attends to) that are a hundredth too large, and factors of groups of four warps that are packed with a number too few, are found where those are, and nowhere else.</summary>
    [Theory]
    [InlineData(@"(ColumnSum_[^(]*\((?:(?!\n}).)*?)\tst\.global\.f32 \[([^\]]+)\], (%f\d+);", "$1\tmul.rn.f32 $3, $3, 0f3F8147AE;\n\tst.global.f32 [$2], $3;", "three steps|DeviceSeq2Seq", 20)]
    [InlineData(@"(Pack_[^(]*\((?:(?!\n}).)*?)cvt\.rn\.bf16x2\.f32 (%r\d+), (%f\d+), (%f\d+);", "$1cvt.rn.bf16x2.f32 $2, $3, $3;", "WarpgroupGpt.*: three steps", 1)]
    public void What_is_wrong_on_a_device_is_found(string pattern, string instead, string where, int fewest)
    {
        using var driver = new StandInDriver { Capability = (9, 0), Edit = text => Regex.Replace(text, pattern, instead, RegexOptions.Singleline) };
        var report = new Report();
        Checks.Run(report, DeviceOf(driver));
        Assert.Null(driver.Fault);
        Assert.InRange(report.Failed.Count, fewest, report.Rows.Count);
        Assert.All(report.Failed, failed => Assert.Matches(where, failed));
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
