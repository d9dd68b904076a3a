using System.Numerics;

namespace ModelGen.Tests.Ptx;

/// <content>
/// What a block of sm_90 does beside its threads: the copy engine, which fills shared memory and tells a barrier there of its bytes, and products of
/// four warps, which read their factors there and have their sums in registers. A copy lands as late as it may: when somebody waits for its barrier
/// and nothing else is missing. Who has waited for a turn of a barrier knows of what was done before it by those that arrived, and by the engine;
/// whatever touches a word without knowing of what was last done to it is reported. Of products: factors that are not there, that lie beyond shared
/// memory or otherwise than their descriptor says; sums that are touched before they were waited for; fences that are missing.
/// </content>
internal sealed unsafe partial class PtxMachine
{
    private const int MostBarriers = 32;

    // Four warps multiply together, each with 16 rows.
    private const int GroupWarps = 4;

    private static void BeginAsync(Warp[] warps, SharedMemory shared)
    {
        if (shared.Async is null)
        {
            return;
        }

        foreach (Warp warp in warps)
        {
            warp.Known = new int[warps.Length + MostBarriers];
            warp.Known[warp.Index] = 1;
        }
    }

    private static void EndAsync(PtxEntryPoint entry, Warp[] warps, SharedMemory shared)
    {
        if (shared.Async is not { } state)
        {
            return;
        }

        if (state.Barriers.Values.FirstOrDefault(b => b.Copies.Count > 0) is not null)
        {
            throw new PtxException($"{entry.Name}: a block ends while copies are on their way to its shared memory");
        }

        foreach (Warp warp in warps)
        {
            if (warp.Products.Groups.Any(g => g.Count > 0))
            {
                throw new PtxException($"{entry.Name}: a block ends while products are on their way that nobody waited for");
            }

            int first = warp.Index / GroupWarps * GroupWarps;
            if (warp.Products.Log.Count != warps[first].Products.Log.Count)
            {
                throw new PtxException($"{entry.Name}: a product that not all four warps come to");
            }
        }
    }

    /// <summary>All threads of a block know of each other.</summary>
    private static void PassBarrierAsync(Warp[] warps, SharedMemory shared)
    {
        if (shared.Async is null)
        {
            return;
        }

        int[] all = new int[warps.Length + MostBarriers];
        foreach (Warp warp in warps)
        {
            Merge(all, warp.Known);
        }

        foreach (Warp warp in warps)
        {
            all.CopyTo(warp.Known!, 0);
            warp.Known![warp.Index]++;
        }
    }

    /// <summary>Warps wait for barriers: somebody must have moved.</summary>
    private void WaitForMore(PtxEntryPoint entry, Warp[] warps, SharedMemory shared)
    {
        if (_moved)
        {
            return;
        }

        string waiting = string.Join(", ", warps.Where(w => w.Yields).Select(w => w.Index));
        string barriers = string.Join("; ", shared.Async!.Barriers.Select(b => FormattableString.Invariant($"byte {b.Key} is in turn {b.Value.Turn}, {b.Value.Pending} of {b.Value.Count} arrivals and {b.Value.Expected - b.Value.Landed - b.Value.Copies.Sum(c => (long)c.Words.Length * 4)} bytes missing")));
        throw new PtxException($"{entry.Name}: warps {waiting} wait for barriers that nobody will end the turn of: {barriers}");
    }

    /// <summary>What an access of threads to shared memory must know of what engine and tensor cores have done there.</summary>
    private static void ReachAsync(PtxEntryPoint entry, PtxInstruction instruction, SharedMemory shared, long at, int bytes, Accessor by, bool write)
    {
        AsyncState state = shared.Async!;
        bool ofEngine = instruction.Opcode == PtxOpcode.CopyBulk;
        for (long word = at / 4; word < (at + bytes) / 4; word++)
        {
            if (state.BarrierAt(4 * word) is not null)
            {
                throw new PtxException($"{entry.Name}: a barrier is accessed as memory: {instruction.Text}");
            }

            if (state.Landed[word] is { Barrier: >= 0 } landed && by.Known![state.Warps + landed.Barrier] < landed.Turn)
            {
                throw new PtxException($"{entry.Name}: shared memory whose copy was not waited for: {instruction.Text}");
            }

            if (write)
            {
                for (int warp = 0; warp < state.Warps; warp++)
                {
                    int read = state.ReadBy[(word * state.Warps) + warp];
                    if (read == int.MaxValue)
                    {
                        throw new PtxException($"{entry.Name}: shared memory that a product still reads: {instruction.Text}");
                    }

                    if (read > by.Known![warp])
                    {
                        throw new PtxException($"{entry.Name}: shared memory that a product of another warp may still read: {instruction.Text}");
                    }

                    state.ReadBy[(word * state.Warps) + warp] = 0;
                }

                if (ofEngine && state.Unfenced[word])
                {
                    throw new PtxException($"{entry.Name}: the engine writes what threads have written without a fence between: {instruction.Text}");
                }

                if (!ofEngine)
                {
                    (state.Landed[word], state.Unfenced[word]) = (AsyncState.Nothing, true);
                    state.Writer[word] = (by.Thread - 1) / Lanes;
                }
            }
        }
    }

