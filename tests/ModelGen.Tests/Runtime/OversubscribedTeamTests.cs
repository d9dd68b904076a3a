using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>More workers than processors: sessions and trainers have none, and a team that has them still meets.</summary>
[Collection(SerialCollection.Name)]
public sealed class OversubscribedTeamTests
{
    [Theory]
    [InlineData(0, 2, 2)]
    [InlineData(1, 2, 1)]
    [InlineData(2, 2, 2)]
    [InlineData(500, 2, 2)]
    [InlineData(1024, 96, 96)]
    [InlineData(0, 4000, 1024)]
    [InlineData(1024, 4000, 1024)]
    public void There_are_no_threads_beyond_the_processors(int asked, int processors, int expected)
        => Assert.Equal(expected, RunChecks.Threads(asked, processors, beyondProcessors: false));

    [Theory]
    [InlineData(0, 2, 2)]
    [InlineData(3, 2, 3)]
    [InlineData(1024, 2, 1024)]
    public void Unless_a_test_wants_them(int asked, int processors, int expected)
        => Assert.Equal(expected, RunChecks.Threads(asked, processors, beyondProcessors: true));

    [Fact]
    public void These_tests_want_them()
    {
        int beyond = Environment.ProcessorCount + 1;
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 1);
        using var session = new FakeSession(weights, new SessionOptions { Threads = beyond });
        using var trainer = new FakeTrainer(weights, new Sgd(), new TrainerOptions { Threads = beyond });
        Assert.Equal((beyond, beyond), (session.Threads, trainer.Threads));
    }

    [Theory]
    [InlineData(12, 200)]
    [InlineData(60, 60)]
    [InlineData(300, 10)]
    public void A_team_far_larger_than_the_machine_meets_at_every_barrier(int threads, int barriers)
    {
        using var team = new WorkerTeam(threads, 0);
        int[] reached = new int[threads];
        int early = 0;
        var task = new Meetings(barriers, reached, () => Interlocked.Increment(ref early));
        for (int run = 0; run < 3; run++)
        {
            team.Run(task);
            Assert.All(reached, count => Assert.Equal(barriers, count));
        }

        Assert.Equal(0, early);
    }

    [Fact]
    public void Teams_that_run_at_once_do_not_keep_each_other_from_meeting()
    {
        int wrong = 0;
        Thread[] callers = [.. Enumerable.Range(0, 6).Select(caller => new Thread(() =>
        {
            int threads = 1 + (caller % 3);
            using var team = new WorkerTeam(threads, 0);
            int[] reached = new int[threads];
            var task = new Meetings(30, reached, () => Interlocked.Increment(ref wrong));
            for (int run = 0; run < 20; run++)
            {
                team.Run(task);
                if (Array.Exists(reached, static count => count != 30))
                {
                    Interlocked.Increment(ref wrong);
                }
            }
        }))];
        Array.ForEach(callers, static thread => thread.Start());
        Assert.All(callers, static thread => Assert.True(thread.Join(TimeSpan.FromSeconds(60))));
        Assert.Equal(0, wrong);
    }

    [Theory]
    [InlineData(12)]
    [InlineData(60)]
    public void A_failure_in_a_large_team_releases_everyone(int threads)
    {
        using var team = new WorkerTeam(threads, 0);
        for (int failing = 0; failing < threads; failing += 11)
        {
            Assert.Throws<FormatException>(() => team.Run(new Failure(failing)));
        }

        int[] reached = new int[threads];
        team.Run(new Meetings(3, reached, static () => { }));
        Assert.All(reached, static count => Assert.Equal(3, count));
    }

    private sealed class Meetings(int barriers, int[] reached, Action early) : ITeamTask
    {
        public void Execute(Worker worker)
        {
            for (int barrier = 1; barrier <= barriers; barrier++)
            {
                Volatile.Write(ref reached[worker.Index], barrier);
                worker.Barrier();

                // A worker may be one ahead, but never behind.
                foreach (ref int other in reached.AsSpan())
                {
                    if (Volatile.Read(ref other) < barrier)
                    {
                        early();
                    }
                }

                worker.Barrier();
            }
        }
    }

    private sealed class Failure(int failing) : ITeamTask
    {
        public void Execute(Worker worker)
        {
            worker.Barrier();
            if (worker.Index == failing)
            {
                throw new FormatException("on purpose");
            }

            worker.Barrier();
        }
    }
}
