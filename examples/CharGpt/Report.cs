using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using ModelGen;
using static System.FormattableString;

namespace CharGpt;

/// <summary>What a run achieved.</summary>
internal sealed record Report(
    string Model, TrainingResult Result, long Parameters, int VectorBits, double TrigramLoss, string SavedPath, string Prompt, string Sample)
{
    /// <summary>Bytes allocated per measured step by all threads of the process, rounded up; null if no step was measured.</summary>
    public long? AllocatedBytesPerStep =>
        Result.MeasuredSteps == 0 ? null : (Result.AllocatedBytes + Result.MeasuredSteps - 1) / Result.MeasuredSteps;

    /// <summary>The figures, for people.</summary>
    public IReadOnlyList<(string Name, string Value)> Figures =>
    [
        ("steps", Invariant($"{Result.Steps}")),
        ("training loss", Invariant($"{Result.SmoothedLoss:F4} nats/byte")),
        ("validation loss", Invariant($"{Result.BestLoss:F4} nats/byte (step {Result.BestStep})")),
        ("back-off trigram model", Invariant($"{TrigramLoss:F4} nats/byte")),
        ("speed", Invariant($"{Result.TokensPerSecond:N0} tokens/s")),
        ("allocated per step", Invariant($"{AllocatedBytesPerStep} bytes")),
        ("parameters", Invariant($"{Parameters:N0}")),
    ];

    /// <summary>One line. The losses are nats per byte; the validation loss is that of the model that was saved and reloaded.</summary>
    public string ToJson()
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("steps", Result.Steps);
            WriteNumber(writer, "train_loss", Result.SmoothedLoss);
            WriteNumber(writer, "validation_loss", Result.BestLoss);
            writer.WriteNumber("tokens_per_second", Math.Round(Result.TokensPerSecond));
            if (AllocatedBytesPerStep is { } bytes)
                writer.WriteNumber("allocated_bytes_per_step", bytes);
            else
                writer.WriteNull("allocated_bytes_per_step");
            writer.WriteNumber("vector_bits", VectorBits);
            writer.WriteNumber("parameters", Parameters);
            writer.WriteString("sample", Sample);
            writer.WriteString("model", Model);
            WriteNumber(writer, "trigram_loss", TrigramLoss);
            writer.WriteNumber("best_step", Result.BestStep);
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
