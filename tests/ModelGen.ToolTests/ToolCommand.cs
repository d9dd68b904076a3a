using System.Runtime.CompilerServices;
using System.Text.Json;
using ModelGen.Tool;

namespace ModelGen.ToolTests;

/// <summary>Runs the tool as a command line does, in this process. What it prints goes through the console, of which there is one: tests that call it are one collection.</summary>
internal static class ToolCommand
{
    public const string Collection = "console";

    private static readonly Lock s_lock = new();

    // A cache of the tests' own: whether something was compiled is theirs to say.
    private static readonly string s_cache = Directory.CreateTempSubdirectory("modelgen-cache").FullName;

    // Set before any test runs: some load models without the command line.
    [ModuleInitializer]
    internal static void SetCache()
    {
        Environment.SetEnvironmentVariable("MODELGEN_CACHE", s_cache);
        AppDomain.CurrentDomain.ProcessExit += static (_, _) => Directory.Delete(s_cache, recursive: true);
    }

    public static Result Run(params string[] arguments)
    {
        lock (s_lock)
        {
            (TextWriter output, TextWriter error) = (Console.Out, Console.Error);
            using var printed = new StringWriter();
            using var complained = new StringWriter();
            Console.SetOut(printed);
            Console.SetError(complained);
            try
            {
                return new Result(CommandLine.Run(arguments), printed.ToString(), complained.ToString());
            }
            finally
            {
                Console.SetOut(output);
                Console.SetError(error);
            }
        }
    }

    /// <summary>Runs a command that must succeed and gives the line of JSON that it prints.</summary>
    public static JsonElement Json(params string[] arguments)
    {
        Result result = Run([.. arguments, "--json"]);
        Assert.Equal("", result.Error);
        Assert.Equal(0, result.Code);
        Assert.Equal(1, result.Output.Count(static c => c == '\n'));
        return JsonDocument.Parse(result.Output).RootElement;
    }

    internal sealed record Result(int Code, string Output, string Error);
}
