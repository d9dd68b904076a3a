using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Writes rows into a table: row r to where the sequence of index r begins and, where there are positions, so many of its rows further on.
/// Operands: rows; the table, whose row stride is that from one sequence to the next; sequences, and positions where there are any.
/// </summary>
/// <param name="name">What the kernel computes.</param>
/// <param name="operands">The operands.</param>
/// <param name="rows">The rows that are written.</param>
/// <param name="columns">Elements of a row.</param>
/// <param name="sequences">The sequences in the table.</param>
/// <param name="positions">The positions of a sequence; 1 where there are none to choose from.</param>
/// <param name="positionStride">Elements from one position to the next.</param>
/// <param name="bytes">The bytes that it moves.</param>
internal sealed class ScatterKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int columns, int sequences, int positions, int positionStride, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Columns { get; } = columns;

    public int Sequences { get; } = sequences;

    public int Positions { get; } = positions;

    public int PositionStride { get; } = positionStride;

    public bool HasPositions => Operands.Count == 4;

    /// <summary>Whether positions go around: position p is row p modulo <see cref="Positions"/>.</summary>
    public bool IsRing { get; init; }

    /// <summary>The first positions, which stay in their rows while those behind go around.</summary>
    public int Kept { get; init; }
}
