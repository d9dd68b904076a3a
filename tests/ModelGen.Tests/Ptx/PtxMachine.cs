using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace ModelGen.Tests.Ptx;

/// <summary>
/// Runs entries of PTX modules on the processor, a warp at a time, and reports what no program may do: accesses outside of what was allocated, or
/// misaligned; shared memory that is read before it is written; two threads that meet in a word without a barrier between them; barriers that not all
/// threads reach, and shuffles without the whole warp; copies into shared memory that were not waited for, and factors of tensor cores that are
/// not rounded to what these read.
/// </summary>
internal sealed unsafe partial class PtxMachine
{
    private const int Lanes = 32;

    // What a block of sm_90 may ask for: 227 KB.
    private const int MostSharedBytes = 232_448;

    private readonly List<Allocation> _allocations = [];

    /// <summary>Thread instructions that were run.</summary>
    public long Executed { get; private set; }

    /// <summary>Turns that accesses of shared memory take beyond the first, since several of the lanes that are served at once want other words of one bank.</summary>
    public long BankConflicts { get; private set; }

    private uint[] _f = [];
    private uint[] _r = [];
    private ulong[] _d = [];
    private uint[] _p = [];
    private uint[] _h = [];

    /// <summary>Memory that entries may use.</summary>
    public void Allow(void* memory, long bytes, string name) => _allocations.Add(new Allocation((ulong)memory, bytes, name));

    /// <summary>Memory that entries may no longer use.</summary>
    public void Forbid(void* memory) => _allocations.RemoveAll(a => a.Start == (ulong)memory);

    /// <summary>Runs all blocks of an entry. Parameters are laid out as the entry declares them.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="blocksX">Blocks of the grid's first dimension.</param>
    /// <param name="blocksY">Blocks of its second one.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="parameters">The parameters.</param>
    /// <param name="sharedBytes">Shared memory of a block beside what the entry declares.</param>
    public void Launch(PtxEntryPoint entry, int blocksX, int blocksY, int threads, ReadOnlySpan<byte> parameters, int sharedBytes = 0)
    {
        if (blocksX == 1 && blocksY == 1 && !entry.HasBarriers && !entry.HasWarpgroups)
        {
            LaunchTogether(entry, 1, threads, parameters);
            return;
        }

        Check(entry, blocksX, blocksY, threads, parameters);
        int warps = threads / Lanes;
        var run = new Warp[warps];
        for (int warp = 0; warp < warps; warp++)
        {
            run[warp] = new Warp(entry, warp, blocksX);
        }

        var shared = new SharedMemory(entry, sharedBytes, warps);
        if (shared.Bytes > MostSharedBytes)
        {
            throw new PtxException($"{entry.Name}: {shared.Bytes} bytes of shared memory are more than a block may have");
        }

        for (int y = 0; y < blocksY; y++)
        {
            for (int x = 0; x < blocksX; x++)
            {
                shared.Clear();
                foreach (Warp warp in run)
                {
                    warp.Begin(entry, x, y);
                }

                RunBlock(entry, run, shared, parameters, (y * blocksX) + x);
            }
        }
    }

    private void Check(PtxEntryPoint entry, int blocksX, int blocksY, int threads, ReadOnlySpan<byte> parameters)
    {
        if (threads > entry.MaximumThreads || threads > 1024 || threads % Lanes != 0 || blocksX < 1 || blocksY < 1 || blocksY > 65535)
        {
            throw new PtxException($"{entry.Name}: {blocksX} x {blocksY} blocks of {threads} threads");
        }

        int bytes = 0;
        foreach ((string _, int each) in entry.Parameters)
        {
            bytes = ((bytes + each - 1) / each * each) + each;
        }

        if (parameters.Length != bytes)
        {
            throw new PtxException($"{entry.Name}: {parameters.Length} bytes of parameters for {bytes}");
        }

        foreach (Allocation allocation in _allocations)
        {
            allocation.Forget();
        }

        _meetings.Clear();
        _blocks = [];
    }

    private void RunBlock(PtxEntryPoint entry, Warp[] warps, SharedMemory shared, ReadOnlySpan<byte> parameters, int block)
    {
        BeginAsync(warps, shared);
        for (int epoch = 0; ;)
        {
            _moved = false;
            foreach (Warp warp in warps.Where(w => w.Live != 0 && !w.AtBarrier))
            {
                Run(entry, warp, shared, parameters, block, epoch);
                _moved |= !warp.Yields;
            }

            if (warps.All(w => w.Live == 0))
            {
                EndAsync(entry, warps, shared);
                return;
            }

            if (warps.Any(w => w.Yields))
            {
                if (!entry.HasBarriers)
                {
                    throw new PtxException($"{entry.Name}: blocks wait for each other that need not be there at once");
                }

                WaitForMore(entry, warps, shared);
                continue;
            }

            PassBarrier(entry, warps);
            PassBarrierAsync(warps, shared);
            epoch++;
        }
    }

    private static void PassBarrier(PtxEntryPoint entry, Warp[] warps)
    {
        if (warps.Any(w => !w.AtBarrier) || warps.Any(w => w.Pc[0] != warps[0].Pc[0]))
        {
            throw new PtxException($"{entry.Name}: a barrier that not all threads of the block reach");
        }

        foreach (Warp warp in warps)
        {
            warp.AtBarrier = false;
            warp.WarpEpoch++;
            for (int lane = 0; lane < Lanes; lane++)
            {
                warp.Pc[lane]++;
            }
        }
    }

