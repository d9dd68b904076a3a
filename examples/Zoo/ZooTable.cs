using System.Globalization;
using System.Text;

namespace Zoo;

/// <summary>The table of all rows, as Markdown.</summary>
internal static class ZooTable
{
    private static readonly string[] s_heads = ["row", "family", "parameters", "training", "figure", "value", "target", "PyTorch", "lines of the family"];

    /// <summary>The cells of a row.</summary>
    public static string[] Cells(RowReport report)
    {
        Figure figure = report.Outcome.Figures[0];
        return
        [
            report.Row.Name,
            report.Row.Family,
            report.Outcome.Parameters.ToString("N0", CultureInfo.InvariantCulture),
            string.Create(CultureInfo.InvariantCulture, $"{report.Training.TotalSeconds:F0} s"),
            figure.Name,
            figure.Value.ToString("0.####", CultureInfo.InvariantCulture) + (report.Outcome.Met ? "" : " (missed)"),
            string.Create(CultureInfo.InvariantCulture, $"{(figure.LowerIsBetter ? "≤" : "≥")} {figure.Target:0.####}"),
            PeerValues.Of(figure.Peer)?.ToString("0.####", CultureInfo.InvariantCulture) ?? "-",
            Repository.Lines(report.Row.FamilyFile)?.ToString(CultureInfo.InvariantCulture) ?? "-",
        ];
    }

    public static IReadOnlyList<string> Heads => s_heads;

    public static string Markdown(IReadOnlyList<RowReport> reports)
    {
        var text = new StringBuilder();
        text.Append("# The zoo\n\n");
        text.Append("Every family of models, trained on data that can go wrong. Written by `dotnet run -c Release --project examples/Zoo -- all`; one row: `-- ROW`, `-- list` names them.\n\n");
        text.Append("PyTorch's values are those of its own modules from the same initial weights, on the same batches in the same order, with the same optimizer, schedule and decoding: `-- ROW --export FOLDER` writes them down, and `tests/fixtures/train_zoo.py` repeats the training.\n\n");
        text.Append("| ").AppendJoin(" | ", s_heads).Append(" |\n|").Append(string.Concat(Enumerable.Repeat("---|", s_heads.Length))).Append('\n');
        foreach (RowReport report in reports)
        {
            string[] cells = Cells(report);
            string page = report.Row.Family.ToLowerInvariant() + ".md";
            if (Repository.Root is { } root && File.Exists(Path.Combine(root, "docs", "models", page)))
                cells[1] = $"[{cells[1]}]({page})";
            text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");
        }
        text.Append("\nWhat each row trains on what, and what else it checks:\n\n");
        foreach (RowReport report in reports)
        {
            text.Append("- `").Append(report.Row.Name).Append("`: ").Append(report.Row.Description);
            foreach (Figure figure in report.Outcome.Figures.Skip(1))
            {
                text.Append(CultureInfo.InvariantCulture, $" {figure.Name}: {figure.Value:0.####} ({(figure.LowerIsBetter ? "≤" : "≥")} {figure.Target:0.####}{(figure.Met ? "" : ", missed")}{RowReport.Beside(figure)}).");
            }
            text.Append('\n');
        }
        return text.ToString();
    }
}
