using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Runtime;

/// <summary>
/// What the threads of a team share. It is apart from <see cref="WorkerTeam"/> so that a team nobody refers to any more can be
/// finalized although its threads are running.
/// </summary>
/// <remarks>
/// Memory order: every publication (a dispatch, a barrier's phase, a completion) is an interlocked operation, which is a full fence
/// in .NET on every architecture, and every observation is a volatile read. A thread that is going to sleep raises its parked flag
/// with an interlocked exchange and then looks at the condition once more; whoever changes the condition does so with an
/// interlocked operation and then looks at the flags. One of the two therefore sees the other, and no wake-up is lost.
/// </remarks>
internal sealed unsafe class TeamCore
{
    // A peer that is late by less than this is probably just behind; beyond it, it was probably descheduled.
    private const int BarrierSpinMicroseconds = 20;
    private const int BarrierYieldMicroseconds = 100;
    private const int IdleSpinMicroseconds = 80;

    private readonly Worker[] _workers;
    private readonly Thread[] _threads;
    private readonly NativeBlock _scratch;
    private readonly long _barrierSpinTicks;
    private readonly long _barrierYieldTicks;
    private readonly long _idleSpinTicks;
    private ITeamTask? _task;
    private volatile bool _shutdown;
    private SharedLines _shared;

