using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Where an operand's first element lies. The address may move with the position in the sequence, with the last index of a named
/// extent (<c>LastExtent</c>, whose count the run brings along), and with the step of the loop around the kernel.
/// </summary>
internal sealed record View(PlanBuffer Buffer, long Offset, long PositionStride = 0, long LastStride = 0, string? LastExtent = null, long StepStride = 0);

/// <summary>How an operand varies over a kernel's rows and columns.</summary>
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

/// <summary>
/// How a kernel finds its element of an operand: from the operand's first element it is Σ <c>RowStrides</c>[i] · index[i] + <c>ColumnStride</c> · column
/// elements away, with an index for each of the kernel's axes. A stride of zero repeats what is there.
/// </summary>
/// <param name="Format">How the elements are stored.</param>
/// <param name="RowStrides">Elements from one index to the next of each of the kernel's row axes; of a matrix operand, whose rows follow each other evenly, one number.</param>
/// <param name="ColumnStride">Elements from one column to the next; zero where all columns read the same.</param>
internal sealed record Access(StorageFormat Format, EquatableArray<RowExtent> RowStrides, int ColumnStride)
{
    /// <summary>Rows of contiguous columns, <paramref name="rowStride"/> elements apart.</summary>
    public static Access Matrix(int rowStride, StorageFormat? format = null) => new(format ?? StorageFormat.Float32, [RowExtent.Literal(rowStride)], 1);

    /// <summary>What an element is where the kernel computes with it.</summary>
    public ElementType Element => Format.Element;

    public AccessKind Kind
        => RowStrides.Any(s => s.Coefficient != 0) ? (ColumnStride != 0 ? AccessKind.Element : AccessKind.RowScalar)
            : ColumnStride != 0 ? AccessKind.ColumnVector : AccessKind.Scalar;

    /// <summary>Whether rows follow each other evenly and their columns are contiguous.</summary>
    public bool IsMatrix => RowStrides.Count == 1 && !RowStrides[0].IsDynamic && ColumnStride == 1;

    /// <summary>Elements from one row to the next, where that is one literal number.</summary>
    /// <exception cref="GraphException">It is not.</exception>
    public int RowStride
        => RowStrides.Count == 1 && !RowStrides[0].IsDynamic ? RowStrides[0].Coefficient : throw new GraphException($"rows of strides {string.Join(", ", RowStrides)} do not follow each other evenly");
}

/// <summary>A pointer argument of a kernel.</summary>
internal sealed record KernelOperand(string Name, View View, Access Access, bool IsWritten);
