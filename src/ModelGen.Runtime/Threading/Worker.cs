using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace ModelGen.Runtime;

/// <summary>A piece of work that every worker of a team executes together, each on its own share.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public interface ITeamTask
{
    /// <summary>Executes one worker's share. Every worker must reach the same number of barriers.</summary>
    /// <param name="worker">The worker that calls.</param>
    void Execute(Worker worker);
}

/// <summary>One thread of a <see cref="WorkerTeam"/>: its place in the team, its scratch memory, and the team's barrier.</summary>
[EditorBrowsable(EditorBrowsableState.Never)]
public sealed unsafe class Worker
{
    private readonly TeamCore _core;
    private PolledLines _polled;

    internal Worker(TeamCore core, int index, int count, byte* scratch, long scratchBytes)
    {
        _core = core;
        Index = index;
        Count = count;
        Scratch = scratch;
        ScratchBytes = scratchBytes;
    }

    /// <summary>Which worker of the team this is: 0 is the thread that called <see cref="WorkerTeam.Run"/>.</summary>
    public int Index { get; }

    /// <summary>The number of workers in the team.</summary>
    public int Count { get; }

    /// <summary>Memory of this worker's own, aligned to 64 bytes. Its contents are undefined between runs.</summary>
    public byte* Scratch { get; }

    /// <summary>The size of <see cref="Scratch"/>, as the team was asked for.</summary>
    public long ScratchBytes { get; }

    internal AutoResetEvent WakeUp { get; } = new(initialState: false);

    /// <summary>How far this worker has come, as <see cref="TeamCore"/> counts: what the others wait for.</summary>
    internal ref long Progress => ref _polled.Progress;

    /// <summary>The barriers of the current task that this worker has reached. Its own: nobody else looks at it.</summary>
    internal long Reached { get; set; }

    /// <summary>1 while the thread sleeps, or is about to, until <see cref="WakeUp"/>; whoever sets it back to 0 signals the event.</summary>
    internal ref int Parked => ref _polled.Parked;

    internal ExceptionDispatchInfo? Failure { get; set; }

    /// <summary>
    /// Waits until every worker of the team is here; what each wrote before is then visible to all. Returns at once in a team of one.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Barrier()
    {
        if (Count > 1)
        {
            _core.Barrier(this);
        }
    }

    /// <summary>
    /// This worker's contiguous share of <c>0..total</c>. Shares are whole multiples of <paramref name="granularity"/>, but for the
    /// last, and differ by at most one of them.
    /// </summary>
    /// <param name="total">The number of items to share; 0 or more.</param>
    /// <param name="granularity">The number of items that stay together; 1 or more.</param>
    /// <param name="start">The first item of the share.</param>
    /// <param name="end">One past the last item; equals <paramref name="start"/> if the share is empty.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Range(int total, int granularity, out int start, out int end)
    {
        // Unsigned, so that rounding up cannot overflow.
        uint blocks = ((uint)total + (uint)granularity - 1) / (uint)granularity;
        (uint share, uint remainder) = Math.DivRem(blocks, (uint)Count);
        uint first = ((uint)Index * share) + Math.Min((uint)Index, remainder);
        uint last = first + share + ((uint)Index < remainder ? 1u : 0u);
        start = (int)Math.Min((ulong)first * (uint)granularity, (uint)total);
        end = (int)Math.Min((ulong)last * (uint)granularity, (uint)total);
    }

    /// <inheritdoc cref="Range(int, int, out int, out int)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Range(long total, int granularity, out long start, out long end)
    {
        ulong blocks = ((ulong)total + (ulong)granularity - 1) / (ulong)granularity;
        (ulong share, ulong remainder) = Math.DivRem(blocks, (ulong)Count);
        ulong first = ((ulong)Index * share) + Math.Min((ulong)Index, remainder);
        ulong last = first + share + ((ulong)Index < remainder ? 1ul : 0ul);

        // Only the last block can reach beyond the total, and by less than one granule: no product overflows.
        start = (long)Math.Min(first * (ulong)granularity, (ulong)total);
        end = (long)Math.Min(last * (ulong)granularity, (ulong)total);
    }

    // On cache lines of their own (two, since processors fetch them in pairs): other workers poll them.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct PolledLines
    {
        [FieldOffset(128)]
        public long Progress;

        [FieldOffset(136)]
        public int Parked;
    }
}
