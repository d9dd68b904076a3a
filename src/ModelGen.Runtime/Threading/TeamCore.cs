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
/// <para>
/// Each worker tells the others how far it has come in one number, its progress: the task's number in the upper half, then a bit that
/// says that it is through with the task, and the barriers it has reached. Nobody else writes it, and it only grows; since it wraps
/// around after 2³² tasks, numbers are compared by the sign of their difference. A barrier and the end of a task are therefore one
/// store each, and waiting is to poll the others' numbers.
/// </para>
/// <para>
/// Memory order: a publication is a volatile store, which orders what the worker wrote before it, and an observation is a volatile
/// read. Nobody who publishes pays for a fence against those who sleep: a thread that is going to sleep raises its flag, has every
/// running thread of the process pass a fence, and then looks at the number once more. Either it sees the new number, or whoever
/// published that looks for flags after the fence and sees this one. No wake-up is lost. Before the flag it notes whom it waits for, and
/// is woken by nobody else: if everyone who publishes woke everyone, a barrier of n sleepers would switch threads n² times.
/// </para>
/// </remarks>
internal sealed unsafe class TeamCore
{
    // A peer that is late by less than this is probably just behind; beyond it, it was probably descheduled, or sleeps on a processor that
    // does as well: to wake both takes some hundred microseconds.
    private const int BarrierSpinMicroseconds = 20;
    private const int BarrierYieldMicroseconds = 1000;
    private const int IdleSpinMicroseconds = 80;

    /// <summary>Added to a worker's progress when it is through with the task.</summary>
    private const long Finished = 1L << 31;

    private const int TaskShift = 32;
    private const int SeatShift = 16;
    private const int SeatMask = (1 << SeatShift) - 1;

    private static readonly long s_barrierSpinTicks = Ticks(BarrierSpinMicroseconds);
    private static readonly long s_barrierYieldTicks = Ticks(BarrierYieldMicroseconds);
    private static readonly long s_idleSpinTicks = Ticks(IdleSpinMicroseconds);
    private static readonly int s_processors = Environment.ProcessorCount;

    // The workers of all teams of the process that run a task.
    private static PaddedCount s_busy;

    /// <summary>The largest team in which everyone polls everyone: the quickest as long as that is little traffic.</summary>
    private const int LargestMutual = 8;

    /// <summary>In place of a worker's index: what is awaited is the next task.</summary>
    private const int Dispatcher = -1;

    private readonly Worker[] _workers;
    private readonly Thread[] _threads;
    private readonly NativeBlock _scratch;
    private readonly bool _mutual;
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

        _mutual = threads <= LargestMutual;
        _workers[0].WakeUp.WaitOne(0);
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

    /// <summary>Executes a task on every worker. The caller's <see cref="RunGuard"/> sees to it that one runs at a time.</summary>
    public void Run(ITeamTask task)
    {
        Interlocked.Add(ref s_busy.Value, _workers.Length);
        try
        {
            if (_workers.Length == 1)
            {
                task.Execute(_workers[0]);
            }
            else
            {
                RunTogether(task);
            }
        }
        finally
        {
            Interlocked.Add(ref s_busy.Value, -_workers.Length);
        }
    }

    public void Barrier(Worker worker)
    {
        ThrowIfFailed();
        long reached = ++worker.Reached;
        if (_mutual)
        {
            Publish(worker, reached);
            foreach (Worker other in _workers)
            {
                if (other != worker)
                {
                    AwaitBarrier(other, reached, worker);
                }
            }
        }
        else if (worker.Index == 0)
        {
            // In a large team the first worker looks at everyone, and everyone looks at the first.
            for (int index = 1; index < _workers.Length; index++)
            {
                AwaitBarrier(_workers[index], reached, worker);
            }

            Publish(worker, reached);
        }
        else
        {
            Publish(worker, reached);
            AwaitBarrier(_workers[0], reached, worker);
        }

        ThrowIfFailed();
    }

