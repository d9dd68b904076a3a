using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets;

/// <summary>A program of some machine, as its memory is planned: which buffers each kernel touches there.</summary>
internal interface IPlacedProgram
{
    /// <summary>The kernels, with those that the target added, and all buffers.</summary>
    KernelProgram Program { get; }

    /// <summary>Where a kernel's operands lie.</summary>
    IReadOnlyList<KernelOperand> OperandsOf(Kernel kernel);

    /// <summary>Memory of the arena that a kernel needs for itself; null for none.</summary>
    PlanBuffer? WorkspaceOf(Kernel kernel);

    /// <summary>Whether a kernel may run while the one before it does, so that what either touches is in use all that time.</summary>
    bool RunsBesideEarlier(Kernel kernel);
}

internal static class PlacedProgramExtensions
{
    /// <summary>The buffers that a kernel, which is no loop, touches.</summary>
    public static IEnumerable<PlanBuffer> BuffersOf(this IPlacedProgram program, Kernel kernel)
    {
        IEnumerable<PlanBuffer> own = program.OperandsOf(kernel).Select(o => o.View.Buffer);
        return (program.WorkspaceOf(kernel) is { } workspace ? own.Append(workspace) : own).Distinct();
    }
}
