using System.Diagnostics;
using System.Globalization;
using ModelGen;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Examples.Views;

/// <summary>A live display for a terminal: progress, losses, speed, time left and the latest sample.</summary>
/// <param name="unit">What a step consists of, as its speed is counted.</param>
internal sealed class LiveView(string unit = "tokens") : ITrainingView
{
    private const int BarWidth = 40;
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(200);
    private readonly Remaining _remaining = new();
    private LiveDisplayContext? _display;
    private TrainingStep _step;
    private TimeSpan? _left;
    private TrainingEvaluation? _evaluation;
    private (long Step, string Text)? _sample;
    private long _lastRefresh;

    public T While<T>(Func<T> training) =>
        AnsiConsole.Live(Render()).AutoClear(false).Start(context =>
        {
            _display = context;
            try
            {
                return training();
            }
            finally
            {
                Refresh(force: true);
                _display = null;
            }
        });

    public void Message(string text) => AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"[grey]{text}[/]");

    public void Step(TrainingStep step)
    {
        _step = step;
        _left = _remaining.After(step);
        Refresh(force: false);
    }

    public void Evaluation(TrainingEvaluation evaluation)
    {
        _evaluation = evaluation;
        Refresh(force: true);
    }

    public void Sample(long step, string text)
    {
        _sample = (step, text);
        Refresh(force: true);
    }

    public void Figures(IReadOnlyList<(string Name, string Value)> figures)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumn("").AddColumn(new TableColumn("").RightAligned()).HideHeaders();
        foreach ((string name, string value) in figures)
            table.AddRow(new Text(name), new Text(value));
        AnsiConsole.Write(table);
    }

    public void Written(string heading, string prompt, string text)
    {
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"[grey]{heading}[/]");
        AnsiConsole.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"[bold]{Printable(prompt)}[/]{Printable(text)}");
    }

    public void Dispose()
    {
    }

    private void Refresh(bool force)
    {
        if (_display is null || (!force && Stopwatch.GetElapsedTime(_lastRefresh) < s_interval))
            return;
        _lastRefresh = Stopwatch.GetTimestamp();
        _display.UpdateTarget(Render());
        _display.Refresh();
    }

    private Rows Render()
    {
        double done = _step.TotalSteps > 0 ? (double)_step.Step / _step.TotalSteps : 0;
        int filled = (int)(done * BarWidth);
        var bar = new Markup(string.Create(
            CultureInfo.InvariantCulture,
            $"[green]{new string('━', filled)}[/][grey]{new string('━', BarWidth - filled)}[/] {100 * done:F0} %"));

        var grid = new Grid().AddColumns(5);
        grid.AddRow(Head("step"), Head("loss"), Head("validation"), Head($"{unit}/s"), Head("time left"));
        grid.AddRow(
            Cell($"{_step.Step}/{_step.TotalSteps}"),
            Cell($"{_step.SmoothedLoss:F4}"),
            _evaluation is { } evaluation ? Cell($"{evaluation.Loss:F4} (best {evaluation.BestLoss:F4})") : Cell($"-"),
            Cell($"{_step.TokensPerSecond:N0}"),
            Cell($"{Remaining.Text(_left)}"));

        var parts = new List<IRenderable> { bar, grid };
        if (_sample is { } sample)
        {
            string title = string.Create(CultureInfo.InvariantCulture, $"sample at step {sample.Step}");
            parts.Add(new Panel(new Text(Printable(sample.Text))).Header(title).Expand());
        }
        return new Rows(parts);
    }

    /// <summary>A model may write any byte: what would steer the terminal is shown as a replacement character.</summary>
    private static string Printable(string text) => string.Create(text.Length, text, static (result, source) =>
    {
        for (int i = 0; i < source.Length; i++)
            result[i] = char.IsControl(source[i]) && source[i] != '\n' ? '\uFFFD' : source[i];
    });

    private static Text Head(string text) => new(text, new Style(Color.Grey));

    private static Text Cell(FormattableString text) => new(text.ToString(CultureInfo.InvariantCulture));
}
