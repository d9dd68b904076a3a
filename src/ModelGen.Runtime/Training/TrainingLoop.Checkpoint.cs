using System.Globalization;
using ModelGen.Runtime;

namespace ModelGen;

public sealed partial class TrainingLoop
{
    private const string KeyPrefix = "loop.";
    private const string FormatVersion = "1";

    // What rounding may add to a weight of at most 1.
    private const double WeightTolerance = 1e-6;

    /// <summary>
    /// Restores the trainer, the loader and the loop from a checkpoint that a loop with the same data and seed wrote. The settings of the
    /// optimizer are not restored: those given in code hold, and <see cref="Trainer.ChangedSettings"/> lists in what they are others.
    /// </summary>
    /// <param name="path">The checkpoint.</param>
    /// <returns>The caller's own metadata (<see cref="TrainingLoopOptions.Metadata"/>) of the run that wrote it.</returns>
    /// <exception cref="ModelFileException">
    /// The file is damaged, is a checkpoint of another model or of another kind of optimizer, or was written with other data, another seed, another batch order or other
    /// sizes of what the order depends on. Nothing has changed then.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidOperationException">The loop is running, or another thread is using the trainer.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public IReadOnlyDictionary<string, string> Resume(string path)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Resume), this);
        Saved saved = default;
        IReadOnlyDictionary<string, string> metadata = _trainer.LoadCheckpoint(path, (step, found) => saved = Read(path, step, found));
        _loader.State = saved.Loader;
        (_smoothedSum, _smoothedWeight, _lastLoss, _bestLoss) = (saved.SmoothedSum, saved.SmoothedWeight, saved.LastLoss, saved.BestLoss);
        (_bestStep, _evaluatedStep) = (saved.BestStep, saved.EvaluatedStep);
        _progress.Restore(saved.Best, saved.StaleEvaluations);
        (_savedStep, _sampledStep) = (-1, -1);

