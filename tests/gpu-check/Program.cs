// Runs on a machine with a GPU and an NVIDIA driver, and nothing else: every family's kernels and whole steps against the processor's code in the same
// binary, then what the declared figures are. JSON on standard output, within three minutes whatever hangs. Exit status: 0 all passed, 1 a check failed, 2 there is no device.
using System.Globalization;
using ModelGen;
using ModelGen.GpuCheck;

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

// A kernel that does not end keeps the driver's calls waiting for ever: they are made by a thread that nobody waits for any longer than this.
bool isLimited = double.TryParse(Environment.GetEnvironmentVariable("GPU_CHECK_SECONDS"), NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds);
var report = new Report { Limit = TimeSpan.FromSeconds(isLimited ? seconds : 165) };
Console.Error.WriteLine(device);
var work = new Thread(Work, maxStackSize: 16 << 20) { IsBackground = true };
work.Start();
bool isDone = work.Join(report.Left + TimeSpan.FromSeconds(5));
report.Write(device);
Console.Out.Flush();
Environment.Exit(!isDone || report.Failures > 0 ? 1 : 0);
return 1;

void Work()
{
#if MEASURED
    if (args is ["start"])
    {
        Figures.Start(report);
        return;
    }
#endif
    Checks.Run(report, Device.Cuda(0));
    LongChecks.Run(report, Device.Cuda(0));
#if MEASURED
    Figures.Run(report);
#endif
}
