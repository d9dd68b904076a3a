namespace ModelGen.Tool;

/// <summary>An option or an argument that is wrong, whatever the file: the program ends with <see cref="ExitCode.Usage"/>.</summary>
internal sealed class UsageException(string message, Exception? innerException = null) : ToolException(message, innerException);
