using Microsoft.Extensions.AI;
using ModelGen.Extensions.AI;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>A session behind Microsoft.Extensions.AI.</summary>
public sealed class ExtensionsAITests
{
    private static readonly TextGenerationOptions s_greedy = new() { MaxTokens = 20, Sampling = new SamplingOptions { Temperature = 0 } };

    [Fact]
    public async Task A_chat_client_streams_what_the_session_generates()
    {
        using LoadedModel model = Load();
        var generator = new TextGenerator(model.Session, model.Tokenizer!);
        using IChatClient client = new SessionChatClient(generator, ChatTemplate.Parse("{{ bos_token }}{% for m in messages %}{{ m.role ~ ':' ~ m.content ~ '\n' }}{% endfor %}"), "stories") { Defaults = s_greedy };
        List<ChatMessage> messages = [new(ChatRole.System, "Be nice."), new(ChatRole.User, "Once upon a time")];
        var text = new System.Text.StringBuilder();
        ChatResponseUpdate? last = null;
        int parts = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(messages, cancellationToken: TestContext.Current.CancellationToken))
        {
            text.Append(update.Text);
            last = update;
            parts++;
        }

        Assert.True(parts > 10);
        Assert.Equal(ChatFinishReason.Length, last!.FinishReason);
        string expected = string.Concat(generator.Generate(model.Tokenizer!.EncodePrompt("system:Be nice.\nuser:Once upon a time\n"), s_greedy));
        Assert.Equal(expected, text.ToString());
        ChatResponse whole = await client.GetResponseAsync(messages, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(expected, whole.Text);
        Assert.Equal(20, whole.Usage!.OutputTokenCount);
        Assert.Equal("stories", whole.ModelId);

        // Options of a call.
        string stop = expected.Trim().Split(' ')[2];
        ChatResponse stopped = await client.GetResponseAsync(messages, new ChatOptions { StopSequences = [stop] }, TestContext.Current.CancellationToken);
        Assert.Equal(expected[..expected.IndexOf(stop, StringComparison.Ordinal)], stopped.Text);
        Assert.Equal(ChatFinishReason.Stop, stopped.FinishReason);
        var drawn = new ChatOptions { Temperature = 2, Seed = 5, MaxOutputTokens = 7, TopK = 50, PresencePenalty = 1, Instructions = "More." };
        ChatResponse first = await client.GetResponseAsync(messages, drawn, TestContext.Current.CancellationToken);
        Assert.Equal(7, first.Usage!.OutputTokenCount);
        Assert.Equal(first.Text, (await client.GetResponseAsync(messages, drawn, TestContext.Current.CancellationToken)).Text);
        await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync([new(ChatRole.User, [new DataContent("data:image/png;base64,AA==")])], cancellationToken: TestContext.Current.CancellationToken));
        using System.Text.Json.JsonDocument schema = System.Text.Json.JsonDocument.Parse("""{ "type": "object", "properties": { "answer": { "enum": ["yes", "no"] } }, "required": ["answer"] }""");
        ChatResponse formed = await client.GetResponseAsync(messages, new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema.RootElement), MaxOutputTokens = 100 }, TestContext.Current.CancellationToken);
        using System.Text.Json.JsonDocument answer = System.Text.Json.JsonDocument.Parse(formed.Text);
        Assert.Contains(answer.RootElement.GetProperty("answer").GetString(), (string[])["yes", "no"]);
        Assert.Equal(ChatFinishReason.Stop, formed.FinishReason);
        Assert.Same(generator, client.GetService(typeof(TextGenerator)));
        Assert.Equal("stories", client.GetService<ChatClientMetadata>()!.DefaultModelId);
    }

    [Fact]
    public async Task What_is_owned_outlasts_the_call_that_uses_it()
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using LoadedModel model = Load();
        var session = new Owned();
        var client = new SessionChatClient(new TextGenerator(model.Session, model.Tokenizer!), ChatTemplate.Parse("{{ messages[0].content }}"), owned: session) { Defaults = s_greedy };
        List<ChatMessage> messages = [new(ChatRole.User, "Once upon a time")];
        int parts = 0;
        Task<ChatResponse>? late = null;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(messages, cancellationToken: cancellation))
        {
            if (parts++ == 0)
            {
                late = client.GetResponseAsync(messages, cancellationToken: cancellation);
                client.Dispose();
            }

            Assert.False(session.IsDisposed);
        }

        Assert.True(parts > 10);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => late!);
        Assert.True(session.IsDisposed);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => client.GetResponseAsync(messages, cancellationToken: cancellation));

        var encoder = new Owned();
        using var begun = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        var generator = new EncoderEmbeddingGenerator(
            static text => [1],
            (tokens, embedding) =>
            {
                begun.Release();
                goOn.Wait(cancellation);
                embedding.Fill(encoder.IsDisposed ? 0 : 1);
            },
            3,
            owned: encoder);
        Task<GeneratedEmbeddings<Embedding<float>>> embeddings = generator.GenerateAsync(["a"], cancellationToken: cancellation);
        await begun.WaitAsync(cancellation);
        generator.Dispose();
        goOn.Release();
        GeneratedEmbeddings<Embedding<float>> made = await embeddings;
        Assert.All(made[0].Vector.ToArray(), static number => Assert.Equal(1, number));
        Assert.True(encoder.IsDisposed);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => generator.GenerateAsync(["a"], cancellationToken: cancellation));
    }

    private sealed class Owned : IDisposable
    {
        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }

    [Fact]
    public async Task Tools_and_their_results_reach_the_template()
    {
        using LoadedModel model = Load();
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{% for t in tools or [] %}{{ t.function.name ~ t.function.parameters.properties.city.type }}{% endfor %}{% for m in messages %}{{ m.role }}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{{ raise_exception('seen: ' ~ tools[0].function.name ~ messages | tojson) if m.role == 'tool' }}{% endfor %}");
        using var client = new SessionChatClient(new TextGenerator(model.Session, model.Tokenizer!), template) { Defaults = s_greedy };
        AIFunction weather = AIFunctionFactory.Create((string city) => "snow", "weather");
        List<ChatMessage> messages = [new(ChatRole.User, "?"), new(ChatRole.Assistant, [new FunctionCallContent("1", "weather", new Dictionary<string, object?> { ["city"] = "Oslo" })]), new(ChatRole.Tool, [new FunctionResultContent("1", new[] { 1, 2 })])];
        ChatTemplateException exception = await Assert.ThrowsAsync<ChatTemplateException>(() => client.GetResponseAsync(messages, new ChatOptions { Tools = [weather] }, TestContext.Current.CancellationToken));
        Assert.Contains("""seen: weather[{"role": "user", "content": "?"}, {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "id": "1", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}]}, {"role": "tool", "content": "[1,2]", "tool_call_id": "1"}]""", exception.Message, StringComparison.Ordinal);

        // Whatever a tool gives: of a member that is there twice the last, and numbers as JSON has them.
        using System.Text.Json.JsonDocument twice = System.Text.Json.JsonDocument.Parse("""{ "a": 1, "a": 2, "b": 1e999 }""");
        messages[^1] = new(ChatRole.Tool, [new FunctionResultContent("1", new Dictionary<string, object?> { ["price"] = 12.5m, ["ratio"] = float.NaN, ["raw"] = twice.RootElement })]);
        exception = await Assert.ThrowsAsync<ChatTemplateException>(() => client.GetResponseAsync(messages, new ChatOptions { Tools = [weather] }, TestContext.Current.CancellationToken));
        Assert.Contains("""{\"price\":12.5,\"ratio\":\"NaN\",\"raw\":{\"a\":2,\"b\":\"Infinity\"}}""", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answers_are_cancelled_and_take_turns()
    {
        using LoadedModel model = Load();
        using var client = new SessionChatClient(new TextGenerator(model.Session, model.Tokenizer!), ChatTemplate.Parse("{{ bos_token }}{{ messages[0].content }}")) { Defaults = s_greedy with { MaxTokens = 400, StopsAtEnd = false } };
        using var source = new CancellationTokenSource();
        int count = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync([new(ChatRole.User, "x")], cancellationToken: source.Token))
            {
                if (++count == 3)
                {
                    await source.CancelAsync();
                }
            }
        });
        Assert.InRange(count, 3, 4);
        var options = new ChatOptions { MaxOutputTokens = 15 };
        string alone = (await client.GetResponseAsync([new(ChatRole.User, "Tom had a")], options, TestContext.Current.CancellationToken)).Text;
        ChatResponse[] together = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => client.GetResponseAsync([new(ChatRole.User, i % 2 == 0 ? "Tom had a" : "The sun")], options, TestContext.Current.CancellationToken)));
        Assert.All(together.Where(static (_, i) => i % 2 == 0), response => Assert.Equal(alone, response.Text));
    }

    [Fact]
    public async Task An_embedding_generator_gives_what_the_encoder_does()
    {
        using var generator = new EncoderEmbeddingGenerator(static text => [.. text.Select(static c => (int)c)], static (tokens, embedding) => embedding.Fill(tokens[0] + (tokens.Length / 10f)), width: 3, "tiny");
        GeneratedEmbeddings<Embedding<float>> found = await generator.GenerateAsync(["a", "bcd"], cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal([97.1f, 97.1f, 97.1f], found[0].Vector.ToArray());
        Assert.Equal([98.3f, 98.3f, 98.3f], found[1].Vector.ToArray());
        Assert.Equal(4, found.Usage!.InputTokenCount);
        Assert.Equal(3, ((IEmbeddingGenerator)generator).GetService<EmbeddingGeneratorMetadata>()!.DefaultModelDimensions);
        await Assert.ThrowsAsync<NotSupportedException>(() => generator.GenerateAsync(["a"], new EmbeddingGenerationOptions { Dimensions = 2 }, TestContext.Current.CancellationToken));
        using var source = new CancellationTokenSource();
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generator.GenerateAsync(["a"], cancellationToken: source.Token));
    }

    private static LoadedModel Load() => LoadedModel.Of(TestData.File("stories260K", "stories260K.bin"), TestData.File("stories260K", "tok512.bin"), null, new SessionOptions { Threads = 1 });
}
