using System.Text.Json;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Texts and chats by sessions, and the tool's commands for them.</summary>
[Collection(ToolCommand.Collection)]
public sealed class ChatTests : IDisposable
{
    private readonly TemporaryFile _folder = new("out");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Texts_come_in_whole_characters_and_stop_where_they_should()
    {
        string expected = File.ReadAllText(TestData.File("stories260K", "expected_greedy_200.txt"));
        using LoadedModel model = Load(TestData.File("stories260K", "stories260K.bin"));
        var generator = new TextGenerator(model.Session, model.Tokenizer!);
        var greedy = new TextGenerationOptions { MaxTokens = 200, Sampling = new SamplingOptions { Temperature = 0 } };
        string[] parts = [.. generator.Generate([1], greedy)];
        Assert.Equal(expected, string.Concat(parts).TrimStart(' '));
        Assert.True(parts.Length > 100);
        Assert.Equal(TextEnd.Length, generator.End);
        Assert.Equal(200, generator.Tokens.Count);

        // What goes on from there needs the rest alone, and gives what a new session would.
        int[] longer = [1, .. generator.Tokens, .. model.Tokenizer!.Encode("The end.")];
        string continued = string.Concat(generator.Generate(longer, greedy with { MaxTokens = 20 }));
        Assert.Equal(longer.Length - 200, generator.PromptTokens - generator.ReusedTokens);
        using LoadedModel other = Load(TestData.File("stories260K", "stories260K.bin"));
        var afresh = new TextGenerator(other.Session, other.Tokenizer!);
        Assert.Equal(continued, string.Concat(afresh.Generate(longer, greedy with { MaxTokens = 20 })));
        Assert.Equal(0, afresh.ReusedTokens);

        // Another text begins anew.
        Assert.Equal(expected, string.Concat(generator.Generate([1], greedy)).TrimStart(' '));
        Assert.Equal(0, generator.ReusedTokens);

        // Texts that end it, across tokens, and none of which is shown.
        foreach (string stop in (string[])["little girl", "Lily", " play", "."])
        {
            string cut = string.Concat(generator.Generate([1], greedy with { Stops = ["nowhere to be found", stop] }));
            Assert.Equal(TextEnd.StopText, generator.End);
            Assert.Equal(expected[..expected.IndexOf(stop, StringComparison.Ordinal)], cut.TrimStart(' '));
        }

        string whole = string.Concat(generator.Generate([1], greedy with { MaxTokens = 5, Stops = ["Once upon a time, there was a dragon"] }));
        Assert.Equal(TextEnd.Length, generator.End);
        Assert.StartsWith(whole.TrimStart(' '), expected, StringComparison.Ordinal);
        Assert.True(whole.Length > 4);

        // The context is a limit.
        var endless = new TextGenerationOptions { StopsAtEnd = false, Sampling = new SamplingOptions { Temperature = 0 } };
        string all = string.Concat(generator.Generate([1], endless));
        Assert.Equal(TextEnd.Length, generator.End);
        Assert.InRange(generator.Tokens.Count, generator.ContextLength - 1, generator.ContextLength);
        Assert.StartsWith(expected, all.TrimStart(' '), StringComparison.Ordinal);
    }

    [Fact]
    public void Texts_begin_anew_each_time_and_never_in_the_midst_of_another()
    {
        using LoadedModel model = Load(TestData.File("stories260K", "stories260K.bin"));
        var generator = new TextGenerator(model.Session, model.Tokenizer!);
        var options = new TextGenerationOptions
        {
            MaxTokens = 30,
            Sampling = new SamplingOptions { Chain = [SamplingStep.Penalties(last: 64, repetition: 1.5f), SamplingStep.Temperature(1)], Seed = 3 },
            Constraint = Grammar.Parse("root ::= [a-z ]{20}").CreateConstraint(model.Tokenizer!),
        };
        IEnumerable<string> text = generator.Generate([1], options);
        string first = string.Concat(text);
        Assert.NotEqual("", first);
        Assert.Equal(first, string.Concat(text));

        // One that is left for another does not go on in the other's session.
        using IEnumerator<string> left = text.GetEnumerator();
        Assert.True(left.MoveNext());
        Assert.Equal(first, string.Concat(generator.Generate([1], options)));
        Assert.Throws<InvalidOperationException>(() => left.MoveNext());
        Assert.Equal(first, string.Concat(text));
    }

