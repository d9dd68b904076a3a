namespace ModelGen.Tool;

/// <summary>Something that the user can mend: it is told in one line.</summary>
internal class ToolException(string message, Exception? innerException = null) : Exception(message, innerException);
