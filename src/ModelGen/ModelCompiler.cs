using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler;

/// <summary>The compiler: from a declaration to source files, stage by stage.</summary>
internal static class ModelCompiler
{
    /// <summary>Compiles a declaration that has no problems into source files.</summary>
    public static CompiledModel Compile(ModelSpec spec, CacheSizes caches, CancellationToken cancellation)
        => Compile(spec, FamilyRegistry.Get(spec.Family).Describe(spec), caches, cancellation);

    /// <summary>Compiles a program, whatever it came from, into the source files of the class that the declaration names.</summary>
    public static CompiledModel Compile(ModelSpec spec, ModelProgram program, CacheSizes caches, Stages stages)
    {
        CompiledPlans plans = Plan(spec, program, caches, stages);
        IReadOnlyList<EmittedFile> files = stages.Run(nameof(ModelEmitter), () => ModelEmitter.Emit(plans, stages.Cancellation));
        return new CompiledModel(new EquatableArray<EmittedFile>(files.ToArray()), plans.InferenceArenaBytes, plans.TrainingArenaBytes, plans.WeightBytes);
    }

    /// <summary>Emits the public surface of an invalid declaration, with bodies that throw, so that the user sees the one error that matters.</summary>
    public static CompiledModel CompileSurface(ModelSpec spec, string problem, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        EmittedFile file = ModelEmitter.EmitSurface(spec, FamilyRegistry.Get(spec.Family).Describe(spec), problem);
        return new CompiledModel([file], 0, 0, 0);
    }

    /// <summary>All stages but the printing.</summary>
    public static CompiledPlans Plan(ModelSpec spec, CacheSizes caches, Stages stages) => Plan(spec, FamilyRegistry.Get(spec.Family).Describe(spec), caches, stages);

    /// <summary>
    /// All stages but the printing: each entry point's graph, then the places of all parameters and states, then each entry point's
    /// kernels, then their memory.
    /// </summary>
    public static CompiledPlans Plan(ModelSpec spec, ModelProgram program, CacheSizes caches, Stages stages)
    {
        ModelGraph[] built = [.. program.Entries.Select(entry => stages.Run("Build", entry.Build))];
        program = program with { Entries = [.. program.Entries.Select((entry, i) => entry.WithOutputsOf(built[i]))] };
        for (int i = 0; i < built.Length; i++)
        {
            Checked(program.Entries[i], built[i]);
        }

        if (spec.Lora is { } lora)
        {
            built = stages.Run(nameof(LowRankAdapters), () => LowRankAdapters.Add(built, lora, program.Entries));
            program = program with { Files = program.Files with { Options = [.. program.Files.Options, .. LowRankAdapters.Options(lora)] } };
            foreach (ModelGraph graph in built)
            {
                stages.Run(nameof(GraphVerifier), () => GraphVerifier.Verify(graph, nameof(LowRankAdapters)));
            }
        }

        ModelGraph[] graphs = [.. program.Entries.Select((entry, i) => entry.Kind switch
        {
            EntryKind.Step => StepGraph(entry, built[i], program.Frozen, stages),
            EntryKind.Evaluate => EvaluationGraph(entry, built[i], stages),
            _ => InferenceGraph(entry, built[i], program.Caches, stages),
        })];

        // A device has a prompt's recurrence in one launch, however narrow its heads are.
        ModelGraph[] ofDevice = !spec.HasCuda ? graphs : [.. program.Entries.Select((entry, i) => entry.Kind switch
        {
            EntryKind.Step => graphs[i],
            EntryKind.Evaluate => graphs[i].Contains<ChunkedRecurrence>() ? EvaluationGraph(entry, built[i], stages, byKernel: false) : graphs[i],
            _ => built[i].Contains<LinearRecurrence>() ? InferenceGraph(entry, built[i], program.Caches, stages, isOfDevice: true) : graphs[i],
        })];

        // A session and a trainer each hold the states of their own entry points; parameters are the model's, those without a gradient last.
        (ModelLayout layout, ModelLayout session, ModelLayout trainer) = stages.Run(nameof(ModelLayout), () =>
        {
            var trained = new HashSet<string>(graphs.SelectMany(g => g.Gradients).Select(g => g.Parameter));
            var layout = ModelLayout.Of(built, parameter => trained.Count > 0 && !trained.Contains(parameter.ParameterName), WeightFormats.Of(graphs, spec, program.Files.Aliases),
                CacheFormats.Of([.. graphs.Where((_, i) => !program.Entries[i].BelongsToTrainer)], spec.KeyValueCache));
            return (layout, layout.WithStates([.. graphs.Where((_, i) => !program.Entries[i].BelongsToTrainer)]), layout.WithStates([.. graphs.Where((_, i) => program.Entries[i].BelongsToTrainer)]));
        });
        ModelLayout onDevice = spec.HasCuda ? layout.WithFormats(DeviceFormats.Of(ofDevice, layout.Formats)) : layout;
        ModelLayout Placed(bool ofTrainer) => onDevice == layout ? (ofTrainer ? trainer : session) : onDevice.WithStates([.. graphs.Where((_, i) => program.Entries[i].BelongsToTrainer == ofTrainer)]);
        (ModelLayout sessionOnDevice, ModelLayout trainerOnDevice) = (Placed(ofTrainer: false), Placed(ofTrainer: true));
        CudaModule inference = new(spec.CudaPrecision, spec.CudaProducts) { Launches = spec.CudaLaunches }, training = new(spec.CudaPrecision, spec.CudaProducts) { Launches = spec.CudaLaunches, Rounding = spec.CudaRounding };
        CompiledEntry[] entries = [.. program.Entries.Select((entry, i) =>
        {
            ModelLayout places = entry.BelongsToTrainer ? trainer : session;
            return new CompiledEntry(entry, graphs[i], Lower(entry.Name, graphs[i], places, caches, stages))
            {
                Cuda = spec.HasCuda ? LowerForDevice(entry.BelongsToTrainer ? training : inference, entry.Name, ofDevice[i], entry.BelongsToTrainer ? trainerOnDevice : sessionOnDevice, stages) : null,
            };
        })];
        return new CompiledPlans(spec, program, layout, entries, session.StateBytes, trainer.StateBytes) { Caches = Caches(program, graphs, session, out bool hasOthers), HasOtherStates = hasOthers, OnDevice = onDevice };
    }

