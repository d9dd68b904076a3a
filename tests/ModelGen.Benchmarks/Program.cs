using System.CommandLine;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ModelGen;
using ModelGen.Benchmarks.Measuring;
using ModelGen.Benchmarks.Reporting;
using ModelGen.Benchmarks.Rows;
using ModelGen.Runtime;

Argument<string[]> rows = new("row") { Description = "The rows to measure, as `list` names them.", Arity = ArgumentArity.OneOrMore };
rows.AcceptOnlyFromAmong([.. Row.All.Select(static row => row.Name)]);
Option<int> repeats = new("--repeats") { Description = "Times measured for each case; 0: as many as suit the row." };
Option<int> threads = new("--threads") { Description = "Threads; 0: the thread counts of the row." };
Option<double> seconds = new("--seconds") { Description = "The shortest time of one repeat; 0: what suits the row." };
Option<string> side = new("--side") { Description = "A name for this build in the results.", DefaultValueFactory = static _ => "ours" };
Option<int> round = new("--round") { Description = "The number of the round in the results." };
Command measure = new("measure", "Measures rows in this process and prints one line of JSON for each case.") { rows, repeats, threads, seconds, side, round };
measure.SetAction(result =>
{
    MeasureSettings settings = new(result.GetValue(repeats), result.GetValue(threads), result.GetValue(seconds));
    foreach (string name in result.GetValue(rows)!)
    {
        foreach (Measurement measurement in Row.All.First(row => row.Name == name).Measure(settings))
        {
            Console.Out.WriteLine((measurement with
            {
                Side = result.GetValue(side)!,
                Round = result.GetValue(round),
                Runtime = RuntimeName(),
                VectorBits = Simd.VectorBits,
                Path = Simd.PathName,
            }).ToJson());
        }
    }
});

Argument<FileInfo> results = new("results") { Description = "A file with the lines that `measure` and the peers printed." };
results.AcceptExistingOnly();
Command report = new("report", "Prints the comparison of a results file as Markdown.") { results };
report.SetAction(result => Console.Out.Write(Report.Markdown(File.ReadLines(result.GetValue(results)!.FullName).Where(static line => line.Length > 0).Select(Measurement.Parse))));

Command list = new("list", "Lists the rows.");
list.SetAction(_ =>
{
    foreach (Row row in Row.All)
    {
        Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{row.Name,-14} {row.Description}"));
    }
});

Argument<DirectoryInfo> folder = new("folder") { Description = "Where the files go." };
Command export = new("export", "Writes the encoders of the row `encoder` for a peer: weights, tokens, and the hidden states that it must find too.") { folder };
export.SetAction(result => EncoderRow.Export(result.GetValue(folder)!.FullName));

RootCommand root = new("Measures what the compiler emits.") { measure, report, list, export };
#if BENCHMARKDOTNET
Command benchmark = new("benchmark", "Runs BenchmarkDotNet; its arguments follow.") { TreatUnmatchedTokensAsErrors = false };
benchmark.SetAction(static result =>
{
    string[] arguments = [.. result.UnmatchedTokens];
    BenchmarkDotNet.Running.BenchmarkSwitcher.FromAssembly(typeof(Row).Assembly).Run(arguments.Length == 0 ? ["--filter", "*"] : arguments);
});
root.Subcommands.Add(benchmark);
Command stages = new("stages", "Prints what each stage of the compiler takes for 12, 24 and 48 layers.");
stages.SetAction(_ => Console.Out.Write(ModelGen.Benchmarks.CompilerStages.Measure(rounds: 11)));
root.Subcommands.Add(stages);
#endif
return root.Parse(args).Invoke();

static string RuntimeName() => RuntimeFeature.IsDynamicCodeCompiled ? RuntimeInformation.FrameworkDescription : $"{RuntimeInformation.FrameworkDescription} NativeAOT";
