namespace Examples;

/// <summary>A failure that is the user's to mend: one line, no stack trace.</summary>
internal sealed class UserException(string message) : Exception(message);

internal static class ExitCode
{
    public const int Success = 0;
    public const int Failure = 1;
    public const int Usage = 2;
    public const int Interrupted = 130;
}
