using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>A program for the processor: kernels in order, and how each of them is executed.</summary>
internal sealed class CpuProgram(KernelProgram program, IReadOnlyDictionary<Kernel, KernelPlan> plans) : IPlacedProgram
{
    /// <summary>The kernels, with those that the target added, and all buffers.</summary>
    public KernelProgram Program { get; } = program;

    /// <summary>Who runs what, where the workers meet, and how the whole is cut into methods.</summary>
    public CpuSchedule Schedule { get; } = CpuSchedule.Of(program.Kernels, kernel => plans[kernel]);

    /// <summary>What every worker needs for itself, in bytes, whatever the vector width.</summary>
    public long ScratchBytes => 4 * plans.Values.SelectMany(p => RegisterTile.Products.Select(t => p.Scratch(t.Lanes).Elements)).DefaultIfEmpty(0).Max();

    /// <summary>How a kernel is executed, be it one of a loop's.</summary>
    public KernelPlan PlanOf(Kernel kernel) => plans[kernel];

    /// <summary>Where a kernel's operands lie.</summary>
    public IReadOnlyList<KernelOperand> OperandsOf(Kernel kernel) => PlanOf(kernel).Operands(kernel);

    public PlanBuffer? WorkspaceOf(Kernel kernel) => PlanOf(kernel).Workspace;

    public bool RunsBesideEarlier(Kernel kernel) => Schedule.RunsBesideEarlier(kernel);
}
