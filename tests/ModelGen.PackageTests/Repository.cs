using System.Reflection;

namespace ModelGen.PackageTests;

/// <summary>Where the sources are, as the build of this project noted it.</summary>
internal static class Repository
{
    private const string Key = "RepositoryRoot";

    public static string Root { get; } = typeof(Repository).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().FirstOrDefault(a => a.Key == Key)?.Value
        ?? throw new InvalidOperationException($"The assembly metadata {Key} is missing.");
}
