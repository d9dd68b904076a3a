using System.Text.Json;
using System.Text.Json.Serialization;

namespace ModelGen.Benchmarks.Measuring;

/// <summary>One case of one row, measured in one process: one line of a results file.</summary>
internal sealed record Measurement
{
    /// <summary>The row of the table, such as <c>gpt2-step</c>.</summary>
    public required string Row { get; init; }

    /// <summary>What was measured of it, such as a shape; empty where a row is one thing.</summary>
    public string Case { get; init; } = "";

    /// <summary>Who was measured: <c>jit</c>, <c>aot-256</c>, <c>torch</c>, …</summary>
    public string Side { get; init; } = "";

    /// <summary>The round of the comparison it belongs to.</summary>
    public int Round { get; init; }

    public int Threads { get; init; }

    /// <summary>The implementation and its version.</summary>
    public string Runtime { get; init; } = "";

    public int VectorBits { get; init; }

    /// <summary>The instructions that the vectors compile to.</summary>
    public string Path { get; init; } = "";

    /// <summary>Seconds for one operation (a step, a token, a product), one number for each repeat.</summary>
    public double[] Seconds { get; init; } = [];

    /// <summary>Floating-point operations of one operation; 0 where that means nothing.</summary>
    public double Flops { get; init; }

    /// <summary>Bytes that one operation has to move; 0 where that means nothing.</summary>
    public double Bytes { get; init; }

    /// <summary>Tokens that one operation produces or reads; 0 where there are none.</summary>
    public double Tokens { get; init; }

    /// <summary>Numbers that are no times, by name: memory sizes and the like.</summary>
    public Dictionary<string, double> Values { get; init; } = [];

    /// <summary>The median of <see cref="Seconds"/>; not a number without any.</summary>
    [JsonIgnore]
    public double Median => Statistics.Median(Seconds);

    public string ToJson() => JsonSerializer.Serialize(this, MeasurementContext.Default.Measurement);

    public static Measurement Parse(string json) => JsonSerializer.Deserialize(json, MeasurementContext.Default.Measurement)!;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(Measurement))]
internal sealed partial class MeasurementContext : JsonSerializerContext;

internal static class Statistics
{
    public static double Median(IEnumerable<double> numbers)
    {
        double[] sorted = [.. numbers.Order()];
        return sorted.Length == 0 ? double.NaN
            : sorted.Length % 2 == 1 ? sorted[sorted.Length / 2]
            : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
