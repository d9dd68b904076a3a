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
    long flops,
    long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public MatMulForm Form { get; } = form;

    public RowExtent Rows { get; } = rows;

    /// <summary>The extents whose product the rows are, over which the operands of the epilogue have their strides.</summary>
    public EquatableArray<RowExtent> Axes { get; init; } = [rows];

    /// <summary>Whether each row is summed in the order in which it would be as the only one.</summary>
    public bool RowByRow { get; init; }

    public int Columns { get; } = columns;

    public int Depth { get; } = depth;

    public IReadOnlyList<Store> Stores { get; } = stores;

    public override bool SumsOverRows => Form == MatMulForm.TN;

    /// <summary>The same product with other stores.</summary>
    public MatMulKernel With(IReadOnlyList<Store> stores)
        => new(Name, Operands, Form, Rows, Columns, Depth, stores, Flops, Bytes) { Axes = Axes, RowByRow = RowByRow, Derivation = Derivation };

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
