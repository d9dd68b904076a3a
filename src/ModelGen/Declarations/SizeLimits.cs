namespace ModelGen.Compiler.Declarations;

/// <summary>What the compiler and the runtime can represent.</summary>
internal static class SizeLimits
{
    /// <summary>
    /// Layers are unrolled into source text. The deepest published models of these families have about a hundred; far
    /// beyond that the text would stall the C# compiler.
    /// </summary>
    public const int Layers = 1024;

    /// <summary>Sequences that a session may hold: with more of them, products would rather be tiles than sums of rows.</summary>
    public const int SequencesOfSession = 256;

    /// <summary>Positions of a sequence that has no end otherwise: what a run adds to one must not overflow.</summary>
    public const int Positions = 1 << 30;

    /// <summary>Kernels index the elements of one tensor with an int, and a parameter's numbers are one span.</summary>
    public const long TensorElements = int.MaxValue;
}
