namespace ModelGen.Tool;

/// <summary>What the program ends with.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>A file is damaged or of a model that is not known, or something else failed.</summary>
    public const int Failure = 1;

    /// <summary>An option is wrong.</summary>
    public const int Usage = 2;
}
