using System;
using System.Threading;

namespace ModelGen.Compiler;

/// <summary>The compiler: one function that lists every stage.</summary>
internal static class ModelCompiler
{
    /// <summary>Compiles a declaration that has no problems into source files.</summary>
    public static CompiledModel Compile(ModelSpec spec, CancellationToken cancellation) => throw new InvalidOperationException();

    /// <summary>Emits the public surface of an invalid declaration, with bodies that throw, so that the user sees the one error that matters.</summary>
    public static CompiledModel CompileSurface(ModelSpec spec, string problem, CancellationToken cancellation) => throw new InvalidOperationException();
}

/// <summary>What came out of a compilation: equatable, since it travels through the incremental pipeline.</summary>
internal sealed record CompiledModel(EquatableArray<EmittedFile> Files, long InferenceArenaBytes, long TrainingArenaBytes, long WeightBytes);

/// <summary>One emitted source file; the hint name ends in <c>.g.cs</c>.</summary>
internal sealed record EmittedFile(string HintName, string Text);