    /// <summary>Takes an item from the share that has most left.</summary>
    /// <remarks>
    /// A share is empty until its worker opens it, and when its worker is through with it; another one than this worker's is never taken from.
    /// </remarks>
    public bool Help(Worker worker)
    {
        while (Richest(worker) is { } other)
        {
            if (other.HasRounds ? worker.TakeNext(other) : worker.TryTakeLast(other))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Takes units from the share that has most left.</summary>
    public bool Help(Worker worker, int least, int most, out int first, out int last)
    {
        while (Richest(worker) is { } other)
        {
            if (other.TryGive(worker, least, most, out first, out last))
            {
                return true;
            }
        }

        first = last = 0;
        return false;
    }

    /// <summary>Waits until nobody is at work on an item that somebody took.</summary>
    public void AwaitEnd(long item, Worker worker)
    {
        foreach (Worker other in _workers)
        {
            for (int look = 1; other != worker && other.Current == item; look++)
            {
                ThrowIfFailed();
                Pause();
                if (look % 256 == 0)
                {
                    Thread.Yield();
                }
            }
        }
    }

    /// <summary>Lets the threads end.</summary>
    public void Shutdown()
    {
        _shutdown = true;
        Volatile.Write(ref _shared.Dispatched, _shared.Dispatched + 1);
        WakeParked(Dispatcher);
    }

    /// <summary>Lets the threads end, waits until they have, and frees the scratch memory. No task runs or will run any more.</summary>
    public void ShutdownAndJoin()
    {
        Shutdown();
        bool interrupted = false;
        foreach (Thread thread in _threads)
        {
            interrupted |= JoinUninterrupted(thread);
        }

        foreach (Worker worker in _workers)
        {
            worker.WakeUp.Dispose();
        }

        _scratch.Dispose();
        if (interrupted)
        {
            Thread.CurrentThread.Interrupt();
        }
    }

    /// <summary>Waits for a thread's end; what it leaves behind is about to be freed, so an interruption has to wait too.</summary>
    /// <returns>Whether there was one.</returns>
    private static bool JoinUninterrupted(Thread thread)
    {
        bool interrupted = false;
        while (true)
        {
            try
            {
                thread.Join();
                return interrupted;
            }
            catch (ThreadInterruptedException)
            {
                interrupted = true;
            }
        }
    }

    private Worker? Richest(Worker worker)
    {
        (Worker? richest, int most) = (null, 0);
        foreach (Worker other in _workers)
        {
            int left = other == worker ? 0 : other.LeftFor(worker);
            if (left > most)
            {
                (richest, most) = (other, left);
            }
        }

        return richest;
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

    private void RunTogether(ITeamTask task)
    {
        long number = _shared.Dispatched + 1;
        _shared.Task = task;
        Worker caller = _workers[0];
        caller.Seat = Seat(number, Processors.Current);
        Volatile.Write(ref _shared.Dispatched, number);
        WakeParked(Dispatcher);

        Execute(task, caller, number);
        long finished = (number << TaskShift) | Finished;
        for (int index = 1; index < _workers.Length; index++)
        {
            ref long progress = ref _workers[index].Progress;
            if (Volatile.Read(ref progress) - finished < 0)
            {
                WaitFor(ref progress, index, finished, caller, s_barrierSpinTicks, s_barrierYieldTicks);
            }
        }

        // The threads would keep the task's owner alive.
        _shared.Task = null;
        if (_shared.Failed != 0)
        {
            _shared.Failed = 0;
            ThrowFailure();
        }
    }

    private void WorkLoop(Worker worker)
    {
        // A thread's first wait allocates what it is known by to those who wake it, and to leave a processor has to be compiled and linked: here,
        // and not within some step.
        worker.WakeUp.WaitOne(0);
        Leave(Processors.Unknown);
        for (long number = 1; ; number++)
        {
            // A dispatch follows only upon the completion of the one before, so none is ever skipped.
            WaitFor(ref _shared.Dispatched, Dispatcher, number, worker, s_idleSpinTicks, 0);
            if (_shutdown)
            {
                return;
            }

            TakeSeat(worker, number);
            Execute(_shared.Task!, worker, number);
        }
    }

    /// <summary>Sees to it that a worker does not run on the processor of another one: taking turns, they would wait for each other at every barrier.</summary>
    private void TakeSeat(Worker worker, long number)
    {
        int processor = Processors.Current;
        if (processor == Processors.Unknown)
        {
            return;
        }

        // The later one goes. Where there are more workers than processors, they have to share.
        long seat = Seat(number, processor);
        for (int index = 0; index < worker.Index; index++)
        {
            if (Volatile.Read(ref _workers[index].Seat) == seat && Volatile.Read(ref s_busy.Value) <= s_processors)
            {
                seat = Seat(number, Leave(processor));
                break;
            }
        }

        Volatile.Write(ref worker.Seat, seat);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private int Leave(int processor)
    {
        // Not onto another worker's, if one is free; what they have published may be of a task before.
        Span<int> taken = stackalloc int[_workers.Length];
        for (int index = 0; index < taken.Length; index++)
        {
            long seat = Volatile.Read(ref _workers[index].Seat);
            taken[index] = seat == 0 ? Processors.Unknown : (int)(seat & SeatMask);
        }

        return Processors.TryLeave(taken) || Processors.TryLeave([processor]) ? Processors.Current : processor;
    }

    private static long Seat(long number, int processor) => (number << SeatShift) | (uint)(processor & SeatMask);

    private void Execute(ITeamTask task, Worker worker, long number)
    {
        worker.Reached = number << TaskShift;
        worker.BeginTask();
        try
        {
            task.Execute(worker);
        }
        catch (Exception exception)
        {
            worker.CloseShare();
            worker.Failure = ExceptionDispatchInfo.Capture(exception);
            Volatile.Write(ref _shared.Failed, 1);
        }

        // Whoever waits at a barrier that this worker did not reach sees so from the number.
        Publish(worker, worker.Reached | Finished);
    }

    /// <summary>Waits until another worker has reached a barrier, and throws if it never will.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void AwaitBarrier(Worker other, long reached, Worker worker)
    {
        long progress = Volatile.Read(ref other.Progress);
        if (progress - reached < 0)
        {
            progress = WaitFor(ref other.Progress, other.Index, reached, worker, s_barrierSpinTicks, s_barrierYieldTicks);
        }

        if ((progress & ~Finished) - reached < 0)
        {
            ThrowIfFailed();
            throw BarrierMismatch();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Publish(Worker worker, long progress)
    {
        Volatile.Write(ref worker.Progress, progress);
        WakeParked(worker.Index);
    }

    private void ThrowIfFailed()
    {
        if (Volatile.Read(ref _shared.Failed) != 0)
        {
            throw new TeamAbortedException();
        }
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

    /// <summary>Waits until a number, which <paramref name="source"/> publishes, has come to <paramref name="value"/> or beyond, and returns it.</summary>
    private long WaitFor(ref long location, int source, long value, Worker worker, long spinTicks, long yieldTicks)
    {
        long found;

        // The clock costs as much as a few looks, and the count of the busy is on its way between processors: a wait that ends soon reads
        // neither.
        for (int look = 0; look < 64 && _workers.Length <= s_processors; look++)
        {
            if ((found = Volatile.Read(ref location)) - value >= 0)
            {
                return found;
            }

            Pause();
        }

        // With more busy workers than processors, be they of one team or of several, whoever spins keeps the one it waits for from
        // running: it yields. All of them have their turn before it sleeps, since to fall asleep and to be woken takes ten times as
        // long as to yield.
        int workers = Math.Max(Volatile.Read(ref s_busy.Value), _workers.Length);
        int turns = (workers + s_processors - 1) / s_processors;
        if (turns == 1)
        {
            long start = Stopwatch.GetTimestamp();
            do
            {
                for (int look = 0; look < 16; look++)
                {
                    if ((found = Volatile.Read(ref location)) - value >= 0)
                    {
                        return found;
                    }

                    Pause();
                }
            }
            while (Stopwatch.GetTimestamp() - start < spinTicks);
        }
        else
        {
            yieldTicks = (spinTicks + yieldTicks) * turns;
        }

        long spun = Stopwatch.GetTimestamp();
        while (Stopwatch.GetTimestamp() - spun < yieldTicks)
        {
            if ((found = Volatile.Read(ref location)) - value >= 0)
            {
                return found;
            }

            Thread.Yield();
        }

        return Park(ref location, source, value, worker);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private long Park(ref long location, int source, long value, Worker worker)
    {
        bool interrupted = false;
        long found;
        Interlocked.Increment(ref _shared.Parked);
        Volatile.Write(ref worker.Awaited, source);
        while (true)
        {
            Interlocked.Exchange(ref worker.Parked, 1);
            Interlocked.MemoryBarrierProcessWide();
            if ((found = Volatile.Read(ref location)) - value >= 0)
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
        Interlocked.Decrement(ref _shared.Parked);
        if (interrupted)
        {
            Thread.CurrentThread.Interrupt();
        }

        return found;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void WakeParked(int source)
    {
        if (Volatile.Read(ref _shared.Parked) != 0)
        {
            WakeThoseWhoAwait(source);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void WakeThoseWhoAwait(int source)
    {
        if (!_mutual && source > 0)
        {
            // Only the first worker ever waits for any other.
            Wake(_workers[0], source);
            return;
        }

        foreach (Worker worker in _workers)
        {
            Wake(worker, source);
        }
    }

    private static void Wake(Worker worker, int source)
    {
        // A worker that sleeps for one peer after the other may be taken for one that still awaits the first: it then looks and sleeps again.
        if (Volatile.Read(ref worker.Parked) != 0 && Volatile.Read(ref worker.Awaited) == source && Interlocked.Exchange(ref worker.Parked, 0) != 0)
        {
            worker.WakeUp.Set();
        }
    }

    [StructLayout(LayoutKind.Explicit, Size = 128 * 2)]
    private struct PaddedCount
    {
        [FieldOffset(128)]
        public int Value;
    }

    // What is polled or written apart from the rest lies on cache lines of its own (two, since processors fetch them in pairs).
    [StructLayout(LayoutKind.Explicit, Size = 128 * 3)]
    private struct SharedLines
    {
        /// <summary>The number of the last task dispatched, from 1 on.</summary>
        [FieldOffset(128)]
        public long Dispatched;

        /// <summary>That task, on the line that tells of it.</summary>
        [FieldOffset(136)]
        public ITeamTask? Task;

        /// <summary>The threads that sleep or are about to.</summary>
        [FieldOffset(256)]
        public int Parked;

        /// <summary>1 once a worker of the current task failed.</summary>
        [FieldOffset(260)]
        public int Failed;
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
