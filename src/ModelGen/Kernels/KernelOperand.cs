using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

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
