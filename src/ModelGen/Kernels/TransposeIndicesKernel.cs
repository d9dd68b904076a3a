using System.Collections.Generic;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>Indices [Rows, Columns] as [Columns, Rows]. Operands: input, output.</summary>
internal sealed class TransposeIndicesKernel(string name, IReadOnlyList<KernelOperand> operands, int outer, RowExtent inner, long bytes)
    : Kernel(name, operands, 0, bytes)
{
    /// <summary>The batch: the input's outer extent.</summary>
    public int Outer { get; } = outer;

    /// <summary>The time steps: the input's inner extent.</summary>
    public RowExtent Inner { get; } = inner;
}