    private void Run(PtxEntryPoint entry, Warp warp, SharedMemory shared, ReadOnlySpan<byte> parameters, int block, int epoch)
    {
        (_f, _r, _d, _p, _h) = (warp.F, warp.R, warp.D, warp.P, warp.H);
        List<PtxInstruction> code = entry.Code;
        warp.Yields = false;
        while (warp.Live != 0 && !warp.AtBarrier && !warp.Yields)
        {
            // Threads that lag behind go first, so that those that parted meet again.
            int pc = int.MaxValue, next = int.MaxValue;
            uint mask = 0;
            for (uint lanes = warp.Live; lanes != 0; lanes &= lanes - 1)
            {
                int lane = BitOperations.TrailingZeroCount(lanes), at = warp.Pc[lane];
                if (at < pc)
                {
                    (next, pc, mask) = (pc, at, 1u << lane);
                }
                else if (at == pc)
                {
                    mask |= 1u << lane;
                }
                else
                {
                    next = Math.Min(next, at);
                }
            }

            bool parted = false;
            while (!parted && pc < next)
            {
                PtxInstruction instruction = code[pc];
                uint active = instruction.Guard < 0 ? mask : mask & (instruction.IsGuardNegated ? ~_p[instruction.Guard] : _p[instruction.Guard]);
                Executed += BitOperations.PopCount(mask);
                if (entry.HasWarpgroups && instruction.Floats.Length > 0 && instruction.Opcode != PtxOpcode.MultiplyWarpgroup && active != 0)
                {
                    TouchAccumulators(entry, warp, instruction);
                }

                switch (instruction.Opcode)
                {
                    case PtxOpcode.Branch:
                        if (active == mask)
                        {
                            // Who jumps over others waits for them.
                            pc = instruction.Target;
                            continue;
                        }

                        if (active != 0)
                        {
                            for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                            {
                                warp.Pc[BitOperations.TrailingZeroCount(lanes)] = instruction.Target;
                            }

                            mask &= ~active;
                            pc++;
                            parted = true;
                            continue;
                        }

                        break;
                    case PtxOpcode.Return:
                        warp.Live &= ~mask;
                        mask = 0;
                        parted = true;
                        continue;
                    case PtxOpcode.Barrier:
                        if (mask != uint.MaxValue || active != mask)
                        {
                            throw new PtxException($"{entry.Name}: a barrier that not all threads of a warp reach");
                        }

                        for (int lane = 0; lane < Lanes; lane++)
                        {
                            warp.Pc[lane] = pc;
                        }

                        warp.AtBarrier = true;
                        return;
                    case PtxOpcode.Call:
                        if (active != uint.MaxValue)
                        {
                            throw new PtxException($"{entry.Name}: not all threads of the warp are at: {instruction.Text}");
                        }

                        Call(warp, instruction, pc);
                        pc = instruction.Target;
                        continue;
                    case PtxOpcode.ReturnFromCall:
                        for (uint lanes = mask; lanes != 0; lanes &= lanes - 1)
                        {
                            warp.Pc[BitOperations.TrailingZeroCount(lanes)] = warp.ReturnTo;
                        }

                        mask = 0;
                        parted = true;
                        continue;
                    case PtxOpcode.AddRelease or PtxOpcode.AddRelaxed or PtxOpcode.LoadAcquire or PtxOpcode.LoadRelaxed:
                        if (active != 0)
                        {
                            Meet(entry, warp, instruction, active, block, epoch, pc);
                            parted = warp.Yields;
                        }

                        break;
                    case PtxOpcode.Prefetch:
                        Prefetch(entry, instruction, active);
                        break;
                    case PtxOpcode.WarpBarrier:
                    case PtxOpcode.Shuffle:
                    case PtxOpcode.Ballot:
                    case PtxOpcode.MatchAny:
                        if (active != uint.MaxValue)
                        {
                            throw new PtxException($"{entry.Name}: not all threads of the warp are at: {instruction.Text}");
                        }

                        if (instruction.Opcode == PtxOpcode.Shuffle)
                        {
                            ShuffleLanes(entry, instruction);
                        }
                        else if (instruction.Opcode == PtxOpcode.Ballot)
                        {
                            Each32(_r, instruction.Result.Index, active, _p[instruction.A.Index]);
                        }
                        else if (instruction.Opcode == PtxOpcode.MatchAny)
                        {
                            uint[] words = [.. Enumerable.Range(0, Lanes).Select(lane => _r[(instruction.A.Index * Lanes) + lane])];
                            for (int lane = 0; lane < Lanes; lane++)
                            {
                                uint value = words[lane];
                                _r[(instruction.Result.Index * Lanes) + lane] = Enumerable.Range(0, Lanes).Aggregate(0u, (mask, other) => words[other] == value ? mask | (1u << other) : mask);
                            }
                        }

                        // Lanes that find each other have not seen what the others wrote.
                        warp.WarpEpoch += instruction.Opcode == PtxOpcode.MatchAny ? 0 : 1;
                        break;
                    case PtxOpcode.LoadGlobal or PtxOpcode.StoreGlobal or PtxOpcode.LoadGlobalByte or PtxOpcode.LoadGlobalHalf or PtxOpcode.StoreGlobalHalf:
                        AccessGlobal(entry, instruction, active, AccessorOf(warp, block, epoch));
                        break;
                    case PtxOpcode.LoadShared or PtxOpcode.StoreShared:
                        AccessShared(entry, instruction, active, shared, AccessorOf(warp, block, epoch));
                        break;
                    case PtxOpcode.LoadMatrix or PtxOpcode.LoadMatrixTransposed or PtxOpcode.MultiplyTf32 or PtxOpcode.MultiplyBf16:
                        if (active != uint.MaxValue)
                        {
                            throw new PtxException($"{entry.Name}: not all threads of the warp are at: {instruction.Text}");
                        }

                        if (instruction.Opcode is PtxOpcode.MultiplyTf32 or PtxOpcode.MultiplyBf16)
                        {
                            Multiply(entry, instruction);
                        }
                        else
                        {
                            LoadMatrices(entry, instruction, shared, AccessorOf(warp, block, epoch));
                        }

                        break;
                    case PtxOpcode.CopyAsync:
                        Copy(entry, instruction, active, warp, shared, AccessorOf(warp, block, epoch));
                        break;
                    case PtxOpcode.CommitCopies:
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            warp.Copies[BitOperations.TrailingZeroCount(lanes)].Add([]);
                        }

                        break;
                    case PtxOpcode.WaitForCopies:
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            int lane = BitOperations.TrailingZeroCount(lanes);
                            Arrive(entry, instruction, warp.Copies[lane], (int)_r[instruction.Result.Index * Lanes], shared, AccessorOf(warp, block, epoch) with { Thread = (warp.Index * Lanes) + 1 + lane });
                        }

                        break;
                    case PtxOpcode.InitializeBarrier or PtxOpcode.ArriveAtBarrier or PtxOpcode.ExpectBytes or PtxOpcode.CopyBulk or PtxOpcode.FenceProxy:
                        if (active != 0)
                        {
                            Async(entry, warp, instruction, active, shared, AccessorOf(warp, block, epoch));
                        }

                        break;
                    case PtxOpcode.TryWait:
                        if (active != 0)
                        {
                            TryWait(entry, warp, instruction, active, shared, pc);
                            parted = warp.Yields;
                        }

                        break;
                    case PtxOpcode.FenceWarpgroup or PtxOpcode.MultiplyWarpgroup or PtxOpcode.CommitWarpgroup or PtxOpcode.WaitForWarpgroup:
                        if (active != uint.MaxValue)
                        {
                            throw new PtxException($"{entry.Name}: not all threads of the warp are at: {instruction.Text}");
                        }

                        Warpgroup(entry, warp, instruction, shared, AccessorOf(warp, block, epoch), pc);
                        break;
                    case PtxOpcode.LoadParameter32:
                        uint word = MemoryMarshal.Read<uint>(parameters[instruction.Offset..]);
                        Each32(_r, instruction.Result.Index, active, word);
                        break;
                    case PtxOpcode.LoadParameter64:
                        ulong address = MemoryMarshal.Read<ulong>(parameters[instruction.Offset..]);
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            _d[(instruction.Result.Index * Lanes) + BitOperations.TrailingZeroCount(lanes)] = address;
                        }

                        break;
                    case PtxOpcode.MoveSpecial:
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            int lane = BitOperations.TrailingZeroCount(lanes);
                            _r[(instruction.Result.Index * Lanes) + lane] = instruction.A.Index switch { 0 => (uint)((warp.Index * Lanes) + lane), 1 => (uint)warp.X, 2 => (uint)warp.Y, _ => (uint)warp.Blocks };
                        }

