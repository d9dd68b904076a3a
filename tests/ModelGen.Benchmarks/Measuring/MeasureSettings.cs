namespace ModelGen.Benchmarks.Measuring;

/// <summary>How a row is measured.</summary>
/// <param name="Repeats">The number of times measured for each case; 0 for as many as suit the row.</param>
/// <param name="Threads">The number of threads; 0 for all that suit the row.</param>
/// <param name="Seconds">The shortest time of one repeat, filled with as many operations as it takes; 0 for what suits the row.</param>
internal sealed record MeasureSettings(int Repeats, int Threads, double Seconds)
{
    /// <summary>The thread counts that a row is measured at.</summary>
    public IEnumerable<int> ThreadCounts(params int[] suitable) => Threads > 0 ? [Threads] : suitable;

    public MeasureSettings Default(int repeats, double seconds)
        => this with { Repeats = Repeats > 0 ? Repeats : repeats, Seconds = Seconds > 0 ? Seconds : seconds };
}
