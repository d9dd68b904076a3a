using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Architectures;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler;

/// <summary>One execution plan with its memory planned.</summary>
internal sealed record CompiledPlan(string Name, CpuProgram Cpu, long ArenaElements)
{
    public KernelProgram Program => Cpu.Program;

    public long InputOffset(string name) => Program.Inputs[name].Buffer.Offset;

    public View Output(string name) => Program.Outputs[name];

    public long OutputOffset(string name) => Program.Outputs[name].Buffer.Offset + Program.Outputs[name].Offset;

    public long Flops => Program.Kernels.Sum(k => k.Flops);

    /// <summary>What every worker needs for itself, in bytes, whatever the vector width.</summary>
    public long ScratchBytes => Cpu.ScratchBytes;
}

/// <summary>Everything that the emitters print of a model.</summary>
internal sealed record CompiledPlans(
    ModelSpec Spec,
    ModelSurface Surface,
    ModelLayout Layout,
    IReadOnlyList<CompiledPlan> Inference,
    IReadOnlyList<CompiledPlan> Training,
    long InferenceStateElements,
    long TrainingStateElements,
    int InputSize,
    int OutputSize,
    int InputClasses,
    int TargetClasses,
    int TargetSize,
    int ContextLength,
    int Chunk,
    long StateBytesPerToken)
{
    public long InferenceArenaBytes => 4 * Inference.Max(p => p.ArenaElements);

    public long TrainingArenaBytes => Training.Count == 0 ? 0 : 4 * Training.Max(p => p.ArenaElements);

    /// <summary>Weights, gradients, AdamW's two slots, the arena, and the carried states of training and of evaluation.</summary>
    public long AdamWTrainingBytes => Training.Count == 0 ? 0 : (4 * WeightBytes) + TrainingArenaBytes + (2 * 4 * TrainingStateElements);

    public long WeightBytes => 4 * Layout.WeightElements;

    public long ParameterCount => Layout.Parameters.Sum(p => p.Parameter.Shape.MaximumElements);

    public long ScratchBytes => Inference.Concat(Training).Max(p => p.ScratchBytes);
}
