namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// The caches that blocks are sized for, in bytes: the first and second level of one core, and the third, which cores share. The
/// first holds what a pass reads again and again; panels of matrix products may outgrow it, since a tile reads them from end to end,
/// which the processor foresees.
/// </summary>
internal sealed record CacheSizes(int L1, int L2, int L3)
{
    /// <summary>What most processors of the last years have.</summary>
    public static CacheSizes Default { get; } = new(32 << 10, 1 << 20, 16 << 20);
}
