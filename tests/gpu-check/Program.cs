// Runs on a machine with a GPU and an NVIDIA driver, and nothing else: every family's kernels and whole steps against the processor's code in the same
// binary, then what the declared figures are. JSON on standard output. Exit status: 0 all passed, 1 a check failed, 2 there is no device.
using System.Diagnostics;
using ModelGen;
using ModelGen.GpuCheck;

var clock = Stopwatch.StartNew();
DeviceInUse? device = null;
string missing = "The driver knows of no device that models can run on.";
try
{
    device = Device.CudaDevices().FirstOrDefault();
}
catch (CudaException exception)
{
    missing = exception.Message;
}

if (device is null)
{
    Console.Error.WriteLine($"no device: {missing}");
    Report.WriteMissing(missing);
    return 2;
}

var report = new Report();
Console.Error.WriteLine(device);
#if MEASURED
if (args is ["start"])
{
    Figures.Start(report);
    report.Write(device, clock.Elapsed.TotalSeconds);
    return report.Failures > 0 ? 1 : 0;
}
#endif
Checks.Run(report, Device.Cuda(0));
LongChecks.Run(report);
#if MEASURED
Figures.Run(report);
#endif
report.Write(device, clock.Elapsed.TotalSeconds);
return report.Failures > 0 ? 1 : 0;
