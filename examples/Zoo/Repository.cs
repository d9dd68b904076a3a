namespace Zoo;

/// <summary>Finds the sources, if the program runs among them: for lines to count and the table to write.</summary>
internal static class Repository
{
    /// <summary>The folder of the solution, above the current one or the program's; null if there is none.</summary>
    public static string? Root { get; } = Above(Directory.GetCurrentDirectory()) ?? Above(AppContext.BaseDirectory);

    /// <summary>The folder of reference data: what <c>MODELGEN_TEST_DATA</c> says, otherwise where continuous integration looks, beside the repository.</summary>
    public static string? DataFolder
    {
        get
        {
            string? folder = Environment.GetEnvironmentVariable("MODELGEN_TEST_DATA");
            if (string.IsNullOrEmpty(folder) && Root is not null)
                folder = Path.Combine(Root, "..", "shared", "data");
            return Directory.Exists(folder) ? Path.GetFullPath(folder) : null;
        }
    }

    /// <summary>The lines of a file of the repository and of those beside it whose names begin with its name; null if it is not there.</summary>
    public static int? Lines(string path)
    {
        string? file = Root is null ? null : Path.Combine(Root, path);
        return File.Exists(file)
            ? Directory.EnumerateFiles(Path.GetDirectoryName(file)!, $"{Path.GetFileNameWithoutExtension(file)}*{Path.GetExtension(file)}").Sum(part => File.ReadLines(part).Count())
            : null;
    }

    private static string? Above(string folder)
    {
        for (DirectoryInfo? at = new(folder); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "ModelGen.sln")))
                return at.FullName;
        }
        return null;
    }
}
