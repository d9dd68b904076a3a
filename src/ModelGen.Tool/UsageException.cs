namespace ModelGen.Tool;

/// <summary>An option or an argument that is wrong, whatever the file: the program ends with <see cref="ExitCode.Usage"/>.</summary>
internal sealed class UsageException(string message, Exception? innerException = null) : ToolException(message, innerException)
{
    /// <summary>Makes options, which check themselves.</summary>
    public static T Of<T>(Func<T> make)
    {
        try
        {
            return make();
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message, exception);
        }
    }
}
