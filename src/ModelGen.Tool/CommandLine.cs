using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text;

namespace ModelGen.Tool;

/// <summary>The commands, and how they end.</summary>
internal static class CommandLine
{
    // UTF-16 units: several faults of a file and the names in them.
    private const int LongestMessage = 2000;

    public static int Run(string[] arguments)
    {
        var root = new RootCommand(
            """
            Runs, converts and inspects language models in GGUF, safetensors and llama2.c files.

            The file's model is declared in C#, compiled to C# by ModelGen and kept in a cache, so that the next start finds it.

              modelgen chat model.gguf --system "Answer briefly."
              modelgen generate model.gguf --prompt "Once upon a time" --tokens 100
              modelgen convert stories260K.bin stories260K.gguf --tokenizer tok512.bin
              modelgen inspect model.safetensors
              modelgen embed minilm/model.safetensors --text "A cat." "A kitten."
              modelgen import model.gguf --project MyProgram

            Exit codes: 0 done, 1 a file is damaged or not understood, or something failed, 2 an option is wrong.
            """)
        {
            GenerateCommand.Create(),
            ConvertCommand.Create(),
            InspectCommand.Create(),
            ImportCommand.Create(),
            TokenizeCommand.Create(),
            ChatCommand.Create(),
            ChatCommand.CreateRun(),
            QuantizeCommand.Create(),
            PerplexityCommand.Create(),
            BenchCommand.Create(),
            EmbedCommand.Create(),
            TrainTokenizerCommand.Create(),
            VocabularyCommand.Create(),
            ImportanceCommand.Create(),
        };
        ParseResult parsed = root.Parse(arguments);
        if (parsed.Errors.Count > 0)
        {
            // Of a word that is no command the parser says first that there is no command.
            string message = parsed.CommandResult.Command == root && parsed.UnmatchedTokens is [var unknown, ..] ? $"there is no command '{unknown}'." : Plain(parsed.Errors[0]);
            Console.Error.WriteLine($"error: {OneLine(message)} (--help explains the options)");
            return ExitCode.Usage;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (Exception exception) when (exception is ToolException or IOException or InvalidDataException or UnauthorizedAccessException or NotSupportedException or ArgumentException or InvalidOperationException or OutOfMemoryException)
        {
            Console.Error.WriteLine($"error: {OneLine(Plain(exception))}");
            return exception is UsageException ? ExitCode.Usage : ExitCode.Failure;
        }
    }

    /// <summary>An exception's message without what .NET says of parameters, whose names are none of an option's.</summary>
    public static string Plain(Exception exception)
    {
        if (exception is not ArgumentException { ParamName: { } name })
        {
            return exception.Message;
        }

        string message = exception.Message;
        int end = message.IndexOf($" (Parameter '{name}')", StringComparison.Ordinal);
        message = (end < 0 ? message : message[..end]).Trim();
        return exception is ArgumentOutOfRangeException { ActualValue: { } value } ? string.Create(CultureInfo.InvariantCulture, $"{message.TrimEnd('.')}, but it is {value}.") : message;
    }

    // The parser speaks of types of .NET.
    private static string Plain(ParseError error)
    {
        if (error.SymbolResult is not OptionResult { Tokens: [.., var token] } option || !error.Message.Contains(" as expected type ", StringComparison.Ordinal))
        {
            return error.Message;
        }

        Type type = Nullable.GetUnderlyingType(option.Option.ValueType) ?? option.Option.ValueType;
        string expected = type == typeof(float) || type == typeof(double) ? "a number"
            : type == typeof(bool) ? "true or false"
            : type == typeof(ulong) ? "a whole number, 0 or more"
            : type == typeof(int) ? $"a whole number, at most {int.MaxValue.ToString(CultureInfo.InvariantCulture)}"
            : "another value";
        return $"{option.Option.Name}: expected {expected}, found '{token.Value}'.";
    }

    /// <summary>A message as it is shown. Messages repeat what files say, which may be long and is for no terminal to obey: this is where it is made harmless.</summary>
    public static string OneLine(string message) => Printable(message.ReplaceLineEndings(" ").Trim(), LongestMessage);

    /// <summary>A model's text as a terminal may show it: with its lines and tabs, without other controls.</summary>
    public static string ShownText(string text) => text.AsSpan().ContainsAnyInRange('\0', '\u001F') || text.AsSpan().ContainsAnyInRange('\u007F', '\u009F')
        ? string.Concat(text.Select(static c => char.IsControl(c) && c is not ('\n' or '\t' or '\r') ? '\uFFFD' : c))
        : text;

    /// <summary>A text of a file without what moves the cursor or turns the direction of what follows, cut off after so many UTF-16 units.</summary>
    public static string Printable(string text, int limit)
    {
        var shown = new StringBuilder(Math.Min(text.Length, limit) + 1);
        foreach (Rune rune in text.AsSpan(0, Math.Min(text.Length, limit)).EnumerateRunes())
        {
            bool isHarmless = Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
                or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned);
            shown.Append((isHarmless ? rune : Rune.ReplacementChar).ToString());
        }

        return (text.Length > limit ? shown.Append('…') : shown).ToString();
    }
}
