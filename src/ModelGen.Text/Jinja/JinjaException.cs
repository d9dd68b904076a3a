namespace ModelGen.Jinja;

/// <summary>Something that is wrong with a template, in a line of it.</summary>
internal sealed class JinjaException(string message, int line = 0) : Exception(message)
{
    public int Line { get; } = line;
}
