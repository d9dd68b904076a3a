using System.CommandLine;
using System.Globalization;
using System.Reflection;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace ModelGen.Tool;

/// <summary>Lists what a file holds, and what its model costs.</summary>
internal static class InspectCommand
{
    // The constants of a compiled model that say what it costs, and what they are.
    private static readonly (string Name, string Meaning)[] s_costs =
    [
        ("ParameterCount", "parameters"),
        ("WeightBytes", "bytes of weights"),
        ("InferenceArenaBytes", "bytes of the arena of a session"),
        ("SessionStateBytes", "bytes of the state of a session (key/value cache)"),
        ("KvBytesPerToken", "bytes of the cache per token"),
        ("FlopsPerToken", "floating-point operations per token"),
        ("WorkerScratchBytes", "bytes of scratch memory per thread"),
        ("VocabularySize", "token ids"),
        ("ContextLength", "tokens of context"),
    ];

    public static Command Create()
    {
        Argument<string> file = new("FILE") { Description = "A GGUF, safetensors or llama2.c file." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON." };
        Option<int?> context = new("--context") { Description = $"The longest sequence of the declaration. [default: the model's, at most {DeclaredContext.Default}]", HelpName = "N" };
        Option<bool> noCost = new("--no-cost") { Description = "Do not compile the model, which tells what it costs." };
        var command = new Command("inspect", "List a file's tensors and metadata, the declaration of its model, and what that costs.") { file, context, noCost, json };
        command.SetAction(result =>
        {
            Run(result.GetValue(file)!, result.GetValue(context), !result.GetValue(noCost), result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(string path, int? context, bool withCost, bool json)
    {
        using ModelSource source = ModelSource.Open(path);
        GgufFile? gguf = source.Gguf;

        // As the file has it, not as checkpoints do.
        WeightFile file = gguf ?? source.Weights;
        string? declaration = null;
        string? unknown = null;
        var costs = new List<(string Name, string Meaning, long Value)>();
        try
        {
            ModelCode code = source.DeclareAsStored(context);
            declaration = code.Shown;
            if (withCost)
            {
                costs = Costs(ModelAssembly.Of(code).Type);
            }
        }
        catch (ToolException exception) when (exception is not UsageException)
        {
            // A file can be listed whose model is not known.
            unknown = CommandLine.OneLine(exception.Message);
        }

        if (json)
        {
            PrintJson(source, file, gguf, declaration, unknown, costs);
        }
        else
        {
            Print(source, file, gguf, declaration, unknown, costs);
        }
    }

    private static List<(string Name, string Meaning, long Value)> Costs(Type model)
    {
        var costs = new List<(string, string, long)>();
        foreach ((string name, string meaning) in s_costs)
        {
            if (model.GetField(name, BindingFlags.Public | BindingFlags.Static)?.GetRawConstantValue() is { } value)
            {
                costs.Add((name, meaning, Convert.ToInt64(value, CultureInfo.InvariantCulture)));
            }
        }

        return costs;
    }

    private static string FormatOf(ModelSource source, GgufFile? gguf) => source.Weights.Format switch
    {
        WeightFileFormat.Gguf => $"GGUF v{gguf!.Version}",
        WeightFileFormat.Llama2c => "llama2.c",
        WeightFileFormat.Llmc => "llm.c",
        WeightFileFormat.PyTorch => "PyTorch",
        WeightFileFormat.NumPy => "NumPy",
        _ => "safetensors",
    };

    private static void PrintJson(ModelSource source, WeightFile file, GgufFile? gguf, string? declaration, string? unknown, List<(string Name, string Meaning, long Value)> costs)
    {
        var line = new JsonObject
        {
            ["file"] = source.Weights.Path,
            ["format"] = FormatOf(source, gguf),
            ["bytes"] = new FileInfo(source.Weights.Path).Length,
            ["parameters"] = file.Tensors.Sum(static tensor => tensor.Length),
            ["metadata"] = new JsonObject(file.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal).Select(static entry => KeyValuePair.Create(entry.Key, (JsonNode?)entry.Value))),
            ["tensors"] = new JsonArray([.. file.Tensors.Select(static tensor => (JsonNode)new JsonObject
            {
                ["name"] = tensor.Name,
                ["type"] = tensor.TypeName,
                ["shape"] = new JsonArray([.. tensor.Shape.Select(static extent => (JsonNode)extent)]),
                ["bytes"] = tensor.ByteLength,
            })]),
            ["declaration"] = declaration,
        };
        if (unknown is not null)
        {
            line["problem"] = unknown;
        }

        if (costs.Count > 0)
        {
            line["cost"] = new JsonObject(costs.Select(static cost => KeyValuePair.Create(cost.Name, (JsonNode?)cost.Value)));
        }

        Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
    }

    private static void Print(ModelSource source, WeightFile file, GgufFile? gguf, string? declaration, string? unknown, List<(string Name, string Meaning, long Value)> costs)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings());
        if (Console.IsOutputRedirected)
        {
            // A file has no width that names were to be cut at.
            console.Profile.Width = 1 << 12;
        }

        Line(string.Create(CultureInfo.InvariantCulture, $"{source.Weights.Path}: {FormatOf(source, gguf)}, {new FileInfo(source.Weights.Path).Length:N0} bytes, {file.Tensors.Sum(static tensor => tensor.Length):N0} elements in {file.Tensors.Count} tensors"));
        if (file.Metadata.Count > 0)
        {
            Table metadata = new Table { Border = TableBorder.Simple }.AddColumns("metadata", "value");
            foreach ((string key, string value) in file.Metadata.OrderBy(static entry => entry.Key, StringComparer.Ordinal))
            {
                metadata.AddRow(new Text(CommandLine.Printable(key, 100)), new Text(CommandLine.Printable(value, 200)));
            }

            console.Write(metadata);
        }

        Table tensors = new Table { Border = TableBorder.Simple }.AddColumns("tensor", "type", "shape", "bytes");
        foreach (WeightTensor tensor in file.Tensors)
        {
            tensors.AddRow(new Text(CommandLine.Printable(tensor.Name, 100)), new Text(tensor.TypeName), new Text(string.Join(" × ", tensor.Shape)), new Text(tensor.ByteLength.ToString("N0", CultureInfo.InvariantCulture)));
        }

        console.Write(tensors);
        Line(declaration is not null ? $"declared as {declaration}" : $"no declaration: {unknown}");
        foreach ((_, string meaning, long value) in costs)
        {
            Line(string.Create(CultureInfo.InvariantCulture, $"  {value,20:N0} {meaning}"));
        }

        if (declaration is not null && unknown is not null)
        {
            Line($"not compiled: {unknown}");
        }

        // Not through the console's own wrapping, which would cut a declaration in lines.
        static void Line(string text) => Console.Out.WriteLine(text);
    }
}
