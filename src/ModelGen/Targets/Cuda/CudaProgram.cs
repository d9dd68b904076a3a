using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>One thing that a device does.</summary>
internal abstract record CudaStep;

/// <summary>An entry is launched with the addresses of a kernel's operands.</summary>
/// <param name="Kernel">The kernel, or a part of it.</param>
/// <param name="Entry">The entry's name.</param>
/// <param name="Parameters">What the entry is given, by name and in order: <c>run</c>, <c>step</c>, and <c>p0</c>, <c>p1</c>, … for operands.</param>
/// <param name="Blocks">Blocks of threads.</param>
/// <param name="Threads">Threads of a block.</param>
internal sealed record CudaLaunch(Kernel Kernel, string Entry, IReadOnlyList<string> Parameters, (int X, int Y) Blocks, int Threads) : CudaStep;

/// <summary>Steps for each step of a loop, whose number every launch gets.</summary>
internal sealed record CudaLoop(LoopKernel Loop, IReadOnlyList<CudaStep> Body) : CudaStep;

/// <summary>Kernels, and what is launched for them, one step after the other.</summary>
/// <param name="Program">The kernels and their buffers.</param>
/// <param name="Steps">The steps.</param>
internal sealed record CudaProgram(KernelProgram Program, IReadOnlyList<CudaStep> Steps) : IPlacedProgram
{
    /// <summary>All launches, those of loops once.</summary>
    public IEnumerable<CudaLaunch> Launches => LaunchesOf(Steps);

    /// <summary>Whether every run launches the same: no loop has as many steps as a run has of something.</summary>
    public bool IsFixed => !Steps.OfType<CudaLoop>().Any(loop => loop.Loop.Steps.IsDynamic);

    public IReadOnlyList<KernelOperand> OperandsOf(Kernel kernel) => kernel.Operands;

    public PlanBuffer? WorkspaceOf(Kernel kernel) => null;

    private static IEnumerable<CudaLaunch> LaunchesOf(IEnumerable<CudaStep> steps)
        => steps.SelectMany(step => step is CudaLoop loop ? LaunchesOf(loop.Body) : [(CudaLaunch)step]);
}