    [Fact]
    public void Generation_is_cancelled_between_tokens_and_wrong_prompts_are_refused()
    {
        using LoadedModel model = Load(TestData.File("stories260K", "stories260K.bin"));
        var generator = new TextGenerator(model.Session, model.Tokenizer!);
        using var source = new CancellationTokenSource();
        int count = 0;
        Assert.Throws<OperationCanceledException>(() =>
        {
            foreach (string part in generator.Generate([1], null, source.Token))
            {
                if (++count == 5)
                {
                    source.Cancel();
                }
            }
        });
        Assert.Equal(5, count);
        Assert.NotEqual("", string.Concat(generator.Generate([1], new TextGenerationOptions { MaxTokens = 5 })));
        Assert.Throws<ArgumentException>(() => generator.Generate([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => generator.Generate([512]));
        Assert.Throws<ArgumentException>(() => generator.Generate(new int[513]));
    }

    [Fact]
    public void Chats_remember_and_leave_out_the_oldest_turns()
    {
        using LoadedModel model = Load(TestData.File("stories260K", "stories260K.bin"));
        var generator = new TextGenerator(model.Session, model.Tokenizer!);
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{% for m in messages %}{{ m.role ~ ':' ~ m.content ~ '\n' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}{% if messages | length > 400 %}{{ raise_exception('many') }}{% endif %}");
        var chat = new ChatSession(generator, template, "Be nice.");
        var options = new TextGenerationOptions { MaxTokens = 12, Sampling = new SamplingOptions { Temperature = 0 } };
        int reused = 0;
        for (int i = 0; i < 14; i++)
        {
            string answer = string.Concat(chat.Say($"Tell me about the number {i}.", options));
            Assert.Equal(new ChatTurn("assistant", answer).Content, chat.Turns[^1].Content);
            Assert.True(generator.PromptTokens + 12 <= generator.ContextLength);
            reused += generator.ReusedTokens > 0 ? 1 : 0;
        }

        Assert.Equal(29, chat.Turns.Count);
        Assert.True(reused > 0);

        // What is cut off was not said.
        foreach (string part in chat.Say("And now?", options))
        {
            break;
        }

        Assert.Equal(29, chat.Turns.Count);
        Assert.Throws<ArgumentException>(() => string.Concat(chat.Say(new string('x', 2000), options)));
        Assert.Equal(29, chat.Turns.Count);
    }

    [Fact]
    public void Chat_and_run_take_a_template_from_the_file()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        string vocabulary = TestData.File("stories260K", "tok512.bin");
        Assert.Equal(0, ToolCommand.Run("convert", data, Beside("a.gguf"), "--tokenizer", vocabulary).Code);
        ToolCommand.Result without = ToolCommand.Run("chat", Beside("a.gguf"), "--prompt", "Hi");
        Assert.Equal(1, without.Code);
        Assert.Contains("chat template", without.Error, StringComparison.Ordinal);
        AddTemplate(Beside("a.gguf"), Beside("b.gguf"), "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}");

        // With this template, an answer is the continuation.
        string expected = ToolCommand.Json("generate", Beside("b.gguf"), "--prompt", "Once upon a time", "--tokens", "20", "--temperature", "0").GetProperty("text").GetString()!;
        foreach (string command in (string[])["chat", "run"])
        {
            JsonElement line = ToolCommand.Json(command, Beside("b.gguf"), "--prompt", "Once upon a time", "--tokens", "20", "--temperature", "0");
            Assert.Equal(expected, line.GetProperty("text").GetString());
            Assert.Equal("length", line.GetProperty("end").GetString());
            Assert.Equal(20, line.GetProperty("ids").GetArrayLength());
        }

        Assert.Equal(expected, ToolCommand.Json("run", data, "--tokenizer", vocabulary, "--prompt", "Once upon a time", "--tokens", "20", "--temperature", "0").GetProperty("text").GetString());

        // Line by line, from standard input.
        TextReader input = Console.In;
        Console.SetIn(new StringReader("Once upon a time\n/reset\nOnce upon a time\n, and then\n/exit\nno more\n"));
        try
        {
            ToolCommand.Result talk = ToolCommand.Run("chat", Beside("b.gguf"), "--tokens", "20", "--temperature", "0", "--stop", "girl", "--json");
            Assert.Equal("", talk.Error);
            JsonElement[] lines = [.. talk.Output.TrimEnd().Split('\n').Select(static line => JsonDocument.Parse(line).RootElement)];
            Assert.Equal(3, lines.Length);
            Assert.Equal("stop", lines[0].GetProperty("end").GetString());
            Assert.Equal(expected[..expected.IndexOf("girl", StringComparison.Ordinal)], lines[0].GetProperty("text").GetString());
            Assert.Equal(lines[0].GetProperty("text").GetString(), lines[1].GetProperty("text").GetString());
        }
        finally
        {
            Console.SetIn(input);
        }

        // A template lies beside a checkpoint, and goes along into a GGUF file.
        string model = RandomCheckpoint.Write(Folder, "llama", "\"eos_token_id\": [2, 7]");
        File.WriteAllText(Beside("tokenizer_config.json"), """{ "chat_template": [ { "name": "tool_use", "template": "x" }, { "name": "default", "template": "{{ messages[0].content }}!" } ] }""");
        Assert.Equal(0, ToolCommand.Run("convert", model, Beside("c.gguf"), "--tokenizer", vocabulary).Code);
        using (GgufFile file = GgufFile.Open(Beside("c.gguf")))
        {
            Assert.Equal("{{ messages[0].content }}!", file.Metadata["tokenizer.chat_template"]);
        }

        using LoadedModel loaded = LoadedModel.Of(model, vocabulary, null, new SessionOptions());
        Assert.Equal([2, 7], loaded.EndTokens);
    }

    [Fact]
    public void Sampling_is_said_on_the_command_line()
    {
        string data = TestData.File("stories260K", "stories260K.bin");
        int first = Ids("--temperature", "0")[0];
        Assert.NotEqual(first, Ids("--temperature", "0", "--logit-bias", $"{first}=-inf")[0]);
        Assert.Equal(Ids("--temperature", "0"), Ids("--temperature", "0", "--min-p", "0.5"));
        Assert.Equal(Ids("--seed", "3", "--mirostat", "3,0.1"), Ids("--seed", "3", "--mirostat", "3,0.1"));
        Assert.NotEqual(Ids("--temperature", "0", "--tokens", "120"), Ids("--temperature", "0", "--tokens", "120", "--repeat-penalty", "1.5", "--dry", "0.8", "--repeat-last", "100"));
        Ids("--typical", "0.9", "--top-n-sigma", "2", "--xtc", "0.5,0.1", "--dynamic-temperature", "0.5", "--frequency-penalty", "0.1", "--presence-penalty", "0.1", "--top-k", "40", "--top-p", "0.9");
        foreach (string[] wrong in (string[][])[["--min-p", "2"], ["--mirostat", "3"], ["--xtc", "a,b"], ["--logit-bias", "x=1"], ["--typical", "0"], ["--repeat-penalty", "0"], ["--repeat-last", "-1", "--repeat-penalty", "2"]])
        {
            ToolCommand.Result result = ToolCommand.Run(["generate", data, "--tokens", "1", .. wrong]);
            Assert.Equal(2, result.Code);
            Assert.Single(result.Error.TrimEnd().Split('\n'));
        }

        ToolCommand.Result none = ToolCommand.Run(["generate", data, "--tokenizer", TestData.File("stories260K", "tok512.bin"), "--tokens", "1", .. Enumerable.Range(0, 512).SelectMany(static id => (string[])["--logit-bias", $"{id}=-inf"])]);
        Assert.Equal(1, none.Code);
        Assert.Contains("excluded", Assert.Single(none.Error.TrimEnd().Split('\n')), StringComparison.Ordinal);

        int[] Ids(params string[] options)
            => [.. ToolCommand.Json(["generate", data, "--tokenizer", TestData.File("stories260K", "tok512.bin"), .. options.Contains("--tokens") ? options : [.. options, "--tokens", "10"]]).GetProperty("ids").EnumerateArray().Select(static id => id.GetInt32())];
    }

    private static LoadedModel Load(string path) => LoadedModel.Of(path, TestData.File("stories260K", "tok512.bin"), null, new SessionOptions { Threads = 1 });

    private static void AddTemplate(string from, string to, string template)
    {
        using GgufFile file = GgufFile.Open(from);
        var writer = new GgufWriter();
        foreach ((string key, GgufValue value) in file.Values)
        {
            writer.Set(key, value);
        }

        writer.Set("tokenizer.chat_template", template);
        foreach (GgufTensor tensor in file.Tensors)
        {
            writer.Add(tensor.Name, tensor.Shape.AsSpan(), GgmlType.F32, (start, destination) => file.ReadFloats(tensor, start, destination));
        }

        writer.Save(to);
    }

    private string Folder => Path.GetDirectoryName(_folder.Path)!;

    private string Beside(string name) => Path.Combine(Folder, name);
}
