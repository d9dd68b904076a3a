using System;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Attention on tensor cores, in bfloat16 with sums in single precision: a block of threads has 64 queries of a head, 16 for each warp, and goes through the keys
/// 32 at a time; in the gradient of keys and values it has 64 keys and goes through the queries.
/// </summary>
/// <param name="HeadWidth">The columns of a head in shared memory: a power of two.</param>
/// <param name="Vector">Elements that one access moves.</param>
internal sealed record TensorAttention(int HeadWidth, int Vector) : CudaKernelPlan
{
    /// <summary>The rows that a block has.</summary>
    public const int Rows = 64;

    /// <summary>The rows that it meets at a time.</summary>
    public const int Met = 32;

    /// <summary>Threads of a block: a warp for 16 rows.</summary>
    public const int Threads = 2 * Rows;

    // Rows of which less than this would leave most of a warp's tile empty.
    private const int FewestQueries = 16;

    // Of a head's columns: so many fill the 48 KB of shared memory, and in the gradient, whose threads hold two factors and two sums, the registers.
    private const int WidestForward = 128;
    private const int WidestGradient = 64;

    /// <summary>The plan for a kernel; null where tensor cores have none: it is no attention, numbers are not to be rounded that far, heads are too wide, queries too few, or keys lie in a ring, in other sequences' caches or rounded.</summary>
    public static TensorAttention? Of(Kernel kernel, CudaPrecision precision) => (precision, kernel) switch
    {
        (CudaPrecision.BF16, AttentionKernel { Caches: 0, Range.IsRing: false } k) when k.Queries.Maximum >= FewestQueries && k.Operands[1].Access.Format.IsPlain => Of(k, k.Op, WidestForward, [0, 1, 2]),
        (CudaPrecision.BF16, AttentionGradientKernel k) when k.Queries >= FewestQueries => Of(k, k.Op, WidestGradient, [0, 1, 2, 5]),
        _ => null,
    };

    /// <summary>Blocks of threads for some rows of each head of each sequence, at the most.</summary>
    public (int X, int Y) BlocksOf(RowExtent rows, RowExtent batch, int heads) => (checked((rows.Maximum + Rows - 1) / Rows * batch.Maximum * heads), 1);

    private static TensorAttention? Of(Kernel kernel, Attention op, int widest, int[] factors)
    {
        int width = 16;
        while (width < op.HeadDim)
        {
            width *= 2;
        }

        long[] places = [op.HeadDim, .. factors.Select(i => kernel.Operands[i]).SelectMany(o => new[] { o.Access.RowStride, o.View.Offset, o.View.PositionStride, o.View.LastStride, o.View.StepStride })];
        return width <= widest ? new TensorAttention(width, Array.TrueForAll(places, p => p % 4 == 0) ? 4 : Array.TrueForAll(places, p => p % 2 == 0) ? 2 : 1) : null;
    }
}
