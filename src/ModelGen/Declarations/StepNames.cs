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

    /// <summary>The attributes of a grammar as they were read.</summary>
    public const string GrammarDeclaration = "GrammarDeclaration";

    /// <summary>A grammar with the files that it names.</summary>
    public const string GrammarRequest = "GrammarRequest";

    /// <summary>The emitted data of a grammar.</summary>
    public const string CompiledGrammar = "CompiledGrammar";
}
