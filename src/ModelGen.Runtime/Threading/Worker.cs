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
    /// <summary>No item's name.</summary>
    internal const long Nothing = -1;

    // How many bits a share's word has for each end of it; what is left counts turns.
    private const int ItemBits = 28;
    private const int MostItems = (1 << ItemBits) - 1;
    private const int TurnMask = (1 << (64 - (2 * ItemBits))) - 1;

    private readonly TeamCore _core;
    private PolledLines _polled;
    private int _firstUnit;
    private int _ownUnits;
    private int _rounds;
    private int _foreseen;

    // Which of a task's shares is open, so that nobody takes from another one's.
    private int _turn;

    internal Worker(TeamCore core, int index, int count, byte* scratch, long scratchBytes)
    {
        _core = core;
        Index = index;
        Count = count;
        Scratch = scratch;
        ScratchBytes = scratchBytes;
        _polled.Current = Nothing;
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

    /// <summary>Whom the thread sleeps for: a worker's index, or what <see cref="TeamCore"/> has for the next task. Written before the flag.</summary>
    internal ref int Awaited => ref _polled.Awaited;

    /// <summary>The task that this worker began last and the processor it then was on, as <see cref="TeamCore"/> packs them; 0 before the first.</summary>
    internal ref long Seat => ref _polled.Seat;

    internal ExceptionDispatchInfo? Failure { get; set; }

    /// <summary>The unit that <see cref="Take()"/> took.</summary>
    public int Unit { get; private set; }

    /// <summary>The round of <see cref="Unit"/>.</summary>
    public int Round { get; private set; }

    /// <summary>Whether <see cref="Take()"/> took what <see cref="Foresee"/> had foreseen.</summary>
    public bool IsForeseen { get; private set; }

    /// <summary>What this worker took from a share of several rounds and is not through with, or <see cref="Nothing"/>.</summary>
    internal long Current => Volatile.Read(ref _polled.Current);

    /// <summary>Whether another worker must take items from the front of this worker's share, where the rounds go on.</summary>
    internal bool HasRounds => _rounds > 1;

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

    /// <summary>
    /// Opens this worker's contiguous share of the units <c>0..units</c>, as <see cref="Range(int, int, out int, out int)"/> gives it.
    /// The units are then taken one after the other, and whoever is through with its own share helps the others with theirs. Who
    /// computes a unit may therefore differ from run to run, so what it computes must not depend on that.
    /// </summary>
    /// <remarks>
    /// All workers open the same shares in the same order. They need not meet in between: those that are at different shares do not help each
    /// other. Only before and after a share of several rounds must they meet at a <see cref="Barrier"/>.
    /// </remarks>
    /// <param name="units">The number of units to share; 0 or more.</param>
    /// <param name="rounds">
    /// How often each unit is computed; 1 or more. A share's units are taken round by round, and a unit's round begins when the one
    /// before it has ended, whoever computed that.
    /// </param>
    public void Share(int units, int rounds = 1)
    {
        Range(units, 1, out _firstUnit, out int end);
        _ownUnits = end - _firstUnit;
        _rounds = rounds;
        _foreseen = -1;
        _turn = (_turn + 1) & TurnMask;
        int items = checked(_ownUnits * rounds);
        if (items > MostItems)
        {
            throw new ArgumentOutOfRangeException(nameof(units), units, $"A worker's share has at most {MostItems} items.");
        }

        Volatile.Write(ref _polled.Share, Pack(_turn, 0, items));
    }

    /// <summary>
    /// Takes the next unit of this worker's share, or one of the share that has most left: the last one, or the next if there are
    /// several rounds. The unit taken before has then ended.
    /// </summary>
    /// <returns>Whether there was any: <see cref="Unit"/>.</returns>
    public bool Take()
    {
        if (TakeNext(this) || (Count > 1 && _core.Help(this)))
        {
            return true;
        }

        if (_rounds > 1)
        {
            Volatile.Write(ref _polled.Current, Nothing);
        }

        return false;
    }

    /// <summary>
    /// Takes several units of this worker's share of one round, or then the last ones of the share that has most left: half of what is
    /// left, so that all workers end at about the same time.
    /// </summary>
    /// <param name="least">Units that stay together where there are as many; 1 or more.</param>
    /// <param name="most">The most units to take; <paramref name="least"/> or more.</param>
    /// <param name="first">The first of the units.</param>
    /// <param name="last">One past the last of them.</param>
    /// <returns>Whether there were any.</returns>
    public bool Take(int least, int most, out int first, out int last)
    {
        long share;
        while (Remaining(share = Volatile.Read(ref _polled.Share)) > 0)
        {
            int count = Count == 1 ? Math.Min(most, Remaining(share)) : Piece(Remaining(share), least, most);
            if (TryReplace(share, Pack(_turn, Start(share) + count, End(share))))
            {
                first = _firstUnit + Start(share);
                last = first + count;
                return true;
            }
        }

        first = last = 0;
        return Count > 1 && _core.Help(this, least, most, out first, out last);
    }

    /// <summary>
    /// Tells which unit of its own share this worker takes next, unless another one is quicker: <see cref="IsForeseen"/> then tells.
    /// </summary>
    /// <param name="limit">Units from this one on are not to be foreseen.</param>
    /// <param name="unit">The unit; 0 if there is none.</param>
    /// <param name="round">Its round; 0 if there is none.</param>
    /// <returns>Whether there is any.</returns>
    public bool Foresee(int limit, out int unit, out int round)
    {
        long share = Volatile.Read(ref _polled.Share);
        if (Remaining(share) > 0)
        {
            _foreseen = Start(share);
            round = _foreseen / _ownUnits;
            unit = _firstUnit + _foreseen - (round * _ownUnits);
            if (unit < limit)
            {
                return true;
            }
        }

        _foreseen = -1;
        unit = round = 0;
        return false;
    }

    /// <summary>Items of this worker's share that nobody has taken, if it is the one that <paramref name="other"/> has open; others may take them at any time.</summary>
    internal int LeftFor(Worker other)
    {
        long share = Volatile.Read(ref _polled.Share);
        return Turn(share) == other._turn ? Remaining(share) : 0;
    }

    /// <summary>Begins a task: all workers count its shares from here.</summary>
    internal void BeginTask()
    {
        _turn = 0;
        Volatile.Write(ref _polled.Share, 0);
    }

    /// <summary>Takes the next item of a worker's share.</summary>
    internal bool TakeNext(Worker owner)
    {
        long share;
        while (Remaining(share = Volatile.Read(ref owner._polled.Share)) > 0 && Turn(share) == _turn)
        {
            // Read before the item is taken: with the last one gone, the owner may open its next share.
            (int item, int firstUnit, int ownUnits) = (Start(share), owner._firstUnit, owner._ownUnits);
            if (_rounds > 1)
            {
                // Before it is taken, so that whoever takes the unit's next round sees it.
                Volatile.Write(ref _polled.Current, Name(owner, item));
            }

            if (owner.TryReplace(share, Pack(_turn, item + 1, End(share))))
            {
                Begin(owner, item, firstUnit, ownUnits);
                return true;
            }
        }

        return false;
    }

    /// <summary>Takes the last item of a worker's share of one round, unless there is none any more.</summary>
    internal bool TryTakeLast(Worker owner)
    {
        if (!owner.TryGive(this, 1, 1, out int unit, out _))
        {
            return false;
        }

        (IsForeseen, Round, Unit) = (false, 0, unit);
        return true;
    }

    /// <summary>Takes the last units of this worker's share of one round for another one, unless there are none any more.</summary>
    internal bool TryGive(Worker other, int least, int most, out int first, out int last)
    {
        long share = Volatile.Read(ref _polled.Share);
        int count = Turn(share) == other._turn ? Piece(Remaining(share), least, most) : 0;
        last = _firstUnit + End(share);
        first = last - count;
        return count > 0 && TryReplace(share, Pack(other._turn, Start(share), End(share) - count));
    }

    /// <summary>Closes the share that a failure left open.</summary>
    internal void CloseShare()
    {
        Volatile.Write(ref _polled.Share, 0);
        Volatile.Write(ref _polled.Current, Nothing);
    }

    // A share in one word, which is replaced at once: its turn, one past its last item, and its first.
    private static long Pack(int turn, int start, int end) => ((long)turn << (2 * ItemBits)) | ((long)end << ItemBits) | (uint)start;

    private static int Turn(long share) => (int)(share >> (2 * ItemBits)) & TurnMask;

    private static int End(long share) => (int)(share >> ItemBits) & MostItems;

    private static int Start(long share) => (int)share & MostItems;

    private static int Remaining(long share) => End(share) - Start(share);

    private static int Piece(int remaining, int least, int most) => Math.Min(remaining, Math.Clamp((remaining + 1) / 2, least, most));

    private static long Name(Worker owner, int item) => ((long)owner.Index << 32) | (uint)item;

    private bool TryReplace(long share, long other)
    {
        if (Count == 1)
        {
            _polled.Share = other;
            return true;
        }

        return Interlocked.CompareExchange(ref _polled.Share, other, share) == share;
    }

    private void Begin(Worker owner, int item, int firstUnit, int ownUnits)
    {
        IsForeseen = owner == this && item == _foreseen;
        Round = item / ownUnits;
        Unit = firstUnit + item - (Round * ownUnits);
        if (Round > 0 && Count > 1)
        {
            _core.AwaitEnd(Name(owner, item - ownUnits), this);
        }
    }

    // On cache lines of their own (two, since processors fetch them in pairs): other workers poll them.
    [StructLayout(LayoutKind.Explicit, Size = 384)]
    private struct PolledLines
    {
        [FieldOffset(128)]
        public long Progress;

        [FieldOffset(136)]
        public int Parked;

        [FieldOffset(140)]
        public int Awaited;

        [FieldOffset(256)]
        public long Share;

        [FieldOffset(264)]
        public long Current;

        [FieldOffset(272)]
        public long Seat;
    }
}
