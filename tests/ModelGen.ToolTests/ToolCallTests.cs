using System.Text;
using Microsoft.Extensions.AI;
using ModelGen.Extensions.AI;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Tools that a model calls: how calls are written, held to their schemas, read and answered.</summary>
public sealed class ToolCallTests
{
    private const string WeatherSchema = """{ "type": "object", "properties": { "city": { "enum": ["Oslo", "Rome"] }, "days": { "type": "integer" } }, "required": ["city"] }""";

    private static readonly ToolDefinition[] s_tools = [new("weather", WeatherSchema), new("now", """{ "type": "object", "properties": { } }""")];

    private static readonly TextGenerationOptions s_greedy = new() { MaxTokens = 400, Sampling = new SamplingOptions { Temperature = 0 } };

    public enum Weekday
    {
        Monday,
        Tuesday,
    }

    [Fact]
    public void Calls_are_read_however_the_text_is_cut()
    {
        var random = new Random(1);
        (ToolCallSyntax Syntax, string Answer, string Text, ToolCall[] Calls)[] cases =
        [
            (ToolCallSyntax.Hermes, "Let me see: <tool\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"</tool_call>\\\"Oslo\"}}\n</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>",
                "Let me see: <tool\n", [new("weather", "{\"city\": \"</tool_call>\\\"Oslo\"}"), new("now", "{}")]),
            (ToolCallSyntax.Hermes, "a < b <t <tool_cal", "a < b <t <tool_cal", []),
            (ToolCallSyntax.Hermes, "x<tool_call>{\"name\": \"cut", "x<tool_call>{\"name\": \"cut", []),
            (ToolCallSyntax.Hermes, "x<tool_call>no call", "x<tool_call>no call", []),
            (ToolCallSyntax.Mistral, "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"漢😀\"}}, {\"name\": \"now\", \"arguments\": {}}]", "", [new("weather", "{\"city\": \"漢😀\"}"), new("now", "{}")]),
            (ToolCallSyntax.Hermes, "x<tool_call>no call <tool_call>[{\"name\":\"now\"},3]</tool_call> <tool_call>{\"name\":\"now\"}</tool_call>", "x<tool_call>no call <tool_call>[{\"name\":\"now\"},3]</tool_call> ", [new("now", "{}")]),
            (ToolCallSyntax.Llama3, "{\"a\": 1} and more", "{\"a\": 1} and more", []),
            (ToolCallSyntax.Mistral, "[TOOL] [TOOL_CALL", "[TOOL] [TOOL_CALL", []),
            (ToolCallSyntax.Llama3, " {\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo\", \"days\": 2}}", "", [new("weather", "{\"city\": \"Oslo\", \"days\": 2}")]),
            (ToolCallSyntax.Llama3, "It is {\"name\": 1}.", "It is {\"name\": 1}.", []),
        ];
        foreach ((ToolCallSyntax syntax, string answer, string text, ToolCall[] calls) in cases)
        {
            for (int round = 0; round < 60; round++)
            {
                var reader = new ToolCallReader(syntax);
                var shown = new StringBuilder();
                var found = new List<ToolCall>();
                for (int at = 0; at < answer.Length;)
                {
                    int length = Math.Min(random.Next(1, round == 0 ? 1000 : 8), answer.Length - at);
                    length += at + length < answer.Length && char.IsHighSurrogate(answer[at + length - 1]) ? 1 : 0;
                    (string added, IReadOnlyList<ToolCall> more) = reader.Add(answer.Substring(at, length));
                    shown.Append(added);
                    found.AddRange(more);
                    at += length;
                }

                shown.Append(reader.Finish());
                Assert.Equal(text, shown.ToString());
                Assert.Equal(calls, found);
            }
        }
    }

