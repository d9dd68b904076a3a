using System.Numerics;

namespace ModelGen.Tests.Ptx;

/// <content>
/// Grids whose blocks are all there at once and meet at words of memory, as in a cooperative launch. What a block has done before it adds to such a
/// word with release semantics is known to who reads the sum with acquire semantics, and to that one's block behind its next barrier; whatever two
/// blocks do to the same word without such an order between them is reported, and so are blocks that wait for what never comes.
/// </content>
internal sealed unsafe partial class PtxMachine
{
    // Of each word that threads meet at, what those that have added to it had done. A word is one as soon as anybody has treated it so.
    private readonly Dictionary<ulong, int[]?> _meetings = [];
    private Block[] _blocks = [];
    private bool _moved;

    /// <summary>Runs blocks of an entry that are all there at once.</summary>
    public void LaunchTogether(PtxEntryPoint entry, int blocks, int threads, ReadOnlySpan<byte> parameters)
    {
        Check(entry, blocks, 1, threads, parameters);
        if (entry.HasBarriers || entry.HasWarpgroups)
        {
            throw new PtxException($"{entry.Name}: barriers in shared memory and products of four warps are not known where blocks stay");
        }

        _blocks = new Block[blocks];
        for (int x = 0; x < blocks; x++)
        {
            Block block = _blocks[x] = new Block(x, [.. Enumerable.Range(0, threads / Lanes).Select(warp => new Warp(entry, warp, blocks))], new SharedMemory(entry, 0, threads / Lanes), new int[blocks]);
            foreach (Warp warp in block.Warps)
            {
                warp.Begin(entry, x, 0);
                warp.Clock = block.Clock;
            }
        }

        while (true)
        {
            _moved = false;
            foreach (Block block in _blocks)
            {
                Advance(entry, block, parameters);
            }

            if (_blocks.All(block => block.IsDone))
            {
                return;
            }

            if (!_moved)
            {
                string waiting = string.Join(", ", _blocks.Where(b => !b.IsDone).Select(b => b.Index));
                throw new PtxException($"{entry.Name}: blocks {waiting} of {blocks} wait for what never comes");
            }
        }
    }

    /// <summary>Runs a block until it waits for others.</summary>
    private void Advance(PtxEntryPoint entry, Block block, ReadOnlySpan<byte> parameters)
    {
        while (!block.IsDone)
        {
            foreach (Warp warp in block.Warps.Where(w => w.Live != 0 && !w.AtBarrier))
            {
                Run(entry, warp, block.Shared, parameters, block.Index, block.Epoch);
                _moved |= !warp.Yields;
            }

            if (block.IsDone || block.Warps.Any(w => w.Yields))
            {
                return;
            }

            PassBarrier(entry, block.Warps);
            block.Epoch++;
            foreach (Warp warp in block.Warps)
            {
                Merge(block.Clock, warp.Learned);
                warp.Learned = null;
            }
        }
    }

    /// <summary>What threads do at a word that they meet at.</summary>
    private void Meet(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, uint active, int block, int epoch, int pc)
    {
        bool adds = instruction.Opcode is PtxOpcode.AddRelease or PtxOpcode.AddRelaxed;
        PtxRegister address = adds ? instruction.Result : instruction.A;
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            ulong at = _d[(address.Index * Lanes) + lane] + (ulong)instruction.Offset;
            if (at % 4 != 0)
            {
                throw new PtxException($"{entry.Name}: misaligned: {instruction.Text}");
            }

            Allocation allocation = AllocationOf(entry, instruction, at, 4);
            if (allocation.IsTouched((long)(at - allocation.Start) / 4))
            {
                throw new PtxException($"{entry.Name}: a word that threads meet at is accessed otherwise: {instruction.Text}");
            }

            int[]? known = _meetings.GetValueOrDefault(at);
            if (adds)
            {
                *(uint*)at += _r[(instruction.A.Index * Lanes) + lane];
                _moved = true;
                if (instruction.Opcode == PtxOpcode.AddRelease && _blocks.Length > block)
                {
                    known ??= new int[_blocks.Length];
                    Merge(known, _blocks[block].Clock);
                    known[block] = Math.Max(known[block], epoch);
                }

                _meetings[at] = known;
                continue;
            }

            _meetings.TryAdd(at, null);
            uint seen = *(uint*)at;
            _r[(instruction.Result.Index * Lanes) + lane] = seen;
            if (instruction.Opcode == PtxOpcode.LoadAcquire && known is not null)
            {
                Merge(warp.Learned ??= new int[known.Length], known);
            }

            // Whoever looks lets others run; looks that see what they saw before get nobody further.
            warp.Yields = true;
            _moved |= warp.Look != (pc, seen);
            warp.Look = (pc, seen);
        }
    }

    private void Prefetch(PtxEntryPoint entry, PtxInstruction instruction, uint active)
    {
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            AllocationOf(entry, instruction, _d[(instruction.Result.Index * Lanes) + BitOperations.TrailingZeroCount(lanes)] + (ulong)instruction.Offset, 1);
        }
    }

    private void Call(Warp warp, PtxInstruction call, int pc)
    {
        warp.ReturnTo = pc + 1;
        foreach ((PtxRegister from, PtxRegister to) in call.Arguments)
        {
            // A register of the function holds anything before it is written, whatever an earlier call has left.
            switch (to.Kind)
            {
                case RegisterKind.F32:
                    _f.AsSpan(to.Index * Lanes, Lanes).Fill(0x7FC0DEAD);
                    break;
                case RegisterKind.B16:
                    _h.AsSpan(to.Index * Lanes, Lanes).Fill(0xDEAD);
                    break;
                case RegisterKind.B32 when from.Index < 0:
                    _r.AsSpan(to.Index * Lanes, Lanes).Fill(0xDEADDEAD);
                    break;
                case RegisterKind.B32:
                    _r.AsSpan(from.Index * Lanes, Lanes).CopyTo(_r.AsSpan(to.Index * Lanes));
                    break;
                case RegisterKind.B64 when from.Index < 0:
                    _d.AsSpan(to.Index * Lanes, Lanes).Fill(0xDEADDEADDEADDEAD);
                    break;
                default:
                    _d.AsSpan(from.Index * Lanes, Lanes).CopyTo(_d.AsSpan(to.Index * Lanes));
                    break;
            }
        }
    }

    private static void Merge(int[] into, int[]? other)
    {
        for (int i = 0; i < into.Length && other is not null; i++)
        {
            into[i] = Math.Max(into[i], other[i]);
        }
    }

    /// <summary>A block that is there beside others.</summary>
    /// <param name="Index">Its number.</param>
    /// <param name="Warps">Its warps.</param>
    /// <param name="Shared">Its memory.</param>
    /// <param name="Clock">How many barriers of each other block it knows to be behind.</param>
    private sealed record Block(int Index, Warp[] Warps, SharedMemory Shared, int[] Clock)
    {
        public int Epoch { get; set; }

        public bool IsDone => Warps.All(w => w.Live == 0);
    }
}
