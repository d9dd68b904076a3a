using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Attention, streamed. Operands: q, k, v, output and, where <c>HasLogSumExp</c>, the rows' log-sum-exp; then what the key range asks for,
/// under the names that it gives; then the table of a learned bias.
/// </summary>
internal sealed class AttentionKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, RowExtent batch, RowExtent queries, RowExtent keys, bool hasLogSumExp, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    /// <summary>
    /// The name of an operand that a target may add: a single query's own key, which is read there and not in the cache, whose row of the query's position may be written meanwhile. The operand behind it
    /// (<see cref="NewestValues"/>) is the value.
    /// </summary>
    public const string NewestKeys = "newestKeys";

    /// <inheritdoc cref="NewestKeys"/>
    public const string NewestValues = "newestValues";

    public Attention Op { get; } = op;

    public KeyRange Range => Op.Range;

    /// <summary>Whether the newest key and value are operands.</summary>
    public bool HasNewest
    {
        get
        {
            foreach (KernelOperand operand in Operands)
            {
                if (operand.Name == NewestKeys)
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>Sequences.</summary>
    public RowExtent Batch { get; } = batch;

    /// <summary>Queries of one sequence.</summary>
    public RowExtent Queries { get; } = queries;

    /// <summary>Rows of one sequence's keys; of a cache, which are a literal number, filled or not.</summary>
    public RowExtent Keys { get; } = keys;

    /// <summary>The most rows of one sequence's keys.</summary>
    public int MaximumKeys => Keys.Maximum;

    public bool HasLogSumExp { get; } = hasLogSumExp;

    /// <summary>The caches of which an index names each sequence's; 0 where they are the sequences' own, one after the other.</summary>
    public int Caches { get; init; }

    /// <summary>Elements from one of those caches to the next.</summary>
    public int CacheStride { get; init; }
}

/// <summary>The gradient of attention. Operands: q, k, v, output, log-sum-exp, output's cotangent; dq, dk, dv; what the key range asks for; the table of a learned bias and, for each sequence, its cotangent.</summary>
internal sealed class AttentionGradientKernel(string name, IReadOnlyList<KernelOperand> operands, Attention op, int batch, int queries, int keys, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public Attention Op { get; } = op;

    public KeyRange Range => Op.Range;

    public int Batch { get; } = batch;

    public int Queries { get; } = queries;

    public int Keys { get; } = keys;
}
