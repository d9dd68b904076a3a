using System.Collections.Generic;

using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Kernels;

/// <summary>A finished plan before memory is planned: kernels in order, and what the outside needs to find.</summary>
internal sealed record KernelProgram(
    IReadOnlyList<Kernel> Kernels,
    IReadOnlyDictionary<string, View> Inputs,
    IReadOnlyDictionary<string, View> Outputs,
    IReadOnlyList<PlanBuffer> Buffers,
    IReadOnlyList<Dim> Counts);
