using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Rounds rows to blocks of 8-bit numbers, once for all products with quantized weights that read them, of whatever formats. Operands: source, blocks.
/// </summary>
internal sealed class RoundKernel(string name, IReadOnlyList<KernelOperand> operands, RowExtent rows, int depth, long flops, long bytes)
    : Kernel(name, operands, flops, bytes)
{
    public RowExtent Rows { get; } = rows;

    public int Depth { get; } = depth;

    public override string Signature => $"{Rows}x{Depth}";
}
