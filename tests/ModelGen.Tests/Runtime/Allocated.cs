using System.Diagnostics;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>What code allocates on the managed heap, measured over all threads.</summary>
internal static class Allocated
{
    /// <summary>
    /// The least that a call allocates. What the code itself allocates it allocates every time; the test runner's threads, which
    /// report earlier tests for a while, do not. So the measurement is repeated until nothing was allocated or the time is up.
    /// </summary>
    public static long Least(Action action, double seconds = 10)
    {
        // Tests that run at the same time allocate too.
        Assert.Equal(SerialCollection.Name, TestContext.Current.TestCollection?.TestCollectionDisplayName ?? SerialCollection.Name);
        for (int warmUp = 0; warmUp < 30; warmUp++)
        {
            action();
        }

        var clock = Stopwatch.StartNew();
        long least = long.MaxValue;
        while (least != 0 && clock.Elapsed < TimeSpan.FromSeconds(seconds))
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            action();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - before);
            if (least != 0)
            {
                Thread.Sleep(10);
            }
        }

        return least;
    }
}
