using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace ModelGen.Extensions.AI;

/// <summary>
/// A chat with a compiled model as an <see cref="IChatClient"/>: messages become a prompt by the model's template, and the answer is streamed. Calls may come from several threads: they take turns at the session.
/// What is asked for in vain is refused: what a template has no words for (pictures, sound) and keywords of a JSON schema that would not be kept.
/// </summary>
public sealed class SessionChatClient : IChatClient
{
    private readonly TextGenerator _generator;
    private readonly ChatTemplate _template;
    private readonly SessionTurns _turns;
    private readonly ChatClientMetadata _metadata;
    private (string Key, TokenConstraint Constraint)? _lastTools;

    /// <summary>Makes a client.</summary>
    /// <param name="generator">The model's session and tokenizer; nobody else's to use meanwhile.</param>
    /// <param name="template">The model's template.</param>
    /// <param name="modelName">What the model is called; null for nothing.</param>
    /// <param name="owned">What is disposed with the client, at the end of an answer that is under way, such as the session; null for nothing.</param>
    public SessionChatClient(TextGenerator generator, ChatTemplate template, string? modelName = null, IDisposable? owned = null)
    {
        ArgumentNullException.ThrowIfNull(generator);
        ArgumentNullException.ThrowIfNull(template);
        _generator = generator;
        _template = template;
        _turns = new SessionTurns(this, owned);
        _metadata = new ChatClientMetadata("modelgen", defaultModelId: modelName);
    }

    /// <summary>What is used where a call says nothing of it.</summary>
    public TextGenerationOptions Defaults { get; init; } = new() { MaxTokens = 1024, Sampling = new SamplingOptions { Temperature = 0.8f } };

    /// <summary>How the model writes calls of tools; null for what its template shows (<see cref="ToolCallSyntax.Of"/>).</summary>
    public ToolCallSyntax? ToolCalls { get; init; }

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        var updates = new List<ChatResponseUpdate>();
        await foreach (ChatResponseUpdate update in GetStreamingResponseAsync(messages, options, cancellationToken).ConfigureAwait(false))
        {
            updates.Add(update);
        }

