using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>An entry of a module, and how it is launched.</summary>
/// <param name="Stem">What its name begins with.</param>
/// <param name="Comment">What it computes.</param>
/// <param name="Writer">Its instructions.</param>
/// <param name="Blocks">Blocks of threads, for the largest counts.</param>
/// <param name="Threads">Threads of a block.</param>
internal sealed record PtxEntry(string Stem, string Comment, PtxWriter Writer, (int X, int Y) Blocks, int Threads);

/// <summary>The entries that a kernel is made of, which run one after the other.</summary>
internal static class PtxEmitter
{
    /// <summary>Threads of a block where each has an element of its own.</summary>
    public const int Threads = 256;

    /// <summary>The entries of a kernel.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="plan">What the device does for it where there is a choice.</param>
    /// <param name="counts">The extents that a run counts.</param>
    public static IReadOnlyList<PtxEntry> Emit(Kernel kernel, CudaKernelPlan? plan, IReadOnlyList<Dim> counts) => kernel switch
    {
        RowKernel k => [PtxRows.Emit(k, counts)],
        ColumnSumKernel k => [PtxColumnSum.Emit(k, counts)],
        MatMulKernel k => [PtxMatMul.Emit(k, (CudaProductPlan)plan!, counts)],
        EmbeddingKernel k => [PtxGathers.Emit(k, counts)],
        EmbeddingGradientKernel k => [.. PtxGathers.Emit(k, counts)],
        ScatterKernel k => [PtxGathers.Emit(k, counts)],
        AppendRowsKernel k => [PtxGathers.Emit(k, counts)],
        TransposeIndicesKernel k => [PtxGathers.Emit(k, counts)],
        ChooseKernel k => [PtxExperts.Emit(k, counts)],
        SortKernel k => [PtxExperts.Emit(k, counts)],
        ExpertProductKernel k => [PtxExperts.Emit(k, counts)],
        ExpertGradientKernel k => [PtxExperts.Emit(k, counts)],
        AttentionKernel k => [PtxAttention.Emit(k, plan as TensorAttention, counts)],
        AttentionWeightsKernel k => [PtxAttention.Emit(k, counts)],
        AttentionGradientKernel k => [.. PtxAttention.Emit(k, plan as TensorAttention, counts)],
        RecurrenceKernel k => [PtxRecurrence.Emit(k, counts)],
        _ => throw new GraphException($"{kernel.GetType().Name} has no entry for a device"),
    };

    /// <summary>
    /// The largest distance, in elements from an operand's first one, that entries count in 32 bits. Rows that an index names, those of a table and
    /// the states of sequences, are found in 64 (<see cref="PtxKernel.Far"/>), and what is counted from there on is the distance within one.
    /// </summary>
    public static long Reach(Kernel kernel, int operand)
        => Footprint.Of(kernel, operand).Steps.Skip((kernel, operand) switch
        {
            (AttentionKernel { Caches: > 0 }, 1 or 2) or (AttentionWeightsKernel { Caches: > 0 }, 1) or (EmbeddingKernel, 0) or (ScatterKernel, 1) => 1,
            _ => 0,
        }).Sum(step => (long)step.Stride.Maximum * (step.Count.Maximum - 1));

    /// <summary>Blocks of so many threads for some elements.</summary>
    public static (int X, int Y) BlocksFor(long elements, int threads = Threads) => (checked((int)Math.Max(1, (elements + threads - 1) / threads)), 1);

    public static string Text(RowExtent rows) => rows.IsDynamic ? "N" : PtxWriter.Int(rows.Coefficient);
}
