using System.CommandLine;

namespace ModelGen.Tool;

/// <summary>The options of a command line that hold a text to a grammar.</summary>
internal sealed class GrammarFlags
{
    private const long LargestFile = 1 << 20;

    private readonly Option<string?> _grammar = new("--grammar") { Description = "Hold the text to the grammar of a file, in GBNF.", HelpName = "FILE" };
    private readonly Option<string?> _schema = new("--json-schema") { Description = "Hold the text to JSON by the schema of a file.", HelpName = "FILE" };

    public void AddTo(Command command)
    {
        command.Options.Add(_grammar);
        command.Options.Add(_schema);
    }

    /// <summary>The grammar; null for none.</summary>
    public Grammar? Read(ParseResult result)
    {
        (string? grammar, string? schema) = (result.GetValue(_grammar), result.GetValue(_schema));
        if (grammar is not null && schema is not null)
        {
            throw new UsageException("--json-schema: expected no --grammar beside it.");
        }

        string? path = grammar ?? schema;
        if (path is null)
        {
            return null;
        }

        var file = new FileInfo(path);
        if (!file.Exists)
        {
            throw new ToolException($"{path}: there is no such file.");
        }

        if (file.Length > LargestFile)
        {
            throw new ToolException($"{path}: expected a file of at most {LargestFile >> 20} MB.");
        }

        try
        {
            string text = File.ReadAllText(path);
            return grammar is not null ? Grammar.Parse(text) : Grammar.FromJsonSchema(text);
        }
        catch (GrammarException exception)
        {
            throw new ToolException($"{path}: {exception.Message}", exception);
        }
    }
}
