using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>How fast a model is here.</summary>
internal static class BenchCommand
{
    public static Command Create()
    {
        var model = new ModelFlags();
        Option<int> prompt = new("--prompt-tokens") { Description = "Tokens of the prompt.", HelpName = "N", DefaultValueFactory = static _ => 256 };
        Option<int> tokens = new("--tokens") { Description = "Tokens that are decoded behind it.", HelpName = "N", DefaultValueFactory = static _ => 64 };
        Option<int> rounds = new("--rounds") { Description = "How often; the median and the best are shown. One more before them is not counted.", HelpName = "N", DefaultValueFactory = static _ => 5 };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("bench", "Measure how many tokens of a prompt, and of an answer, a model does in a second here.") { prompt, tokens, rounds, json };
        model.AddTo(command);
        command.SetAction(result =>
        {
            (int count, int added, int times) = (result.GetValue(prompt), result.GetValue(tokens), result.GetValue(rounds));
            if (count < 1 || added < 1 || times is < 1 or > 10_000)
            {
                throw new UsageException($"--prompt-tokens, --tokens, --rounds: expected 1 or more each, found {count}, {added} and {times}.");
            }

            using LoadedModel loaded = model.Load(result);
            Run(loaded, count, added, times, result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(LoadedModel model, int prompt, int added, int rounds, bool json)
    {
        if (model.Host.ContextLength > 0 && prompt + added > model.Host.ContextLength)
        {
            throw new UsageException($"--prompt-tokens, --tokens: expected at most {model.Host.ContextLength} together, which the context holds, found {prompt + added}.");
        }

        // Any tokens: the time is theirs all.
        var random = new Random(1);
        int[] tokens = [.. Enumerable.Range(0, prompt + added).Select(_ => random.Next(model.Host.VocabularySize))];
        var prefill = new List<double>();
        var decode = new List<double>();
        Progress.Run(json ? null : "measuring", rounds + 1, step =>
        {
            for (int round = 0; round <= rounds; round++)
            {
                model.Session.Reset();
                long start = Stopwatch.GetTimestamp();
                model.Session.Prefill(tokens.AsSpan(0, prompt));
                double first = Stopwatch.GetElapsedTime(start).TotalSeconds;
                start = Stopwatch.GetTimestamp();
                for (int i = prompt; i < tokens.Length; i++)
                {
                    model.Session.Decode(tokens[i]);
                }

                double second = Stopwatch.GetElapsedTime(start).TotalSeconds;
                if (round > 0)
                {
                    prefill.Add(prompt / first);
                    decode.Add(added / second);
                }

                step();
            }
        });
        prefill.Sort();
        decode.Sort();
        if (json)
        {
            Console.Out.WriteLine(new JsonObject
            {
                ["prefill_tokens_per_second"] = Math.Round(prefill[rounds / 2], 1),
                ["prefill_best"] = Math.Round(prefill[^1], 1),
                ["tokens_per_second"] = Math.Round(decode[rounds / 2], 1),
                ["tokens_per_second_best"] = Math.Round(decode[^1], 1),
                ["load_ms"] = Math.Round(model.LoadMilliseconds, 2),
                ["rounds"] = rounds,
            }.ToJsonString(JsonText.Options));
        }
        else
        {
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"prefill of {prompt}: {prefill[rounds / 2]:N1} tokens/s (best {prefill[^1]:N1}); decode of {added}: {decode[rounds / 2]:N1} tokens/s (best {decode[^1]:N1}); {rounds} rounds, loaded in {model.LoadMilliseconds:N0} ms"));
        }
    }
}
