// Runs on a machine with a GPU and an NVIDIA driver, and nothing else: every family's kernels and whole steps against the processor's code in the same
// binary, then what the declared figures are. JSON on standard output, or in the file that is named, which is there anew behind every row. Exit status: 0 all passed, 1 a check failed, 2 there is no device.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using ModelGen;
using ModelGen.GpuCheck;

// What a check and a figure may take before their process is ended: a kernel that does not end keeps it waiting for ever.
const double MostOfCheck = 20, MostOfFigure = 45;

if (args is ["rows", string first, string seconds])
{
    var work = new Thread(() => Rows(int.Parse(first, CultureInfo.InvariantCulture), double.Parse(seconds, CultureInfo.InvariantCulture)), maxStackSize: 16 << 20);
    work.Start();
    work.Join();
    return 0;
}

#if MEASURED
if (args is ["start"])
{
    Figures.Start(Telling(0, TimeSpan.FromSeconds(60)));
    return 0;
}
#endif

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
    Write(Report.Whole([], null, 0, missing), isLast: true);
    return 2;
}

Console.Error.WriteLine(device);
double limit = double.TryParse(Environment.GetEnvironmentVariable("GPU_CHECK_SECONDS"), NumberStyles.Float, CultureInfo.InvariantCulture, out double given) ? given : 165;
var clock = Stopwatch.StartNew();
var rows = new List<Row>();

// Rows run in a process of their own, and where an error of the driver or a kernel that does not end has spoilt that one, the rest in another: such an error stays with a process.
for (bool isEnd = false; !isEnd;)
{
    int before = rows.Count;
    isEnd = Rest(Math.Max(0, limit - clock.Elapsed.TotalSeconds)) || rows.Count == before;
}

Write(Report.Whole(rows, device, clock.Elapsed.TotalSeconds), isLast: true);
return rows.Exists(r => r is { IsCheck: true, Failure: not null }) || rows.Count == 0 ? 1 : 0;

// Runs what is left in another process.
bool Rest(double left)
{
    var start = new ProcessStartInfo(Environment.ProcessPath!, ["rows", rows.Count.ToString(CultureInfo.InvariantCulture), left.ToString(CultureInfo.InvariantCulture)]) { RedirectStandardOutput = true };
    using Process process = Process.Start(start)!;
    (string Name, string? Unit, double Limit)? running = null;
    Task<string?> line = process.StandardOutput.ReadLineAsync();
    while (line.Wait(TimeSpan.FromSeconds(Most())) && line.Result is { } text)
    {
        using JsonDocument json = JsonDocument.Parse(text);
        if (json.RootElement.TryGetProperty("begins", out JsonElement name))
        {
            running = (name.GetString()!, json.RootElement.GetProperty("unit").GetString(), json.RootElement.GetProperty("limit").GetDouble());
        }
        else
        {
            Add(Row.Read(json.RootElement));
            running = null;
        }

        line = process.StandardOutput.ReadLineAsync();
    }

    bool isStuck = !line.IsCompleted;
    if (isStuck)
    {
        process.Kill();
    }

    process.WaitForExit();
    if (running is { } unfinished)
    {
        string failure = isStuck ? FormattableString.Invariant($"it did not end within {Most():f0} s") : FormattableString.Invariant($"its process ended with {process.ExitCode}");
        Add(new Row(rows.Count, unfinished.Name, double.NaN, unfinished.Limit, unfinished.Unit, false, failure, isStuck ? Most() : 0));
        Console.Error.WriteLine($"FAILED {unfinished.Name} {failure}");
        return false;
    }

    return process.ExitCode == 0;

    // A row that has begun in time ends some seconds later, or is ended.
    double Most() => Math.Min(running is { Unit: not null } ? MostOfFigure : MostOfCheck, Math.Max(5, limit + 5 - clock.Elapsed.TotalSeconds));
}

void Add(Row row)
{
    rows.Add(row);
    Write(Report.Whole(rows, device, clock.Elapsed.TotalSeconds), isLast: false);
}

void Write(string json, bool isLast)
{
    if (args is [string path])
    {
        File.WriteAllText(path + ".new", json + "\n");
        File.Move(path + ".new", path, overwrite: true);
    }
    else if (isLast)
    {
        Console.WriteLine(json);
    }
}

// Rows from one on, each told in a line of standard output; an error of the driver is the end, as others behind it would be of its making.
static void Rows(int first, double seconds)
{
    Report report = Telling(first, TimeSpan.FromSeconds(seconds));
    Checks.Run(report, Device.Cuda(0));
    LongChecks.Run(report, Device.Cuda(0));
#if MEASURED
    LargeChecks.Run(report, Device.Cuda(0));
    Figures.Run(report);
#endif
}

static Report Telling(int first, TimeSpan limit) => new()
{
    First = first,
    Limit = limit,
    Begins = (name, unit, of) => Console.WriteLine(Report.Json(indented: false, json =>
    {
        json.WriteString("begins", name);
        json.WriteString("unit", unit);
        json.WriteNumber("limit", of);
    })),
    Ends = (row, thrown) =>
    {
        Console.WriteLine(row.Write());
        if (thrown is CudaException)
        {
            Environment.Exit(3);
        }
    },
};
