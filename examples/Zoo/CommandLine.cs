using System.CommandLine;
using System.Diagnostics;
using Examples;
using Examples.Views;
using Spectre.Console;

namespace Zoo;

/// <summary>A sub-command for each row, <c>list</c> and <c>all</c>.</summary>
internal static class CommandLine
{
    public static int Run(string[] arguments)
    {
        var root = new RootCommand("Trains a small model of every family, each in at most three minutes on two cores, and says whether it has learned.\n\nExit codes: 0 done and the targets met, 1 a target missed or a failure, 2 an option is wrong.");
        var list = new Command("list", "Name the rows.");
        list.SetAction(_ =>
        {
            int width = ZooRows.All.Max(row => row.Name.Length);
            foreach (ZooRow row in ZooRows.All)
                Console.Out.WriteLine($"{row.Name.PadRight(width)}  {row.Description}");
            return ExitCode.Success;
        });
        root.Add(list);
        root.Add(All());
        foreach (ZooRow row in ZooRows.All)
            root.Add(One(row));
        return Options.Run(root, arguments);
    }

    private static Command One(ZooRow row)
    {
        Option<int> seed = Seed();
        Option<long?> steps = Steps();
        Option<string?> text = new("--text") { Description = $"Train on this file instead: {row.TextHelp}.", HelpName = "FILE" };
        Option<string?> plots = Plots();
        Option<string?> export = new("--export") { Description = "Write the trainings that PyTorch can repeat to this folder: weights, batches, learning rates.", HelpName = "FOLDER" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON at the end, and nothing else, to standard output. Progress goes to standard error." };
        var command = new Command(row.Name, row.Description) { seed, steps, plots, export, json };
        if (row.TextHelp is not null)
            command.Add(text);
        Argument<string?>? argument = null;
        if (row.Argument is { } own)
        {
            argument = new Argument<string?>(own.Name) { Description = own.Description, Arity = ArgumentArity.ZeroOrOne };
            command.Add(argument);
        }
        command.SetAction(result =>
        {
            bool asJson = result.GetValue(json);
            RowReport report = Run(row, asJson, result.GetValue(seed), result.GetValue(steps), result.GetValue(plots), result.GetValue(export), row.TextHelp is null ? null : result.GetValue(text), argument is null ? null : result.GetValue(argument));
            if (asJson)
            {
                Console.Out.WriteLine(report.ToJson());
            }
            else
            {
                using ITrainingView view = OpenView(false, "");
                view.Figures(report.Figures);
            }
            return report.Outcome.Met ? ExitCode.Success : ExitCode.Failure;
        });
        return command;
    }

    private static Command All()
    {
        Option<int> seed = Seed();
        Option<string?> plots = Plots();
        Option<string?> output = new("--output") { Description = "Where to write the table. [default: docs/models/README.md of the repository]", HelpName = "FILE" };
        var command = new Command("all", "Run every row, print the table and write docs/models/README.md.") { seed, plots, output };
        command.SetAction(result =>
        {
            string path = result.GetValue(output)
                ?? (Repository.Root is { } folder ? Path.Combine(folder, "docs", "models", "README.md") : throw new UserException("There is no repository here to write the table to: --output FILE."));
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            var reports = new List<RowReport>();
            foreach (ZooRow row in ZooRows.All)
            {
                // Written after each row, so that half an hour's figures do not hang on the last.
                reports.Add(Run(row, json: false, result.GetValue(seed), null, result.GetValue(plots), null, null, null));
                File.WriteAllText(path, ZooTable.Markdown(reports));
            }
            var table = new Table().Border(TableBorder.Rounded);
            foreach (string head in ZooTable.Heads)
                table.AddColumn(head);
            foreach (RowReport report in reports)
                table.AddRow([.. ZooTable.Cells(report).Select(Markup.Escape)]);
            AnsiConsole.Write(table);
            return reports.TrueForAll(report => report.Outcome.Met) ? ExitCode.Success : ExitCode.Failure;
        });
        return command;
    }

    private static RowReport Run(ZooRow row, bool json, int seed, long? steps, string? plots, string? export, string? text, string? argument)
    {
        if (plots is not null)
            Directory.CreateDirectory(plots);
        long start = Stopwatch.GetTimestamp();
        var context = new RowContext(unit => OpenView(json, unit))
        {
            Seed = seed,
            Steps = steps,
            TextPath = text,
            Argument = argument,
            PlotsFolder = plots,
            ExportFolder = export,
            DataFolder = Repository.DataFolder,
        };
        RowOutcome outcome = row.Run(context);
        return new RowReport(row, outcome, Stopwatch.GetElapsedTime(start), context.TrainingTime, context.AllocatedBytesPerStep);
    }

    private static ITrainingView OpenView(bool json, string unit) =>
        json || Console.IsOutputRedirected || Console.IsErrorRedirected
            ? new PlainView(Console.Error, json ? Console.Error : Console.Out, unit)
            : new LiveView(unit);

    private static Option<int> Seed() => Options.Number("--seed", "The seed of weights, data and batches.", 1, Options.AtLeast(0));

    private static Option<long?> Steps()
    {
        Option<long?> steps = new("--steps") { Description = "The number of training steps. [default: what the row needs]", HelpName = "N" };
        steps.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<long?>() is <= 0)
                result.AddError("--steps: expected a number, at least 1.");
        });
        return steps;
    }

    private static Option<string?> Plots() => new("--plots") { Description = "Write the row's pictures to this folder, as SVG and PNG.", HelpName = "FOLDER" };
}
