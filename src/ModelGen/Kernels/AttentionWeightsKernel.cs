using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>The weights of attention [Batch, heads, Queries, Columns]. Operands: q, k, log-sum-exp, weights, what the range asks for, the table of a learned bias.</summary>
internal sealed class AttentionWeightsKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, RowExtent batch, RowExtent queries, RowExtent keys, int columns, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public Attention Op { get; } = op;

    /// <summary>Sequences.</summary>
    public RowExtent Batch { get; } = batch;

    /// <summary>Queries of one sequence.</summary>
    public RowExtent Queries { get; } = queries;

    /// <summary>Keys of one sequence; of a cache, filled or not.</summary>
    public RowExtent Keys { get; } = keys;

    /// <summary>The most keys of one sequence.</summary>
    public int MaximumKeys => Keys.Maximum;

    /// <summary>The number of sequences that there are keys of, where an input names those of the batch; otherwise 0.</summary>
    public int Caches { get; init; }

    /// <summary>Elements from the keys of one of those sequences to the next one's.</summary>
    public int CacheStride { get; init; }

    /// <summary>Weights of a query: for as many keys as there can be.</summary>
    public int Columns { get; } = columns;
}
