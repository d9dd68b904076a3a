namespace Corpora;

/// <summary>
/// A noisy seasonal series, an hour after the other, such as the demand for something: a daily pattern that is another at weekends, times a level that wanders slowly, times noise.
/// <c>y = level · pattern(hour, weekend) · (1 + noise)</c>, with <c>log level</c> an autoregression of the first order.
/// </summary>
/// <remarks>
/// What a model can get wrong: the pattern is multiplied by the level, so that no linear model of past values and of the calendar is right; the level is hidden, and must be estimated from all the
/// recent values, each as its hour's pattern weighs it; the noise should be averaged out, not followed. The last value is a poor forecast where the pattern is steep.
/// </remarks>
public sealed class SeasonalSeries
{
    /// <summary>The number of calendar features of an hour.</summary>
    public const int Features = 3;

    private const double LevelMemory = 0.99;
    private const double LevelNoise = 0.035;
    private const double Noise = 0.08;

    private SeasonalSeries(float[] values)
    {
        Values = values;
    }

    /// <summary>The values, above 0, about 1 in the mean.</summary>
    public IReadOnlyList<float> Values { get; }

    /// <summary>Writes a series that begins on a Monday at midnight.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="hours">The number of values.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is negative.</exception>
    public static SeasonalSeries Generate(ulong seed = 1, int hours = 24 * 7 * 52)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(hours);
        var draw = new Draw(seed);
        var values = new float[hours];
        double level = 0;
        for (int t = 0; t < hours; t++)
        {
            level = (LevelMemory * level) + (LevelNoise * draw.Normal());
            values[t] = (float)(Math.Exp(level) * Pattern(t % 24, IsWeekend(t)) * Math.Max(0.1, 1 + (Noise * draw.Normal())));
        }
        return new SeasonalSeries(values);
    }

    /// <summary>Whether an hour, from 0, is of a Saturday or Sunday.</summary>
    /// <param name="t">The hour.</param>
    public static bool IsWeekend(int t) => t / 24 % 7 >= 5;

    /// <summary>What the calendar says of an hour, from 0: sine and cosine of the time of day, and 1 at weekends, otherwise 0.</summary>
    /// <param name="t">The hour.</param>
    /// <param name="features">Receives them.</param>
    /// <exception cref="ArgumentException">There is no room for <see cref="Features"/> numbers.</exception>
    public static void CopyFeatures(int t, Span<float> features)
    {
        if (features.Length < Features)
            throw new ArgumentException(FormattableString.Invariant($"Expected room for {Features} numbers, found {features.Length}."), nameof(features));
        (float sin, float cos) = MathF.SinCos(t % 24 * (2 * MathF.PI / 24));
        features[0] = sin;
        features[1] = cos;
        features[2] = IsWeekend(t) ? 1 : 0;
    }

    /// <summary>The least mean squared error, relative to the value, that a forecast of the next value could have: that of the noise that nobody can know.</summary>
    public static double RelativeNoise => Math.Sqrt((Noise * Noise) + (LevelNoise * LevelNoise));

    /// <summary>Two peaks on weekdays, one broad one at weekends.</summary>
    private static double Pattern(int hour, bool weekend) => weekend
        ? 0.35 + (0.9 * Bump(hour, 14, 4))
        : 0.3 + (1.4 * Bump(hour, 8, 1.6)) + (1.7 * Bump(hour, 18, 2));

    private static double Bump(int hour, double at, double width)
    {
        double distance = Math.Abs(hour - at);
        distance = Math.Min(distance, 24 - distance) / width;
        return Math.Exp(-0.5 * distance * distance);
    }
}