    /// <summary>The states of a session that every entry point only appends rows to, at a sequence's position.</summary>
    private static StateCache[] Caches(ModelProgram program, ModelGraph[] graphs, ModelLayout session, out bool hasOthers)
    {
        var grown = new Dictionary<string, Shape>();
        var others = new HashSet<string>();
        for (int i = 0; i < graphs.Length; i++)
        {
            if (program.Entries[i].BelongsToTrainer)
            {
                continue;
            }

            others.UnionWith(graphs[i].StateUpdates.Select(update => update.State));
            foreach (Node append in graphs[i].NodesOf<AppendState>())
            {
                if (append.Inputs[0].Node.Op is StateRead state)
                {
                    bool atPosition = program.Entries[i].Continues && state.Shape.Rank == 2 && !((AppendState)append.Op).HasPositions;
                    if (atPosition)
                    {
                        grown[state.State] = state.Shape;
                    }
                    else
                    {
                        others.Add(state.State);
                    }
                }
            }
        }

        hasOthers = others.Count > 0;
        return
        [
            .. grown.Where(state => !others.Contains(state.Key)).Select(state => (Buffer: session.State(state.Key, state.Value), Shape: state.Value))
                .Select(state => new StateCache(state.Buffer.Offset, state.Buffer.Format.Bytes(state.Shape.Columns), state.Shape[0].Maximum)).OrderBy(cache => cache.Offset),
        ];
    }

