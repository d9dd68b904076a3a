namespace ModelGen.Runtime;

/// <summary>Opens files to read, of whose kind nothing is known yet.</summary>
internal static class InputFile
{
    /// <summary>Opens a file that must hold something.</summary>
    /// <param name="path">The file.</param>
    /// <param name="share">What others may do with it meanwhile.</param>
    /// <exception cref="ModelFileException">It is a directory, a pipe or a device, is empty, or may not be read.</exception>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    public static FileStream Open(string path, FileShare share)
        => TryOpen(path, share) ?? throw new ModelFileException(path, "file", "a file with something in it", "an empty one, a pipe or a device");

    /// <summary>Opens a file; null if it is empty, or of a kind that has no length.</summary>
    /// <inheritdoc cref="Open"/>
    public static FileStream? TryOpen(string path, FileShare share)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Directory.Exists(path))
        {
            throw new ModelFileException(path, "file", "a file", "a directory");
        }

        // To open a pipe takes as long as nobody writes to it, and a device has no end: neither is opened. A missing file is
        // reported by the system.
        if (File.Exists(path) && !HasLength(path))
        {
            return null;
        }

        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, share, bufferSize: 0);
        }
        catch (UnauthorizedAccessException exception)
        {
            throw new ModelFileException(path, "file", "a file that may be read", "one that may not", exception);
        }
    }

    private static bool HasLength(string path)
    {
        var file = new FileInfo(path);
        if (file.LinkTarget is not null)
        {
            // The link's own length is that of its text.
            file = new FileInfo(File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName);
        }

        return file.Exists && file.Length > 0;
    }
}
