using System.Collections.Generic;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Packs the right operand of matrix products into panels, once for all of those in a loop. Operands: source, packed.
/// </summary>
internal sealed class PackKernel(string name, IReadOnlyList<KernelOperand> operands, MatMulForm form, int columns, int depth, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    public MatMulForm Form { get; } = form;

    public int Columns { get; } = columns;

    public int Depth { get; } = depth;

    public override string Signature => $"{Form} {Depth}x{Columns}";
}
