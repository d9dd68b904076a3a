using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Sums over rows, several at once: out[kept, column] = Σ over the summed axes of the element's value. Operands have a stride for each of
/// the kept axes and then for each of the summed ones.
/// </summary>
/// <param name="kept">Row extents that the result has, outermost first.</param>
/// <param name="summed">Row extents that are summed over, outermost first, in whose order the sum runs.</param>
/// <param name="rowNumber">How the number of a row in the summed matrix grows with each axis, which is what dropout's numbers depend on.</param>
internal sealed class ColumnSumKernel(
    string name,
    IReadOnlyList<KernelOperand> operands,
    EquatableArray<RowExtent> kept,
    EquatableArray<RowExtent> summed,
    EquatableArray<RowExtent> rowNumber,
    int columns,
    IReadOnlyList<Store> sums,
    long flops,
    long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public EquatableArray<RowExtent> Kept { get; } = kept;

    public EquatableArray<RowExtent> Summed { get; } = summed;

    public EquatableArray<RowExtent> RowNumber { get; } = rowNumber;

    /// <summary>Rows of the result.</summary>
    public RowExtent KeptRows { get; } = RowExtent.Product(kept);

    /// <summary>Rows that each row of the result is the sum of.</summary>
    public RowExtent SummedRows { get; } = RowExtent.Product(summed);

    public int Columns { get; } = columns;

    public IReadOnlyList<Store> Sums { get; } = sums;

    public override bool SumsOverRows => true;

    /// <summary>The same sums with other stores.</summary>
    public ColumnSumKernel With(IReadOnlyList<Store> sums) => new(Name, Operands, Kept, Summed, RowNumber, Columns, sums, Flops, Bytes) { Derivation = Derivation };
}
