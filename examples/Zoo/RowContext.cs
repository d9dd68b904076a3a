using System.Diagnostics;
using Examples;
using Examples.Views;
using ModelGen;

namespace Zoo;

/// <summary>What a row is asked for, and its training loop.</summary>
internal sealed class RowContext(Func<string, ITrainingView> openView)
{
    private const double Smoothing = 0.98;
    private const long WarmupSteps = 10;

    private long _measuredSteps;
    private long _allocatedBytes;
    private TrainingExport? _export;

    /// <summary>The seed of weights, data and batches.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>The number of training steps that was asked for; null: what the row takes by default.</summary>
    public long? Steps { get; init; }

    /// <summary>The user's data; null for the row's own.</summary>
    public string? TextPath { get; init; }

    /// <summary>The row's own argument; null where it was not given.</summary>
    public string? Argument { get; init; }

    /// <summary>Where pictures go; null for nowhere.</summary>
    public string? PlotsFolder { get; init; }

    /// <summary>Where trainings are written down for another library to repeat; null for nowhere.</summary>
    public string? ExportFolder { get; init; }

    /// <summary>The folder of reference data; null where there is none.</summary>
    public string? DataFolder { get; init; }

    /// <summary>The time in training steps, the loading of batches included.</summary>
    public TimeSpan TrainingTime { get; private set; }

    /// <summary>Bytes that all threads of the process allocated in a measured step, rounded up; null if none was measured.</summary>
    public long? AllocatedBytesPerStep => _measuredSteps == 0 ? null : (_allocatedBytes + _measuredSteps - 1) / _measuredSteps;

    /// <summary>The losses of the last training, step by step.</summary>
    public IReadOnlyList<float> Losses { get; private set; } = [];

    /// <summary>Says something, between trainings.</summary>
    public void Message(string text)
    {
        using ITrainingView view = openView("");
        view.Message(text);
    }

    /// <summary>A file of reference data, if it is there.</summary>
    public string? Data(params ReadOnlySpan<string> parts)
    {
        if (DataFolder is null)
            return null;
        string path = Path.Combine([DataFolder, .. parts]);
        return File.Exists(path) ? path : null;
    }

    /// <summary>The place of a picture, without its extension; null if none is wanted.</summary>
    public string? Plot(string name) => PlotsFolder is null ? null : Path.Combine(PlotsFolder, name);

    /// <summary>A schedule over the steps that will be taken: a linear warm-up, then a cosine to a hundredth.</summary>
    public WarmupCosine Cosine(long defaultSteps, long warmup, double minimumFactor = 0.01)
    {
        long steps = Steps ?? defaultSteps;
        return new WarmupCosine(Math.Min(warmup, steps), steps, minimumFactor);
    }

    /// <summary>Writes the next training down, if that was asked for.</summary>
    /// <inheritdoc cref="TrainingExport(string, string, Action{string}, AdamW, long, double)"/>
    public TrainingExport? Export(string name, Action<string> save, AdamW optimizer, long defaultSteps, double labelSmoothing = 0)
        => _export = ExportFolder is null ? null : new TrainingExport(ExportFolder, name, save, optimizer, Steps ?? defaultSteps, labelSmoothing);

    /// <summary>Trains: takes steps, shows them, and measures what they allocate, over all threads, from the eleventh on.</summary>
    /// <param name="what">What is trained, for the view.</param>
    /// <param name="defaultSteps">The number of steps where the user asked for none.</param>
    /// <param name="unit">What a step consists of: "tokens", "examples".</param>
    /// <param name="unitsPerStep">How many of them.</param>
    /// <param name="step">Loads a batch and takes a step, by its number from 0; gives the loss. It should allocate nothing.</param>
    /// <param name="trainer">The trainer, for its learning rate and gradient norm; null for none.</param>
    /// <param name="after">Called after each step with the number of steps done, outside of what is measured; null for nothing.</param>
    /// <returns>The last moving average of the loss.</returns>
    /// <exception cref="ArithmeticException">The loss is not finite.</exception>
    public double Train(string what, long defaultSteps, string unit, int unitsPerStep, Func<long, float> step, Trainer? trainer = null, Action<long, ITrainingView>? after = null)
    {
        long steps = Steps ?? defaultSteps;
        using TrainingExport? export = _export;
        _export = null;
        var losses = new List<float>();
        using ITrainingView view = openView(unit);
        view.Message(what);
        double smoothed = view.While(() =>
        {
            double sum = 0, weight = 0;
            long warmup = Math.Min(WarmupSteps, steps / 2), ticks = 0;
            for (long i = 0; i < steps; i++)
            {
                long allocated = GC.GetTotalAllocatedBytes(precise: true);
                long start = Stopwatch.GetTimestamp();
                float loss = step(i);
                ticks += Stopwatch.GetTimestamp() - start;
                if (i >= warmup)
                {
                    _allocatedBytes += GC.GetTotalAllocatedBytes(precise: true) - allocated;
                    _measuredSteps++;
                }
                if (!float.IsFinite(loss))
                    throw new ArithmeticException(FormattableString.Invariant($"{what}, step {i + 1}: the loss is {loss}."));
                export?.Append();
                losses.Add(loss);
                sum = Smoothing * sum + (1 - Smoothing) * loss;
                weight = Smoothing * weight + (1 - Smoothing);
                double speed = (double)unitsPerStep * (i + 1) * Stopwatch.Frequency / ticks;
                view.Step(new TrainingStep(i + 1, steps, loss, sum / weight, trainer?.LearningRate ?? 0, trainer?.GradientNorm ?? 0, speed));
                after?.Invoke(i + 1, view);
            }
            TrainingTime += TimeSpan.FromSeconds((double)ticks / Stopwatch.Frequency);
            return sum / weight;
        });
        Losses = losses;
        return smoothed;
    }

    /// <summary>Shows values that belong to no training.</summary>
    public void Figures(params IReadOnlyList<(string Name, string Value)> figures)
    {
        using ITrainingView view = openView("");
        view.Figures(figures);
    }

    /// <summary>The user's text, or the row's own.</summary>
    /// <exception cref="UserException">There is no such file.</exception>
    public string Text(Func<string> own)
    {
        if (TextPath is null)
            return own();
        return File.Exists(TextPath) ? File.ReadAllText(TextPath) : throw new UserException($"{TextPath}: there is no such file.");
    }
}
