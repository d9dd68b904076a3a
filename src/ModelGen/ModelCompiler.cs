using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using ModelGen.Compiler.Architectures;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler;

/// <summary>The compiler: from a declaration to source files, stage by stage.</summary>
internal static class ModelCompiler
{
    /// <summary>Tokens of one prefill run, and rows of one feed-forward run: enough to fill the matrix tiles.</summary>
    internal const int LargestChunk = 256;

    /// <summary>Compiles a declaration that has no problems into source files.</summary>
    public static CompiledModel Compile(ModelSpec spec, CancellationToken cancellation)
    {
        CompiledPlans plans = Plan(spec, cancellation);
        IReadOnlyList<EmittedFile> files = ModelEmitter.Emit(plans, cancellation);
        return new CompiledModel(new EquatableArray<EmittedFile>(files.ToArray()), plans.InferenceArenaBytes, plans.TrainingArenaBytes, plans.WeightBytes);
    }

    /// <summary>Emits the public surface of an invalid declaration, with bodies that throw, so that the user sees the one error that matters.</summary>
    public static CompiledModel CompileSurface(ModelSpec spec, string problem, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        EmittedFile file = ModelEmitter.EmitSurface(spec, ArchitectureRegistry.Get(spec.Family).Surface(spec), problem);
        return new CompiledModel([file], 0, 0, 0);
    }

    /// <summary>All stages but the printing.</summary>
    public static CompiledPlans Plan(ModelSpec spec, CancellationToken cancellation)
    {
        IArchitecture architecture = ArchitectureRegistry.Get(spec.Family);
        ModelSurface surface = architecture.Surface(spec);
        ModelGraph forward = architecture.Build(spec, BuildMode.Inference);
        ModelLayout layout = ModelLayout.Of(forward);
        var input = (Input)forward.NodesOf<Input>().First().Op;
        string output = forward.Outputs[0].Name;

        // A model with positions or attention is bounded by its context; a recurrence goes on for ever.
        bool bounded = forward.Nodes.Any(n => n.Op is RowsAtPosition or Attention);
        int context = surface.Streams && bounded ? input.Type.Shape[-1].Maximum : 0;
        int chunk = context > 0 ? Math.Min(context, LargestChunk) : LargestChunk;

        var inference = new List<CompiledPlan>();
        long stateBytesPerToken = 0;
        if (surface.Streams)
        {
            ModelGraph decode = InferenceGraph(forward, 1, 1, output, context, cancellation);
            inference.Add(Lower("Prefill", InferenceGraph(forward, 1, Dim.Time(chunk), output, context, cancellation), layout, spec.Caches, cancellation));
            inference.Add(Lower("Decode", decode, layout, spec.Caches, cancellation));
            stateBytesPerToken = 4 * decode.NodesOf<AppendState>().Sum(n => (long)n.Outputs[0].Shape.Columns);
        }
        else
        {
            ModelGraph graph = Run(forward, cancellation, g => BindExtents.Run(g, Dim.Batch(chunk), 1), ExpandComposites.Run, RemoveStopGradient.Run, Simplify.Run);
            inference.Add(Lower("Predict", graph, layout, spec.Caches, cancellation));
        }

        long inferenceState = layout.StateElements;
        var training = new List<CompiledPlan>();
        ModelLayout trainingLayout = ModelLayout.Of(forward);
        Input? target = null;
        if (spec.Training is { } declared)
        {
            ModelGraph graph = architecture.Build(spec, BuildMode.Training);
            target = (Input)graph.NodesOf<Input>().Last().Op;
            ModelGraph bound = Run(graph.WithOutputs("loss"), cancellation,
                g => BindExtents.Run(g, declared.BatchSize, Math.Max(1, declared.SequenceLength)), ExpandComposites.Run);
            training.Add(Lower("Step", TrainingGraph(bound, cancellation), trainingLayout, spec.Caches, cancellation));
            training.Add(Lower("Evaluate", Run(bound, cancellation, RemoveDropout.Run, RemoveStopGradient.Run, Simplify.Run, ScanMotion.Run), trainingLayout, spec.Caches, cancellation));
        }

        Shape outputShape = forward.Output(output).Shape;
        return new CompiledPlans(
            spec, surface, layout, inference, training, inferenceState, trainingLayout.StateElements,
            InputSize: surface.Streams ? 1 : input.Type.Shape.Columns,
            OutputSize: outputShape.Columns,
            InputClasses: input.Classes,
            TargetClasses: target?.Classes ?? 0,
            TargetSize: surface.NumericTargets ? outputShape.Columns : 1,
            ContextLength: context,
            Chunk: chunk,
            StateBytesPerToken: stateBytesPerToken);
    }

    /// <summary>A forward graph as a plan that continues one sequence.</summary>
    public static ModelGraph InferenceGraph(ModelGraph forward, Dim batch, Dim time, string output, int context, CancellationToken cancellation)
        => Run(forward, cancellation,
            g => BindExtents.Run(g, batch, time),
            ExpandComposites.Run,
            g => StreamInference.Run(g, output, context),
            InlineSingleStep.Run,
            SinkLastRow.Run,
            RemoveStopGradient.Run,
            Simplify.Run,
            ScanMotion.Run,
            Simplify.Run);

    /// <summary>A bound and expanded forward graph with its backward pass.</summary>
    public static ModelGraph TrainingGraph(ModelGraph bound, CancellationToken cancellation)
        => Run(bound, cancellation,
            ScanMotion.SaveForBackward,
            g => ReverseMode.Differentiate(g, "loss"),
            RemoveStopGradient.Run,
            Simplify.Run,
            ScanMotion.Run,
            Simplify.Run);

    /// <summary>Kernels in order, with every buffer in its place.</summary>
    public static CompiledPlan Lower(string name, ModelGraph graph, ModelLayout layout, CacheSizes caches, CancellationToken cancellation)
    {
        CpuProgram program = CpuTarget.Plan(Lowering.Run(graph, layout, cancellation), caches);
        long arena = MemoryPlanner.Plan(program);
        MemoryPlanVerifier.Verify(program, arena);
        return new CompiledPlan(name, program, arena);
    }

    private static ModelGraph Run(ModelGraph graph, CancellationToken cancellation, params Func<ModelGraph, ModelGraph>[] passes)
    {
        foreach (Func<ModelGraph, ModelGraph> pass in passes)
        {
            cancellation.ThrowIfCancellationRequested();
            graph = pass(graph);
            Verify(graph, pass);
        }

        return graph;
    }

    private static void Verify(ModelGraph graph, Func<ModelGraph, ModelGraph> pass)
        => GraphVerifier.Verify(graph, pass.Method.DeclaringType?.Name + "." + pass.Method.Name);
}

/// <summary>What came out of a compilation: equatable, since it travels through the incremental pipeline.</summary>
internal sealed record CompiledModel(EquatableArray<EmittedFile> Files, long InferenceArenaBytes, long TrainingArenaBytes, long WeightBytes);

/// <summary>One emitted source file; the hint name ends in <c>.g.cs</c>.</summary>
internal sealed record EmittedFile(string HintName, string Text);
