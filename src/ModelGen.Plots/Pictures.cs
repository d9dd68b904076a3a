using System.Globalization;
using ScottPlot;

namespace ModelGen.Plots;

/// <summary>A line of a diagram.</summary>
/// <param name="Name">What it is, for the legend; empty for none.</param>
/// <param name="X">Where its points lie.</param>
/// <param name="Y">Their values; as many. A value that is not finite is a gap.</param>
public sealed record Line(string Name, IReadOnlyList<double> X, IReadOnlyList<double> Y)
{
    /// <summary>A line over 1, 2, 3, …: a value for each step.</summary>
    /// <param name="name">What it is, for the legend; empty for none.</param>
    /// <param name="values">The values.</param>
    public static Line OfSteps(string name, IEnumerable<float> values)
    {
        double[] y = [.. values.Select(value => (double)value)];
        return new Line(name, [.. Enumerable.Range(1, y.Length).Select(step => (double)step)], y);
    }
}

/// <summary>A point of a map.</summary>
/// <param name="Label">What stands beside it; empty for nothing.</param>
/// <param name="X">Its place from left to right.</param>
/// <param name="Y">Its place from bottom to top.</param>
/// <param name="Group">What it belongs to, for its colour and the legend; empty for none.</param>
public readonly record struct MapPoint(string Label, double X, double Y, string Group = "");

/// <summary>Draws pictures of training and of trained models.</summary>
public static class Pictures
{
    private const int Width = 760;
    private const int Height = 480;
    private const int MapWidth = 900;
    private const int MapHeight = 680;

