using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>Rows that each meet a matrix of 16-bit floats of their own: a few rows of a matrix that many rows meet are widened once for all of those.</summary>
internal sealed class ExpertRowsPlan : KernelPlan
{
    /// <summary>The part of a worker's memory that holds rows of a matrix as floats.</summary>
    public const string Widened = "widened";

    /// <summary>Rows that meet one matrix, from which on it is widened.</summary>
    public const int WidenedRows = 4;

    // As many as are multiplied together.
    private const int Columns = 4;

    public ExpertRowsPlan(ExpertProductKernel kernel)
    {
        RowWords = (kernel.Depth + 15) / 16 * 16;
        Layout = ScratchLayout.Of((Widened, (long)Columns * RowWords));
    }

    /// <summary>The words from one widened row to the next.</summary>
    public int RowWords { get; }

    private ScratchLayout Layout { get; }

    /// <summary>Whether any run may have rows enough.</summary>
    public static bool Widens(ExpertProductKernel kernel) => kernel.Operands[1].Access.Format is { IsPlain: false, IsInGroups: false } && kernel.Rows.Maximum >= WidenedRows;

    /// <inheritdoc/>
    public override ScratchLayout Scratch(int lanes) => Layout;
}
