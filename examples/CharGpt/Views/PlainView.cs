using System.Diagnostics;
using System.Globalization;
using ModelGen;

namespace CharGpt.Views;

/// <summary>Lines of text, for output that goes to a file or a pipe. A line every few seconds, so that a log stays short.</summary>
/// <param name="writer">Takes the progress and the figures.</param>
/// <param name="output">Takes the text that the model wrote.</param>
internal sealed class PlainView(TextWriter writer, TextWriter output) : ITrainingView
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);
    private readonly Remaining _remaining = new();
    private long _lastLine;

    public TrainingResult While(Func<TrainingResult> training) => training();

    public void Message(string text) => writer.WriteLine(text);

    public void Step(TrainingStep step)
    {
        TimeSpan? left = _remaining.After(step);
        if (step.Step != step.TotalSteps && _lastLine != 0 && Stopwatch.GetElapsedTime(_lastLine) < s_interval)
            return;
        _lastLine = Stopwatch.GetTimestamp();
        Line($"step {step.Step}/{step.TotalSteps}  loss {step.SmoothedLoss:F4}  {step.TokensPerSecond:N0} tokens/s  {Remaining.Text(left)} left");
    }

    public void Evaluation(TrainingEvaluation evaluation) =>
        Line($"step {evaluation.Step}  validation loss {evaluation.Loss:F4}{(evaluation.Improved ? "" : $" (best {evaluation.BestLoss:F4})")}");

    public void Sample(long step, string text) => Line($"step {step}  sample: {text.ReplaceLineEndings(" ")}");

    public void Report(Report report)
    {
        TrainingResult result = report.Result;
        Line($"{result.Steps} steps: training loss {result.SmoothedLoss:F4}, validation loss {result.BestLoss:F4} nats/byte (step {result.BestStep}), {result.TokensPerSecond:N0} tokens/s");
        Line($"back-off trigram model on the same held-out part: {report.TrigramLoss:F4} nats/byte");
        Line($"reloaded from {report.SavedPath}:");
        output.WriteLine(report.Prompt + report.Sample);
    }

    public void Dispose() => writer.Flush();

    private void Line(FormattableString text) => writer.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
