using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler;

/// <summary>One execution plan with its memory planned.</summary>
internal sealed record CompiledPlan(string Name, CpuProgram Cpu, long ArenaBytes)
{
    public KernelProgram Program => Cpu.Program;

    /// <summary>Where an input lies in the arena, in words.</summary>
    public long InputOffset(string name) => Program.Inputs[name].Buffer.WordOf(0);

    /// <summary>Where an output lies in the arena, in words.</summary>
    public long OutputOffset(string name) => Program.Outputs[name].Buffer.WordOf(Program.Outputs[name].Offset);

    public long Flops => Program.Kernels.Sum(k => k.Flops);

    /// <summary>What every worker needs for itself, in bytes, whatever the vector width.</summary>
    public long ScratchBytes => Cpu.ScratchBytes;
}

/// <summary>An entry point's launches on a device, with their memory planned: an arena of its own, as kernels are other ones there than on the processor.</summary>
internal sealed record CudaPlan(CudaModule Module, CudaProgram Device, long ArenaBytes);

/// <summary>An entry point, the graph that it runs, and the plan that runs it.</summary>
internal sealed record CompiledEntry(EntryPoint Entry, ModelGraph Graph, CompiledPlan Plan)
{
    /// <summary>What a device runs for it; null where the declaration asks for none.</summary>
    public CudaPlan? Cuda { get; init; }

    /// <summary>What callers pass, and where this plan takes it.</summary>
    public IReadOnlyList<EntryValue> Inputs => [.. Entry.Inputs.Select(InputOf)];

    /// <summary>What callers get, and where this plan leaves it.</summary>
    public IReadOnlyList<EntryValue> Outputs => [.. Entry.Outputs.Select(OutputOf)];

    /// <summary>The parameters that a step updates, by name; null for all that any step does.</summary>
    public IReadOnlyList<string>? UpdatedOf(ModelLayout layout)
    {
        string[] updated = [.. Graph.Gradients.Select(g => g.Parameter).Distinct()];
        return updated.Length == layout.Parameters.Count(p => p.Offset < layout.TrainedElements) ? null : updated;
    }

    /// <summary>The extents whose counts a run brings along.</summary>
    public IReadOnlyList<Dim> Extents
        => Plan.Program.Counts.Except(Entry.Extents).Any() ? throw new GraphException($"{Entry.Name}: no input says how many {string.Join(", ", Plan.Program.Counts.Except(Entry.Extents))} there are") : Plan.Program.Counts;

    /// <summary>The number of an extent among those.</summary>
    public int NumberOf(Dim extent) => Extents.ToList().IndexOf(extent) is >= 0 and int number ? number : throw new GraphException($"{Entry.Name} has no use for the extent {extent}");

    private EntryValue InputOf(Input input)
    {
        if (!Plan.Program.Inputs.ContainsKey(input.InputName))
        {
            throw new GraphException($"{Entry.Name} takes {input.InputName}, and its graph has no use for it");
        }

        Shape shape = Graph.NodesOf<Input>().Select(n => (Input)n.Op).First(i => i.InputName == input.InputName).Type.Shape;
        return ValueOf(input.InputName, Plan.InputOffset(input.InputName), shape) with { Classes = input.Classes, MayBeIgnored = input.MayBeIgnored, Default = input.Default };
    }

    private EntryValue OutputOf(string name)
    {
        EntryValue value = ValueOf(name, Plan.OutputOffset(name), Graph.Output(name).Shape);
        return value.Extents.Count > 0 && Entry.Returns ? throw new GraphException($"the output {name} of {Entry.Name} has as many rows as the run, and a call cannot return it") : value with { IsOptional = Entry.OptionalOutputs.Contains(name) };
    }

    private EntryValue ValueOf(string name, long offset, Shape shape)
    {
        Dim[] varying = [.. shape.Dims.Where(d => !d.IsLiteral)];
        if (varying.Any(d => d.Plus != 0))
        {
            throw new GraphException($"{name} of {Entry.Name} is {shape}: what callers pass and get has as many elements as a run has of each extent");
        }

        return new EntryValue(name, offset, checked((int)(shape.MaximumElements / varying.Aggregate(1L, (product, d) => product * d.Maximum)))) { Extents = [.. varying.Select(NumberOf)] };
    }
}

/// <summary>An input or output of a plan: where it lies in the arena, and how many elements it has where each of its extents is one.</summary>
internal sealed record EntryValue(string Name, long Offset, int Length)
{
    /// <summary>The extents that vary, by their number.</summary>
    public IReadOnlyList<int> Extents { get; init; } = [];

