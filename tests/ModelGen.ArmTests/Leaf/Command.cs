namespace ModelGen.Leaf;

/// <summary>What a command does.</summary>
internal enum CommandKind
{
    /// <summary>Copies <see cref="Command.Length"/> bytes.</summary>
    Copy,

    /// <summary>Runs the plan <see cref="Command.Which"/>.</summary>
    Plan,

    /// <summary>Applies the <see cref="ElementaryFunction"/> <see cref="Command.Which"/> to <see cref="Command.Length"/> floats, a multiple of four.</summary>
    Function,

    /// <summary>Writes the name of the instruction set that kernels take, a character to each of <see cref="Command.Length"/> 32-bit integers.</summary>
    PathName,

    /// <summary>
    /// Multiplies <see cref="Command.Position"/> rows of <see cref="Command.Count"/> floats with 16 rows of quantized weights, which lie as a file of the format
    /// <see cref="Command.Which"/> has them, <see cref="Command.Length"/> bytes each: packs these, rounds those, and multiplies row by row, all together and unpacked.
    /// </summary>
    Product,

    /// <summary>Stores <see cref="Command.Count"/> floats as a row of a cache, of 16-bit floats or of blocks (<see cref="Command.Which"/> is 0 or 1), and reads it.</summary>
    CacheRow,
}

/// <summary>The functions of the runtime's <c>VectorMath</c>.</summary>
internal enum ElementaryFunction
{
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Erf,
}

/// <summary>The start of an image.</summary>
internal struct ImageHeader
{
    public long CommandsOffset;
    public long CommandCount;
}

/// <summary>One command of an image. Every place is a number of bytes from the image's start.</summary>
internal struct Command
{
    public CommandKind Kind;
    public int Which;
    public long From;
    public long To;
    public long Length;
    public long Weights;
    public long Gradients;
    public long Arena;
    public long State;
    public long Scratch;
    public long ScratchBytes;
    public ulong Seed;
    public int Count;
    public int Position;
    public float LossNormalizer;
    public float GradientScale;
    public int Accumulate;
}
