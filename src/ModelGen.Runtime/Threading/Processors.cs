using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace ModelGen.Runtime;

/// <summary>Which processor a thread runs on, and how it gets away from one, where the system can be asked: Linux.</summary>
/// <remarks>
/// A thread that is woken is put where it slept or where its waker runs. Where the kernel takes no processor for idle (under KVM one that has halted
/// counts as taken away by the host), that can be the waker's own processor with another one idle, and stays so for up to 20 ms, until the load is balanced.
/// </remarks>
internal static unsafe partial class Processors
{
    /// <summary>What <see cref="Current"/> is where it cannot be told.</summary>
    public const int Unknown = -1;

    private const int MaskWords = 128;

    private static readonly bool s_isSupported = OperatingSystem.IsLinux() && CanBeAsked();

    /// <summary>The processor that the calling thread runs on at this moment, or <see cref="Unknown"/>.</summary>
    public static int Current => s_isSupported && OperatingSystem.IsLinux() ? GetProcessor() : Unknown;

    /// <summary>
    /// Moves the calling thread to another processor, if it may run on one that is not taken. Where it may run afterwards is what it was before.
    /// </summary>
    /// <param name="taken">The processors to avoid, the present one among them; numbers below 0 are passed over.</param>
    /// <returns>Whether it moved.</returns>
    public static bool TryLeave(ReadOnlySpan<int> taken)
    {
        if (!s_isSupported || !OperatingSystem.IsLinux())
        {
            return false;
        }

        ulong* allowed = stackalloc ulong[MaskWords];
        ulong* others = stackalloc ulong[MaskWords];
        new Span<ulong>(allowed, MaskWords).Clear();
        if (GetAffinity(0, MaskWords * sizeof(ulong), allowed) < 0)
        {
            return false;
        }

        new ReadOnlySpan<ulong>(allowed, MaskWords).CopyTo(new Span<ulong>(others, MaskWords));
        foreach (int processor in taken)
        {
            if ((uint)processor < MaskWords * 64)
            {
                others[processor / 64] &= ~(1UL << (processor % 64));
            }
        }

        if (!new ReadOnlySpan<ulong>(others, MaskWords).ContainsAnyExcept(0UL) || SetAffinity(0, MaskWords * sizeof(ulong), others) < 0)
        {
            return false;
        }

        _ = SetAffinity(0, MaskWords * sizeof(ulong), allowed);
        return true;
    }

    [SupportedOSPlatform("linux")]
    private static bool CanBeAsked()
    {
        try
        {
            return GetProcessor() >= 0;
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            return false;
        }
    }

    [SupportedOSPlatform("linux")]
    [SuppressGCTransition]
    [LibraryImport("libc", EntryPoint = "sched_getcpu")]
    private static partial int GetProcessor();

    [SupportedOSPlatform("linux")]
    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int thread, nuint bytes, ulong* mask);

    [SupportedOSPlatform("linux")]
    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nuint bytes, ulong* mask);
}
