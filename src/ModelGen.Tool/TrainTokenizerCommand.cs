using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Trains a tokenizer on texts.</summary>
internal static class TrainTokenizerCommand
{
    public static Command Create()
    {
        Argument<string> output = new("OUT") { Description = "The tokenizer.json to write." };
        Option<string[]> texts = new("--text") { Description = "Texts, UTF-8, which are read line by line.", HelpName = "FILE", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<int> size = new("--vocab") { Description = "The tokens, the 256 bytes and special ones included.", HelpName = "N", DefaultValueFactory = static _ => 32_000 };
        Option<int> least = new("--min-count") { Description = "The least number of times that a pair stands in the texts to become a token.", HelpName = "N", DefaultValueFactory = static _ => 2 };
        Option<string> pattern = new("--pattern") { Description = "What finds words: gpt-2, dbrx (at most three digits together), qwen2 or smollm (each digit by itself).", HelpName = "NAME", DefaultValueFactory = static _ => "gpt-2" };
        Option<string[]> special = new("--special") { Description = "Special tokens, which have the first ids. [default: <|endoftext|>]", HelpName = "NAME", AllowMultipleArgumentsPerToken = true };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("train-tokenizer", "Train a tokenizer (byte-level BPE, GPT-2's kind) on texts.") { output, texts, size, least, pattern, special, json };
        command.SetAction(result =>
        {
            ByteLevelTrainingOptions options = new() { VocabularySize = result.GetValue(size), MinimumCount = result.GetValue(least), Pattern = result.GetValue(pattern)! };
            options = result.GetValue(special) is { Length: > 0 } names ? options with { SpecialTokens = names } : options;
            ByteLevelTrainer trainer;
            try
            {
                trainer = new ByteLevelTrainer(options);
            }
            catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
            {
                throw new UsageException(CommandLine.Plain(exception), exception);
            }

            Run(trainer, result.GetValue(output)!, result.GetValue(texts)!, result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(ByteLevelTrainer trainer, string output, string[] texts, bool json)
    {
        if (texts.FirstOrDefault(static path => !File.Exists(path)) is { } missing)
        {
            throw new ToolException($"{missing}: there is no such file.");
        }

        long start = Stopwatch.GetTimestamp();
        foreach (string line in Lines(texts))
        {
            trainer.Add(line);
        }

        TokenizerVocabulary vocabulary = trainer.Train();
        TokenizerFiles.Save(output, vocabulary);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary);
        (long characters, long tokens) = (0, 0);
        foreach (string line in Lines(texts).Take(20_000))
        {
            characters += line.Length;
            tokens += tokenizer.CountTokens(line);
        }

        double rate = tokens > 0 ? Math.Round((double)characters / tokens, 3) : 0;
        if (json)
        {
            Console.Out.WriteLine(new JsonObject { ["file"] = output, ["tokens"] = vocabulary.Tokens.Count, ["merges"] = vocabulary.Merges.Count, ["characters_per_token"] = rate, ["seconds"] = Math.Round(seconds, 2) }.ToJsonString(JsonText.Options));
        }
        else
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: {vocabulary.Tokens.Count:N0} tokens, {rate:F2} characters of the texts for each, {seconds:F1} s"));
        }
    }

    // With their ends, which are part of what is read later.
    private static IEnumerable<string> Lines(IEnumerable<string> paths) => paths.SelectMany(static path => File.ReadLines(path)).Select(static line => line + "\n");
}