    public TeamCore(int threads, long scratchBytesPerWorker)
    {
        long stride = checked((scratchBytesPerWorker + 127) / 128 * 128);
        _scratch = new NativeBlock(checked(stride * threads));
        _workers = new Worker[threads];
        for (int index = 0; index < threads; index++)
        {
            _workers[index] = new Worker(this, index, threads, _scratch.Bytes + (index * stride), scratchBytesPerWorker);
        }

        // With more threads than processors whoever spins keeps the one it waits for from running.
        bool spin = threads <= Environment.ProcessorCount;
        _barrierSpinTicks = spin ? Ticks(BarrierSpinMicroseconds) : 0;
        _barrierYieldTicks = Ticks(BarrierYieldMicroseconds);
        _idleSpinTicks = spin ? Ticks(IdleSpinMicroseconds) : 0;

        _threads = new Thread[threads - 1];
        try
        {
            for (int index = 1; index < threads; index++)
            {
                Worker worker = _workers[index];
                var thread = new Thread(() => WorkLoop(worker))
                {
                    IsBackground = true,
                    Name = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"ModelGen worker {index}"),
                };
                thread.Start();
                _threads[index - 1] = thread;
            }
        }
        catch
        {
            Shutdown();
            throw;
        }
    }

    public int Count => _workers.Length;

    public void Run(ITeamTask task)
    {
        if (Interlocked.CompareExchange(ref _shared.Busy, 1, 0) != 0)
        {
            throw new InvalidOperationException("The worker team is already running a task: a session or trainer may be used by one thread at a time.");
        }

        try
        {
            Worker caller = _workers[0];
            if (_workers.Length == 1)
            {
                task.Execute(caller);
                return;
            }

            int completed = _shared.Completed;
            _task = task;
            _shared.Failed = 0;
            _shared.Arrived = 0;
            _shared.Remaining = _workers.Length;
            Interlocked.Increment(ref _shared.Dispatch);
            WakeParked();

            Execute(task, caller);
            WaitWhile(ref _shared.Completed, completed, caller, _barrierSpinTicks, _barrierYieldTicks);
            _task = null;
            if (_shared.Failed != 0)
            {
                ThrowFailure();
            }
        }
        finally
        {
            Volatile.Write(ref _shared.Busy, 0);
        }
    }

    public void Barrier(Worker worker)
    {
        int phase = Volatile.Read(ref _shared.Phase);
        if (Volatile.Read(ref _shared.Failed) != 0)
        {
            throw new TeamAbortedException();
        }

        if (Interlocked.Increment(ref _shared.Arrived) == _workers.Length)
        {
            _shared.Arrived = 0;
            Interlocked.Increment(ref _shared.Phase);
            WakeParked();
        }
        else
        {
            if (Volatile.Read(ref _shared.Remaining) != _workers.Length && Volatile.Read(ref _shared.Phase) == phase)
            {
                throw BarrierMismatch();
            }

            WaitWhile(ref _shared.Phase, phase, worker, _barrierSpinTicks, _barrierYieldTicks);
        }

        // The phase also moves on when a worker fails, to release those who would wait for it in vain.
        if (Volatile.Read(ref _shared.Failed) != 0)
        {
            throw new TeamAbortedException();
        }
    }

    /// <summary>Lets the threads end.</summary>
    public void Shutdown()
    {
        _shutdown = true;
        Interlocked.Increment(ref _shared.Dispatch);
        WakeParked();
    }

    /// <summary>Lets the threads end, waits until they have, and frees the scratch memory.</summary>
    public void ShutdownAndJoin()
    {
        if (Interlocked.CompareExchange(ref _shared.Busy, 1, 0) != 0)
        {
            throw new InvalidOperationException("The worker team is running a task and cannot be disposed.");
        }

        // Busy stays set: nothing can run any more.
        Shutdown();
        foreach (Thread thread in _threads)
        {
            thread.Join();
        }

        foreach (Worker worker in _workers)
        {
            worker.WakeUp.Dispose();
        }

        _scratch.Dispose();
    }

    private static long Ticks(int microseconds) => Stopwatch.Frequency * microseconds / 1_000_000;

    private static InvalidOperationException BarrierMismatch()
        => new("The workers of a team reached different numbers of barriers in one task.");

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Pause()
    {
        if (X86Base.IsSupported)
        {
            X86Base.Pause();
        }
        else if (ArmBase.IsSupported)
        {
            ArmBase.Yield();
        }
        else
        {
            Thread.SpinWait(1);
        }
    }

    private void WorkLoop(Worker worker)
    {
        int seen = 0;
        while (true)
        {
            WaitWhile(ref _shared.Dispatch, seen, worker, _idleSpinTicks, 0);
            if (_shutdown)
            {
                return;
            }

            // A dispatch follows only upon the completion of the one before, so none is ever skipped.
            seen++;
            Execute(_task!, worker);
        }
    }

    private void Execute(ITeamTask task, Worker worker)
    {
        try
        {
            task.Execute(worker);
        }
        catch (Exception exception)
        {
            Fail(worker, exception);
        }

        // Fewer workers than the team has are left: whoever waits at a barrier now waits for ever.
        int remaining = Interlocked.Decrement(ref _shared.Remaining);
        if (remaining != 0 && Volatile.Read(ref _shared.Arrived) != 0 && Volatile.Read(ref _shared.Failed) == 0)
        {
            Fail(worker, BarrierMismatch());
        }

        if (Interlocked.Increment(ref _shared.Left) == _workers.Length)
        {
            _shared.Left = 0;
            Interlocked.Increment(ref _shared.Completed);
            WakeParked(_workers[0]);
        }
    }

    private void Fail(Worker worker, Exception exception)
    {
        worker.Failure = ExceptionDispatchInfo.Capture(exception);
        Interlocked.Exchange(ref _shared.Failed, 1);
        Interlocked.Increment(ref _shared.Phase);
        WakeParked();
    }

    private void ThrowFailure()
    {
        ExceptionDispatchInfo? failure = null;
        foreach (Worker worker in _workers)
        {
            if (worker.Failure is { } candidate && (failure is null || (failure.SourceException is TeamAbortedException && candidate.SourceException is not TeamAbortedException)))
            {
                failure = candidate;
            }

            worker.Failure = null;
        }

        failure!.Throw();
    }

    private void WaitWhile(ref int location, int value, Worker worker, long spinTicks, long yieldTicks)
    {
        // The clock costs as much as a few looks: a wait that ends soon never reads it.
        for (int look = 0; look < 64 && spinTicks > 0; look++)
        {
            if (Volatile.Read(ref location) != value)
            {
                return;
            }

            Pause();
        }

        long start = Stopwatch.GetTimestamp();
        do
        {
            for (int look = 0; look < 16; look++)
            {
                if (Volatile.Read(ref location) != value)
                {
                    return;
                }

                Pause();
            }
        }
        while (Stopwatch.GetTimestamp() - start < spinTicks);

        while (Stopwatch.GetTimestamp() - start < yieldTicks)
        {
            if (Volatile.Read(ref location) != value)
            {
                return;
            }

            Thread.Yield();
        }

        Park(ref location, value, worker);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Park(ref int location, int value, Worker worker)
    {
        bool interrupted = false;
        while (true)
        {
            Interlocked.Exchange(ref worker.Parked, 1);
            if (Volatile.Read(ref location) != value)
            {
                break;
            }

            try
            {
                worker.WakeUp.WaitOne();
            }
            catch (ThreadInterruptedException)
            {
                // The others still use this task's memory: the wait must end before the interruption may take effect.
                interrupted = true;
            }
        }

        // Someone may signal the event at this very moment; the next wait then returns early, looks and sleeps again.
        Interlocked.Exchange(ref worker.Parked, 0);
        if (interrupted)
        {
            Thread.CurrentThread.Interrupt();
        }
    }

    private void WakeParked()
    {
        foreach (Worker worker in _workers)
        {
            WakeParked(worker);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void WakeParked(Worker worker)
    {
        if (Volatile.Read(ref worker.Parked) != 0 && Interlocked.Exchange(ref worker.Parked, 0) != 0)
        {
            worker.WakeUp.Set();
        }
    }

    // Each group on cache lines of its own (two, since processors fetch them in pairs), so that polling one does not slow writing another.
    [StructLayout(LayoutKind.Explicit, Size = 128 * 6)]
    private struct SharedLines
    {
        /// <summary>Counts dispatches.</summary>
        [FieldOffset(128)]
        public int Dispatch;

        /// <summary>Counts barriers that opened; those who wait at one watch it.</summary>
        [FieldOffset(256)]
        public int Phase;

        /// <summary>1 once a worker of the current task failed.</summary>
        [FieldOffset(260)]
        public int Failed;

        /// <summary>The workers that have not finished the current task.</summary>
        [FieldOffset(264)]
        public int Remaining;

        /// <summary>The workers that wait at the current barrier.</summary>
        [FieldOffset(384)]
        public int Arrived;

        /// <summary>The workers that are through with the current task and will not touch the team's state again.</summary>
        [FieldOffset(512)]
        public int Left;

        /// <summary>1 while a task runs.</summary>
        [FieldOffset(516)]
        public int Busy;

        /// <summary>Counts completed tasks.</summary>
        [FieldOffset(640)]
        public int Completed;
    }
}

/// <summary>Unwinds a worker whose peer failed. It never leaves the team.</summary>
internal sealed class TeamAbortedException : Exception
{
    public TeamAbortedException()
        : base("Another worker of the team failed.")
    {
    }
}
