using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>Which block of memory a buffer lies in.</summary>
internal enum MemorySpace
{
    Weights,
    Gradients,
    State,
    Arena,
}

/// <summary>How a stored element meets what is there already.</summary>
internal enum StoreMode
{
    /// <summary>It takes its place.</summary>
    Replace,

    /// <summary>It is added when the run accumulates gradients, and takes its place otherwise.</summary>
    AddWhenAccumulating,

    /// <summary>It is added.</summary>
    Add,
}

/// <summary>A contiguous piece of memory. Offsets and sizes count 4-byte elements.</summary>
internal sealed class PlanBuffer(string name, MemorySpace space, long size)
{
    public string Name { get; } = name;

    public MemorySpace Space { get; } = space;

    public long Size { get; } = size;

    /// <summary>Where the buffer starts in its space: known at once for parameters and states, after planning in the arena.</summary>
    public long Offset { get; set; } = -1;

    public override string ToString() => Name;
}

/// <summary>
/// Where a tensor lies: rows of contiguous columns, <c>RowStride</c> elements apart. The address may move with the
/// position in the sequence, with the number of tokens of a run, and with the step of the loop around the kernel.
/// </summary>
internal sealed record View(PlanBuffer Buffer, long Offset, int RowStride, long PositionStride = 0, long LastStride = 0, long StepStride = 0);

/// <summary>How a kernel's iteration over rows and columns finds its element of an operand.</summary>
internal enum AccessKind
{
    /// <summary>[row, column].</summary>
    Element,

    /// <summary>[row], the same for all columns.</summary>
    RowScalar,

    /// <summary>[column], the same for all rows.</summary>
    ColumnVector,

    /// <summary>One number.</summary>
    Scalar,
}

/// <summary>An access with its literal row stride; with a period, rows repeat: row r reads row r mod period.</summary>
internal sealed record Access(AccessKind Kind, int RowStride, int Period, ElementType Element);

/// <summary>A pointer argument of a kernel.</summary>
internal sealed record KernelOperand(string Name, View View, Access Access, bool IsWritten);

/// <summary>A store of one expression's value for every element (or every row, for a row-scalar operand).</summary>
internal sealed record Store(int Operand, Expr Value, StoreMode Mode);

/// <summary>
/// The lower representation: a loop nest of a closed set of classes, with literal extents and strides, and with scalar
/// expressions for whatever was fused into it. Backends implement the classes; they know no operator and no family.
/// </summary>
internal abstract class Kernel(string name, IReadOnlyList<KernelOperand> operands, long flops, long bytes)
{
    /// <summary>What the kernel computes, in the declaration's names.</summary>
    public string Name { get; } = name;

    public IReadOnlyList<KernelOperand> Operands { get; } = operands;

    public long Flops { get; } = flops;

    public long Bytes { get; } = bytes;

    /// <summary>
    /// Whether one worker runs it alone: below some thousand operations, meeting at a barrier costs more than it gains.
    /// </summary>
    public virtual bool IsSerial => Flops < 8192 && Bytes < 32768;

    /// <summary>
    /// Whether workers that are through with their share may take from those of others: processors are seldom all as fast, but to look
    /// for more takes a while.
    /// </summary>
    public bool IsHelped => !IsSerial && (Flops >= 1 << 22 || Bytes >= 1 << 20);

    /// <summary>Whether what it stores is a sum over the rows of its operands, so that blocks of rows add up.</summary>
    public virtual bool SumsOverRows => false;

    /// <summary>Pairs of a read and a written operand that may share memory: each element is read for the last time before it is written.</summary>
    public virtual IEnumerable<(int Read, int Written)> InPlaceCandidates => [];

    /// <summary>Memory every worker needs for itself while the kernel runs, in bytes, at vectors of <paramref name="lanes"/> elements.</summary>
    public virtual long ScratchBytes(int lanes) => 0;
}

internal enum ReductionKind
{
    Sum,
    Maximum,
}

/// <summary>A row-wise reduction; later phases read it as row value <c>Index</c>.</summary>
internal sealed record Reduction(int Index, ReductionKind Kind, Expr Value);

/// <summary>One pass over a row's columns: reductions first become known when it has ended.</summary>
internal sealed record RowPhase(IReadOnlyList<Reduction> Reductions, IReadOnlyList<Store> Stores);

