using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Examples;

/// <summary>Options that are numbers, and how a command line is run: every failure of the user's is one line.</summary>
internal static class Options
{
    public static Func<T, string?> AtLeast<T>(T minimum)
        where T : System.Numerics.INumber<T> =>
        value => value >= minimum && T.IsFinite(value) ? null : string.Create(CultureInfo.InvariantCulture, $"a number, at least {minimum}");

    /// <summary>A numeric option in invariant culture whose errors name the option, what was expected and what was found.</summary>
    public static Option<T> Number<T>(string name, string description, T defaultValue, Func<T, string?> check)
        where T : struct, System.Numerics.INumber<T>
    {
        return new Option<T>(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => defaultValue,
            CustomParser = Parse,
        };

        T Parse(ArgumentResult result)
        {
            string found = result.Tokens[0].Value;
            bool isNumber = T.TryParse(found, NumberStyles.Float, CultureInfo.InvariantCulture, out T value);
            string? expected = isNumber ? check(value) : "a number";
            if (expected is not null)
                result.AddError($"{name}: expected {expected}, found \"{found}\".");
            return value;
        }
    }

    /// <summary>Parses and runs; the exit code.</summary>
    public static int Run(RootCommand root, string[] arguments)
    {
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
        catch (Exception exception) when (exception is UserException or IOException or InvalidDataException or UnauthorizedAccessException or ArithmeticException)
        {
            Console.Error.WriteLine($"error: {OneLine(exception.Message)}");
            return ExitCode.Failure;
        }
    }

    private static string OneLine(string message) => message.ReplaceLineEndings(" ").Trim();
}
