using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace ModelGen.Runtime;

/// <summary>
/// Writes a file so that at any moment, whenever the process may die, its path names either the whole old file or the whole new one.
/// </summary>
internal static partial class AtomicFile
{
    private static readonly TimeSpan s_staleAge = TimeSpan.FromMinutes(10);
    private static int s_counter;

    // ESRCH of Linux, macOS and the BSDs.
    private const int NoSuchProcess = 3;

    /// <summary>Writes to a temporary file in the same directory, forces it to the disk, and renames it over the old one.</summary>
    /// <param name="path">The file to create or replace. A symbolic link stays: what it points to is replaced.</param>
    /// <param name="write">Writes the contents. If it throws, the old file is untouched and the temporary file deleted.</param>
    /// <exception cref="IOException">The file cannot be written; the message names <paramref name="path"/>.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string target = Path.GetFullPath(path);
        if (new FileInfo(target).LinkTarget is not null && File.ResolveLinkTarget(target, returnFinalTarget: true) is { } link)
        {
            target = link.FullName;
        }

        if (Directory.Exists(target))
        {
            throw new IOException($"{path} is a directory: a file cannot take its place.");
        }

        if (Path.GetDirectoryName(target) is { } folder && !Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"{path} cannot be written: there is no folder {folder}.");
        }

        DeleteStale(target);
        string temporary = string.Create(
            CultureInfo.InvariantCulture,
            $"{target}.{Environment.ProcessId}-{Interlocked.Increment(ref s_counter)}.tmp");
        try
        {
            using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            if (!OperatingSystem.IsWindows() && File.Exists(target))
            {
                File.SetUnixFileMode(temporary, File.GetUnixFileMode(target));
            }

            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception exception)
        {
            TryDelete(temporary);
            if (exception is IOException or UnauthorizedAccessException)
            {
                // The system speaks of the temporary file, of which nobody knows.
                throw new IOException($"{path} cannot be written: {exception.Message.Replace(temporary, target, StringComparison.Ordinal)}", exception);
            }

            throw;
        }
    }

    // A process that was killed while it saved leaves its temporary file behind, which may be large.
    private static void DeleteStale(string target)
    {
        try
        {
            string name = Path.GetFileName(target);
            foreach (string candidate in Directory.EnumerateFiles(Path.GetDirectoryName(target)!, "*.tmp"))
            {
                ReadOnlySpan<char> rest = Path.GetFileName(candidate.AsSpan());
                if (rest.StartsWith(name + ".", StringComparison.Ordinal)
                    && rest.Length > name.Length + ".tmp".Length
                    && ProcessOf(rest[(name.Length + 1)..^".tmp".Length]) is { } process
                    && DateTime.UtcNow - File.GetLastWriteTimeUtc(candidate) > s_staleAge
                    && !IsRunning(process))
                {
                    TryDelete(candidate);
                }
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Tidying up is no reason to fail; if the directory itself is the trouble, writing reports it.
        }
    }

    private static int? ProcessOf(ReadOnlySpan<char> suffix)
    {
        int dash = suffix.IndexOf('-');
        return dash > 0
            && int.TryParse(suffix[..dash], NumberStyles.None, CultureInfo.InvariantCulture, out int process)
            && int.TryParse(suffix[(dash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            ? process
            : null;
    }

    private static bool IsRunning(int process)
    {
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                // Signal 0 is none: it only asks. A published program is 75 kB smaller than by the class below.
                return Signal(process, 0) == 0 || Marshal.GetLastPInvokeError() != NoSuchProcess;
            }

            using var running = Process.GetProcessById(process);
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
        catch (Exception exception) when (exception is InvalidOperationException or PlatformNotSupportedException or DllNotFoundException or EntryPointNotFoundException)
        {
            // When in doubt, the file stays.
            return true;
        }
    }

    [UnsupportedOSPlatform("windows")]
    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Signal(int process, int signal);

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // The failure that led here matters more.
        }
    }
}
