namespace ModelGen.Runtime;

/// <summary>
/// A team of one, in place of the runtime's worker, whose threads need an operating system: to emitted code it looks the same.
/// </summary>
public readonly unsafe struct Worker(byte* scratch, long scratchBytes)
{
    private readonly byte* _scratch = scratch;
    private readonly long _scratchBytes = scratchBytes;

    public int Index => 0;

    public int Count => 1;

    public byte* Scratch => _scratch;

    public long ScratchBytes => _scratchBytes;

    public void Barrier()
    {
    }

    public void Range(int total, int granularity, out int start, out int end)
    {
        start = 0;
        end = total;
    }

    public void Range(long total, int granularity, out long start, out long end)
    {
        start = 0;
        end = total;
    }
}
