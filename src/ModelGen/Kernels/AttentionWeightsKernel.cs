using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>The weights of attention [Batch, heads, Queries, Columns]. Operands: q, k, log-sum-exp, weights; the table of a learned bias.</summary>
internal sealed class AttentionWeightsKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, RowExtent batch, RowExtent queries, int keys, int columns, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public Attention Op { get; } = op;

    /// <summary>Sequences.</summary>
    public RowExtent Batch { get; } = batch;

    /// <summary>Queries of one sequence.</summary>
    public RowExtent Queries { get; } = queries;

    /// <summary>Keys of one sequence; of a cache, filled or not.</summary>
    public int Keys { get; } = keys;

    /// <summary>Weights of a query: for as many keys as there can be.</summary>
    public int Columns { get; } = columns;
}
