using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace ModelGen.Tool;

/// <summary>How well a model foresees a text.</summary>
internal static class PerplexityCommand
{
    private const int DefaultChunk = 512;

    private delegate void Scorer(ReadOnlySpan<int> tokens, Span<float> logProbabilities);

    public static Command Create()
    {
        var model = new ModelFlags();
        Option<string> text = new("--text") { Description = "The text, UTF-8.", HelpName = "FILE", Required = true };
        Option<int> chunk = new("--chunk") { Description = "Tokens that are read together. Of each chunk the first half is context alone, as llama.cpp's perplexity has it.", HelpName = "N", DefaultValueFactory = static _ => DefaultChunk };
        Option<int> chunks = new("--chunks") { Description = "Read so many chunks at the most; 0 for the whole text.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("perplexity", "Tell how well a model foresees a text: exp of the mean of -ln p over the second half of every chunk. Lower is better; compare two files of one model to see what storing weights otherwise costs.")
        {
            text, chunk, chunks, json,
        };
        model.AddTo(command);
        command.SetAction(result =>
        {
            int size = result.GetValue(chunk);
            int most = result.GetValue(chunks);
            if (size < 4 || most < 0)
            {
                throw new UsageException($"--chunk, --chunks: expected 4 tokens or more and 0 chunks or more, found {size} and {most}.");
            }

            string path = result.GetValue(text)!;
            string read = File.Exists(path) ? File.ReadAllText(path) : throw new ToolException($"{path}: there is no such file.");
            using LoadedModel loaded = model.Load(result, static code => code.With("Score", "true"));
            Run(loaded, read, size, most, result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    /// <summary>What a model makes of a text.</summary>
    /// <param name="Perplexity">exp of the mean of −ln p.</param>
    /// <param name="Error">Its standard error.</param>
    /// <param name="Tokens">The tokens that were foreseen.</param>
    /// <param name="Chunks">The chunks that were read.</param>
    /// <param name="Rate">Tokens read in a second.</param>
    public sealed record Figures(double Perplexity, double Error, long Tokens, int Chunks, double Rate);

    /// <summary>Reads a text with a model that was declared to score.</summary>
    public static Figures Measure(LoadedModel model, string text, int chunk, int most, string? progress)
    {
        TextTokenizer tokenizer = model.Tokenizer ?? throw new UsageException($"{model.Source.Weights.Path} has no tokenizer: expected --tokenizer FILE.");
        int context = model.Host.ContextLength;
        if (context > 0 && chunk > context)
        {
            throw new UsageException($"--chunk: expected at most {context}, which the context holds, found {chunk}.");
        }

        // The one place beside the host where the model's class is asked for what only some have.
        Scorer score = model.Session.GetType().GetMethod("Score", [typeof(ReadOnlySpan<int>), typeof(Span<float>)])?.CreateDelegate<Scorer>(model.Session)
            ?? throw new ToolException("The file's model cannot score texts.");
        int[] tokens = tokenizer.EncodePrompt(text);
        int count = tokens.Length / chunk;
        count = most > 0 ? Math.Min(count, most) : count;
        if (count == 0)
        {
            throw new ToolException($"The text has {tokens.Length} tokens: expected a chunk of {chunk} at least.");
        }

        float[] logProbabilities = new float[chunk - 1];
        int first = (chunk / 2) - 1;
        double sum = 0;
        double squares = 0;
        long counted = 0;
        long start = Stopwatch.GetTimestamp();
        Progress.Run(progress, count, step =>
        {
            for (int i = 0; i < count; i++)
            {
                int[] part = tokens[(i * chunk)..((i + 1) * chunk)];
                if (tokenizer.Vocabulary is { AddsBeginning: true, BeginningToken: { } beginning })
                {
                    part[0] = beginning;
                }

                model.Session.Reset();
                score(part, logProbabilities);
                foreach (float value in logProbabilities.AsSpan(first))
                {
                    sum -= value;
                    squares += (double)value * value;
                    counted++;
                }

                step();
            }
        });
        double mean = sum / counted;
        double error = counted > 1 ? Math.Sqrt(Math.Max(0, (squares / counted) - (mean * mean)) / (counted - 1)) * Math.Exp(mean) : 0;
        return new Figures(Math.Exp(mean), error, counted, count, GenerateCommand.Rate(count * chunk, Stopwatch.GetElapsedTime(start)));
    }

    private static void Run(LoadedModel model, string text, int chunk, int most, bool json)
    {
        Figures found = Measure(model, text, chunk, most, json ? null : "scoring");
        if (json)
        {
            Console.Out.WriteLine(new JsonObject { ["perplexity"] = found.Perplexity, ["error"] = found.Error, ["tokens"] = found.Tokens, ["chunks"] = found.Chunks, ["tokens_per_second"] = found.Rate }.ToJsonString(JsonText.Options));
        }
        else
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"perplexity {found.Perplexity:F4} ± {found.Error:F4} ({found.Tokens:N0} tokens in {found.Chunks} chunks of {chunk}, {found.Rate:N0} tokens/s)"));
        }
    }
}