/// <summary>Element-wise work and row-wise reductions over a matrix: for every row, its phases in order.</summary>
internal sealed class RowKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns, IReadOnlyList<RowPhase> phases, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;

    public IReadOnlyList<RowPhase> Phases { get; } = phases;

    public override IEnumerable<(int Read, int Written)> InPlaceCandidates
    {
        get
        {
            // The last phase that reads an operand, and where in it the element is loaded: before the stores, or for one of them.
            var loads = new Dictionary<int, (int Phase, int Order)>();
            for (int phase = 0; phase < Phases.Count; phase++)
            {
                int order = -1;
                foreach (Expr root in Phases[phase].Reductions.Select(r => r.Value))
                {
                    Load(root, phase, order);
                }

                foreach (Store store in Phases[phase].Stores)
                {
                    Load(store.Value, phase, ++order);
                }
            }

            for (int phase = 0; phase < Phases.Count; phase++)
            {
                for (int order = 0; order < Phases[phase].Stores.Count; order++)
                {
                    Store store = Phases[phase].Stores[order];
                    Access written = Operands[store.Operand].Access;
                    foreach (KeyValuePair<int, (int Phase, int Order)> load in loads)
                    {
                        if (store.Mode == StoreMode.Replace && written.Kind == AccessKind.Element && Operands[load.Key].Access.Equals(written)
                            && (load.Value.Phase < phase || (load.Value.Phase == phase && load.Value.Order <= order)))
                        {
                            yield return (load.Key, store.Operand);
                        }
                    }
                }
            }

            void Load(Expr root, int phase, int order) => ExprTransforms.Visit(root, e =>
            {
                if (e is OperandExpr o && !(loads.TryGetValue(o.Operand, out (int Phase, int Order) known) && known.Phase == phase))
                {
                    loads[o.Operand] = (phase, order);
                }
            });
        }
    }
}

/// <summary>
/// Sums over outer rows: out[p, c] = Σ over r ≡ p (mod <c>Period</c>) of the element's value, several at once.
/// </summary>
internal sealed class ColumnSumKernel(string name, IReadOnlyList<KernelOperand> operands, int rows, int period, int columns, IReadOnlyList<Store> sums, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public int Rows { get; } = rows;

    public int Period { get; } = period;

    public int Columns { get; } = columns;

    public IReadOnlyList<Store> Sums { get; } = sums;

    public override bool SumsOverRows => true;
}

/// <summary>
/// A matrix product with an epilogue. Operand 0 is the one whose outer extents are rows, operand 1 the other; the rest
/// belong to the epilogue, whose expressions read the accumulator.
/// <c>Rows</c> × <c>Columns</c> is the result's shape, <c>Depth</c> the contracted extent.
/// </summary>
internal sealed class MatMulKernel(
    string name,
    IReadOnlyList<KernelOperand> operands,
    MatMulForm form,
    RowExtent rows,
    int columns,
    int depth,
    IReadOnlyList<Store> stores,
    CacheSizes caches,
    long flops,
    long bytes)
    : Kernel(name, operands, flops, bytes)
{
    private readonly Dictionary<RegisterTile, MatMulBlocking> _blockings = [];

    public MatMulForm Form { get; } = form;

    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;

    public int Depth { get; } = depth;

    public IReadOnlyList<Store> Stores { get; } = stores;

    public override bool SumsOverRows => Form == MatMulForm.TN;

    public CacheSizes Caches { get; } = caches;

    /// <summary>Whether operand 1 lies in panels that a <see cref="PackKernel"/> made.</summary>
    public bool IsRightPacked { get; private set; }

    /// <summary>Memory that the workers share while the kernel runs.</summary>
    public PlanBuffer? Workspace { get; set; }

    /// <summary>Whether outputs are dot products of one row, read where it lies, with rows of the right operand.</summary>
    public bool IsDotProducts => Form == MatMulForm.NT && Rows == RowExtent.Literal(1);

    public long WorkspaceElements => IsDotProducts ? 0 : RegisterTile.All.Max(t => Blocking(t).WorkspaceElements);

    public override long ScratchBytes(int lanes) => IsDotProducts ? 0 : 4 * Blocking(RegisterTile.Of(lanes)).ScratchElements;

    public MatMulBlocking Blocking(RegisterTile tile)
    {
        if (!_blockings.TryGetValue(tile, out MatMulBlocking? blocking))
        {
            _blockings.Add(tile, blocking = MatMulBlocking.Of(this, tile));
        }

        return blocking;
    }

    /// <summary>The same product of other operands; without a workspace, whose size may differ.</summary>
    public MatMulKernel With(IReadOnlyList<KernelOperand> operands, bool isRightPacked)
        => new(Name, operands, Form, Rows, Columns, Depth, Stores, Caches, Flops, Bytes) { IsRightPacked = isRightPacked };

    /// <summary>The same product with other stores.</summary>
    public MatMulKernel With(IReadOnlyList<Store> stores)
        => new(Name, Operands, Form, Rows, Columns, Depth, stores, Caches, Flops, Bytes) { IsRightPacked = IsRightPacked, Workspace = Workspace };

    public override IEnumerable<(int Read, int Written)> InPlaceCandidates
        => from store in Stores
           where store.Mode == StoreMode.Replace
           from read in Enumerable.Range(2, Operands.Count - 2)
           where !Operands[read].IsWritten && Operands[store.Operand].Access.Kind == AccessKind.Element && Operands[read].Access.Equals(Operands[store.Operand].Access)
           where Stores.All(s => s.Operand == store.Operand || !Reads(s.Value, read)) || Stores[Stores.Count - 1] == store
           select (read, store.Operand);

    private static bool Reads(Expr expr, int operand)
    {
        bool found = false;
        ExprTransforms.Visit(expr, e => found |= e is OperandExpr o && o.Operand == operand);
        return found;
    }
}

