using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Reporting;

internal static class Report
{
    public static string Markdown(IEnumerable<Measurement> measurements) => string.Join('\n', measurements.Select(static m => m.ToJson()));
}
