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
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler;

/// <summary>The compiler: from a declaration to source files, stage by stage.</summary>
internal static class ModelCompiler
{
    /// <summary>Compiles a declaration that has no problems into source files.</summary>
    public static CompiledModel Compile(ModelSpec spec, CancellationToken cancellation)
        => Compile(spec, FamilyRegistry.Get(spec.Family).Describe(spec), cancellation);

    /// <summary>Compiles a program, whatever it came from, into the source files of the class that the declaration names.</summary>
    public static CompiledModel Compile(ModelSpec spec, ModelProgram program, CancellationToken cancellation)
    {
        CompiledPlans plans = Plan(spec, program, cancellation);
        IReadOnlyList<EmittedFile> files = ModelEmitter.Emit(plans, cancellation);
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
    public static CompiledPlans Plan(ModelSpec spec, CancellationToken cancellation) => Plan(spec, FamilyRegistry.Get(spec.Family).Describe(spec), cancellation);

    /// <summary>
    /// All stages but the printing: each entry point's graph, then the places of all parameters and states, then each entry point's
    /// kernels, then their memory.
    /// </summary>
    public static CompiledPlans Plan(ModelSpec spec, ModelProgram program, CancellationToken cancellation)
    {
        ModelGraph[] built = [.. program.Entries.Select(entry => Checked(entry, entry.Build()))];
        ModelGraph[] graphs = [.. program.Entries.Select((entry, i) => entry.Kind switch
        {
            EntryKind.Step => StepGraph(entry, built[i], program.Frozen, cancellation),
            EntryKind.Evaluate => EvaluationGraph(entry, built[i], cancellation),
            _ => InferenceGraph(entry, built[i], program.Context, cancellation),
        })];

        // A session and a trainer each hold the states of their own entry points; parameters are the model's, those without a gradient last.
        var trained = new HashSet<string>(graphs.SelectMany(g => g.Gradients).Select(g => g.Parameter));
        ModelLayout layout = ModelLayout.Of(built, parameter => trained.Count > 0 && !trained.Contains(parameter.ParameterName));
        ModelLayout session = layout.WithStates([.. graphs.Where((_, i) => !program.Entries[i].BelongsToTrainer)]);
        ModelLayout trainer = layout.WithStates([.. graphs.Where((_, i) => program.Entries[i].BelongsToTrainer)]);
        CompiledEntry[] entries = [.. program.Entries.Select((entry, i) =>
            new CompiledEntry(entry, graphs[i], Lower(entry.Name, graphs[i], entry.BelongsToTrainer ? trainer : session, spec.Caches, cancellation)))];
        return new CompiledPlans(spec, program, layout, entries, session.StateElements, trainer.StateElements);
    }

    /// <summary>A forward graph as an inference plan runs it; one that continues a sequence hands out its last step.</summary>
    public static ModelGraph InferenceGraph(EntryPoint entry, ModelGraph forward, int context, CancellationToken cancellation)
        => Run(forward.WithOutputs([.. entry.Outputs]), cancellation,
            g => BindExtents.Run(g, entry.Batch, entry.Time),
            ExpandComposites.Run,
            RemoveDropout.Run,
            g => entry.Continues ? StreamInference.Run(g, entry.Outputs[0], context, entry.EveryStep) : g,
            InlineSingleStep.Run,
            g => entry.ContinuesEach ? BatchSequences.Run(g, entry.Input(EntryPoint.SequencesInput)!, entry.Input(EntryPoint.PositionsInput), context) : g,
            SinkLastRow.Run,
            RemoveStopGradient.Run,
            Simplify.Run,
            ScanMotion.Run,
            Simplify.Run);

    /// <summary>A forward graph up to its loss, with its backward pass.</summary>
    public static ModelGraph StepGraph(EntryPoint entry, ModelGraph forward, ParameterGroup frozen, CancellationToken cancellation)
        => TrainingGraph(
            Run(forward.WithOutputs([.. entry.Outputs]), cancellation, g => BindExtents.Run(g, entry.Batch, entry.Time), ExpandComposites.Run),
            entry.Outputs[0],
            parameter => entry.Group.Contains(parameter) && !frozen.Contains(parameter),
            cancellation);

    /// <summary>A bound and expanded forward graph with its backward pass.</summary>
    public static ModelGraph TrainingGraph(ModelGraph bound, string loss, Func<Parameter, bool> isTrained, CancellationToken cancellation)
        => Run(bound, cancellation,
            ScanMotion.SaveForBackward,
            g => ReverseMode.Differentiate(g, loss, isTrained),
            RemoveStopGradient.Run,
            Simplify.Run,
            ScanMotion.Run,
            Simplify.Run);

    /// <summary>A forward graph up to its loss, without dropout.</summary>
    public static ModelGraph EvaluationGraph(EntryPoint entry, ModelGraph forward, CancellationToken cancellation)
        => Run(forward.WithOutputs([.. entry.Outputs]), cancellation,
            g => BindExtents.Run(g, entry.Batch, entry.Time),
            ExpandComposites.Run,
            RemoveDropout.Run,
            RemoveStopGradient.Run,
            Simplify.Run,
            ScanMotion.Run);

    /// <summary>Kernels in order, with every buffer in its place.</summary>
    public static CompiledPlan Lower(string name, ModelGraph graph, ModelLayout layout, CacheSizes caches, CancellationToken cancellation)
    {
        CpuProgram program = CpuTarget.Plan(Lowering.Run(graph, layout, cancellation), caches);
        long arena = MemoryPlanner.Plan(program);
        MemoryPlanVerifier.Verify(program, arena);
        return new CompiledPlan(name, program, arena);
    }

    /// <summary>Requires that a graph takes what its entry point says: callers' arguments are checked by that.</summary>
    private static ModelGraph Checked(EntryPoint entry, ModelGraph graph)
    {
        if (entry.ContinuesEach && (entry.Continues || !entry.Time.Equals((Dim)1)))
        {
            throw new GraphException($"{entry.Name}: each row continues a sequence by one step");
        }

        foreach (Input input in graph.WithOutputs([.. entry.Outputs]).NodesOf<Input>().Select(n => (Input)n.Op))
        {
            if (!entry.Inputs.Contains(input))
            {
                throw new GraphException($"{entry.Name}: the graph takes {input.InputName} of {input.Type}, which is not among the entry point's inputs");
            }
        }

        return graph;
    }

    private static ModelGraph Run(ModelGraph graph, CancellationToken cancellation, params Func<ModelGraph, ModelGraph>[] passes)
    {
        foreach (Func<ModelGraph, ModelGraph> pass in passes)
        {
            cancellation.ThrowIfCancellationRequested();
            ModelGraph next = pass(graph);
            if (next != graph)
            {
                GraphVerifier.Verify(next, pass.Method.DeclaringType?.Name + "." + pass.Method.Name);
            }

            graph = next;
        }

        return graph;
    }
}

/// <summary>What came out of a compilation: equatable, since it travels through the incremental pipeline.</summary>
internal sealed record CompiledModel(EquatableArray<EmittedFile> Files, long InferenceArenaBytes, long TrainingArenaBytes, long WeightBytes);

/// <summary>One emitted source file; the hint name ends in <c>.g.cs</c>.</summary>
internal sealed record EmittedFile(string HintName, string Text);
