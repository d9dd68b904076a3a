using System.CommandLine;

namespace ModelGen.Tool;

/// <summary>The commands, and how they end.</summary>
internal static class CommandLine
{
    public static int Run(string[] arguments)
    {
        var root = new RootCommand(
            """
            Runs, converts and inspects language models in GGUF, safetensors and llama2.c files.

            The file's model is declared in C#, compiled to C# by ModelGen and kept in a cache, so that the next start finds it.

              modelgen generate model.gguf --prompt "Once upon a time" --tokens 100
              modelgen convert stories260K.bin stories260K.gguf --tokenizer tok512.bin
              modelgen inspect model.safetensors
              modelgen import model.gguf --project MyProgram

            Exit codes: 0 done, 1 a file is damaged or not understood, or something failed, 2 an option is wrong.
            """)
        {
            GenerateCommand.Create(),
            ConvertCommand.Create(),
            InspectCommand.Create(),
            ImportCommand.Create(),
            TokenizeCommand.Create(),
        };
        ParseResult parsed = root.Parse(arguments);
        if (parsed.Errors.Count > 0)
        {
            Console.Error.WriteLine($"error: {OneLine(parsed.Errors[0].Message)} (--help explains the options)");
            return ExitCode.Usage;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (Exception exception) when (exception is ToolException or IOException or InvalidDataException or UnauthorizedAccessException or NotSupportedException or ArgumentException or OutOfMemoryException)
        {
            Console.Error.WriteLine($"error: {OneLine(exception.Message)}");
            return ExitCode.Failure;
        }
    }

    private static string OneLine(string message) => message.ReplaceLineEndings(" ").Trim();
}
