using ModelGen.Compiler.Diagnostics;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Declarations;

/// <summary>
/// A model's declaration: what it says and what is wrong with it, as values only. Locations are looked up by the
/// analyzer when it reports, so that moving a declaration around compiles nothing again.
/// </summary>
/// <param name="Spec">What was declared.</param>
/// <param name="Problems">Everything that is wrong with it.</param>
/// <param name="HasArgumentErrors">Whether the C# compiler itself rejects an attribute, so that its values are not known.</param>
/// <param name="CanExtend">Whether a partial declaration of the class can be emitted at all.</param>
internal sealed record Declaration(
    ModelSpec Spec,
    EquatableArray<SpecProblem> Problems,
    bool HasArgumentErrors,
    bool CanExtend);

/// <summary>What there is to compile: a whole model, or, when <paramref name="Problem"/> is not null, only its surface.</summary>
/// <param name="Spec">The model.</param>
/// <param name="Caches">The caches of the processors that it is compiled for: the project says so, and not the declaration.</param>
/// <param name="Problem">What is wrong with the declaration.</param>
internal sealed record CompileRequest(ModelSpec Spec, CacheSizes Caches, string? Problem)
{
    public static CompileRequest From(Declaration declaration, CacheSizes caches)
    {
        if (declaration.Problems.Count > 0)
        {
            return new CompileRequest(declaration.Spec, caches, DiagnosticDescriptors.Describe(declaration.Problems[0]));
        }

        return new CompileRequest(
            declaration.Spec,
            caches,
            declaration.HasArgumentErrors ? "an attribute of its declaration does not compile" : null);
    }
}

/// <summary>What came of a request: the files, and the text of an exception if the compiler failed, or if the model is beyond what a device counts.</summary>
internal sealed record CompileOutcome(TypeIdentity Type, EquatableArray<EmittedFile> Files, string? Failure)
{
    public bool IsDeviceLimit { get; init; }
}