    private void Async(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, uint active, SharedMemory shared, Accessor first)
    {
        AsyncState state = shared.Async!;
        if (instruction.Opcode == PtxOpcode.FenceProxy)
        {
            for (int word = 0; word < state.Unfenced.Length; word++)
            {
                state.Unfenced[word] &= state.Writer[word] != warp.Index;
            }

            foreach (SharedBarrier barrier in state.Barriers.Values.Where(b => b.Creator == warp.Index))
            {
                barrier.IsKnownToEngine = true;
            }

            return;
        }

        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            Accessor by = first with { Thread = first.Thread + lane };
            switch (instruction.Opcode)
            {
                case PtxOpcode.InitializeBarrier:
                    long place = _r[(instruction.Result.Index * Lanes) + lane] + (long)instruction.Offset;
                    Reach(entry, instruction, shared, place, 8, by, write: true);
                    int count = (int)_r[(instruction.A.Index * Lanes) + lane];
                    if (count < 1 || state.Barriers.Count == MostBarriers)
                    {
                        throw new PtxException($"{entry.Name}: a barrier of {count} arrivals: {instruction.Text}");
                    }

                    state.Barriers.Add(place, new SharedBarrier(state.Barriers.Count, count, warp.Index, warp.Known![warp.Index], warp.Known.Length));
                    break;
                case PtxOpcode.ArriveAtBarrier or PtxOpcode.ExpectBytes:
                    SharedBarrier at = BarrierOf(entry, instruction, shared, _r[(instruction.A.Index * Lanes) + lane] + (long)instruction.Offset, warp);
                    if (instruction.Opcode == PtxOpcode.ExpectBytes)
                    {
                        at.Expected += (int)_r[(instruction.B.Index * Lanes) + lane];
                    }

                    if (--at.Pending < 0)
                    {
                        throw new PtxException($"{entry.Name}: more arrive at a barrier than the {at.Count} that it counts: {instruction.Text}");
                    }

                    Merge(at.Gathered, warp.Known);
                    warp.Known![warp.Index]++;
                    _moved = true;
                    if (at.Pending == 0 && at.Expected == 0)
                    {
                        at.EndTurn(state);
                    }

                    break;
                default:
                    CopyBulk(entry, warp, instruction, lane, shared, by);
                    break;
            }
        }
    }

    private static SharedBarrier BarrierOf(PtxEntryPoint entry, PtxInstruction instruction, SharedMemory shared, long at, Warp warp)
    {
        if (at % 8 != 0 || !shared.Async!.Barriers.TryGetValue(at, out SharedBarrier? barrier))
        {
            throw new PtxException($"{entry.Name}: byte {at} of shared memory is no barrier: {instruction.Text}");
        }

        return barrier.Creator == warp.Index || warp.Known![barrier.Creator] >= barrier.CreatedAt ? barrier : throw new PtxException($"{entry.Name}: a barrier that another warp may not have made yet: {instruction.Text}");
    }

    private void CopyBulk(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, int lane, SharedMemory shared, Accessor by)
    {
        int bytes = (int)_r[(instruction.B.Index * Lanes) + lane];
        long to = _r[(instruction.Result.Index * Lanes) + lane] + (long)instruction.Offset;
        ulong from = _d[(instruction.A.Index * Lanes) + lane] + (ulong)instruction.SourceOffset;
        SharedBarrier barrier = BarrierOf(entry, instruction, shared, _r[(instruction.C.Index * Lanes) + lane] + (long)instruction.BarrierOffset, warp);
        if (bytes <= 0 || bytes % 16 != 0)
        {
            throw new PtxException($"{entry.Name}: a bulk copy of {bytes} bytes: {instruction.Text}");
        }

        if (!barrier.IsKnownToEngine)
        {
            throw new PtxException($"{entry.Name}: a barrier that no fence has made known to the engine: {instruction.Text}");
        }

        barrier.Issued += bytes;
        if (barrier.Issued > barrier.Expected)
        {
            throw new PtxException($"{entry.Name}: {barrier.Issued} bytes are copied, and their barrier expects {barrier.Expected}: {instruction.Text}");
        }

        uint[] words = new uint[bytes / 4];
        for (int i = 0; i < words.Length; i += 4)
        {
            Reach(entry, instruction, from + (ulong)(4 * i), 16, 16, by, write: false);
            Reach(entry, instruction, shared, to + (4 * i), 16, by, write: true);
            new ReadOnlySpan<uint>((uint*)from + i, 4).CopyTo(words.AsSpan(i));
            Array.Fill(shared.OnTheWay, true, (int)(to / 4) + i, 4);
        }

        barrier.Copies.Add((to, words));
        _moved = true;
    }

    private void TryWait(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, uint active, SharedMemory shared, int pc)
    {
        AsyncState state = shared.Async!;
        for (uint lanes = active; lanes != 0; lanes &= lanes - 1)
        {
            int lane = BitOperations.TrailingZeroCount(lanes);
            long at = _r[(instruction.A.Index * Lanes) + lane] + (long)instruction.Offset;
            SharedBarrier barrier = BarrierOf(entry, instruction, shared, at, warp);
            uint parity = _r[(instruction.B.Index * Lanes) + lane];
            if (parity > 1)
            {
                throw new PtxException($"{entry.Name}: {parity} is the parity of no turn: {instruction.Text}");
            }

            // Whoever waits for this turn has the copies land that are its last.
            if ((barrier.Turn & 1) == parity && barrier.Pending == 0 && barrier.Issued == barrier.Expected)
            {
                foreach ((long to, uint[] words) in barrier.Copies)
                {
                    int word = (int)(to / 4);
                    words.CopyTo(shared.Words.AsSpan(word));
                    Array.Fill(shared.OnTheWay, false, word, words.Length);
                    Array.Fill(shared.Written, true, word, words.Length);
                    Array.Fill(state.Landed, (barrier.Index, barrier.Turn + 1), word, words.Length);
                    for (int i = 0; i < words.Length; i++)
                    {
                        shared.Access.Forget(word + i);
                    }

                    barrier.Landed += 4L * words.Length;
                }

                barrier.Copies.Clear();
                barrier.EndTurn(state);
                _moved = true;
            }

            bool isDone = (barrier.Turn & 1) != parity;
            uint bit = 1u << lane;
            _p[instruction.Result.Index] = isDone ? _p[instruction.Result.Index] | bit : _p[instruction.Result.Index] & ~bit;
            if (isDone)
            {
                Merge(warp.Known!, barrier.Ended);
                warp.Look = null;
                continue;
            }

            // Others run; looking again gets nobody further.
            warp.Yields = true;
            uint seen = ((uint)at << 1) | ((uint)barrier.Turn & 1);
            _moved |= warp.Look != (pc, seen);
            warp.Look = (pc, seen);
        }
    }

    /// <summary>Registers that are no sums of products touch them: not before those were waited for.</summary>
    private static void TouchAccumulators(PtxEntryPoint entry, Warp warp, PtxInstruction instruction)
    {
        foreach (int register in instruction.Floats)
        {
            if (warp.Products.InFlight[register] is not null)
            {
                throw new PtxException($"{entry.Name}: a sum of products that was not waited for: {instruction.Text}");
            }

            warp.Products.Touched[register] = true;
        }
    }

    private void Warpgroup(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, SharedMemory shared, Accessor by, int pc)
    {
        WarpgroupState products = warp.Products;
        switch (instruction.Opcode)
        {
            case PtxOpcode.FenceWarpgroup:
                products.HasFenced = true;
                Array.Clear(products.Touched);
                break;
            case PtxOpcode.CommitWarpgroup:
                products.Groups.Add([]);
                break;
            case PtxOpcode.WaitForWarpgroup:
                // The last group is not committed yet.
                while (products.Groups.Count - 1 > instruction.Immediates[0])
                {
                    foreach (Product product in products.Groups[0])
                    {
                        foreach (int register in product.Registers.Where(r => products.InFlight[r] == product))
                        {
                            products.InFlight[register] = null;
                        }

                        // Another product may read the same.
                        foreach (int word in product.Words.Where(w => !products.Groups.Skip(1).Any(g => g.Any(p => p.Words.Contains(w)))))
                        {
                            shared.Async!.ReadBy[((long)word * shared.Async.Warps) + warp.Index] = warp.Known![warp.Index];
                        }
                    }

                    products.Groups.RemoveAt(0);
                }

                break;
            default:
                MultiplyWarpgroup(entry, warp, instruction, shared, by, pc);
                break;
        }

        Log(entry, warp, shared, (pc, 0, 0));
    }

    // Four warps do the same, one after the other here.
    private static void Log(PtxEntryPoint entry, Warp warp, SharedMemory shared, (int, ulong, ulong) what)
    {
        List<(int, ulong, ulong)> log = warp.Products.Log, all = shared.Async!.Logs[warp.Index / GroupWarps];
        if (all.Count == log.Count)
        {
            all.Add(what);
        }
        else if (all[log.Count] != what)
        {
            throw new PtxException($"{entry.Name}: four warps multiply together, and one of them comes to: {entry.Code[what.Item1].Text}");
        }

        log.Add(what);
    }

    /// <summary>
    /// d = a b + d, where a is 64 x 16, of which this warp has 16 rows, and both lie in shared memory as their descriptors say. Products are exact and the sum is
    /// rounded once; a chip's sums are rounded on the way, as no document says how.
    /// </summary>
    private void MultiplyWarpgroup(PtxEntryPoint entry, Warp warp, PtxInstruction instruction, SharedMemory shared, Accessor by, int pc)
    {
        const int Depth = 16;
        WarpgroupState products = warp.Products;
        PtxRegister[] sums = instruction.Vectors[0];
        int columns = 2 * sums.Length;
        ulong left = Uniform(entry, instruction, instruction.A), right = Uniform(entry, instruction, instruction.B);
        Log(entry, warp, shared, (pc, left, right));
        if (!products.HasFenced)
        {
            throw new PtxException($"{entry.Name}: no fence before the first product: {instruction.Text}");
        }

        var product = new Product(instruction.Name, [.. sums.Select(s => s.Index)], []);
        foreach (int register in product.Registers)
        {
            if (products.Touched[register])
            {
                throw new PtxException($"{entry.Name}: no fence between what touches a sum and the product: {instruction.Text}");
            }

            if (products.InFlight[register] is { } other && (other.Name != product.Name || !other.Registers.SequenceEqual(product.Registers)))
            {
                throw new PtxException($"{entry.Name}: a product of another shape has a sum on its way: {instruction.Text}");
            }

            products.InFlight[register] = product;
        }

        // Its 16 rows of the left factor, and all of the right one, across x along the contracted extent.
        int firstRow = warp.Index % GroupWarps * 16;
        double[] a = Factor(entry, instruction, shared, by, left, 64, instruction.Immediates[2] == 1, firstRow, 16, product.Words);
        double[] b = Factor(entry, instruction, shared, by, right, columns, instruction.Immediates[3] == 1, 0, columns, product.Words);
        int sign = instruction.Immediates[0] * instruction.Immediates[1];
        bool adds = _p[instruction.C.Index] == uint.MaxValue;
        if (!adds && _p[instruction.C.Index] != 0)
        {
            throw new PtxException($"{entry.Name}: threads do not agree on whether to add: {instruction.Text}");
        }

        for (int lane = 0; lane < Lanes; lane++)
        {
            for (int i = 0; i < sums.Length; i++)
            {
                int row = (lane / 4) + (8 * (i / 2 % 2)), column = (8 * (i / 4)) + (2 * (lane % 4)) + (i % 2);
                ref uint register = ref _f[(sums[i].Index * Lanes) + lane];
                double sum = adds ? BitConverter.UInt32BitsToSingle(register) : 0;
                for (int d = 0; d < Depth; d++)
                {
                    sum += sign * a[(row * Depth) + d] * b[(column * Depth) + d];
                }

                register = BitConverter.SingleToUInt32Bits((float)sum);
            }
        }

        foreach (int word in product.Words)
        {
            shared.Async!.ReadBy[((long)word * shared.Async.Warps) + warp.Index] = int.MaxValue;
        }

        products.Groups[^1].Add(product);
    }

    private ulong Uniform(PtxEntryPoint entry, PtxInstruction instruction, PtxRegister register)
    {
        ReadOnlySpan<ulong> all = _d.AsSpan(register.Index * Lanes, Lanes);
        return !all.ContainsAnyExcept(all[0]) ? all[0] : throw new PtxException($"{entry.Name}: threads give different descriptors: {instruction.Text}");
    }

    /// <summary>
    /// Reads a factor as its descriptor says. Bits 0 to 13 are its address, 16 to 29 and 32 to 45 two distances, all three in units of 16 bytes, 49 to 51 where the
    /// pattern begins in which chunks change places, 62 and 63 which pattern that is: 1 for rows of 128 bytes, 2 for 64, 3 for 32, 0 for none.
    /// </summary>
    private static double[] Factor(PtxEntryPoint entry, PtxInstruction instruction, SharedMemory shared, Accessor by, ulong descriptor, int across, bool turned, int first, int count, HashSet<int> words)
    {
        const int Depth = 16, Chunk = 16, ChunkElements = 8;
        if ((descriptor & 0x3FF1_C000_C000_C000) != 0)
        {
            throw new PtxException($"{entry.Name}: bits of a descriptor that are none ({descriptor:X16}): {instruction.Text}");
        }

        long start = (long)(descriptor & 0x3FFF) * Chunk, leading = (long)((descriptor >> 16) & 0x3FFF) * Chunk, stride = (long)((descriptor >> 32) & 0x3FFF) * Chunk;
        int mode = (int)(descriptor >> 62), rowBytes = mode switch { 1 => 128, 2 => 64, 3 => 32, _ => Chunk }, begins = (int)(descriptor >> 49) & 7;
        int patternBytes = 8 * rowBytes;

        // The first row of the pattern is where the address is within it, which the descriptor says.
        if (mode != 0 && ((start % patternBytes / rowBytes != 0 && begins == 0) || begins != 0))
        {
            throw new PtxException($"{entry.Name}: a factor at byte {start} begins within a pattern of {patternBytes} bytes: {instruction.Text}");
        }

        if (mode != 0 && !turned && start % rowBytes + (Depth / ChunkElements * Chunk) > rowBytes)
        {
            throw new PtxException($"{entry.Name}: a factor at byte {start} reaches beyond its rows of {rowBytes} bytes: {instruction.Text}");
        }

        AsyncState state = shared.Async!;
        double[] elements = new double[count * Depth];
        for (int x = 0; x < count; x++)
        {
            for (int d = 0; d < Depth; d++)
            {
                // Along the contracted extent rows of the pattern are across, and otherwise along it.
                int n = first + x, perRow = rowBytes / Chunk * ChunkElements;
                long at = start + (turned
                    ? mode == 0
                        ? (n / ChunkElements * stride) + (n % ChunkElements * 2) + (d / 8 * leading) + (d % 8 * Chunk)
                        : (n / perRow * leading) + (n % perRow * 2) + (d / 8 * stride) + (d % 8 * rowBytes)
                    : (n / 8 * stride) + (n % 8 * rowBytes) + (mode == 0 ? d / ChunkElements * leading : d / ChunkElements * Chunk) + (d % ChunkElements * 2));
                at = mode == 0 ? at : at ^ (((at / 128) & (rowBytes / Chunk - 1)) * Chunk);
                if (at + 2 > shared.Bytes || (at >= entry.SharedBytes && at < entry.DynamicOffset))
                {
                    throw new PtxException($"{entry.Name}: a factor reaches byte {at} of {shared.Bytes} of shared memory: {instruction.Text}");
                }

                int word = (int)(at / 4);
                if (words.Add(word))
                {
                    Check(word);
                }

                uint bits = shared.Words[word];
                elements[(x * Depth) + d] = BitConverter.UInt32BitsToSingle(at % 4 == 0 ? bits << 16 : bits & 0xFFFF_0000);
            }
        }

        return elements;

        void Check(int word)
        {
            if (state.BarrierAt(4L * word) is not null)
            {
                throw new PtxException($"{entry.Name}: a factor reaches into a barrier: {instruction.Text}");
            }

            if (shared.OnTheWay[word])
            {
                throw new PtxException($"{entry.Name}: a factor in shared memory that a copy is on its way to: {instruction.Text}");
            }

            if (!shared.Written[word])
            {
                throw new PtxException($"{entry.Name}: a factor in shared memory that nobody wrote: {instruction.Text}");
            }

            if (state.Landed[word] is { Barrier: >= 0 } landed)
            {
                if (by.Known![state.Warps + landed.Barrier] < landed.Turn)
                {
                    throw new PtxException($"{entry.Name}: a factor whose copy was not waited for: {instruction.Text}");
                }
            }
            else if (!shared.Access.IsThereFor(word, by))
            {
                throw new PtxException($"{entry.Name}: a factor that another thread writes: {instruction.Text}");
            }
            else if (state.Unfenced[word])
            {
                throw new PtxException($"{entry.Name}: a factor that threads have written without a fence behind it: {instruction.Text}");
            }
        }
    }

    /// <summary>A barrier in shared memory, which counts arrivals and bytes.</summary>
    private sealed class SharedBarrier(int index, int count, int creator, int createdAt, int known)
    {
        public int Index { get; } = index;

        public int Count { get; } = count;

        /// <summary>The warp that made it, and when.</summary>
        public int Creator { get; } = creator;

        public int CreatedAt { get; } = createdAt;

        /// <summary>Whether the engine has been told of it.</summary>
        public bool IsKnownToEngine { get; set; }

        /// <summary>Turns that have ended.</summary>
        public int Turn { get; private set; }

        /// <summary>Arrivals that are missing in this turn.</summary>
        public int Pending { get; set; } = count;

        /// <summary>Bytes that this turn expects, that copies have been begun for, and that have come.</summary>
        public long Expected { get; set; }

        public long Issued { get; set; }

        public long Landed { get; set; }

        public List<(long To, uint[] Words)> Copies { get; } = [];

        /// <summary>What those knew that have arrived in this turn.</summary>
        public int[] Gathered { get; } = new int[known];

        /// <summary>What those knew that arrived in turns that have ended, and that these have.</summary>
        public int[] Ended { get; } = new int[known];

        public void EndTurn(AsyncState state)
        {
            Turn++;
            (Pending, Expected, Issued, Landed) = (Count, 0, 0, 0);
            Merge(Ended, Gathered);
            Ended[state.Warps + Index] = Turn;
        }
    }

    /// <summary>What was done to shared memory beside what threads do.</summary>
    private sealed class AsyncState(int words, int warps)
    {
        public static readonly (int Barrier, int Turn) Nothing = (-1, 0);

        public int Warps { get; } = warps;

        public Dictionary<long, SharedBarrier> Barriers { get; } = [];

        /// <summary>Of each word, with the end of which barrier's which turn it was known that a copy had landed there.</summary>
        public (int Barrier, int Turn)[] Landed { get; } = new (int, int)[words];

        /// <summary>Of each word and warp, when a product of the warp last read it; the largest integer while it may.</summary>
        public int[] ReadBy { get; } = new int[(long)words * warps];

        /// <summary>Words that threads have written without a fence behind it, and the warp that has.</summary>
        public bool[] Unfenced { get; } = new bool[words];

        public int[] Writer { get; } = new int[words];

        /// <summary>What each four warps have come to.</summary>
        public List<(int, ulong, ulong)>[] Logs { get; } = [.. Enumerable.Range(0, (warps + GroupWarps - 1) / GroupWarps).Select(_ => new List<(int, ulong, ulong)>())];

        public SharedBarrier? BarrierAt(long at) => Barriers.Count == 0 ? null : Barriers.GetValueOrDefault(at / 8 * 8);

        public void Clear()
        {
            Barriers.Clear();
            Array.Fill(Landed, Nothing);
            Array.Clear(ReadBy);
            Array.Clear(Unfenced);
            foreach (List<(int, ulong, ulong)> log in Logs)
            {
                log.Clear();
            }
        }
    }

    /// <summary>A product on its way: its shape, its sums and the words that it reads.</summary>
    private sealed record Product(string Name, int[] Registers, HashSet<int> Words);

    /// <summary>A warp's products on tensor cores.</summary>
    private sealed class WarpgroupState(int registers)
    {
        /// <summary>Whether a fence has been there at all.</summary>
        public bool HasFenced { get; set; }

        /// <summary>Registers that something else has touched since the last fence.</summary>
        public bool[] Touched { get; } = new bool[registers];

        /// <summary>Of each register the last product that has it as a sum and was not waited for.</summary>
        public Product?[] InFlight { get; } = new Product?[registers];

        /// <summary>Groups of products, the last of which is not committed yet.</summary>
        public List<List<Product>> Groups { get; } = [[]];

        /// <summary>What it has come to.</summary>
        public List<(int, ulong, ulong)> Log { get; } = [];

        public void Clear()
        {
            HasFenced = false;
            Array.Clear(Touched);
            Array.Clear(InFlight);
            Groups.Clear();
            Groups.Add([]);
            Log.Clear();
        }
    }
}