                        break;
                    case PtxOpcode.UnpackHalves:
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            int lane = BitOperations.TrailingZeroCount(lanes);
                            uint word32 = _r[(instruction.A.Index * Lanes) + lane];
                            _h[(instruction.Vectors[0][0].Index * Lanes) + lane] = word32 & 0xFFFF;
                            _h[(instruction.Vectors[0][1].Index * Lanes) + lane] = word32 >> 16;
                        }

                        break;
                    case PtxOpcode.PackHalves:
                        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
                        {
                            int lane = BitOperations.TrailingZeroCount(lanes);
                            _r[(instruction.Result.Index * Lanes) + lane] = _h[(instruction.Vectors[0][0].Index * Lanes) + lane] | (_h[(instruction.Vectors[0][1].Index * Lanes) + lane] << 16);
                        }

                        break;
                    default:
                        Compute(instruction, active);
                        break;
                }

                pc++;
            }

            for (uint lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                warp.Pc[BitOperations.TrailingZeroCount(lanes)] = pc;
            }
        }
    }

    private static Accessor AccessorOf(Warp warp, int block, int epoch)
        => new(block, (warp.Index * Lanes) + 1, epoch, warp.WarpEpoch) { Clock = warp.Clock, Known = warp.Known, Time = warp.Known is null ? 0 : warp.Known[warp.Index] };

    private static void Each32(uint[] file, int register, uint active, uint value)
    {
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            file[(register * Lanes) + BitOperations.TrailingZeroCount(lanes)] = value;
        }
    }

    private void ShuffleLanes(PtxEntryPoint entry, PtxInstruction instruction)
    {
        Span<uint> values = stackalloc uint[Lanes];
        _r.AsSpan(instruction.A.Index * Lanes, Lanes).CopyTo(values);
        for (int lane = 0; lane < Lanes; lane++)
        {
            if (_r[(instruction.C.Index * Lanes) + lane] != 31)
            {
                throw new PtxException($"{entry.Name}: shuffles are among all lanes: {instruction.Text}");
            }

            _r[(instruction.Result.Index * Lanes) + lane] = values[lane ^ (int)(_r[(instruction.B.Index * Lanes) + lane] & 31)];
        }
    }

    /// <summary>What most instructions do, for eight lanes at once: the numbers are those of <see cref="Compute"/>, lane by lane. False, and nothing is done, for the others.</summary>
    private bool TryComputeTogether(PtxInstruction instruction, uint active)
    {
        PtxOpcode opcode = instruction.Opcode;
        int result = instruction.Result.Index;
        if (instruction.Result.Kind == RegisterKind.Pred)
        {
            uint holds = 0;
            for (int lane = 0; lane < Lanes; lane += 8)
            {
                Vector256<uint> each;
                switch (opcode)
                {
                    case PtxOpcode.LessF: each = Vector256.LessThan(F(instruction.A, lane), F(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.GreaterF: each = Vector256.GreaterThan(F(instruction.A, lane), F(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.GreaterOrEqualF: each = Vector256.GreaterThanOrEqual(F(instruction.A, lane), F(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.LessS: each = Vector256.LessThan(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.LessOrEqualS: each = Vector256.LessThanOrEqual(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.EqualS: each = Vector256.Equals(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.NotEqualS: each = ~Vector256.Equals(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.GreaterS: each = Vector256.GreaterThan(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.GreaterOrEqualS: each = Vector256.GreaterThanOrEqual(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                    case PtxOpcode.LessU: each = Vector256.LessThan(W(instruction.A, lane), W(instruction.B, lane)); break;
                    case PtxOpcode.GreaterOrEqualU: each = Vector256.GreaterThanOrEqual(W(instruction.A, lane), W(instruction.B, lane)); break;
                    default: return false;
                }

                holds |= each.ExtractMostSignificantBits() << lane;
            }

            _p[result] = (_p[result] & ~active) | (holds & active);
            return true;
        }

        if (instruction.Result.Kind == RegisterKind.B64)
        {
            if (opcode is not (PtxOpcode.AddL or PtxOpcode.Move64 or PtxOpcode.SameAddress))
            {
                return false;
            }

            for (int lane = 0; lane < Lanes; lane += 4)
            {
                Vector256<ulong> value = Load(_d, instruction.A.Index, lane);
                value = opcode == PtxOpcode.AddL ? value + Load(_d, instruction.B.Index, lane) : value;
                Vector256<ulong> bits = Vector256.Create(1UL, 2UL, 4UL, 8UL), chosen = Vector256.Equals(Vector256.Create((ulong)(active >> lane)) & bits, bits);
                Vector256.ConditionalSelect(chosen, value, Load(_d, result, lane)).CopyTo(_d, (result * Lanes) + lane);
            }

            return true;
        }

        uint[] file = FileOf(instruction.Result.Kind);
        for (int lane = 0; lane < Lanes; lane += 8)
        {
            Vector256<uint> value;
            switch (opcode)
            {
                case PtxOpcode.Move32: value = W(instruction.A, lane); break;
                case PtxOpcode.AddF: value = (F(instruction.A, lane) + F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.SubtractF: value = (F(instruction.A, lane) - F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.MultiplyF: value = (F(instruction.A, lane) * F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.DivideF: value = (F(instruction.A, lane) / F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.FusedF: value = Vector256.FusedMultiplyAdd(F(instruction.A, lane), F(instruction.B, lane), F(instruction.C, lane)).AsUInt32(); break;
                case PtxOpcode.NegateF: value = W(instruction.A, lane) ^ Vector256.Create(0x80000000u); break;
                case PtxOpcode.AbsoluteF: value = W(instruction.A, lane) & Vector256.Create(0x7FFFFFFFu); break;
                case PtxOpcode.SelectF or PtxOpcode.SelectI: value = Vector256.ConditionalSelect(Lanes8(_p[instruction.C.Index], lane), W(instruction.A, lane), W(instruction.B, lane)); break;
                case PtxOpcode.AddI: value = W(instruction.A, lane) + W(instruction.B, lane); break;
                case PtxOpcode.SubtractI: value = W(instruction.A, lane) - W(instruction.B, lane); break;
                case PtxOpcode.MultiplyI: value = W(instruction.A, lane) * W(instruction.B, lane); break;
                case PtxOpcode.MultiplyAddI: value = (W(instruction.A, lane) * W(instruction.B, lane)) + W(instruction.C, lane); break;
                case PtxOpcode.MaximumS: value = Vector256.Max(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.MinimumS: value = Vector256.Min(I(instruction.A, lane), I(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.MaximumF: value = Vector256.Max(F(instruction.A, lane), F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.MinimumF: value = Vector256.Min(F(instruction.A, lane), F(instruction.B, lane)).AsUInt32(); break;
                case PtxOpcode.MinimumU: value = Vector256.Min(W(instruction.A, lane), W(instruction.B, lane)); break;
                case PtxOpcode.AndI: value = W(instruction.A, lane) & W(instruction.B, lane); break;
                case PtxOpcode.OrI: value = W(instruction.A, lane) | W(instruction.B, lane); break;
                case PtxOpcode.XorI: value = W(instruction.A, lane) ^ W(instruction.B, lane); break;
                case PtxOpcode.ShiftLeft: value = Avx2.ShiftLeftLogicalVariable(W(instruction.A, lane), W(instruction.B, lane)); break;
                case PtxOpcode.ShiftRightU: value = Avx2.ShiftRightLogicalVariable(W(instruction.A, lane), W(instruction.B, lane)); break;
                case PtxOpcode.FloatOfSigned: value = Vector256.ConvertToSingle(I(instruction.A, lane)).AsUInt32(); break;
                default: return false;
            }

            value = active == uint.MaxValue ? value : Vector256.ConditionalSelect(Lanes8(active, lane), value, Load(file, result, lane));
            value.CopyTo(file, (result * Lanes) + lane);
        }

        return true;

        Vector256<uint> W(PtxRegister register, int lane) => Load(FileOf(register.Kind), register.Index, lane);
        Vector256<int> I(PtxRegister register, int lane) => W(register, lane).AsInt32();
        Vector256<float> F(PtxRegister register, int lane) => W(register, lane).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint[] FileOf(RegisterKind kind) => kind switch { RegisterKind.F32 => _f, RegisterKind.B16 => _h, _ => _r };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<T> Load<T>(T[] file, int index, int lane) => Vector256.Create<T>(file.AsSpan((index * Lanes) + lane));

    /// <summary>Eight lanes of a mask, all bits of each set or none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Lanes8(uint mask, int lane)
    {
        Vector256<uint> bits = Vector256.Create(1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u);
        return Vector256.Equals(Vector256.Create(mask >> lane) & bits, bits);
    }

    private void Compute(PtxInstruction instruction, uint active)
    {
        if (active == 0 || (Avx2.IsSupported && TryComputeTogether(instruction, active)))
        {
            return;
        }

        PtxRegister result = instruction.Result, a = instruction.A, b = instruction.B, c = instruction.C;
        uint[] fileA = a.Kind == RegisterKind.F32 ? _f : a.Kind == RegisterKind.B16 ? _h : _r, fileB = b.Kind == RegisterKind.F32 ? _f : _r, fileC = c.Kind == RegisterKind.F32 ? _f : _r;
        int indexA = a.Index * Lanes, indexB = b.Index * Lanes, indexC = c.Index * Lanes;
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            switch (result.Kind)
            {
                case RegisterKind.F32:
                    _f[(result.Index * Lanes) + lane] = Word(lane);
                    break;
                case RegisterKind.B32:
                    _r[(result.Index * Lanes) + lane] = Word(lane);
                    break;
                case RegisterKind.B16:
                    _h[(result.Index * Lanes) + lane] = Word(lane);
                    break;
                case RegisterKind.B64:
                    _d[(result.Index * Lanes) + lane] = Long(lane);
                    break;
                default:
                    uint bit = 1u << lane;
                    _p[result.Index] = Holds(lane) ? _p[result.Index] | bit : _p[result.Index] & ~bit;
                    break;
            }
        }

        float F(int lane) => BitConverter.UInt32BitsToSingle(fileA[indexA + lane]);
        float G(int lane) => BitConverter.UInt32BitsToSingle(fileB[indexB + lane]);
        float H(int lane) => BitConverter.UInt32BitsToSingle(fileC[indexC + lane]);
        int I(int lane) => (int)fileA[indexA + lane];
        int J(int lane) => (int)fileB[indexB + lane];
        double D(int index) => BitConverter.UInt64BitsToDouble(_d[index]);
        static ulong V(double value) => BitConverter.DoubleToUInt64Bits(value);
        static uint U(float value) => BitConverter.SingleToUInt32Bits(value);

        uint Word(int lane) => instruction.Opcode switch
        {
            PtxOpcode.Move32 => fileA[indexA + lane],
            PtxOpcode.AddF => U(F(lane) + G(lane)),
            PtxOpcode.SubtractF => U(F(lane) - G(lane)),
            PtxOpcode.MultiplyF => U(F(lane) * G(lane)),
            PtxOpcode.DivideF => U(F(lane) / G(lane)),
            PtxOpcode.MaximumF => U(MathF.Max(F(lane), G(lane))),
            PtxOpcode.MinimumF => U(MathF.Min(F(lane), G(lane))),
            PtxOpcode.FusedF => U(MathF.FusedMultiplyAdd(F(lane), G(lane), H(lane))),
            PtxOpcode.NegateF => U(-F(lane)),
            PtxOpcode.AbsoluteF => U(MathF.Abs(F(lane))),
            PtxOpcode.SquareRootF => U(MathF.Sqrt(F(lane))),
            PtxOpcode.ReciprocalF => U(1 / F(lane)),
            PtxOpcode.ApproximateReciprocalF => Approximate(1 / Flushed(F(lane)), 1, fileA[indexA + lane]),
            PtxOpcode.ApproximatePowerF => Approximate(MathF.Pow(2, Flushed(F(lane))), 2, fileA[indexA + lane]),
            PtxOpcode.CopySignF => U(MathF.CopySign(G(lane), F(lane))),
            PtxOpcode.SelectF or PtxOpcode.SelectI => (_p[c.Index] >> lane & 1) != 0 ? fileA[indexA + lane] : fileB[indexB + lane],
            PtxOpcode.AddI => (uint)(I(lane) + J(lane)),
            PtxOpcode.SubtractI => (uint)(I(lane) - J(lane)),
            PtxOpcode.MultiplyI => (uint)(I(lane) * J(lane)),
            PtxOpcode.MultiplyAddI => (uint)((I(lane) * J(lane)) + (int)fileC[indexC + lane]),
            PtxOpcode.DivideS => (uint)(I(lane) / J(lane)),
            PtxOpcode.RemainderS => (uint)(I(lane) % J(lane)),
            PtxOpcode.RemainderU => fileA[indexA + lane] % fileB[indexB + lane],
            PtxOpcode.MaximumS => (uint)Math.Max(I(lane), J(lane)),
            PtxOpcode.MinimumS => (uint)Math.Min(I(lane), J(lane)),
            PtxOpcode.NegateI => (uint)-I(lane),
            PtxOpcode.AbsoluteS => (uint)Math.Abs(I(lane)),
            PtxOpcode.AndI => fileA[indexA + lane] & fileB[indexB + lane],
            PtxOpcode.OrI => fileA[indexA + lane] | fileB[indexB + lane],
            PtxOpcode.XorI => fileA[indexA + lane] ^ fileB[indexB + lane],
            PtxOpcode.ShiftLeft => J(lane) is < 0 or > 31 ? 0 : fileA[indexA + lane] << J(lane),
            PtxOpcode.ShiftRightU => J(lane) is < 0 or > 31 ? 0 : fileA[indexA + lane] >> J(lane),
            PtxOpcode.ShiftRightS => (uint)(I(lane) >> Math.Min(31, J(lane))),
            PtxOpcode.RotateLeft => fileA[indexA + lane] == fileB[indexB + lane] ? BitOperations.RotateLeft(fileA[indexA + lane], (int)fileC[indexC + lane]) : throw new PtxException($"a funnel of two words: {instruction.Text}"),
            PtxOpcode.FloatOfSigned => U(I(lane)),
            PtxOpcode.FloatOfUnsigned => U(fileA[indexA + lane]),
            PtxOpcode.HighestBit => (uint)(31 - BitOperations.LeadingZeroCount(fileA[indexA + lane])),
            PtxOpcode.PopulationCount => (uint)BitOperations.PopCount(fileA[indexA + lane]),
            PtxOpcode.RoundTf32 => float.IsNaN(F(lane)) ? 0x7FFFE000 : (fileA[indexA + lane] + (float.IsInfinity(F(lane)) ? 0u : 0x1000u)) & ~0x1FFFu,
            PtxOpcode.FloatOfHalf => U((float)BitConverter.UInt16BitsToHalf((ushort)fileA[indexA + lane])),
            PtxOpcode.HalfOfFloat => BitConverter.HalfToUInt16Bits((Half)F(lane)),
            PtxOpcode.Bf16OfFloat => Bf16(fileA[indexA + lane]),
            PtxOpcode.Permute => Permuted(fileA[indexA + lane] | ((ulong)fileB[indexB + lane] << 32), fileC[indexC + lane]),
            PtxOpcode.PackBf16 => (Bf16(fileA[indexA + lane]) << 16) | Bf16(fileB[indexB + lane]),
            PtxOpcode.LowOfLong => (uint)_d[indexA + lane],
            PtxOpcode.SignedOfDouble => (uint)(int)Math.Round(D(indexA + lane), MidpointRounding.ToEven),
            PtxOpcode.MinimumU => Math.Min(fileA[indexA + lane], fileB[indexB + lane]),
            _ => throw new PtxException($"not known: {instruction.Text}"),
        };

        static float Flushed(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;

        // A result that may be some units in the last place off is, one way or the other as bits of the operand say, where it is not exact for certain.
        static uint Approximate(float value, uint units, uint operand)
        {
            uint bits = U(Flushed(value));
            return !float.IsFinite(value) || (bits & 0x7FFFFF) == 0 ? bits : ((operand * 0x9E3779B1) >> 31) != 0 ? bits + units : bits - units;
        }

        // Each four bits of the selector name one of eight bytes; a ninth would repeat its sign, which no program here asks for.
        static uint Permuted(ulong bytes, uint selector)
        {
            uint word = 0;
            for (int i = 0; i < 4; i++)
            {
                word |= (uint)(byte)(bytes >> (8 * (int)((selector >> (4 * i)) & 7))) << (8 * i);
            }

            return (selector & 0xFFFF8888) == 0 ? word : throw new PtxException(FormattableString.Invariant($"a selector of {selector}"));
        }

        // To the nearest, of two as near to the even one.
        static uint Bf16(uint bits) => float.IsNaN(BitConverter.UInt32BitsToSingle(bits)) ? 0x7FFF : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;

        ulong Long(int lane) => instruction.Opcode switch
        {
            PtxOpcode.SameAddress or PtxOpcode.Move64 => _d[indexA + lane],
            PtxOpcode.AddL => _d[indexA + lane] + _d[indexB + lane],
            PtxOpcode.MultiplyL => _d[indexA + lane] * _d[indexB + lane],
            PtxOpcode.MultiplyWideS => (ulong)((long)I(lane) * J(lane)),
            PtxOpcode.ShiftRightL => _d[indexA + lane] >> J(lane),
            PtxOpcode.LongOfSigned => (ulong)(long)I(lane),
            PtxOpcode.LongOfUnsigned => fileA[indexA + lane],
            PtxOpcode.SubtractL => _d[indexA + lane] - _d[indexB + lane],
            PtxOpcode.ShiftLeftL => J(lane) is < 0 or > 63 ? 0 : _d[indexA + lane] << J(lane),
            PtxOpcode.OrL => _d[indexA + lane] | _d[indexB + lane],
            PtxOpcode.SelectL => (_p[c.Index] >> lane & 1) != 0 ? _d[indexA + lane] : _d[indexB + lane],
            PtxOpcode.AddD => V(D(indexA + lane) + D(indexB + lane)),
            PtxOpcode.SubtractD => V(D(indexA + lane) - D(indexB + lane)),
            PtxOpcode.MultiplyD => V(D(indexA + lane) * D(indexB + lane)),
            PtxOpcode.DivideD => V(D(indexA + lane) / D(indexB + lane)),
            PtxOpcode.FusedD => V(Math.FusedMultiplyAdd(D(indexA + lane), D(indexB + lane), D(indexC + lane))),
            PtxOpcode.AbsoluteD => V(Math.Abs(D(indexA + lane))),
            PtxOpcode.DoubleOfFloat => V(F(lane)),
            PtxOpcode.DoubleOfSigned => V(I(lane)),
            PtxOpcode.DoubleOfLong => V((long)_d[indexA + lane]),
            PtxOpcode.LongOfDouble => (ulong)(long)Math.Round(D(indexA + lane), MidpointRounding.ToEven),
            PtxOpcode.TruncatedDouble => (ulong)(long)D(indexA + lane),
            _ => throw new PtxException($"not known: {instruction.Text}"),
        };

        bool Holds(int lane) => instruction.Opcode switch
        {
            PtxOpcode.GreaterD => D(indexA + lane) > D(indexB + lane),
            PtxOpcode.GreaterOrEqualD => D(indexA + lane) >= D(indexB + lane),
            PtxOpcode.GreaterL => (long)_d[indexA + lane] > (long)_d[indexB + lane],
            PtxOpcode.GreaterOrEqualL => (long)_d[indexA + lane] >= (long)_d[indexB + lane],
            PtxOpcode.LessF => F(lane) < G(lane),
            PtxOpcode.EqualF => F(lane) == G(lane),
            PtxOpcode.GreaterF => F(lane) > G(lane),
            PtxOpcode.GreaterOrEqualF => F(lane) >= G(lane),
            PtxOpcode.LessS => I(lane) < J(lane),
            PtxOpcode.LessOrEqualS => I(lane) <= J(lane),
            PtxOpcode.EqualS => I(lane) == J(lane),
            PtxOpcode.NotEqualS => I(lane) != J(lane),
            PtxOpcode.GreaterS => I(lane) > J(lane),
            PtxOpcode.GreaterOrEqualS => I(lane) >= J(lane),
            PtxOpcode.GreaterOrEqualU => fileA[indexA + lane] >= fileB[indexB + lane],
            PtxOpcode.LessU => fileA[indexA + lane] < fileB[indexB + lane],
            PtxOpcode.AndP => (_p[a.Index] >> lane & _p[b.Index] >> lane & 1) != 0,
            PtxOpcode.OrP => ((_p[a.Index] >> lane | _p[b.Index] >> lane) & 1) != 0,
            _ => throw new PtxException($"not known: {instruction.Text}"),
        };
    }

    private void AccessGlobal(PtxEntryPoint entry, PtxInstruction instruction, uint active, Accessor first)
    {
        bool load = instruction.Opcode is PtxOpcode.LoadGlobal or PtxOpcode.LoadGlobalByte or PtxOpcode.LoadGlobalHalf;
        PtxRegister address = load ? instruction.A : instruction.Result;
        PtxRegister[] values = instruction.Moved;
        int bytes = instruction.Opcode switch { PtxOpcode.LoadGlobalByte => 1, PtxOpcode.LoadGlobalHalf or PtxOpcode.StoreGlobalHalf => 2, _ => values[0].Kind == RegisterKind.B64 ? 8 : 4 * values.Length };
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            ulong at = _d[(address.Index * Lanes) + lane] + (ulong)instruction.Offset;
            Reach(entry, instruction, at, bytes, bytes, first with { Thread = first.Thread + lane }, !load);
            for (int i = 0; i < values.Length; i++)
            {
                PtxRegister value = values[i];
                uint* word = (uint*)at + i;
                switch (value.Kind)
                {
                    case RegisterKind.B64 when load:
                        _d[(value.Index * Lanes) + lane] = *(ulong*)word;
                        break;
                    case RegisterKind.B64:
                        *(ulong*)word = _d[(value.Index * Lanes) + lane];
                        break;
                    case RegisterKind.F32 when load:
                        _f[(value.Index * Lanes) + lane] = *word;
                        break;
                    case RegisterKind.B32 when load:
                        _r[(value.Index * Lanes) + lane] = bytes switch { 1 => *(byte*)word, 2 => *(ushort*)word, _ => *word };
                        break;
                    case RegisterKind.B16:
                        *(ushort*)word = (ushort)_h[(value.Index * Lanes) + lane];
                        break;
                    default:
                        *word = (value.Kind == RegisterKind.F32 ? _f : _r)[(value.Index * Lanes) + lane];
                        break;
                }
            }
        }
    }

    /// <summary>Says what is wrong with an access of some bytes of global memory, if anything is.</summary>
    private void Reach(PtxEntryPoint entry, PtxInstruction instruction, ulong at, int alignment, int bytes, Accessor by, bool write)
    {
        if (at % (ulong)alignment != 0)
        {
            throw new PtxException($"{entry.Name}: misaligned: {instruction.Text}");
        }

        if (bytes == 0)
        {
            return;
        }

        Allocation allocation = AllocationOf(entry, instruction, at, bytes);
        for (int word = 0; word < bytes; word += 4)
        {
            if (_meetings.ContainsKey((at + (ulong)word) & ~3ul))
            {
                throw new PtxException($"{entry.Name}: a word that threads meet at is accessed otherwise: {instruction.Text}");
            }

            Halves halves = bytes >= 4 ? Halves.Both : (at & 2) == 0 ? Halves.Lower : Halves.Upper;
            if (allocation.Note((long)(at - allocation.Start + (ulong)word) / 4, by, write, halves) is { } problem)
            {
                throw new PtxException($"{entry.Name}: {problem} in {allocation.Name} at {(long)(at - allocation.Start) / 4}: {instruction.Text}");
            }
        }
    }

    private Allocation AllocationOf(PtxEntryPoint entry, PtxInstruction instruction, ulong at, int bytes)
    {
        Allocation? allocation = _allocations.Find(a => at >= a.Start && at + (ulong)bytes <= a.Start + (ulong)a.Bytes);
        if (allocation is null)
        {
            Allocation near = _allocations.MinBy(a => at < a.Start ? a.Start - at : at - a.Start)!;
            throw new PtxException($"{entry.Name}: {(long)(at - near.Start)} bytes from the beginning of {near.Name} of {near.Bytes} bytes: {instruction.Text}");
        }

        return allocation;
    }

    private void AccessShared(PtxEntryPoint entry, PtxInstruction instruction, uint active, SharedMemory shared, Accessor first)
    {
        bool load = instruction.Opcode == PtxOpcode.LoadShared;
        PtxRegister address = load ? instruction.A : instruction.Result;
        PtxRegister[] values = instruction.Moved;
        bool isLong = values[0].Kind == RegisterKind.B64;
        int bytes = isLong ? 8 : 4 * values.Length;
        CountConflicts(address, instruction.Offset, active, bytes);
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            long at = _r[(address.Index * Lanes) + lane] + (long)instruction.Offset;
            Reach(entry, instruction, shared, at, bytes, first with { Thread = first.Thread + lane }, !load);
            if (isLong)
            {
                ref ulong value = ref _d[(values[0].Index * Lanes) + lane];
                if (load)
                {
                    value = shared.Words[at / 4] | ((ulong)shared.Words[(at / 4) + 1] << 32);
                }
                else
                {
                    (shared.Words[at / 4], shared.Words[(at / 4) + 1]) = ((uint)value, (uint)(value >> 32));
                    (shared.Written[at / 4], shared.Written[(at / 4) + 1]) = (true, true);
                }

                continue;
            }

            for (int i = 0; i < values.Length; i++)
            {
                uint[] file = values[i].Kind == RegisterKind.F32 ? _f : _r;
                long word = (at / 4) + i;
                if (load)
                {
                    file[(values[i].Index * Lanes) + lane] = shared.Words[word];
                }
                else
                {
                    shared.Words[word] = file[(values[i].Index * Lanes) + lane];
                    shared.Written[word] = true;
                }
            }
        }
    }

    /// <summary>Counts conflicts: of 4 bytes each 32 lanes are served at once, of 8 bytes 16, of 16 bytes 8.</summary>
    private void CountConflicts(PtxRegister address, long offset, uint active, int bytes)
    {
        Span<long> words = stackalloc long[32];
        Span<int> wanted = stackalloc int[32];
        int together = Math.Min(Lanes, 128 / bytes);
        for (int begin = 0; begin < Lanes; begin += together)
        {
            words.Fill(-1);
            wanted.Clear();
            int turns = 1;
            for (int lane = begin; lane < begin + together; lane++)
            {
                for (int word = 0; (active >> lane & 1) != 0 && word < bytes / 4; word++)
                {
                    long at = ((_r[(address.Index * Lanes) + lane] + offset) / 4) + word;
                    int bank = (int)(at % 32);
                    if (words[bank] != at)
                    {
                        words[bank] = at;
                        turns = Math.Max(turns, ++wanted[bank]);
                    }
                }
            }

            BankConflicts += turns - 1;
        }
    }

    /// <summary>Says what is wrong with an access of some bytes of shared memory, which begin at a multiple of as many, if anything is.</summary>
    private static void Reach(PtxEntryPoint entry, PtxInstruction instruction, SharedMemory shared, long at, int bytes, Accessor by, bool write)
    {
        if (at % bytes != 0)
        {
            throw new PtxException($"{entry.Name}: misaligned: {instruction.Text}");
        }

        if (at < 0 || at + bytes > shared.Bytes || (at + bytes > entry.SharedBytes && at < entry.DynamicOffset))
        {
            throw new PtxException($"{entry.Name}: byte {at} of {shared.Bytes} of shared memory: {instruction.Text}");
        }

        if (shared.Async is not null)
        {
            ReachAsync(entry, instruction, shared, at, bytes, by, write);
        }

        for (long word = at / 4; word < (at + bytes) / 4; word++)
        {
            if (shared.OnTheWay[word])
            {
                throw new PtxException($"{entry.Name}: shared memory that a copy is on its way to: {instruction.Text}");
            }

            if (!write && !shared.Written[word])
            {
                throw new PtxException($"{entry.Name}: shared memory that nobody wrote: {instruction.Text}");
            }

            if (shared.Access.Note(word, by, write) is { } problem)
            {
                throw new PtxException($"{entry.Name}: {problem} in shared memory: {instruction.Text}");
            }
        }
    }

    /// <summary>
    /// Four matrices of 8 x 8 halves of words, whose rows eight lanes each have the addresses of. Lane 4 r + c gets the c-th word of a row r; transposed,
    /// the r-th halves of the rows 2 c and 2 c + 1.
    /// </summary>
    private void LoadMatrices(PtxEntryPoint entry, PtxInstruction instruction, SharedMemory shared, Accessor first)
    {
        // All addresses are read before the first result, which may lie in the same register.
        CountConflicts(instruction.A, instruction.Offset, uint.MaxValue, 16);
        Span<uint> rows = stackalloc uint[4 * 8 * 4];
        for (int lane = 0; lane < Lanes; lane++)
        {
            long at = _r[(instruction.A.Index * Lanes) + lane] + (long)instruction.Offset;
            Reach(entry, instruction, shared, at, 16, first with { Thread = first.Thread + lane }, write: false);
            shared.Words.AsSpan((int)(at / 4), 4).CopyTo(rows[(4 * lane)..]);
        }

        for (int matrix = 0; matrix < 4; matrix++)
        {
            ReadOnlySpan<uint> of = rows.Slice(32 * matrix, 32);
            for (int lane = 0; lane < Lanes; lane++)
            {
                (int r, int c) = (lane / 4, lane % 4);
                _r[(instruction.Vectors[0][matrix].Index * Lanes) + lane] = instruction.Opcode == PtxOpcode.LoadMatrix
                    ? of[(4 * r) + c]
                    : Half(of[(8 * c) + (r / 2)], r % 2) | (Half(of[(8 * c) + 4 + (r / 2)], r % 2) << 16);
            }
        }

        static uint Half(uint word, int half) => (word >> (16 * half)) & 0xFFFF;
    }

    /// <summary>
    /// d = a b + c on a tensor core: 16 x 8 of the contracted extent, times that x 8. Products are exact and the sum is rounded once; a device's sums are
    /// rounded on the way, as no document says how.
    /// </summary>
    private void Multiply(PtxEntryPoint entry, PtxInstruction instruction)
    {
        bool halves = instruction.Opcode == PtxOpcode.MultiplyBf16;
        int depth = halves ? 16 : 8;
        Span<double> a = stackalloc double[16 * depth], b = stackalloc double[8 * depth];
        for (int lane = 0; lane < Lanes; lane++)
        {
            (int r, int c) = (lane / 4, lane % 4);
            for (int i = 0; i < 4; i++)
            {
                Put(a, r + (8 * (i % 2)), i / 2, instruction.Vectors[1][i], lane, c);
            }

            for (int i = 0; i < 2; i++)
            {
                Put(b, r, i, instruction.Vectors[2][i], lane, c);
            }
        }

        Span<uint> results = stackalloc uint[4 * Lanes];
        for (int lane = 0; lane < Lanes; lane++)
        {
            for (int i = 0; i < 4; i++)
            {
                int row = (lane / 4) + (8 * (i / 2)), column = (2 * (lane % 4)) + (i % 2);
                double sum = BitConverter.UInt32BitsToSingle(_f[(instruction.Vectors[3][i].Index * Lanes) + lane]);
                for (int d = 0; d < depth; d++)
                {
                    sum += a[(row * depth) + d] * b[(column * depth) + d];
                }

                results[(i * Lanes) + lane] = BitConverter.SingleToUInt32Bits((float)sum);
            }
        }

        for (int i = 0; i < 4; i++)
        {
            results.Slice(i * Lanes, Lanes).CopyTo(_f.AsSpan(instruction.Vectors[0][i].Index * Lanes));
        }

        void Put(Span<double> factor, int row, int half, PtxRegister register, int lane, int c)
        {
            uint word = _r[(register.Index * Lanes) + lane];
            if (halves)
            {
                factor[(row * depth) + (8 * half) + (2 * c)] = BitConverter.UInt32BitsToSingle(word << 16);
                factor[(row * depth) + (8 * half) + (2 * c) + 1] = BitConverter.UInt32BitsToSingle(word & 0xFFFF0000);
            }
            else
            {
                factor[(row * depth) + (4 * half) + c] = (word & 0x1FFF) == 0 ? BitConverter.UInt32BitsToSingle(word) : throw new PtxException($"{entry.Name}: a factor that is not rounded: {instruction.Text}");
            }
        }
    }

    /// <summary>A copy from global to shared memory begins; what it does not read is zeros.</summary>
    private void Copy(PtxEntryPoint entry, PtxInstruction instruction, uint active, Warp warp, SharedMemory shared, Accessor first)
    {
        CountConflicts(instruction.Result, instruction.Offset, active, (int)_r[instruction.B.Index * Lanes]);
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            Accessor by = first with { Thread = first.Thread + lane };
            int bytes = (int)_r[(instruction.B.Index * Lanes) + lane], read = (int)_r[(instruction.C.Index * Lanes) + lane];
            if (read < 0 || read > bytes || read % 4 != 0)
            {
                throw new PtxException($"{entry.Name}: a copy of {bytes} bytes reads {read}: {instruction.Text}");
            }

            long to = _r[(instruction.Result.Index * Lanes) + lane] + (long)instruction.Offset;
            ulong from = _d[(instruction.A.Index * Lanes) + lane] + (ulong)instruction.SourceOffset;
            Reach(entry, instruction, from, bytes, read, by, write: false);
            Reach(entry, instruction, shared, to, bytes, by, write: true);
            uint[] words = new uint[bytes / 4];
            for (int i = 0; i < words.Length; i++)
            {
                words[i] = 4 * i < read ? ((uint*)from)[i] : 0;
                shared.OnTheWay[(to / 4) + i] = true;
            }

            warp.Copies[lane][^1].Add((to, words));
        }
    }

    /// <summary>All but the last so many groups of a thread's copies are there: its own to read at once, and others' behind a barrier.</summary>
    private static void Arrive(PtxEntryPoint entry, PtxInstruction instruction, List<List<(long To, uint[] Words)>> groups, int left, SharedMemory shared, Accessor by)
    {
        // The last group is not committed yet.
        while (groups.Count - 1 > left)
        {
            foreach ((long to, uint[] words) in groups[0])
            {
                Array.Clear(shared.OnTheWay, (int)(to / 4), words.Length);
                Reach(entry, instruction, shared, to, 4 * words.Length, by, write: true);
                words.CopyTo(shared.Words.AsSpan((int)(to / 4)));
                Array.Fill(shared.Written, true, (int)(to / 4), words.Length);
            }

            groups.RemoveAt(0);
        }
    }

    /// <summary>Who touches a word, and when: between which barriers of its block, and between which meetings of its warp. Threads count from one.</summary>
    private readonly record struct Accessor(int Block, int Thread, int Epoch, int WarpEpoch)
    {
        /// <summary>Of blocks that meet, how many barriers of each other block are known to be behind.</summary>
        public int[]? Clock { get; init; }

        /// <summary>Where threads meet at barriers in shared memory: up to which of its own times each warp of the block is known to be behind, and its own time.</summary>
        public int[]? Known { get; init; }

        /// <inheritdoc cref="Known"/>
        public int Time { get; init; }

        /// <summary>Whether it is one of several of its warp, for all of which it stands.</summary>
        public bool IsOfSeveral { get; init; }

        public bool Equals(Accessor other) => (Block, Thread, Epoch, WarpEpoch) == (other.Block, other.Thread, other.Epoch, other.WarpEpoch);

        public override int GetHashCode() => HashCode.Combine(Block, Thread, Epoch, WarpEpoch);

        /// <summary>Whether an access of another thread has happened before this one, and not beside it.</summary>
        public bool IsBehind(Accessor other)
            => other.Thread == 0 || (other.Block != Block && Clock is not null && other.Epoch < Clock[other.Block]) || (other.Block == Block && ((other.Thread == Thread && !other.IsOfSeveral) || other.Epoch < Epoch || ((other.Thread - 1) / Lanes == (Thread - 1) / Lanes && other.WarpEpoch < WarpEpoch)
                || (Known is not null && other.Thread != int.MaxValue && other.Time != 0 && (other.Thread - 1) / Lanes != (Thread - 1) / Lanes && other.Time <= Known[(other.Thread - 1) / Lanes])));
    }

    /// <summary>Which halves of a word are touched; of a byte, the half that it is in.</summary>
    private enum Halves
    {
        Both,
        Lower,
        Upper,
    }

    /// <summary>Who touched the words of a memory last.</summary>
    private sealed class Accesses(long words)
    {
        private readonly Accessor[] _writers = new Accessor[words];
        private readonly Accessor[] _readers = new Accessor[words];
        private readonly Dictionary<long, Dictionary<int, Accessor>> _severalRead = [];
        private bool _touched;

        public void Forget()
        {
            if (_touched)
            {
                Array.Clear(_writers);
                Array.Clear(_readers);
                _severalRead.Clear();
                _touched = false;
            }
        }

        public bool IsTouched(long word) => _writers[word].Thread != 0 || _readers[word].Thread != 0;

        public Accesses Copy()
        {
            var copy = new Accesses(_writers.Length) { _touched = _touched };
            _writers.CopyTo(copy._writers, 0);
            _readers.CopyTo(copy._readers, 0);
            foreach ((long word, Dictionary<int, Accessor> several) in _severalRead)
            {
                copy._severalRead.Add(word, new Dictionary<int, Accessor>(several));
            }

            return copy;
        }

        /// <summary>Whether what was last written to a word is there for somebody.</summary>
        public bool IsThereFor(long word, Accessor by) => by.IsBehind(_writers[word]);

        /// <summary>What has been done to a word is behind everybody who knows of what was done last, which is kept elsewhere.</summary>
        public void Forget(long word)
        {
            (_writers[word], _readers[word]) = (default, default);
            _severalRead.Remove(word);
        }

        public string? Note(long word, Accessor by, bool write)
        {
            _touched = true;
            if (!by.IsBehind(_writers[word]))
            {
                return write ? "two threads write" : "a thread reads what another writes";
            }

            if (write)
            {
                if (!by.IsBehind(_readers[word]) || (_severalRead.TryGetValue(word, out Dictionary<int, Accessor>? others) && !others.Values.All(by.IsBehind)))
                {
                    return "a thread writes what another reads";
                }

                _writers[word] = by;
                _readers[word] = default;
                _severalRead.Remove(word);
            }
            else
            {
                // Readers that a barrier parts from each other are no danger to who writes behind it; those of other blocks are kept block by block.
                if (_readers[word].Thread != 0 && _readers[word].Block != by.Block && !by.IsBehind(_readers[word]))
                {
                    if (!_severalRead.TryGetValue(word, out Dictionary<int, Accessor>? several))
                    {
                        _severalRead.Add(word, several = []);
                    }

                    several[_readers[word].Block] = _readers[word];
                    _readers[word] = several.Remove(by.Block, out Accessor before) ? before : default;
                }

                if (by.IsBehind(_readers[word]) || _readers[word].Block != by.Block)
                {
                    _readers[word] = by;
                }
                else if (_readers[word] != by)
                {
                    // Of several at once of one warp any stands for all, behind whose meeting one may write; of several warps nobody does: only a barrier of the block lets anybody write.
                    Accessor before = _readers[word];
                    _readers[word] = before.Thread != int.MaxValue && (before.Thread - 1) / Lanes == (by.Thread - 1) / Lanes ? by with { IsOfSeveral = true } : by with { Thread = int.MaxValue, WarpEpoch = int.MaxValue };
                }
            }

            return null;
        }
    }

    private sealed class Allocation(ulong start, long bytes, string name)
    {
        private readonly Accesses _accesses = new((bytes + 3) / 4);

        public ulong Start => start;

        public long Bytes => bytes;

        public string Name => name;

        // Who touched the upper halves of words, from the moment on when one half of a word is touched alone.
        private Accesses? _upper;

        public void Forget()
        {
            _accesses.Forget();
            _upper = null;
        }

        public string? Note(long word, Accessor by, bool write, Halves halves)
        {
            _upper ??= halves == Halves.Both ? null : _accesses.Copy();
            string? problem = halves == Halves.Upper ? null : _accesses.Note(word, by, write);
            return problem ?? (halves == Halves.Lower ? null : _upper?.Note(word, by, write));
        }

        public bool IsTouched(long word) => _accesses.IsTouched(word) || _upper?.IsTouched(word) == true;
    }

    private sealed class SharedMemory
    {
        public SharedMemory(PtxEntryPoint entry, int dynamicBytes, int warps)
        {
            Bytes = entry.HasDynamicMemory ? entry.DynamicOffset + dynamicBytes : entry.SharedBytes;
            int words = (Bytes + 3) / 4;
            (Words, Written, OnTheWay, Access) = (new uint[words], new bool[words], new bool[words], new Accesses(words));
            Async = entry.HasBarriers || entry.HasWarpgroups ? new AsyncState(words, warps) : null;
        }

        public int Bytes { get; }

        public uint[] Words { get; }

        public bool[] Written { get; }

        public bool[] OnTheWay { get; }

        public Accesses Access { get; }

        /// <summary>What the copy engine and the tensor cores do by themselves.</summary>
        public AsyncState? Async { get; }

        public void Clear()
        {
            Array.Clear(Written);
            Array.Clear(OnTheWay);
            Access.Forget();
            Async?.Clear();
        }
    }

    private sealed class Warp(PtxEntryPoint entry, int index, int blocks)
    {
        public int Index { get; } = index;

        /// <summary>The blocks of the grid's first dimension.</summary>
        public int Blocks { get; } = blocks;

        /// <summary>Where a function that was called goes on.</summary>
        public int ReturnTo { get; set; }

        /// <summary>Whether it lets others run: it has looked whether they have come.</summary>
        public bool Yields { get; set; }

        /// <summary>What its block knows of others.</summary>
        public int[]? Clock { get; set; }

        /// <summary>What one of its threads has learned of others, and the block does at its next barrier.</summary>
        public int[]? Learned { get; set; }

        /// <summary>The last look that made it yield, and what was seen.</summary>
        public (int Pc, uint Seen)? Look { get; set; }

        /// <summary>Up to which of its times each warp of the block is known to be behind, its own time, and up to which of its turns each barrier.</summary>
        public int[]? Known { get; set; }

        /// <summary>Its products on tensor cores.</summary>
        public WarpgroupState Products { get; } = new(entry.HasWarpgroups ? entry.CountOf(RegisterKind.F32) : 0);

        public uint[] F { get; } = new uint[Math.Max(1, entry.CountOf(RegisterKind.F32)) * Lanes];

        public uint[] R { get; } = new uint[Math.Max(1, entry.CountOf(RegisterKind.B32)) * Lanes];

        public ulong[] D { get; } = new ulong[Math.Max(1, entry.CountOf(RegisterKind.B64)) * Lanes];

        public uint[] H { get; } = new uint[Math.Max(1, entry.CountOf(RegisterKind.B16)) * Lanes];

        public uint[] P { get; } = new uint[Math.Max(1, entry.CountOf(RegisterKind.Pred))];

        public int[] Pc { get; } = new int[Lanes];

        /// <summary>Of each lane, the groups of copies that are on their way, the last of which is not committed yet.</summary>
        public List<List<(long To, uint[] Words)>>[] Copies { get; } = [.. Enumerable.Range(0, Lanes).Select(_ => new List<List<(long To, uint[] Words)>>())];

        public uint Live { get; set; }

        public bool AtBarrier { get; set; }

        public int WarpEpoch { get; set; }

        public int X { get; private set; }

        public int Y { get; private set; }

        public void Begin(PtxEntryPoint code, int x, int y)
        {
            (X, Y, Live, AtBarrier, WarpEpoch, Yields, Look, Clock, Learned, Known) = (x, y, uint.MaxValue, false, 0, false, null, null, null, null);
            Products.Clear();
            Array.Fill(Pc, code.Start);
            foreach (List<List<(long To, uint[] Words)>> copies in Copies)
            {
                copies.Clear();
                copies.Add([]);
            }

            // A register that is read before it is written holds anything: here, what shows in any result.
            Array.Fill(F, 0x7FC0DEADu);
            Array.Fill(R, 0xDEADDEADu);
            Array.Fill(H, 0xDEADu);
            Array.Fill(D, 0xDEADDEADDEADDEADul);
            foreach ((PtxRegister register, ulong value) in code.Literals)
            {
                for (int lane = 0; lane < Lanes; lane++)
                {
                    switch (register.Kind)
                    {
                        case RegisterKind.F32:
                            F[(register.Index * Lanes) + lane] = (uint)value;
                            break;
                        case RegisterKind.B32:
                            R[(register.Index * Lanes) + lane] = (uint)value;
                            break;
                        default:
                            D[(register.Index * Lanes) + lane] = value;
                            break;
                    }
                }
            }
        }
    }
}
