using System.Runtime.CompilerServices;

namespace ModelGen.Tests.Infrastructure;

/// <summary>Where the sources are that this assembly was built from.</summary>
public static class SourceTree
{
    private static readonly Lazy<string> RootFolder = new(FindRoot);

    /// <summary>The folder of <c>ModelGen.sln</c>.</summary>
    public static string Root => RootFolder.Value;

    /// <summary>A committed fixture: <c>tests/fixtures/name</c>.</summary>
    public static string Fixture(string name) => Path.Combine(Root, "tests", "fixtures", name);

    /// <summary>
    /// Turns what <see cref="CallerFilePathAttribute"/> gave into a path that exists here: a deterministic build replaces
    /// the root of the tree by <c>/_/</c>, and an assembly may be run on another machine than it was built on.
    /// </summary>
    public static string Locate(string callerFilePath)
    {
        if (File.Exists(callerFilePath))
        {
            return callerFilePath;
        }

        string[] parts = callerFilePath.Replace('\\', '/').Split('/', StringSplitOptions.RemoveEmptyEntries);
        for (int skip = 0; skip < parts.Length; skip++)
        {
            string candidate = Path.Combine([Root, .. parts[skip..]]);
            if (File.Exists(candidate))
            {
                return candidate;
            }
        }

        throw new FileNotFoundException($"The source file '{callerFilePath}' of a test was not found under '{Root}'.");
    }

    private static string FindRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "ModelGen.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException($"No folder above '{AppContext.BaseDirectory}' holds ModelGen.sln.");
    }
}
