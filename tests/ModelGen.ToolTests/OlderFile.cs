namespace ModelGen.ToolTests;

/// <summary>A file that another one is about to replace.</summary>
internal static class OlderFile
{
    /// <summary>Opens it, to read what it held also after it was replaced; null on Windows, where what is open is not.</summary>
    public static StreamReader? Open(string path) => OperatingSystem.IsWindows() ? null : new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
}
