namespace ModelGen.TensorBoard;

/// <summary>How numbers are distributed: each bucket holds those above the limit before and up to its own.</summary>
internal sealed record Histogram(double Least, double Greatest, double Count, double Sum, double SumOfSquares, double[] Limits, double[] Counts)
{
    private const int Buckets = 30;

    public static Histogram Of(ReadOnlySpan<float> values)
    {
        double least = double.PositiveInfinity, greatest = double.NegativeInfinity, sum = 0, squares = 0;
        long count = 0;
        foreach (float value in values)
        {
            if (!float.IsFinite(value))
                continue;
            least = Math.Min(least, value);
            greatest = Math.Max(greatest, value);
            sum += value;
            squares += (double)value * value;
            count++;
        }
        if (count == 0)
            throw new ArgumentException("Expected a finite number, found none.", nameof(values));

        double width = greatest > least ? (greatest - least) / Buckets : 1;
        double[] limits = [.. Enumerable.Range(1, Buckets).Select(i => i == Buckets ? Math.Max(greatest, least + width) : least + (i * width))], counts = new double[Buckets];
        foreach (float value in values)
        {
            if (float.IsFinite(value))
                counts[Math.Min((int)((value - least) / width), Buckets - 1)]++;
        }
        return new Histogram(least, greatest, count, sum, squares, limits, counts);
    }
}
