using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

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

/// <summary>A finished plan before memory is planned: kernels in order, and what the outside needs to find.</summary>
internal sealed record KernelProgram(
    IReadOnlyList<Kernel> Kernels,
    IReadOnlyDictionary<string, View> Inputs,
    IReadOnlyDictionary<string, View> Outputs,
    IReadOnlyList<PlanBuffer> Buffers);