    /// <summary>A forward graph as an inference plan runs it; one that continues a sequence hands out its last step.</summary>
    /// <param name="entry">The entry point.</param>
    /// <param name="forward">Its graph.</param>
    /// <param name="caches">How many keys and values a sequence has caches for.</param>
    /// <param name="stages">Who runs the passes.</param>
    /// <param name="inChunks">Whether recurrences take several steps at a time.</param>
    /// <param name="isOfDevice">Whether they do so however narrow their heads are.</param>
    public static ModelGraph InferenceGraph(EntryPoint entry, ModelGraph forward, SequenceCaches caches, Stages stages, bool inChunks = true, bool isOfDevice = false)
        => stages.Rewrite(forward.WithOutputs([.. entry.Outputs]),
            (nameof(BindExtents), g => BindExtents.Run(g, entry.Batch, entry.Time)),
            (nameof(ChunkRecurrences), g => inChunks ? ChunkRecurrences.ForInference(g, isOfDevice) : g),
            (nameof(ExpandComposites), ExpandComposites.Run),
            (nameof(RemoveDropout), RemoveDropout.Run),
            (nameof(CarryStates), g => entry.Continues || entry.ContinuesEach ? CarryStates.Run(g) : g),
            (nameof(StreamInference), g => entry.Continues ? StreamInference.Run(g, entry.Outputs[0], caches, entry.EveryStep) : g),
            (nameof(InlineSingleStep), InlineSingleStep.Run),
            (nameof(BatchSequences), g => entry.ContinuesEach ? BatchSequences.Run(g, entry.Input(EntryPoint.SequencesInput)!, entry.Input(EntryPoint.PositionsInput), caches) : g),
            (nameof(SinkLastRow), SinkLastRow.Run),
            (nameof(RemoveStopGradient), RemoveStopGradient.Run),
            (nameof(Simplify), Simplify.Run),
            (nameof(ScanMotion), ScanMotion.Run),
            (nameof(Simplify), Simplify.Run));

    /// <summary>A forward graph up to its loss, with its backward pass; where it has adapters, they alone are trained.</summary>
    public static ModelGraph StepGraph(EntryPoint entry, ModelGraph forward, ParameterGroup frozen, Stages stages)
    {
        var trained = new HashSet<Parameter>(LowRankAdapters.Trained(forward));
        return TrainingGraph(
            stages.Rewrite(forward.WithOutputs([.. entry.Outputs]),
                (nameof(BindExtents), g => BindExtents.Run(g, entry.Batch, entry.Time)),
                (nameof(ChunkRecurrences), ChunkRecurrences.Run),
                (nameof(ExpandComposites), ExpandComposites.BeforeDifferentiation)),
            entry.Outputs[0],
            parameter => trained.Contains(parameter) && entry.Group.Contains(parameter) && !frozen.Contains(parameter),
            stages);
    }

    /// <summary>A bound and expanded forward graph with its backward pass.</summary>
    public static ModelGraph TrainingGraph(ModelGraph bound, string loss, Func<Parameter, bool> isTrained, Stages stages)
        => stages.Rewrite(bound,
            (nameof(ScanMotion.SaveForBackward), ScanMotion.SaveForBackward),
            (nameof(ReverseMode), g => ReverseMode.Differentiate(g, loss, isTrained)),
            (nameof(ExpandComposites), ExpandComposites.Run),
            (nameof(RemoveStopGradient), RemoveStopGradient.Run),
            (nameof(Simplify), Simplify.Run),
            (nameof(ScanMotion), ScanMotion.Run),
            (nameof(Simplify), Simplify.Run));

    /// <summary>A forward graph up to its loss, without dropout.</summary>
    /// <param name="entry">The entry point.</param>
    /// <param name="forward">Its graph.</param>
    /// <param name="stages">Who runs the passes.</param>
    /// <param name="byKernel">Whether recurrences are taken in chunks by their kernel, and not in the graph's operators, which have gradients.</param>
    public static ModelGraph EvaluationGraph(EntryPoint entry, ModelGraph forward, Stages stages, bool byKernel = true)
        => stages.Rewrite(forward.WithOutputs([.. entry.Outputs]),
            (nameof(BindExtents), g => BindExtents.Run(g, entry.Batch, entry.Time)),
            (nameof(ChunkRecurrences), g => byKernel ? ChunkRecurrences.ForInference(g) : ChunkRecurrences.Run(g)),
            (nameof(ExpandComposites), ExpandComposites.Run),
            (nameof(RemoveDropout), RemoveDropout.Run),
            (nameof(RemoveStopGradient), RemoveStopGradient.Run),
            (nameof(Simplify), Simplify.Run),
            (nameof(ScanMotion), ScanMotion.Run));

    /// <summary>Kernels in order, with every buffer in its place.</summary>
    public static CompiledPlan Lower(string name, ModelGraph graph, ModelLayout layout, CacheSizes caches, Stages stages)
    {
        CpuProgram program = Target(Kernels(graph, layout, stages), caches, stages);
        long arena = stages.Run(nameof(MemoryPlanner), () => MemoryPlanner.Plan(program));
        stages.Run(nameof(MemoryPlanVerifier), () => MemoryPlanVerifier.Verify(program, arena));
        return new CompiledPlan(name, program, arena);
    }

