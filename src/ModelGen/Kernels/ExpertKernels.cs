using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Sends each row to the experts that score highest. Operands: scores; of each row's choices, best first, row · experts + expert; the mask, 1 where a row is sent.
/// </summary>
internal sealed class ChooseKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int experts, int chosen, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Experts { get; } = experts;

    public int Chosen { get; } = chosen;
}

/// <summary>
/// Sorts what rows are sent to by experts, by counting: work that is linear in what is sent. Operands: choices; the rows and the experts of what is sent; of each choice, where it was sent.
/// </summary>
internal sealed class SortKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int experts, int chosen, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Experts { get; } = experts;

    public int Chosen { get; } = chosen;
}

/// <summary>
/// Products of rows, each with the matrix that its index names: of a row's dot products with the matrix's rows, or, transposed, with its columns. Operands: input, weights, whose matrices follow each other, indices, output.
/// </summary>
internal sealed class ExpertProductKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int matrices, int columns, int depth, bool isTransposed, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Matrices { get; } = matrices;

    public int Columns { get; } = columns;

    public int Depth { get; } = depth;

    public bool IsTransposed { get; } = isTransposed;

    /// <summary>Rows of a matrix.</summary>
    public int MatrixRows => IsTransposed ? Depth : Columns;

    /// <summary>Columns of a matrix.</summary>
    public int MatrixColumns => IsTransposed ? Columns : Depth;
}

/// <summary>The sums of the outer products of rows, each in the matrix that its index names. Operands: left rows, right rows, indices, matrices.</summary>
internal sealed class ExpertGradientKernel(string name, IReadOnlyList<KernelOperand> operands, int rows, int matrices, int matrixRows, int matrixColumns, StoreMode mode, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public int Rows { get; } = rows;

    public int Matrices { get; } = matrices;

    public int MatrixRows { get; } = matrixRows;

    public int MatrixColumns { get; } = matrixColumns;

    /// <summary>How the sums meet what is there.</summary>
    public StoreMode Mode { get; } = mode;
}
