using ModelGen.Jinja;

namespace ModelGen;

/// <summary>One message of a chat.</summary>
/// <param name="Role">Who says it: <c>system</c>, <c>user</c>, <c>assistant</c> or <c>tool</c>; one word.</param>
/// <param name="Content">What is said; null where a message consists of tool calls alone.</param>
public sealed record ChatTurn(string Role, string? Content)
{
    /// <summary>More of what templates may look at, such as <c>tool_calls</c>: texts, integers, reals, truth values, lists and mappings by text.</summary>
    public IReadOnlyDictionary<string, object?> More { get; init; } = new Dictionary<string, object?>(StringComparer.Ordinal);
}

/// <summary>A prompt that a template has made: a text of which it is known which characters are the template's own and which come from messages.</summary>
public sealed class ChatPrompt
{
    private readonly bool[]? _given;

    internal ChatPrompt(JinjaText text)
    {
        Text = text.Value;
        _given = text.Given;
    }

    /// <summary>The whole text.</summary>
    public string Text { get; }

    /// <summary>Whether a character is the template's own, so that it may be part of the name of a special token.</summary>
    /// <param name="index">The character.</param>
    public bool IsOwn(int index) => _given is null || !_given[index];

    /// <summary>Whether all of some characters are the template's own.</summary>
    internal bool AreOwn(int start, int length) => _given is null || !_given.AsSpan(start, length).Contains(true);
}

/// <summary>
/// A chat template: what makes a prompt of messages, written in Jinja and kept in a model's file (<c>tokenizer.chat_template</c>). It is read as transformers reads it
/// (<c>trim_blocks</c>, <c>lstrip_blocks</c>, break and continue), in the part of Jinja that such templates use; inheritance, imports and whatever changes a value are refused.
/// </summary>
/// <remarks>
/// A template comes from a file that nobody has looked at. It computes at most 2,000,000 parts (64 characters of a text that is searched or compared are one), makes texts of at most 16 million characters, writes at most 4 million, nests at most 100 deep when it is read and 250
/// when it runs; it reaches nothing but the messages and the variables it is given, and the date.
/// </remarks>
public sealed class ChatTemplate
{
    private const int LargestSource = 1 << 20;

    private readonly IReadOnlyList<JinjaNode> _nodes;

    private ChatTemplate(string source, IReadOnlyList<JinjaNode> nodes)
    {
        Source = source;
        _nodes = nodes;
    }

    /// <summary>The template.</summary>
    public string Source { get; }

    /// <summary>Reads a template.</summary>
    /// <param name="source">The template.</param>
    /// <exception cref="ChatTemplateException">It is no template that is understood here; the message names the line.</exception>
    public static ChatTemplate Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (source.Length > LargestSource)
        {
            throw new ChatTemplateException(FormattableString.Invariant($"The chat template has {source.Length} characters: expected at most {LargestSource}."));
        }

        return Guard(() => new ChatTemplate(source, JinjaParser.Read(source)));
    }

    /// <summary>Makes a prompt.</summary>
    /// <param name="turns">The messages.</param>
    /// <param name="addGenerationPrompt">Whether the prompt ends where the assistant's answer begins.</param>
    /// <param name="variables">More variables: <c>tools</c>, <c>documents</c>, <c>enable_thinking</c>. Values are texts, integers, reals, truth values, lists and mappings by text.</param>
    /// <param name="specialTokens">The names of special tokens that templates spell by variables: <c>bos_token</c>, <c>eos_token</c>, ….</param>
    /// <param name="now">The time that a template may ask for; null for the clock's.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="ChatTemplateException">The template refuses the messages, goes beyond its limits or is wrong; the message names the line.</exception>
    /// <exception cref="ArgumentException">A role is more than a word.</exception>
    public ChatPrompt Render(
        IReadOnlyList<ChatTurn> turns,
        bool addGenerationPrompt = true,
        IReadOnlyDictionary<string, object?>? variables = null,
        IReadOnlyDictionary<string, string>? specialTokens = null,
        DateTimeOffset? now = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(turns);
        var scope = new Dictionary<string, object?>(StringComparer.Ordinal)
        {
            ["messages"] = turns.Select(static turn => (object?)Message(turn)).ToList(),
            ["add_generation_prompt"] = addGenerationPrompt,
            ["tools"] = null,
            ["documents"] = null,
        };
        foreach ((string name, string token) in specialTokens ?? new Dictionary<string, string>())
        {
            scope[name] = JinjaText.Own(token);
        }

        foreach ((string name, object? value) in variables ?? new Dictionary<string, object?>())
        {
            scope[name] = JinjaValues.FromOutside(value);
        }

        return Guard(() => new ChatPrompt(new JinjaRun(scope, now ?? DateTimeOffset.Now, cancellation).Render(_nodes)));
    }

    private static JinjaMapping Message(ChatTurn turn)
    {
        // Templates make names of special tokens of roles, which therefore are words and no texts.
        if (turn.Role.Length is 0 or > 32 || !turn.Role.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-'))
        {
            throw new ArgumentException($"Expected a role of letters, digits, - and _, found '{turn.Role}'.", nameof(turn));
        }

        var message = new JinjaMapping
        {
            [JinjaText.Own("role")] = JinjaText.Own(turn.Role),
            [JinjaText.Own("content")] = turn.Content is null ? null : JinjaText.FromOutside(turn.Content),
        };
        foreach ((string name, object? value) in turn.More)
        {
            message[JinjaText.Own(name)] = JinjaValues.FromOutside(value);
        }

        return message;
    }

    private static T Guard<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (JinjaException exception)
        {
            throw new ChatTemplateException(exception.Line > 0 ? FormattableString.Invariant($"Chat template, line {exception.Line}: {exception.Message}") : $"Chat template: {exception.Message}", exception);
        }
        catch (InsufficientExecutionStackException exception)
        {
            throw new ChatTemplateException("Chat template: values lie too deep inside each other.", exception);
        }
    }
}
