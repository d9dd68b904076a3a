using Microsoft.Win32.SafeHandles;

namespace ModelGen.Runtime;

/// <summary>Opens files to read, of whose kind nothing is known yet.</summary>
internal static class InputFile
{
    /// <summary>Opens a file that must hold something.</summary>
    /// <param name="path">The file.</param>
    /// <param name="share">What others may do with it meanwhile.</param>
    /// <exception cref="ModelFileException">It is a directory, a pipe or a device, is empty, or may not be read.</exception>
    /// <exception cref="IOException">There is no such file, or it cannot be read.</exception>
    public static FileStream Open(string path, FileShare share) => new(OpenHandle(path, share), FileAccess.Read, bufferSize: 0);

    /// <summary>Opens a file that must hold something, to map it or to read it at once: a program that does no more needs no streams, nor what the console has for those that read.</summary>
    /// <inheritdoc cref="Open"/>
    public static SafeFileHandle OpenHandle(string path, FileShare share)
        => TryOpenHandle(path, share) ?? throw new ModelFileException(path, "file", "a file with something in it", "an empty one, a pipe or a device");

    /// <summary>Opens a file; null if it is empty, or of a kind that has no length.</summary>
    /// <inheritdoc cref="Open"/>
    public static FileStream? TryOpen(string path, FileShare share)
        => TryOpenHandle(path, share) is { } handle ? new FileStream(handle, FileAccess.Read, bufferSize: 0) : null;

    private static SafeFileHandle? TryOpenHandle(string path, FileShare share)
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
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, share);
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