    [Theory]
    [InlineData("<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}</tool_call>", true, true)]
    [InlineData("<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 3}}\n</tool_call>", true, true)]
    [InlineData("<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>", true, true)]
    [InlineData("Well. <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>", false, true)]
    [InlineData("Just words, <tool_cal, 漢 <<tool_call", false, true)]
    [InlineData("", false, true)]
    [InlineData("<tool_call>{\"name\": \"now\", \"arguments\": {\"x\": 1}}</tool_call>", false, false)]
    [InlineData("<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Bonn\"}}</tool_call>", false, false)]
    [InlineData("<tool_call>{\"name\": \"weather\", \"arguments\": {\"days\": 1}}</tool_call>", false, false)]
    [InlineData("<tool_call>{\"name\": \"other\", \"arguments\": {}}</tool_call>", false, false)]
    [InlineData("a <<tool_call>x", false, false)]
    [InlineData("<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call> and more", false, false)]
    public void Answers_are_held_to_the_tools(string answer, bool isCalls, bool isAnswer)
    {
        byte[] text = Encoding.UTF8.GetBytes(answer);
        Assert.Equal(isCalls, Grammar.ForToolCalls(s_tools, ToolCallSyntax.Hermes, isRequired: true).Matches(text));
        Assert.Equal(isAnswer, Grammar.ForToolCalls(s_tools, ToolCallSyntax.Hermes, isRequired: false).Matches(text));
    }

    [Fact]
    public void Other_syntaxes_are_held_to_the_tools_too()
    {
        bool Matches(ToolCallSyntax syntax, string answer, bool isRequired = false, bool mayBeSeveral = true) => Grammar.ForToolCalls(s_tools, syntax, isRequired, mayBeSeveral).Matches(Encoding.UTF8.GetBytes(answer));
        Assert.True(Matches(ToolCallSyntax.Llama3, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo\"}}", isRequired: true));
        Assert.True(Matches(ToolCallSyntax.Llama3, "It is cold {here}."));
        Assert.False(Matches(ToolCallSyntax.Llama3, "{\"name\": \"weather\"}"));
        Assert.True(Matches(ToolCallSyntax.Mistral, "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"now\", \"arguments\": {}}]"));
        Assert.False(Matches(ToolCallSyntax.Mistral, "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"now\", \"arguments\": {}}]", mayBeSeveral: false));
        Assert.False(Matches(ToolCallSyntax.Mistral, "[TOOL_CALLS][]"));
        Assert.Throws<GrammarException>(() => Grammar.ForToolCalls([new("x", """{ "type": "object", "properties": { "y": { "type": "string", "pattern": "a" } } }""")], ToolCallSyntax.Hermes));
        Assert.Throws<ArgumentException>(() => Grammar.ForToolCalls([], ToolCallSyntax.Hermes));
        Assert.Equal(ToolCallSyntax.Mistral, ToolCallSyntax.Of(ChatTemplate.Parse("[TOOL_CALLS]{{ messages }}")));
        Assert.Equal(ToolCallSyntax.Hermes, ToolCallSyntax.Of(ChatTemplate.Parse(File.ReadAllText(TestData.File("templates", "Qwen-Qwen2.5-7B-Instruct.jinja")))));
    }

    [Fact]
    public async Task A_client_gives_calls_with_arguments_of_their_schema()
    {
        using LoadedModel model = Load();
        using var client = new SessionChatClient(new TextGenerator(model.Session, model.Tokenizer!), Template()) { Defaults = s_greedy };
        AIFunction plan = AIFunctionFactory.Create((Weekday day, bool early) => $"{day}{early}", "plan");
        AIFunction other = AIFunctionFactory.Create((int count) => count, "other");
        var options = new ChatOptions { Tools = [plan, other], ToolMode = ChatToolMode.RequireSpecific("plan"), AllowMultipleToolCalls = false };
        ChatResponse response = await client.GetResponseAsync([new(ChatRole.User, "Once upon a time")], options, TestContext.Current.CancellationToken);
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
        FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
        Assert.Equal("plan", call.Name);
        Assert.Equal("", response.Text);
        Assert.Equal(["day", "early"], call.Arguments!.Keys.Order());
        object? result = await plan.InvokeAsync(new AIFunctionArguments(call.Arguments), TestContext.Current.CancellationToken);
        Assert.Matches("^(Monday|Tuesday)(True|False)$", result!.ToString());

        // Streamed, calls come whole.
        int calls = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync([new(ChatRole.User, "Once upon a time")], options, TestContext.Current.CancellationToken))
        {
            calls += update.Contents.OfType<FunctionCallContent>().Count();
            Assert.Equal("", update.Text);
        }

        Assert.Equal(1, calls);

