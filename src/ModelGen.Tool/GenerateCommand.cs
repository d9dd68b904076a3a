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
        Argument<string> file = new("FILE") { Description = "A GGUF, safetensors or llama2.c file, or a folder with model.safetensors and config.json." };
        Option<string?> prompt = new("--prompt") { Description = "The text to continue. Without it the model starts from its first token.", HelpName = "TEXT" };
        Option<string?> promptIds = new("--prompt-ids") { Description = "The token ids to continue, with commas between, in the place of a text.", HelpName = "IDS" };
        Option<string?> tokenizer = new("--tokenizer") { Description = "The tokenizer, where the model's file has none: tokenizer.json, tok512.bin, or a GGUF file.", HelpName = "FILE" };
        Option<int> tokens = new("--tokens") { Description = "The most tokens to add.", HelpName = "N", DefaultValueFactory = static _ => 128 };
        Option<float> temperature = new("--temperature") { Description = "0 takes the likeliest token, 1 draws by the model's own distribution.", HelpName = "T", DefaultValueFactory = static _ => 0.8f };
        Option<int> topK = new("--top-k") { Description = "Draw among so many of the likeliest tokens; 0 for all.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<float> topP = new("--top-p") { Description = "Draw among the likeliest tokens that together have this probability.", HelpName = "P", DefaultValueFactory = static _ => 1f };
        Option<ulong> seed = new("--seed") { Description = "The same seed draws the same tokens.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<int> threads = new("--threads") { Description = "The most threads; 0 for one per processor.", HelpName = "N", DefaultValueFactory = static _ => 0 };
        Option<int?> context = new("--context") { Description = $"The longest sequence, prompt included. [default: the model's, at most {DeclaredContext.Default}]", HelpName = "N" };
        Option<bool> ignoreEnd = new("--ignore-eos") { Description = "Go on behind the token that ends a text." };
        Option<bool> json = new("--json") { Description = "Print one line of JSON and nothing else." };
        var command = new Command("generate", "Continue a text with a model.")
        {
            file, prompt, promptIds, tokenizer, tokens, temperature, topK, topP, seed, threads, context, ignoreEnd, json,
        };
        command.SetAction(result =>
        {
            int count = result.GetValue(tokens);
            if (count < 0)
            {
                throw new UsageException($"--tokens: expected 0 or more, found {count}.");
            }

            Run(
                result.GetValue(file)!,
                result.GetValue(prompt),
                Ids(result.GetValue(promptIds)),
                result.GetValue(tokenizer),
                count,
                Option(() => new SamplingOptions { Temperature = result.GetValue(temperature), TopK = result.GetValue(topK), TopP = result.GetValue(topP), Seed = result.GetValue(seed) }),
                Option(() => new SessionOptions { Threads = result.GetValue(threads) }),
                result.GetValue(context),
                result.GetValue(ignoreEnd),
                result.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    // Options check themselves.
    private static T Option<T>(Func<T> make)
    {
        try
        {
            return make();
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message, exception);
        }
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

    private static void Run(string path, string? prompt, int[]? promptIds, string? tokenizerPath, int tokens, SamplingOptions sampling, SessionOptions sessionOptions, int? context, bool ignoreEnd, bool json)
    {
        using ModelSource source = ModelSource.Open(path);
        TextTokenizer? tokenizer = Tokenizers.Find(source, tokenizerPath) is { } vocabulary ? TextTokenizer.Create(vocabulary) : null;
        ModelCode code = source.Declare(context);
        ModelAssembly assembly = ModelAssembly.Of(code);
        IModelHost model = ModelHost.Of(assembly.Type);

        long loadStart = Stopwatch.GetTimestamp();
        model.Load(source.Weights.Path);
        using CausalSession session = model.CreateSession(sessionOptions);
        double loadMilliseconds = Stopwatch.GetElapsedTime(loadStart).TotalMilliseconds;

        int[] start = Prompt(source, tokenizer, prompt, promptIds);
        if (start.Length == 0)
        {
            throw new ToolException("The prompt has no tokens.");
        }

        if (start.FirstOrDefault(id => id >= model.VocabularySize, -1) is >= 0 and int outside)
        {
            throw new ToolException($"The prompt has the token {outside}, but the model has {model.VocabularySize}.");
        }

        int room = model.ContextLength > 0 ? model.ContextLength - start.Length : int.MaxValue;
        if (room < 0)
        {
            throw new ToolException($"The prompt has {start.Length} tokens, but the context holds {model.ContextLength}.");
        }

        // Continuing from the first token alone, the space that this kind of tokenizer puts before a text is none of the model's.
        GeneratedText? text = tokenizer is null ? null : new GeneratedText(tokenizer, dropsSpace: prompt is null && tokenizer.Vocabulary.AddsSpace, json ? null : Console.Out);
        if (!json && text is not null && prompt is not null)
        {
            Console.Out.Write(prompt);
        }

        var sampler = new Sampler(sampling, model.VocabularySize);
        var ids = new List<int>(Math.Min(tokens, 1 << 16));
        long prefillStart = Stopwatch.GetTimestamp();
        ReadOnlySpan<float> logits = session.Prefill(start);
        TimeSpan prefill = Stopwatch.GetElapsedTime(prefillStart);
        int? end = ignoreEnd ? null : tokenizer?.Vocabulary.EndToken ?? source.Config?.Integer("eos_token_id");
        long decodeStart = Stopwatch.GetTimestamp();
        while (ids.Count < tokens)
        {
            int token = sampler.Sample(logits);
            if (token == end)
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
                ["load_ms"] = Math.Round(loadMilliseconds, 2),
                ["compile_ms"] = Math.Round(assembly.Time.TotalMilliseconds, 2),
                ["compiled"] = assembly.WasCached ? "cached" : "new",
                ["weights"] = "F32",
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

    private static double Rate(int count, TimeSpan time) => time > TimeSpan.Zero ? Math.Round(count / time.TotalSeconds, 1) : 0;
}
