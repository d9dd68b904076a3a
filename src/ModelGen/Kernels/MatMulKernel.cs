using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

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

    /// <summary>The extents whose product the rows are, over which the operands of the epilogue have their strides.</summary>
    public EquatableArray<RowExtent> Axes { get; init; } = [rows];

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
        => new(Name, operands, Form, Rows, Columns, Depth, Stores, Caches, Flops, Bytes) { Axes = Axes, IsRightPacked = isRightPacked };

    /// <summary>The same product with other stores.</summary>
    public MatMulKernel With(IReadOnlyList<Store> stores)
        => new(Name, Operands, Form, Rows, Columns, Depth, stores, Caches, Flops, Bytes) { Axes = Axes, IsRightPacked = IsRightPacked, Workspace = Workspace };

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