        return updates.ToChatResponse();
    }

    /// <inheritdoc/>
    /// <exception cref="ObjectDisposedException">The client was disposed.</exception>
    /// <exception cref="NotSupportedException">A message has content that is no text and no tool call, or the options ask for what this client does not do.</exception>
    /// <exception cref="ChatTemplateException">The template refuses the messages.</exception>
    /// <exception cref="GrammarException">The schema of the response format, or of a tool's parameters, asks for what would not be kept.</exception>
    /// <exception cref="ArgumentException">The messages do not fit the context, an option is out of its range, or there is no tool of the name that is required.</exception>
    /// <remarks>With tools the model is held to calls that their schemas let pass, which come as <see cref="FunctionCallContent"/> as soon as each is whole; in the place of a constraint of <see cref="Defaults"/>.</remarks>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        List<ChatTurn> turns = Turns(messages, options);
        TextGenerationOptions generation = Options(options);
        var variables = new Dictionary<string, object?>(StringComparer.Ordinal);
        ToolCallReader? calls = null;
        string id = Guid.NewGuid().ToString("N");
        await _turns.EnterAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (options?.Tools is { Count: > 0 } tools && options.ToolMode is not NoneChatToolMode)
            {
                variables["tools"] = tools.Select(Tool).ToArray();
                ToolCallSyntax syntax = ToolCalls ?? ToolCallSyntax.Of(_template);
                calls = new ToolCallReader(syntax);
                generation = WithTools(generation, options, tools, syntax);
            }

            bool isCalling = false;
            IEnumerator<string> parts = await Task.Run(
                () => _generator.Generate(_generator.Tokenizer.Encode(_template.Render(turns, addGenerationPrompt: true, variables, _generator.Tokenizer.TemplateTokens, cancellation: cancellationToken)), generation, cancellationToken).GetEnumerator(),
                cancellationToken).ConfigureAwait(false);
            using (parts)
            {
                // The computation is a processor's work: it is done beside the caller's thread.
                while (await Task.Run(parts.MoveNext, cancellationToken).ConfigureAwait(false))
                {
                    (string text, IReadOnlyList<ToolCall> found) = calls?.Add(parts.Current) ?? (parts.Current, []);
                    if (text.Length > 0)
                    {
                        yield return Update(new TextContent(text));
                    }

                    foreach (ToolCall call in found)
                    {
                        isCalling = true;
                        yield return Update(Call(call));
                    }
                }
            }

            if (calls?.Finish() is { Length: > 0 } rest)
            {
                yield return Update(new TextContent(rest));
            }

            ChatResponseUpdate last = Update(new UsageContent(new UsageDetails
            {
                InputTokenCount = _generator.PromptTokens,
                OutputTokenCount = _generator.Tokens.Count,
                TotalTokenCount = _generator.PromptTokens + _generator.Tokens.Count,
                CachedInputTokenCount = _generator.ReusedTokens,
            }));
            last.FinishReason = isCalling ? ChatFinishReason.ToolCalls : _generator.End == TextEnd.Length ? ChatFinishReason.Length : ChatFinishReason.Stop;
            yield return last;
        }
        finally
        {
            _turns.Leave();
        }

        ChatResponseUpdate Update(AIContent content) => new(ChatRole.Assistant, [content]) { ResponseId = id, MessageId = id, ModelId = options?.ModelId ?? _metadata.DefaultModelId, CreatedAt = DateTimeOffset.UtcNow };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType == typeof(TextGenerator) ? _generator
            : serviceType == typeof(ChatTemplate) ? _template
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _turns.Dispose();

    private static List<ChatTurn> Turns(IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        var turns = new List<ChatTurn>();
        if (options?.Instructions is { Length: > 0 } instructions)
        {
            turns.Add(new ChatTurn("system", instructions));
        }

        foreach (ChatMessage message in messages)
        {
            var text = new StringBuilder();
            var calls = new List<object?>();
            foreach (AIContent content in message.Contents)
            {
                switch (content)
                {
                    case TextContent part:
                        text.Append(part.Text);
                        break;
                    case FunctionCallContent call:
                        calls.Add(new Dictionary<string, object?>
                        {
                            ["type"] = "function",
                            ["id"] = call.CallId,
                            ["function"] = new Dictionary<string, object?> { ["name"] = call.Name, ["arguments"] = call.Arguments?.ToDictionary(static argument => argument.Key, static argument => Value(argument.Value)) ?? [] },
                        });
                        break;
                    case FunctionResultContent result:
                        turns.Add(new ChatTurn("tool", result.Result as string ?? JsonText(Value(result.Result))) { More = new Dictionary<string, object?> { ["tool_call_id"] = result.CallId } });
                        break;
                    case TextReasoningContent or UsageContent:
                        break;
                    default:
                        throw new NotSupportedException($"A message has a {content.GetType().Name}, but the model reads texts alone.");
                }
            }

            if (calls.Count > 0)
            {
                turns.Add(new ChatTurn(message.Role.Value, text.Length > 0 ? text.ToString() : null) { More = new Dictionary<string, object?> { ["tool_calls"] = calls } });
            }
            else if (text.Length > 0 || !message.Contents.Any(static content => content is FunctionResultContent))
            {
                turns.Add(new ChatTurn(message.Role.Value, text.ToString()));
            }
        }

        return turns;
    }

    private TextGenerationOptions WithTools(TextGenerationOptions generation, ChatOptions options, IList<AITool> tools, ToolCallSyntax syntax)
    {
        if (options.ResponseFormat is not (null or ChatResponseFormatText))
        {
            throw new NotSupportedException("An answer is held to a response format or to calls of tools, and not to both.");
        }

        string? required = (options.ToolMode as RequiredChatToolMode)?.RequiredFunctionName;
        ToolDefinition[] definitions = [.. tools
            .Select(static tool => tool as AIFunctionDeclaration ?? throw new NotSupportedException($"The tool '{tool.Name}' is no function, which alone are called here."))
            .Where(tool => required is null || tool.Name == required)
            .Select(static tool => new ToolDefinition(tool.Name, tool.JsonSchema.GetRawText()))];
        if (definitions.Length == 0)
        {
            throw new ArgumentException($"There is no tool '{required}', which is required.", nameof(options));
        }

        // Marks that are special tokens are no text elsewhere.
        TextTokenizer tokenizer = _generator.Tokenizer;
        int[] shown = [.. new[] { syntax.Begin, syntax.End }
            .Where(mark => mark.Length > 0 && tokenizer.SpecialTokens.ContainsKey(mark)).Select(mark => tokenizer.SpecialTokens[mark])
            .Where(token => tokenizer.Vocabulary.Kinds[token] == TokenKind.Control)];
        bool isRequired = options.ToolMode is RequiredChatToolMode;
        bool mayBeSeveral = options.AllowMultipleToolCalls != false;

        // What follows from the tools is kept for the next answer, which most often has the same ones.
        string key = string.Join('\n', [$"{isRequired} {mayBeSeveral} {syntax}", .. definitions.Select(static tool => $"{tool.Name} {tool.ParametersSchema}")]);
        if (_lastTools?.Key != key)
        {
            _lastTools = (key, Grammar.ForToolCalls(definitions, syntax, isRequired, mayBeSeveral).CreateConstraint(tokenizer, shown));
        }

        return generation with { Constraint = _lastTools.Value.Constraint, ShownTokens = [.. generation.ShownTokens, .. shown] };
    }

    // Nine letters and digits, which is what templates that look at it ask for.
    private static FunctionCallContent Call(ToolCall call)
    {
        using JsonDocument arguments = JsonDocument.Parse(call.Arguments);
        return new FunctionCallContent(
            Guid.NewGuid().ToString("N")[..9],
            call.Name,
            arguments.RootElement.ValueKind == JsonValueKind.Object ? Members(arguments.RootElement, static value => value.Clone()) : null);
    }

    // Of members of one name the last counts, as JSON's readers have it: a model may write one twice.
    private static Dictionary<string, object?> Members(JsonElement element, Func<JsonElement, object?> read)
    {
        var members = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (JsonProperty member in element.EnumerateObject())
        {
            members[member.Name] = read(member.Value);
        }

        return members;
    }

    private static object? Tool(AITool tool)
    {
        var function = new Dictionary<string, object?> { ["name"] = tool.Name, ["description"] = tool.Description };
        if (tool is AIFunctionDeclaration declaration)
        {
            function["parameters"] = Value(declaration.JsonSchema);
        }

        return new Dictionary<string, object?> { ["type"] = "function", ["function"] = function };
    }

    // What templates may look at, of what callers put into messages.
    private static object? Value(object? value) => value switch
    {
        null or string or bool or int or long => value,

        // JSON has no other numbers than finite ones.
        double or float or decimal when Convert.ToDouble(value, CultureInfo.InvariantCulture) is var real => double.IsFinite(real) ? real : real.ToString(CultureInfo.InvariantCulture),
        JsonElement element => element.ValueKind switch
        {
            JsonValueKind.String => element.GetString(),
            JsonValueKind.Number => element.TryGetInt64(out long integer) ? integer : Value(element.GetDouble()),
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Array => element.EnumerateArray().Select(static item => Value(item)).ToArray(),
            JsonValueKind.Object => Members(element, static value => Value(value)),
            _ => null,
        },
        IEnumerable<KeyValuePair<string, object?>> members => members.ToDictionary(static member => member.Key, static member => Value(member.Value)),
        System.Collections.IEnumerable items => items.Cast<object?>().Select(Value).ToArray(),
        IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString(),
    };

    private static string JsonText(object? value)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
        {
            Write(writer, value);
        }

        return Encoding.UTF8.GetString(stream.ToArray());

        static void Write(Utf8JsonWriter writer, object? value)
        {
            switch (value)
            {
                case null: writer.WriteNullValue(); break;
                case bool flag: writer.WriteBooleanValue(flag); break;
                case int integer: writer.WriteNumberValue(integer); break;
                case long integer: writer.WriteNumberValue(integer); break;
                case double real: writer.WriteNumberValue(real); break;
                case string text: writer.WriteStringValue(text); break;
                case IReadOnlyDictionary<string, object?> members:
                    writer.WriteStartObject();
                    foreach ((string name, object? member) in members)
                    {
                        writer.WritePropertyName(name);
                        Write(writer, member);
                    }

                    writer.WriteEndObject();
                    break;
                default:
                    writer.WriteStartArray();
                    foreach (object? item in (IEnumerable<object?>)value)
                    {
                        Write(writer, item);
                    }

                    writer.WriteEndArray();
                    break;
            }
        }
    }

    private TextGenerationOptions Options(ChatOptions? options)
    {
        if (options is null)
        {
            return Defaults;
        }

        TokenConstraint? constraint = options.ResponseFormat switch
        {
            null or ChatResponseFormatText => Defaults.Constraint,
            ChatResponseFormatJson json => (json.Schema is { } schema ? Grammar.FromJsonSchema(schema.GetRawText()) : Grammar.Json()).CreateConstraint(_generator.Tokenizer),
            _ => throw new NotSupportedException("Response formats other than text and JSON are not done here."),
        };

        SamplingOptions sampling = Defaults.Sampling;
        if (options.Temperature is not null || options.TopP is not null || options.TopK is not null || options.FrequencyPenalty is not null || options.PresencePenalty is not null)
        {
            // What a call says stands in the place of the defaults' chain.
            bool isChain = sampling.Chain is not null;
            float temperature = options.Temperature ?? (isChain ? 1f : sampling.Temperature);
            int topK = options.TopK ?? (isChain ? 0 : sampling.TopK);
            float topP = options.TopP ?? (isChain ? 1f : sampling.TopP);
            sampling = options.FrequencyPenalty is not null || options.PresencePenalty is not null
                ? new SamplingOptions
                {
                    Chain = [SamplingStep.Penalties(64, 1f, options.FrequencyPenalty ?? 0, options.PresencePenalty ?? 0), SamplingStep.TopK(topK), SamplingStep.TopP(topP), SamplingStep.Temperature(temperature)],
                    Seed = sampling.Seed,
                }
                : new SamplingOptions { Temperature = temperature, TopK = topK, TopP = topP, Seed = sampling.Seed };
        }

        sampling = options.Seed is { } seed ? sampling with { Seed = unchecked((ulong)seed) } : sampling;
        return Defaults with
        {
            Sampling = sampling,
            Constraint = constraint,
            MaxTokens = options.MaxOutputTokens ?? Defaults.MaxTokens,
            Stops = options.StopSequences is { Count: > 0 } stops ? [.. stops] : Defaults.Stops,
        };
    }
}
