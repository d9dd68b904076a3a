using System.Diagnostics;
using System.Runtime.CompilerServices;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

[Collection(SerialCollection.Name)]
public sealed unsafe class WorkerTeamTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromMinutes(2);

    [Theory]
    [InlineData(1, 50_000)]
    [InlineData(2, 50_000)]
    [InlineData(3, 5_000)]
    [InlineData(4, 5_000)]
    [InlineData(7, 1_000)]
    [InlineData(11, 200)]
    public void Everything_before_a_barrier_is_seen_after_it(int threads, int barriers)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] written = new int[threads * 64];
        long errors = 0;
        Within(() => team.Run(new Work(worker =>
        {
            for (int round = 1; round <= barriers; round++)
            {
                // Plain writes and reads: only the barrier orders them.
                written[worker.Index * 64] = round;
                worker.Barrier();
                for (int other = 0; other < worker.Count; other++)
                {
                    if (written[other * 64] != round)
                    {
                        Interlocked.Increment(ref errors);
                    }
                }

                worker.Barrier();
            }
        })));
        Assert.Equal(0, errors);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Every_worker_runs_every_task_once(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        Assert.Equal(threads, team.Count);
        int[] runs = new int[threads];
        int caller = Environment.CurrentManagedThreadId;
        int callerRuns = 0;
        var work = new Work(worker =>
        {
            runs[worker.Index]++;
            if (Environment.CurrentManagedThreadId == caller)
            {
                Assert.Equal(0, worker.Index);
                callerRuns++;
            }
        });
        const int tasks = 20_000;
        Within(() =>
        {
            caller = Environment.CurrentManagedThreadId;
            for (int i = 0; i < tasks; i++)
            {
                team.Run(work);

                // Now and then long enough for the workers to fall asleep.
                if (i % 1000 == 0)
                {
                    Thread.Sleep(2);
                }
            }
        });
        Assert.All(runs, count => Assert.Equal(tasks, count));
        Assert.Equal(tasks, callerRuns);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Late_workers_wake_those_who_fell_asleep(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] order = new int[threads * 20];
        Within(() => team.Run(new Work(worker =>
        {
            for (int round = 0; round < 20; round++)
            {
                if (round % threads == worker.Index)
                {
                    Thread.Sleep(3);
                }

                worker.Barrier();
                order[(round * threads) + worker.Index] = round;
            }
        })));
        Assert.Equal(Enumerable.Range(0, 20).SelectMany(round => Enumerable.Repeat(round, threads)), order);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(2, 1)]
    [InlineData(4, 0)]
    [InlineData(4, 3)]
    [InlineData(10, 0)]
    [InlineData(10, 7)]
    public void A_worker_that_throws_releases_the_others(int threads, int thrower)
    {
        using var team = new WorkerTeam(threads, 0);
        int reached = 0;
        var failing = new Work(worker =>
        {
            worker.Barrier();
            if (worker.Index == thrower)
            {
                throw new FormatException("on purpose");
            }

            worker.Barrier();
            Interlocked.Increment(ref reached);
        });
        int total = 0;
        var counting = new Work(worker =>
        {
            worker.Barrier();
            Interlocked.Increment(ref total);
            worker.Barrier();
        });
        const int rounds = 200;
        Within(() =>
        {
            for (int i = 0; i < rounds; i++)
            {
                FormatException exception = Assert.Throws<FormatException>(() => team.Run(failing));
                Assert.Equal("on purpose", exception.Message);
                team.Run(counting);
            }
        });
        Assert.Equal(0, reached);
        Assert.Equal(rounds * threads, total);
    }

    [Fact]
    public void The_exception_of_the_first_worker_in_order_is_thrown()
    {
        using var team = new WorkerTeam(4, 0);
        for (int i = 0; i < 100; i++)
        {
            ArgumentException exception = Assert.Throws<ArgumentException>(() => team.Run(new Work(worker =>
            {
                if (worker.Index is 1 or 3)
                {
                    throw new ArgumentException(worker.Index.ToString(System.Globalization.CultureInfo.InvariantCulture));
                }
            })));
            Assert.Equal("1", exception.Message);
        }
    }

    [Theory]
    [InlineData(3, 0)]
    [InlineData(3, 1)]
    [InlineData(10, 0)]
    [InlineData(10, 1)]
    public void Workers_that_reach_different_numbers_of_barriers_are_reported(int threads, int quitter)
    {
        using var team = new WorkerTeam(threads, 0);
        Within(() =>
        {
            for (int delay = 0; delay < 3; delay++)
            {
                InvalidOperationException exception = Assert.Throws<InvalidOperationException>(() => team.Run(new Work(worker =>
                {
                    worker.Barrier();
                    if (worker.Index == quitter)
                    {
                        Thread.Sleep(delay);
                    }
                    else
                    {
                        Thread.Sleep(1);
                        worker.Barrier();
                    }
                })));
                Assert.Contains("barriers", exception.Message, StringComparison.Ordinal);
            }
        });
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Scratch_memory_is_aligned_and_private(int threads)
    {
        using var team = new WorkerTeam(threads, 1000);
        nint[] starts = new nint[threads];
        team.Run(new Work(worker =>
        {
            Assert.Equal(0, (nint)worker.Scratch % 64);
            Assert.Equal(1000, worker.ScratchBytes);
            starts[worker.Index] = (nint)worker.Scratch;
            new Span<byte>(worker.Scratch, 1000).Fill((byte)worker.Index);
            worker.Barrier();
            Assert.Equal(-1, new ReadOnlySpan<byte>(worker.Scratch, 1000).IndexOfAnyExcept((byte)worker.Index));
        }));
        Array.Sort(starts);
        for (int i = 1; i < threads; i++)
        {
            Assert.True(starts[i] - starts[i - 1] >= 1000);
        }
    }

    [Fact]
    public void Ranges_share_everything_once_in_whole_granules()
    {
        var random = new Random(1);
        for (int trial = 0; trial < 2000; trial++)
        {
            int count = random.Next(1, 9);
            int total = random.Next(0, 200);
            int granularity = random.Next(1, 40);
            Check(count, total, granularity);
        }

        Check(3, int.MaxValue, 1);
        Check(3, int.MaxValue, 4096);
        Check(1, int.MaxValue, int.MaxValue);
        Check(5, 0, 16);

        static void Check(int count, int total, int granularity)
        {
            int next = 0;
            long smallest = long.MaxValue;
            long largest = 0;
            for (int index = 0; index < count; index++)
            {
                var worker = new Worker(null!, index, count, null, 0);
                worker.Range(total, granularity, out int start, out int end);
                worker.Range((long)total, granularity, out long longStart, out long longEnd);
                Assert.Equal((start, end), ((int)longStart, (int)longEnd));
                Assert.Equal(next, start);
                Assert.True(end >= start);
                Assert.True(end == total || end % granularity == 0);
                next = end;
                long granules = ((long)end - start + granularity - 1) / granularity;
                smallest = Math.Min(smallest, granules);
                largest = Math.Max(largest, granules);
            }

            Assert.Equal(total, next);
            Assert.True(largest - smallest <= 1);
        }
    }

    [Fact]
    public void A_long_range_does_not_overflow()
    {
        long next = 0;
        for (int index = 0; index < 7; index++)
        {
            new Worker(null!, index, 7, null, 0).Range(long.MaxValue, 4096, out long start, out long end);
            Assert.Equal(next, start);
            next = end;
        }

        Assert.Equal(long.MaxValue, next);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Every_unit_of_a_share_is_taken_once(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] taken = new int[5000];
        long foreseen = 0;
        long errors = 0;
        Within(() => team.Run(new Work(worker =>
        {
            for (int trial = 0; trial < 2000; trial++)
            {
                int units = trial % 50;
                worker.Share(units);
                (bool follows, int following) = (false, 0);
                while (worker.Take())
                {
                    Interlocked.Increment(ref taken[worker.Unit + 1]);
                    bool right = worker.Round == 0 && worker.IsForeseen == (follows && worker.Unit == following);
                    Interlocked.Add(ref errors, right ? 0 : 1);
                    Interlocked.Add(ref foreseen, worker.IsForeseen ? 1 : 0);

                    // The last unit is never foreseen.
                    follows = worker.Foresee(units - 1, out following, out _);
                    Interlocked.Add(ref errors, follows && following >= units - 1 ? 1 : 0);
                    if ((trial + worker.Index) % 7 == 0)
                    {
                        Thread.SpinWait(50);
                    }
                }

                worker.Barrier();
                for (int unit = worker.Index; unit <= 50; unit += worker.Count)
                {
                    int expected = unit >= 1 && unit <= units ? 1 : 0;
                    Interlocked.Add(ref errors, taken[unit] == expected ? 0 : 1);
                    taken[unit] = 0;
                }

                worker.Barrier();
            }
        })));
        Assert.Equal(0, errors);
        Assert.True(foreseen > 0);
    }

    /// <summary>Kernels that do not touch what each other write: whoever is through with one share opens the next, while others help or are helped with the one before.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Shares_follow_each_other_without_a_meeting(int threads)
    {
        const int Shares = 6, Most = 40;
        using var team = new WorkerTeam(threads, 0);
        int[] taken = new int[Shares * Most];
        long errors = 0;
        Within(() => team.Run(new Work(worker =>
        {
            for (int trial = 0; trial < 1500; trial++)
            {
                for (int share = 0; share < Shares; share++)
                {
                    int units = Units(trial, share);
                    worker.Share(units);
                    if (share % 2 == 0)
                    {
                        while (worker.Take())
                        {
                            Interlocked.Increment(ref taken[(share * Most) + worker.Unit]);
                            Interlocked.Add(ref errors, worker.Round == 0 && worker.Unit < units ? 0 : 1);
                            Thread.SpinWait((trial + worker.Index + worker.Unit) % 5 == 0 ? 60 : 0);
                        }
                    }
                    else
                    {
                        while (worker.Take(1, 3, out int first, out int last))
                        {
                            for (int unit = first; unit < last; unit++)
                            {
                                Interlocked.Increment(ref taken[(share * Most) + unit]);
                            }

                            Thread.SpinWait((trial + worker.Index) % 3 == 0 ? 40 : 0);
                        }
                    }
                }

                worker.Barrier();
                for (int unit = worker.Index; unit < taken.Length; unit += worker.Count)
                {
                    Interlocked.Add(ref errors, taken[unit] == (unit % Most < Units(trial, unit / Most) ? 1 : 0) ? 0 : 1);
                    taken[unit] = 0;
                }

                worker.Barrier();
            }
        })));
        Assert.Equal(0, errors);

        static int Units(int trial, int share) => ((trial * 7) + (share * 11)) % Most;
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void Pieces_of_shares_cover_everything_once_and_keep_their_bounds(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        byte[] taken = new byte[1000];
        long errors = 0;
        long shortPieces = 0;
        Within(() => team.Run(new Work(worker =>
        {
            for (int trial = 0; trial < 1000; trial++)
            {
                (int units, int least, int most) = (trial, 1 + (trial % 5), 5 + (trial % 40));
                worker.Share(units);
                while (worker.Take(least, most, out int first, out int last))
                {
                    Interlocked.Add(ref errors, first < 0 || last > units || last - first < 1 || last - first > most ? 1 : 0);
                    Interlocked.Add(ref shortPieces, last - first < least ? 1 : 0);
                    for (int unit = first; unit < last; unit++)
                    {
                        taken[unit]++;
                    }
                }

                worker.Barrier();
                if (worker.Index == 0)
                {
                    Interlocked.Add(ref errors, taken.AsSpan(0, units).ContainsAnyExcept((byte)1) ? 1 : 0);

                    // Only what is left at the end of a share is shorter than the least piece.
                    Interlocked.Add(ref errors, shortPieces > worker.Count ? 1 : 0);
                    shortPieces = 0;
                    Array.Clear(taken);
                }

                worker.Barrier();
            }
        })));
        Assert.Equal(0, errors);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void A_unit_goes_from_round_to_round_whoever_computes_it(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] sums = new int[64 * 32];
        long errors = 0;
        Within(() => team.Run(new Work(worker =>
        {
            for (int trial = 0; trial < 400; trial++)
            {
                (int units, int rounds) = (trial % 32, 2 + (trial % 9));
                worker.Share(units, rounds);
                while (worker.Take())
                {
                    // Plain reads and writes: the end of the round before must be seen.
                    ref int sum = ref sums[worker.Unit * 64];
                    Interlocked.Add(ref errors, sum == worker.Round ? 0 : 1);
                    worker.Foresee(units, out _, out _);
                    if ((trial + worker.Index) % 5 == 0)
                    {
                        Thread.SpinWait(20);
                    }

                    sum = worker.Round + 1;
                }

                worker.Barrier();
                for (int unit = worker.Index; unit < 32; unit += worker.Count)
                {
                    Interlocked.Add(ref errors, sums[unit * 64] == (unit < units ? rounds : 0) ? 0 : 1);
                    sums[unit * 64] = 0;
                }

                worker.Barrier();
            }
        })));
        Assert.Equal(0, errors);
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 1)]
    [InlineData(2, 4)]
    [InlineData(3, 4)]
    public void Others_take_over_from_a_slow_worker(int threads, int rounds)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] counts = new int[threads];
        Within(() => team.Run(new Work(worker =>
        {
            worker.Share(30 * threads, rounds);

            // Nobody begins before all shares are open: a share that is not open yet is not helped with.
            worker.Barrier();
            while (worker.Take())
            {
                counts[worker.Index]++;
                Thread.Sleep(worker.Index == 1 ? 20 : 1);
            }
        })));
        Assert.Equal(30 * threads * rounds, counts.Sum());
        Assert.InRange(counts[1], 1, 20 * rounds);
    }

    [Fact]
    public void A_worker_that_is_on_its_callers_processor_leaves_it()
    {
        Assert.SkipWhen(Processors.Current == Processors.Unknown || Environment.ProcessorCount < 2, "The system does not tell on which of several processors a thread is.");
        using var team = new WorkerTeam(2, 0);
        int[] seats = new int[2];
        int caller = 0;
        bool moved = true;
        var join = new Work(worker =>
        {
            if (worker.Index == 1)
            {
                // To where the caller is, and free to go anywhere from there, as the kernel leaves a worker that was woken.
                int[] others = [.. Enumerable.Range(0, 1024).Where(processor => processor != caller)];
                moved &= Processors.TryLeave(others);
            }

            seats[worker.Index] = Processors.Current;
        });
        var look = new Work(worker => seats[worker.Index] = Processors.Current);
        int together = 0, apart = 0;
        Within(() =>
        {
            for (int i = 0; i < 20; i++)
            {
                caller = Processors.Current;
                team.Run(join);
                bool met = seats[0] == seats[1];
                team.Run(look);
                together += met ? 1 : 0;
                apart += met && seats[0] != seats[1] ? 1 : 0;
            }
        });
        Assert.True(moved);

        // The system moves threads as well.
        Assert.True(together >= 10 && apart >= together - 3, $"of {together} meetings {apart} ended");
    }

    [Fact]
    public void A_thread_that_leaves_a_processor_may_run_where_it_could()
    {
        Assert.SkipWhen(Processors.Current == Processors.Unknown || Environment.ProcessorCount < 2, "The system does not tell on which of several processors a thread is.");
        int first = Processors.Current;
        Assert.True(Processors.TryLeave([first, -1]));
        int second = Processors.Current;
        Assert.NotEqual(first, second);
        Assert.True(Processors.TryLeave([second]));
        Assert.NotEqual(second, Processors.Current);
        Assert.False(Processors.TryLeave([.. Enumerable.Range(0, 8192)]));
    }

    [Fact]
    public void A_share_that_a_failure_left_open_is_closed()
    {
        using var team = new WorkerTeam(3, 0);
        var failing = new Work(worker =>
        {
            worker.Share(300, 2);
            worker.Barrier();
            if (worker.Index == 1)
            {
                throw new FormatException("on purpose");
            }

            while (worker.Take() && worker.Round == 0)
            {
                Thread.SpinWait(10);
            }

            worker.Barrier();
        });
        int total = 0;
        var counting = new Work(worker =>
        {
            if (worker.Index == 0)
            {
                // Late: what the others find open before is not of this task.
                Thread.Sleep(1);
            }

            worker.Share(3);
            while (worker.Take())
            {
                Interlocked.Increment(ref total);
            }
        });
        Within(() =>
        {
            for (int i = 0; i < 50; i++)
            {
                Assert.Throws<FormatException>(() => team.Run(failing));
                team.Run(counting);
            }
        });
        Assert.Equal(50 * 3, total);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Running_a_task_allocates_nothing(int threads)
    {
        using var team = new WorkerTeam(threads, 64);
        var work = new Work(static worker =>
        {
            for (int i = 0; i < 5; i++)
            {
                worker.Share(7, 2);
                while (worker.Take())
                {
                }

                worker.Barrier();
            }
        });
        Assert.Equal(0, Allocated.Least(() =>
        {
            for (int i = 0; i < 20; i++)
            {
                team.Run(work);
            }

            // Long enough for everyone to fall asleep.
            Thread.Sleep(1);
            team.Run(work);
        }));
    }

    [Fact]
    public void An_allocation_on_any_worker_would_be_noticed()
    {
        using var team = new WorkerTeam(2, 0);
        object?[] kept = new object?[2];
        var work = new Work(worker =>
        {
            if (worker.Index == 1)
            {
                kept[1] = new byte[100];
            }
        });
        Assert.True(Allocated.Least(() => team.Run(work), seconds: 0.1) >= 100);
    }

    [Fact]
    public void A_team_runs_one_task_at_a_time()
    {
        using var team = new WorkerTeam(2, 0);
        Exception? nested = null;
        team.Run(new Work(worker =>
        {
            if (worker.Index == 0)
            {
                nested = Record.Exception(() => team.Run(new Work(static _ => { })));
                Assert.Throws<InvalidOperationException>(team.Dispose);
            }
        }));
        Assert.IsType<InvalidOperationException>(nested);
        team.Run(new Work(static _ => { }));
    }

    [Fact]
    public void Disposing_ends_the_threads()
    {
        var threads = new Thread?[3];
        var team = new WorkerTeam(3, 0);
        team.Run(new Work(worker => threads[worker.Index] = Thread.CurrentThread));
        Assert.All(threads[1..], thread =>
        {
            Assert.True(thread!.IsBackground);
            Assert.StartsWith("ModelGen worker", thread.Name, StringComparison.Ordinal);
        });
        team.Dispose();
        team.Dispose();
        Assert.All(threads[1..], thread => Assert.False(thread!.IsAlive));
        Assert.Throws<ObjectDisposedException>(() => team.Run(new Work(static _ => { })));
    }

    [Fact]
    public void A_forgotten_team_ends_its_threads()
    {
        Thread thread = Forget();
        var clock = Stopwatch.StartNew();
        while (thread.IsAlive && clock.Elapsed < s_deadline)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Thread.Sleep(5);
        }

        Assert.False(thread.IsAlive);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static Thread Forget()
        {
            Thread? background = null;
            new WorkerTeam(2, 100).Run(new Work(worker =>
            {
                if (worker.Index == 1)
                {
                    background = Thread.CurrentThread;
                }
            }));
            return background!;
        }
    }

    [Fact]
    public void An_interrupted_caller_still_waits_for_the_others()
    {
        using var team = new WorkerTeam(2, 0);
        bool finished = false;
        bool interrupted = false;
        var caller = new Thread(() =>
        {
            team.Run(new Work(worker =>
            {
                if (worker.Index == 1)
                {
                    Thread.Sleep(100);
                    Volatile.Write(ref finished, true);
                }
            }));
            Assert.True(Volatile.Read(ref finished));
            try
            {
                Thread.Sleep(1000);
            }
            catch (ThreadInterruptedException)
            {
                interrupted = true;
            }
        });
        caller.Start();
        Thread.Sleep(20);
        caller.Interrupt();
        Assert.True(caller.Join(s_deadline));
        Assert.True(interrupted);
        Assert.True(finished);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(1025)]
    public void The_number_of_threads_is_checked(int threads)
        => Assert.Throws<ArgumentOutOfRangeException>(() => new WorkerTeam(threads, 0));

    [Fact]
    public void Zero_threads_means_one_for_each_processor()
    {
        using var team = new WorkerTeam(0, 0);
        Assert.Equal(Environment.ProcessorCount, team.Count);
    }

    private static void Within(Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() => failure = Record.Exception(action)) { IsBackground = true };
        thread.Start();
        Assert.True(thread.Join(s_deadline), "The workers wait for each other for ever.");
        if (failure is not null)
        {
            throw new InvalidOperationException(failure.Message, failure);
        }
    }

    private sealed class Work(Action<Worker> action) : ITeamTask
    {
        public void Execute(Worker worker) => action(worker);
    }
}
