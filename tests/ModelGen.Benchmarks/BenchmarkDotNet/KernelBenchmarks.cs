using BenchmarkDotNet.Attributes;
using ModelGen.Benchmarks.Measuring;
using ModelGen.Benchmarks.Rows;
using ModelGen.Runtime;

namespace ModelGen.Benchmarks;

/// <summary>The matrix products of GPT-2's training step, each alone.</summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(8)]
public class ProductBenchmarks
{
    private ProductRow.Workload? _workload;
    private WorkerTeam? _team;

    /// <summary>Which product.</summary>
    [ParamsSource(nameof(Products))]
    public string Product { get; set; } = "";

    /// <summary>How many threads.</summary>
    [Params(1, 2)]
    public int Threads { get; set; }

    /// <summary>Every product.</summary>
    public static IEnumerable<string> Products => ProductRow.Names;

    /// <summary>Starts the threads.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _team = new WorkerTeam(Threads, Gpt2Products.WorkerScratchBytes);
        _workload = new ProductRow.Workload(Product);
    }

    /// <summary>One product.</summary>
    [Benchmark]
    public void Multiply() => _team!.Run(_workload!);

    /// <summary>Ends the threads.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _team!.Dispose();
        _workload!.Dispose();
    }
}

/// <summary>Attention forward and backward, 12 heads of 64, batch 4, on every processor.</summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(8)]
public class AttentionBenchmarks
{
    private AttentionRow.Workload? _workload;
    private WorkerTeam? _team;

    /// <summary>The positions of a sequence.</summary>
    [Params(64, 256, 1024)]
    public int Length { get; set; }

    /// <summary>Starts the threads.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _workload = new AttentionRow.Workload(Length);
        _team = new WorkerTeam(0, _workload.ScratchBytes);
    }

    /// <summary>Forward, then backward.</summary>
    [Benchmark]
    public void Forward_and_backward() => _team!.Run(_workload!);

    /// <summary>Ends the threads.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _team!.Dispose();
        _workload!.Dispose();
    }
}

/// <summary>What a team's dispatch and its barrier cost: a task with nothing to compute.</summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(8)]
public class TeamBenchmarks
{
    private const int Barriers = 16;

    private readonly Meetings _none = new(0);
    private readonly Meetings _several = new(Barriers);
    private WorkerTeam? _team;

    /// <summary>How many threads; more than there are processors yield instead of spinning.</summary>
    [Params(1, 2, 8, 64)]
    public int Threads { get; set; }

    /// <summary>Starts the threads.</summary>
    [GlobalSetup]
    public void Setup() => _team = new WorkerTeam(Threads, 0);

    /// <summary>One dispatch.</summary>
    [Benchmark]
    public void Dispatch() => _team!.Run(_none);

    /// <summary>One dispatch with sixteen barriers in it.</summary>
    [Benchmark]
    public void Dispatch_and_16_barriers() => _team!.Run(_several);

    /// <summary>Ends the threads.</summary>
    [GlobalCleanup]
    public void Cleanup() => _team!.Dispose();

    private sealed class Meetings(int barriers) : ITeamTask
    {
        public void Execute(Worker worker)
        {
            for (int i = 0; i < barriers; i++)
            {
                worker.Barrier();
            }
        }
    }
}
