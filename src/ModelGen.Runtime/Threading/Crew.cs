using System.Runtime.ExceptionServices;

namespace ModelGen.Runtime;

/// <summary>
/// Threads for one piece of work that is not a model's: loading and creating weights. Unlike <see cref="Parallel"/> it brings no thread pool into a program
/// that has none.
/// </summary>
internal static class Crew
{
    /// <summary>Runs a body for every number from 0 to below a count, on as many threads as there are processors, in the numbers' order.</summary>
    /// <remarks>Where several throw, the exception of the lowest number is thrown.</remarks>
    public static void For(int count, Action<int> body)
    {
        var work = new Work(count, body);
        var threads = new Thread[Math.Max(0, Math.Min(Environment.ProcessorCount, count) - 1)];
        for (int index = 0; index < threads.Length; index++)
        {
            threads[index] = new Thread(work.Run) { IsBackground = true, Name = "ModelGen loader" };
            threads[index].Start();
        }

        work.Run();
        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        work.Failure?.Throw();
    }

    private sealed class Work(int count, Action<int> body)
    {
        private readonly Lock _lock = new();
        private int _next = -1;
        private int _failed = int.MaxValue;

        public ExceptionDispatchInfo? Failure { get; private set; }

        public void Run()
        {
            while (Interlocked.Increment(ref _next) is int index && index < count)
            {
                try
                {
                    body(index);
                }
                catch (Exception exception)
                {
                    // Whoever comes later need not begin: what is lower has begun already.
                    Volatile.Write(ref _next, count);
                    lock (_lock)
                    {
                        if (index < _failed)
                        {
                            (_failed, Failure) = (index, ExceptionDispatchInfo.Capture(exception));
                        }
                    }
                }
            }
        }
    }
}
