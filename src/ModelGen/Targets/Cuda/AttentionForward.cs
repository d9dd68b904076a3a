using System;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>How a device attends in single precision.</summary>
/// <param name="Lanes">Lanes that have a head's columns between them; the other groups of a warp have other keys.</param>
/// <param name="Keys">Keys that such a group takes at a turn: what it reads of them is on its way together.</param>
/// <param name="Warps">Warps that have a query's head between them: one, or all of a block.</param>
internal sealed record AttentionForward(int Lanes, int Keys, int Warps)
{
    // A thread's registers hold the columns of keys and values that are on their way, beside its query's and its sums.
    private const int MostOnTheirWay = 64;

    // Up to so many heads of queries a block each leaves none of an H100's processors with two to do.
    private const int FewHeads = 132;

    /// <summary>The plan for a kernel.</summary>
    public static AttentionForward Of(AttentionKernel kernel)
    {
        int columns = kernel.Op.HeadDim, lanes = columns <= 128 ? 8 : columns <= 256 ? 16 : 32, ofLane = (columns + lanes - 1) / lanes;
        RowExtent rows = kernel.Batch * kernel.Queries;

        // A query for each sequence goes through the whole text.
        bool isSingle = kernel.Queries == RowExtent.Literal(1) || (!rows.IsDynamic && (long)rows.Maximum * kernel.Op.Heads <= FewHeads);
        return new AttentionForward(lanes, Math.Max(1, Math.Min(4, MostOnTheirWay / (2 * ofLane))), isSingle ? 8 : 1);
    }
}