/// <summary>
/// Packs the right operand of matrix products into panels, once for all of those in a loop. Operands: source, packed.
/// </summary>
internal sealed class PackKernel(string name, IReadOnlyList<KernelOperand> operands, MatMulForm form, int columns, int depth, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public MatMulForm Form { get; } = form;

    public int Columns { get; } = columns;

    public int Depth { get; } = depth;

    /// <summary>Elements that the panels take, whatever the vector width.</summary>
    public static long PackedElements(int columns, int depth)
        => RegisterTile.All.Max(t => MatMulBlocking.PackedElements(columns, depth, t, MatMulBlocking.PackedVectors(columns, t)));
}

/// <summary>Attention, streamed. Operands: q, k, v, output and, where <c>HasLogSumExp</c>, the rows' log-sum-exp.</summary>
internal sealed class AttentionKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, int batch, RowExtent queries, int maximumKeys, bool hasLogSumExp, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public Attention Op { get; } = op;

    public int Batch { get; } = batch;

    /// <summary>Queries of one sequence.</summary>
    public RowExtent Queries { get; } = queries;

    /// <summary>Keys of one sequence; with a cache, the most there can be.</summary>
    public int MaximumKeys { get; } = maximumKeys;

    public bool HasLogSumExp { get; } = hasLogSumExp;

    public override bool IsSerial => Batch * Op.Heads == 1 || base.IsSerial;

    public override long ScratchBytes(int lanes) => AttentionScratch.Forward(this, lanes) * 4;
}

/// <summary>The gradient of attention. Operands: q, k, v, output, log-sum-exp, output's cotangent; dq, dk, dv.</summary>
internal sealed class AttentionGradientKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, int batch, int queries, int keys, CacheSizes caches, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    // Rows that are a multiple of every register tile's.
    private const int WholeTiles = 24;

    // So many blocks of queries compute an eighth more than what causal attention needs.
    private const int CausalBlocks = 8;

    public Attention Op { get; } = op;

    public int Batch { get; } = batch;

    public int Queries { get; } = queries;

    public int Keys { get; } = keys;

    public override bool IsSerial => Batch * Op.KeyValueHeads == 1 || base.IsSerial;

    /// <summary>
    /// Query rows that share one pass over the keys. Every pass adds to all keys' cotangents, so there should be few; but a block of
    /// queries and its output's cotangents stay in the first-level cache, and causal attention computes half a block's square in vain.
    /// </summary>
    public int QueryBlock(int lanes)
    {
        int most = Math.Min(caches.L1 / (2 * 4 * AttentionScratch.PaddedHead(Op, lanes)), Op.Causal ? Queries / CausalBlocks : Queries + WholeTiles - 1);
        return Math.Max(1, most / WholeTiles) * WholeTiles;
    }

    public override long ScratchBytes(int lanes) => AttentionScratch.Backward(this, lanes) * 4;
}

