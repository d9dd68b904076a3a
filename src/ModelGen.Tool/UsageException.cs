namespace ModelGen.Tool;

/// <summary>An option or an argument that is wrong, whatever the file: the program ends with <see cref="ExitCode.Usage"/>.</summary>
internal sealed class UsageException(string message, Exception? innerException = null) : ToolException(message, innerException)
{
    /// <summary>Makes options, which check themselves.</summary>
    /// <param name="make">What makes them.</param>
    /// <param name="option">What they are called on the command line; empty where the message says it.</param>
    public static T Of<T>(Func<T> make, string option = "")
    {
        try
        {
            return make();
        }
        catch (ArgumentException exception)
        {
            throw new UsageException((option.Length > 0 ? option + ": " : "") + CommandLine.Plain(exception), exception);
        }
    }
}
