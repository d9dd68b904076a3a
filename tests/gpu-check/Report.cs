using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace ModelGen.GpuCheck;

/// <summary>A check or a figure, as it came out.</summary>
/// <param name="Number">Its number among all rows.</param>
/// <param name="Name">What it is.</param>
/// <param name="Value">A check's largest error, or what was measured; not a number where there is none.</param>
/// <param name="Limit">The largest error that passes, or what is to be reached.</param>
/// <param name="Unit">What is counted; null for a check.</param>
/// <param name="MoreIsBetter">Whether the target is a floor.</param>
/// <param name="Failure">Why there is nothing, or why it did not pass.</param>
/// <param name="Seconds">What it took.</param>
internal sealed record Row(int Number, string Name, double Value, double Limit, string? Unit, bool MoreIsBetter, string? Failure, double Seconds)
{
    /// <summary>Whether it is a check, which passes or does not.</summary>
    public bool IsCheck => Unit is null;

    /// <summary>Whether a figure is as good as it is to be.</summary>
    public bool IsMet => Failure is null && (MoreIsBetter ? Value >= Limit : Value <= Limit);

    /// <summary>Reads a row that <see cref="Write"/> has written.</summary>
    public static Row Read(JsonElement json) => new(
        json.GetProperty("row").GetInt32(),
        json.GetProperty("name").GetString()!,
        json.GetProperty("value") is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : double.NaN,
        json.GetProperty("limit").GetDouble(),
        json.GetProperty("unit").GetString(),
        json.GetProperty("more").GetBoolean(),
        json.GetProperty("failure").GetString(),
        json.GetProperty("seconds").GetDouble());

    /// <summary>A line of JSON, by which one process tells another.</summary>
    public string Write() => Report.Json(indented: false, json =>
    {
        json.WriteNumber("row", Number);
        json.WriteString("name", Name);
        Report.Number(json, "value", Value);
        json.WriteNumber("limit", Limit);
        json.WriteString("unit", Unit);
        json.WriteBoolean("more", MoreIsBetter);
        json.WriteString("failure", Failure);
        json.WriteNumber("seconds", Seconds);
    });
}

/// <summary>What came out: a row for each check and figure, and a line for each on standard error while they run.</summary>
internal sealed class Report
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly List<Row> _rows = [];
    private int _number;

    /// <summary>How long all of it may take; what has not begun by then is not begun any more.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.MaxValue;

    /// <summary>The row to begin with: those before it are passed over.</summary>
    public int First { get; init; }

    /// <summary>Told of each row's name, unit and limit before it runs.</summary>
    public Action<string, string?, double> Begins { get; init; } = (_, _, _) => { };

    /// <summary>Told of each row once it is there.</summary>
    public Action<Row, Exception?> Ends { get; init; } = (_, _) => { };

    /// <summary>The rows.</summary>
    public IReadOnlyList<Row> Rows => _rows;

    /// <summary>The checks that did not pass, and why.</summary>
    public IReadOnlyList<string> Failed => [.. _rows.Where(r => r is { IsCheck: true, Failure: not null }).Select(r => $"{r.Name}: {r.Failure}")];

    /// <summary>Runs a check, which gives its largest error.</summary>
    /// <param name="name">What is compared.</param>
    /// <param name="tolerance">The largest error that passes, of a number's size where that is above one.</param>
    /// <param name="check">The check.</param>
    public void Check(string name, double tolerance, Func<double> check) => Run(name, tolerance, null, false, check);

    /// <summary>Measures something.</summary>
    /// <param name="name">The row of the table.</param>
    /// <param name="unit">What is counted.</param>
    /// <param name="target">What is to be reached.</param>
    /// <param name="moreIsBetter">Whether the target is a floor.</param>
    /// <param name="measure">The measurement.</param>
    public void Figure(string name, string unit, double target, bool moreIsBetter, Func<double> measure) => Run(name, target, unit, moreIsBetter, measure);

    private void Run(string name, double limit, string? unit, bool moreIsBetter, Func<double> run)
    {
        int number = _number++;
        if (number < First)
        {
            return;
        }

        var clock = Stopwatch.StartNew();
        double value = double.NaN;
        string? failure = null;
        Exception? thrown = null;
        try
        {
            Begins(name, unit, limit);
            value = Limit == TimeSpan.MaxValue || _clock.Elapsed < Limit ? run() : throw new TimeoutException(FormattableString.Invariant($"no time was left of {Limit.TotalSeconds} s"));
            failure = unit is not null || value <= limit ? null : FormattableString.Invariant($"the error is {value:g3}");
        }
        catch (Exception exception)
        {
            (thrown, failure) = (exception, $"{exception.GetType().Name}: {exception.Message}");
        }

        var row = new Row(number, name, value, limit, unit, moreIsBetter, failure, Math.Round(clock.Elapsed.TotalSeconds, 3));
        _rows.Add(row);
        Console.Error.WriteLine(row.IsCheck
            ? FormattableString.Invariant($"{(failure is null ? "ok    " : "FAILED")} {name} ({value:g3} of {limit:g3}, {row.Seconds:f1} s) {failure}")
            : FormattableString.Invariant($"{name}: {value:g4} {unit}, target {limit:g4} ({row.Seconds:f1} s) {failure}"));
        Ends(row, thrown);
    }

    /// <summary>The whole of it as JSON.</summary>
    /// <param name="rows">What there is by now.</param>
    /// <param name="device">What it ran on; null for nothing.</param>
    /// <param name="seconds">What it took.</param>
    /// <param name="missing">Why there is no device.</param>
    public static string Whole(IReadOnlyCollection<Row> rows, DeviceInUse? device, double seconds, string? missing = null) => Json(indented: true, json =>
    {
        json.WriteString("card", device?.Name);
        if (missing is not null)
        {
            json.WriteString("failure", missing);
            return;
        }

        json.WriteString("computeCapability", device!.ComputeCapability);
        json.WriteNumber("memoryBytes", device.MemoryBytes);
        json.WriteNumber("seconds", Math.Round(seconds, 1));
        json.WriteNumber("failures", rows.Count(r => r is { IsCheck: true, Failure: not null }));
        foreach (bool isCheck in (bool[])[true, false])
        {
            json.WriteStartArray(isCheck ? "checks" : "figures");
            foreach (Row row in rows.Where(r => r.IsCheck == isCheck))
            {
                json.WriteStartObject();
                json.WriteString("name", row.Name);
                Number(json, isCheck ? "error" : "value", row.Value);
                if (!isCheck)
                {
                    json.WriteString("unit", row.Unit);
                }

                json.WriteNumber(isCheck ? "tolerance" : "target", row.Limit);
                json.WriteNumber("seconds", row.Seconds);
                json.WriteBoolean(isCheck ? "passed" : "met", isCheck ? row.Failure is null : row.IsMet);
                if (row.Failure is not null)
                {
                    json.WriteString("failure", row.Failure);
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
        }
    });

    internal static string Json(bool indented, Action<Utf8JsonWriter> members)
    {
        using var memory = new MemoryStream();
        using (var json = new Utf8JsonWriter(memory, new JsonWriterOptions { Indented = indented }))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(memory.ToArray());
    }

    internal static void Number(Utf8JsonWriter json, string name, double value)
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
