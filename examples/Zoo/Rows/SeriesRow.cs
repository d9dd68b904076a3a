using Corpora;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>An hour's value and the next hour's place in day and week, to the next hour's value.</summary>
[RecurrentRegressor(Cell = Cell.Gru, Hidden = 32, Inputs = 1 + SeasonalSeries.Features)]
[Trainable(BatchSize = 32, SequenceLength = SeriesRow.Window)]
public partial class DemandModel;

/// <summary>Forecasts of a noisy seasonal series, an hour ahead, beside what needs no network.</summary>
internal sealed class SeriesRow : ZooRow
{
    private const int Inputs = 1 + SeasonalSeries.Features;
    private const int Batch = DemandModel.BatchSize;
    /// <summary>The hours of a window.</summary>
    public const int Window = 96;
    private const int Week = 24 * 7;
    private const int HeldOutWeeks = 10;

    public override string Name => "series";

    public override string Family => "RecurrentRegressor";

    public override string Description => "A GRU forecasts a noisy seasonal series whose pattern is multiplied by a wandering level, beside the last value and a linear autoregression over a week of values and the calendar.";

    public override RowOutcome Run(RowContext context)
    {
        float[] values = [.. SeasonalSeries.Generate((ulong)context.Seed).Values];
        int training = values.Length - (HeldOutWeeks * Week);
        var features = new float[values.Length * Inputs];
        for (int t = 0; t + 1 < values.Length; t++)
        {
            features[t * Inputs] = values[t];
            SeasonalSeries.CopyFeatures(t + 1, features.AsSpan((t * Inputs) + 1, SeasonalSeries.Features));
        }

        double[] linear = Autoregression(values, training);
        DemandModel model = DemandModel.Create(context.Seed);
        var random = new CounterRandom((ulong)context.Seed, 6);
        var inputs = new float[Batch * Window * Inputs];
        var targets = new float[Batch * Window];
        const int Steps = 1500;
        var optimizer = new AdamW { LearningRate = 5e-3f, GradientClip = 1, WeightDecay = 1e-4f, Schedule = context.Cosine(Steps, warmup: 50) };
        using (DemandModel.Trainer trainer = model.CreateTrainer(optimizer))
        {
            context.Export("series", model.Save, optimizer, Steps)?.Batch("inputs", inputs, Batch, Window, Inputs).Batch("targets", targets, Batch, Window, 1)
                .Data("inputs", features, values.Length, Inputs).Data("values", values, values.Length).Data("linear", [.. Enumerable.Range(training - 1, values.Length - training).Select(t => (float)Forecast(linear, values, t))], values.Length - training);
            context.Train($"{training} hours to train on, {HeldOutWeeks} weeks held out", Steps, "hours", Batch * Window, _ =>
            {
                for (int row = 0; row < Batch; row++)
                {
                    int start = random.NextInt32(training - Window);
                    features.AsSpan(start * Inputs, Window * Inputs).CopyTo(inputs.AsSpan(row * Window * Inputs));
                    values.AsSpan(start + 1, Window).CopyTo(targets.AsSpan(row * Window));
                }
                return trainer.Step(inputs, targets);
            }, trainer);
        }

        // The session follows the whole series, hour by hour, as it would in use.
        var network = new List<double>();
        var autoregression = new List<double>();
        double squaredNetwork = 0, squaredLast = 0, squaredLinear = 0;
        using DemandModel.Session session = model.CreateSession();
        for (int t = 0; t + 1 < values.Length; t++)
        {
            double forecast = session.Next(features.AsSpan(t * Inputs, Inputs))[0];
            if (t + 1 < training)
                continue;
            double expected = Forecast(linear, values, t);
            squaredNetwork += Math.Pow(forecast - values[t + 1], 2);
            squaredLast += Math.Pow(values[t] - values[t + 1], 2);
            squaredLinear += Math.Pow(expected - values[t + 1], 2);
            network.Add(forecast);
            autoregression.Add(expected);
        }
        if (context.Plot("series") is { } path)
        {
            double[] hours = [.. Enumerable.Range(0, Week).Select(t => (double)t)];
            Pictures.Lines("A held-out week, an hour ahead", "hour", "value",
                [
                    new Line("the series", hours, [.. values.Skip(training).Take(Week).Select(v => (double)v)]),
                    new Line("GRU", hours, [.. network.Take(Week)]),
                    new Line("linear autoregression", hours, [.. autoregression.Take(Week)]),
                ]).SaveBoth(path);
        }
        return new RowOutcome(
            DemandModel.ParameterCount,
            new Figure("held-out error (RMS) relative to a linear autoregression's", Math.Sqrt(squaredNetwork / squaredLinear), 0.9, LowerIsBetter: true) { Peer = "series" },
            new Figure("relative to the last value's", Math.Sqrt(squaredNetwork / squaredLast), 0.5, LowerIsBetter: true));
    }

    /// <summary>What the linear model sees at an hour: a week of values, the next hour's calendar, and one.</summary>
    private static void Regressors(float[] values, int t, Span<double> x)
    {
        for (int lag = 0; lag < Week; lag++)
            x[lag] = values[t - lag];
        Span<float> calendar = stackalloc float[SeasonalSeries.Features];
        SeasonalSeries.CopyFeatures(t + 1, calendar);
        for (int i = 0; i < calendar.Length; i++)
            x[Week + i] = calendar[i];
        x[^1] = 1;
    }

    private static double Forecast(double[] weights, float[] values, int t)
    {
        var x = new double[weights.Length];
        Regressors(values, t, x);
        double sum = 0;
        for (int i = 0; i < x.Length; i++)
            sum += x[i] * weights[i];
        return sum;
    }

    /// <summary>Least squares over the training part, by the normal equations and Cholesky's factors of them.</summary>
    private static double[] Autoregression(float[] values, int training)
    {
        int count = Week + SeasonalSeries.Features + 1;
        var normal = new double[count, count];
        var right = new double[count];
        var x = new double[count];
        for (int t = Week - 1; t + 1 < training; t++)
        {
            Regressors(values, t, x);
            for (int i = 0; i < count; i++)
            {
                right[i] += x[i] * values[t + 1];
                for (int j = 0; j <= i; j++)
                    normal[i, j] += x[i] * x[j];
            }
        }
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j <= i; j++)
            {
                double sum = normal[i, j] + (i == j ? 1e-6 : 0);
                for (int k = 0; k < j; k++)
                    sum -= normal[i, k] * normal[j, k];
                normal[i, j] = i == j ? Math.Sqrt(sum) : sum / normal[j, j];
            }
            for (int k = 0; k < i; k++)
                right[i] -= normal[i, k] * right[k];
            right[i] /= normal[i, i];
        }
        for (int i = count - 1; i >= 0; i--)
        {
            for (int k = i + 1; k < count; k++)
                right[i] -= normal[k, i] * right[k];
            right[i] /= normal[i, i];
        }
        return right;
    }
}