        // Where the model may and does not, the text is what it would be without tools.
        var few = new ChatOptions { MaxOutputTokens = 25 };
        ChatResponse plain = await client.GetResponseAsync([new(ChatRole.User, "Once upon a time")], few, TestContext.Current.CancellationToken);
        ChatResponse free = await client.GetResponseAsync([new(ChatRole.User, "Once upon a time")], new ChatOptions { MaxOutputTokens = 25, Tools = [other] }, TestContext.Current.CancellationToken);
        Assert.Equal(plain.Text, free.Text);
        Assert.Equal(ChatFinishReason.Length, free.FinishReason);
        ChatResponse none = await client.GetResponseAsync([new(ChatRole.User, "Once upon a time")], new ChatOptions { MaxOutputTokens = 25, Tools = [other], ToolMode = ChatToolMode.None }, TestContext.Current.CancellationToken);
        Assert.Equal(plain.Text, none.Text);
        await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync([new(ChatRole.User, "x")], new ChatOptions { Tools = [other], ToolMode = ChatToolMode.RequireSpecific("missing") }, TestContext.Current.CancellationToken));
        await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync([new(ChatRole.User, "x")], new ChatOptions { Tools = [other], ResponseFormat = ChatResponseFormat.Json }, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Functions_are_invoked_and_their_results_answered()
    {
        using LoadedModel model = Load();
        var seen = new List<(Weekday, bool)>();
        AIFunction plan = AIFunctionFactory.Create(
            (Weekday day, bool early) =>
            {
                seen.Add((day, early));
                return "planned";
            },
            "plan");
        using IChatClient client = new SessionChatClient(new TextGenerator(model.Session, model.Tokenizer!), Template()) { Defaults = s_greedy }
            .AsBuilder().UseFunctionInvocation().Build();
        var options = new ChatOptions { Tools = [plan], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false };
        ChatResponse response = await client.GetResponseAsync([new(ChatRole.User, "Once upon a time")], options, TestContext.Current.CancellationToken);
        Assert.Single(seen);

        // The call, its result, and the answer that follows it.
        Assert.Equal([ChatRole.Assistant, ChatRole.Tool, ChatRole.Assistant], response.Messages.Select(static message => message.Role));
        FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
        FunctionResultContent result = Assert.Single(response.Messages[1].Contents.OfType<FunctionResultContent>());
        Assert.Equal(call.CallId, result.CallId);
        Assert.Equal("planned", result.Result!.ToString());
        Assert.NotEqual("", response.Messages[2].Text);

        // The same as it streams.
        seen.Clear();
        var text = new StringBuilder();
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync([new(ChatRole.User, "Once upon a time")], options, TestContext.Current.CancellationToken))
        {
            text.Append(update.Text);
        }

        Assert.Single(seen);
        Assert.Equal(response.Text, text.ToString());
    }

    [Fact]
    public void Special_tokens_are_shown_where_they_are_asked_for()
    {
        // Mistral's mark of calls is a special token, which no text has.
        using LoadedModel model = Load();
        TokenizerVocabulary vocabulary = model.Tokenizer!.Vocabulary;
        string[] tokens = [.. vocabulary.Tokens];
        TokenKind[] kinds = [.. vocabulary.Kinds];
        int mark = tokens.Length - 1;
        (tokens[mark], kinds[mark]) = ("[TOOL_CALLS]", TokenKind.Control);
        TextTokenizer tokenizer = TextTokenizer.Create(vocabulary with { Tokens = tokens, Kinds = kinds });
        var generator = new TextGenerator(model.Session, tokenizer);
        TokenConstraint constraint = Grammar.ForToolCalls(s_tools, ToolCallSyntax.Mistral, isRequired: true, mayBeSeveral: false).CreateConstraint(tokenizer, [mark]);
        string answer = string.Concat(generator.Generate(tokenizer.EncodePrompt("Once"), s_greedy with { Constraint = constraint, ShownTokens = [mark] }));
        (_, IReadOnlyList<ToolCall> calls) = new ToolCallReader(ToolCallSyntax.Mistral).Add(answer);
        Assert.Single(calls);
        Assert.Contains(calls[0].Name, s_tools.Select(static tool => tool.Name));
    }

    private static ChatTemplate Template()
        => ChatTemplate.Parse("{{ bos_token }}{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}</tool_call>{% endfor %}{% endfor %}");

    private static LoadedModel Load() => LoadedModel.Of(TestData.File("stories260K", "stories260K.bin"), TestData.File("stories260K", "tok512.bin"), null, new SessionOptions { Threads = 1 });
}
