using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Computes embeddings of texts, and how alike they are.</summary>
internal static class EmbedCommand
{
    public static Command Create()
    {
        var model = new ModelFlags();
        Option<string[]> text = new("--text") { Description = "A text; several, each behind a --text of its own or all behind one, are compared.", HelpName = "TEXT", AllowMultipleArgumentsPerToken = true };
        Option<string?> textFile = new("--text-file") { Description = "A text in each line of a file; - for standard input.", HelpName = "FILE" };
        Option<string?> pooling = new("--pooling") { Description = "mean or cls, where the model's files do not say it rightly.", HelpName = "KIND" };
        Option<bool?> normalize = new("--normalize") { Description = "true or false: whether embeddings are divided by their norm. [default: as the model's files say]", HelpName = "BOOL" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("embed", "Compute the embeddings of texts with an encoder (BERT, MiniLM, BGE, E5, RoBERTa, DistilBERT, nomic-embed, jina-embeddings-v2, gte, ModernBERT), and the cosine of the angle between each two of them.") { text, textFile, pooling, normalize, json };
        model.AddTo(command, hasAdapter: false);
        command.SetAction(result =>
        {
            string[] texts = Texts(result.GetValue(text) ?? [], result.GetValue(textFile));
            Pooling? chosen = result.GetValue(pooling)?.ToLowerInvariant() switch
            {
                null => null,
                "mean" => Pooling.Mean,
                "cls" => Pooling.FirstToken,
                string other => throw new UsageException($"--pooling: expected mean or cls, found {other}."),
            };
            bool? normalizes = result.GetValue(normalize);
            using EncoderModel loaded = model.LoadEncoder(result, recipe => recipe with { Pooling = chosen ?? recipe.Pooling, Normalizes = normalizes ?? recipe.Normalizes });
            Run(loaded, texts, result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static string[] Texts(string[] texts, string? path)
    {
        if (path is null)
        {
            return texts.Length > 0 ? texts : throw new UsageException("--text: expected a text, or --text-file.");
        }

        string read = path == "-" ? Console.In.ReadToEnd() : File.Exists(path) ? File.ReadAllText(path) : throw new ToolException($"{path}: there is no such file.");
        string[] lines = read.Split('\n');
        return [.. texts, .. lines.Take(lines[^1].Length == 0 ? lines.Length - 1 : lines.Length).Select(static line => line.TrimEnd('\r'))];
    }

    private static void Run(EncoderModel model, string[] texts, bool json)
    {
        int[][] tokens = new int[texts.Length][];
        bool[] isCut = new bool[texts.Length];
        for (int i = 0; i < texts.Length; i++)
        {
            tokens[i] = model.Encode(texts[i], out isCut[i]);
            if (tokens[i].Length == 0)
            {
                throw new ToolException($"Text {i + 1} has no tokens.");
            }
        }

        float[][] embeddings = [.. texts.Select(_ => new float[model.Width])];
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < texts.Length; i++)
        {
            model.Embed(tokens[i], embeddings[i]);
        }

        TimeSpan time = Stopwatch.GetElapsedTime(start);
        if (json)
        {
            Console.Out.WriteLine(new JsonObject
            {
                ["embeddings"] = new JsonArray([.. embeddings.Select(static embedding => new JsonArray([.. embedding.Select(static value => (JsonNode)value)]))]),
                ["width"] = model.Width,
                ["tokens"] = new JsonArray([.. tokens.Select(static ids => (JsonNode)ids.Length)]),
                ["cut"] = new JsonArray([.. isCut.Select(static cut => (JsonNode)cut)]),
                ["cosines"] = new JsonArray([.. embeddings.Select(one => new JsonArray([.. embeddings.Select(other => (JsonNode)Math.Round(Cosine(one, other), 7))]))]),
                ["pooling"] = model.Recipe.Pooling == Pooling.Mean ? "mean" : "cls",
                ["normalized"] = model.Recipe.Normalizes,
                ["tokens_per_second"] = GenerateCommand.Rate(tokens.Sum(static ids => ids.Length), time),
                ["load_ms"] = Math.Round(model.LoadMilliseconds, 2),
                ["compile_ms"] = Math.Round(model.Assembly.Time.TotalMilliseconds, 2),
                ["compiled"] = model.Assembly.WasCached ? "cached" : "new",
            }.ToJsonString(JsonText.Options));
            return;
        }

        if (texts.Length == 1)
        {
            Console.Out.WriteLine(string.Join(' ', embeddings[0].Select(static value => value.ToString("G7", CultureInfo.InvariantCulture))));
            return;
        }

        for (int i = 0; i < texts.Length; i++)
        {
            string cosines = string.Join(' ', embeddings.Select(other => Cosine(embeddings[i], other).ToString("0.0000", CultureInfo.InvariantCulture).PadLeft(7)));
            Console.Out.WriteLine($"{cosines}  {CommandLine.Printable(texts[i], 100)}{(isCut[i] ? " (cut)" : "")}");
        }
    }

    /// <summary>The cosine of the angle between two vectors; 0 where one has no direction.</summary>
    public static double Cosine(float[] one, float[] other)
    {
        (double product, double first, double second) = (0, 0, 0);
        for (int i = 0; i < one.Length; i++)
        {
            product += (double)one[i] * other[i];
            first += (double)one[i] * one[i];
            second += (double)other[i] * other[i];
        }

        return first > 0 && second > 0 ? product / Math.Sqrt(first * second) : 0;
    }
}
