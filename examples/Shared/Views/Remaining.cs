using System.Diagnostics;
using System.Globalization;
using ModelGen;

namespace Examples.Views;

/// <summary>Estimates the time left from the wall clock of this run, evaluations and samples included.</summary>
internal sealed class Remaining
{
    private long _start;
    private long _firstStep = -1;

    public TimeSpan? After(TrainingStep step)
    {
        if (_firstStep < 0)
        {
            _firstStep = step.Step;
            _start = Stopwatch.GetTimestamp();
            return null;
        }
        double secondsPerStep = Stopwatch.GetElapsedTime(_start).TotalSeconds / (step.Step - _firstStep);
        return TimeSpan.FromSeconds(secondsPerStep * (step.TotalSteps - step.Step));
    }

    public static string Text(TimeSpan? time) => time switch
    {
        null => "-",
        { TotalHours: >= 1 } t => string.Create(CultureInfo.InvariantCulture, $"{(int)t.TotalHours}:{t.Minutes:00}:{t.Seconds:00}"),
        { } t => string.Create(CultureInfo.InvariantCulture, $"{t.Minutes}:{t.Seconds:00}"),
    };
}
