using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Continues a text.</summary>
internal static class GenerateCommand
{
    public static Command Create()
    {
        var model = new ModelFlags();
        var sampling = new SamplingFlags();
        Option<string?> prompt = new("--prompt") { Description = "The text to continue. Without it the model starts from its first token.", HelpName = "TEXT" };
        Option<string?> promptIds = new("--prompt-ids") { Description = "The token ids to continue, with commas between, in the place of a text.", HelpName = "IDS" };
        Option<int> tokens = new("--tokens") { Description = "The most tokens to add.", HelpName = "N", DefaultValueFactory = static _ => 128 };
        Option<bool> ignoreEnd = new("--ignore-eos") { Description = "Go on behind the token that ends a text." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("generate", "Continue a text with a model.") { prompt, promptIds, tokens, ignoreEnd, json };
        model.AddTo(command);
        sampling.AddTo(command);
        var grammar = new GrammarFlags();
        grammar.AddTo(command);
        command.SetAction(result =>
        {
            int count = result.GetValue(tokens);
            if (count < 0)
            {
                throw new UsageException($"--tokens: expected 0 or more, found {count}.");
            }

            int[]? ids = Ids(result.GetValue(promptIds));
            SamplingOptions options = sampling.Read(result);
            Grammar? rules = grammar.Read(result);
            using LoadedModel loaded = model.Load(result);
            Run(loaded, result.GetValue(prompt), ids, count, options, rules, result.GetValue(ignoreEnd), result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static int[]? Ids(string? text)
    {
        if (text is null)
        {
            return null;
        }

        string[] parts = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return [.. parts.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id : throw new UsageException($"--prompt-ids: expected token ids with commas between, found '{part}'."))];
    }

    private static void Run(LoadedModel loaded, string? prompt, int[]? promptIds, int tokens, SamplingOptions sampling, Grammar? grammar, bool ignoreEnd, bool json)
    {
        (ModelSource source, TextTokenizer? tokenizer, IModelHost model, CausalSession session) = (loaded.Source, loaded.Tokenizer, loaded.Host, loaded.Session);
        int[] start = Prompt(source, tokenizer, prompt, promptIds);
        if (start.Length == 0)
        {
            throw new ToolException("The prompt has no tokens.");
        }

        if (start.FirstOrDefault(id => id >= model.VocabularySize, -1) is >= 0 and int outside)
        {
            throw new UsageException($"{(promptIds is null ? "--tokenizer" : "--prompt-ids")}: expected token ids below {model.VocabularySize}, which the model has, found {outside}.");
        }

        int room = model.ContextLength > 0 ? model.ContextLength - start.Length : int.MaxValue;
        if (room < 0)
        {
            throw new UsageException($"{(promptIds is null ? "--prompt" : "--prompt-ids")}: expected at most {model.ContextLength} tokens, which the context holds, found {start.Length}.");
        }

        // Continuing from the first token alone, the space that this kind of tokenizer puts before a text is none of the model's.
        GeneratedText? text = tokenizer is null ? null : new GeneratedText(tokenizer, dropsSpace: prompt is null && tokenizer.Vocabulary.AddsSpace, json ? null : Console.Out);
        if (!json && text is not null && prompt is not null)
        {
            Console.Out.Write(prompt);
        }

        TokenConstraint? constraint = grammar?.CreateConstraint(tokenizer ?? throw new UsageException($"--grammar: {source.Weights.Path} has no tokenizer: expected --tokenizer FILE."));
        Sampler sampler = UsageException.Of(() => new Sampler(sampling, model.VocabularySize) { Constraint = constraint });
        var ids = new List<int>(Math.Min(tokens, 1 << 16));
        long prefillStart = Stopwatch.GetTimestamp();
        ReadOnlySpan<float> logits = session.Prefill(start);
        TimeSpan prefill = Stopwatch.GetElapsedTime(prefillStart);
        IReadOnlyList<int> ends = ignoreEnd ? [] : loaded.EndTokens;
        long decodeStart = Stopwatch.GetTimestamp();
        while (ids.Count < tokens && constraint?.IsComplete != true)
        {
            int token = sampler.Sample(logits);
            if (ends.Contains(token))
            {
                break;
            }

            ids.Add(token);
            text?.Add(token);
            if (ids.Count == tokens || ids.Count > room)
            {
                break;
            }

            logits = session.Decode(token);
        }

        TimeSpan decode = Stopwatch.GetElapsedTime(decodeStart);
        if (json)
        {
            var line = new JsonObject
            {
                ["text"] = text?.Finish(),
                ["ids"] = new JsonArray([.. ids.Select(static id => (JsonNode)id)]),
                ["tokens_per_second"] = Rate(Math.Max(0, ids.Count - 1), decode),
                ["prefill_tokens_per_second"] = Rate(start.Length, prefill),
                ["load_ms"] = Math.Round(loaded.LoadMilliseconds, 2),
                ["compile_ms"] = Math.Round(loaded.Assembly.Time.TotalMilliseconds, 2),
                ["compiled"] = loaded.Assembly.WasCached ? "cached" : "new",
                ["weights"] = loaded.WeightFormats,
            };
            Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
        }
        else
        {
            text?.Finish();
            Console.Out.WriteLine(text is null ? string.Join(", ", ids) : "");
        }
    }

    private static int[] Prompt(ModelSource source, TextTokenizer? tokenizer, string? prompt, int[]? promptIds)
    {
        if (promptIds is not null)
        {
            return prompt is null ? promptIds : throw new UsageException("--prompt-ids: expected no --prompt beside it.");
        }

        if (prompt is { Length: > 0 })
        {
            return tokenizer is not null ? tokenizer.EncodePrompt(prompt)
                : throw new UsageException($"--prompt: {source.Weights.Path} has no tokenizer: expected --tokenizer FILE, or --prompt-ids.");
        }

        return (tokenizer?.Vocabulary.BeginningToken ?? source.Config?.Integer("bos_token_id")) is { } first and >= 0 ? [first]
            : throw new UsageException("--prompt: nothing says what token a text begins with: expected a prompt.");
    }

    public static double Rate(int count, TimeSpan time) => time > TimeSpan.Zero ? Math.Round(count / time.TotalSeconds, 1) : 0;
}
