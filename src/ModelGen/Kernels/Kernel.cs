using System.Collections.Generic;
using System.Linq;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// The lower representation: a loop nest of a closed set of classes, with literal extents and strides, and with scalar
/// expressions for whatever was fused into it. Backends implement the classes; they know no operator and no family.
/// </summary>
internal abstract class Kernel(string name, IReadOnlyList<KernelOperand> operands, long flops, long bytes)
{
    /// <summary>What the kernel computes, in the declaration's names.</summary>
    public string Name { get; } = name;

    /// <summary>What the kernel computes in the declaration's operations: what readers know it by.</summary>
    public Derivation Derivation { get; set; } = Derivation.None;

    public IReadOnlyList<KernelOperand> Operands { get; private set; } = operands;

    public long Flops { get; } = flops;

    public long Bytes { get; } = bytes;

    /// <summary>The kernel itself; of a loop those that it runs, of loops inside of it too.</summary>
    public virtual IEnumerable<Kernel> Leaves => [this];

    /// <summary>The same kernel with operands that lie elsewhere, or are stored otherwise.</summary>
    public Kernel WithOperands(IReadOnlyList<KernelOperand> operands)
    {
        var copy = (Kernel)MemberwiseClone();
        copy.Operands = operands;
        return copy;
    }

    /// <summary>What tells apart kernels of a class that only a target knows.</summary>
    public virtual string? Signature => null;

    /// <summary>Whether what it stores is a sum over the rows of its operands, so that blocks of rows add up.</summary>
    public virtual bool SumsOverRows => false;

    /// <summary>Pairs of a read and a written operand that may share memory: each element is read for the last time before it is written.</summary>
    public virtual IEnumerable<(int Read, int Written)> InPlaceCandidates => [];
}
