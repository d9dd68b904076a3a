using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>Rows of a table by index. Operands: table, indices, output.</summary>
internal sealed class EmbeddingKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;
}

/// <summary>Adds rows into the rows of a table that indices name. Operands: indices, rows, table.</summary>
internal sealed class EmbeddingGradientKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns, int tableRows, StoreMode mode, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;

    public int TableRows { get; } = tableRows;

    /// <summary>What becomes of the table's other rows: cleared (<see cref="StoreMode.Replace"/>), cleared unless the run accumulates, or kept.</summary>
    public StoreMode Mode { get; } = mode;
}
