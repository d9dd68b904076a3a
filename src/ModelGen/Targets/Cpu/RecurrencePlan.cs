using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>A linear recurrence of matrices: the places of what a worker keeps of a head and a chunk of its steps. Rows are filled up to whole vectors of every width, so that register tiles read and store them whole.</summary>
internal sealed class RecurrencePlan : KernelPlan
{
    /// <summary>Names of the parts of a worker's memory.</summary>
    public const string Kept = "kept", KeysTransposed = "keysTransposed", Taken = "taken", Read = "read", Scores = "scores", Links = "links", Factors = "factors";

    // A line more spreads rows over the cache's sets.
    private const int Line = 16;

    private readonly ScratchLayout _scratch;

    public RecurrencePlan(RecurrenceKernel kernel)
    {
        (ValueColumns, StepColumns) = (Whole(kernel.Sizes.ValueWidth), Whole(kernel.Sizes.Chunk));
        (ValueStride, StepStride) = (ValueColumns + Line, StepColumns + Line);
        _scratch = ScratchLayout.Of(
            (Kept, (long)kernel.Sizes.KeyWidth * ValueStride),
            (KeysTransposed, (long)kernel.Sizes.KeyWidth * StepStride),
            (Taken, (long)kernel.Sizes.Chunk * ValueStride),
            (Read, (long)kernel.Sizes.Chunk * ValueStride),
            (Scores, (long)kernel.Sizes.Chunk * StepStride),
            (Links, kernel.IsCorrected ? (long)kernel.Sizes.Chunk * StepStride : 0),
            (Factors, 3L * StepColumns));
    }

    /// <summary>Columns of the state, filled up, and elements from one of its rows to the next.</summary>
    public int ValueColumns { get; }

    /// <inheritdoc cref="ValueColumns"/>
    public int ValueStride { get; }

    /// <summary>Columns of matrices of steps by steps, filled up, and elements from one of their rows to the next.</summary>
    public int StepColumns { get; }

    /// <inheritdoc cref="StepColumns"/>
    public int StepStride { get; }

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => _scratch;

    /// <summary>Where a part is, from the beginning of a worker's memory.</summary>
    public long At(string part) => _scratch.OffsetOf(part);

    private static int Whole(int columns) => (columns + Line - 1) / Line * Line;
}
