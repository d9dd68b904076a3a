using System.Globalization;
using ModelGen.Benchmarks.Measuring;

namespace ModelGen.Benchmarks.Reporting;

/// <summary>A number with what it was in the best and the worst round.</summary>
internal readonly record struct Spread(double Median, double Minimum, double Maximum)
{
    public static Spread None => new(double.NaN, double.NaN, double.NaN);

    public bool Exists => !double.IsNaN(Median);

    public static Spread Of(IReadOnlyCollection<double> numbers)
        => numbers.Count == 0 ? None : new(Statistics.Median(numbers), numbers.Min(), numbers.Max());

    /// <summary>The three numbers, each in words; only the first where there was one round.</summary>
    public string Text(Func<double, string> format)
        => !Exists ? "not measured" : Minimum == Maximum ? format(Median) : $"{format(Median)} ({format(Minimum)} to {format(Maximum)})";
}

/// <summary>What was measured, by round. Whatever is compared is compared within a round, where both were measured side by side.</summary>
internal sealed class Results(IEnumerable<Measurement> measurements)
{
    private readonly Measurement[] _all = [.. measurements];

    public IEnumerable<Measurement> Measurements => _all;

    public IEnumerable<Measurement> Of(string side, string row, string name, int threads)
        => _all.Where(m => m.Side == side && m.Row == row && m.Case == name && m.Threads == threads);

    public Measurement? First(string side, string row, string name, int threads) => Of(side, row, name, threads).FirstOrDefault();

    /// <summary>Seconds for one operation, for each round.</summary>
    public SortedDictionary<int, double> Seconds(string side, string row, string name, int threads)
        => new(Of(side, row, name, threads).Where(static m => m.Seconds.Length > 0).GroupBy(static m => m.Round).ToDictionary(static g => g.Key, static g => Statistics.Median(g.SelectMany(static m => m.Seconds))));

    /// <summary>What one operation counts (operations, bytes, tokens) a second, for each round.</summary>
    public SortedDictionary<int, double> Rate(string side, string row, string name, int threads, Func<Measurement, double> count)
        => Map(Seconds(side, row, name, threads), seconds => count(First(side, row, name, threads)!) / seconds);

    /// <summary>The best of several rates, for each round.</summary>
    public SortedDictionary<int, double> BestRate(string side, string row, int threads, Func<Measurement, double> count, params string[] names)
    {
        var best = new SortedDictionary<int, double>();
        foreach (string name in names)
        {
            foreach ((int round, double rate) in Rate(side, row, name, threads, count))
            {
                best[round] = Math.Max(rate, best.GetValueOrDefault(round));
            }
        }

        return best;
    }

    /// <summary>The lower of two numbers, for each round; the one that there is where there is one.</summary>
    public static SortedDictionary<int, double> Best(SortedDictionary<int, double> one, SortedDictionary<int, double> other)
        => new(one.Concat(other).GroupBy(static pair => pair.Key).ToDictionary(static g => g.Key, static g => g.Min(static pair => pair.Value)));

    public static SortedDictionary<int, double> Map(SortedDictionary<int, double> series, Func<double, double> function)
        => new(series.ToDictionary(static pair => pair.Key, pair => function(pair.Value)));

    public static Spread Over(SortedDictionary<int, double> series) => Spread.Of(series.Values);

    /// <summary>One series over another, round by round.</summary>
    public static Spread Ratio(SortedDictionary<int, double> numerator, SortedDictionary<int, double> denominator)
        => Spread.Of([.. numerator.Where(pair => denominator.ContainsKey(pair.Key)).Select(pair => pair.Value / denominator[pair.Key])]);
}

/// <summary>Numbers as a reader wants them.</summary>
internal static class Words
{
    public static string Time(double seconds) => seconds switch
    {
        >= 1 => Number(seconds, 3) + " s",
        >= 1e-3 => Number(seconds * 1e3, 3) + " ms",
        >= 1e-6 => Number(seconds * 1e6, 3) + " µs",
        _ => Number(seconds * 1e9, 3) + " ns",
    };

    public static string Flops(double rate) => Number(rate / 1e9, 3) + " GFLOP/s";

    public static string Bandwidth(double rate) => Number(rate / 1e9, 3) + " GB/s";

    public static string Ratio(double ratio) => ratio.ToString(ratio >= 9.995 ? "0.0" : "0.00", CultureInfo.InvariantCulture);

    public static string Percent(double share) => (share * 100).ToString("0", CultureInfo.InvariantCulture) + " %";

    public static string Megabytes(double bytes) => (bytes / 1e6).ToString("#,0.0", CultureInfo.InvariantCulture) + " MB";

    public static string Rate(double perSecond) => perSecond.ToString("#,0", CultureInfo.InvariantCulture);

    private static string Number(double value, int digits)
    {
        int decimals = Math.Clamp(digits - 1 - (int)Math.Floor(Math.Log10(Math.Max(Math.Abs(value), 1e-12))), 0, digits);
        return value.ToString("#,0." + new string('0', decimals), CultureInfo.InvariantCulture);
    }
}
