using System;
using System.Threading;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler;

/// <summary>Looks on while a model is compiled: who wants to know what a stage costs.</summary>
internal interface IStageObserver
{
    /// <summary>A stage begins; none begins before the last one has ended.</summary>
    void Begin(string stage);

    /// <summary>The stage has ended.</summary>
    void End(string stage);
}

/// <summary>
/// Runs the stages of a compilation one after the other: each has a name, a compilation that is cancelled ends before the next one, and
/// what a stage has changed is verified.
/// </summary>
internal readonly struct Stages(CancellationToken cancellation, IStageObserver? observer = null)
{
    public CancellationToken Cancellation { get; } = cancellation;

    public static implicit operator Stages(CancellationToken cancellation) => new(cancellation);

    public T Run<T>(string stage, Func<T> run)
    {
        Cancellation.ThrowIfCancellationRequested();
        observer?.Begin(stage);
        T result = run();
        observer?.End(stage);
        return result;
    }

    public void Run(string stage, Action run) => Run(stage, () =>
    {
        run();
        return true;
    });

    /// <summary>Runs passes over a graph.</summary>
    /// <exception cref="GraphException">What a pass returns breaks the rules of the representation.</exception>
    public ModelGraph Rewrite(ModelGraph graph, params (string Name, Func<ModelGraph, ModelGraph> Run)[] passes)
    {
        foreach ((string name, Func<ModelGraph, ModelGraph> run) in passes)
        {
            ModelGraph before = graph;
            graph = Run(name, () => run(before));
            if (!ReferenceEquals(graph, before))
            {
                Run(nameof(GraphVerifier), () => GraphVerifier.Verify(graph, name));
            }
        }

        return graph;
    }

    /// <summary>Runs passes over a program of kernels.</summary>
    /// <exception cref="GraphException">What a pass returns breaks the rules of kernels.</exception>
    public KernelProgram Rewrite(KernelProgram program, params (string Name, Func<KernelProgram, KernelProgram> Run)[] passes)
    {
        foreach ((string name, Func<KernelProgram, KernelProgram> run) in passes)
        {
            KernelProgram before = program;
            program = Run(name, () => run(before));
            if (!ReferenceEquals(program, before))
            {
                Run(nameof(KernelVerifier), () => KernelVerifier.Verify(program, name));
            }
        }

        return program;
    }
}
