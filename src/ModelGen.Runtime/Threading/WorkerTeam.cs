using System.ComponentModel;

namespace ModelGen.Runtime;

/// <summary>
/// A fixed team of threads that execute tasks together. The caller's thread is worker 0; the others are background threads that
/// spin briefly between tasks, then sleep. Running a task allocates nothing.
/// </summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed class WorkerTeam : IDisposable
{
    private const int MaximumThreads = 1024;

    private readonly RunGuard _guard;
    private readonly TeamCore _core;

    /// <summary>Starts a team.</summary>
    /// <param name="threads">The number of workers, the caller's thread included; 0 for one per processor.</param>
    /// <param name="scratchBytesPerWorker">The size of each worker's scratch memory; 0 or more.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is negative or above 1,024, or the size is negative.</exception>
    public WorkerTeam(int threads, long scratchBytesPerWorker)
        : this(threads, scratchBytesPerWorker, new RunGuard("worker team"))
    {
    }

    /// <summary>Starts a team whose owner has critical sections of its own, in which it runs the team's tasks.</summary>
    internal WorkerTeam(int threads, long scratchBytesPerWorker, RunGuard guard)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threads, MaximumThreads);
        ArgumentOutOfRangeException.ThrowIfNegative(scratchBytesPerWorker);
        _guard = guard;
        _core = new TeamCore(threads == 0 ? Math.Min(Environment.ProcessorCount, MaximumThreads) : threads, scratchBytesPerWorker);
    }

    /// <summary>Lets the threads of a team end that was not disposed.</summary>
    ~WorkerTeam()
    {
        // The constructor may have thrown.
        _core?.Shutdown();
    }

    /// <summary>The number of workers.</summary>
    public int Count => _core.Count;

    /// <summary>
    /// Executes a task on every worker and returns when all are done. If workers throw, the others are released from the barrier,
    /// and the exception of the first of them in the team's order is thrown here; the team can be used again.
    /// </summary>
    /// <param name="task">The task.</param>
    /// <exception cref="ObjectDisposedException">The team was disposed.</exception>
    /// <exception cref="InvalidOperationException">A task is running already, or the workers reached different numbers of barriers.</exception>
    public void Run(ITeamTask task)
    {
        using RunGuard.Section call = _guard.Enter(nameof(Run), this);
        _core.Run(task);
    }

    /// <summary>Ends the threads and waits for them.</summary>
    /// <exception cref="InvalidOperationException">A task is running.</exception>
    public void Dispose()
    {
        if (_guard.Close())
        {
            End();
        }
    }

    /// <summary>Runs a task inside the owner's critical section, which keeps the owner, and so this team, alive.</summary>
    internal void RunInside(ITeamTask task) => _core.Run(task);

    /// <summary>Ends the threads after the owner has closed the guard.</summary>
    internal void End()
    {
        _core.ShutdownAndJoin();
        GC.SuppressFinalize(this);
    }
}
