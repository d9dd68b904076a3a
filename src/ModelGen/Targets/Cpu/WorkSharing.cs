using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>Whether workers divide a kernel's work.</summary>
internal static class WorkSharing
{
    /// <summary>
    /// Whether one worker runs it alone: below some thousand operations, meeting at a barrier costs more than it gains, and one head of
    /// one sequence is not divided, nor is a single row.
    /// </summary>
    public static bool IsSerial(this Kernel kernel) => kernel switch
    {
        LoopKernel k => k.Body.All(IsSerial),
        RowKernel k when k.Rows == RowExtent.Literal(1) => true,
        RoundKernel k when k.Rows == RowExtent.Literal(1) => true,
        SortKernel => true,
        EmbeddingKernel k when k.Rows == RowExtent.Literal(1) => true,
        AttentionKernel k when k.Batch.Maximum * k.Op.Heads == 1 && k.Range.Pattern is null => true,
        AttentionGradientKernel k when k.Batch * k.Op.KeyValueHeads == 1 => true,
        RecurrenceKernel k when k.Batch.Maximum * k.Sizes.Heads == 1 => true,
        _ => kernel.Flops < 8192 && kernel.Bytes < 32768,
    };

    /// <summary>
    /// Whether workers that are through with their share may take from those of others: processors are seldom all as fast, but to look
    /// for more takes a while.
    /// </summary>
    public static bool IsHelped(this Kernel kernel) => !kernel.IsSerial() && (kernel.Flops >= 1 << 22 || kernel.Bytes >= 1 << 20);
}
