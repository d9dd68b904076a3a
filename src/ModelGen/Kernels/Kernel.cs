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

    public IReadOnlyList<KernelOperand> Operands { get; } = operands;

    public long Flops { get; } = flops;

    public long Bytes { get; } = bytes;

    /// <summary>
    /// Whether one worker runs it alone: below some thousand operations, meeting at a barrier costs more than it gains.
    /// </summary>
    public virtual bool IsSerial => Flops < 8192 && Bytes < 32768;

    /// <summary>
    /// Whether workers that are through with their share may take from those of others: processors are seldom all as fast, but to look
    /// for more takes a while.
    /// </summary>
    public bool IsHelped => !IsSerial && (Flops >= 1 << 22 || Bytes >= 1 << 20);

    /// <summary>Whether what it stores is a sum over the rows of its operands, so that blocks of rows add up.</summary>
    public virtual bool SumsOverRows => false;

    /// <summary>Pairs of a read and a written operand that may share memory: each element is read for the last time before it is written.</summary>
    public virtual IEnumerable<(int Read, int Written)> InPlaceCandidates => [];

    /// <summary>Memory every worker needs for itself while the kernel runs, in bytes, at vectors of <paramref name="lanes"/> elements.</summary>
    public virtual long ScratchBytes(int lanes) => 0;
}
