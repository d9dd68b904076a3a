namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// Tests that measure the whole process (allocations over all threads, time) or keep every processor busy. xunit runs
/// this collection while no other test runs.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class SerialCollection
{
    public const string Name = "Serial";
}
