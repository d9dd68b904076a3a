using System.Collections.Generic;

namespace ModelGen.Compiler.Kernels;

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
