using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Zoo;

/// <summary>A row that was run: its outcome, and what it took.</summary>
internal sealed record RowReport(ZooRow Row, RowOutcome Outcome, TimeSpan Total, TimeSpan Training, long? AllocatedBytesPerStep)
{
    /// <summary>The figures for people.</summary>
    public IReadOnlyList<(string Name, string Value)> Figures =>
    [
        .. Outcome.Figures.Select(figure => (figure.Name, string.Create(
            CultureInfo.InvariantCulture, $"{figure.Value:0.####} (target: {(figure.LowerIsBetter ? "at most" : "at least")} {figure.Target:0.####}{(figure.Met ? "" : ", MISSED")}{Beside(figure)})"))),
        ("parameters", Outcome.Parameters.ToString("N0", CultureInfo.InvariantCulture)),
        ("time", string.Create(CultureInfo.InvariantCulture, $"{Total.TotalSeconds:F0} s, of which training {Training.TotalSeconds:F0} s")),
        ("allocated per step", string.Create(CultureInfo.InvariantCulture, $"{AllocatedBytesPerStep} bytes")),
    ];

    /// <summary>What PyTorch reached, behind a comma; empty where that was not measured.</summary>
    public static string Beside(Figure figure) => PeerValues.Of(figure.Peer) is { } value ? string.Create(CultureInfo.InvariantCulture, $", PyTorch {value:0.####}") : "";

    /// <summary>One line.</summary>
    public string ToJson()
    {
        Figure figure = Outcome.Figures[0];
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteString("family", Row.Family);
            writer.WriteString("figure", figure.Name);
            WriteNumber(writer, "value", figure.Value);
            WriteNumber(writer, "target", figure.Target);
            writer.WriteBoolean("met", Outcome.Met);
            writer.WriteNumber("parameters", Outcome.Parameters);
            writer.WriteNumber("seconds", Math.Round(Total.TotalSeconds, 2));
            writer.WriteNumber("training_seconds", Math.Round(Training.TotalSeconds, 2));
            if (AllocatedBytesPerStep is { } bytes)
                writer.WriteNumber("allocated_bytes_per_step", bytes);
            else
                writer.WriteNull("allocated_bytes_per_step");
            writer.WriteStartArray("figures");
            foreach (Figure one in Outcome.Figures)
            {
                writer.WriteStartObject();
                writer.WriteString("name", one.Name);
                WriteNumber(writer, "value", one.Value);
                WriteNumber(writer, "target", one.Target);
                writer.WriteBoolean("met", one.Met);
                if (PeerValues.Of(one.Peer) is { } value)
                    WriteNumber(writer, "pytorch", value);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void WriteNumber(Utf8JsonWriter writer, string name, double value)
    {
        if (double.IsFinite(value))
            writer.WriteNumber(name, Math.Round(value, 6));
        else
            writer.WriteNull(name);
    }
}