    /// <summary>A font without serifs that is installed here, the first of those that are at home somewhere; null: the library's choice.</summary>
    private static readonly string? s_font = Array.Find(["Open Sans", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans", "Liberation Sans", "Noto Sans"], name => Fonts.GetTypeface(name, bold: false, italic: false) is { } face && face.FamilyName == name);

    /// <summary>Losses by training step, such as those of training and of validation, with the training loss also as a moving average.</summary>
    /// <param name="title">The title.</param>
    /// <param name="losses">The curves, by step.</param>
    /// <param name="unit">What the loss is counted in.</param>
    /// <param name="logarithmic">Whether the loss's axis is logarithmic: it then takes losses above 0 only.</param>
    /// <exception cref="ArgumentException">There is no curve, or one has not as many places as values.</exception>
    public static Picture LossCurves(string title, IReadOnlyList<Line> losses, string unit = "nats", bool logarithmic = false) =>
        Lines(title, "step", $"loss ({unit})", losses, logarithmic);

    /// <summary>The norm of the gradient of the loss with respect to the state at each time step: how far back a recurrent model learns.</summary>
    /// <param name="title">The title.</param>
    /// <param name="norms">A curve for each model, by distance from the loss in time steps.</param>
    /// <exception cref="ArgumentException">There is no curve, or one has not as many places as values.</exception>
    public static Picture GradientNorms(string title, IReadOnlyList<Line> norms) =>
        Lines(title, "time steps before the loss", "norm of the gradient", norms, logarithmic: true);

    /// <summary>Any lines.</summary>
    /// <param name="title">The title.</param>
    /// <param name="xLabel">What runs from left to right.</param>
    /// <param name="yLabel">What the values are.</param>
    /// <param name="lines">The lines.</param>
    /// <param name="logarithmic">Whether the values' axis is logarithmic: values of 0 and below are then gaps.</param>
    /// <param name="markers">Whether points are marked.</param>
    /// <exception cref="ArgumentException">There is no line, or one has not as many places as values.</exception>
    public static Picture Lines(string title, string xLabel, string yLabel, IReadOnlyList<Line> lines, bool logarithmic = false, bool markers = false)
    {
        ArgumentNullException.ThrowIfNull(lines);
        if (lines.Count == 0)
            throw new ArgumentException("Expected a line, found none.", nameof(lines));
        Plot plot = Start(title, xLabel, yLabel);
        foreach (Line line in lines)
        {
            if (line is not { Name: not null, X: not null, Y: not null })
                throw new ArgumentException("Expected lines with names, places and values, found a null.", nameof(lines));
            if (line.X.Count != line.Y.Count)
                throw new ArgumentException(FormattableString.Invariant($"{line.Name}: expected as many places as values, found {line.X.Count} and {line.Y.Count}."), nameof(lines));
            double[] y = [.. line.Y.Select(value => !double.IsFinite(value) || (logarithmic && value <= 0) ? double.NaN : logarithmic ? Math.Log10(value) : value)];
            var scatter = plot.Add.Scatter(line.X.ToArray(), y);
            scatter.LegendText = line.Name;
            scatter.LineWidth = 2;
            scatter.MarkerSize = markers ? 7 : 0;
        }
        if (logarithmic)
        {
            plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericAutomatic
            {
                MinorTickGenerator = new ScottPlot.TickGenerators.LogMinorTickGenerator(),
                IntegerTicksOnly = true,
                LabelFormatter = exponent => "1e" + exponent.ToString("0", CultureInfo.InvariantCulture),
            };
        }
        if (lines.Any(line => line.Name.Length > 0))
            plot.ShowLegend(Edge.Right);
        return new Picture(plot, Width, Height);
    }

    /// <summary>How much each target token looks at each source token: a row of weights for each query, a column for each key.</summary>
    /// <param name="title">The title.</param>
    /// <param name="weights">The weights, queries × keys, row-major; each from 0 to 1.</param>
    /// <param name="queries">The tokens that look, from top to bottom.</param>
    /// <param name="keys">The tokens that are looked at, from left to right.</param>
    /// <exception cref="ArgumentException">There are not as many weights as tokens times tokens.</exception>
    public static Picture AttentionMap(string title, ReadOnlySpan<float> weights, IReadOnlyList<string> queries, IReadOnlyList<string> keys) =>
        HeatMap(title, weights, queries, keys, (0, 1));

    /// <summary>A matrix as colours, with a label for each row and column.</summary>
    /// <param name="title">The title.</param>
    /// <param name="values">The values, row-major.</param>
    /// <param name="rows">The rows' labels, from top to bottom.</param>
    /// <param name="columns">The columns' labels, from left to right.</param>
    /// <param name="range">The values of the darkest and of the brightest colour; null: the least and the greatest.</param>
    /// <exception cref="ArgumentException">There are not as many values as rows times columns, or none; all are NaN, which leaves a cell empty, or one is infinite; a label is null; or the range is none.</exception>
    public static Picture HeatMap(string title, ReadOnlySpan<float> values, IReadOnlyList<string> rows, IReadOnlyList<string> columns, (double Least, double Greatest)? range = null)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentNullException.ThrowIfNull(columns);
        if (values.IsEmpty || values.Length != (long)rows.Count * columns.Count)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"Expected {rows.Count} × {columns.Count} values, at least one, found {values.Length}."), nameof(values));
        }
        RequireLabels(rows, nameof(rows));
        RequireLabels(columns, nameof(columns));
        if (range is { } given && !(double.IsFinite(given.Least) && double.IsFinite(given.Greatest) && given.Least < given.Greatest))
            throw new ArgumentException(FormattableString.Invariant($"Expected a finite least value and a greater one, found {given.Least} and {given.Greatest}."), nameof(range));
        if (!values.ContainsAnyExcept(float.NaN))
            throw new ArgumentException(FormattableString.Invariant($"Expected a number to show, found {values.Length} values of NaN."), nameof(values));
        int infinite = values.IndexOfAny(float.PositiveInfinity, float.NegativeInfinity);
        if (infinite >= 0)
            throw new ArgumentException(FormattableString.Invariant($"Expected finite numbers, or NaN for a cell without one, found {values[infinite]} at row {infinite / columns.Count}, column {infinite % columns.Count}."), nameof(values));
        var matrix = new double[rows.Count, columns.Count];
        for (int i = 0; i < values.Length; i++)
            matrix[i / columns.Count, i % columns.Count] = values[i];
        return Matrix(title, matrix, rows, columns, range, numbers: null);
    }

    /// <summary>How often each class was taken for which: a row for each true class, a column for each predicted one, with the counts; a cell without any is empty.</summary>
    /// <param name="title">The title.</param>
    /// <param name="counts">The counts, true class × predicted class; the colour is the share of the row.</param>
    /// <param name="classes">The classes' names.</param>
    /// <exception cref="ArgumentException">The counts are not classes × classes, or there is no class.</exception>
    public static Picture ConfusionMatrix(string title, int[,] counts, IReadOnlyList<string> classes)
    {
        ArgumentNullException.ThrowIfNull(counts);
        ArgumentNullException.ThrowIfNull(classes);
        int size = classes.Count;
        if (size == 0 || counts.GetLength(0) != size || counts.GetLength(1) != size)
        {
            throw new ArgumentException(
                FormattableString.Invariant($"Expected {size} × {size} counts, of at least one class, found {counts.GetLength(0)} × {counts.GetLength(1)}."), nameof(counts));
        }
        RequireLabels(classes, nameof(classes));
        var shares = new double[size, size];
        for (int row = 0; row < size; row++)
        {
            long total = 0;
            for (int column = 0; column < size; column++)
                total += counts[row, column];
            for (int column = 0; column < size; column++)
                shares[row, column] = total > 0 ? (double)counts[row, column] / total : 0;
        }
        Picture picture = Matrix(title, shares, classes, classes, (0, 1), counts);
        return picture;
    }

    /// <summary>Points in the plane with their labels, such as embeddings of words brought to two dimensions by <see cref="PrincipalComponents"/>.</summary>
    /// <param name="title">The title.</param>
    /// <param name="points">The points.</param>
    /// <exception cref="ArgumentException">There is no point.</exception>
    public static Picture EmbeddingMap(string title, IReadOnlyList<MapPoint> points)
    {
        ArgumentNullException.ThrowIfNull(points);
        if (points.Count == 0)
            throw new ArgumentException("Expected a point, found none.", nameof(points));
        RequirePoints(points);
        Plot plot = Start(title, "", "");
        plot.HideGrid();
        bool legend = points.Any(point => point.Group.Length > 0);
        var layout = new LabelLayout(points, MapWidth - (legend ? 140 : 40), MapHeight - 80);
        foreach (IGrouping<string, int> group in Enumerable.Range(0, points.Count).GroupBy(i => points[i].Group))
        {
            var markers = plot.Add.ScatterPoints(group.Select(i => points[i].X).ToArray(), group.Select(i => points[i].Y).ToArray());
            markers.LegendText = group.Key;
            markers.MarkerSize = 6;
            foreach (int i in group.Where(i => points[i].Label.Length > 0))
            {
                var text = plot.Add.Text(points[i].Label, points[i].X, points[i].Y);
                text.LabelFontColor = markers.Color.Darken(0.35);
                text.LabelFontSize = LabelLayout.FontSize;
                text.LabelAlignment = Alignment.MiddleCenter;
                (text.OffsetX, text.OffsetY) = layout.Offset(i);
            }
        }
        if (legend)
            plot.ShowLegend(Edge.Right);

        // Only distances mean something.
        plot.Axes.Left.SetTicks([], []);
        plot.Axes.Bottom.SetTicks([], []);
        plot.Axes.SetLimits(layout.Left, layout.Right, layout.Bottom, layout.Top);
        return new Picture(plot, MapWidth, MapHeight);
    }

    /// <summary>What a classifier of two inputs says all over the plane, and the points that it was trained on.</summary>
    /// <param name="title">The title.</param>
    /// <param name="values">What it says, 0 to 1, of size × size places in the middle of as many cells of the square from -extent to extent: row-major, from bottom to top and from left to right.</param>
    /// <param name="size">The number of cells along a side.</param>
    /// <param name="extent">Where the square ends.</param>
    /// <param name="points">The points; those of a group have a colour of their own.</param>
    /// <exception cref="ArgumentException">There are not size × size values.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The size or the extent is not positive.</exception>
    public static Picture DecisionMap(string title, ReadOnlySpan<float> values, int size, double extent, IReadOnlyList<MapPoint> points)
    {
        ArgumentNullException.ThrowIfNull(points);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(extent);
        if (values.Length != (long)size * size)
            throw new ArgumentException(FormattableString.Invariant($"Expected {size} × {size} values, found {values.Length}."), nameof(values));
        RequirePoints(points);
        if (!double.IsFinite(extent))
            throw new ArgumentOutOfRangeException(nameof(extent), extent, "Expected a finite number.");
        var shades = new double[size, size];
        for (int i = 0; i < values.Length; i++)
            shades[size - 1 - (i / size), i % size] = values[i];
        Plot plot = Start(title, "", "");
        plot.HideGrid();
        var map = plot.Add.Heatmap(shades);
        map.Extent = new CoordinateRect(-extent, extent, -extent, extent);
        map.Colormap = new ScottPlot.Colormaps.Viridis();
        map.ManualRange = new ScottPlot.Range(0, 1);
        foreach ((int number, IGrouping<string, MapPoint> group) in points.GroupBy(point => point.Group).Index())
        {
            var markers = plot.Add.ScatterPoints(group.Select(point => point.X).ToArray(), group.Select(point => point.Y).ToArray());
            markers.LegendText = group.Key;
            markers.MarkerSize = 8;
            markers.Color = number % 2 == 0 ? Colors.White : Colors.OrangeRed;
            markers.MarkerLineColor = Colors.Black;
            markers.MarkerLineWidth = 1;
        }
        if (points.Any(point => point.Group.Length > 0))
            plot.ShowLegend(Edge.Right);
        plot.Legend.BackgroundColor = Colors.LightGray;
        plot.Add.ColorBar(map);
        plot.Axes.SetLimits(-extent, extent, -extent, extent);
        return new Picture(plot, MapWidth, MapHeight);
    }

    private static void RequirePoints(IReadOnlyList<MapPoint> points)
    {
        foreach (MapPoint point in points)
        {
            if (point.Label is null || point.Group is null || !double.IsFinite(point.X) || !double.IsFinite(point.Y))
                throw new ArgumentException(FormattableString.Invariant($"Expected points with labels, groups and finite places, found {point}."), nameof(points));
        }
    }

    private static void RequireLabels(IReadOnlyList<string> labels, string name)
    {
        for (int i = 0; i < labels.Count; i++)
        {
            if (labels[i] is null)
                throw new ArgumentException(FormattableString.Invariant($"Expected a label for each row and column, found null at {i}."), name);
        }
    }

    private static Picture Matrix(string title, double[,] shades, IReadOnlyList<string> rows, IReadOnlyList<string> columns, (double Least, double Greatest)? range, int[,]? numbers)
    {
        bool confusion = numbers is not null;
        Plot plot = Start(title, confusion ? "predicted" : "", confusion ? "true" : "");
        var map = plot.Add.Heatmap(shades);
        map.Colormap = new ScottPlot.Colormaps.Viridis();
        if (range is { } given)
            map.ManualRange = new ScottPlot.Range(given.Least, given.Greatest);

        // The first row is on top: it lies at the greatest y.
        plot.Axes.Left.SetTicks([.. Enumerable.Range(0, rows.Count).Select(i => (double)(rows.Count - 1 - i))], [.. rows]);
        plot.Axes.Bottom.SetTicks([.. Enumerable.Range(0, columns.Count).Select(i => (double)i)], [.. columns]);
        plot.Axes.Left.MajorTickStyle.Length = 0;
        plot.Axes.Bottom.MajorTickStyle.Length = 0;
        int longest = columns.Max(label => label.Length);
        if (longest > 3)
        {
            plot.Axes.Bottom.TickLabelStyle.Rotation = -60;
            plot.Axes.Bottom.TickLabelStyle.Alignment = Alignment.MiddleRight;
            plot.Axes.Bottom.MinimumSize = 20 + (6.5f * longest);
        }
        plot.HideGrid();
        plot.Axes.SetLimits(-0.5, columns.Count - 0.5, -0.5, rows.Count - 0.5);
        if (numbers is not null)
        {
            for (int row = 0; row < rows.Count; row++)
            {
                for (int column = 0; column < columns.Count; column++)
                {
                    if (numbers[row, column] == 0)
                        continue;
                    var text = plot.Add.Text(numbers[row, column].ToString(CultureInfo.InvariantCulture), column, rows.Count - 1 - row);
                    text.LabelAlignment = Alignment.MiddleCenter;
                    text.LabelFontColor = shades[row, column] > 0.6 ? Colors.Black : Colors.White;
                    text.LabelFontSize = 12;
                }
            }
        }
        plot.Add.ColorBar(map);
        int cell = confusion ? 46 : 30;
        return new Picture(
            plot,
            Math.Clamp(190 + (int)(6.5 * rows.Max(label => label.Length)) + (cell * columns.Count), 380, 1400),
            Math.Clamp(110 + (int)(longest > 3 ? 6.5 * longest : 0) + (cell * rows.Count), 320, 1400));
    }

    private static Plot Start(string title, string xLabel, string yLabel)
    {
        ArgumentNullException.ThrowIfNull(title);
        ArgumentNullException.ThrowIfNull(xLabel);
        ArgumentNullException.ThrowIfNull(yLabel);
        var plot = new Plot();
        plot.Title(title);
        plot.XLabel(xLabel);
        plot.YLabel(yLabel);
        if (s_font is not null)
            plot.Font.Set(s_font);
        return plot;
    }
}
