using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Rounds rows to blocks of 8-bit numbers, once for all products with quantized weights that read them. Operands: source, blocks.
/// </summary>
internal sealed class RoundKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int depth, StorageFormat weights, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Depth { get; } = depth;

    /// <summary>The format of the weights, which says what is noted of each block.</summary>
    public StorageFormat Weights { get; } = weights;

    public override string Signature => $"{Rows}x{Depth} for {Weights}";
}
