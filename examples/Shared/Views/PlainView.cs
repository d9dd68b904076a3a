using System.Diagnostics;
using System.Globalization;
using ModelGen;

namespace Examples.Views;

/// <summary>Lines of text, for output that goes to a file or a pipe. A line every few seconds, so that a log stays short.</summary>
/// <param name="writer">Takes the progress and the figures.</param>
/// <param name="output">Takes the text that the model wrote.</param>
/// <param name="unit">What a step consists of, as its speed is counted.</param>
internal sealed class PlainView(TextWriter writer, TextWriter output, string unit = "tokens") : ITrainingView
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);
    private readonly Remaining _remaining = new();
    private long _lastLine;

    public T While<T>(Func<T> training) => training();

    public void Message(string text) => writer.WriteLine(text);

    public void Step(TrainingStep step)
    {
        TimeSpan? left = _remaining.After(step);
        if (step.Step != step.TotalSteps && _lastLine != 0 && Stopwatch.GetElapsedTime(_lastLine) < s_interval)
            return;
        _lastLine = Stopwatch.GetTimestamp();
        Line($"step {step.Step}/{step.TotalSteps}  loss {step.SmoothedLoss:F4}  {step.TokensPerSecond:N0} {unit}/s  {Remaining.Text(left)} left");
    }

    public void Evaluation(TrainingEvaluation evaluation) =>
        Line($"step {evaluation.Step}  validation loss {evaluation.Loss:F4}{(evaluation.Improved ? "" : $" (best {evaluation.BestLoss:F4})")}");

    public void Sample(long step, string text) => Line($"step {step}  sample: {text.ReplaceLineEndings(" ")}");

    public void Figures(IReadOnlyList<(string Name, string Value)> figures)
    {
        foreach ((string name, string value) in figures)
            writer.WriteLine($"{name}: {value}");
    }

    public void Written(string heading, string prompt, string text)
    {
        writer.WriteLine(heading);
        output.WriteLine(prompt + text);
    }

    public void Dispose() => writer.Flush();

    private void Line(FormattableString text) => writer.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
