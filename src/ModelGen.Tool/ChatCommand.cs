using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;

namespace ModelGen.Tool;

/// <summary>Talks with a model by its chat template.</summary>
internal static class ChatCommand
{
    /// <summary>Talks with a model.</summary>
    public static Command Create() => Create("chat", "Talk with a model by the chat template of its file. /exit ends it, /reset begins anew, Ctrl-C ends an answer.", withoutTemplate: false);

    /// <summary>The same, or the continuation of a text where a model has no template.</summary>
    public static Command CreateRun() => Create("run", "Run a model: talk with it where its file has a chat template, continue a text where it has none.", withoutTemplate: true);

    private static Command Create(string name, string description, bool withoutTemplate)
    {
        var model = new ModelFlags();
        var sampling = new SamplingFlags();
        Option<string?> prompt = new("--prompt") { Description = "Say this and end with the answer. Without it, what is said is read line by line.", HelpName = "TEXT" };
        Option<string?> system = new("--system") { Description = "What the model is told beforehand.", HelpName = "TEXT" };
        Option<int> tokens = new("--tokens") { Description = "The most tokens of an answer.", HelpName = "N", DefaultValueFactory = static _ => 1024 };
        Option<string[]> stops = new("--stop") { Description = "A text that ends an answer. May be given several times.", HelpName = "TEXT" };
        Option<bool> json = new("--json") { Description = "Print one line of JSON for each answer and nothing else." };
        var command = new Command(name, description) { prompt, system, tokens, stops, json };
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

            var options = new TextGenerationOptions { MaxTokens = count, Sampling = sampling.Read(result), Stops = result.GetValue(stops) ?? [] };
            Grammar? rules = grammar.Read(result);
            using LoadedModel loaded = model.Load(result);
            // Tokens that it names may be none of the model's.
            _ = UsageException.Of(() => new Sampler(options.Sampling, loaded.Host.VocabularySize));
            if (rules is not null && loaded.Tokenizer is { } tokenizer)
            {
                options = options with { Constraint = rules.CreateConstraint(tokenizer) };
            }

            Run(loaded, options, result.GetValue(prompt), result.GetValue(system), result.GetValue(json), withoutTemplate);
            return ExitCode.Success;
        });
        return command;
    }

    private static void Run(LoadedModel model, TextGenerationOptions options, string? prompt, string? system, bool json, bool withoutTemplate)
    {
        TextTokenizer tokenizer = model.Tokenizer ?? throw new UsageException($"{model.Source.Weights.Path} has no tokenizer: expected --tokenizer FILE.");
        var generator = new TextGenerator(model.Session, tokenizer);
        ChatTemplate? template = ChatTemplates.Find(model.Source) is { } source ? ChatTemplate.Parse(source)
            : withoutTemplate ? null
            : throw new ToolException($"{model.Source.Weights.Path} has no chat template. modelgen generate continues a text.");
        ChatSession? chat = template is null ? null : new ChatSession(generator, template, system);
        bool isTalk = prompt is null && !json && !Console.IsInputRedirected;
        using var interruption = new Interruption();
        while ((prompt ?? NextLine(isTalk)) is { } said)
        {
            if (prompt is null && said is "/exit" or "/reset")
            {
                if (said == "/exit")
                {
                    return;
                }

                chat = template is null ? null : new ChatSession(generator, template, system);
                continue;
            }

            IEnumerable<string> parts = chat is not null ? chat.Say(said, options, interruption.Begin()) : generator.Generate(tokenizer.EncodePrompt(said), options, interruption.Begin());
            Show(generator, parts, json);
            if (prompt is not null)
            {
                return;
            }
        }
    }

    private static string? NextLine(bool isTalk)
    {
        if (isTalk)
        {
            Console.Out.Write("> ");
        }

        return Console.In.ReadLine();
    }

    private static void Show(TextGenerator generator, IEnumerable<string> parts, bool json)
    {
        var text = new StringBuilder();
        try
        {
            foreach (string part in parts)
            {
                text.Append(part);
                if (!json)
                {
                    // Bare escape codes of a model's text would be the terminal's to obey.
                    Console.Out.Write(CommandLine.ShownText(part));
                    Console.Out.Flush();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The answer is cut off, and the chat goes on without it.
        }

        if (!json)
        {
            Console.Out.WriteLine();
            return;
        }

        var line = new JsonObject
        {
            ["text"] = text.ToString(),
            ["ids"] = new JsonArray([.. generator.Tokens.Select(static id => (JsonNode)id)]),
            ["end"] = generator.End switch { TextEnd.EndToken => "end", TextEnd.StopText => "stop", TextEnd.Length => "length", _ => "cancelled" },
            ["prompt_tokens"] = generator.PromptTokens,
            ["reused_tokens"] = generator.ReusedTokens,
            ["tokens_per_second"] = GenerateCommand.Rate(Math.Max(0, generator.Tokens.Count - 1), generator.DecodeTime),
            ["prefill_tokens_per_second"] = GenerateCommand.Rate(generator.PromptTokens - generator.ReusedTokens, generator.PrefillTime),
        };
        Console.Out.WriteLine(line.ToJsonString(JsonText.Options));
    }

    /// <summary>Ctrl-C ends an answer the first time, and the program where there is none.</summary>
    private sealed class Interruption : IDisposable
    {
        private CancellationTokenSource _source = new();

        public Interruption() => Console.CancelKeyPress += OnKey;

        public CancellationToken Begin()
        {
            _source.Dispose();
            _source = new CancellationTokenSource();
            return _source.Token;
        }

        public void Dispose()
        {
            Console.CancelKeyPress -= OnKey;
            _source.Dispose();
        }

        private void OnKey(object? sender, ConsoleCancelEventArgs e)
        {
            e.Cancel = !_source.IsCancellationRequested;
            _source.Cancel();
        }
    }
}
