using System.Text;
using System.Text.Json;

namespace ModelGen;

/// <summary>A tool that a model may call.</summary>
/// <param name="Name">Its name.</param>
/// <param name="ParametersSchema">The JSON schema of its arguments, an object.</param>
public sealed record ToolDefinition(string Name, string ParametersSchema);

/// <summary>A call that a model has written.</summary>
/// <param name="Name">The tool's name.</param>
/// <param name="Arguments">Its arguments, a JSON object.</param>
public sealed record ToolCall(string Name, string Arguments);

/// <summary>How the models of a chat template write calls of tools: JSON objects with a name and arguments, between marks.</summary>
public sealed record ToolCallSyntax
{
    /// <summary>Of Hermes and Qwen: <c>&lt;tool_call&gt;{"name": …, "arguments": {…}}&lt;/tool_call&gt;</c>, once for each call.</summary>
    public static ToolCallSyntax Hermes { get; } = new() { Begin = "<tool_call>", End = "</tool_call>" };

    /// <summary>Of Mistral: <c>[TOOL_CALLS][{"name": …, "arguments": {…}}, …]</c>.</summary>
    public static ToolCallSyntax Mistral { get; } = new() { Begin = "[TOOL_CALLS]", IsList = true };

    /// <summary>Of Llama 3: an answer that is <c>{"name": …, "parameters": {…}}</c> and nothing else.</summary>
    public static ToolCallSyntax Llama3 { get; } = new() { ArgumentsKey = "parameters" };

    /// <summary>What stands before a call, or before a list of them; empty where an answer that begins with { is a call.</summary>
    public string Begin { get; init; } = "";

    /// <summary>What stands behind it.</summary>
    public string End { get; init; } = "";

    /// <summary>Whether calls are a list, in square brackets.</summary>
    public bool IsList { get; init; }

    /// <summary>The member that names the tool.</summary>
    public string NameKey { get; init; } = "name";

    /// <summary>The member that holds the arguments.</summary>
    public string ArgumentsKey { get; init; } = "arguments";

    /// <summary>The syntax that a template shows its model; that of Hermes where it shows none that is known.</summary>
    /// <param name="template">The template.</param>
    public static ToolCallSyntax Of(ChatTemplate template)
    {
        ArgumentNullException.ThrowIfNull(template);
        bool Has(string text) => template.Source.Contains(text, StringComparison.Ordinal);
        return Has("<tool_call>") ? Hermes : Has("[TOOL_CALLS]") ? Mistral : Has("\"parameters\"") || Has("<|python_tag|>") ? Llama3 : Hermes;
    }
}

/// <summary>Reads the calls of tools out of an answer as it comes, and gives the text around them.</summary>
/// <param name="syntax">How calls are written.</param>
public sealed class ToolCallReader(ToolCallSyntax syntax)
{
    private readonly StringBuilder _text = new();
    private bool _isInCall;
    private bool _isBegun;
    private bool _isBehindCall;

    /// <summary>Takes a part of the answer.</summary>
    /// <param name="part">The part.</param>
    /// <returns>The text that is no part of a call, and the calls that are whole now.</returns>
    public (string Text, IReadOnlyList<ToolCall> Calls) Add(string part)
    {
        ArgumentNullException.ThrowIfNull(part);
        _text.Append(part);
        var shown = new StringBuilder();
        var calls = new List<ToolCall>();
        while (_isInCall ? ReadCalls(calls, shown) : ReadText(shown))
        {
        }

        return (shown.ToString(), calls);
    }

    /// <summary>Ends the answer.</summary>
    /// <returns>The text that was held back since it might have become a call: of one that was cut off, as it stands.</returns>
    public string Finish()
    {
        string rest = _isInCall ? syntax.Begin + _text : _text.ToString();
        _text.Clear();
        return rest;
    }

    // Gives whether a call begins.
    private bool ReadText(StringBuilder shown)
    {
        if (syntax.Begin.Length == 0)
        {
            // A call is the whole answer, or there is none.
            string answer = _text.ToString();
            if (!_isBegun && answer.TrimStart().StartsWith('{'))
            {
                _isInCall = true;
                return true;
            }

            if (_isBegun || answer.Trim().Length > 0)
            {
                _isBegun = true;
                shown.Append(answer);
                _text.Clear();
            }

            return false;
        }

        string text = _text.ToString();
        if (_isBehindCall)
        {
            // White space between calls is no text.
            text = text.TrimStart();
            _text.Clear().Append(text);
            _isBehindCall = text.Length == 0;
        }

        int at = text.IndexOf(syntax.Begin, StringComparison.Ordinal);
        if (at >= 0)
        {
            shown.Append(text, 0, at);
            _text.Remove(0, at + syntax.Begin.Length);
            _isInCall = true;
            return true;
        }

        int held = Math.Min(syntax.Begin.Length - 1, text.Length);
        while (held > 0 && !syntax.Begin.StartsWith(text[^held..], StringComparison.Ordinal))
        {
            held--;
        }

        shown.Append(text, 0, text.Length - held);
        _text.Remove(0, text.Length - held);
        return false;
    }

    // Gives whether there is more to read: the call, or the list of them, is whole, or it is none.
    private bool ReadCalls(List<ToolCall> calls, StringBuilder shown)
    {
        int before = calls.Count;
        byte[] bytes = Encoding.UTF8.GetBytes(_text.ToString());
        var reader = new Utf8JsonReader(bytes, isFinalBlock: false, default);
        try
        {
            if (!reader.Read() || !reader.TrySkip())
            {
                return false;
            }

            int length = (int)reader.BytesConsumed;
            string behind = Encoding.UTF8.GetString(bytes.AsSpan(length));
            string trimmed = behind.TrimStart();
            if (syntax.End.Length > 0 && trimmed.Length < syntax.End.Length && syntax.End.StartsWith(trimmed, StringComparison.Ordinal))
            {
                return false;
            }

            using JsonDocument document = JsonDocument.Parse(bytes.AsMemory(0, length));
            foreach (JsonElement call in document.RootElement.ValueKind == JsonValueKind.Array ? document.RootElement.EnumerateArray().ToArray() : [document.RootElement])
            {
                calls.Add(new ToolCall(call.GetProperty(syntax.NameKey).GetString() ?? "", call.TryGetProperty(syntax.ArgumentsKey, out JsonElement arguments) ? arguments.GetRawText() : "{}"));
            }

            _text.Clear().Append(syntax.End.Length > 0 && trimmed.StartsWith(syntax.End, StringComparison.Ordinal) ? trimmed[syntax.End.Length..].TrimStart() : trimmed);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            // No call after all: a model that nothing held to the syntax has written something else. The mark is text, and calls may follow.
            calls.RemoveRange(before, calls.Count - before);
            shown.Append(syntax.Begin);
            _isInCall = false;
            _isBegun = true;
            return true;
        }

        _isInCall = syntax.Begin.Length == 0 && _text.Length > 0 && _text[0] == '{';
        _isBegun = true;
        _isBehindCall = syntax.Begin.Length > 0;
        return _text.Length > 0;
    }
}
