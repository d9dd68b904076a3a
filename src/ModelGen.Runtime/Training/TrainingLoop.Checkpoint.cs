using System.Globalization;

namespace ModelGen;

public sealed partial class TrainingLoop
{
    private const string KeyPrefix = "loop.";
    private const string FormatVersion = "1";

    /// <summary>Restores the trainer, the loader and the loop from a checkpoint that a loop with the same data and seed wrote.</summary>
    /// <param name="path">The checkpoint.</param>
    /// <returns>The caller's own metadata (<see cref="TrainingLoopOptions.Metadata"/>) of the run that wrote it.</returns>
    /// <exception cref="ModelFileException">
    /// The file is damaged, is a checkpoint of another model, or was written with other data, another seed or another batch order.
    /// If only the loop's part does not fit, the trainer has already been restored.
    /// </exception>
    public IReadOnlyDictionary<string, string> Resume(string path)
    {
        IReadOnlyDictionary<string, string> metadata = _trainer.LoadCheckpoint(path);
        Require(path, metadata, "format", FormatVersion);
        Require(path, metadata, "order", _loader.Order.ToString());
        Require(path, metadata, "seed", Text(_loader.Seed));
        Require(path, metadata, "data_length", Text(_loader.DataLength));
        Require(path, metadata, "data_fingerprint", _dataFingerprint.ToString("x16", CultureInfo.InvariantCulture));

        var state = new LoaderState(Integer(path, metadata, "epoch"), Integer(path, metadata, "position"));
        double smoothedSum = Number(path, metadata, "smoothed_sum");
        double smoothedWeight = Number(path, metadata, "smoothed_weight");
        double lastLoss = Number(path, metadata, "last_loss");
        double bestLoss = Number(path, metadata, "best_loss");
        long bestStep = Integer(path, metadata, "best_step");
        long evaluatedStep = Integer(path, metadata, "evaluated_step");
        long stale = Integer(path, metadata, "stale_evaluations");
        if (stale is < 0 or > int.MaxValue)
            throw new ModelFileException(path, KeyPrefix + "stale_evaluations", "a count", Text(stale));
        try
        {
            _loader.State = state;
        }
        catch (ArgumentOutOfRangeException exception)
        {
            throw new ModelFileException(path, KeyPrefix + "position", "a position inside the data", state.ToString(), exception);
        }

        (_smoothedSum, _smoothedWeight, _lastLoss, _bestLoss) = (smoothedSum, smoothedWeight, lastLoss, bestLoss);
        (_bestStep, _evaluatedStep, _staleEvaluations) = (bestStep, evaluatedStep, (int)stale);
        _savedStep = -1;

        var own = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string key, string value) in metadata)
        {
            if (!key.StartsWith(KeyPrefix, StringComparison.Ordinal))
                own.Add(key, value);
        }
        return own;
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
            throw new ModelFileException(path, KeyPrefix + key, expected, found);
    }

    private static long Integer(string path, IReadOnlyDictionary<string, string> metadata, string key)
    {
        string text = Value(path, metadata, key);
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value)
            ? value
            : throw new ModelFileException(path, KeyPrefix + key, "an integer", $"\"{text}\"");
    }

    private static double Number(string path, IReadOnlyDictionary<string, string> metadata, string key)
    {
        string text = Value(path, metadata, key);
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
            ? value
            : throw new ModelFileException(path, KeyPrefix + key, "a number", $"\"{text}\"");
    }

    private void Save(string path)
    {
        LoaderState state = _loader.State;
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [KeyPrefix + "format"] = FormatVersion,
            [KeyPrefix + "order"] = _loader.Order.ToString(),
            [KeyPrefix + "seed"] = Text(_loader.Seed),
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
            [KeyPrefix + "stale_evaluations"] = Text(_staleEvaluations),
        };
        if (_options.Metadata is { } own)
        {
            foreach ((string key, string value) in own)
                metadata.Add(key, value);
        }
        _trainer.SaveCheckpoint(path, metadata);
        OnCheckpoint?.Invoke(path);
    }
}
