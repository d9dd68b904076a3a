namespace ModelGen.Compiler.Declarations;

/// <summary>The names of the generator's steps, by which tests ask what was cached.</summary>
internal static class StepNames
{
    /// <summary>The attributes as they were read, with what is wrong with them.</summary>
    public const string Declaration = "Declaration";

    /// <summary>The cache sizes that the project sets.</summary>
    public const string Caches = "Caches";

    /// <summary>What there is to compile.</summary>
    public const string ModelSpec = "ModelSpec";

    /// <summary>The emitted files.</summary>
    public const string CompiledModel = "CompiledModel";
}