        var own = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in metadata)
        {
            if (!key.StartsWith(KeyPrefix, StringComparison.Ordinal))
                own.Add(key, value);
        }
        return own;
    }

    /// <summary>The loop's part of a checkpoint, each number checked against what it can be after so many steps.</summary>
    private Saved Read(string path, long step, IReadOnlyDictionary<string, string> metadata)
    {
        Require(path, metadata, "format", FormatVersion);
        Require(path, metadata, "order", _loader.Order.ToString());
        Require(path, metadata, "seed", Text(_loader.Seed));
        Require(path, metadata, "data_length", Text(_loader.DataLength));
        Require(path, metadata, "data_fingerprint", _dataFingerprint.ToString("x16", CultureInfo.InvariantCulture));

        // Earlier versions did not write the sizes. A position in shuffled data counts windows, however many a batch has.
        if (metadata.ContainsKey(KeyPrefix + "sequence_length"))
            Require(path, metadata, "sequence_length", Text(_loader.SequenceLength));
        if (_loader.Order == BatchOrder.Sequential && metadata.ContainsKey(KeyPrefix + "batch_size"))
            Require(path, metadata, "batch_size", Text(_loader.BatchSize));

        var loader = new LoaderState(Integer(path, metadata, "epoch", long.MinValue, long.MaxValue), Integer(path, metadata, "position", long.MinValue, long.MaxValue));
        if (!_loader.Has(loader))
            throw new ModelFileException(path, KeyPrefix + "position", "a position inside the data", $"{Text(loader.Position)} of epoch {Text(loader.Epoch)}");
        long evaluatedStep = Integer(path, metadata, "evaluated_step", -1, step);
        long bestStep = Integer(path, metadata, "best_step", -1, evaluatedStep);
        string? metric = metadata.GetValueOrDefault(KeyPrefix + "metric");
        double bestLoss = Number(path, metadata, "best_loss", bestStep < 0 && metric is null ? -1 : double.MaxValue, orNone: bestStep < 0 || metric is not null);
        int stale = (int)Integer(path, metadata, "stale_evaluations", 0, int.MaxValue);
        double best = metric is null ? bestLoss : FiniteOrNone(path, metadata, "best_metric", isNone: bestStep < 0);

        // Earlier versions did not write which way is better.
        string? direction = metadata.GetValueOrDefault(KeyPrefix + "metric_direction");
        if (metric is not null && direction is not null && !Enum.GetNames<MetricDirection>().Contains(direction))
            throw new ModelFileException(path, KeyPrefix + "metric_direction", string.Join(" or ", Enum.GetNames<MetricDirection>()), Quoted.Text(direction));
        if (metric != _options.Metric?.Name || (metric is not null && direction is not null && direction != _options.Metric!.Direction.ToString()))
        {
            // What was best by another measure says nothing of this one.
            (bestStep, bestLoss, best, stale) = (-1, double.NaN, double.NaN, 0);
        }

        return new Saved(
            loader,
            Number(path, metadata, "smoothed_sum", double.MaxValue, orNone: false),
            Number(path, metadata, "smoothed_weight", 1 + WeightTolerance, orNone: false),
            Number(path, metadata, "last_loss", evaluatedStep < 0 ? -1 : double.PositiveInfinity, orNone: true),
            bestLoss,
            best,
            bestStep,
            evaluatedStep,
            stale);
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(ulong value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Value(string path, IReadOnlyDictionary<string, string> metadata, string key) =>
        metadata.TryGetValue(KeyPrefix + key, out string? value)
            ? value
            : throw new ModelFileException(path, KeyPrefix + key, "the state of a training loop", "nothing");

    private static void Require(string path, IReadOnlyDictionary<string, string> metadata, string key, string expected)
    {
        string found = Value(path, metadata, key);
        if (found != expected)
            throw new ModelFileException(path, KeyPrefix + key, expected, Quoted.Text(found));
    }

    private static long Integer(string path, IReadOnlyDictionary<string, string> metadata, string key, long minimum, long maximum)
    {
        string text = Value(path, metadata, key);
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) && value >= minimum && value <= maximum
            ? value
            : throw new ModelFileException(path, KeyPrefix + key, $"an integer from {Text(minimum)} to {Text(maximum)}", Quoted.Text(text));
    }

    /// <summary>A number from 0 to a maximum (which none is where that is negative), or NaN where there may be none yet.</summary>
    private static double Number(string path, IReadOnlyDictionary<string, string> metadata, string key, double maximum, bool orNone)
    {
        string text = Value(path, metadata, key);
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
            && (double.IsNaN(value) ? orNone : value >= 0 && value <= maximum))
        {
            return value;
        }
        string expected = maximum < 0 ? "NaN, since there was no evaluation" : $"a number from 0 to {Text(maximum)}{(orNone ? ", or NaN" : "")}";
        throw new ModelFileException(path, KeyPrefix + key, expected, Quoted.Text(text));
    }

    /// <summary>A finite number, or NaN where there is none yet.</summary>
    private static double FiniteOrNone(string path, IReadOnlyDictionary<string, string> metadata, string key, bool isNone)
    {
        string text = Value(path, metadata, key);
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && (isNone ? double.IsNaN(value) : double.IsFinite(value))
            ? value
            : throw new ModelFileException(path, KeyPrefix + key, isNone ? "NaN, since no evaluation improved" : "a finite number", Quoted.Text(text));
    }

    private void Save(string path)
    {
        LoaderState state = _loader.State;
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [KeyPrefix + "format"] = FormatVersion,
            [KeyPrefix + "order"] = _loader.Order.ToString(),
            [KeyPrefix + "seed"] = Text(_loader.Seed),
            [KeyPrefix + "batch_size"] = Text(_loader.BatchSize),
            [KeyPrefix + "sequence_length"] = Text(_loader.SequenceLength),
            [KeyPrefix + "data_length"] = Text(_loader.DataLength),
            [KeyPrefix + "data_fingerprint"] = _dataFingerprint.ToString("x16", CultureInfo.InvariantCulture),
            [KeyPrefix + "epoch"] = Text(state.Epoch),
            [KeyPrefix + "position"] = Text(state.Position),
            [KeyPrefix + "smoothed_sum"] = Text(_smoothedSum),
            [KeyPrefix + "smoothed_weight"] = Text(_smoothedWeight),
            [KeyPrefix + "last_loss"] = Text(_lastLoss),
            [KeyPrefix + "best_loss"] = Text(_bestLoss),
            [KeyPrefix + "best_step"] = Text(_bestStep),
            [KeyPrefix + "evaluated_step"] = Text(_evaluatedStep),
            [KeyPrefix + "stale_evaluations"] = Text(_progress.StaleCount),
        };
        if (_options.Metric is { } metric)
        {
            metadata[KeyPrefix + "metric"] = metric.Name;
            metadata[KeyPrefix + "metric_direction"] = metric.Direction.ToString();
            metadata[KeyPrefix + "best_metric"] = Text(_progress.Best);
        }
        if (_options.Metadata is { } own)
        {
            foreach ((string key, string value) in own)
                metadata.Add(key, value);
        }
        _trainer.SaveCheckpoint(path, metadata);
        OnCheckpoint?.Invoke(path);
    }

    private readonly record struct Saved(
        LoaderState Loader,
        double SmoothedSum,
        double SmoothedWeight,
        double LastLoss,
        double BestLoss,
        double Best,
        long BestStep,
        long EvaluatedStep,
        int StaleEvaluations);
}