/// <summary>Rows of a table by index. Operands: table, indices, output.</summary>
internal sealed class EmbeddingKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;
}

/// <summary>Adds rows into the rows of a table that indices name. Operands: indices, rows, table.</summary>
internal sealed class EmbeddingGradientKernel(string name, IReadOnlyList<KernelOperand> operands, int rows, int columns, int tableRows, StoreMode mode, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public int Rows { get; } = rows;

    public int Columns { get; } = columns;

    public int TableRows { get; } = tableRows;

    /// <summary>What becomes of the table's other rows: cleared (<see cref="StoreMode.Replace"/>), cleared unless the run accumulates, or kept.</summary>
    public StoreMode Mode { get; } = mode;
}

/// <summary>Indices [Rows, Columns] as [Columns, Rows]. Operands: input, output.</summary>
internal sealed class TransposeIndicesKernel(string name, IReadOnlyList<KernelOperand> operands, int outer, RowExtent inner, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    /// <summary>The batch: the input's outer extent.</summary>
    public int Outer { get; } = outer;

    /// <summary>The time steps: the input's inner extent.</summary>
    public RowExtent Inner { get; } = inner;
}

/// <summary>Runs its kernels once for every step, upwards or downwards; their views move by their step stride.</summary>
internal sealed class LoopKernel(string name, RowExtent steps, bool reverse, IReadOnlyList<Kernel> body)
    : Kernel(name, [], body.Sum(k => k.Flops) * steps.Maximum, body.Sum(k => k.Bytes) * steps.Maximum)
{
    public RowExtent Steps { get; } = steps;

    public bool Reverse { get; } = reverse;

    public IReadOnlyList<Kernel> Body { get; } = body;

    /// <summary>Rows of a step where the loop runs over blocks of rows, which sums over rows are added up over; 0 where it runs over time.</summary>
    public int BlockRows { get; init; }

    public override bool IsSerial => Body.All(k => k.IsSerial);

    public override long ScratchBytes(int lanes) => Body.Count == 0 ? 0 : Body.Max(k => k.ScratchBytes(lanes));
}

/// <summary>How the attention kernels divide a worker's scratch memory, in elements.</summary>
internal static class AttentionScratch
{
    /// <summary>The most rows of a register tile.</summary>
    private const int LargestTile = 12;

    /// <summary>Columns of a score row: the keys rounded up to whole register tiles, and a line more to spread rows over cache sets.</summary>
    public static int ScoreStride(int keys, int lanes) => RoundUp(keys, 2 * lanes) + 16;

    /// <summary>Transposed keys, padded values, and the scores of a tile of queries; the scores of all heads, where there is one query.</summary>
    public static long Forward(AttentionKernel kernel, int lanes)
    {
        long stride = ScoreStride(kernel.MaximumKeys, lanes);
        return kernel.Queries == RowExtent.Literal(1) ? stride * kernel.Op.Heads : (stride * (kernel.Op.HeadDim + PaddedHead(kernel.Op, lanes) + LargestTile)) + 64;
    }

    /// <summary>Transposed keys and values, padded keys, two blocks of scores, and a block of queries and output cotangents.</summary>
    public static long Backward(AttentionGradientKernel kernel, int lanes)
    {
        long stride = ScoreStride(kernel.Keys, lanes);
        long padded = PaddedHead(kernel.Op, lanes);
        long block = kernel.QueryBlock(lanes);
        return (stride * ((2 * kernel.Op.HeadDim) + padded + (2 * block))) + (2 * block * padded) + 64;
    }

    /// <summary>Elements of a head's row that is copied for the register tile.</summary>
    public static int PaddedHead(Attention attention, int lanes) => RoundUp(attention.HeadDim, 2 * lanes);

    public static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;
}

/// <summary>A finished plan before memory is planned: kernels in order, and what the outside needs to find.</summary>
internal sealed record KernelProgram(
    IReadOnlyList<Kernel> Kernels,
    IReadOnlyDictionary<string, View> Inputs,
    IReadOnlyDictionary<string, View> Outputs,
    IReadOnlyList<PlanBuffer> Buffers);
