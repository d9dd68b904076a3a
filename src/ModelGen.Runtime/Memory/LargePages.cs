using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace ModelGen;

/// <summary>Asks the system for its large pages, where it gives them to those who ask: Linux with transparent huge pages.</summary>
/// <remarks>
/// Weights are read from end to end for every token. In pages of 4 KB that is a quarter of a million translations for a gigabyte, and as many page faults when the
/// weights are loaded; in pages of 2 MB five hundred.
/// </remarks>
internal static unsafe partial class LargePages
{
    private const int HugePage = 14;
    private const nuint PageBytes = 4096;

    // Below some large pages nothing is gained.
    private const long LeastBytes = 16 << 20;

    /// <summary>Asks for large pages under a block that nobody has touched yet. Whether they come is the system's business.</summary>
    public static void Ask(void* start, long bytes)
    {
        if (bytes < LeastBytes || !OperatingSystem.IsLinux())
        {
            return;
        }

        nuint first = ((nuint)start + PageBytes - 1) & ~(PageBytes - 1), end = ((nuint)start + (nuint)bytes) & ~(PageBytes - 1);
        try
        {
            _ = Advise((void*)first, end - first, HugePage);
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            // A system without that library has small pages.
        }
    }

    [SupportedOSPlatform("linux")]
    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* start, nuint bytes, int advice);
}
