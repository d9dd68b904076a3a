using System.Diagnostics;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks.Measuring;

/// <summary>Times operations: first some that do not count, then every repeat as a batch that is long enough for the clock.</summary>
internal static class Stopclock
{
    private const int MaximumBatch = 1 << 24;

    /// <summary>Seconds for one operation, for each repeat.</summary>
    /// <param name="settings">The repeats and their shortest time.</param>
    /// <param name="batch">Performs the operation as often as its argument says.</param>
    public static double[] Run(MeasureSettings settings, Action<int> batch)
    {
        // The first call compiles.
        batch(1);
        int count = 1;
        double enough = settings.Seconds / 2, elapsed;
        while (true)
        {
            elapsed = Seconds(batch, count);
            if (elapsed >= enough && elapsed < 10 * enough)
            {
                // An interruption can make a short batch look like a long one, but hardly twice.
                elapsed = Math.Min(elapsed, Seconds(batch, count));
            }

            if (elapsed >= enough || count >= MaximumBatch)
            {
                break;
            }

            count *= elapsed < enough / 8 ? 8 : 2;
        }

        count = Math.Max(1, (int)Math.Round(count * settings.Seconds / Math.Max(elapsed, 1e-9)));
        var seconds = new double[settings.Repeats];
        for (int repeat = 0; repeat < seconds.Length; repeat++)
        {
            seconds[repeat] = Seconds(batch, count) / count;
        }

        return seconds;
    }

    /// <summary>Seconds for one pass of every worker of a team through a kernel and the barrier behind it.</summary>
    /// <param name="settings">The repeats and their shortest time.</param>
    /// <param name="team">The team.</param>
    /// <param name="kernel">The kernel.</param>
    public static double[] Run(MeasureSettings settings, WorkerTeam team, Action<Worker> kernel)
    {
        var task = new KernelTask(kernel);
        return Run(settings, count =>
        {
            task.Count = count;
            team.Run(task);
        });
    }

    private static double Seconds(Action<int> batch, int count)
    {
        long start = Stopwatch.GetTimestamp();
        batch(count);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private sealed class KernelTask(Action<Worker> kernel) : ITeamTask
    {
        public int Count { get; set; }

        public void Execute(Worker worker)
        {
            int count = Count;
            for (int i = 0; i < count; i++)
            {
                kernel(worker);
                worker.Barrier();
            }
        }
    }
}
