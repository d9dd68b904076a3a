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
            file, prompt, promptIds, tokens, temperature, topK, topP, seed, threads, context, ignoreEnd, json,
        };
        command.SetAction(result =>
        {
            int count = result.GetValue(tokens);
            if (count < 0)
            {
                throw new ToolException($"--tokens: expected 0 or more, found {count}.");
            }

            var sampling = new SamplingOptions
            {
                Temperature = result.GetValue(temperature),
                TopK = result.GetValue(topK),
                TopP = result.GetValue(topP),
                Seed = result.GetValue(seed),
            };
            Run(
                result.GetValue(file)!,
                result.GetValue(prompt),
                Ids(result.GetValue(promptIds)),
                count,
                sampling,
                new SessionOptions { Threads = result.GetValue(threads) },
                result.GetValue(context),
                result.GetValue(ignoreEnd),
                result.GetValue(json));
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
        return [.. parts.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id : throw new ToolException($"--prompt-ids: expected token ids with commas between, found '{part}'."))];
    }

    private static void Run(string path, string? prompt, int[]? promptIds, int tokens, SamplingOptions sampling, SessionOptions sessionOptions, int? context, bool ignoreEnd, bool json)
    {
        using ModelSource source = ModelSource.Open(path);
        ModelCode code = source.Declare(context);
        ModelAssembly assembly = ModelAssembly.Of(code);
        IModelHost model = ModelHost.Of(assembly.Type);

        long loadStart = Stopwatch.GetTimestamp();
        model.Load(source.Weights.Path);
        using CausalSession session = model.CreateSession(sessionOptions);
        double loadMilliseconds = Stopwatch.GetElapsedTime(loadStart).TotalMilliseconds;

        int[] start = promptIds ?? throw new ToolException("--prompt needs a tokenizer, which this file has none of: --tokenizer FILE, or --prompt-ids.");
        if (start.Length == 0)
        {
            throw new ToolException("--prompt-ids: expected a token id or more, found none.");
        }

        if (start.FirstOrDefault(id => id >= model.VocabularySize, -1) is >= 0 and int outside)
        {
            throw new ToolException($"--prompt-ids: expected ids below {model.VocabularySize}, found {outside}.");
        }

        int room = model.ContextLength > 0 ? model.ContextLength - start.Length : int.MaxValue;
        if (room < 0)
        {
            throw new ToolException($"The prompt has {start.Length} tokens, but the context holds {model.ContextLength}.");
        }

        var sampler = new Sampler(sampling, model.VocabularySize);
        var ids = new List<int>(Math.Min(tokens, 1 << 16));
        long prefillStart = Stopwatch.GetTimestamp();
        ReadOnlySpan<float> logits = session.Prefill(start);
        TimeSpan prefill = Stopwatch.GetElapsedTime(prefillStart);
        int? end = ignoreEnd ? null : source.Config?.Integer("eos_token_id");
        long decodeStart = Stopwatch.GetTimestamp();
        while (ids.Count < tokens)
        {
            int token = sampler.Sample(logits);
            if (token == end)
            {
                break;
            }

            ids.Add(token);
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
                ["text"] = null,
                ["ids"] = new JsonArray([.. ids.Select(static id => (JsonNode)id)]),
                ["tokens_per_second"] = Rate(Math.Max(0, ids.Count - 1), decode),
                ["prefill_tokens_per_second"] = Rate(start.Length, prefill),
                ["load_ms"] = Math.Round(loadMilliseconds, 2),
                ["compile_ms"] = Math.Round(assembly.Time.TotalMilliseconds, 2),
                ["compiled"] = assembly.WasCached ? "cached" : "new",
                ["weights"] = "F32",
            };
            Console.Out.WriteLine(line.ToJsonString(new JsonSerializerOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }));
        }
        else
        {
            Console.Out.WriteLine(string.Join(", ", ids));
        }
    }

    private static double Rate(int count, TimeSpan time) => time > TimeSpan.Zero ? Math.Round(count / time.TotalSeconds, 1) : 0;
}
