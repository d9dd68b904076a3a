using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace ModelGen.GpuCheck;

/// <summary>What came out: one JSON object on standard output, and a line for each check on standard error while they run.</summary>
internal sealed class Report
{
    private readonly Lock _sync = new();
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private string? _running;
    private readonly List<(string Name, double Error, double Tolerance, string? Failure, double Seconds)> _checks = [];
    private readonly List<(string Name, double? Value, string Unit, double Target, bool MoreIsBetter, string? Failure)> _figures = [];

    /// <summary>How long all of it may take; what has not begun by then is not begun any more.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.MaxValue;

    /// <summary>What there is left of it.</summary>
    public TimeSpan Left => Limit == TimeSpan.MaxValue ? Limit : Limit - _clock.Elapsed;

    /// <summary>The checks that did not pass, and why.</summary>
    public IReadOnlyList<string> Failed => [.. _checks.Where(c => c.Failure is not null).Select(c => $"{c.Name}: {c.Failure}")];

    /// <summary>How many checks did not pass.</summary>
    public int Failures => Failed.Count + (_running is null ? 0 : 1);

    private void Begin(string name)
    {
        if (Left <= TimeSpan.Zero)
        {
            throw new TimeoutException(FormattableString.Invariant($"no time was left of {Limit.TotalSeconds} s"));
        }

        _running = name;
    }

    /// <summary>Runs a check, which gives its largest error.</summary>
    /// <param name="name">What is compared.</param>
    /// <param name="tolerance">The largest error that passes, of a number's size where that is above one.</param>
    /// <param name="check">The check.</param>
    public void Check(string name, double tolerance, Func<double> check)
    {
        var clock = Stopwatch.StartNew();
        double error = double.NaN;
        string? failure = null;
        try
        {
            Begin(name);
            error = check();
            failure = error <= tolerance ? null : FormattableString.Invariant($"the error is {error:g3}");
        }
        catch (Exception exception)
        {
            failure = $"{exception.GetType().Name}: {exception.Message}";
        }

        lock (_sync)
        {
            _running = null;
            _checks.Add((name, error, tolerance, failure, clock.Elapsed.TotalSeconds));
        }

        Console.Error.WriteLine(FormattableString.Invariant($"{(failure is null ? "ok    " : "FAILED")} {name} ({error:g3} of {tolerance:g3}, {clock.Elapsed.TotalSeconds:f1} s) {failure}"));
    }

    /// <summary>Measures something.</summary>
    /// <param name="name">The row of the table.</param>
    /// <param name="unit">What is counted.</param>
    /// <param name="target">What is to be reached.</param>
    /// <param name="moreIsBetter">Whether the target is a floor.</param>
    /// <param name="measure">The measurement.</param>
    public void Figure(string name, string unit, double target, bool moreIsBetter, Func<double> measure)
    {
        double? value = null;
        string? failure = null;
        try
        {
            Begin(name);
            value = measure();
        }
        catch (Exception exception)
        {
            failure = $"{exception.GetType().Name}: {exception.Message}";
        }

        lock (_sync)
        {
            _running = null;
            _figures.Add((name, value, unit, target, moreIsBetter, failure));
        }

        Console.Error.WriteLine(FormattableString.Invariant($"{name}: {value:g4} {unit}, target {target:g4} {failure}"));
    }

    /// <summary>Writes that there is nothing to run on.</summary>
    public static void WriteMissing(string why) => Write(json =>
    {
        json.WriteNull("card");
        json.WriteString("failure", why);
    });

    /// <summary>Writes everything that there is by now.</summary>
    public void Write(DeviceInUse device)
    {
        lock (_sync)
        {
            Write(json => Members(json, device));
        }
    }

    private void Members(Utf8JsonWriter json, DeviceInUse device)
    {
        json.WriteString("card", device.Name);
        json.WriteString("computeCapability", device.ComputeCapability);
        json.WriteNumber("memoryBytes", device.MemoryBytes);
        json.WriteNumber("seconds", Math.Round(_clock.Elapsed.TotalSeconds, 1));
        json.WriteNumber("failures", Failures);
        if (_running is { } unfinished)
        {
            json.WriteString("unfinished", unfinished);
        }

        json.WriteStartArray("checks");
        foreach ((string name, double error, double tolerance, string? failure, double each) in _checks)
        {
            json.WriteStartObject();
            json.WriteString("name", name);
            Number(json, "error", error);
            json.WriteNumber("tolerance", tolerance);
            json.WriteNumber("seconds", Math.Round(each, 3));
            json.WriteBoolean("passed", failure is null);
            if (failure is not null)
            {
                json.WriteString("failure", failure);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("figures");
        foreach ((string name, double? value, string unit, double target, bool moreIsBetter, string? failure) in _figures)
        {
            json.WriteStartObject();
            json.WriteString("name", name);
            Number(json, "value", value ?? double.NaN);
            json.WriteString("unit", unit);
            json.WriteNumber("target", target);
            json.WriteBoolean("met", value is { } number && (moreIsBetter ? number >= target : number <= target));
            if (failure is not null)
            {
                json.WriteString("failure", failure);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Write(Action<Utf8JsonWriter> members)
    {
        using var memory = new MemoryStream();
        using (var json = new Utf8JsonWriter(memory, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        Console.WriteLine(Encoding.UTF8.GetString(memory.ToArray()));
    }

    private static void Number(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumber(name, value);
        }
        else
        {
            json.WriteNull(name);
        }
    }
}
