using System;
using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>Attention, streamed. Operands: q, k, v, output and, where <c>HasLogSumExp</c>, the rows' log-sum-exp.</summary>
internal sealed class AttentionKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, int batch, RowExtent queries, int maximumKeys, bool hasLogSumExp, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public Attention Op { get; } = op;

    public int Batch { get; } = batch;

    /// <summary>Queries of one sequence.</summary>
    public RowExtent Queries { get; } = queries;

    /// <summary>Keys of one sequence; with a cache, the most there can be.</summary>
    public int MaximumKeys { get; } = maximumKeys;

    public bool HasLogSumExp { get; } = hasLogSumExp;

    public override bool IsSerial => Batch * Op.Heads == 1 || base.IsSerial;

    public override long ScratchBytes(int lanes) => AttentionScratch.Forward(this, lanes) * 4;
}

/// <summary>The gradient of attention. Operands: q, k, v, output, log-sum-exp, output's cotangent; dq, dk, dv.</summary>
internal sealed class AttentionGradientKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, int batch, int queries, int keys, CacheSizes caches, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    // Rows that are a multiple of every register tile's.
    private const int WholeTiles = 24;

    // So many blocks of queries compute an eighth more than what causal attention needs.
    private const int CausalBlocks = 8;

    public Attention Op { get; } = op;

    public int Batch { get; } = batch;

    public int Queries { get; } = queries;

    public int Keys { get; } = keys;

    public override bool IsSerial => Batch * Op.KeyValueHeads == 1 || base.IsSerial;

    /// <summary>
    /// Query rows that share one pass over the keys. Every pass adds to all keys' cotangents, so there should be few; but a block of
    /// queries and its output's cotangents stay in the first-level cache, and causal attention computes half a block's square in vain.
    /// </summary>
    public int QueryBlock(int lanes)
    {
        int most = Math.Min(caches.L1 / (2 * 4 * AttentionScratch.PaddedHead(Op, lanes)), Op.Causal ? Queries / CausalBlocks : Queries + WholeTiles - 1);
        return Math.Max(1, most / WholeTiles) * WholeTiles;
    }

    public override long ScratchBytes(int lanes) => AttentionScratch.Backward(this, lanes) * 4;
}

/// <summary>How the attention kernels divide a worker's scratch memory, in elements.</summary>
internal static class AttentionScratch
{
    /// <summary>The most rows of a register tile.</summary>
    private const int LargestTile = 12;

    /// <summary>Columns of a score row: the keys rounded up to whole register tiles, and a line more to spread rows over cache sets.</summary>
    public static int ScoreStride(int keys, int lanes) => RoundUp(keys, 2 * lanes) + 16;

    /// <summary>Transposed keys, padded values, and the scores of a tile of queries; the scores of all heads, where there is one query.</summary>
    public static long Forward(AttentionKernel kernel, int lanes)
    {
        long stride = ScoreStride(kernel.MaximumKeys, lanes);
        return kernel.Queries == RowExtent.Literal(1) ? stride * kernel.Op.Heads : (stride * (kernel.Op.HeadDim + PaddedHead(kernel.Op, lanes) + LargestTile)) + 64;
    }

    /// <summary>Transposed keys and values, padded keys, two blocks of scores, and a block of queries and output cotangents.</summary>
    public static long Backward(AttentionGradientKernel kernel, int lanes)
    {
        long stride = ScoreStride(kernel.Keys, lanes);
        long padded = PaddedHead(kernel.Op, lanes);
        long block = kernel.QueryBlock(lanes);
        return (stride * ((2 * kernel.Op.HeadDim) + padded + (2 * block))) + (2 * block * padded) + 64;
    }

    /// <summary>Elements of a head's row that is copied for the register tile.</summary>
    public static int PaddedHead(Attention attention, int lanes) => RoundUp(attention.HeadDim, 2 * lanes);

    public static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;
}