    /// <summary>What a device does for a graph, with every buffer in its place; the entries that it launches go into a module.</summary>
    public static CudaPlan LowerForDevice(CudaModule module, string name, ModelGraph graph, ModelLayout layout, Stages stages)
    {
        KernelProgram kernels = stages.Rewrite(Kernels(graph, layout, stages), (nameof(ChunkRows), p => ChunkRows.Run(p, module.RowBlocks)));
        if (module.StoresRounded)
        {
            kernels = stages.Rewrite(kernels, (nameof(StoredOperands), p => StoredOperands.Run(p, module.Products, module.Attention, layout.Copies)));
        }

        CudaProgram program = stages.Run(nameof(CudaModule), () => module.Add(kernels, name));
        long arena = stages.Run(nameof(MemoryPlanner), () => MemoryPlanner.Plan(program));
        stages.Run(nameof(MemoryPlanVerifier), () => MemoryPlanVerifier.Verify(program, arena));
        return new CudaPlan(module, stages.Run(nameof(CudaModule.Place), () => module.Place(program)), arena);
    }

    /// <summary>A graph as kernels, which know of no processor.</summary>
    public static KernelProgram Kernels(ModelGraph graph, ModelLayout layout, Stages stages)
    {
        Fusion fusion = stages.Run(nameof(Fusion), () => Fusion.Run(graph, [.. graph.Results.Select(Placement.GradientValue)]));
        KernelProgram kernels = stages.Run(nameof(Lowering), () => Lowering.Run(graph, fusion, layout, stages.Cancellation));
        stages.Run(nameof(KernelVerifier), () => KernelVerifier.Verify(kernels, nameof(Lowering), gradientsAdd: false));
        return stages.Rewrite(kernels, (nameof(GradientStores), GradientStores.Run));
    }

    /// <summary>What the processor does for kernels.</summary>
    public static CpuProgram Target(KernelProgram kernels, CacheSizes caches, Stages stages)
    {
        KernelProgram chunked = stages.Rewrite(kernels, (nameof(ChunkRows), p => ChunkRows.Run(p, RowBlocks.OfProcessor(caches))), (nameof(StatesInPlace), StatesInPlace.Run));
        PackedProgram packed = stages.Run(nameof(PackInvariants), () => PackInvariants.Run(chunked));
        return stages.Run(nameof(CpuTarget), () => CpuTarget.Plan(packed, caches));
    }

    /// <summary>Requires that a graph takes what its entry point says: callers' arguments are checked by that.</summary>
    private static void Checked(EntryPoint entry, ModelGraph graph)
    {
        if (entry.ContinuesEach && (entry.Continues || !entry.Time.Equals((Dim)1)))
        {
            throw new GraphException($"{entry.Name}: each row continues a sequence by one step");
        }

        foreach (Input input in entry.Inputs.Where(i => i.Default is { } number && i.Classes > 0 && !(number >= (i.MayBeIgnored ? -1 : 0) && number < i.Classes && number == Math.Floor(number))))
        {
            throw new GraphException($"{entry.Name}: {input.InputName} is {input.Default} where it is left out, and no integer of {input.Classes}");
        }

        if (entry.Inputs.FirstOrDefault(i => i.Default is { } number && (i.MayBeIgnored || double.IsNaN(number) || double.IsInfinity(number))) is { } undefined)
        {
            throw new GraphException($"{entry.Name}: {undefined.InputName} cannot stand for {undefined.Default} where it is left out: what says which rows count is given, and a number is finite");
        }

        foreach (Input input in graph.WithOutputs([.. entry.Outputs]).NodesOf<Input>().Select(n => (Input)n.Op))
        {
            if (!entry.Inputs.Contains(input))
            {
                throw new GraphException($"{entry.Name}: the graph takes {input.InputName} of {input.Type}, which is not among the entry point's inputs");
            }
        }
    }
}

/// <summary>What came out of a compilation: equatable, since it travels through the incremental pipeline.</summary>
internal sealed record CompiledModel(EquatableArray<EmittedFile> Files, long InferenceArenaBytes, long TrainingArenaBytes, long WeightBytes);

/// <summary>One emitted source file; the hint name ends in <c>.g.cs</c>.</summary>
internal sealed record EmittedFile(string HintName, string Text);
