namespace ModelGen;

/// <summary>A chat template is wrong, goes beyond its limits, or refuses the messages.</summary>
public sealed class ChatTemplateException : NotSupportedException
{
    /// <summary>Makes the exception.</summary>
    public ChatTemplateException()
    {
    }

    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong, and where.</param>
    public ChatTemplateException(string message)
        : base(message)
    {
    }

    /// <summary>Makes the exception.</summary>
    /// <param name="message">What is wrong, and where.</param>
    /// <param name="innerException">What it comes from.</param>
    public ChatTemplateException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }
}
