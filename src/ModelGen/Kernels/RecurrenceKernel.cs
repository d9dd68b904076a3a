using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// A linear recurrence of matrices, one for each head, some steps at a time. Operands: queries and keys, rows of [Batch, Steps, Groups]; values, rows of [Batch, Steps, Heads]; logarithms of decays and, where errors are corrected, strengths, a number for
/// each of those; what is read, rows as the values'; and, where they are carried on, the states, Batch · Heads matrices of KeyWidth × ValueWidth, which are read and written.
/// </summary>
internal sealed class RecurrenceKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent batch, RowExtent steps, RecurrenceSizes sizes, bool isCorrected, bool hasState, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    /// <summary>The operand that the strengths are, where there are any.</summary>
    public const int Strengths = 4;

    /// <summary>Sequences.</summary>
    public RowExtent Batch { get; } = batch;

    /// <summary>Steps of one sequence.</summary>
    public RowExtent Steps { get; } = steps;

    public RecurrenceSizes Sizes { get; } = sizes;

    /// <summary>Whether there are strengths, with which errors are corrected.</summary>
    public bool IsCorrected { get; } = isCorrected;

    /// <summary>Whether states are carried on from one run to the next; otherwise they begin at zero.</summary>
    public bool HasState { get; } = hasState;

    /// <summary>The operand that is read from the states.</summary>
    public int Output => IsCorrected ? 5 : 4;

    /// <summary>The number of rows of an operand at each step, and their columns.</summary>
    public (int Rows, int Columns) RowsOf(int operand)
        => operand < 2 ? (Sizes.Groups, Sizes.KeyWidth) : operand == 2 || operand == Output ? (Sizes.Heads, Sizes.ValueWidth) : (Sizes.Heads, 1);
}

/// <summary>The sizes of a linear recurrence of matrices.</summary>
/// <param name="Groups">Heads of keys and queries, each of which serves consecutive heads.</param>
/// <param name="Heads">Heads, each of which has a matrix.</param>
/// <param name="KeyWidth">Rows of a matrix.</param>
/// <param name="ValueWidth">Columns of a matrix.</param>
/// <param name="Chunk">The steps that are taken at once.</param>
internal sealed record RecurrenceSizes(int Groups, int Heads, int KeyWidth, int ValueWidth, int Chunk);
