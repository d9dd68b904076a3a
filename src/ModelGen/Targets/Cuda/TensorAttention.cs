using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Attention on tensor cores, in bfloat16 with sums in single precision: a block of threads has some queries of a head, a warp 16 or 32 of them, and goes through the keys
/// 32 at a time; in the gradient of keys and values it has keys and goes through the queries.
/// </summary>
/// <param name="HeadWidth">The columns of a head in shared memory: a power of two.</param>
/// <param name="Groups">How many times 16 rows a warp has: what it reads of the rows that the block meets serves all of them.</param>
internal sealed record TensorAttention(int HeadWidth, int Groups = 1) : CudaKernelPlan
{
    /// <summary>The rows that a block meets at a time: one for each lane.</summary>
    public const int Met = 32;

    /// <summary>Threads of a block.</summary>
    public const int Threads = 128;

    /// <summary>The operand of a gradient, beside its own, in which the kernel of queries leaves each row's mean for that of keys and values.</summary>
    public const string Means = "means";

    // Rows of which less than this would leave most of a warp's tile empty.
    private const int FewestQueries = 16;

    // Of a head's columns so many fill the 48 KB of shared memory.
    private const int Widest = 128;

    // In the gradient of keys and values threads hold two factors and two sums, which fill the registers: with wider heads each of both is a kernel of its own.
    private const int WidestOfBothSums = 64;

    // With 32 rows a warp holds twice as many sums, which fit the registers up to this width.
    private const int WidestOfTwo = 64;

    // The multiprocessors of an H100: fewer blocks would leave some without one.
    private const int Multiprocessors = 132;

    /// <summary>Whether one kernel has the cotangents of keys and of values.</summary>
    public bool HasBothSums => HeadWidth <= WidestOfBothSums;

    /// <summary>The rows that a block has.</summary>
    public int Rows => 16 * Groups * (Threads / 32);

    /// <summary>The plan for a kernel; null where tensor cores have none: it is no attention, numbers are not to be rounded that far, heads are too wide, or queries too few.</summary>
    public static TensorAttention? Of(Kernel kernel, CudaPrecision precision)
    {
        switch (precision, kernel)
        {
            case (CudaPrecision.BF16, AttentionKernel k) when k.Queries.Maximum >= FewestQueries && WidthOf(k.Op) is var width && width <= Widest && k.Operands.Take(3).All(o => IsRead(o, k.Op.HeadDim)):
                var two = new TensorAttention(width, Groups: 2);
                return width <= WidestOfTwo && two.BlocksOf(k.Queries, k.Batch, k.Op.Heads).X >= Multiprocessors && k.Queries.Maximum > two.Rows / 2 ? two : new TensorAttention(width);
            case (CudaPrecision.BF16, AttentionGradientKernel k) when k.Queries >= FewestQueries && WidthOf(k.Op) is var width && width <= Widest:
                return new TensorAttention(width);
            default:
                return null;
        }
    }

    /// <summary>Blocks of threads for some rows of each head of each sequence, at the most.</summary>
    public (int X, int Y) BlocksOf(RowExtent rows, RowExtent batch, int heads) => (checked((rows.Maximum + Rows - 1) / Rows * batch.Maximum * heads), 1);

    /// <summary>Whether an operand of a kernel on tensor cores is rounded where it is read, so that it may as well be stored so: its accesses begin at whole words then. The gradient of a learned bias reads them otherwise.</summary>
    public static bool Rounds(Kernel kernel, int operand) => kernel switch
    {
        AttentionKernel k => operand < 3 && IsEven(k.Operands[operand], k.Op.HeadDim),
        AttentionGradientKernel { Op.HasTable: false } k => operand is < 4 or 5 && IsEven(k.Operands[operand], k.Op.HeadDim),
        _ => false,
    };

    /// <summary>Elements of a row that a thread moves: in bfloat16 16 bytes, otherwise what becomes 8.</summary>
    public static int PieceOf(StorageFormat format) => format == StorageFormat.BFloat16 ? 8 : 4;

    /// <summary>Elements that one access moves.</summary>
    public static int VectorOf(KernelOperand operand, int headDim)
    {
        int vector = PieceOf(operand.Access.Format);
        while (Places(operand, headDim).Any(place => place % vector != 0))
        {
            vector /= 2;
        }

        return vector;
    }

    private static bool IsRead(KernelOperand operand, int headDim)
        => operand.Access.Format is var format && (format.IsPlain || format == StorageFormat.Float16 || (format == StorageFormat.BFloat16 && IsEven(operand, headDim)) || (!format.IsInGroups && format.BlockElements > 1 && headDim % PieceOf(format) == 0));

    private static bool IsEven(KernelOperand operand, int headDim) => Places(operand, headDim).All(place => place % 2 == 0);

    private static IEnumerable<long> Places(KernelOperand operand, int headDim)
        => [headDim, operand.Access.RowStride, operand.View.Offset, operand.View.PositionStride, operand.View.LastStride, operand.View.StepStride];

    private static int WidthOf(Attention op)
    {
        int width = 16;
        while (width < op.HeadDim)
        {
            width *= 2;
        }

        return width;
    }
}
