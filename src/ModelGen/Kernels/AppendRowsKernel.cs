using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Writes rows [Batch, Rows, Columns] into states [Batch, StateRows, Columns], each sequence's at its own position or in a ring.
/// Operands: rows, state; positions and lengths of each sequence, where there are any.
/// </summary>
internal sealed class AppendRowsKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent batch, RowExtent rows, int stateRows, int columns, bool isRing, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Batch { get; } = batch;

    public RowExtent Rows { get; } = rows;

    public int StateRows { get; } = stateRows;

    public int Columns { get; } = columns;

    /// <summary>Whether position p lies in row p modulo <see cref="StateRows"/>; otherwise, rows beyond the last are not written.</summary>
    public bool IsRing { get; } = isRing;

    /// <summary>Of a ring, the first positions, which stay in their rows while those behind go around.</summary>
    public int Kept { get; init; }

    public bool Has(string operand)
    {
        foreach (KernelOperand o in Operands)
        {
            if (o.Name == operand)
            {
                return true;
            }
        }

        return false;
    }
}