    public int Classes { get; init; }

    public bool MayBeIgnored { get; init; }

    /// <summary>What all elements of an input are that is left out.</summary>
    public double? Default { get; init; }

    /// <summary>Whether a caller may leave an output out.</summary>
    public bool IsOptional { get; init; }
}

/// <summary>Everything that the emitters print of a model.</summary>
internal sealed record CompiledPlans(ModelSpec Spec, ModelProgram Program, ModelLayout Layout, IReadOnlyList<CompiledEntry> Entries, long InferenceStateBytes, long TrainingStateBytes)
{
    /// <summary>The states of a session that grow by a row with each step: of a sequence, as many rows as its position says hold something.</summary>
    public IReadOnlyList<StateCache> Caches { get; init; } = [];

    /// <summary>Whether a session has other states than these.</summary>
    public bool HasOtherStates { get; init; }

    /// <summary>Where parameters lie in a device's memory: the layout itself, unless some are in formats that its kernels do not read.</summary>
    public ModelLayout OnDevice { get; init; } = Layout;

    /// <summary>How many parameters are packed on the processor, of each format, and single precision on a device, whose kernels do not read them.</summary>
    public IReadOnlyList<string> WidenedFormats
        => [.. Layout.Formats.Where(format => !OnDevice.Formats.ContainsKey(format.Key)).GroupBy(format => format.Value.Name).OrderBy(group => group.Key, System.StringComparer.Ordinal).Select(group => System.FormattableString.Invariant($"{group.Count()} of {group.Key}"))];

    /// <summary>The copies of weights in bfloat16 on a device.</summary>
    public RoundedCopies Copies => OnDevice.Copies;

    /// <summary>The memory of the weights on a device, copies included.</summary>
    public long CudaWeightBytes => StorageFormat.Float32.Bytes(Copies.Words);

    public IReadOnlyList<CompiledPlan> Inference => [.. Entries.Where(e => !e.Entry.BelongsToTrainer).Select(e => e.Plan)];

    public IReadOnlyList<CompiledPlan> Training => [.. Entries.Where(e => e.Entry.BelongsToTrainer).Select(e => e.Plan)];

    public CompiledEntry Entry(string name) => Entries.First(e => e.Entry.Name == name);

    public long InferenceArenaBytes => Inference.Select(p => p.ArenaBytes).DefaultIfEmpty(0).Max();

    public long TrainingArenaBytes => Training.Select(p => p.ArenaBytes).DefaultIfEmpty(0).Max();

    /// <summary>Whether there is a path for devices.</summary>
    public bool HasCuda => Entries.Any(e => e.Cuda is not null);

    /// <summary>The arena of a session, or of a trainer, on a device.</summary>
    public long CudaArenaBytes(bool ofTrainer) => Entries.Where(e => e.Entry.BelongsToTrainer == ofTrainer).Select(e => e.Cuda?.ArenaBytes ?? 0).DefaultIfEmpty(0).Max();

    /// <summary>Weights, what master copy of them there is, gradients, AdamW's two slots, the arena, and the carried states of training and of evaluation.</summary>
    public long AdamWTrainingBytes => Training.Count == 0 ? 0 : WeightBytes + ((Layout.HasMasters ? 4 : 3) * GradientBytes) + TrainingArenaBytes + (2 * TrainingStateBytes);

    public long WeightBytes => StorageFormat.Float32.Bytes(Layout.WeightElements);

    public long GradientBytes => Training.Count == 0 ? 0 : StorageFormat.Float32.Bytes(Layout.GradientElements);

    public long ParameterCount => Layout.Parameters.Sum(p => p.Parameter.IsTable ? 0 : p.Parameter.Shape.MaximumElements);

    public long ScratchBytes => Entries.Max(e => e.Plan.ScratchBytes);

    /// <summary>What each token adds to a session's states that grow, in bytes.</summary>
    public long StateBytesPerToken
        => Entries.Where(e => e.Entry.Continues).Select(e => e.Graph.NodesOf<AppendState>().Sum(n => FormatOf(n).Bytes(n.Outputs[0].Shape.Columns))).DefaultIfEmpty(0).Max();

    private StorageFormat FormatOf(Node append) => append.Inputs[0].Node.Op is StateRead state ? Layout.FormatOfState(state.State) : StorageFormat.Of(append.Outputs[0].Element);
}

/// <summary>A key/value cache among the states of a sequence: where it lies, and its rows.</summary>
internal sealed record StateCache(long Offset, long RowBytes, int Rows);
